//! How long a Debian root takes: every package of a folder, unpacked and configured, twice, in two new stores, and
//! mmdebstrap with the same files where it is installed and allowed.
//!
//! ```text
//! cargo bench --bench roots -- FOLDER [manifest=FILE] [store=FOLDER] [peer]
//! ```
//!
//! With `manifest=` the settled root's paths, modes, owners and hashes are written to a file.

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

/// Seconds of the parts of one run, and what came out.
struct Run {
    unpack: f64,
    checkout: f64,
    configure: f64,
    settle: f64,
    cpu: f64,
    tree: Tree,
    digest: Digest,
}

fn run(store: &Store, files: &[(String, Digest)]) -> Run {
    let cancel = Cancel::default();
    let packages: Vec<_> = files.iter().map(|(file, digest)| Package { file, digest: *digest }).collect();
    let (base, unpack) = timed(|| {
        let tree = root::unpack(store, &packages, &Silent, &cancel).unwrap_or_else(|error| panic!("{error}"));
        store.put_tree(&tree).expect("the store takes a tree")
    });
    let (_checkout, checkout) = timed(|| store.checkout(&base).expect("the tree is whole"));
    let script = root::configure();
    let mut log = Vec::new();
    let limits = Limits { time: Duration::from_secs(600), ..Limits::default() };
    let step = Step { argv: &script.argv, env: &script.env, mounts: &[], limits };
    let sandbox = Namespace::with_program(PathBuf::from(env!("CARGO_BIN_EXE_nodeimg")));
    let (result, configure) = timed(|| {
        let start = Instant::now();
        let mut take = |part: &[u8]| {
            log.extend_from_slice(format!("[{:.2}] ", start.elapsed().as_secs_f64()).as_bytes());
            log.extend_from_slice(part);
        };
        root::run(store, &sandbox, &base, &step, &mut take, &cancel)
    });
    let (tree, finished) =
        result.unwrap_or_else(|error| panic!("{error:?}\n{}", String::from_utf8_lossy(&log)));
    let _ = fs_err::write("/tmp/roots.log", &log);
    let (tree, settle) = timed(|| root::settle(store, tree).expect("the tree is whole"));
    let digest = store.put_tree(&tree).expect("the store takes a tree");
    Run { unpack, checkout, configure, settle, cpu: finished.cpu.as_secs_f64(), tree, digest }
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
    let place = tempfile::tempdir().expect("a temporary folder");
    let path = options.get("store").map_or(place.path().join("store"), PathBuf::from);
    let store = Store::open(Path::new(&path)).expect("a temporary folder can be written");
    let mut files = Vec::new();
    for entry in fs_err::read_dir(&folder).expect("the folder of packages") {
        let entry = entry.expect("the folder of packages");
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.ends_with(".deb") {
            let bytes = fs_err::read(entry.path()).expect("a package");
            files.push((name, store.put_bytes(&bytes).expect("the store takes a blob")));
        }
    }
    let first = run(&store, &files);
    println!(
        "{} packages: unpack {:.2} s, checkout {:.2} s, configure {:.2} s (processor {:.2} s), settle {:.2} s; {}",
        files.len(),
        first.unpack,
        first.checkout,
        first.configure,
        first.cpu,
        first.settle,
        first.digest
    );
    if let Some(file) = options.get("manifest") {
        fs_err::write(file, manifest(&first.tree)).expect("the manifest can be written");
    }
    drop(store);
    Store::remove_tree(place.path()).expect("a temporary folder can be removed");
}
