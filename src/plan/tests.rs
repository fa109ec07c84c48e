use std::path::Path;

use super::*;
use crate::base::{Cancel, Platforms, Sha256};
use crate::fetch::debian::{PackagePin, SuitePin};
use crate::fetch::{Pin, Request, oci};
use crate::lock::{self, BasePin, Elsewhere, Resolver, Unanswered, Update};
use crate::recipe::{self, Suite};

/// Pins everything to the hash of its name.
struct Answers;

impl Resolver for Answers {
    fn source(&self, request: &Request) -> Result<Pin, Unanswered> {
        let file = request.to_string();
        let file = file.rsplit('/').next().unwrap_or_default();
        let text = format!("sha256 = \"{}\"\nsize = 7\n", Sha256::of(file.as_bytes()));
        Ok(toml::from_str(&text).unwrap())
    }

    fn base(&self, reference: &oci::Reference) -> Result<BasePin, Unanswered> {
        let digest = Sha256::of(reference.to_string().as_bytes());
        Ok(BasePin { digest, platforms: BTreeMap::new() })
    }

    fn suite(&self, _: &Suite, _: &Path) -> Result<SuitePin, Unanswered> {
        Ok(SuitePin { pockets: Vec::new() })
    }

    fn root(
        &self,
        _: &Suite,
        _: &Path,
        _: &SuitePin,
        arch: Arch,
        wants: &[String],
    ) -> Result<Vec<PackagePin>, Unanswered> {
        let all = ["dpkg".to_owned()].into_iter().chain(wants.iter().cloned());
        let pin = |name: String| PackagePin {
            archive: "debian".to_owned(),
            path: format!("pool/{name}_1_{arch}.deb"),
            size: 3,
            sha256: Sha256::of(name.as_bytes()),
        };
        Ok(all.map(pin).collect())
    }
}

const SUITE: &str = "name = \"s\"\nsnapshot = \"20260101T000000Z\"\ncomponents = [\"main\"]\nkeys = []\n\
                     [[pockets]]\narchive = \"debian\"\nsuite = \"s\"\n";
const LIBRARY: &str = "name = \"library\"\nversion = \"2\"\nlicense = \"MIT\"\ndevelopment = [\"/include\"]\n\
                       [source]\nurl = \"https://example.org/library-{version}.tar\"\n\
                       [build]\nroot = \"s\"\nscript = \"make library\"\n";
const PROGRAM: &str = "name = \"program\"\nversion = \"1\"\nlicense = \"MIT\"\n\
                       [source]\nurl = \"https://example.org/program.tar\"\n\
                       [build]\nroot = \"s\"\ninputs = [\"library\"]\npatches = [\"a.patch\"]\n\
                       script = \"make\"\nenv = { LEVEL = \"{version}\" }\n\
                       [test]\npackages = [\"strace\"]\nscript = \"/out/program\"\n";
const IMAGE: &str = "name = \"image\"\ntag = \"{program}\"\ndefault = true\n\
                     [[layers]]\nname = \"all\"\npackages = [\"program\", \"library\"]\npreload = [\"small\"]\n";
const SMALL: &str = "name = \"small\"\ntag = \"1\"\n[[layers]]\nname = \"l\"\npackages = [\"library\"]\n";

/// Plans the default image of the recipes above, changed.
fn plan(change: impl Fn(&str, &str) -> String) -> Plan {
    plan_with(&[], change)
}

/// The same of a project with more files.
fn plan_with(more: &[(&str, &str)], change: impl Fn(&str, &str) -> String) -> Plan {
    plan_on(&Platforms::native(Arch::Amd64), &[], more, change)
}

