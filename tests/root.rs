//! Scripts that change a root, run in the sandbox.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use nodeimg::base::{Cancel, Digest, GuestPath};
use nodeimg::root::{self, Error, Step};
use nodeimg::sandbox::{self, Access, Finished, Job, Limits, Mount, Namespace, Root, Sandbox};
use nodeimg::store::{Dir, Meta, Node, Store, Tree};

fn namespace() -> Namespace {
    Namespace::with_program(PathBuf::from(env!("CARGO_BIN_EXE_nodeimg")))
}

/// A host on which no overlay can be mounted.
struct NoOverlay(Namespace);

impl Sandbox for NoOverlay {
    fn run(
        &self,
        job: &Job,
        output: &mut dyn FnMut(&[u8]),
        cancel: &Cancel,
    ) -> Result<Finished, sandbox::Error> {
        match job.root {
            Root::Changeable { .. } => {
                Err(sandbox::Error::NoOverlay { reason: std::io::ErrorKind::Unsupported.into() })
            }
            _ => self.0.run(job, output, cancel),
        }
    }

    fn shell(&self, job: &Job) -> Result<Finished, sandbox::Error> {
        self.0.shell(job)
    }
}

/// A store with a small root, whose programs are the host's.
struct Place {
    _folder: tempfile::TempDir,
    store: Store,
    tree: Tree,
    mounts: Vec<Mount>,
}

fn path(text: &str) -> GuestPath {
    GuestPath::new(text).unwrap()
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("store")).unwrap();
        let mut tree = Tree::default();
        for name in ["bin", "sbin", "lib", "lib64"] {
            tree.insert(&path(&format!("/{name}")), Node::Symlink { target: format!("usr/{name}").into() })
                .unwrap();
        }
        for name in ["dev", "proc", "run", "sys", "tmp", "usr/sbin", "usr/bin", "usr/lib", "usr/lib64", "etc"]
        {
            tree.insert(&path(&format!("/{name}")), Node::Dir(Dir::default())).unwrap();
        }
        let bind = |name: &str| Mount { source: name.into(), target: path(name), access: Access::ReadOnly };
        let mounts =
            ["/usr/bin", "/usr/lib", "/usr/lib64"].into_iter().filter(|name| Path::new(name).is_dir());
        let mounts = mounts.map(bind).collect();
        Self { _folder: folder, store, tree, mounts }
    }

    fn put(&mut self, at: &str, text: &str, meta: Meta) {
        let digest = self.store.put_bytes(text.as_bytes()).unwrap();
        self.tree.insert(&path(at), Node::File { digest, meta }).unwrap();
    }

    fn base(&self) -> Digest {
        self.store.put_tree(&self.tree).unwrap()
    }

    fn run(
        &self,
        sandbox: &dyn Sandbox,
        argv: &[String],
        env: &BTreeMap<String, String>,
    ) -> (Result<Tree, Error>, String) {
        let mut log = Vec::new();
        let surroundings = nodeimg::sandbox::Surroundings::default();
        let step = Step {
            surroundings: &surroundings,
            argv,
            env,
            mounts: &self.mounts,
            known: &BTreeMap::new(),
            emulator: None,
            limits: Limits::default(),
        };
        let mut take = |part: &[u8]| log.extend_from_slice(part);
        let result = root::run(&self.store, sandbox, &self.base(), &step, &mut take, &Cancel::default());
        (result.map(|(tree, _)| tree), String::from_utf8(log).unwrap())
    }

    fn script(&self, sandbox: &dyn Sandbox, text: &str) -> (Result<Tree, Error>, String) {
        let script = root::script(text);
        self.run(sandbox, &script.argv, &script.env)
    }
}

