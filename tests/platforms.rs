//! Things for another machine: the known bytes, whole, and of that machine.
//!
//! What they do is tried by the packages' own tests, which are a part of each build and run under qemu-user here.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;

use nodeimg::base::Sha256;
use oci_spec::image::{ImageIndex, ImageManifest, MediaType};
use serde_json::Value;

use crate::everywhere::{PROGRAM, clone, good, nodeimg, test_store};
use crate::world::document;

/// The digest of the arm64 image below. When it moves, a person meant it.
const DIGEST: &str = include_str!("machine-arm64.digest");

const MACHINE: &str = "name = \"machine\"\ntag = \"1\"\n[system]\nsuite = \"bookworm\"\npackages = []\n\
                       [[layers]]\nname = \"programs\"\npackages = [\"wasmtime-c-api\"]\n";

/// Adds an image with a system of Debian's essential packages. Its lock says what the lock of a package with such a root
/// says.
fn with_machine(project: &Path) {
    fs_err::write(project.join("recipes/images/machine.toml"), MACHINE).unwrap();
    let lock = fs_err::read_to_string(project.join("lockfiles/packages/kubectl.toml")).unwrap();
    let (_, root) = lock.split_once("\n[root.build").unwrap();
    let body = format!("\nassembly = 1\n\n[root.build{root}").replace("[root.build", "[root.system");
    let hash = Sha256::of(body.as_bytes()).oci();
    let lock = format!("version = 1\nintegrity = \"{hash}\"\n{body}");
    fs_err::write(project.join("lockfiles/images/machine.toml"), lock).unwrap();
}

fn read<T: serde::de::DeserializeOwned>(layout: &Path, digest: &str) -> T {
    let path = layout.join("blobs/sha256").join(digest.strip_prefix("sha256:").unwrap());
    serde_json::from_slice(&fs_err::read(path).unwrap()).unwrap()
}

/// Reads the regular files of an image's layers.
fn files(layout: &Path, manifest: &ImageManifest) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    for layer in manifest.layers() {
        let blob = layout.join("blobs/sha256").join(layer.digest().digest());
        let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(fs_err::File::open(blob).unwrap()));
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            if entry.header().entry_type().is_file() {
                let path = entry.path().unwrap().display().to_string();
                let mut content = Vec::new();
                entry.read_to_end(&mut content).unwrap();
                files.insert(path, content);
            }
        }
    }
    files
}

#[test]
fn an_image_for_two_machines_has_an_index() {
    let folder = tempfile::tempdir().unwrap();
    clone(folder.path());
    with_machine(folder.path());
    let mut command = nodeimg(PROGRAM.as_ref(), folder.path(), &test_store());
    let built = document(command.args(["images/machine", "--platform", "all"]));
    let target = &built["targets"][0];
    let layout = folder.path().join("out/machine/oci");

    // As the specification wants it, and as skopeo takes it.
    let top = ImageIndex::from_file(layout.join("index.json")).unwrap();
    let [entry, _carried] = top.manifests().as_slice() else { panic!("{top:?}") };
    assert_eq!(entry.media_type(), &MediaType::ImageIndex);
    assert_eq!(entry.digest().to_string(), target["digest"].as_str().unwrap());
    let index: ImageIndex = read(&layout, entry.digest().as_ref());
    let platforms: Vec<_> = index
        .manifests()
        .iter()
        .map(|one| one.platform().as_ref().unwrap())
        .map(|platform| format!("{}/{}", platform.os(), platform.architecture()))
        .collect();
    assert_eq!(platforms, ["linux/amd64", "linux/arm64"]);
    let copy = folder.path().join("copy");
    let from = format!("oci:{}:1", layout.display());
    #[expect(clippy::disallowed_methods, reason = "another program is to read what this one wrote")]
    let mut skopeo = std::process::Command::new("skopeo");
    good(skopeo.args(["copy", "--all", "--quiet", &from, &format!("oci:{}:1", copy.display())]));
    let copied = ImageIndex::from_file(copy.join("index.json")).unwrap();
    assert_eq!(copied.manifests()[0].digest(), entry.digest());
    // One file for Docker's and OCI's readers: the first get this machine's.
    let archived: Value =
        serde_json::from_slice(&fs_err::read(layout.join("manifest.json")).unwrap()).unwrap();
    let host = nodeimg::base::Arch::host().unwrap().name();
    let own = index.manifests().iter().find(|one| {
        one.platform().as_ref().is_some_and(|platform| platform.architecture().to_string() == host)
    });
    let own: ImageManifest = read(&layout, own.unwrap().digest().as_ref());
    assert_eq!(archived[0]["Config"], format!("blobs/sha256/{}", own.config().digest().digest()));

    // The other machine's root is configured, and of that machine throughout.
    let arm64 = index.manifests()[1].digest().to_string();
    let files = files(&layout, &read(&layout, &arm64));
    let status = String::from_utf8(files["var/lib/dpkg/status"].clone()).unwrap();
    let states: Vec<_> = status.lines().filter(|line| line.starts_with("Status:")).collect();
    assert!(states.len() > 50, "{}", states.len());
    assert!(states.iter().all(|state| *state == "Status: install ok installed"), "{states:?}");
    let programs = files.iter().filter(|(_, content)| content.starts_with(b"\x7fELF"));
    let machines: BTreeMap<u16, &String> =
        programs.map(|(path, content)| (u16::from_le_bytes([content[18], content[19]]), path)).collect();
    assert_eq!(machines.keys().collect::<Vec<_>>(), [&183], "{machines:?}");
    assert!(files.contains_key("etc/passwd") && files.contains_key("etc/ld.so.cache"));
    assert!(files.contains_key("usr/lib/aarch64-linux-gnu/libwasmtime.so"));
    assert_eq!(arm64, DIGEST.trim());
}