/// The same of other targets, for other machines.
fn plan_on(
    platforms: &Platforms,
    names: &[&str],
    more: &[(&str, &str)],
    change: impl Fn(&str, &str) -> String,
) -> Plan {
    let folder = tempfile::tempdir().unwrap();
    let mut patch = Digest::of(b"patch");
    let files = [
        ("recipes/suites/s.toml", SUITE),
        ("recipes/packages/library.toml", LIBRARY),
        ("recipes/packages/program.toml", PROGRAM),
        ("recipes/images/image.toml", IMAGE),
        ("recipes/images/small.toml", SMALL),
        ("patches/program/a.patch", "patch"),
    ];
    for (path, text) in files.iter().chain(more) {
        let text = change(path, text);
        if path.ends_with("patch") {
            patch = Digest::of(text.as_bytes());
        }
        let path = folder.path().join(path);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(path, text).unwrap();
    }
    let project = recipe::load(folder.path()).unwrap();
    let all = project.lockable(&[]).unwrap();
    let nothing = Cancel::default();
    lock::resolve(&project, &all, true, &Update::Nothing, &Answers, &nothing)
        .unwrap()
        .write(&project)
        .unwrap();
    let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
    let targets = project.targets(&names).unwrap();
    let needed = project.closure(&all).into_iter().collect::<Vec<_>>();
    let locked = lock::load(&project, &needed, &Elsewhere::new()).unwrap();
    let name = |text: &str| Name::new(text).unwrap();
    let mut files = Files::default();
    for package in ["program", "variant"] {
        files.patches.insert((name(package), "a.patch".to_owned()), patch);
    }
    Plan::new(&locked, &targets, platforms, &files)
}

fn changed(path: &str, from: &str, to: &str) -> Plan {
    plan(|file, text| if file == path { text.replace(from, to) } else { text.to_owned() })
}

fn keys(plan: &Plan) -> BTreeMap<String, Sha256> {
    let label = |step: &Step| step.labels[0].to_string();
    plan.steps.iter().map(|step| (label(step), step.key)).collect()
}

/// Names the steps whose keys a change changes.
fn moved(path: &str, from: &str, to: &str) -> Vec<String> {
    let (before, now) = (keys(&plan(|_, text| text.to_owned())), keys(&changed(path, from, to)));
    before.iter().filter(|(name, key)| now.get(*name) != Some(key)).map(|(name, _)| name.clone()).collect()
}

#[test]
fn steps_are_there_once_and_in_order() {
    let plan = plan(|_, text| text.to_owned());
    let mut names: Vec<_> = plan.steps.iter().map(|step| step.labels[0].to_string()).collect();
    assert!(plan.steps.iter().enumerate().all(|(id, step)| step.inputs.iter().all(|&input| input < id)));
    let count = names.len();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), count);
    // Both packages are built in one root, which is planned once.
    let [root] = plan.runs("program:root").try_into().unwrap();
    assert_eq!(plan.runs("packages/library:root"), [root]);
    assert!(plan.runs("nothing").is_empty());
    let target = &plan.targets[0];
    assert_eq!(target.tests, plan.runs("program:test"));
    assert_eq!(target.image.as_ref().unwrap().reference, "image:1");
}

#[test]
fn what_decides_nothing_moves_no_key() {
    let program = "recipes/packages/program.toml";
    for (path, from, to) in [
        (program, "name", "# a comment\nname"),
        (program, "https://example.org/", "https://elsewhere.example/"),
        (program, "license = \"MIT\"", "license = \"ISC\"\nhomepage = \"https://example.org\""),
        (program, "[test]", "[build.limits]\ntime = \"2h\"\n[test]"),
        ("recipes/suites/s.toml", "20260101", "20260202"),
    ] {
        assert_eq!(moved(path, from, to), Vec::<String>::new(), "{from} → {to}");
    }
}

#[test]
fn what_decides_something_moves_what_depends_on_it() {
    let program = "recipes/packages/program.toml";
    assert_eq!(moved(program, "/out/program", "/out/program -v"), ["program:test"]);
    let above = ["image", "image:layer:all", "program", "program:test"];
    assert_eq!(moved(program, "script = \"make\"", "script = \"make all\""), above);
    let with_patch = ["image", "image:layer:all", "program", "program:patched:program", "program:test"];
    assert_eq!(moved("patches/program/a.patch", "patch", "other"), with_patch);
    let library = "recipes/packages/library.toml";
    assert_eq!(
        moved(library, "make library", "make -j1 library"),
        ["image", "image:layer:all", "library", "program", "program:test", "small", "small:layer:l"]
    );
    // What is left out of images is the images' matter.
    assert_eq!(
        moved(library, "/include", "/usr/include"),
        ["image", "image:layer:all", "small", "small:layer:l"]
    );
    assert_eq!(moved("recipes/images/image.toml", "{program}", "x"), ["image"]);
}

