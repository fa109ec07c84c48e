//! What an archive says of its entries that no tree holds: order, times, names of owners, extended attributes.

use std::io::Read;

use super::archive::Source;
use super::stream::open;
use super::{Error, Limits};
use crate::base::Cancel;

/// The longest extended attribute that is read.
const MAX_VALUE: usize = 1_000;

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Its name, as it is written.
    pub name: String,
    /// When it was changed, in seconds since the epoch.
    pub time: u64,
    /// The names of owner and group.
    pub owner: String,
    /// What else pax records say: key and value.
    pub records: Vec<(String, String)>,
}

/// Lists the entries of a tar archive, plain or compressed, in order. `name` is for errors.
pub fn headers(
    input: impl Read,
    name: &str,
    store: &crate::store::Store,
    cancel: &Cancel,
) -> Result<Vec<Header>, Error> {
    let source = Source { store, name, limits: Limits::default(), cancel };
    let failed = |error| source.sort(error, "an entry");
    let mut archive = tar::Archive::new(open(input, source.limits, cancel).map_err(failed)?);
    let mut found = Vec::new();
    for entry in archive.entries().map_err(failed)? {
        let mut entry = entry.map_err(failed)?;
        if found.len() as u64 >= source.limits.entries {
            let limit = format!("{} entries", source.limits.entries);
            return Err(Error::Bomb { archive: name.to_owned(), limit });
        }
        let text = |bytes: &[u8]| String::from_utf8_lossy(&bytes[..bytes.len().min(MAX_VALUE)]).into_owned();
        let mut records = Vec::new();
        if let Some(extensions) = entry.pax_extensions().map_err(failed)? {
            for record in extensions.flatten() {
                let key = text(record.key_bytes());
                // These are in the name, the size and the link, which trees hold.
                if !matches!(key.as_str(), "path" | "size" | "linkpath" | "uid" | "gid") {
                    records.push((key, text(record.value_bytes())));
                }
            }
        }
        records.sort();
        let header = entry.header();
        let names =
            [header.username_bytes(), header.groupname_bytes()].map(|name| text(name.unwrap_or_default()));
        found.push(Header {
            name: text(&entry.path_bytes()),
            time: header.mtime().unwrap_or_default(),
            owner: names.join(":"),
            records,
        });
    }
    Ok(found)
}
