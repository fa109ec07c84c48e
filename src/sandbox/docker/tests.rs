//! Folders on their way, and orders.

use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;
use std::time::Duration;

use rustix::fs::{CWD, FileType, Mode, XattrFlags};

use super::stream::{receive, send};
use super::wire::{Back, Fault};
use super::*;
use crate::base::{Blame, Digest, GuestPath, Sha256};
use crate::sandbox::{Access, Identity, Limits, Mount, Root, Surroundings};

fn sent(from: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    send(from, &mut bytes).unwrap();
    bytes
}

fn received(bytes: &[u8], to: &Path) -> std::io::Result<()> {
    receive(&mut &*bytes, to)
}

#[test]
fn a_folder_arrives_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let from = folder.path().join("from");
    fs_err::create_dir_all(from.join("closed/below")).unwrap();
    fs_err::write(from.join("file"), vec![7; 300_000]).unwrap();
    fs_err::write(from.join("closed/below/empty"), "").unwrap();
    fs_err::hard_link(from.join("file"), from.join("closed/again")).unwrap();
    fs_err::set_permissions(from.join("file"), std::fs::Permissions::from_mode(0o6755)).unwrap();
    symlink("../anywhere", from.join("link")).unwrap();
    rustix::fs::mknodat(CWD, from.join("pipe"), FileType::Fifo, Mode::from(0o600), 0).unwrap();
    rustix::fs::mknodat(CWD, from.join("whiteout"), FileType::CharacterDevice, Mode::empty(), 0).unwrap();
    let owner = |path: &Path| {
        rustix::fs::setxattr(path, "user.nodeimg.owner", b"4:2", XattrFlags::empty()).unwrap();
    };
    owner(&from.join("file"));
    owner(&from.join("closed"));
    let old = rustix::fs::Timespec { tv_sec: -3, tv_nsec: 5 };
    let times = rustix::fs::Timestamps { last_access: old, last_modification: old };
    rustix::fs::utimensat(CWD, from.join("closed"), &times, rustix::fs::AtFlags::empty()).unwrap();
    fs_err::set_permissions(from.join("closed"), std::fs::Permissions::from_mode(0o000)).unwrap();

    let to = folder.path().join("to");
    received(&sent(&from), &to).unwrap();
    assert_eq!(fs_err::metadata(from.join("closed")).unwrap().mode() & 0o7777, 0);
    let closed = fs_err::metadata(to.join("closed")).unwrap();
    assert_eq!((closed.mode() & 0o7777, closed.mtime(), closed.mtime_nsec()), (0, -3, 5));
    for path in [&from, &to] {
        fs_err::set_permissions(path.join("closed"), std::fs::Permissions::from_mode(0o700)).unwrap();
    }
    let file = fs_err::metadata(to.join("file")).unwrap();
    assert_eq!((file.len(), file.mode() & 0o7777, file.nlink()), (300_000, 0o6755, 2));
    assert_eq!(file.ino(), fs_err::metadata(to.join("closed/again")).unwrap().ino());
    let original = fs_err::metadata(from.join("file")).unwrap();
    assert_eq!((file.mtime(), file.mtime_nsec()), (original.mtime(), original.mtime_nsec()));
    assert_eq!(fs_err::read_link(to.join("link")).unwrap(), Path::new("../anywhere"));
    let mut value = [0; 8];
    let length = rustix::fs::getxattr(to.join("closed"), "user.nodeimg.owner", &mut value).unwrap();
    assert_eq!(&value[..length], b"4:2");
    let kind = |name: &str| {
        let stat = rustix::fs::lstat(to.join(name)).unwrap();
        (FileType::from_raw_mode(stat.st_mode), stat.st_rdev)
    };
    assert_eq!(kind("pipe"), (FileType::Fifo, 0));
    assert_eq!(kind("whiteout"), (FileType::CharacterDevice, 0));
}

#[test]
fn a_file_alone_arrives_too() {
    let folder = tempfile::tempdir().unwrap();
    let (from, to) = (folder.path().join("from"), folder.path().join("to"));
    fs_err::write(&from, "text").unwrap();
    received(&sent(&from), &to).unwrap();
    assert_eq!(fs_err::read_to_string(&to).unwrap(), "text");
    assert!(received(&sent(&from), &to).is_err(), "nothing that is there is written over");
}

/// Builds a stream by hand.
#[derive(Default)]
struct Forged(Vec<u8>);

impl Forged {
    fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.extend((bytes.len() as u64).to_le_bytes());
        self.0.extend(bytes);
        self
    }

    fn number(mut self, number: u64) -> Self {
        self.0.extend(number.to_le_bytes());
        self
    }

    fn tag(mut self, tag: u8) -> Self {
        self.0.push(tag);
        self
    }

    fn dir(self, name: &[u8]) -> Self {
        self.tag(b'D').bytes(name).number(0o755).number(0).number(0).number(0)
    }

    fn file(self, name: &[u8]) -> Self {
        self.tag(b'F').bytes(name).number(0o644).number(0).number(0).number(0).tag(0).number(0)
    }

    fn link(self, name: &[u8], target: &[u8]) -> Self {
        self.tag(b'S').bytes(name).bytes(target)
    }
}

