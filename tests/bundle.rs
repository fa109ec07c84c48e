//! Bundles of a small project: made, carried away, built from, altered, trusted.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};

use nodeimg::base::Cancel;
use nodeimg::base::event::{Event, Sink};
use nodeimg::bundle;
use nodeimg::store::{Collect, Meta, Node, Store, Tree};
use serde_json::Value;

use crate::world::{Told, World, document, made};

/// The host's static busybox stands for a static nodeimg.
const PROGRAM: &str = "/bin/busybox";

const CREATE: [&str; 5] = ["bundle", "create", "--program", PROGRAM, "-o"];

impl World {
    /// Makes a bundle in the world's folder; gives its document.
    fn bundle(&self, name: &str, more: &[&str]) -> Value {
        let file = format!("../{name}");
        self.json(&[&CREATE[..], &[&file], more].concat())
    }

    /// A run on a machine that has nothing but the bundle.
    fn elsewhere(&self, machine: &str, arguments: &[&str]) -> Command {
        let folder = self.path(machine);
        fs_err::create_dir_all(&folder).unwrap();
        let mut command = self.command(arguments);
        command.current_dir(&folder).env_clear().env("NODEIMG_STORE", folder.join("store"));
        command
    }

    fn build_elsewhere(&self, machine: &str, more: &[&str]) -> Value {
        let arguments = [&["build", "--lock", "--json", "--bundle", "../b.tar"], more].concat();
        document(&mut self.elsewhere(machine, &arguments))
    }

    fn told_elsewhere(&self, machine: &str, arguments: &[&str]) -> Told {
        self.told(&self.elsewhere(machine, arguments).output().unwrap())
    }
}

fn digest(built: &Value) -> &str {
    built["targets"][0]["digest"].as_str().unwrap()
}

#[test]
fn a_bundle_is_enough_on_a_machine_that_has_nothing_else() {
    let world = World::locked();
    let here = world.json(&["build", "--lock"]);
    let bundle = world.bundle("b.tar", &[]);
    assert_eq!(bundle["targets"], serde_json::json!(["images/plain"]));
    let again = world.bundle("again.tar", &[]);
    assert_eq!(again["digest"], bundle["digest"]);
    let bytes = |name: &str| fs_err::read(world.path(name)).unwrap();
    assert!(bytes("b.tar") == bytes("again.tar"), "the same content gave other bytes");

    // Nobody signed the results, so they are not taken.
    let told = world.told_elsewhere("untrusting", &["build", "--lock", "--bundle", "../b.tar", "-q"]);
    assert_eq!(
        (told.code, told.stderr.as_str()),
        (
            0,
            "warning: the results in `../b.tar` are not taken, nobody signed them: building from sources; \
             `--trust-unsigned` takes them\n"
        )
    );
    let sources = world.build_elsewhere("sources", &[]);
    assert_eq!((digest(&sources), &sources["bundle"]["results"]), (digest(&here), &Value::from(0)));
    assert!(made(&sources).contains(&"hello".to_owned()));
    assert!(world.path("sources/out/plain/image.tar").is_file());

    let results = world.build_elsewhere("results", &["--trust-unsigned"]);
    assert_eq!((digest(&results), made(&results)), (digest(&here), vec![]));
    assert_eq!(results["bundle"]["digest"], bundle["digest"]);

    // Where they came from is known, as long as they are there.
    let mut store = Store::open(&world.path("results/store")).unwrap();
    let taken = store.taken().unwrap();
    let steps: Vec<_> = taken[0].results.iter().map(|result| result.step.as_str()).collect();
    assert_eq!(taken[0].from, format!("bundle {}", bundle["digest"].as_str().unwrap()));
    assert_eq!(steps, ["greeting", "hello", "hello:test", "plain"]);
    assert_eq!(Store::open(&world.path("store")).unwrap().taken().unwrap(), []);
    store.gc(&Collect::default(), &Cancel::default()).unwrap();
    assert_eq!(store.taken().unwrap(), []);
    assert_eq!(fs_err::read_dir(world.path("results/store/taken")).unwrap().count(), 0);
}