#[test]
fn a_root_changes_the_same_with_and_without_overlay() {
    let mut place = Place::new();
    let root = Meta::root(0o644);
    place.put("/srv/kept", "kept", Meta { mode: 0o640, uid: 0, gid: 42 });
    place.put("/srv/gone", "gone", root);
    place.put("/srv/changed", "old", root);
    place.put("/srv/dir/inside", "x", root);
    place.put("/srv/again/inside", "x", root);
    place.put("/srv/moved/inside/deep", "x", Meta { mode: 0o4755, uid: 7, gid: 8 });
    place.put("/srv/becomes-file/x", "x", root);
    place.put("/srv/becomes-dir", "x", root);
    place.mounts.push(Mount { source: "/usr/bin".into(), target: path("/in/a/b"), access: Access::ReadOnly });
    let script = "
        cd /srv
        rm gone; echo new > changed; rm -r dir; rm -r again; mkdir again; echo y > again/new
        mv moved elsewhere
        rm -r becomes-file; echo f > becomes-file; rm becomes-dir; mkdir becomes-dir
        echo s > suid; chown 3:4 suid; chmod 6755 suid; mkdir -m 1777 sticky; chgrp 9 sticky
        ln -s nowhere link; chown -h 5:5 link; ln suid hard
        install -o 11 -g 12 -m 600 changed installed
        cp -a elsewhere copy; tar -cf - kept suid | tar -C again -xpf -
        mv -f installed kept2; chmod 0 changed
        echo t > /tmp/gone; echo r > /run/gone; echo a > /etc/added
    ";
    let (overlay, log) = place.script(&namespace(), script);
    let overlay = overlay.unwrap_or_else(|error| panic!("{error}\n{log}"));
    let (copy, log) = place.script(&NoOverlay(namespace()), script);
    let copy = copy.unwrap_or_else(|error| panic!("{error}\n{log}"));
    assert_eq!(overlay, copy);
    let meta = |at: &str| match overlay.get(&path(at)) {
        Some(Node::File { meta, .. } | Node::Dir(Dir { meta, .. })) => (meta.mode, meta.uid, meta.gid),
        other => panic!("{at}: {other:?}"),
    };
    assert_eq!(meta("/srv/kept"), (0o640, 0, 42));
    assert_eq!(meta("/srv/suid"), (0o6755, 3, 4));
    assert_eq!(meta("/srv/hard"), (0o6755, 3, 4));
    assert_eq!(meta("/srv/sticky"), (0o1777, 0, 9));
    assert_eq!(meta("/srv/kept2"), (0o600, 11, 12));
    assert_eq!(meta("/srv/changed"), (0, 0, 0));
    for place in ["elsewhere", "copy"] {
        assert_eq!(meta(&format!("/srv/{place}/inside/deep")), (0o4755, 7, 8));
    }
    assert_eq!(meta("/srv/again/kept"), (0o640, 0, 42));
    assert_eq!(meta("/srv/again/suid"), (0o6755, 3, 4));
    let names = |at: &str| {
        overlay.dir(&path(at)).unwrap().entries.keys().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(names("/srv/again"), ["kept", "new", "suid"]);
    // Neither the mount's own place nor what was in memory is left.
    assert_eq!(
        names("/"),
        ["bin", "dev", "etc", "lib", "lib64", "proc", "run", "sbin", "srv", "sys", "tmp", "usr"]
    );
    assert_eq!(names("/tmp").len() + names("/run").len() + names("/dev").len() + names("/usr/bin").len(), 0);
}

#[test]
fn a_failing_script_says_how_it_ended() {
    let (result, log) = Place::new().script(&namespace(), "echo before; exit 3; echo after");
    let error = result.unwrap_err();
    assert_eq!(error.to_string(), "the script ended with exit status 3");
    assert_eq!(error.blame(), nodeimg::base::Blame::Build);
    assert_eq!(log, "before\n");
}

/// A dpkg of a few lines: enough to see what the script asks of it.
fn with_dpkg(preinst: &str) -> Place {
    let mut place = Place::new();
    let program = Meta::root(0o755);
    place.put(
        "/usr/local/bin/dpkg-query",
        "#!/bin/sh\ncase $3 in
            *Status-Abbrev*) test -e /configured && echo 'ii  a' || echo 'iU  a';;
            *Essential*) echo 'yes base-passwd'; echo ' a';;
            *Architecture*) echo 'a all'; echo 'base-passwd amd64';;
            *) echo 1.2;;
        esac\n",
        program,
    );
    place.put(
        "/usr/local/bin/dpkg",
        "#!/bin/sh\ntest \"$1\" != --print-architecture || exec echo amd64\necho \"dpkg $*\"\ntest \"$*\" != '--configure -a' || { /usr/sbin/policy-rc.d || echo policy $?; touch /configured; }\n",
        program,
    );
    for name in ["a", "base-passwd"] {
        place.put(&format!("/var/lib/dpkg/info/{name}.preinst"), preinst, program);
    }
    place
}

#[test]
fn configuring_calls_what_dpkg_would() {
    let place = with_dpkg(
        "#!/bin/sh\necho \"$DPKG_MAINTSCRIPT_PACKAGE $DPKG_MAINTSCRIPT_ARCH $*: $(cat /var/lib/dpkg/tmp.ci/control)\"\n",
    );
    let script = root::configure();
    let (result, log) = place.run(&namespace(), &script.argv, &script.env);
    let tree = result.unwrap_or_else(|error| panic!("{error}\n{log}"));
    assert_eq!(
        log,
        "base-passwd amd64 install: Package: base-passwd\n\
         a all install: Package: a\n\
         dpkg --configure --no-triggers --force-depends base-passwd\n\
         dpkg --configure -a\n\
         policy 101\n"
    );
    assert!(tree.get(&path("/configured")).is_some());
    assert!(tree.get(&path("/usr/sbin/policy-rc.d")).is_none(), "services may start when the root is used");
    assert!(tree.get(&path("/var/lib/dpkg/tmp.ci")).is_none());
}

#[test]
fn a_failing_maintainer_script_is_named() {
    let place = with_dpkg("#!/bin/sh\nif test $DPKG_MAINTSCRIPT_PACKAGE = a; then exit 7; fi\n");
    let script = root::configure();
    let (result, log) = place.run(&namespace(), &script.argv, &script.env);
    assert_eq!(result.unwrap_err().to_string(), "the script ended with exit status 1");
    assert_eq!(log, "package a: preinst install failed with exit status 7\n");
}
