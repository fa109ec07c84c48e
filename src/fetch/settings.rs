//! Where registries and archives live: the user's `mirrors` first, then what the host's own clients use.
//!
//! nodeimg names no registry itself. Debian's archives come from apt's sources, crates from cargo's
//! configuration or the index that cargo has used, Python packages from pip's configuration or its built-in
//! default. `config.toml` in nodeimg's configuration folder goes before all of them:
//!
//! ```toml
//! [mirrors]
//! "https://github.com/" = ["https://mirror.example/github/", "file:///srv/github/"]   # any prefix
//! debian = ["https://mirror.example/debian/"]                                         # an archive
//! snapshot = ["https://mirror.example/snapshot/"]                                     # for snapshot.debian.org
//! crates = ["https://mirror.example/crates-index/"]                                   # a sparse index
//! pypi = ["https://mirror.example/simple/"]                                           # a simple index
//! "docker.io" = ["https://mirror.example/"]                                           # images, see `fetch::oci`
//! ```
//!
//! Beside them, above all tables, `trusted-keys = ["team.pub"]` lists the public keys whose results are taken from
//! bundles: [`trusted_keys`].

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::Error;

/// Where things are, the likeliest place first. Bases end in `/`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    mirrors: BTreeMap<String, Vec<String>>,
    found: BTreeMap<String, Vec<String>>,
    docker: Option<PathBuf>,
}

/// The host's side of it, as `cli` found it.
#[derive(Debug, Clone, Default)]
pub struct Host {
    /// nodeimg's configuration file.
    pub config: Option<PathBuf>,
    /// apt's configuration folder, `/etc/apt`.
    pub apt: PathBuf,
    /// cargo's home, `~/.cargo`.
    pub cargo: PathBuf,
    /// pip's configuration files, the strongest first.
    pub pip: Vec<PathBuf>,
    /// `PIP_INDEX_URL`.
    pub pip_index: Option<String>,
    /// Folders that Python packages are installed in.
    pub python: Vec<PathBuf>,
    /// Docker's configuration folder, `~/.docker`, where `docker login` leaves credentials.
    pub docker: Option<PathBuf>,
}

/// `config.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Config {
    #[serde(default)]
    mirrors: BTreeMap<String, Vec<String>>,
    #[serde(default)]
    trusted_keys: Vec<PathBuf>,
}

/// Reads which public keys a configuration trusts to say what steps give: files, relative to its folder.
pub fn trusted_keys(config: &Path) -> Result<Vec<PathBuf>, Error> {
    Ok(read(config)?.trusted_keys)
}

/// The archives that Debian's snapshot service keeps under these names.
const SNAPSHOT: &str = "https://snapshot.debian.org/archive/";

impl Settings {
    /// Reads what the host says. A configuration of nodeimg's own must be right; of others', what is
    /// understood is taken.
    pub fn load(host: &Host) -> Result<Self, Error> {
        let mirrors = match &host.config {
            Some(path) => mirrors(path)?,
            None => BTreeMap::new(),
        };
        let mut found = BTreeMap::new();
        for (archive, base) in apt_sources(&host.apt) {
            let bases: &mut Vec<String> = found.entry(archive).or_default();
            if !bases.contains(&base) {
                bases.push(base);
            }
        }
        found.insert("crates".to_owned(), cargo_index(&host.cargo).into_iter().collect());
        found.insert("pypi".to_owned(), pip_index(host).into_iter().collect());
        Ok(Self { mirrors, found, docker: host.docker.clone() })
    }

    /// Settings with these mirrors only.
    pub fn with_mirrors(mirrors: BTreeMap<String, Vec<String>>) -> Self {
        Self {
            mirrors: mirrors.into_iter().map(|(k, v)| (k, v.into_iter().map(base).collect())).collect(),
            ..Self::default()
        }
    }

    /// The same, with the credentials that Docker's configuration folder has.
    pub fn with_docker(self, folder: PathBuf) -> Self {
        Self { docker: Some(folder), ..self }
    }

    /// Docker's configuration folder.
    pub(super) fn docker(&self) -> Option<&Path> {
        self.docker.as_deref()
    }