#[test]
fn a_bundle_goes_through_pipes() {
    let world = World::locked();
    world.bundle("b.tar", &["--without-cached-results"]);
    let output = world.command(&[&CREATE[..], &["-", "--without-cached-results"]].concat()).output().unwrap();
    assert!(output.stdout == fs_err::read(world.path("b.tar")).unwrap());
    let mut build = world.elsewhere("piped", &["build", "--lock", "--bundle", "-", "--json"]);
    build.stdin(Stdio::from(fs_err::File::open(world.path("b.tar")).unwrap().into_file()));
    let built: Value = serde_json::from_slice(&build.output().unwrap().stdout).unwrap();
    assert!(made(&built).contains(&"hello".to_owned()));
}

#[test]
fn anybody_unpacks_the_program() {
    let world = World::locked();
    world.bundle("b.tar", &[]);
    let listing = world.told(&tar(&world, &["-xOf", "../b.tar", "bundle.json"]));
    assert!(listing.stdout.starts_with("{\n  \"nodeimg-bundle\": 1,\n"), "{}", listing.stdout);
    let output = tar(&world, &["-xf", "../b.tar", "-C", ".."]);
    assert!(output.status.success(), "{output:?}");
    let program = world.path("bin/nodeimg-amd64");
    assert!(fs_err::read(program).unwrap() == fs_err::read(PROGRAM).unwrap());
    assert_eq!(world.read("bundle.json"), listing.stdout);
}

fn tar(world: &World, arguments: &[&str]) -> std::process::Output {
    world.with_program(&["/usr/bin/tar"], arguments).output().unwrap()
}

#[test]
fn a_program_that_needs_others_is_refused() {
    let world = World::locked();
    let told = world.run(&["bundle", "create", "-o", "../b.tar"]);
    let expected = "\
error: no program goes into the bundle: this nodeimg is linked dynamically, and
  runs on no machine that has nothing else
hint: make a static one with
hint: `RUSTFLAGS='-C target-feature=+crt-static' cargo build --locked --release --target x86_64-unknown-linux-gnu`
hint: and name it with
  `--program target/x86_64-unknown-linux-gnu/release/nodeimg`
";
    assert_eq!(told, Told::failure(2, expected));
    let told = world.run(&["bundle", "create", "-o", "../b.tar", "--program", "/usr/bin/tar"]);
    assert!(
        told.stderr.starts_with(
            "error: `/usr/bin/tar` is no program that runs on its own: it is linked\n  dynamically\n"
        ),
        "{}",
        told.stderr
    );
    let told = world.run(&[&CREATE[..], &["../b.tar", "--program", PROGRAM]].concat());
    let expected = "error: two programs are for amd64: `/bin/busybox` and `/bin/busybox`\n\
                    hint: name one for each machine\n";
    assert_eq!(told, Told::failure(2, expected));
    assert!(!world.path("b.tar").exists() && !world.path("b.tar.partial").exists());
}

#[test]
fn verify_proves_a_bundle_whole() {
    let world = World::locked();
    let bundle = world.bundle("b.tar", &[]);
    let own = world.read("store/VERSION");
    let told = world.run(&["bundle", "verify", "../b.tar"]);
    assert_eq!(told.code, 0, "{}", told.stderr);
    let whole = format!(
        "     whole {}, without a network and in an empty store\n",
        bundle["digest"].as_str().unwrap()
    );
    assert!(told.stderr.contains("     taken 4 results; `--from-sources` makes them again and compares\n"));
    assert!(told.stderr.ends_with(&whole), "{}", told.stderr);
    let proven = world.json(&["bundle", "verify", "--from-sources", "../b.tar", "-q"]);
    assert_eq!((&proven["compared"], &proven["results"]), (&4.into(), &0.into()));
    assert_eq!(world.read("store/VERSION"), own);

    // As an ordinary user too, who makes namespaces of his own.
    if rustix::process::geteuid().is_root() {
        crate::world::open_to_all(&world.path(""));
        let mut command = world.command(&["bundle", "verify", "../b.tar", "-q"]);
        crate::world::as_stranger(&mut command, 0o077);
        let told = world.told(&command.output().unwrap());
        assert_eq!(told, Told { code: 0, stdout: String::new(), stderr: String::new() });
    }
}

