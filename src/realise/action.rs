//! The second name of a step that runs in the sandbox: a REAPI `Action` over the content of its inputs.
//!
//! The input root has the guest's root file system under `root/` and what is placed in it beside that, at its guest
//! path (`build/crun`, `in/wasmtime-c-api`, `out`). Only digests are needed: no tree is read.

use std::collections::BTreeMap;

use prost::Message as _;

use crate::base::{Digest, GuestPath};
use crate::plan::{Mounted, Run, RunKind};
use crate::store::proto;

/// Gives the digest of the action that does `run` in `root` with `placed` in it.
pub(super) fn digest(run: &Run, root: &Digest, placed: &[(&GuestPath, Mounted, Digest)]) -> Digest {
    let mut top = Folder::default();
    top.leaves.insert("root".to_owned(), (Mounted::ReadOnly, *root));
    for (path, how, digest) in placed {
        top.place(&path.components().collect::<Vec<_>>(), *how, *digest);
    }
    let (outputs, properties) = match run.kind {
        RunKind::Build => (vec!["out"], vec!["unix_mode"]),
        RunKind::Test => (vec![], vec![]),
        RunKind::System => (vec!["root"], vec!["owner", "unix_mode"]),
    };
    let owned = |texts: Vec<&str>| texts.into_iter().map(str::to_owned).collect();
    let property =
        |(name, value): (&str, &str)| proto::Property { name: name.to_owned(), value: value.to_owned() };
    let message = proto::Command {
        arguments: run.argv.clone(),
        environment_variables: run.env.iter().map(|(k, v)| property((k, v))).collect(),
        working_directory: run.cwd.relative().to_owned(),
        output_paths: owned(outputs),
        output_node_properties: owned(properties),
    };
    let action = proto::Action {
        command_digest: Some(proto::digest_of(&message).into()),
        input_root_digest: Some(top.digest().into()),
        timeout: None,
        do_not_cache: false,
        salt: format!("nodeimg run {}", run.rules).into_bytes(),
        platform: Some(proto::Platform {
            properties: [("arch", run.arch.name()), ("os", "linux")].map(property).to_vec(),
        }),
    };
    proto::digest_of(&action)
}

/// A directory of the input root that is no artifact itself.
#[derive(Default)]
struct Folder {
    folders: BTreeMap<String, Folder>,
    leaves: BTreeMap<String, (Mounted, Digest)>,
}

impl Folder {
    fn place(&mut self, path: &[&str], how: Mounted, digest: Digest) {
        match path {
            [] => {}
            [name] => _ = self.leaves.insert((*name).to_owned(), (how, digest)),
            [folder, rest @ ..] => {
                self.folders.entry((*folder).to_owned()).or_default().place(rest, how, digest)
            }
        }
    }

    fn digest(&self) -> Digest {
        let mut directories = BTreeMap::new();
        let mut files = Vec::new();
        for (name, folder) in &self.folders {
            directories.insert(name, folder.digest());
        }
        for (name, (how, digest)) in &self.leaves {
            match how {
                Mounted::File => files.push(proto::FileNode {
                    name: name.clone(),
                    digest: Some((*digest).into()),
                    is_executable: false,
                    node_properties: None,
                }),
                Mounted::ReadOnly | Mounted::Copy => _ = directories.insert(name, *digest),
            }
        }
        let node = |(name, digest): (&String, Digest)| proto::DirectoryNode {
            name: name.clone(),
            digest: Some(digest.into()),
        };
        let directory = proto::Directory {
            files,
            directories: directories.into_iter().map(node).collect(),
            symlinks: Vec::new(),
            node_properties: None,
        };
        Digest::of(&directory.encode_to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Arch;
    use crate::sandbox::Limits;

    fn digest_with(change: impl FnOnce(&mut Vec<String>, &mut BTreeMap<String, String>)) -> Digest {
        let mut argv = vec!["/bin/sh".to_owned(), "-c".to_owned(), "make".to_owned()];
        let mut env = BTreeMap::from([("LANG".to_owned(), "C".to_owned())]);
        change(&mut argv, &mut env);
        let cwd = GuestPath::new("/build/crun").unwrap();
        let run = Run {
            rules: 1,
            kind: RunKind::Build,
            argv,
            env,
            cwd: cwd.clone(),
            placed: Vec::new(),
            arch: Arch::Amd64,
            limits: Limits::default(),
        };
        let input = GuestPath::new("/in/wasmtime").unwrap();
        let placed =
            [(&cwd, Mounted::Copy, Digest::of(b"source")), (&input, Mounted::ReadOnly, Digest::of(b"input"))];
        digest(&run, &Digest::of(b"root"), &placed)
    }

    #[test]
    fn an_action_has_the_digest_it_always_had() {
        let plain = digest_with(|_, _| ());
        assert_eq!(
            plain.hash.to_string(),
            "b4965acd3c33e83afb9af8b8725c66d2d4a0febf89f31d39b6b1c76167066fd1"
        );
        assert_ne!(plain, digest_with(|argv, _| argv.push("x".to_owned())));
        assert_ne!(plain, digest_with(|_, env| _ = env.insert("A".to_owned(), String::new())));
    }
}