    /// Finds the longest part of `registry/repository` that has mirrors, and these. Where there are none the
    /// part is empty.
    pub(super) fn registry_mirrors(&self, name: &str) -> (&str, &[String]) {
        let covers =
            |key: &str| name.strip_prefix(key).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        let known = self.mirrors.iter().map(|(key, bases)| (key.trim_end_matches('/'), bases.as_slice()));
        known.filter(|(key, _)| covers(key)).max_by_key(|(key, _)| key.len()).unwrap_or(("", &[]))
    }

    pub(super) fn crates(&self) -> Option<String> {
        self.named("crates").next().map(str::to_owned)
    }

    pub(super) fn pypi(&self) -> Option<String> {
        self.named("pypi").next().map(str::to_owned)
    }

    fn named(&self, name: &str) -> impl Iterator<Item = &str> {
        let both = [self.mirrors.get(name), self.found.get(name)];
        both.into_iter().flatten().flatten().map(String::as_str)
    }

    pub(super) fn places(&self, url: &str, snapshot: Option<&str>) -> Vec<String> {
        if let Some((archive, path)) = archive_path(url) {
            let services = match self.mirrors.get("snapshot") {
                Some(services) => services.iter().map(String::as_str).collect(),
                None => vec![SNAPSHOT],
            };
            let snapshots = snapshot.into_iter().flat_map(|moment| {
                services.iter().map(move |service| format!("{service}{archive}/{moment}/"))
            });
            let bases = self.named(archive).map(str::to_owned).chain(snapshots);
            return bases.flat_map(|base| self.rewritten(&format!("{base}{path}"))).collect();
        }
        self.rewritten(url)
    }

    /// The URL as the mirrors of its longest known prefix have it, and then itself.
    fn rewritten(&self, url: &str) -> Vec<String> {
        let known =
            self.mirrors.iter().filter(|(prefix, _)| prefix.contains("://") && url.starts_with(*prefix));
        let longest = known.max_by_key(|(prefix, _)| prefix.len());
        let mirrored = longest.into_iter().flat_map(|(prefix, bases)| {
            bases.iter().map(move |base| format!("{base}{}", url[prefix.len()..].trim_start_matches('/')))
        });
        mirrored.chain([url.to_owned()]).collect()
    }
}

/// Splits `debian:pool/…`; other URLs have `://`.
fn archive_path(url: &str) -> Option<(&str, &str)> {
    url.split_once(':').filter(|(archive, rest)| archive.starts_with("debian") && !rest.starts_with("//"))
}

fn base(mut url: String) -> String {
    if !url.ends_with('/') {
        url.push('/');
    }
    url
}

fn mirrors(path: &Path) -> Result<BTreeMap<String, Vec<String>>, Error> {
    Ok(Settings::with_mirrors(read(path)?.mirrors).mirrors)
}

fn read(path: &Path) -> Result<Config, Error> {
    let wrong = |reason: String| Error::Settings { path: path.display().to_string(), reason };
    let text = fs_err::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
    toml::from_str(&text).map_err(|error| wrong(error.message().to_owned()))
}

/// Reads `sources.list` and the folder beside it, in both of apt's forms (sources.list(5)). Gives archive
/// names and bases; archives are told by the last part of their path.
fn apt_sources(apt: &Path) -> Vec<(String, String)> {
    let mut files = vec![apt.join("sources.list")];
    if let Ok(folder) = fs_err::read_dir(apt.join("sources.list.d")) {
        let mut more: Vec<_> = folder.filter_map(|entry| Some(entry.ok()?.path())).collect();
        more.sort();
        files.extend(more);
    }
    let mut urls = Vec::new();
    for file in files {
        let Ok(text) = fs_err::read_to_string(&file) else { continue };
        let deb822 = file.extension().is_some_and(|extension| extension == "sources");
        let text: String =
            text.lines().filter(|line| !line.starts_with('#')).map(|line| format!("{line}\n")).collect();
        let words: Vec<_> = if deb822 {
            text.split("\n\n").flat_map(uris).collect()
        } else {
            let lines = text.lines().filter_map(|line| line.trim_ascii().strip_prefix("deb"));
            let lines = lines.filter(|rest| rest.starts_with([' ', '\t', '[']));
            lines.flat_map(str::split_whitespace).map(str::to_owned).collect()
        };
        let known =
            |word: &String| ["http://", "https://", "file://"].iter().any(|one| word.starts_with(one));
        urls.extend(words.into_iter().filter(known));
    }
    let named = urls.into_iter().filter_map(|url| {
        let archive = url.trim_end_matches('/').rsplit('/').next()?.to_owned();
        archive.starts_with("debian").then(|| (archive, base(url)))
    });
    named.collect()
}