#[test]
fn verify_finds_what_is_wrong() {
    let world = World::locked();
    world.bundle("b.tar", &["--without-cached-results"]);
    let whole = fs_err::read(world.path("b.tar")).unwrap();
    let mut altered = whole.clone();
    let at = altered.windows(8).rposition(|part| part == b"[source]").unwrap();
    altered[at] ^= 1;
    fs_err::write(world.path("altered.tar"), &altered).unwrap();
    let told = world.run(&["bundle", "verify", "../altered.tar"]);
    assert_eq!(told.code, 3, "{}", told.stderr);
    assert!(told.stderr.contains("`project/recipes/packages/hello.toml` is altered"), "{}", told.stderr);
    assert!(
        told.stderr.ends_with(
            "error: nothing can be built out of the bundle alone: the build above ended with\n  1\n\
         hint: make it again with `nodeimg bundle create`, where there is a network\n"
        ),
        "{}",
        told.stderr
    );
    let told = world.told_elsewhere("altered", &["build", "--bundle", "../altered.tar"]);
    assert_eq!(told.code, 1);
    assert!(told.stderr.contains("`project/recipes/packages/hello.toml` is altered"), "{}", told.stderr);
    fs_err::write(world.path("short.tar"), &whole[..whole.len() - 700]).unwrap();
    let told = world.told_elsewhere("altered", &["build", "--bundle", "../short.tar", "-q"]);
    assert!(told.stderr.ends_with("hint: it was not copied to its end: copy it again\n"), "{}", told.stderr);
    let told = world.told_elsewhere("altered", &["build", "--bundle", "../none.tar", "-q"]);
    assert_eq!((told.code, told.stderr.lines().next()), (4, Some("error: cannot read `../none.tar`")));
}

/// Results that a thief's store has are told by making them again.
#[test]
fn wrong_results_are_found_from_sources() {
    let world = World::locked();
    world.json(&["build", "--lock", "hello"]);
    {
        let store = Store::open(&world.path("store")).unwrap();
        let own = store.path().join("memo");
        let mut tree = Tree::default();
        let digest = store.put_bytes(b"evil").unwrap();
        let path = nodeimg::base::GuestPath::new("/usr/bin/hello").unwrap();
        tree.insert(&path, Node::File { digest, meta: Meta::root(0o755) }).unwrap();
        let tree = store.put_tree(&tree).unwrap();
        // Every step is said to give it.
        for shard in fs_err::read_dir(own).unwrap() {
            let shard = shard.unwrap().path();
            for record in fs_err::read_dir(&shard).unwrap() {
                let name = record.unwrap().file_name();
                let hex = format!("{}{}", shard.file_name().unwrap().display(), name.display());
                store.put_memo(&hex.parse().unwrap(), &tree).unwrap();
            }
        }
    }
    world.bundle("b.tar", &["hello"]);
    assert_eq!(world.run(&["bundle", "verify", "../b.tar", "-q"]).code, 0);
    let told = world.run(&["bundle", "verify", "../b.tar", "-q", "--from-sources"]);
    assert_eq!(told.code, 3, "{}", told.stderr);
    assert!(
        told.stderr.starts_with("error: the result of `hello` in `../b.tar` is not what its sources give\n"),
        "{}",
        told.stderr
    );

    // So are those that somebody took, by a sample.
    let taken = world.build_elsewhere("victim", &["--trust-unsigned"]);
    assert_eq!(made(&taken), Vec::<String>::new());
    let sample = ["verify", "hello", "--project", "../project", "-q", "--sample"];
    let told = world.told_elsewhere("victim", &[&sample[..], &["1%"]].concat());
    assert!(told.stdout.contains("made 1 step again\n"), "{}", told.stdout);
    let told = world.told_elsewhere("victim", &[&sample[..], &["100%"]].concat());
    assert_eq!(told.code, 1, "{}", told.stderr);
    let found = "      step hello\n           ~ /usr/bin/hello: ";
    assert!(told.stdout.contains(found), "{}", told.stdout);
    assert!(
        world
            .told_elsewhere("victim", &[&sample[..], &["0"]].concat())
            .stderr
            .contains("is no share such as `5%`")
    );
}

