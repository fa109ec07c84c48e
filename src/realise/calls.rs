//! Holds a program's calls against the libraries that a runtime brings for it.

use super::Error;
use crate::base::{Digest, GuestPath, Name};
use crate::gate::abi::{self, Headers, Library, Source};
use crate::plan::Calls;
use crate::store::{Node, Store, Tree};

/// The most bytes of a header, of all headers of a package, and of a library.
const HEADER: u64 = 4 << 20;
const HEADERS: u64 = 64 << 20;
const LIBRARY: u64 = 1 << 30;

/// A package's result.
struct Package {
    name: String,
    tree: Tree,
    headers: Headers,
}

/// Errs with every call that does not fit. What a runtime's packages don't bring is not looked at.
pub(super) fn check(calls: &Calls, inputs: &[Digest], store: &Store) -> Result<Tree, Error> {
    let (program, names) = &calls.names;
    let (source, packages) = inputs.split_first().expect("the source is the first input");
    let source = store.tree(source)?;
    let package = |(digest, name): (&Digest, &String)| -> Result<Package, Error> {
        let tree = store.tree(digest)?;
        Ok(Package { name: name.clone(), headers: headers(&tree, store)?, tree })
    };
    let packages = packages.iter().zip(names).map(package).collect::<Result<Vec<_>, _>>()?;
    let (built, others) = packages.split_at(calls.built);
    let mut faults = Vec::new();
    for file in &calls.files {
        let Some(Node::File { digest, .. }) = source.get(file) else {
            return Err(Error::NoCalls { program: program.clone(), file: file.to_string() });
        };
        let source = Source::parse(&String::from_utf8_lossy(&store.read_blob(digest)?));
        for library in calls.loads.iter().filter(|name| source.libraries().contains(&name.to_string())) {
            let brought = others.iter().find_map(|package| Some((package, find(&package.tree, library)?)));
            let Some((package, digest)) = brought else { continue };
            let broken =
                |reason| Error::NoLibrary { library: library.to_string(), of: package.name.clone(), reason };
            if digest.size > LIBRARY {
                return Err(broken("it is too big".to_owned()));
            }
            let symbols = abi::symbols(&store.read_blob(&digest)?).map_err(broken)?;
            let with_headers = built.iter().find(|package| source.includes(&package.headers));
            let own = with_headers.unwrap_or(package);
            // Where a library's headers are a package of their own, those are its headers.
            let theirs = if source.includes(&package.headers) { &package.headers } else { &own.headers };
            let built = Library { name: &own.name, headers: &own.headers, symbols: None };
            let shipped = Library { name: &package.name, headers: theirs, symbols: Some(&symbols) };
            faults.extend(abi::compare(program, &source, &built, &shipped));
        }
    }
    if faults.is_empty() { Ok(Tree::default()) } else { Err(Error::Calls(faults)) }
}

/// Reads the headers of a package: what lies below a folder `include`, by the name that it is included by.
fn headers(tree: &Tree, store: &Store) -> Result<Headers, Error> {
    let (mut headers, mut size) = (Headers::new(), 0);
    for (path, digest, _) in tree.files() {
        let name = path.as_str().split_once("/include/").map(|(_, name)| name);
        let Some(name) = name.filter(|name| name.ends_with(".h")) else { continue };
        size += digest.size;
        if digest.size <= HEADER && size <= HEADERS {
            let text = String::from_utf8_lossy(&store.read_blob(&digest)?).into_owned();
            headers.insert(name.to_owned(), text);
        }
    }
    Ok(headers)
}

/// Finds a library by its file name, or behind a link of this name to one beside it.
fn find(tree: &Tree, name: &Name) -> Option<Digest> {
    let found = |name: &str| {
        let is_it = |path: &GuestPath| path.components().last() == Some(name);
        tree.files().find(|(path, _, _)| is_it(path)).map(|(_, digest, _)| digest)
    };
    let link = || {
        tree.walk().find_map(|(path, node)| match node {
            Node::Symlink { target } if path.components().last() == Some(name.as_str()) => {
                target.rsplit('/').next().and_then(found)
            }
            _ => None,
        })
    };
    found(name.as_str()).or_else(link)
}
