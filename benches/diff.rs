//! How long it takes to say what two images of 1 GB differ in that share all but a small layer: OCI layouts and archives.
//! The goal is a second. `cargo bench --bench diff`

use std::path::Path;
use std::time::{Duration, Instant};

use nodeimg::base::{Cancel, Sha256};
use nodeimg::diff::Depth;
use nodeimg::diff::image::{self, Place};
use nodeimg::store::Store;
use serde_json::{Value, json};

const GOAL: Duration = Duration::from_secs(1);
const SHARED: u64 = 1 << 30;
const RUNS: usize = 5;

/// A layer of `count` files.
fn layer(count: usize, text: &str) -> Vec<u8> {
    let mut out = tar::Builder::new(Vec::new());
    for number in 0..count {
        let mut header = tar::Header::new_ustar();
        header.set_path(format!("usr/share/own/{number}")).expect("a short path");
        header.set_mode(0o644);
        header.set_size(text.len() as u64);
        header.set_cksum();
        out.append(&header, text.as_bytes()).expect("memory can be written");
    }
    out.into_inner().expect("memory can be written")
}

/// Writes a layout; the shared layer is a hole of 1 GB, which nobody is to read.
fn layout(at: &Path, own: &[u8]) {
    let blobs = at.join("blobs/sha256");
    fs_err::create_dir_all(&blobs).expect("a temporary folder can be written");
    let put = |bytes: &[u8], kind: &str| -> Value {
        let hash = Sha256::of(bytes);
        fs_err::write(blobs.join(hash.to_string()), bytes).expect("a temporary folder can be written");
        json!({ "mediaType": format!("application/vnd.oci.image.{kind}"), "digest": hash.oci(), "size": bytes.len() })
    };
    let shared = Sha256::of(b"shared");
    let file =
        fs_err::File::create(blobs.join(shared.to_string())).expect("a temporary folder can be written");
    file.set_len(SHARED).expect("a file can have a hole");
    let own = put(own, "layer.v1.tar");
    let config = json!({ "os": "linux", "architecture": "amd64", "config": {},
        "rootfs": { "type": "layers", "diff_ids": [shared.oci(), own["digest"]] } });
    let config = put(config.to_string().as_bytes(), "config.v1+json");
    let below = json!({ "mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": shared.oci(), "size": SHARED });
    let manifest = json!({ "schemaVersion": 2, "config": config, "layers": [below, own] });
    let manifest = put(manifest.to_string().as_bytes(), "manifest.v1+json");
    let index = json!({ "schemaVersion": 2, "manifests": [manifest] });
    fs_err::write(at.join("index.json"), index.to_string()).expect("a temporary folder can be written");
}

fn main() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let place = |name: &str| folder.path().join(name);
    for (name, text) in [("before", "before\n"), ("now", "now\n")] {
        layout(&place(name), &layer(2_000, text));
        let archive = fs_err::File::create(place(&format!("{name}.tar"))).expect("a file");
        let mut archive = tar::Builder::new(archive);
        archive.append_dir_all(".", place(name)).expect("an archive can be written");
        archive.finish().expect("an archive can be written");
    }
    let layouts = ["before", "now"].map(|name| Place::Folder(place(name)));
    let archives = ["before.tar", "now.tar"].map(|name| Place::Archive(place(name)));
    for (what, places) in [("layouts", layouts), ("archives", archives)] {
        for run in 0..RUNS {
            // A new store: nothing is remembered.
            let store = Store::open(&place(&format!("store-{what}-{run}"))).expect("a store");
            let start = Instant::now();
            let [before, now] = places.each_ref().map(|place| {
                image::open(&store, "bench", place).expect("it can be read").expect("it is an image")
            });
            let (found, _) = image::compare(&store, &before, &now, Depth::Packages, &Cancel::default())
                .expect("they can be compared");
            let took = start.elapsed();
            assert_eq!(found[0].files.len(), 2_000);
            println!("{what}: {took:?}{}", if took > GOAL { ", TOO LONG" } else { "" });
        }
    }
}