#[test]
fn results_are_taken_from_who_is_trusted() {
    let world = World::locked();
    world.run(&["key", "new", "../team.key"]);
    let bundle = world.bundle("b.tar", &["--key", "../team.key"]);
    let build = ["build", "--lock", "--bundle", "../b.tar", "--json"];
    let run = |machine: &str, config: &str| {
        world.write(&format!("{machine}-config/nodeimg/config.toml"), config);
        let mut command = world.elsewhere(machine, &build);
        command.env("XDG_CONFIG_HOME", world.path(&format!("{machine}-config")));
        let output = command.output().unwrap();
        let told = world.told(&output);
        assert_eq!(told.code, 0, "{}", told.stderr);
        (serde_json::from_str::<Value>(&told.stdout).unwrap(), told.stderr)
    };
    let (built, told) = run("stranger", "");
    assert!(made(&built).contains(&"hello".to_owned()));
    assert!(told.contains(
        "warning: the results in `../b.tar` are not taken, the key that signed them is not trusted here: building from \
         sources; name its file in `trusted-keys` of config.toml if it should be\n"
    ), "{told}");
    world.write("friend-config/nodeimg/team.pub", world.read("team.key.pub"));
    let (built, _) = run("friend", "trusted-keys = [\"team.pub\"]\n");
    assert_eq!((made(&built), &built["bundle"]["digest"]), (vec![], &bundle["digest"]));
    let taken = Store::open(&world.path("friend/store")).unwrap().taken().unwrap();
    assert_eq!(taken[0].signed_by.as_deref(), Some(world.read("team.key.pub").as_str()));

    // What others know to check, they find right.
    tar(&world, &["-xf", "../b.tar", "-C", ".."]);
    let whole = fs_err::read(world.path("b.tar")).unwrap();
    let signature = fs_err::read(world.path("bundle.json.sig")).unwrap();
    let at = whole.windows(signature.len()).position(|part| part == signature).unwrap();
    let mut altered = whole.clone();
    altered[at] = if altered[at] == b'A' { b'B' } else { b'A' };
    fs_err::write(world.path("altered.tar"), altered).unwrap();
    let told = world.told_elsewhere("altered", &["build", "--bundle", "../altered.tar", "--trust-unsigned"]);
    assert_eq!(told.code, 1);
    assert!(
        told.stderr.starts_with("error: `../altered.tar`: the signature of its listing is wrong: it is not"),
        "{}",
        told.stderr
    );

    world.write("bad-config/nodeimg/config.toml", "trusted-keys = [\"none.pub\"]\n");
    let mut command = world.elsewhere("bad", &build);
    let told = world.told(&command.env("XDG_CONFIG_HOME", world.path("bad-config")).output().unwrap());
    assert_eq!(told.code, 4);
    assert!(told.stderr.contains("bad-config/nodeimg/none.pub"), "{}", told.stderr);
}

#[test]
fn what_an_earlier_bundle_has_need_not_be_carried_again() {
    let world = World::locked();
    let first = world.bundle("first.tar", &[]);
    world.edit("project/recipes/packages/greeting.toml", "version = \"2\"", "version = \"3\"");
    world.edit("project/recipes/packages/greeting.toml", "> \"$OUT/greeting\"", "> \"$OUT/greetings\"");
    assert_eq!(world.run(&["lock"]).code, 0);
    let second = world.bundle("b.tar", &["--since", "../first.tar"]);
    assert_eq!(second["since"], first["digest"]);
    let size = |name: &str| fs_err::metadata(world.path(name)).unwrap().len();
    // The program is in each; Debian's packages are not.
    let program = fs_err::metadata(PROGRAM).unwrap().len();
    assert!(size("b.tar") - program < 200_000, "{} of {}", size("b.tar"), size("first.tar"));

    let told = world.told_elsewhere("alone", &["build", "--bundle", "../b.tar", "-q", "--trust-unsigned"]);
    let hint = "hint: give that one too: `--bundle EARLIER --bundle ../b.tar`\n";
    assert!(told.code == 1 && told.stderr.ends_with(hint), "{}", told.stderr);
    assert!(
        told.stderr.contains(first["digest"].as_str().unwrap().trim_start_matches("sha256:")),
        "{}",
        told.stderr
    );
    let arguments =
        ["build", "--bundle", "../first.tar", "--bundle", "../b.tar", "--trust-unsigned", "--json"];
    let both = document(&mut world.elsewhere("both", &arguments));
    assert_eq!((digest(&both), made(&both)), (digest(&world.json(&["build", "--lock"])), vec![]));
    // Where the earlier one was used before, it need not be named again.
    let later = world.build_elsewhere("both", &[]);
    assert_eq!(digest(&later), digest(&both));
    let proven = world.json(&["bundle", "verify", "../first.tar", "../b.tar", "-q"]);
    assert_eq!(proven["digest"], second["digest"]);
    let told = world.run(&["bundle", "verify", "../b.tar", "-q"]);
    assert!(told.code == 3 && told.stderr.contains("hint: give that one too:"), "{}", told.stderr);
}

