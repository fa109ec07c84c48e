use std::path::Path;

use serde_json::json;

use super::*;

/// A file in a layer: name, content, time; what ends in `/` is a directory.
type Item<'a> = (&'a str, &'a str, u64);

fn tar(items: &[Item<'_>]) -> Vec<u8> {
    let mut out = tar::Builder::new(Vec::new());
    for (name, text, time) in items {
        let mut header = tar::Header::new_ustar();
        header.set_path(name).unwrap();
        header.set_mode(if name.ends_with('/') { 0o755 } else { 0o644 });
        header.set_entry_type(match name.ends_with('/') {
            true => tar::EntryType::Directory,
            false => tar::EntryType::Regular,
        });
        header.set_size(text.len() as u64);
        header.set_mtime(*time);
        header.set_uid(0);
        header.set_gid(0);
        header.set_cksum();
        out.append(&header, text.as_bytes()).unwrap();
    }
    out.into_inner().unwrap()
}

/// Writes a layout of layers that are not compressed. A layer whose bytes are not given is not written.
fn layout(at: &Path, layers: &[(&str, Vec<u8>)], lacking: &[usize], config: &serde_json::Value) {
    let blobs = at.join("blobs/sha256");
    fs_err::create_dir_all(&blobs).unwrap();
    let put = |bytes: &[u8]| {
        fs_err::write(blobs.join(Sha256::of(bytes).to_string()), bytes).unwrap();
        json!({ "digest": Sha256::of(bytes).oci(), "size": bytes.len() })
    };
    let described = |kind: &str, mut descriptor: serde_json::Value| {
        descriptor["mediaType"] = json!(kind);
        descriptor
    };
    let ids: Vec<_> = layers.iter().map(|(_, bytes)| Sha256::of(bytes).oci()).collect();
    let history: Vec<_> = layers.iter().map(|(name, _)| json!({ "created_by": name })).collect();
    let mut document = json!({ "os": "linux", "architecture": "amd64", "config": config, "history": history,
        "rootfs": { "type": "layers", "diff_ids": ids } });
    document["created"] = json!("1970-01-01T00:00:00Z");
    let config =
        described("application/vnd.oci.image.config.v1+json", put(&serde_json::to_vec(&document).unwrap()));
    let list: Vec<_> = layers
        .iter()
        .map(|(_, bytes)| described("application/vnd.oci.image.layer.v1.tar", put(bytes)))
        .collect();
    for at in lacking {
        fs_err::remove_file(blobs.join(Sha256::of(&layers[*at].1).to_string())).unwrap();
    }
    let manifest = json!({ "schemaVersion": 2, "config": config, "layers": list });
    let manifest =
        described("application/vnd.oci.image.manifest.v1+json", put(&serde_json::to_vec(&manifest).unwrap()));
    fs_err::write(at.join("index.json"), json!({ "manifests": [manifest] }).to_string()).unwrap();
    fs_err::write(at.join("oci-layout"), "{}").unwrap();
}

/// Two layouts and a store, in a folder of their own.
struct Room {
    dir: tempfile::TempDir,
    store: Store,
}

impl Room {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("store")).unwrap();
        Self { dir, store }
    }

    fn layout(&self, name: &str, layers: &[(&str, Vec<u8>)], lacking: &[usize]) {
        layout(&self.dir.path().join(name), layers, lacking, &json!({}));
    }

    fn open(&self, place: &Place) -> Result<Vec<Image<'_>>, Error> {
        Ok(open(&self.store, "x", place)?.unwrap())
    }

    fn folder(&self, name: &str) -> Result<Vec<Image<'_>>, Error> {
        self.open(&Place::Folder(self.dir.path().join(name)))
    }

    fn compare(&self) -> Result<Differences, Error> {
        let (old, new) = (self.folder("old")?, self.folder("new")?);
        let (mut found, alone) = compare(&self.store, &old, &new, Depth::Packages, &Cancel::default())?;
        assert!(alone.is_empty());
        Ok(found.remove(0))
    }
}

fn files(found: &Differences) -> Vec<String> {
    found.files.iter().map(ToString::to_string).collect()
}

fn layers(found: &Differences) -> Vec<String> {
    let name = |told: &Option<Told>| told.as_ref().map_or("-", |told| &told.name).to_owned();
    let pair = |pair: &Pair| {
        let details: Vec<_> = pair.details.iter().map(|detail| format!("; {detail}")).collect();
        let sign = if pair.same { "=" } else { "~" };
        format!("{} {sign} {}{}", name(&pair.before), name(&pair.now), details.concat())
    };
    found.layers.iter().map(pair).collect()
}

