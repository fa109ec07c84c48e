//! What Debian has of upstreams' archives, out of the index of its unstable release: where a mirror does not list its
//! folders, that is what it says. A list like any other, so nobody's signature is asked for.

use std::collections::BTreeMap;
use std::io::BufRead as _;
use std::sync::{Arc, Mutex};

use crate::fetch::debian::{NOW, decompressed};
use crate::fetch::network::public;
use crate::fetch::{Context, Error};

/// The release that has what upstreams have.
const UNSTABLE: &str = "unstable";

/// Names of files by component, as far as they were asked for.
pub(in crate::fetch) type Originals = Mutex<BTreeMap<String, Arc<Vec<String>>>>;

/// Lists the files that upstreams' archives are called in a component, such as `crun_1.21.orig.tar.gz`. `folder` is one
/// of its pool: `debian:pool/main/c/crun/`. Nothing for another URL.
pub(super) fn names(folder: &str, context: &Context<'_>) -> Option<Result<Arc<Vec<String>>, Error>> {
    let (archive, path) = folder.split_once(":pool/")?;
    let component = path.split('/').next()?;
    let index = format!("{archive}:dists/{UNSTABLE}/{component}/source/Sources.xz");
    // Whoever asks second waits for the first.
    let mut known = context.network.originals.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some(names) = known.get(&index) {
        return Some(Ok(Arc::clone(names)));
    }
    let read = || {
        let places = context.network.places(&index, Some(NOW));
        let bytes = context.network.get_small(&index, &places, context)?;
        let names = read(&bytes).map_err(|reason| Error::Malformed { url: public(&index), reason })?;
        Ok(Arc::new(names))
    };
    Some(read().inspect(|names| _ = known.insert(index.clone(), Arc::clone(names))))
}

/// Reads the names out of a compressed `Sources` index (Debian's wiki, "RepositoryFormat").
fn read(compressed: &[u8]) -> Result<Vec<String>, String> {
    let (mut text, mut line, mut names) = (decompressed(compressed)?, Vec::new(), Vec::new());
    let mut is_list = false;
    loop {
        line.clear();
        if text.read_until(b'\n', &mut line).map_err(|error| error.to_string())? == 0 {
            return Ok(names);
        }
        if !line.starts_with(b" ") {
            is_list = line.starts_with(b"Checksums-Sha256:");
        } else if is_list && let Ok(line) = std::str::from_utf8(&line) {
            let name = line.split_ascii_whitespace().nth(2).filter(|name| name.contains(".orig"));
            names.extend(name.map(str::to_owned));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn an_index_names_the_files_of_its_packages() {
        let text = "Package: crun\nFiles:\n 00 1 crun_1.28.orig.tar.gz\nChecksums-Sha256:\n 00 1 crun_1.28-1.dsc\n \
                    00 1 crun_1.28.orig.tar.gz\n 00 1 crun_1.28.orig.tar.gz.asc\nVersion: 1\n 00 1 x_2.orig.tar.gz\n\n";
        let mut writer = xz2::write::XzEncoder::new(Vec::new(), 0);
        writer.write_all(text.as_bytes()).unwrap();
        let index = writer.finish().unwrap();
        assert_eq!(read(&index).unwrap(), ["crun_1.28.orig.tar.gz", "crun_1.28.orig.tar.gz.asc"]);
        assert!(read(&index[..index.len() / 2]).is_err());
        assert!(read(b"<html>").is_err());
    }
}
