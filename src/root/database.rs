//! dpkg's own files below `/var/lib/dpkg`, as after `dpkg --unpack` of every package.
//!
//! | file | content |
//! | --- | --- |
//! | `status` | one paragraph a package, `install ok unpacked`, with the hashes of configuration files that stand where they belong: nothing is left for dpkg to move |
//! | `info/<package>[:<arch>].<kind>` | the scripts and lists of its control archive, and its `list` |
//! | `info/format` | `1` |
//! | `triggers/File`, `triggers/<name>` | who wants to know about which path, and which name |
//!
//! What dpkg makes when it runs first (locks, `available`, `diversions`) is left to it.

use super::package::Part;
use super::{Error, Merged};
use crate::base::{GuestPath, Name};
use crate::store::{Dir, Meta, Node, Store};

const PLACE: &str = "/var/lib/dpkg";

/// Writes the database into a merged root.
pub(super) fn write(store: &Store, parts: &[Part], merged: &mut Merged) -> Result<(), Error> {
    let mut sorted: Vec<(usize, &Part)> = parts.iter().enumerate().collect();
    sorted.sort_by_key(|(_, part)| (&part.name, &part.arch));
    let put = |text: &str| -> Result<Node, Error> {
        Ok(Node::File { digest: store.put_bytes(text.as_bytes())?, meta: Meta::root(0o644) })
    };
    let mut files: Vec<(String, Node)> = vec![
        ("updates".to_owned(), Node::Dir(Dir::default())),
        ("triggers".to_owned(), Node::Dir(Dir::default())),
        ("info/format".to_owned(), put("1\n")?),
    ];
    let mut status = String::new();
    let mut interests = Interests::default();
    for (index, part) in sorted {
        status.push_str(&part.status);
        status.push('\n');
        let label = part.label();
        for (kind, node) in &part.info.entries {
            let mut node = node.clone();
            if let (Some(lost), Node::File { digest, .. }, "list") =
                (merged.lost.get(&index), &node, kind.as_str())
            {
                let text = String::from_utf8_lossy(&store.read_blob(digest)?).into_owned();
                let kept = text.lines().filter(|line| lost.iter().all(|lost| lost.as_str() != *line));
                node = put(&kept.map(|line| format!("{line}\n")).collect::<String>())?;
            }
            if let (Node::File { digest, .. }, "triggers") = (&node, kind.as_str()) {
                interests
                    .read(&label, &String::from_utf8_lossy(&store.read_blob(digest)?))
                    .map_err(|why| Error::Control { file: part.file.clone(), why })?;
            }
            files.push((format!("info/{label}.{kind}"), node));
        }
    }
    files.push(("status".to_owned(), put(&status)?));
    if !interests.files.is_empty() {
        files.push(("triggers/File".to_owned(), put(&interests.files)?));
    }
    for (name, text) in interests.named {
        files.push((format!("triggers/{name}"), put(&text)?));
    }
    for (name, node) in files {
        let path = GuestPath::new(&format!("{PLACE}/{name}")).map_err(|_| Error::Control {
            file: name.clone(),
            why: "is no name that dpkg's database can have".to_owned(),
        })?;
        merged.tree.insert(&path, node).map_err(|conflict| Error::Control {
            file: "dpkg".to_owned(),
            why: format!("brings something in the place of its database: {conflict}"),
        })?;
    }
    Ok(())
}

/// Who waits for which trigger (deb-triggers(5)).
#[derive(Default)]
struct Interests {
    files: String,
    named: std::collections::BTreeMap<Name, String>,
}

impl Interests {
    fn read(&mut self, package: &str, text: &str) -> Result<(), String> {
        for line in text.lines().map(|line| line.split('#').next().unwrap_or_default().trim()) {
            let Some((directive, trigger)) = line.split_once([' ', '\t']) else {
                continue;
            };
            let option = match directive {
                "interest" | "interest-await" => "",
                "interest-noawait" => "/noawait",
                _ => continue,
            };
            let trigger = trigger.trim();
            if trigger.starts_with('/') {
                self.files.push_str(&format!("{trigger} {package}{option}\n"));
            } else {
                let wrong = |_| format!("waits for the trigger `{trigger}`, which has no right name");
                let name = Name::new(trigger).map_err(wrong)?;
                // dpkg's own files in that folder begin with a capital letter.
                self.named.entry(name).or_default().push_str(&format!("{package}{option}\n"));
            }
        }
        Ok(())
    }
}