#[test]
fn a_bundle_says_what_it_lacks() {
    let world = World::locked();
    world.bundle("b.tar", &["hello", "--without-cached-results"]);
    let told = world.told_elsewhere("other", &["build", "--bundle", "../b.tar", "greeting", "-q"]);
    assert_eq!(told, Told::failure(2, "error: no recipe `greeting` in the project\n"));
    without(&world, "hello-1.tar.gz");
    let told = world.told_elsewhere("lacking", &["build", "--bundle", "../less.tar", "-q"]);
    assert_eq!(
        told,
        Told::failure(
            1,
            "error: `../less.tar` lacks\n  `hello-1.tar.gz`, which `hello:fetch:hello` needs\nhint: it was made for \
             other targets or platforms: name them in\n  `nodeimg bundle create`\n"
        )
    );
    let told = world.told_elsewhere("other", &["build", "--bundle", "../b.tar", "--lock=x", "-q"]);
    assert_eq!(
        told,
        Told::failure(
            2,
            "error: `--lock=FILE` does not go with `--bundle`\nhint: the locks are in `../b.tar`\n"
        )
    );
    let told = world.told_elsewhere("other", &["build", "--trust-unsigned"]);
    assert_eq!(told.code, 2);
    assert!(told.stderr.contains("--bundle <FILE>"), "{}", told.stderr);
}

/// Writes `less.tar`, which is `b.tar` without a source: whole as a file, and not enough.
fn without(world: &World, source: &str) {
    let cancel = Cancel::default();
    let file = fs_err::File::open(world.path("b.tar")).unwrap();
    let reader = bundle::Reader::open(file, "b.tar", &|_, _, _| Ok(()), &cancel).unwrap();
    let mut contents = BTreeMap::new();
    let mut give = |member: &bundle::Member, bytes| {
        contents.insert(member.path.clone(), bundle::Content::Bytes(bytes));
        Ok(())
    };
    let mut listing = reader.members(None, &|_| bundle::Take::Give, &mut give, &mut |_| ()).unwrap();
    listing.members.retain(|member| member.source.as_deref() != Some(source));
    let store = Store::open(&world.path("other/store")).unwrap();
    let (listing, contents, events) = (&listing, &contents, &Quiet);
    let parts = bundle::Parts { listing, signature: None, contents, store: &store, events, cancel: &cancel };
    bundle::create(&world.path("less.tar"), &parts).unwrap();
}

struct Quiet;

impl Sink for Quiet {
    fn emit(&self, _: Event) {}
}

/// Recipes' folders hold nothing that a bundle can't: a link would lead out of it.
#[test]
fn a_folder_with_a_link_is_no_part_of_a_bundle() {
    let world = World::new();
    world.write("project/recipes/packages/own/file", "text");
    world.write(
        "project/recipes/packages/own.toml",
        "name = \"own\"\nversion = \"1\"\nlicense = \"MIT\"\n[source]\npath = \"own\"\n[build]\nroot = \"stable\"\n\
         script = 'cp file \"$OUT/\"'\n",
    );
    assert_eq!(world.run(&["lock"]).code, 0);
    world.bundle("b.tar", &["own"]);
    fs_err::os::unix::fs::symlink("file", world.path("project/recipes/packages/own/link")).unwrap();
    let told = world.run(&[&CREATE[..], &["../b.tar", "own"]].concat());
    let expected = "\
error: the project's files alone don't make `own:source:own` as the project does
hint: what a recipe names in `path` must be plain files: a link or an empty
  folder does not go into a bundle, as empty folders don't into git
";
    assert_eq!(told, Told::failure(1, expected));
}

#[test]
fn what_a_stopped_run_wrote_is_used() {
    let world = World::locked();
    world.bundle("b.tar", &[]);
    let whole = fs_err::read(world.path("b.tar")).unwrap();
    fs_err::remove_file(world.path("b.tar")).unwrap();
    fs_err::write(world.path("b.tar.partial"), &whole[..whole.len() / 2]).unwrap();
    let written = world.bundle("b.tar", &[]);
    assert!(written["resumed"].as_u64().unwrap() > 1000, "{written}");
    assert!(fs_err::read(world.path("b.tar")).unwrap() == whole);
    assert!(!Path::new(&world.path("b.tar.partial")).exists());
}
