//! Images of registries.

use super::{Error, Form, Here, Opened, PipelineError};
use crate::fetch::oci::{self, Reference};

pub(super) const FORM: Form = Form {
    place: "registry:NAME",
    about: "an image of a registry; `registry:` may be left out where a `/` is in the name",
    is: |text| {
        text.strip_prefix("registry:")
            .or_else(|| (text.contains('/') && !text.starts_with(['/', '.'])).then_some(text))
    },
    open,
};

fn open(name: &str, here: &Here<'_>) -> Result<Opened, PipelineError> {
    let parsed = name.parse::<Reference>();
    let reference =
        parsed.map_err(|error| Error::Reference { image: name.to_owned(), why: error.to_string() })?;
    let context = here.context.fetch();
    let resolved = oci::resolve(&reference, &context)?;
    let base = oci::manifest(&reference, &resolved.digest.hash, here.arch, &context)?;
    let mut layers = Vec::new();
    for layer in &base.layers {
        layers.push(oci::layer(&reference, &layer.digest, &context)?);
    }
    Ok(Opened { name: name.to_owned(), arch: Some(here.arch), layers })
}
