//! How long a Debian root takes: every package of a folder, unpacked and configured in two new stores, which must give
//! the same bytes; beside it mmdebstrap with the same files, where it is asked for.
//!
//! ```text
//! cargo bench --bench roots -- FOLDER [manifest=FILE] [log=FILE] [peer=SOURCES]
//! ```
//!
//! `manifest` gets the root's paths, modes, owners and hashes; `log` what the scripts said, and when. `peer` names apt's
//! sources for bookworm (a file or a mirror) and wants mmdebstrap and root.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nodeimg::base::event::Silent;
use nodeimg::base::{Cancel, Digest};
use nodeimg::root::{self, Package, Step};
use nodeimg::sandbox::{Limits, Namespace};
use nodeimg::store::{Node, Store, Tree};

fn timed<T>(work: impl FnOnce() -> T) -> (T, f64) {
    let start = Instant::now();
    let result = work();
    (result, start.elapsed().as_secs_f64())
}

/// What came out of a run, and the seconds that it took.
struct Run {
    tree: Tree,
    digest: Digest,
    seconds: f64,
    log: Vec<u8>,
}

fn run(store: &Store, files: &[(String, Digest)]) -> Run {
    let cancel = Cancel::default();
    let packages: Vec<_> = files.iter().map(|(file, digest)| Package { file, digest: *digest }).collect();
    let (base, unpack) = timed(|| {
        let tree = root::unpack(store, &packages, &Silent, &cancel).unwrap_or_else(|error| panic!("{error}"));
        store.put_tree(&tree).expect("the store takes a tree")
    });
    let script = root::configure();
    let limits = Limits { time: Duration::from_secs(1800), ..Limits::default() };
    let surroundings = nodeimg::sandbox::Surroundings::default();
    let step = Step {
        surroundings: &surroundings,
        argv: &script.argv,
        env: &script.env,
        mounts: &[],
        known: &Default::default(),
        emulator: None,
        limits,
    };
    let sandbox = Namespace::with_program(PathBuf::from(env!("CARGO_BIN_EXE_nodeimg")));
    let mut log = Vec::new();
    let start = Instant::now();
    let mut take = |part: &[u8]| {
        log.extend_from_slice(format!("[{:.2}] ", start.elapsed().as_secs_f64()).as_bytes());
        log.extend_from_slice(part);
    };
    let (result, configure) = timed(|| root::run(store, &sandbox, &base, &step, &mut take, &cancel));
    let (tree, finished) =
        result.unwrap_or_else(|error| panic!("{error:?}\n{}", String::from_utf8_lossy(&log)));
    let (tree, settle) = timed(|| root::settle(store, tree).expect("the tree is whole"));
    let digest = store.put_tree(&tree).expect("the store takes a tree");
    println!(
        "{} packages: unpack {unpack:.2} s, configure {configure:.2} s (processor {:.2} s), settle {settle:.2} s; {}",
        files.len(),
        finished.cpu.as_secs_f64(),
        digest.hash
    );
    Run { tree, digest, seconds: unpack + configure + settle, log }
}

fn in_a_new_store(folder: &Path, place: &Path) -> Run {
    let store = Store::open(place).expect("a temporary folder can be written");
    let mut files = Vec::new();
    for entry in fs_err::read_dir(folder).expect("the folder of packages") {
        let entry = entry.expect("the folder of packages");
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.ends_with(".deb") {
            let bytes = fs_err::read(entry.path()).expect("a package");
            files.push((name, store.put_bytes(&bytes).expect("the store takes a blob")));
        }
    }
    run(&store, &files)
}

fn manifest(tree: &Tree) -> String {
    let mut text = String::new();
    for (path, node) in tree.walk() {
        match node {
            Node::File { digest, meta } => {
                writeln!(text, "{path} f {:o} {}:{} {}", meta.mode, meta.uid, meta.gid, digest.hash)
            }
            Node::Dir(dir) => {
                writeln!(text, "{path} d {:o} {}:{}", dir.meta.mode, dir.meta.uid, dir.meta.gid)
            }
            Node::Symlink { target } => writeln!(text, "{path} l {target}"),
        }
        .expect("a string takes all");
    }
    text
}

/// Makes the same root with mmdebstrap, the packages being in its cache.
fn peer(folder: &Path, sources: &str) -> f64 {
    let place = tempfile::tempdir().expect("a temporary folder");
    let names: Vec<String> = fs_err::read_dir(folder)
        .expect("the folder of packages")
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter_map(|name| name.strip_suffix(".deb")?.split('_').next().map(str::to_owned))
        .collect();
    let hook = format!(
        "mkdir -p \"$1\"/var/cache/apt/archives; cp {}/*.deb \"$1\"/var/cache/apt/archives/; \
         for name in bin sbin lib lib64; do mkdir -p \"$1\"/usr/$name; ln -s usr/$name \"$1\"/$name; done",
        folder.display()
    );
    #[expect(clippy::disallowed_methods, reason = "it is the peer that is measured")]
    let mut command = std::process::Command::new("mmdebstrap");
    command
        .args(["--quiet", "--variant=custom", "--skip=download/empty,essential/unlink,install/unlink"])
        .arg(format!("--include={}", names.join(",")))
        .arg(format!("--setup-hook={hook}"))
        .args(["bookworm".as_ref(), place.path().join("root").as_os_str(), sources.as_ref()]);
    let (status, seconds) = timed(|| command.status().expect("mmdebstrap runs"));
    assert!(status.success(), "mmdebstrap ended with {status}");
    seconds
}

fn main() {
    let mut options = BTreeMap::new();
    let mut folder = None;
    for argument in std::env::args().skip(1).filter(|argument| argument != "--bench") {
        match argument.split_once('=') {
            Some((name, value)) => drop(options.insert(name.to_owned(), value.to_owned())),
            None => folder = Some(PathBuf::from(argument)),
        }
    }
    let Some(folder) = folder else {
        println!("roots: give a folder of packages: cargo bench --bench roots -- FOLDER");
        return;
    };
    let folder = fs_err::canonicalize(folder).expect("the folder of packages");
    // Removed only at the end: ext4 is slow to make files where many were removed a moment ago.
    let place = tempfile::tempdir().expect("a temporary folder");
    let stores = ["one", "other"].map(|name| place.path().join(name));
    let runs = stores.each_ref().map(|store| in_a_new_store(&folder, store));
    assert_eq!(runs[0].digest, runs[1].digest, "two runs gave different roots");
    let [run, other] = runs;
    let seconds = run.seconds.min(other.seconds);
    println!("least: {seconds:.2} s");
    if let Some(file) = options.get("manifest") {
        fs_err::write(file, manifest(&run.tree)).expect("the manifest can be written");
    }
    if let Some(file) = options.get("log") {
        fs_err::write(file, &run.log).expect("the log can be written");
    }
    if let Some(sources) = options.get("peer") {
        let theirs = peer(&folder, sources);
        println!("mmdebstrap: {theirs:.2} s, {:.1} times as long", theirs / seconds);
    }
    for store in stores {
        Store::remove_tree(&store).expect("a store can be removed");
    }
}
