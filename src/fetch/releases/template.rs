//! Names with their version left open: `crun-{version}.tar.gz`.

use crate::fetch::VERSION;

/// A name in which `{version}` stands one or more times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Template(String);

impl Template {
    /// Takes a text that leaves its version open.
    pub(super) fn new(text: &str) -> Option<Self> {
        text.contains(VERSION).then(|| Self(text.to_owned()))
    }

    /// Finds the version that a name has in the template's place. An archive may be packed in another way.
    pub(super) fn version(&self, name: &str) -> Option<String> {
        let end = |name: &str| ENDS.into_iter().find(|end| name.ends_with(end)).unwrap_or_default();
        let (own, other) = (end(&self.0), end(name));
        if own.is_empty() != other.is_empty() {
            return None;
        }
        let (template, name) = (&self.0[..self.0.len() - own.len()], &name[..name.len() - other.len()]);
        let places = template.matches(VERSION).count();
        let fixed = template.len() - places * VERSION.len();
        let length = name.len().checked_sub(fixed)? / places;
        let start = template.find(VERSION)?;
        let version = name.get(start..start + length)?;
        let is_plain = version.starts_with(|c: char| c.is_ascii_digit())
            && version.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_~+".contains(&byte));
        (is_plain && template.replace(VERSION, version) == name).then(|| version.to_owned())
    }
}

/// Where a URL's versions are listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Listing {
    /// As tags of a git repository.
    Tags(String, Template),
    /// As files or folders of a folder, whose URL ends in `/`.
    Folder(String, Template),
}

/// How forges name a release's file, and what stands before and behind the tag in such a URL (GitHub, GitLab, Gitea).
const FORGES: [&str; 6] = [
    "/-/releases/",
    "/-/archive/",
    "/releases/download/",
    "/archive/refs/tags/",
    "/archive/",
    "/raw/refs/tags/",
];

/// How archives end, and what follows a tag directly where a forge packs its tree.
const ENDS: [&str; 8] = [".tar.gz", ".tgz", ".tar.xz", ".tar.bz2", ".tar.zst", ".tar.lz", ".tar", ".zip"];

impl Listing {
    /// Finds where the versions of what a URL leads to are listed. Nothing where it holds no version.
    pub(super) fn of(url: &str) -> Option<Self> {
        Self::tags(url).or_else(|| Self::folder(url))
    }

    fn tags(url: &str) -> Option<Self> {
        let (repository, rest) = FORGES.iter().find_map(|forge| url.split_once(forge))?;
        // A tag may have `/` in it; a file's name has none.
        let tag = match rest.rsplit_once('/') {
            Some((tag, _)) => tag.trim_end_matches("/downloads"),
            None => ENDS.iter().find_map(|end| rest.strip_suffix(end))?,
        };
        Some(Self::Tags(repository.to_owned(), Template::new(tag)?))
    }

    fn folder(url: &str) -> Option<Self> {
        let at = url.find(VERSION)?;
        let start = url[..at].rfind('/')? + 1;
        let name = &url[start..];
        let name = &name[..name.find(['/', '?', '#']).unwrap_or(name.len())];
        Some(Self::Folder(url[..start].to_owned(), Template::new(name)?))
    }
}

