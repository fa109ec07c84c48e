//! Where something is from, in the words of those who read about it elsewhere: URLs that anyone can follow, and package
//! URLs (<https://github.com/package-url/purl-spec>).

use super::debian::PackagePin;
use super::{Pin, Request, network};

/// Where a file is from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The file's name, or the project's.
    pub name: String,
    /// The version, where the kind of source has one.
    pub version: Option<String>,
    /// Where upstream has it.
    pub uri: String,
    /// Its package URL, where the kind of source has one.
    pub purl: Option<String>,
    /// The commit that it is the tree of.
    pub commit: Option<String>,
}

impl Request {
    /// Tells where what answers the request is from. The project's own files are from nowhere.
    pub fn origin(&self, pin: &Pin) -> Option<Origin> {
        let simple = |name: &str, uri: String| Origin {
            name: name.to_owned(),
            version: None,
            uri,
            purl: None,
            commit: None,
        };
        let project = |kind: &str, name: &str, version: &str| {
            let purl = format!("pkg:{kind}/{}@{}", escaped(name), escaped(version));
            let own = Origin { version: Some(version.to_owned()), ..simple(name, purl.clone()) };
            Origin { purl: Some(purl), ..own }
        };
        Some(match self {
            Request::Http(request) => {
                let url = network::public(&request.url);
                simple(url.rsplit('/').next().unwrap_or(&url), url.clone())
            }
            Request::Git(request) => {
                let text = request.to_string();
                let commit = pin.commit.map(|commit| commit.to_string());
                let at = commit.as_ref().map(|commit| format!("@{commit}")).unwrap_or_default();
                let url = request.place();
                let name = url.trim_end_matches('/').rsplit('/').next().unwrap_or(&text);
                Origin { commit, ..simple(name, format!("git+{url}{at}")) }
            }
            Request::Crates(request) => project("cargo", &request.name, &request.version),
            Request::Pypi(request) => {
                // A name of PyPI in the form that is compared.
                let name = request.pypi.to_lowercase().replace('_', "-");
                let origin = project("pypi", &name, &request.version);
                let uri = format!("{}?file_name={}", origin.uri, escaped(&request.file));
                Origin { name: request.file.clone(), uri, ..origin }
            }
            Request::Cargo(_) | Request::Local(_) => return None,
        })
    }
}

impl PackagePin {
    /// Tells where a package is from: its immutable place.
    pub fn origin(&self, snapshot: &str) -> Origin {
        Origin {
            name: self.file().to_owned(),
            version: Some(self.version().to_owned()),
            uri: format!("https://snapshot.debian.org/archive/{}/{snapshot}/{}", self.archive, self.path),
            purl: None,
            commit: None,
        }
    }
}

/// Escapes a part of a package URL.
fn escaped(text: &str) -> String {
    let escaped = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'_' | b'~' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(escaped).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Sha256;

    fn origin(request: &str) -> Origin {
        let request: Request = toml::from_str(request).unwrap();
        request.origin(&Pin::file(Sha256::of(b""), None)).unwrap()
    }

    #[test]
    fn every_kind_of_source_says_where_it_is_from() {
        let url = origin("url = \"https://name:secret@upstream.example/a/x-1.tar.gz\"");
        assert_eq!((&*url.name, &*url.uri), ("x-1.tar.gz", "https://upstream.example/a/x-1.tar.gz"));
        let krate = origin("crate = \"serde\"\nversion = \"1.0.1+x\"");
        assert_eq!(krate.purl.as_deref(), Some("pkg:cargo/serde@1.0.1%2Bx"));
        let wheel = origin("pypi = \"A_b\"\nversion = \"2\"\nfile = \"a_b-2.whl\"");
        assert_eq!(wheel.uri, "pkg:pypi/a-b@2?file_name=a_b-2.whl");
        let commit = "0123456789012345678901234567890123456789";
        let request: Request =
            toml::from_str(&format!("git = \"https://git.example/x\"\nrev = \"{commit}\"")).unwrap();
        let pin = Pin { commit: Some(commit.parse().unwrap()), ..Pin::file(Sha256::of(b""), None) };
        let git = request.origin(&pin).unwrap();
        assert_eq!(git.uri, format!("git+https://git.example/x@{commit}"));
        assert_eq!(git.commit.as_deref(), Some(commit));
        let pin: PackagePin =
            format!("debian:pool/main/a/acl/acl_1_all.deb 3 sha256:{}", Sha256::of(b"")).parse().unwrap();
        assert_eq!(
            pin.origin("20260101T000000Z").uri,
            "https://snapshot.debian.org/archive/debian/20260101T000000Z/pool/main/a/acl/acl_1_all.deb"
        );
    }
}
