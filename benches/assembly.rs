//! How fast a tree becomes an image, and an image files: against SHA-256 and gzip on one core over the same bytes.
//! `cargo bench --bench assembly`

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::time::{Duration, Instant};

use nodeimg::base::event::Silent;
use nodeimg::base::{Cancel, Digest, GuestPath};
use nodeimg::export::{self, Shape};
use nodeimg::image::{self, Config, Layer, Platform, Spec};
use nodeimg::store::{Meta, Node, Store, Tree};

const MB: f64 = 1e6;

/// The same numbers on every machine (xorshift).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// Text-like bytes which shrink about as programs and libraries do, or bytes which do not shrink at all.
    fn fill(&mut self, size: usize, shrinks: bool) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(size + 16);
        while bytes.len() < size {
            let number = self.next();
            if !shrinks {
                bytes.extend_from_slice(&number.to_le_bytes());
            } else if number & 3 != 0 && bytes.len() > 4096 {
                let length = 4 + (number >> 8) as usize % 12;
                let at = bytes.len() - 1 - (number >> 32) as usize % 4000;
                let length = length.min(bytes.len() - at);
                bytes.extend_from_within(at..at + length);
            } else {
                bytes.extend_from_slice(&number.to_le_bytes()[..6]);
            }
        }
        bytes.truncate(size);
        bytes
    }
}

/// 120 MB in large files, 60 MB in small ones, 60 MB that are compressed already.
fn tree(store: &Store) -> Tree {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut tree = Tree::default();
    let mut put = |path: String, bytes: Vec<u8>| {
        let digest = store.put_bytes(&bytes).expect("the store is writable");
        let node = Node::File { digest, meta: Meta::root(0o644) };
        tree.insert(&GuestPath::new(&path).expect("made of numbers"), node).expect("files in directories");
    };
    for number in 0..12 {
        put(format!("/usr/lib/large-{number}.so"), random.fill(10_000_000, true));
    }
    for number in 0..6000 {
        put(format!("/usr/share/doc/{}/{number}", number % 100), random.fill(10_000, true));
    }
    for number in 0..3 {
        put(format!("/kind/images/{number}.tar"), random.fill(20_000_000, false));
    }
    tree
}

/// The processor time this process took so far, on all cores; unlike the clock's, others don't add to it.
fn processor() -> Duration {
    let stat = fs_err::read_to_string("/proc/self/stat").expect("Linux");
    let fields = stat.rsplit(')').next().expect("one part at least").split_whitespace();
    let ticks: u64 = fields.skip(11).take(2).map(|ticks| ticks.parse::<u64>().expect("a number")).sum();
    Duration::from_millis(ticks * 10)
}

fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    let given = work();
    (given, start.elapsed())
}

fn rate(bytes: u64, time: Duration) -> f64 {
    bytes as f64 / MB / time.as_secs_f64()
}

/// The most memory this process had so far, in MB.
fn peak() -> f64 {
    let status = fs_err::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("Linux");
    line.trim().trim_end_matches(" kB").parse::<f64>().expect("a number") * 1024.0 / MB
}

/// Sends every file's bytes to a writer.
fn stream(store: &Store, tree: &Tree, mut to: impl Write) {
    let mut buffer = vec![0; 256 << 10];
    for (_, digest, _) in tree.files() {
        let mut file = store.open_blob(&digest).expect("just stored");
        while let count @ 1.. = file.read(&mut buffer).expect("just stored") {
            to.write_all(&buffer[..count]).expect("a sink takes all");
        }
    }
}

fn main() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let store = Store::open(&folder.path().join("store")).expect("a new store");
    let cores = std::thread::available_parallelism().expect("Linux tells").get();
    let tree = tree(&store);
    let size = tree.size();
    let digest = store.put_tree(&tree).expect("the store is writable");
    let cancel = Cancel::default();
    let spec = Spec {
        assembly: image::ASSEMBLY,
        platform: Platform { architecture: "amd64".to_owned(), os: "linux".to_owned() },
        reference: "example/bench:1".to_owned(),
        config: Config { env: BTreeMap::from([("A".to_owned(), "b".to_owned())]), ..Config::default() },
        base: None,
        layers: vec![Layer { name: "all".to_owned(), tree: digest }],
    };
    println!("{:.0} MB in {} files, {cores} cores", size as f64 / MB, tree.files().count());
    let before = peak();

    let assemble = || image::assemble(&store, &spec, &Silent, &cancel).expect("a good spec");
    let start = processor();
    let (made, cold) = timed(assemble);
    let taken = processor() - start;
    println!(
        "assemble: {cold:.2?}, {:.0} MB/s; peak memory {:.0} MB, {before:.0} MB of it before",
        rate(size, cold),
        peak()
    );
    let (_, again) = timed(assemble);
    println!("assemble again: {again:.2?}");
    let summary = image::read(&store, &made).expect("just made");
    println!("layer: {:.3} of its content", summary.layers[0].blob.size as f64 / size as f64);

    let (hash, hashed) = timed(|| {
        let mut blob = sha2::Sha256::default();
        stream(&store, &tree, Hasher(&mut blob));
        sha2::Digest::finalize(blob)
    });
    assert_eq!(hash.len(), 32);
    println!(
        "SHA-256 alone, one core: {:.0} MB/s; assembly is {:.2} of it",
        rate(size, hashed),
        hashed.as_secs_f64() / cold.as_secs_f64()
    );
    for level in [5, 6] {
        let start = processor();
        let (_, zipped) = timed(|| {
            stream(
                &store,
                &tree,
                flate2::write::GzEncoder::new(std::io::sink(), flate2::Compression::new(level)),
            );
        });
        println!(
            "gzip -{level} alone, one core: {:.0} MB/s; assembly is {:.2} of it times {cores} cores, \
             and {:.2} of it by processor time",
            rate(size, zipped),
            zipped.as_secs_f64() / cold.as_secs_f64() / cores as f64,
            (processor() - start).as_secs_f64() / taken.as_secs_f64()
        );
    }

    let image = store.put_tree(&made).expect("the store is writable");
    exports(&store, &image, &folder.path().join("out"), &made, &cancel);
    println!("peak memory at the end: {:.0} MB", peak());
}

fn exports(store: &Store, image: &Digest, out: &std::path::Path, made: &Tree, cancel: &Cancel) {
    for (form, name) in [(Shape::OCI_LAYOUT, "oci"), (Shape::ARCHIVE, "image.tar")] {
        let to = out.join(name);
        let write = || export::export(store, form, image, &to, cancel).expect("a new folder");
        let (_, time) = timed(write);
        println!("export {name}: {time:.2?}, {:.0} MB/s", rate(made.size(), time));
        let (_, time) = timed(write);
        println!("export {name} again: {time:.2?} (goal: under 1 ms)");
    }
    let (from, to) = (out.join("image.tar"), out.join("copy.tar"));
    let (_, time) = timed(|| fs_err::copy(&from, &to).expect("a new file"));
    println!("a plain copy of image.tar: {:.0} MB/s", rate(made.size(), time));
}

/// Hashes what is written to it.
struct Hasher<'a>(&'a mut sha2::Sha256);

impl Write for Hasher<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        sha2::Digest::update(self.0, bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