/// Gives the places of a paragraph of a `.sources` file, unless it is switched off or for sources only.
fn uris(paragraph: &str) -> Vec<String> {
    let field = |name: &str| {
        let mut lines = paragraph
            .lines()
            .skip_while(|line| !line.split_once(':').is_some_and(|(key, _)| key.eq_ignore_ascii_case(name)));
        let first = lines.next().and_then(|line| line.split_once(':')).map_or("", |(_, value)| value);
        let more = lines.take_while(|line| line.starts_with([' ', '\t']));
        let words = std::iter::once(first).chain(more).flat_map(str::split_whitespace);
        words.map(str::to_owned).collect::<Vec<_>>()
    };
    if field("Enabled") == ["no"] || !field("Types").contains(&"deb".to_owned()) {
        return Vec::new();
    }
    field("URIs")
}

/// Finds cargo's crates.io index: its replacement in cargo's configuration, else the index that cargo itself
/// has used (its folder is named after the host).
fn cargo_index(cargo: &Path) -> Option<String> {
    let config =
        ["config.toml", "config"].iter().find_map(|name| fs_err::read_to_string(cargo.join(name)).ok());
    if let Some(config) = config.and_then(|text| text.parse::<toml::Table>().ok()) {
        let source = |name: &str| config.get("source")?.get(name);
        let replaced = source("crates-io").and_then(|s| s.get("replace-with")).and_then(toml::Value::as_str);
        let registries = |name: &str| config.get("registries")?.get(name)?.get("index");
        let registry = replaced
            .and_then(|name| source(name).and_then(|s| s.get("registry")).or_else(|| registries(name)))
            .and_then(toml::Value::as_str);
        if let Some(url) = registry.and_then(|url| url.strip_prefix("sparse+")) {
            return Some(base(url.to_owned()));
        }
    }
    let folder = fs_err::read_dir(cargo.join("registry/index")).ok()?;
    let mut names: Vec<String> =
        folder.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
    names.sort();
    let host =
        names.iter().find_map(|name| name.rsplit_once('-').filter(|(host, _)| host.contains("crates")))?;
    Some(format!("https://{}/", host.0))
}

/// Finds pip's index: `PIP_INDEX_URL`, `index-url` of its configuration, else the default in pip itself.
fn pip_index(host: &Host) -> Option<String> {
    let configured = host.pip.iter().find_map(|path| {
        let text = fs_err::read_to_string(path).ok()?;
        let value = |line: &str| {
            let (key, value) = line.split_once(['=', ':'])?;
            (key.trim().replace('_', "-") == "index-url").then(|| value.trim().to_owned())
        };
        text.lines().find_map(value)
    });
    let built_in = || {
        host.python
            .iter()
            .find_map(|folder| pip_default(&fs_err::read_to_string(folder.join(PIP_DEFAULT)).ok()?))
    };
    host.pip_index.clone().or(configured).map(base).or_else(built_in)
}

/// The file of pip, below where it is installed, that says which index is asked where nobody says otherwise.
pub const PIP_DEFAULT: &str = "pip/_internal/models/index.py";