#[test]
fn layers_of_both_are_not_read() {
    let room = Room::new();
    let base = ("base", tar(&[("etc/", "", 0), ("etc/a", "base", 0), ("etc/b", "base", 0)]));
    let old = ("own", tar(&[("etc/a", "old\n", 0), ("only-old", "", 0)]));
    let new = ("own", tar(&[("etc/a", "new\n", 0), ("etc/.wh.b", "", 0)]));
    // The base's bytes are nowhere.
    room.layout("old", &[base.clone(), old], &[0]);
    room.layout("new", &[base, new], &[0]);
    let found = room.compare().unwrap();
    assert_eq!(layers(&found), ["base = base", "own ~ own"]);
    assert_eq!(found.unread, 1);
    assert_eq!(files(&found), ["~ /etc/a: lines +1 −1", "− /etc/b", "− /only-old"]);
    assert_eq!(found.files[1].before, Some(crate::diff::Entry::Below));
}

#[test]
fn what_the_store_knows_of_layers_of_both_is_used() {
    let room = Room::new();
    let base = tar(&[("etc/", "", 0), ("etc/a", "base\n", 0), ("etc/b", "base\n", 0)]);
    let blob = room.store.put_bytes(&base).unwrap();
    crate::unpack::layers(&room.store, "x", &[blob], &Cancel::default()).unwrap();
    let old = ("own", tar(&[("etc/a", "base\n", 0)]));
    let new = ("own", tar(&[("etc/.wh.b", "", 0), ("etc/c", "new\n", 0)]));
    room.layout("old", &[("base", base.clone()), old], &[0]);
    room.layout("new", &[("base", base), new], &[0]);
    let found = room.compare().unwrap();
    assert_eq!(found.unread, 0);
    // The old image's own `/etc/a` is what the base has.
    assert_eq!(files(&found), ["− /etc/b", "+ /etc/c"]);
    assert!(matches!(found.files[0].before, Some(crate::diff::Entry::File { .. })));
}

#[test]
fn a_later_layer_of_both_hides_what_it_holds() {
    let room = Room::new();
    let over = ("over", tar(&[("a", "over", 0)]));
    let own = |text| ("own", tar(&[("a", text, 0), ("b", text, 0)]));
    room.layout("old", &[own("old\n"), over.clone()], &[]);
    room.layout("new", &[own("new\n"), over.clone()], &[]);
    let found = room.compare().unwrap();
    assert_eq!((found.unread, files(&found).len()), (1, 2), "it is not known");
    // Once it was read, it is.
    room.layout("old", std::slice::from_ref(&over), &[]);
    room.layout("new", &[("other", tar(&[]))], &[]);
    room.compare().unwrap();
    room.layout("old", &[own("old\n"), over.clone()], &[1]);
    room.layout("new", &[own("new\n"), over], &[1]);
    let found = room.compare().unwrap();
    assert_eq!((found.unread, files(&found)), (0, vec!["~ /b: lines +1 −1".to_owned()]));
}

#[test]
fn archives_with_the_same_files_differ_in_times_or_order() {
    let room = Room::new();
    room.layout("old", &[("own", tar(&[("a", "x", 0), ("b", "y", 0)]))], &[]);
    room.layout("new", &[("own", tar(&[("a", "x", 0), ("b", "y", 86_400)]))], &[]);
    let found = room.compare().unwrap();
    assert!(found.files.is_empty());
    assert_eq!(layers(&found), ["own ~ own; time of b 1970-01-01T00:00:00Z → 1970-01-02T00:00:00Z"]);
    room.layout("new", &[("own", tar(&[("b", "y", 0), ("a", "x", 0)]))], &[]);
    assert_eq!(layers(&room.compare().unwrap()), ["own ~ own; order, from entry 1 a → b"]);
    let mut longer = tar(&[("a", "x", 0), ("b", "y", 0)]);
    longer.resize(longer.len() + 512, 0);
    room.layout("new", &[("own", longer)], &[]);
    assert_eq!(layers(&room.compare().unwrap()), ["own ~ own; the form of the archive"]);
}

#[test]
fn layers_are_paired_by_content_name_and_place() {
    let room = Room::new();
    let layer = |name, text| (name, tar(&[("a", text, 0)]));
    room.layout("old", &[layer("a", "1"), layer("b", "2"), layer("c", "3"), layer("d", "4")], &[]);
    room.layout(
        "new",
        &[layer("z", "1"), layer("c", "5"), layer("b", "6"), layer("d", "4"), layer("e", "7")],
        &[],
    );
    let found = room.compare().unwrap();
    assert_eq!(layers(&found), ["a = z", "c ~ c", "b ~ b", "d = d", "- ~ e"]);
}