#[test]
fn keys_are_what_they_were() {
    let keys = keys(&plan(|_, text| text.to_owned()));
    let known = [
        ("library:fetch:library", "012d0ece13a2d8b781c7d1c23e603de3be407e62dadaa44a4d4669f7cbafab05"),
        ("library:source:library", "9fc459c8828a89524472717e6d72f9eab16d51f49d5944cc575010e5408c91a8"),
        ("program:patched:program", "c75a927f934f1c4f04c630ae3909aac861f6ef671433f7ddcecd05e775151679"),
        ("program:test", "752f53119152ca5ea6cba931a414a8d9c700b79ffea2ddf95bb681cee9d85e87"),
        ("image:layer:all", "4c0fd962185c3b4056809939e4d52a0141f2a73e7a33efe886d95c3388038e05"),
    ];
    let now: Vec<_> = known.iter().map(|(name, _)| (*name, keys[*name].to_string())).collect();
    let known: Vec<_> = known.iter().map(|(name, key)| (*name, (*key).to_owned())).collect();
    assert_eq!(now, known, "results of earlier releases would not be found any more");
}

#[test]
fn a_difference_says_what_changed() {
    let fields = |plan: &Plan, name: &str| {
        let step = plan.steps.iter().find(|step| step.labels[0].is(name)).unwrap();
        step.fields(step.inputs.iter().map(|&input| &plan.steps[input]))
    };
    let before = plan(|_, text| text.to_owned());
    let program = "recipes/packages/program.toml";
    let told = |now: &Plan, name: &str| difference(&fields(&before, name), &fields(now, name));
    assert_eq!(told(&before, "program"), None);
    assert_eq!(told(&changed(program, "\"make\"", "\"make all\""), "program").unwrap(), "argv changed");
    assert_eq!(
        told(&changed(program, "{ LEVEL", "{ NEW = \"1\", LEVEL"), "program").unwrap(),
        "env.NEW is new"
    );
    let now = changed("recipes/packages/library.toml", "make library", "make x");
    assert_eq!(told(&now, "program").unwrap(), "input `/in/library` changed");
}

const RUSTY: &str = "name = \"rusty\"\nversion = \"1\"\nlicense = \"MIT\"\n\
                     [sources.crates]\ncargo = \"Cargo.lock\"\n[build]\nroot = \"s\"\nscript = \"cargo build\"\n";

#[test]
fn the_crates_of_a_cargo_lock_are_a_step_each() {
    let entry = |name: &str, version: &str| {
        let checksum = Sha256::of(name.as_bytes());
        format!(
            "[[package]]\nname = \"{name}\"\nversion = \"{version}\"\nchecksum = \"{checksum}\"\n\
             source = \"registry+https://github.com/rust-lang/crates.io-index\"\n"
        )
    };
    let planned = |lock: &str| {
        let files = [("recipes/packages/rusty.toml", RUSTY), ("recipes/packages/Cargo.lock", lock)];
        let with_rusty = |path: &str, text: &str| match path {
            "recipes/images/small.toml" => text.replace("\"library\"", "\"rusty\""),
            _ => text.to_owned(),
        };
        plan_with(&files, with_rusty)
    };
    let two = ["version = 4\n", &entry("one", "1.0.0"), &entry("two", "2.0.0")].concat();
    let before = planned(&two);
    let [build] = before.runs("rusty").try_into().unwrap();
    let Work::Run(run) = &before.steps[build].work else { panic!() };
    let placed: Vec<_> = run.placed.iter().map(|placed| (placed.path.as_str(), placed.how)).collect();
    assert_eq!(placed, [("/build/crates", Mounted::ReadOnly), ("/build/.cargo", Mounted::Copy)]);
    assert_eq!(run.cwd.as_str(), "/build");
    let moved = |lock: &str| -> Vec<String> {
        let (before, now) = (keys(&before), keys(&planned(lock)));
        let rusty = now.iter().filter(|(name, _)| name.starts_with("rusty"));
        rusty.filter(|(name, key)| before.get(*name) != Some(key)).map(|(name, _)| name.clone()).collect()
    };
    // Neither comments nor the order of the list matter.
    let other_order = ["# a comment\nversion = 3\n", &entry("two", "2.0.0"), &entry("one", "1.0.0")].concat();
    assert_eq!(moved(&other_order), [""; 0]);
    let three = format!("{two}{}", entry("three", "3.0.0"));
    assert_eq!(
        moved(&three),
        ["rusty", "rusty:fetch:crates:three-3.0.0", "rusty:source:crates", "rusty:source:crates:three-3.0.0"]
    );
    let key = keys(&before)["rusty:source:crates"].to_string();
    assert_eq!(
        key, "ac0cd799e5deb686b94c6fb2a068038d06232a07f8abd03345637805ffe47149",
        "results of earlier releases would not be found any more"
    );
}

