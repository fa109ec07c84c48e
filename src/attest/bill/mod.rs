//! What is in an image: a bill of materials, and its two forms.
//!
//! In goes a [`Bill`], which the caller filled with what was really put in; out come SPDX 2.3
//! (<https://spdx.github.io/spdx-spec/v2.3/>) and CycloneDX 1.6 (<https://cyclonedx.org/docs/1.6/json/>), both as JSON.
//! The same bill gives the same bytes: no clock (`created` is the moment that the lock is of), no random names (SPDX's
//! namespace and CycloneDX's serial number are made of the image's digest).

mod cyclonedx;
mod licence;
mod program;
mod spdx;
mod system;

pub use licence::{Licence, of_copyright};
pub use program::{Crate, GoModule, Program, read as read_program};
pub use system::{Installed, Release, installed, release};

use std::collections::BTreeSet;

use crate::base::Sha256;

/// The version of what is written about an image, and how.
pub const RULES: u32 = 1;

/// What is in an image.
#[derive(Debug, Clone, PartialEq)]
pub struct Bill {
    /// The image's name, `repository:tag`.
    pub reference: String,
    /// Its digest: the manifest's, or the index's of one for several platforms.
    pub digest: Sha256,
    /// When what it is made of was pinned, `YYYY-MM-DDThh:mm:ssZ`.
    pub created: String,
    /// The release of nodeimg that writes.
    pub tool: String,
    /// What is in it, and what that is made of.
    pub components: Vec<Component>,
    /// How they hang together.
    pub links: BTreeSet<Link>,
}

/// Names a component of a bill: its place in [`Bill::components`].
pub type ComponentId = usize;

/// One thing of a bill.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Component {
    /// What it is.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: Option<String>,
    /// Its package URL (<https://github.com/package-url/purl-spec>).
    pub purl: Option<String>,
    /// Under which terms it comes.
    pub licence: Licence,
    /// The hash of the file that it is, or was had as.
    pub sha256: Option<Sha256>,
    /// Where that file is had.
    pub location: Option<String>,
    /// Its home on the web.
    pub homepage: Option<String>,
    /// What else is known of where it is from, for people.
    pub origin: Option<String>,
}

/// What a component is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Kind {
    /// A package that dpkg installed.
    #[default]
    Debian,
    /// What a recipe of the project made.
    Package,
    /// An image inside the image.
    Image,
    /// A file that something was made of; not in the image itself.
    Source,
    /// A crate or Go module.
    Library,
    /// One program or library in the image.
    File,
}

/// How two components hang together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Link {
    /// The first; none is the image itself.
    pub from: Option<ComponentId>,
    /// What it has to do with the second.
    pub how: How,
    /// The second.
    pub to: ComponentId,
}

/// What one component has to do with another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum How {
    /// It has it inside.
    Contains,
    /// It was made of it.
    MadeOf,
}

impl Bill {
    /// Adds a component, unless there is one that is equal.
    pub fn add(&mut self, component: Component) -> ComponentId {
        match self.components.iter().position(|other| *other == component) {
            Some(there) => there,
            None => {
                self.components.push(component);
                self.components.len() - 1
            }
        }
    }

    /// Notes how two components hang together; `None` is the image.
    pub fn link(&mut self, from: Option<ComponentId>, how: How, to: ComponentId) {
        if from != Some(to) {
            self.links.insert(Link { from, how, to });
        }
    }

    /// Gives the bill as SPDX 2.3.
    pub fn spdx(&self) -> Vec<u8> {
        pretty(&spdx::document(self))
    }

    /// Gives the bill as CycloneDX 1.6.
    pub fn cyclonedx(&self) -> Vec<u8> {
        pretty(&cyclonedx::document(self))
    }

    /// The package URL of the image.
    fn purl(&self) -> String {
        let (repository, tag) = self.reference.rsplit_once(':').unwrap_or((&self.reference, ""));
        let name = repository.rsplit('/').next().unwrap_or(repository).to_lowercase();
        let digest = purl_part(&self.digest.oci());
        format!("pkg:oci/{name}@{digest}?repository_url={repository}&tag={}", purl_part(tag))
    }

    /// Names each component by letters, digits, `.` and `-` alone, each once.
    fn names(&self) -> Vec<String> {
        let mut seen = BTreeSet::new();
        let name = |component: &Component| {
            let version =
                component.version.as_deref().map(|version| format!("-{version}")).unwrap_or_default();
            let text = format!("{}-{}{version}", component.kind.word(), component.name);
            let plain = |c: char| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' };
            let own: String = text.chars().map(plain).collect();
            let again = (2..).map(|count| format!("{own}-{count}"));
            let free = std::iter::once(own.clone()).chain(again).find(|name| !seen.contains(name));
            let free = free.expect("there is always another number");
            seen.insert(free.clone());
            free
        };
        self.components.iter().map(name).collect()
    }
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Kind::Debian => "deb",
            Kind::Package => "package",
            Kind::Image => "image",
            Kind::Source => "source",
            Kind::Library => "library",
            Kind::File => "file",
        }
    }
}

/// Escapes a part of a package URL.
pub fn purl_part(text: &str) -> String {
    let escaped = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'_' | b'~' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(escaped).collect()
}

/// Writes JSON as people read it: with lines, and one at the end.
fn pretty(value: &serde_json::Value) -> Vec<u8> {
    let mut text = serde_json::to_vec_pretty(value).expect("plain values are JSON");
    text.push(b'\n');
    text
}