/// Gives the sections of a 64-bit little-endian ELF file by name, without those that say nothing of what it does.
fn sections(file: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let number = |at: usize, size: usize| {
        file[at..at + size].iter().rev().fold(0, |sum, byte| sum << 8 | usize::from(*byte))
    };
    let (table, size, count) = (number(0x28, 8), number(0x3a, 2), number(0x3c, 2));
    let header = |index: usize| table + index * size;
    let names = number(header(number(0x3e, 2)) + 0x18, 8);
    let section = |index: usize| {
        let at = header(index);
        let name = &file[names + number(at, 4)..];
        let name = String::from_utf8_lossy(name.split(|byte| *byte == 0).next().unwrap()).into_owned();
        // Type 8 has no bytes in the file (elf.h: `SHT_NOBITS`).
        let length = if number(at + 4, 4) == 8 { 0 } else { number(at + 0x20, 8) };
        let start = number(at + 0x18, 8);
        (name, file[start..start + length].to_vec())
    };
    let mut sections: BTreeMap<_, _> = (1..count).map(section).collect();
    // The compiler's version, and a hash over all.
    for name in [".comment", ".note.gnu.build-id"] {
        sections.remove(name).unwrap();
    }
    sections
}

#[test]
fn a_cross_build_gives_what_an_emulated_one_gives() {
    let build = |change: &dyn Fn(&Path)| {
        let folder = tempfile::tempdir().unwrap();
        clone(folder.path());
        change(folder.path());
        let mut command = nodeimg(PROGRAM.as_ref(), folder.path(), &test_store());
        document(command.args(["packages/crun", "packages/pause", "--platform", "arm64"]));
        let read = |file: &str| fs_err::read(folder.path().join("out/packages").join(file)).unwrap();
        (read("crun/usr/local/bin/crun"), read("pause/bin/pause"))
    };
    let (crun, pause) = build(&|_| ());
    let emulated = |project: &Path| {
        let path = project.join("recipes/packages/pause.toml");
        let recipe = fs_err::read_to_string(&path).unwrap();
        let (before, rest) = recipe.split_once("[build.cross]").unwrap();
        let (_, test) = rest.split_once("\n[test]").unwrap();
        fs_err::write(path, format!("{before}[test]{test}")).unwrap();
        let path = project.join("lockfiles/packages/pause.toml");
        let lock = fs_err::read_to_string(&path).unwrap();
        let (head, body) = lock.split_once("integrity = ").unwrap();
        let (_, body) = body.split_once('\n').unwrap();
        let mut kept = String::new();
        for part in body.split_inclusive("\n\n") {
            if !part.starts_with("[root.cross") && !part.starts_with("[root.target") {
                kept.push_str(part);
            }
        }
        let kept = format!("{}\n", kept.trim_end());
        let hash = Sha256::of(kept.as_bytes()).oci();
        fs_err::write(path, format!("{head}integrity = \"{hash}\"\n{kept}")).unwrap();
    };
    let (same, other) = build(&emulated);
    assert!(crun == same, "it was not built again");
    assert_ne!(pause, other, "Debian's cross compiler has a version of its own");
    assert!(sections(&pause) == sections(&other));
}