#[test]
fn a_variant_takes_other_inputs_at_the_same_places() {
    let files = [
        (
            "recipes/packages/variant.toml",
            "name = \"variant\"\nlike = \"program\"\nwith = { library = \"other\" }\n",
        ),
        (
            "recipes/packages/other.toml",
            &LIBRARY.replace("\"library\"", "\"other\"").replace("make", "make other"),
        ),
    ];
    let plan = plan_with(&files, |path, text| match path {
        "recipes/images/small.toml" => text.replace("\"library\"", "\"variant\", \"other\""),
        _ => text.to_owned(),
    });
    let run = |name: &str| {
        let [step] = plan.runs(name).try_into().unwrap();
        let Work::Run(run) = &plan.steps[step].work else { panic!() };
        (run, &plan.steps[step].inputs)
    };
    let ((program, inputs), (variant, other_inputs)) = (run("program"), run("variant"));
    assert_eq!(program, variant, "only what lies in the places differs");
    assert_eq!(inputs[..2], other_inputs[..2], "root and patched source are the same steps");
    assert_eq!((vec![inputs[2]], vec![other_inputs[2]]), (plan.runs("library"), plan.runs("other")));
}

#[test]
fn a_base_comes_before_the_layers() {
    let on = |reference: &str| {
        let based = SMALL.replace("tag = \"1\"\n", &format!("tag = \"1\"\n[base]\noci = \"{reference}\"\n"));
        plan_with(&[], |path, text| match path {
            "recipes/images/small.toml" => based.clone(),
            _ => text.to_owned(),
        })
    };
    let plan = on("example.org/base:1");
    let small = plan.steps.iter().position(|step| step.labels[0].is("small")).unwrap();
    let labels = |ids: &[StepId]| -> Vec<String> {
        ids.iter().map(|&id| plan.steps[id].labels[0].to_string()).collect()
    };
    let inputs = &plan.steps[small].inputs;
    assert_eq!(labels(inputs), ["small:base", "small:base:files", "small:layer:l"]);
    let Work::Image(assembly) = &plan.steps[small].work else { panic!() };
    assert_eq!((assembly.based, &assembly.layers), (true, &vec!["l".to_owned()]));
    assert_eq!(labels(assembly.trees(inputs)), ["small:base:files", "small:layer:l"]);
    // Only what the base is counts, not where it is had.
    let digest = Sha256::of(b"x").oci();
    let (here, there) =
        (keys(&on(&format!("a.example/b@{digest}"))), keys(&on(&format!("c.example/d@{digest}"))));
    assert_eq!(here, there);
    assert_ne!(here, keys(&plan));
}

const CROSS: &str =
    "[build.cross]\npackages = [\"gcc-{triplet}\"]\nlibraries = [\"libc6-dev\"]\nbefore = \"hello\"\n";
const QEMU: &str =
    "name = \"qemu-user\"\nversion = \"1\"\nlicense = \"MIT\"\n[build]\nroot = \"s\"\nscript = \"qemu\"\n";

/// Plans things for arm64, on a machine of either kind. `library` has a cross build, `guest` is the same for all.
fn foreign(host: Arch, wanted: &[Arch], names: &[&str]) -> Plan {
    let cross = format!("{LIBRARY}{CROSS}");
    let guest = LIBRARY
        .replace("\"library\"", "\"guest\"\narchitecture = \"all\"")
        .replace("make library", "make guest");
    let image = "name = \"guest\"\ntag = \"1\"\nplatform = { os = \"wasi\", architecture = \"wasm\" }\n\
                 [[layers]]\nname = \"l\"\npackages = [\"guest\"]\n";
    let files = [
        ("recipes/packages/library.toml", cross.as_str()),
        ("recipes/packages/guest.toml", guest.as_str()),
        ("recipes/packages/qemu-user.toml", QEMU),
        ("recipes/images/guest.toml", image),
    ];
    plan_on(&Platforms { host, wanted: wanted.to_vec() }, names, &files, |_, text| text.to_owned())
}

fn run_of<'a>(plan: &'a Plan, name: &str) -> (&'a Step, &'a Run) {
    let [step] = plan.runs(name).try_into().unwrap();
    let Work::Run(run) = &plan.steps[step].work else { panic!() };
    (&plan.steps[step], run)
}