#[test]
fn a_hostile_stream_reaches_nothing_outside() {
    let refused = |stream: Forged| {
        let folder = tempfile::tempdir().unwrap();
        let error = received(&stream.0, &folder.path().join("to")).unwrap_err();
        let outside: Vec<_> = fs_err::read_dir(folder.path()).unwrap().flatten().collect();
        assert!(outside.len() <= 1, "{outside:?}");
        error.to_string()
    };
    let ours = "the stream is none of nodeimg's";
    let new = Forged::default;
    for name in [&b".."[..], b".", b"", b"a/b", b"/etc", b"a\0b"] {
        assert_eq!(refused(new().dir(b"-").file(name)), ours);
    }
    // A folder that is a link already.
    let over_link = new().dir(b"-").link(b"x", b"..").dir(b"x").file(b"outside");
    assert!(refused(over_link).contains("File exists"));
    // Neither a device, nor a bit that no mode has, nor an attribute of the system's, nor another entry at the top.
    assert_eq!(refused(new().dir(b"-").tag(b'N').bytes(b"sda").number(0o060_644)), ours);
    assert_eq!(refused(new().tag(b'D').bytes(b"-").number(0o170_000).number(0).number(0).number(0)), ours);
    let attribute = new().tag(b'D').bytes(b"-").number(0o755).number(0).number(0).number(1);
    assert_eq!(refused(attribute.bytes(b"security.capability").bytes(b"")), ours);
    assert_eq!(refused(new().dir(b"-").tag(b'U').dir(b"other")), ours);
    assert_eq!(refused(new().dir(b"-").tag(b'H').bytes(b"h").number(3)), ours);
    assert_eq!(refused(new().link(b"-", b"/etc")), ours);
    assert_eq!(refused(new().dir(b"-").tag(b'S').bytes(b"s").number(u64::MAX)), ours);
    assert_eq!(refused((0..600).fold(new(), |stream, _| stream.dir(b"d"))), ours);
    assert_eq!(refused(new().dir(b"-").file(b"f").tag(b'E')), ours);
    assert_eq!(refused(new().dir(b"-")), "failed to fill whole buffer");
}

fn job() -> Job {
    let mount = |source: &str, target: &str, access| Mount {
        source: source.into(),
        target: GuestPath::new(target).unwrap(),
        access,
    };
    let digest = |text: &str| Digest { hash: Sha256::of(text.as_bytes()), size: 1 };
    Job {
        argv: vec!["/bin/true".to_owned()],
        env: BTreeMap::new(),
        cwd: GuestPath::root(),
        root: Root::Changeable { lower: "/store/root".into(), changes: "/scratch/changes".into() },
        mounts: vec![
            mount("/scratch/build", "/build", Access::Scratch),
            mount("/scratch/out", "/out", Access::Writable),
            mount("/store/input", "/in/input", Access::ReadOnly),
            mount("/home/script", "/step.sh", Access::ReadOnly),
        ],
        identity: Identity::Builder,
        emulator: None,
        limits: Limits { time: Duration::from_secs(1), ..Limits::default() },
        // A folder that is written to is not what it was, whatever is said.
        surroundings: Surroundings::default(),
        known: [("/store/root", "r"), ("/store/input", "i"), ("/scratch/out", "o")]
            .map(|(path, text)| (path.into(), digest(text)))
            .into(),
    }
}

#[test]
fn an_order_names_no_path_of_this_machine() {
    let (order, sources) = order(&job());
    let text = serde_json::to_string(&order).unwrap();
    assert!(!["/store", "/scratch", "/home"].iter().any(|path| text.contains(path)), "{text}");
    let paths: Vec<_> = sources.iter().map(|source| source.path.display().to_string()).collect();
    let all =
        ["/store/root", "/scratch/changes", "/scratch/build", "/scratch/out", "/store/input", "/home/script"];
    assert_eq!(paths, all);
    let places: Vec<_> = order.places.iter().map(|place| (place.content.is_some(), place.back)).collect();
    let expected = [
        (true, Back::Nothing),
        (false, Back::Upper),
        (false, Back::Nothing),
        (false, Back::Whole),
        (true, Back::Nothing),
        (false, Back::Nothing),
    ];
    assert_eq!(places, expected);
    assert_eq!(order.job.mounts[1].source, Path::new("/work/3"));
    assert_eq!(order.job.mounts[1].target.as_str(), "/out");
}

#[test]
fn errors_from_a_container_say_where_to_act() {
    use miette::Diagnostic as _;
    let told = |fault: Fault| {
        let error = fault.at("ssh://far");
        assert_eq!(error.blame(), Blame::Machine);
        (error.to_string(), error.help().map(|help| help.to_string()).unwrap_or_default())
    };
    let (text, help) = told(Fault::NoSpace { left: 3 });
    let full = "the file system of the engine at `ssh://far` has only 3 MiB left; the step was stopped";
    assert_eq!(text, full);
    assert_eq!(help, "free some space there: `docker system df` shows what uses it");
    let fix = "run `sudo sysctl -w user.max_user_namespaces=15000`".to_owned();
    let (text, help) = told(Fault::NoNamespaces { errno: libc::EPERM, fix });
    let refused =
        "this host does not let nodeimg make a user namespace: Operation not permitted (os error 1)";
    assert_eq!(text, refused);
    let there =
        "on the machine of the engine at `ssh://far`: run `sudo sysctl -w user.max_user_namespaces=15000`";
    assert_eq!(help, there);
    let (text, help) = told(Fault::Other { what: "mount /proc".to_owned(), reason: "no".to_owned() });
    assert_eq!(text, "the container could not mount /proc: no");
    assert!(help.starts_with("the engine, or what guards its machine, forbids something"), "{help}");
    let limit = Fault::from(Error::Limit { limit: crate::sandbox::Limit::Disk, detail: "d".to_owned() });
    assert_eq!(limit.at("x").to_string(), "the step used more than its limit of disk: d");
    let other = Error::OtherMachine { host: "h".into(), theirs: "linux/arm64".into(), ours: "linux/amd64" };
    assert_eq!(
        other.to_string(),
        "the engine at `h` runs programs for linux/arm64, this nodeimg is one for linux/amd64"
    );
}
