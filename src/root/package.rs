//! One package: taken apart once for ever, as dpkg would keep it.

use std::fmt::Write as _;

use debversion::Version;
use md5::{Digest as _, Md5};

use super::control::{Paragraph, Relation};
use super::{Error, Package};
use crate::base::{Cancel, Digest, GuestPath, Sha256};
use crate::store::{Meta, Node, Store, Tree};
use crate::unpack;

/// Raised when the same package would give another tree.
const VERSION: u32 = 1;

/// A control file or a list of configuration files is read whole: the largest have some 100 KiB.
const TEXT_LIMIT: u64 = 4 << 20;

/// Names of the memo's tree.
const DATA: &str = "/data";
const INFO: &str = "/info";
const STATUS: &str = "/status";

/// A package as a part of a root.
#[derive(Debug)]
pub(super) struct Part {
    /// The file's name, for messages.
    pub(super) file: String,
    pub(super) name: String,
    pub(super) arch: String,
    pub(super) version: Version,
    /// Whether several architectures of it can be installed together.
    pub(super) is_shared: bool,
    pub(super) replaces: Vec<Relation>,
    pub(super) provides: Vec<Relation>,
    /// Its paragraph of `/var/lib/dpkg/status`.
    pub(super) status: String,
    /// Its files of `/var/lib/dpkg/info`, without the package's name.
    pub(super) info: Tree,
    pub(super) data: Tree,
}

impl Part {
    /// The package as dpkg names its files (dpkg-query(1), `binary:Package`).
    pub(super) fn label(&self) -> String {
        if self.is_shared { format!("{}:{}", self.name, self.arch) } else { self.name.clone() }
    }

    /// Tells whether this package may take a file from another (Debian policy 7.6.1).
    pub(super) fn may_replace(&self, other: &Part) -> bool {
        self.replaces.iter().any(|relation| {
            relation.is_met(&other.name, &other.version)
                || other.provides.iter().any(|provided| relation.is_provided_by(provided))
        })
    }
}

/// Names what comes of a package; also who takes it apart is alone under this name.
pub(super) fn key(package: &Package) -> Sha256 {
    Sha256::of(format!("deb {VERSION} {}", package.digest).as_bytes())
}

/// Gives a package's part of a root if it was taken apart before.
pub(super) fn known(store: &Store, package: &Package) -> Result<Option<Part>, Error> {
    let Some(known) = store.memo(&key(package))? else { return Ok(None) };
    match store.tree(&known) {
        Ok(tree) if tree.files().all(|(_, blob, _)| store.has_blob(&blob)) => {
            read(store, package, tree).map(Some)
        }
        Err(error) if !error.is_lost() => Err(error.into()),
        _ => Ok(None),
    }
}

/// Takes a package apart and remembers what it gave.
pub(super) fn take_apart(store: &Store, package: &Package, cancel: &Cancel) -> Result<Part, Error> {
    let deb = unpack::deb(store, &package.digest, package.file, unpack::Limits::default(), cancel)?;
    let tree = arrange(store, package, deb)?;
    store.put_memo(&key(package), &store.put_tree(&tree)?)?;
    read(store, package, tree)
}

