//! Which versions of a source there are, where its upstream keeps them.
//!
//! In goes a request that has [`VERSION`] where its version would stand; out come the versions that would answer it
//! ([`Request::releases`]), and [`newer`] tells which of them count. Nothing is downloaded but lists:
//!
//! | source | list |
//! | --- | --- |
//! | a file of a forge's release | the repository's tags, as git lists them |
//! | another URL | the folder above the first part that holds the version, as its server lists it |
//! | `debian:pool/…/NAME_VERSION.orig.tar.…` | the archive's folder, else the index of its unstable release; whether or not the version is left open |
//! | git | the repository's tags |
//! | crate, PyPI | the index, without what was yanked |

mod originals;
mod page;
mod template;
mod version;

pub(super) use originals::Originals;
pub use version::{Newer, newer};

use super::debian::{self, SourcePackage};
use super::network::public;
use super::{Context, Error, Request, VERSION, git};
use template::{Listing, Template};

/// What upstream has of a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Releases {
    /// Where they are listed, as it may be shown.
    pub place: String,
    /// The version that stands in the request, where that is not the recipe's.
    pub own: Option<String>,
    /// The versions, in the list's order.
    pub versions: Vec<String>,
}

/// Why a source's versions are not known.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[allow(missing_docs, reason = "each message says what its fields are")]
pub enum Unlisted {
    #[error("its URL, tag or file holds no `{{version}}`")]
    Fixed,
    #[error("a commit has no version")]
    Commit,
    #[error("a branch has no versions; `nodeimg lock --update NAME` takes what it has now")]
    Branch,
    #[error("`{place}` lists nothing that is called alike")]
    Nothing { place: String },
    #[error(transparent)]
    #[diagnostic(transparent)]
    Fetch(#[from] Error),
}

impl Request {
    /// Asks upstream for the versions that could stand at [`VERSION`].
    pub fn releases(&self, context: &Context<'_>) -> Result<Releases, Unlisted> {
        match self {
            Request::Http(request) => of_urls(&self.to_string(), request.urls(), context),
            Request::Git(request) => match request.tag() {
                Ok(tag) => {
                    let template = Template::new(tag).ok_or(Unlisted::Fixed)?;
                    listed(&Listing::Tags(request.url().to_owned(), template), context)
                }
                Err(is_branch) => Err(if is_branch { Unlisted::Branch } else { Unlisted::Commit }),
            },
            Request::Crates(request) => {
                let own = Some(request.version.clone()).filter(|version| version != VERSION);
                let (place, versions) = request.versions(context)?;
                Ok(Releases { place: public(&place), own, versions })
            }
            Request::Pypi(request) => {
                let template = Template::new(&request.file).ok_or(Unlisted::Fixed)?;
                let (place, files) = request.files(context)?;
                let versions = files.iter().filter_map(|file| template.version(file)).collect();
                some(Releases { place: public(&place), own: None, versions })
            }
            Request::Cargo(_) | Request::Local(_) => Err(Unlisted::Fixed),
        }
    }

    /// Names the Debian source package whose original archive answers the request, and upstream's version in it.
    pub fn debian_source(&self) -> Option<SourcePackage> {
        let Request::Http(request) = self else { return None };
        request.urls().find_map(|url| {
            let (_, version) = template::original(url)?;
            Some(SourcePackage { name: debian::source_of(url)?.to_owned(), version })
        })
    }
}

/// Finds what is newer than an image's tag among others, whose words before the version must be its own.
pub fn newer_tag(tag: &str, tags: &[String]) -> Option<Newer> {
    let (word, version) = tag.split_at(tag.find(|c: char| c.is_ascii_digit())?);
    let template = Template::new(&format!("{word}{VERSION}"))?;
    let versions: Vec<_> = tags.iter().filter_map(|tag| template.version(tag)).collect();
    let whole = |version: String| format!("{word}{version}");
    newer(version, &versions)
        .map(|found| Newer { newest: found.newest.map(whole), patch: found.patch.map(whole) })
}

/// Asks at one place after the other until one lists something.
fn of_urls<'a>(
    who: &str,
    urls: impl Iterator<Item = &'a String>,
    context: &Context<'_>,
) -> Result<Releases, Unlisted> {
    let (mut nothing, mut tried) = (None, Vec::new());
    for url in urls {
        let (url, own) =
            template::original(url).map_or_else(|| ((*url).clone(), None), |(url, own)| (url, Some(own)));
        let Some(listing) = Listing::of(&url) else { continue };
        match listed(&listing, context) {
            Ok(found) => return Ok(Releases { own, ..found }),
            Err(Unlisted::Fetch(Error::Nowhere { tried: more, .. })) => tried.extend(more),
            Err(error @ Unlisted::Nothing { .. }) => nothing = nothing.or(Some(error)),
            Err(error) => return Err(error),
        }
    }
    Err(match nothing {
        Some(nothing) => nothing,
        None if tried.is_empty() => Unlisted::Fixed,
        None => Error::Nowhere { who: public(who), tried }.into(),
    })
}

fn listed(listing: &Listing, context: &Context<'_>) -> Result<Releases, Unlisted> {
    let (place, template, names) = match listing {
        Listing::Tags(url, template) => (url, template, git::tags(url, context)?),
        Listing::Folder(url, template) => (url, template, in_folder(url, context)?),
    };
    let versions = names.iter().filter_map(|name| template.version(name)).collect();
    some(Releases { place: public(place), own: None, versions })
}

fn in_folder(url: &str, context: &Context<'_>) -> Result<Vec<String>, Error> {
    let listed = page::names(url, &context.network.places(url, Some(debian::NOW)), context);
    let Err(Error::Nowhere { who, mut tried }) = listed else { return listed };
    match originals::names(url, context) {
        None => Err(Error::Nowhere { who, tried }),
        Some(Err(Error::Nowhere { tried: more, .. })) => {
            tried.extend(more);
            Err(Error::Nowhere { who, tried })
        }
        Some(names) => Ok(names?.to_vec()),
    }
}

fn some(found: Releases) -> Result<Releases, Unlisted> {
    if found.versions.is_empty() { Err(Unlisted::Nothing { place: found.place }) } else { Ok(found) }
}

#[cfg(test)]
mod tests;