/// Reads the base of the simple pages out of pip's [`PIP_DEFAULT`].
pub fn pip_default(text: &str) -> Option<String> {
    let line = text.lines().find(|line| line.starts_with("PyPI = "))?;
    Some(format!("{}simple/", base(line.split('"').nth(1)?.to_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(pairs: &[(&str, &[&str])]) -> Settings {
        let map = pairs.iter().map(|(k, v)| ((*k).to_owned(), v.iter().map(|s| (*s).to_owned()).collect()));
        Settings::with_mirrors(map.collect())
    }

    #[test]
    fn the_longest_prefix_wins_and_upstream_comes_last() {
        let settings = settings(&[
            ("https://up.example/", &["https://m.example/up"]),
            ("https://up.example/a/", &["file:///srv/a/", "https://n.example/"]),
        ]);
        assert_eq!(
            settings.places("https://up.example/a/x.tar", None),
            ["file:///srv/a/x.tar", "https://n.example/x.tar", "https://up.example/a/x.tar"]
        );
        assert_eq!(
            settings.places("https://up.example/b", None),
            ["https://m.example/up/b", "https://up.example/b"]
        );
    }

    #[test]
    fn archives_are_asked_at_mirrors_then_snapshot() {
        let settings = settings(&[("debian", &["https://m.example/debian"])]);
        assert_eq!(
            settings.places("debian:pool/main/a/a.deb", Some("20260101T000000Z")),
            [
                "https://m.example/debian/pool/main/a/a.deb",
                "https://snapshot.debian.org/archive/debian/20260101T000000Z/pool/main/a/a.deb"
            ]
        );
        assert_eq!(settings.places("debian:pool/a.deb", None), ["https://m.example/debian/pool/a.deb"]);
        let own = self::settings(&[("snapshot", &["file:///srv/snapshot"])]);
        assert_eq!(
            own.places("debian:a.deb", Some("20260101T000000Z")),
            ["file:///srv/snapshot/debian/20260101T000000Z/a.deb"]
        );
    }

    #[test]
    fn reads_what_the_hosts_clients_use() {
        let dir = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = dir.path().join(path);
            fs_err::create_dir_all(path.parent().unwrap()).unwrap();
            fs_err::write(path, text).unwrap();
        };
        write(
            "apt/sources.list",
            "# deb http://no.example/debian x\ndeb [arch=amd64] http://a.example/debian stable main\n",
        );
        write(
            "apt/sources.list.d/s.sources",
            "Types: deb deb-src\n# old:\n# URIs: http://old.example/debian-security\nuris:\n http://b.example/debian-security/\n\
             Suites: x\n\nTypes: deb\nEnabled: no\nURIs: http://off.example/debian-security\n\n\
             Types: deb-src\nURIs: http://src.example/debian-security\n",
        );
        write("cargo/registry/index/index.crates.example-0123/config.json", "{}");
        write(
            "python/pip/_internal/models/index.py",
            "x = 1\nPyPI = PackageIndex(\"https://p.example/\", 1)\n",
        );
        let mut host = Host {
            apt: dir.path().join("apt"),
            cargo: dir.path().join("cargo"),
            python: vec![dir.path().join("python")],
            ..Host::default()
        };
        let found = Settings::load(&host).unwrap();
        assert_eq!(found.places("debian:x", None), ["http://a.example/debian/x"]);
        assert_eq!(found.places("debian-security:x", None), ["http://b.example/debian-security/x"]);
        assert_eq!(found.crates().as_deref(), Some("https://index.crates.example/"));
        assert_eq!(found.pypi().as_deref(), Some("https://p.example/simple/"));

        write(
            "cargo/config.toml",
            "[source.crates-io]\nreplace-with = \"m\"\n[source.m]\nregistry = \"sparse+https://c.example/i\"\n",
        );
        write(
            "cargo/config.toml",
            "[source.crates-io]\nreplace-with = \"m\"\n[registries.m]\nindex = \"sparse+https://d.example/i/\"\n",
        );
        assert_eq!(Settings::load(&host).unwrap().crates().as_deref(), Some("https://d.example/i/"));
        write(
            "cargo/config.toml",
            "[source.crates-io]\nreplace-with = \"m\"\n[source.m]\nregistry = \"sparse+https://c.example/i\"\n",
        );
        write("pip.conf", "[global]\nindex-url = https://q.example/simple\n");
        host.pip = vec![dir.path().join("pip.conf")];
        let found = Settings::load(&host).unwrap();
        assert_eq!(found.crates().as_deref(), Some("https://c.example/i/"));
        assert_eq!(found.pypi().as_deref(), Some("https://q.example/simple/"));

        write("config.toml", "[mirrors]\npypi = [\"file:///srv/simple\"]\n");
        host.config = Some(dir.path().join("config.toml"));
        assert_eq!(Settings::load(&host).unwrap().pypi().as_deref(), Some("file:///srv/simple/"));
        write("config.toml", "[miror]\n");
        let error = Settings::load(&host).unwrap_err().to_string();
        assert!(
            error.ends_with("can't be used: unknown field `miror`, expected `mirrors` or `trusted-keys`"),
            "{error}"
        );
    }
}
