//! Against lists that a small HTTP server and this machine have.

use std::collections::BTreeMap;

use super::*;
use crate::base::Cancel;
use crate::base::event::Silent;
use crate::fetch::server::{Server, answer, ok, serve};
use crate::fetch::{Network, Settings};
use crate::store::Store;

fn upstream() -> Server {
    serve(|asked, _, to| {
        match asked.path.as_str() {
        "/x/" => ok(to, b"<a href='x-1.0.tar.gz'><a href='x-1.1.tar.gz'><a href='x-1.1.tar.gz.asc'><a href='y-2.tar.gz'>"),
        "/pool/main/x/x/" => ok(to, b"<a href='x_1.0.orig.tar.gz'> <a href='x_1.2+dfsg.orig.tar.gz'> <a href='x_1.0-1.dsc'>"),
        "/dists/unstable/main/source/Sources.xz" => {
            let mut writer = xz2::write::XzEncoder::new(Vec::new(), 0);
            let text = b"Checksums-Sha256:\n 00 1 z_1.0.orig.tar.xz\n 00 1 z_1.5.orig.tar.xz\n";
            std::io::Write::write_all(&mut writer, text).unwrap();
            ok(to, &writer.finish().unwrap());
        }
        "/other/" => ok(to, b"<a href='readme'>"),
        "/crates/se/rd/serde" => ok(
            to,
            format!(
                "{{\"vers\":\"1.0.0\",\"cksum\":\"{0}\",\"yanked\":false}}\n{{\"vers\":\"1.0.1\",\"cksum\":\"{0}\",\"yanked\":true}}\n\
                 {{\"vers\":\"1.0.2\",\"cksum\":\"{0}\"}}\n",
                "0".repeat(64)
            )
            .as_bytes(),
        ),
        "/pypi/a-b/" => ok(
            to,
            br#"{"files":[{"filename":"a_b-1-py3-none-any.whl","url":"u","hashes":{}},
                {"filename":"a_b-2-py3-none-any.whl","url":"u","hashes":{},"yanked":"broken"},
                {"filename":"a_b-3-py3-none-any.whl","url":"u","hashes":{},"yanked":false},
                {"filename":"a_b-4.tar.gz","url":"u","hashes":{}}]}"#,
        ),
        _ => answer(to, "404 Not Found", "Content-Length: 0\r\n", b""),
    }
    })
}

/// Asks for the versions of a source; gives them, or why there are none, with the server's place left out.
fn versions(
    base: &str,
    network: &Network,
    table: &str,
) -> Result<(String, Option<String>, Vec<String>), String> {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("store")).unwrap();
    let context = Context { network, store: &store, events: &Silent, cancel: &Cancel::default() };
    let request: Request = toml::from_str(&table.replace("BASE", base)).unwrap();
    let plain = |text: &str| text.replace(base, "");
    match request.releases(&context) {
        Ok(found) => Ok((plain(&found.place), found.own, found.versions)),
        Err(error) => Err(plain(&error.to_string())),
    }
}

fn network(base: &str) -> Network {
    let mirrors = [("debian", ""), ("crates", "crates/"), ("pypi", "pypi/")];
    let mirrors: BTreeMap<_, _> =
        mirrors.into_iter().map(|(key, path)| (key.to_owned(), vec![format!("{base}/{path}")])).collect();
    Network::hasty(Settings::with_mirrors(mirrors))
}

#[test]
fn every_kind_of_source_is_asked_where_it_is_listed() {
    let server = upstream();
    let network = network(&server.base);
    let of = |table: &str| versions(&server.base, &network, table).unwrap();
    let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    assert_eq!(of("url = 'BASE/x/x-{version}.tar.gz'"), ("/x/".into(), None, texts(&["1.0", "1.1"])));
    // Another place has what the first has not.
    assert_eq!(of("url = 'BASE/gone/x-{version}.tar.gz'\nalso = ['BASE/x/x-{version}.tar.gz']").0, "/x/");
    // The version that stands in the request itself.
    assert_eq!(
        of("url = 'debian:pool/main/x/x/x_1.0.orig.tar.gz'"),
        ("debian:pool/main/x/x/".into(), Some("1.0".into()), texts(&["1.0", "1.2+dfsg"]))
    );
    // A mirror that lists no folders: then the archive's index does, and is asked for once.
    let url = "url = 'debian:pool/main/z/z/z_{version}.orig.tar.xz'";
    assert_eq!(of(url), ("debian:pool/main/z/z/".into(), None, texts(&["1.0", "1.5"])));
    assert_eq!(of(url).2, ["1.0", "1.5"]);
    assert_eq!(server.asked().iter().filter(|asked| asked.path.ends_with("/Sources.xz")).count(), 1);
    assert_eq!(
        of("crate = 'serde'\nversion = '{version}'"),
        ("/crates/se/rd/serde".into(), None, texts(&["1.0.0", "1.0.2"]))
    );
    assert_eq!(of("crate = 'serde'\nversion = '1.0.0'").1.as_deref(), Some("1.0.0"));
    assert_eq!(
        of("pypi = 'A.b'\nversion = '{version}'\nfile = 'a_b-{version}-py3-none-any.whl'"),
        ("/pypi/a-b/".into(), None, texts(&["1", "3"]))
    );
}