/// Leaves the version open in the URL of a source package's original archive (Debian's Developer's Reference, 6.7.8:
/// `NAME_VERSION.orig.tar.EXT`), which has it wherever the recipe's own version is another one. Gives the version too.
pub(super) fn original(url: &str) -> Option<(String, String)> {
    let (folder, file) = url.strip_prefix("debian").and(url.rsplit_once('/'))?;
    let (name, rest) = file.split_once('_')?;
    let (version, _) = rest.split_once(".orig")?;
    let open = format!("{folder}/{name}_{VERSION}{}", &rest[version.len()..]);
    Some((open, version.to_owned())).filter(|_| !url.contains(VERSION))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_gives_the_version_that_it_was_made_of() {
        let version = |template: &str, name: &str| Template::new(template).unwrap().version(name);
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(version("crun-{version}.tar.gz", "crun-1.26.tar.gz"), some("1.26"));
        assert_eq!(version("crun-{version}.tar.xz", "crun-1.26.tar.gz"), some("1.26"));
        assert_eq!(version("crun-{version}.tar.xz", "crun-1.26"), None);
        assert_eq!(version("v{version}", "v1.0-rc.1"), some("1.0-rc.1"));
        assert_eq!(version("{version}/x-{version}.gz", "1.2/x-1.2.gz"), some("1.2"));
        assert_eq!(version("{version}/x-{version}.gz", "1.2/x-1.3.gz"), None);
        for name in [
            "crun-1.26.tar.gz.asc",
            "crun-.tar.gz",
            "crun-latest.tar.gz",
            "run-1.tar.gz",
            "crun-1/2.tar.gz",
            "é",
        ] {
            assert_eq!(version("crun-{version}.tar.gz", name), None, "{name}");
        }
        assert_eq!(version("{version}é", "1é"), some("1"));
        assert_eq!(Template::new("latest"), None);
    }

    #[test]
    fn forges_list_versions_as_tags_and_others_as_folders() {
        let of = |url: &str| match Listing::of(url) {
            Some(Listing::Tags(place, template)) => format!("tags {place} {}", template.0),
            Some(Listing::Folder(place, template)) => format!("folder {place} {}", template.0),
            None => "none".to_owned(),
        };
        for (url, listing) in [
            (
                "https://f.example/o/r/releases/download/v{version}/r-amd64.tar.gz",
                "tags https://f.example/o/r v{version}",
            ),
            (
                "https://f.example/o/r/releases/download/shim/v{version}/a.tgz",
                "tags https://f.example/o/r shim/v{version}",
            ),
            (
                "https://f.example/o/r/archive/refs/tags/{version}.tar.gz",
                "tags https://f.example/o/r {version}",
            ),
            ("https://f.example/o/r/archive/v{version}.zip", "tags https://f.example/o/r v{version}"),
            (
                "https://f.example/o/r/-/archive/{version}/r-{version}.tar.gz",
                "tags https://f.example/o/r {version}",
            ),
            (
                "https://f.example/o/r/-/releases/v{version}/downloads/r.gz",
                "tags https://f.example/o/r v{version}",
            ),
            (
                "https://f.example/o/r/releases/download/latest/r-{version}.gz",
                "folder https://f.example/o/r/releases/download/latest/ r-{version}.gz",
            ),
            ("https://w.example/x/x-{version}.tar.xz", "folder https://w.example/x/ x-{version}.tar.xz"),
            ("https://w.example/v{version}/x.tar.xz?a=b", "folder https://w.example/ v{version}"),
            (
                "debian:pool/main/c/crun/crun_{version}.orig.tar.gz",
                "folder debian:pool/main/c/crun/ crun_{version}.orig.tar.gz",
            ),
            ("https://w.example/x/x.tar.xz", "none"),
        ] {
            assert_eq!(of(url), listing, "{url}");
        }
    }

    #[test]
    fn an_original_archive_says_its_version() {
        assert_eq!(
            original("debian:pool/main/e/expat/expat_2.7.1.orig.tar.gz"),
            Some(("debian:pool/main/e/expat/expat_{version}.orig.tar.gz".into(), "2.7.1".into()))
        );
        assert_eq!(
            original("debian:pool/main/k/x/x_1+really2.orig-vendor.tar.xz"),
            Some(("debian:pool/main/k/x/x_{version}.orig-vendor.tar.xz".into(), "1+really2".into()))
        );
        for url in [
            "https://x.example/x_1.orig.tar.gz",
            "debian:pool/x/x_1_amd64.deb",
            "debian:pool/x/x_{version}.orig.tar.gz",
        ] {
            assert_eq!(original(url), None, "{url}");
        }
    }
}
