//! Calls to containerd: gRPC over its socket, in one namespace, under one lease.

use std::io::Read as _;
use std::time::Duration;

use futures_util::stream;
use prost::Message;
use tokio::sync::mpsc;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::metadata::{AsciiMetadataValue, MetadataMap};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};
use tonic_prost::ProstCodec;

use super::proto::{Anything, COMMIT, STAT, WRITE, WriteRequest, WriteResponse};
use crate::base::{Cancel, Digest};
use crate::export::Error;
use crate::store::Store;

/// How long containerd may take to say that it is there.
const ANSWER: Duration = Duration::from_secs(10);
/// How often a blob that somebody else writes is asked for.
const LOOK: Duration = Duration::from_millis(100);
/// How much of a blob is in memory. containerd takes messages of up to 16 MiB.
const CHUNK: usize = 1 << 20;

/// What became of a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Blob {
    There,
    Written,
}

/// A connection.
#[derive(Debug, Clone)]
pub(super) struct Client {
    channel: Channel,
    headers: MetadataMap,
}

impl Client {
    /// Connects to a socket and asks who is there.
    pub(super) async fn connect(address: &str, namespace: AsciiMetadataValue) -> Result<Client, Status> {
        let path = address.strip_prefix("unix://").unwrap_or(address);
        let lost = |error: tonic::transport::Error| Status::from_error(error.into());
        let endpoint = Endpoint::from_shared(format!("unix://{path}")).map_err(lost)?;
        let channel = endpoint.connect_timeout(ANSWER).connect().await.map_err(lost)?;
        let mut headers = MetadataMap::new();
        headers.insert("containerd-namespace", namespace);
        let client = Client { channel, headers };
        let _: Anything = client.call("/containerd.services.version.v1.Version/Version", Anything {}).await?;
        Ok(client)
    }

    /// Gives the same connection, under a lease: what is written or found stays until the lease ends.
    pub(super) fn leased(&self, lease: &str) -> Client {
        let mut headers = self.headers.clone();
        headers.insert("containerd-lease", lease.parse().expect("a lease's name is ASCII"));
        Client { channel: self.channel.clone(), headers }
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        *request.metadata_mut() = self.headers.clone();
        request
    }

    /// Asks one thing.
    pub(super) async fn call<Q, A>(&self, method: &'static str, question: Q) -> Result<A, Status>
    where
        Q: Message + 'static,
        A: Message + Default + 'static,
    {
        let mut grpc = Grpc::new(self.channel.clone());
        ready(&mut grpc).await?;
        let codec = ProstCodec::default();
        let answer = grpc.unary(self.request(question), PathAndQuery::from_static(method), codec).await?;
        Ok(answer.into_inner())
    }

    /// Brings a blob unless it is there. containerd checks its digest.
    pub(super) async fn write(&self, store: &Store, blob: &Digest, cancel: &Cancel) -> Result<Blob, Error> {
        let failed = |source: Status| Error::containerd("store a blob in", source);
        loop {
            match self.attempt(store, blob, cancel).await {
                Err(Attempt::Answer(status)) if status.code() == Code::AlreadyExists => {
                    return Ok(Blob::There);
                }
                // Another client writes it now.
                Err(Attempt::Answer(status)) if status.code() == Code::Unavailable => {
                    if cancel.is_cancelled() {
                        return Err(Error::Cancelled);
                    }
                    tokio::time::sleep(LOOK).await;
                }
                Err(Attempt::Answer(status)) => return Err(failed(status)),
                Err(Attempt::Own(error)) => return Err(error),
                Ok(()) => return Ok(Blob::Written),
            }
        }
    }

    /// Writes a blob in lockstep: a message, an answer. So no answer waits for room that nobody makes.
    async fn attempt(&self, store: &Store, blob: &Digest, cancel: &Cancel) -> Result<(), Attempt> {
        let (sender, mut receiver) = mpsc::channel(1);
        let (expected, total) = (blob.hash.oci(), blob.size as i64);
        let message = |action, offset: u64, data| WriteRequest {
            action,
            r#ref: format!("nodeimg-{}", blob.hash),
            total,
            expected: expected.clone(),
            offset: offset as i64,
            data,
            ..WriteRequest::default()
        };
        let send = async |message| sender.send(message).await.map_err(|_| closed());
        send(message(STAT, 0, Vec::new())).await?;
        let mut grpc = Grpc::new(self.channel.clone());
        ready(&mut grpc).await?;
        let requests = self.request(stream::poll_fn(move |context| receiver.poll_recv(context)));
        let path = PathAndQuery::from_static("/containerd.services.content.v1.Content/Write");
        let codec = ProstCodec::<WriteRequest, WriteResponse>::default();
        let mut answers = grpc.streaming(requests, path, codec).await?.into_inner();
        let mut offset = answers.message().await?.ok_or_else(closed)?.offset as u64;
        let mut bytes = store.verified_reader(blob).map_err(Error::from)?;
        let read = |error| Attempt::Own(Error::from_blob(error, "the blob".as_ref()));
        // What an earlier attempt brought is read again, so that the whole is verified.
        std::io::copy(&mut (&mut bytes).take(offset), &mut std::io::sink()).map_err(read)?;
        while offset < blob.size {
            if cancel.is_cancelled() {
                return Err(Attempt::Own(Error::Cancelled));
            }
            let mut data = Vec::with_capacity(CHUNK);
            (&mut bytes).take(CHUNK as u64).read_to_end(&mut data).map_err(read)?;
            let length = data.len() as u64;
            send(message(WRITE, offset, data)).await?;
            answers.message().await?.ok_or_else(closed)?;
            offset += length;
        }
        // The end of the reader is where it verifies.
        std::io::copy(&mut bytes, &mut std::io::sink()).map_err(read)?;
        send(message(COMMIT, offset, Vec::new())).await?;
        answers.message().await?.ok_or_else(closed)?;
        Ok(())
    }
}

async fn ready(grpc: &mut Grpc<Channel>) -> Result<(), Status> {
    grpc.ready().await.map_err(|error| Status::from_error(error.into()))
}

fn closed() -> Status {
    Status::aborted("the stream ended early")
}

/// Why a blob was not written.
enum Attempt {
    Answer(Status),
    Own(Error),
}

impl From<Status> for Attempt {
    fn from(status: Status) -> Self {
        Attempt::Answer(status)
    }
}

impl From<Error> for Attempt {
    fn from(error: Error) -> Self {
        Attempt::Own(error)
    }
}
