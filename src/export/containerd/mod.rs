//! An image in a containerd, by its socket.
//!
//! Each blob is offered under its digest: one that containerd has is not sent, one that was half sent goes on where it
//! ended. All is done under a lease, so that nothing is collected while it has no name; the manifest gets the labels by
//! which containerd knows what belongs to it, and the name comes last. The image is unpacked by the first container
//! that uses it, for its own snapshotter. Kubernetes' images are those of namespace `k8s.io`.
//!
//! A place is `NAMESPACE`, or `NAMESPACE@SOCKET` for another containerd than the one of `CONTAINERD_ADDRESS`.

mod client;
mod proto;

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::runtime::Runtime;
use tonic::metadata::AsciiMetadataValue;
use tonic::{Code, Status};

use super::{Error, Form, Here, Image, Output, Put};
use crate::base::event::Outcome;
use crate::base::{Cancel, Digest};
use crate::image::{self, Summary};
use crate::store::Store;
use client::{Blob, Client};
use proto::Anything;

pub(super) const FORM: Form = Form {
    name: "containerd",
    place: "NAMESPACE",
    about: "a containerd (`default`)",
    open: |place, here| Ok(Box::new(Containerd::connect(place, here)?)),
};

/// Where containerd listens unless `CONTAINERD_ADDRESS` says otherwise.
pub const DEFAULT_ADDRESS: &str = "/run/containerd/containerd.sock";

/// `ctr`'s.
const NAMESPACE: &str = "default";

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// The label that says when a lease ends.
const EXPIRE: &str = "containerd.io/gc.expire";

const LEASE: &str = "/containerd.services.leases.v1.Leases/Create";
const END_LEASE: &str = "/containerd.services.leases.v1.Leases/Delete";
const LABEL: &str = "/containerd.services.content.v1.Content/Update";
const GET_IMAGE: &str = "/containerd.services.images.v1.Images/Get";
const CREATE_IMAGE: &str = "/containerd.services.images.v1.Images/Create";
const UPDATE_IMAGE: &str = "/containerd.services.images.v1.Images/Update";

#[derive(Debug)]
struct Containerd {
    address: String,
    namespace: String,
    client: Client,
    runtime: Runtime,
}

impl Containerd {
    fn connect(place: Option<&str>, here: &Here<'_>) -> Result<Containerd, Error> {
        let place = place.unwrap_or(NAMESPACE);
        let (namespace, address) = place.split_once('@').unwrap_or((place, here.containerd));
        let wrong = || Error::Namespace { namespace: namespace.to_owned() };
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        let value = Some(namespace).filter(|name| !name.is_empty() && name.chars().all(plain));
        let value = value.and_then(|name| AsciiMetadataValue::try_from(name).ok()).ok_or_else(wrong)?;
        let absent =
            |source: Status| Error::NoContainerd { address: address.to_owned(), source: source.into() };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| absent(Status::from_error(error.into())))?;
        let client = runtime.block_on(Client::connect(address, value)).map_err(absent)?;
        Ok(Containerd { address: address.to_owned(), namespace: namespace.to_owned(), client, runtime })
    }

    async fn bring(&self, store: &Store, tree: &Digest, cancel: &Cancel) -> Result<Put, Error> {
        let summary = image::read(store, &store.tree(tree)?).map_err(Error::Image)?;
        let id = format!("nodeimg-{}-{}", summary.manifest.hash, std::process::id());
        let labels = BTreeMap::from([(EXPIRE.to_owned(), tomorrow())]);
        let lease = proto::CreateLease { id: id.clone(), labels };
        let created = self.client.call(LEASE, lease).await;
        created.map(|Anything {}| ()).map_err(|source| Error::containerd("make a lease in", source))?;
        let put = self.under(&self.client.leased(&id), store, &summary, cancel).await;
        // A lease that stays ends by itself.
        let _: Result<Anything, Status> = self.client.call(END_LEASE, proto::DeleteLease { id }).await;
        put
    }

    /// Does the work, the lease held.
    async fn under(
        &self,
        client: &Client,
        store: &Store,
        summary: &Summary,
        cancel: &Cancel,
    ) -> Result<Put, Error> {
        let layers = summary.layers.iter().map(|layer| &layer.blob);
        let mut sent = 0;
        for blob in layers.chain([&summary.config, &summary.manifest]) {
            if client.write(store, blob, cancel).await? == Blob::Written {
                sent += blob.size;
            }
        }
        let children = std::iter::once(("config".to_owned(), &summary.config)).chain(
            summary.layers.iter().enumerate().map(|(number, layer)| (format!("l.{number}"), &layer.blob)),
        );
        let labels: BTreeMap<_, _> = children
            .map(|(name, blob)| (format!("containerd.io/gc.ref.content.{name}"), blob.hash.oci()))
            .collect();
        let paths = labels.keys().map(|label| format!("labels.{label}")).collect();
        let update = proto::UpdateInfo {
            info: Some(proto::Info { digest: summary.manifest.hash.oci(), labels }),
            update_mask: Some(proto::FieldMask { paths }),
        };
        let updated = client.call(LABEL, update).await;
        updated.map(|Anything {}| ()).map_err(|source| Error::containerd("label the manifest in", source))?;
        let named = self.name_it(client, summary).await;
        let renamed = named.map_err(|source| Error::containerd("name the image in", source))?;
        let outcome = if sent == 0 && !renamed { Outcome::Reused } else { Outcome::Done };
        Ok(Put { outcome, sent: Some(sent) })
    }

    /// Gives the image its name; tells whether it had another one or none.
    async fn name_it(&self, client: &Client, summary: &Summary) -> Result<bool, Status> {
        let name = summary.reference.clone();
        let target = proto::Descriptor {
            media_type: MANIFEST.to_owned(),
            digest: summary.manifest.hash.oci(),
            size: summary.manifest.size as i64,
        };
        let found: Result<proto::OneImage, Status> =
            client.call(GET_IMAGE, proto::GetImage { name: name.clone() }).await;
        let image = Some(proto::Image { name, target: Some(target.clone()) });
        match found {
            Ok(found) if found.image.as_ref().and_then(|image| image.target.as_ref()) == Some(&target) => {
                return Ok(false);
            }
            Ok(_) => {
                let update_mask = Some(proto::FieldMask { paths: vec!["target".to_owned()] });
                let Anything {} =
                    client.call(UPDATE_IMAGE, proto::UpdateImage { image, update_mask }).await?;
            }
            Err(status) if status.code() == Code::NotFound => {
                let Anything {} = client.call(CREATE_IMAGE, proto::OneImage { image }).await?;
            }
            Err(status) => return Err(status),
        }
        Ok(true)
    }
}

impl Output for Containerd {
    fn name(&self) -> String {
        format!("containerd at {}, namespace {}", self.address, self.namespace)
    }

    fn put(&self, store: &Store, image: &Image<'_>, cancel: &Cancel) -> Result<Put, Error> {
        self.runtime.block_on(self.bring(store, image.tree, cancel))
    }
}

/// The moment at which a lease ends that nobody ended: as `ctr` has it, in a day.
fn tomorrow() -> String {
    #[expect(clippy::disallowed_methods, reason = "a lease is no output; it has to end some time after now")]
    let now = std::time::SystemTime::now();
    let then = jiff::Timestamp::try_from(now + Duration::from_secs(24 * 60 * 60)).unwrap_or_default();
    then.to_string()
}