/// Makes the memo's tree: the content, dpkg's files about it, its paragraph of the status.
fn arrange(store: &Store, package: &Package, deb: unpack::Deb) -> Result<Tree, Error> {
    let wrong = |why: &str| Error::Control { file: package.file.to_owned(), why: why.to_owned() };
    let unpack::Deb { mut control, data } = deb;
    let path = |text: &str| GuestPath::new(text).expect("a constant");
    let file = |node: Option<Node>| match node {
        Some(Node::File { digest, .. }) if digest.size <= TEXT_LIMIT => Some(digest),
        _ => None,
    };
    let text = |digest: &Digest| -> Result<String, Error> {
        String::from_utf8(store.read_blob(digest)?).map_err(|_| wrong("has a control file that is not UTF-8"))
    };
    let fields = file(control.remove(&path("/control"))).ok_or_else(|| wrong("has no control file"))?;
    let mut paragraph = Paragraph::parse(&text(&fields)?).map_err(|why| wrong(&why))?;
    let first = if paragraph.get("Essential").is_some() { "Essential" } else { "Package" };
    paragraph.put_after(first, "Status", "install ok unpacked".to_owned());
    if let Some(listed) = file(control.get(&path("/conffiles")).cloned()) {
        let mut value = String::new();
        for line in text(&listed)?.lines().map(str::trim).filter(|line| !line.is_empty()) {
            // A file that the package has no more and that an upgrade takes away (deb-conffiles(5)).
            if let Some(line) = line.strip_prefix("remove-on-upgrade ") {
                write!(value, "\n {} newconffile remove-on-upgrade", line.trim())
                    .expect("a string takes all");
                continue;
            }
            let at = GuestPath::new(line)
                .map_err(|_| wrong(&format!("has the configuration file `{line}`, which is no path")))?;
            let Some(Node::File { digest, .. }) = data.get(&at) else {
                return Err(wrong(&format!("lacks its configuration file `{line}`")));
            };
            write!(value, "\n {line} {}", md5(store, digest)?).expect("a string takes all");
        }
        if !value.is_empty() {
            paragraph.put_after("Version", "Conffiles", value);
        }
    }
    let put = |bytes: &[u8]| -> Result<Node, Error> {
        Ok(Node::File { digest: store.put_bytes(bytes)?, meta: Meta::root(0o644) })
    };
    let mut info = Tree::default();
    for (name, node) in control.entries {
        if !matches!(node, Node::File { .. }) {
            return Err(wrong(&format!("has `{name}` beside its control file, which is no file")));
        }
        info.entries.insert(name, node);
    }
    if !info.entries.contains_key("md5sums") {
        let mut sums = String::new();
        for (at, digest, _) in data.files() {
            writeln!(sums, "{}  {}", md5(store, &digest)?, at.relative()).expect("a string takes all");
        }
        info.insert(&path("/md5sums"), put(sums.as_bytes())?).expect("a name");
    }
    info.insert(&path("/list"), put(list(&data).as_bytes())?).expect("a name");
    let mut tree = Tree::default();
    for (at, node) in
        [(DATA, Node::Dir(data)), (INFO, Node::Dir(info)), (STATUS, put(paragraph.text().as_bytes())?)]
    {
        tree.insert(&path(at), node).expect("an empty tree takes all");
    }
    Ok(tree)
}

/// Lists a package's paths as dpkg does: in the order of the archive, which dpkg-deb sorts and ends with
/// the symbolic links.
fn list(data: &Tree) -> String {
    let mut text = "/.\n".to_owned();
    for links in [false, true] {
        for (path, _) in data.walk().filter(|(_, node)| matches!(node, Node::Symlink { .. }) == links) {
            text.push_str(path.as_str());
            text.push('\n');
        }
    }
    text
}

fn md5(store: &Store, digest: &Digest) -> Result<String, Error> {
    let mut hasher = Md5::new();
    let mut reader = store.verified_reader(digest)?;
    std::io::copy(&mut reader, &mut hasher).map_err(|error| {
        match error.downcast::<crate::store::Error>() {
            Ok(error) => error,
            Err(source) => crate::store::Error::Io { action: "read", path: store.path().to_owned(), source },
        }
    })?;
    Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Reads what [`arrange`] made.
fn read(store: &Store, package: &Package, mut tree: Tree) -> Result<Part, Error> {
    let wrong = |why: String| Error::Control { file: package.file.to_owned(), why };
    let mut take = |at: &str| tree.remove(&GuestPath::new(at).expect("a constant"));
    let (Some(Node::Dir(data)), Some(Node::Dir(info)), Some(Node::File { digest, .. })) =
        (take(DATA), take(INFO), take(STATUS))
    else {
        return Err(wrong("was taken apart by another nodeimg".to_owned()));
    };
    let status = String::from_utf8_lossy(&store.read_blob(&digest)?).into_owned();
    let fields = Paragraph::parse(&status).map_err(wrong)?;
    let field = |name: &str| fields.get(name).ok_or_else(|| wrong(format!("says no `{name}`")));
    let plain = |name: &str, also: &[u8]| -> Result<String, Error> {
        let text = field(name)?;
        let fine = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || also.contains(&byte);
        // Policy 5.6.1. Such a text is also harmless as a file name and in a shell.
        match text.bytes().all(fine) && text.starts_with(|c: char| c.is_ascii_alphanumeric()) {
            true => Ok(text.to_owned()),
            false => Err(wrong(format!("says `{name}: {text}`"))),
        }
    };
    let relations = |name: &str| Relation::list(fields.get(name).unwrap_or_default()).map_err(wrong);
    let version = field("Version")?;
    Ok(Part {
        file: package.file.to_owned(),
        name: plain("Package", b"+-.")?,
        arch: plain("Architecture", b"-")?,
        version: version.parse().map_err(|_| wrong(format!("says `Version: {version}`")))?,
        is_shared: fields.get("Multi-Arch") == Some("same"),
        replaces: relations("Replaces")?,
        provides: relations("Provides")?,
        status,
        info,
        data,
    })
}
