//! What dpkg installed, and whose release it is.

use super::{Licence, purl_part};

/// A package in dpkg's database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installed {
    /// Its name.
    pub name: String,
    /// Its version, epoch included.
    pub version: String,
    /// Its architecture: `amd64`, `all`.
    pub arch: String,
    /// The source package that it was built from, and that one's version.
    pub source: (String, String),
    /// Its home on the web.
    pub homepage: Option<String>,
    /// Under which terms it comes.
    pub licence: Licence,
}

/// Whose release an image is made of: `debian` and `12`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Release {
    /// `ID` of `/etc/os-release`.
    pub id: String,
    /// `VERSION_ID`.
    pub version: Option<String>,
}

/// Reads `/etc/os-release`; what has none counts as Debian.
pub fn release(text: &str) -> Release {
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        line.map(|value| value.trim_matches(['"', '\'']).to_owned()).filter(|value| !value.is_empty())
    };
    Release { id: field("ID").unwrap_or_else(|| "debian".to_owned()), version: field("VERSION_ID") }
}

/// Reads dpkg's `status`. `copyright` gives a package's copyright file.
pub fn installed(status: &str, copyright: &dyn Fn(&str) -> Option<String>) -> Vec<Installed> {
    let mut found = Vec::new();
    for paragraph in status.split("\n\n") {
        let field =
            |name: &str| paragraph.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        let (Some(name), Some(version)) = (field("Package"), field("Version")) else { continue };
        // Of a package that is unpacked all files are there.
        let is_there = |status: &str| [" installed", " unpacked"].iter().any(|end| status.ends_with(end));
        if !field("Status").is_some_and(is_there) {
            continue;
        }
        // `Source: name (version)`, where they are not the package's own.
        let source = field("Source").unwrap_or(name);
        let source = match source.split_once(" (") {
            Some((source, version)) => (source.to_owned(), version.trim_end_matches(')').to_owned()),
            None => (source.to_owned(), version.to_owned()),
        };
        found.push(Installed {
            name: name.to_owned(),
            version: version.to_owned(),
            arch: field("Architecture").unwrap_or("all").to_owned(),
            source,
            homepage: field("Homepage").filter(|url| url.starts_with("http")).map(str::to_owned),
            licence: copyright(name).map(|text| super::of_copyright(&text)).unwrap_or_default(),
        });
    }
    found.sort_by(|a, b| (&a.name, &a.arch).cmp(&(&b.name, &b.arch)));
    found
}

impl Installed {
    /// Gives the name of the package's file as archives have it.
    pub fn file(&self) -> String {
        let version = self.version.split_once(':').map_or(&*self.version, |(_, version)| version);
        format!("{}_{version}_{}.deb", self.name, self.arch)
    }

    /// Gives the package's URL.
    pub fn purl(&self, release: &Release) -> String {
        let distro = match &release.version {
            Some(version) => format!("&distro={}-{}", release.id, purl_part(version)),
            None => String::new(),
        };
        let (name, version) = (purl_part(&self.name), purl_part(&self.version));
        format!("pkg:deb/{}/{name}@{version}?arch={}{distro}", release.id, self.arch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dpkgs_database_is_read() {
        let status = "Package: libacl1\nStatus: install ok installed\nArchitecture: amd64\nSource: acl\n\
                      Version: 2:2.3.1-3\nHomepage: https://savannah.example/\n\n\
                      Package: gone\nStatus: deinstall ok config-files\nVersion: 1\n\n\
                      Package: aaa\nStatus: install ok installed\nArchitecture: all\nSource: b (3)\nVersion: 3+b1\n";
        let copyright = |name: &str| {
            (name == "aaa").then(|| {
                "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n\n\
                 Files: *\nLicense: Expat\n"
                    .to_owned()
            })
        };
        let found = installed(status, &copyright);
        let names: Vec<_> = found.iter().map(|one| one.name.as_str()).collect();
        assert_eq!(names, ["aaa", "libacl1"]);
        assert_eq!(found[0].source, ("b".to_owned(), "3".to_owned()));
        assert_eq!(found[0].licence, Licence::expression("MIT"));
        assert_eq!(found[1].source, ("acl".to_owned(), "2:2.3.1-3".to_owned()));
        assert_eq!(found[1].file(), "libacl1_2.3.1-3_amd64.deb");
        let release = release("PRETTY_NAME=\"x\"\nID=debian\nVERSION_ID=\"12\"\n");
        assert_eq!(found[1].purl(&release), "pkg:deb/debian/libacl1@2%3A2.3.1-3?arch=amd64&distro=debian-12");
        assert_eq!(found[0].purl(&super::release("")), "pkg:deb/debian/aaa@3%2Bb1?arch=all");
    }
}