#[test]
fn another_machine_s_package_is_cross_built_where_its_recipe_says_how() {
    let plan = foreign(Arch::Amd64, &[Arch::Arm64], &["packages/library"]);
    let (step, run) = run_of(&plan, "library@arm64");
    assert_eq!(run.arch, Arch::Amd64);
    assert_eq!(run.argv.last().unwrap(), "umask 022; hello\nmake library");
    let env = |name: &str| run.env[name].as_str();
    assert_eq!((env("ARCH"), env("TRIPLET")), ("arm64", "aarch64-linux-gnu"));
    assert_eq!(env("CC"), "aarch64-linux-gnu-gcc --sysroot=/target");
    assert_eq!((env("GOARCH"), env("host_alias")), ("arm64", "aarch64-linux-gnu"));
    let root = &plan.steps[step.inputs[0]];
    assert_eq!(root.labels[0].to_string(), "library:cross:root");
    let placed: Vec<_> = run.placed.iter().map(|placed| placed.path.as_str()).collect();
    assert_eq!(placed, ["/build/library", "/target"]);
    let target = &plan.steps[*step.inputs.last().unwrap()];
    assert_eq!(target.labels[0].to_string(), "library@arm64:cross:target");
    // Nothing runs that is another machine's.
    assert_eq!(plan.emulator, None);
    // The tools are of the machine that builds, under the names that they have there.
    let files: Vec<_> = plan.steps.iter().flat_map(|step| &step.labels).map(Label::to_string).collect();
    assert!(files.contains(&"library:cross:root:gcc-aarch64-linux-gnu".to_owned()), "{files:?}");
    assert!(files.contains(&"library@arm64:cross:target:libc6-dev".to_owned()), "{files:?}");
}

#[test]
fn what_is_emulated_has_the_keys_of_what_is_not() {
    let keys = |host| -> BTreeMap<String, Sha256> {
        let plan = foreign(host, &[Arch::Arm64], &["packages/qemu-user"]);
        assert_eq!(plan.emulator.is_some(), host == Arch::Amd64);
        let own = plan
            .steps
            .iter()
            .filter(|step| step.labels[0].arch == Some(Arch::Arm64).filter(|_| host == Arch::Amd64));
        own.map(|step| (step.labels[0].to_string().replace("@arm64", ""), step.key)).collect()
    };
    let (native, emulated) = (keys(Arch::Arm64), keys(Arch::Amd64));
    assert_eq!(native, emulated);
    assert_eq!(native.len(), 4, "package, unpacked root, root, build");
}

#[test]
fn an_emulated_step_waits_for_the_emulator() {
    let plan = foreign(Arch::Amd64, &[Arch::Arm64], &["packages/program"]);
    let emulator = plan.emulator.unwrap();
    let [step] = plan.runs("program@arm64").try_into().unwrap();
    assert_eq!(plan.inputs()[step].last(), Some(&emulator));
    assert!(!plan.steps[step].inputs.contains(&emulator), "it is no part of the key");
    let [own] = plan.runs("qemu-user").try_into().unwrap();
    assert_eq!((own, &plan.inputs()[own]), (emulator, &plan.steps[own].inputs));
}

#[test]
fn several_platforms_are_one_image_and_what_is_the_same_is_made_once() {
    let plan = foreign(Arch::Arm64, &Arch::ALL, &["small", "guest", "packages/library"]);
    let [small, guest, amd64, arm64] = plan.targets.as_slice() else { panic!("{:?}", plan.targets) };
    let Work::Index { main, .. } = plan.steps[small.step].work else { panic!() };
    assert_eq!((main, small.arch), (1, None), "readers of docker-archives get this machine's");
    let images: Vec<_> = small.image.as_ref().unwrap().images.iter().map(|(_, step)| *step).collect();
    assert_eq!(plan.steps[small.step].inputs, images);
    assert!(matches!(plan.steps[guest.step].work, Work::Image(_)), "one image for both");
    assert_eq!((amd64.arch, arm64.arch), (Some(Arch::Amd64), Some(Arch::Arm64)));
    assert_ne!(amd64.step, arm64.step);
    // A machine of its own builds natively, as it always did.
    let alone = foreign(Arch::Arm64, &[Arch::Arm64], &["packages/library"]);
    assert_eq!(alone.steps[alone.targets[0].step].key, plan.steps[arm64.step].key);
    assert_eq!(run_of(&alone, "library").1.arch, Arch::Arm64);
}