#[test]
fn folders_of_this_machine_are_listed() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["x-1.tar.gz", "x-2.tar.gz", "notes"] {
        fs_err::write(folder.path().join(name), "").unwrap();
    }
    let base = format!("file://{}", folder.path().display());
    let (_, _, mut found) =
        versions(&base, &network("file:///none"), "url = 'BASE/x-{version}.tar.gz'").unwrap();
    found.sort();
    assert_eq!(found, ["1", "2"]);
}

#[test]
fn what_has_no_list_says_why() {
    let server = upstream();
    let online = network(&server.base);
    let why = |network: &Network, table: &str| versions(&server.base, network, table).unwrap_err();
    let commit = "0123456789012345678901234567890123456789";
    for (table, text) in [
        ("url = 'BASE/x/x.tar.gz'".to_owned(), "its URL, tag or file holds no `{version}`".to_owned()),
        (
            "url = 'BASE/other/x-{version}.gz'".to_owned(),
            "`/other/` lists nothing that is called alike".to_owned(),
        ),
        (
            "url = 'BASE/gone/x-{version}.gz'".to_owned(),
            "no place has `/gone/x-{version}.gz`\n  /gone/: 404 Not Found".to_owned(),
        ),
        (format!("git = 'BASE/r'\nrev = '{commit}'"), "a commit has no version".to_owned()),
        (
            "git = 'BASE/r'\nbranch = 'main'".to_owned(),
            "a branch has no versions; `nodeimg lock --update NAME` takes what it has now".to_owned(),
        ),
        ("git = 'BASE/r'\ntag = 'stable'".to_owned(), "its URL, tag or file holds no `{version}`".to_owned()),
        ("path = 'files'".to_owned(), "its URL, tag or file holds no `{version}`".to_owned()),
    ] {
        assert_eq!(why(&online, &table), text, "{table}");
    }
    assert_eq!(
        why(&Network::offline(), "url = 'BASE/x/x-{version}.gz'"),
        "`/x/` is not in the store, and the network is off"
    );
}

#[test]
fn tags_are_compared_with_those_of_their_kind() {
    let tags: Vec<_> = ["v1.32.2", "v1.32.8", "v1.36.0", "v1.37.0-rc.1", "2.0", "v3.0-windows", "latest"]
        .map(str::to_owned)
        .into();
    let newer = |tag: &str| newer_tag(tag, &tags).map(|found| (found.newest, found.patch));
    assert_eq!(newer("v1.32.2"), Some((Some("v1.36.0".into()), Some("v1.32.8".into()))));
    assert_eq!(newer("1.9"), Some((Some("2.0".into()), None)));
    assert_eq!(newer("v1.36.0"), Some((None, None)));
    assert_eq!(newer("latest"), None);
}

#[test]
fn an_original_archive_of_debian_names_its_source_package() {
    let of = |table: &str| {
        let request: Request = toml::from_str(table).unwrap();
        request.debian_source().map(|source| (source.name, source.version))
    };
    let crun = "url = 'https://f.example/crun-1.21.tar.gz'\nalso = ['debian:pool/main/c/crun/crun_1.21.orig.tar.gz']";
    assert_eq!(of(crun), Some(("crun".into(), "1.21".into())));
    assert_eq!(of("url = 'https://f.example/crun-1.21.tar.gz'"), None);
    assert_eq!(of("crate = 'serde'\nversion = '1'"), None);
}