#[test]
fn configurations_are_compared_by_field() {
    let room = Room::new();
    let layers = [("own", tar(&[("a", "x", 0)]))];
    for (name, config) in
        [("old", json!({ "Env": ["A=1", "B=2"] })), ("new", json!({ "Env": ["A=1", "B=3"], "User": "7" }))]
    {
        layout(&room.dir.path().join(name), &layers, &[], &config);
    }
    let found = room.compare().unwrap();
    let config: Vec<_> = found.config.iter().map(ToString::to_string).collect();
    assert_eq!(config, ["config.Env +1 −1", "config.User + 7"]);
    assert_eq!((found.equal, found.files.len(), found.unread), (false, 0, 0));
}

/// An archive as `docker save` wrote it before version 25.
fn docker_archive(at: &Path, layers: &[(&str, Vec<u8>)]) {
    let ids: Vec<_> = layers.iter().map(|(_, bytes)| Sha256::of(bytes).oci()).collect();
    let history: Vec<_> = layers.iter().map(|(name, _)| json!({ "created_by": name })).collect();
    let config = json!({ "os": "linux", "architecture": "amd64", "config": {}, "history": history,
        "rootfs": { "type": "layers", "diff_ids": ids }, "created": "1970-01-01T00:00:00Z" });
    let config = config.to_string();
    let paths: Vec<_> = (0..layers.len()).map(|at| format!("{at}/layer.tar")).collect();
    let list = json!([{ "Config": "config.json", "RepoTags": ["x:1"], "Layers": paths }]).to_string();
    let mut out = tar::Builder::new(fs_err::File::create(at).unwrap());
    let mut put = |name: &str, bytes: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        out.append_data(&mut header, name, bytes).unwrap();
    };
    put("manifest.json", list.as_bytes());
    put("config.json", config.as_bytes());
    paths.iter().zip(layers).for_each(|(path, (_, bytes))| put(path, bytes));
    out.finish().unwrap();
}

#[test]
fn archives_are_read_where_they_lie() {
    let room = Room::new();
    let layers = |text| [("base", tar(&[("b", "b", 0)])), ("own", tar(&[("a", text, 0)]))];
    room.layout("old", &layers("old\n"), &[]);
    let archive = room.dir.path().join("new.tar");
    docker_archive(&archive, &layers("new\n"));
    let (old, new) = (room.folder("old").unwrap(), room.open(&Place::Archive(archive.clone())).unwrap());
    assert_eq!(new[0].manifest, None);
    let (found, _) = compare(&room.store, &old, &new, Depth::Packages, &Cancel::default()).unwrap();
    assert_eq!((found[0].unread, files(&found[0])), (1, vec!["~ /a: lines +1 −1".to_owned()]));
    let (found, _) = compare(&room.store, &new, &new, Depth::Packages, &Cancel::default()).unwrap();
    assert!(found[0].equal);
    // No image, and nothing that is an archive.
    for bytes in [tar(&[("a", "x", 0)]), b"x".repeat(2_000)] {
        fs_err::write(&archive, bytes).unwrap();
        assert!(open(&room.store, "x", &Place::Archive(archive.clone())).unwrap().is_none());
    }
}

#[test]
fn what_is_no_image_is_refused() {
    let room = Room::new();
    let at = room.dir.path().join("old");
    let layers = [("own", tar(&[("a", "x", 0)]))];
    room.layout("old", &layers, &[]);
    room.layout("new", &[("own", tar(&[("a", "y", 0)]))], &[]);
    let refused = |room: &Room| room.compare().unwrap_err().to_string();
    // A layer with other bytes.
    let blob = at.join("blobs/sha256").join(Sha256::of(&layers[0].1).to_string());
    fs_err::write(&blob, tar(&[("a", "z", 0)])).unwrap();
    assert!(refused(&room).starts_with("layer `own` of `x` is another archive than its configuration says"));
    // One that is gone, and one that is a link out.
    fs_err::remove_file(&blob).unwrap();
    assert_eq!(refused(&room), "layer `own` of `x` is not there");
    fs_err::os::unix::fs::symlink("/etc/passwd", &blob).unwrap();
    assert!(refused(&room).starts_with("can't read "), "{}", refused(&room));
    for (index, said) in [
        ("{", "`x` is no image: `index.json` does not parse: EOF while parsing an object at line 1 column 1"),
        (r#"{"manifests":[]}"#, "`x` is no image: its index names none"),
        (r#"{"manifests":[{"digest":"md5:1"}]}"#, "`x` is no image: `md5:1` is no SHA-256 digest"),
    ] {
        fs_err::write(at.join("index.json"), index).unwrap();
        assert_eq!(refused(&room), said);
    }
    fs_err::remove_file(at.join("index.json")).unwrap();
    assert_eq!(refused(&room), "`x` is no image: it has neither `index.json` nor `manifest.json`");
}
