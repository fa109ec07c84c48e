//! What an image is called: `registry/repository[:tag][@sha256:…]`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::base::Sha256;

/// A complete name of an image. Parses as Docker does: `busybox` is `docker.io/library/busybox:latest`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Reference {
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: Option<Sha256>,
}

/// Docker Hub, under the name that references have for it.
pub(super) const HUB: &str = "docker.io";

impl Reference {
    /// The registry, with its port if the name has one: `docker.io`, `localhost:5000`.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The repository in it: `kindest/node`.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The tag. Only a name with a digest may lack one.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest of a manifest or an index.
    pub fn digest(&self) -> Option<&Sha256> {
        self.digest.as_ref()
    }

    /// The same repository and tag, at a digest.
    pub fn at(&self, digest: Sha256) -> Self {
        Self { digest: Some(digest), ..self.clone() }
    }

    /// The name of something else in the same repository.
    pub(super) fn content(&self, digest: Sha256) -> Self {
        Self { tag: None, ..self.at(digest) }
    }

    /// Registry and repository: `docker.io/kindest/node`.
    pub fn name(&self) -> String {
        format!("{}/{}", self.registry, self.repository)
    }
}

impl FromStr for Reference {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |why: &str| format!("`{text}` is no image name: {why}");
        if text.len() > 512 {
            return Err("an image name has at most 512 bytes".to_owned());
        }
        if text.contains("://") {
            return Err(wrong("it begins with its registry's host, without `https://`"));
        }
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => {
                let hash = digest.strip_prefix("sha256:").and_then(|hex| hex.parse::<Sha256>().ok());
                (rest, Some(hash.ok_or_else(|| wrong("its digest is not `sha256:` and 64 digits"))?))
            }
            None => (text, None),
        };
        let (name, tag) = match rest.rsplit_once(':').filter(|(_, tag)| !tag.contains('/')) {
            Some((name, tag)) => (name, Some(tag)),
            None => (rest, None),
        };
        let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let fine = |tag: &str| {
            tag.starts_with(word) && tag.len() <= 128 && tag.chars().all(|c| word(c) || c == '.' || c == '-')
        };
        if tag.is_some_and(|tag| !fine(tag)) {
            return Err(wrong(
                "a tag is at most 128 letters, digits, `_`, `.` and `-`, and begins with none of the last two",
            ));
        }
        let (registry, path) = match name.split_once('/') {
            Some((host, path)) if host.contains(['.', ':']) || host == "localhost" => (host, path),
            _ => (HUB, name),
        };
        if !is_host(registry) {
            return Err(wrong("its registry is no host name"));
        }
        if !path.split('/').all(is_part) {
            return Err(wrong(
                "the parts of a repository are lower-case letters and digits, with `.`, `_` and `-` between them",
            ));
        }
        let registry = registry.to_ascii_lowercase();
        let registry = if matches!(registry.as_str(), "index.docker.io" | "registry-1.docker.io") {
            HUB.to_owned()
        } else {
            registry
        };
        let library = if registry == HUB && !path.contains('/') { "library/" } else { "" };
        let repository = format!("{library}{path}");
        if registry.len() + repository.len() >= 255 {
            return Err(wrong("registry and repository are longer than 255 bytes"));
        }
        let tag = tag.or(digest.is_none().then_some("latest")).map(str::to_owned);
        Ok(Self { registry, repository, tag, digest })
    }
}

/// A host name, with a port or not. User and password have no place here.
fn is_host(text: &str) -> bool {
    let (host, port) = text.split_once(':').unwrap_or((text, "1"));
    let label = |label: &str| {
        label.starts_with(|c: char| c.is_ascii_alphanumeric())
            && label.ends_with(|c: char| c.is_ascii_alphanumeric())
            && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
    };
    host.split('.').all(label) && port.bytes().all(|c| c.is_ascii_digit()) && port.parse::<u16>().is_ok()
}

fn is_part(part: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    part.starts_with(plain)
        && part.ends_with(plain)
        && part.chars().all(|c| plain(c) || matches!(c, '.' | '_' | '-'))
        && !part.contains("..")
}

impl TryFrom<String> for Reference {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Reference> for String {
    fn from(reference: Reference) -> String {
        reference.to_string()
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{}", digest.oci())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ZERO: &str = "sha256:0000000000000000000000000000000000000000000000000000000000000000";

    #[test]
    fn names_are_completed() {
        for (text, full) in [
            ("busybox", "docker.io/library/busybox:latest"),
            ("kindest/node:v1.32.2", "docker.io/kindest/node:v1.32.2"),
            ("index.docker.io/busybox:1", "docker.io/library/busybox:1"),
            ("registry-1.docker.io/kindest/node:1", "docker.io/kindest/node:1"),
            ("Registry.K8s.io/pause:3.10", "registry.k8s.io/pause:3.10"),
            ("localhost:5000/a/b__c:_x", "localhost:5000/a/b__c:_x"),
            ("localhost/a", "localhost/a:latest"),
            ("127.0.0.1:5000/a", "127.0.0.1:5000/a:latest"),
        ] {
            assert_eq!(text.parse::<Reference>().unwrap().to_string(), full);
        }
        for (text, full, tag) in [
            (format!("busybox@{ZERO}"), format!("docker.io/library/busybox@{ZERO}"), None),
            (format!("h.example/a:1@{ZERO}"), format!("h.example/a:1@{ZERO}"), Some("1")),
        ] {
            let reference: Reference = text.parse().unwrap();
            assert_eq!((reference.to_string(), reference.tag()), (full, tag));
            assert_eq!(reference.digest(), Some(&Sha256([0; 32])));
        }
        let reference: Reference = "h.example:1/a/b:c".parse().unwrap();
        assert_eq!((reference.registry(), reference.repository()), ("h.example:1", "a/b"));
        assert_eq!(reference.at(Sha256([0; 32])).to_string(), format!("h.example:1/a/b:c@{ZERO}"));
        assert_eq!(reference.name(), "h.example:1/a/b");
    }

    #[test]
    fn wrong_names_say_why() {
        const TAG: &str =
            "a tag is at most 128 letters, digits, `_`, `.` and `-`, and begins with none of the last two";
        const PART: &str =
            "the parts of a repository are lower-case letters and digits, with `.`, `_` and `-` between them";
        const HOST: &str = "its registry is no host name";
        const DIGEST: &str = "its digest is not `sha256:` and 64 digits";
        let long = format!("a:{}", "x".repeat(129));
        let longer = format!("{}:x", "x".repeat(255));
        for (text, why) in [
            ("busybox:", TAG),
            ("busybox:-1", TAG),
            (long.as_str(), TAG),
            ("", PART),
            ("Busybox:1", PART),
            ("a//b:1", PART),
            ("a/../b", PART),
            ("a/b..c", PART),
            ("../b:1", HOST),
            ("h.example:x/b", HOST),
            ("h.example:70000/b", HOST),
            ("-h.example/b", HOST),
            ("a@b.c/x:1", DIGEST),
            ("a@sha256:12", DIGEST),
            ("a@sha512:12", DIGEST),
            ("https://h.example/a", "it begins with its registry's host, without `https://`"),
            (longer.as_str(), "registry and repository are longer than 255 bytes"),
        ] {
            let error = text.parse::<Reference>().unwrap_err();
            assert_eq!(error, format!("`{text}` is no image name: {why}"));
        }
        assert_eq!("x".repeat(600).parse::<Reference>().unwrap_err(), "an image name has at most 512 bytes");
    }
}
