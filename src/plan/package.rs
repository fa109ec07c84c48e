//! The steps of a package: sources, root, build, test.

use std::collections::BTreeMap;

use super::step::{Fetch, Label, Mounted, Placed, Run, RunKind, Work};
use super::{Builder, RULES, StepId};
use crate::base::{GuestPath, Name};
use crate::fetch::cargo;
use crate::lock::{LockedPackage, LockedRoot};
use crate::recipe::{self, Architecture, Cross, Id, Role};
use crate::{root, sandbox, unpack};

/// Where scripts have their program from, on every host.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Where a cross build has the libraries of the machine that it is for.
const SYSROOT: &str = "/target";

impl Builder<'_> {
    /// Plans a package's build.
    pub(super) fn package(&mut self, name: &Name) -> StepId {
        let id = Id::new(Role::Package, name);
        let made = (id.clone(), self.arch);
        if let Some(&step) = self.made.get(&made) {
            return step;
        }
        let package = &self.locked.packages[name];
        let host = self.platforms.host;
        if package.recipe.architecture == Architecture::All && self.arch != host {
            let step = self.on(host, |builder| builder.package(name));
            self.made.insert(made, step);
            return step;
        }
        let recipe = package.recipe.expand(self.arch);
        let cross = recipe.build.cross.as_ref().filter(|_| self.arch != host);
        let root = match cross {
            Some(_) => {
                let tools = package.cross.as_ref().unwrap_or(&package.build);
                self.on(host, |builder| builder.root(&id, "cross:root", tools))
            }
            None => self.root(&id, "root", &package.build),
        };
        let mut inputs = vec![root];
        let mut placed = Vec::new();
        for (index, (source, _)) in recipe.sources().enumerate() {
            let patches: &[String] = if index == 0 { &recipe.build.patches } else { &[] };
            let (step, how) = self.source(&id, package, source, patches);
            inputs.push(step);
            placed.push(Placed { path: guest(&format!("/build/{source}")), how });
        }
        let crates = recipe.sources().find(|(_, source)| source.fetch.cargo_lock().is_some());
        if let Some(((source, _), lock)) = crates.zip(package.crates.as_ref()) {
            inputs.push(self.cargo_config(&id, source, lock));
            placed.push(Placed { path: guest("/build/.cargo"), how: Mounted::Copy });
        }
        let cwd = match placed.first() {
            Some(Placed { path, how: Mounted::Copy }) => path.clone(),
            _ => guest("/build"),
        };
        self.needed(&recipe, &recipe.build.inputs, &mut inputs, &mut placed);
        let mut run = Run {
            rules: RULES,
            kind: RunKind::Build,
            argv: shell(&recipe.build.script),
            env: self.environment(&recipe.version, &recipe.build.env),
            cwd,
            placed,
            arch: self.arch,
            limits: limits(&recipe.build.limits),
        };
        if let Some(cross) = cross {
            if let Some(libraries) = &package.target {
                let unpacked = self.unpacked(&id, "cross:target", libraries);
                let work = Work::Beside { rules: root::BESIDE };
                inputs.push(self.add(Label::new(&id, "cross:target"), work, vec![unpacked]));
                run.placed.push(Placed { path: guest(SYSROOT), how: Mounted::ReadOnly });
            }
            self.crossed(&mut run, cross, &recipe.build.script, package.target.is_some());
        }
        let step = self.add(Label::new(&id, ""), Work::Run(run), inputs);
        self.made.insert(made, step);
        step
    }

    /// Makes a run one of this machine's for the machine that is planned for.
    fn crossed(&self, run: &mut Run, cross: &Cross, script: &str, has_libraries: bool) {
        let triplet = self.arch.triplet();
        let tool = |name: &str| format!("{triplet}-{name}");
        let mut env = BTreeMap::from([
            ("host_alias", triplet.to_owned()),
            ("GOARCH", self.arch.name().to_owned()),
            ("CC", tool("gcc")),
            ("CXX", tool("g++")),
            ("AR", tool("ar")),
            ("RANLIB", tool("ranlib")),
            ("NM", tool("nm")),
            ("STRIP", tool("strip")),
        ]);
        if has_libraries {
            for compiler in ["CC", "CXX"] {
                env.entry(compiler).and_modify(|text| *text += &format!(" --sysroot={SYSROOT}"));
            }
            env.insert("PKG_CONFIG_SYSROOT_DIR", SYSROOT.to_owned());
            let folders = [format!("lib/{triplet}/pkgconfig"), "share/pkgconfig".to_owned()];
            let folders = folders.map(|folder| format!("{SYSROOT}/usr/{folder}"));
            env.insert("PKG_CONFIG_LIBDIR", folders.join(":"));
        }
        // What the recipe says comes last.
        let mut all: BTreeMap<_, _> = env.into_iter().map(|(key, text)| (key.to_owned(), text)).collect();
        all.append(&mut run.env);
        all.extend(cross.env.clone());
        run.env = all;
        run.arch = self.platforms.host;
        if let Some(before) = &cross.before {
            run.argv = shell(&format!("{before}\n{script}"));
        }
    }

    /// Plans a package's test, if it has one.
    pub(super) fn test(&mut self, name: &Name) -> Option<StepId> {
        let made = (name.clone(), self.arch);
        if let Some(&step) = self.tests.get(&made) {
            return Some(step);
        }
        let id = Id::new(Role::Package, name);
        let package = &self.locked.packages[name];
        let host = self.platforms.host;
        if package.recipe.architecture == Architecture::All && self.arch != host {
            return self.on(host, |builder| builder.test(name));
        }
        let recipe = package.recipe.expand(self.arch);
        let test = recipe.test.as_ref()?;
        let result = self.package(name);
        let root = match &package.test {
            Some(root) => self.root(&id, "test:root", root),
            None => self.root(&id, "root", &package.build),
        };
        let mut inputs = vec![root, result];
        let mut placed = vec![Placed { path: guest("/out"), how: Mounted::ReadOnly }];
        let needed: Vec<_> = recipe.places_of_inputs().cloned().collect();
        self.needed(&recipe, &needed, &mut inputs, &mut placed);
        let run = Run {
            rules: RULES,
            kind: RunKind::Test,
            argv: shell(&test.script),
            env: self.environment(&recipe.version, &test.env),
            cwd: guest("/build"),
            placed,
            arch: self.arch,
            limits: limits(&test.limits),
        };
        let step = self.add(Label::new(&id, "test"), Work::Run(run), inputs);
        self.tests.insert(made, step);
        Some(step)
    }

    /// Places a package's inputs.
    fn needed(
        &mut self,
        recipe: &recipe::Package,
        places: &[Name],
        inputs: &mut Vec<StepId>,
        placed: &mut Vec<Placed>,
    ) {
        for place in places {
            self.place(recipe.input(place), place, inputs, placed);
        }
    }

    /// Places a package's result at `/in/<place>`.
    pub(super) fn place(
        &mut self,
        package: &Name,
        place: &Name,
        inputs: &mut Vec<StepId>,
        placed: &mut Vec<Placed>,
    ) {
        inputs.push(self.package(package));
        placed.push(Placed { path: guest(&format!("/in/{place}")), how: Mounted::ReadOnly });
    }

    /// Plans a configured Debian root.
    pub(super) fn root(&mut self, id: &Id, part: &str, root: &LockedRoot) -> StepId {
        let unpacked = self.unpacked(id, part, root);
        let script = root::configure();
        let configure = Run {
            rules: root::RULES,
            kind: RunKind::System,
            argv: script.argv,
            env: script.env,
            cwd: GuestPath::root(),
            placed: Vec::new(),
            arch: self.arch,
            limits: sandbox::Limits::default(),
        };
        self.add(Label::new(id, part), Work::Run(configure), vec![unpacked])
    }

    /// Plans a Debian root that is not configured: files of its packages.
    fn unpacked(&mut self, id: &Id, part: &str, root: &LockedRoot) -> StepId {
        let arch = self.arch;
        let pins = root.on(arch);
        let mut files = Vec::with_capacity(pins.len());
        let mut inputs = Vec::with_capacity(pins.len());
        for pin in pins {
            files.push(pin.file().to_owned());
            let fetch = Fetch::Debian { pin: pin.clone(), snapshot: root.snapshot.clone() };
            inputs.push(self.add(
                Label::new(id, format!("{part}:{}", pin.package())),
                Work::Fetch(fetch),
                Vec::new(),
            ));
        }
        let unpacked = Work::Root { rules: root::RULES, arch, files };
        self.add(Label::new(id, format!("{part}:unpack")), unpacked, inputs)
    }

    /// Plans a source: fetched, unpacked, patched.
    pub(super) fn source(
        &mut self,
        id: &Id,
        package: &LockedPackage,
        name: &Name,
        patches: &[String],
    ) -> (StepId, Mounted) {
        let label = |part: &str| Label::new(id, format!("{part}:{name}"));
        let (_, source) =
            package.recipe.sources().find(|(other, _)| *other == name).expect("it is one of the recipe's");
        if let (Some(lock), Some(_)) = (&package.crates, source.fetch.cargo_lock()) {
            return (self.crates(id, package, name, lock), Mounted::ReadOnly);
        }
        let mut step = match package.sources.get(name) {
            None => {
                let tree = self.files.folders[&(id.name.clone(), name.clone())];
                self.add(label("source"), Work::Folder { tree }, Vec::new())
            }
            Some(locked) => {
                let (request, pin) = locked.on(self.arch);
                let fetch = Work::Fetch(Fetch::Source { request: request.clone(), pin: *pin });
                let file = self.add(label("fetch"), fetch, Vec::new());
                if !source.unpack {
                    return (file, Mounted::File);
                }
                let unpack = Work::Unpack { rules: unpack::RULES, strip: source.strip };
                self.add(label("source"), unpack, vec![file])
            }
        };
        if !patches.is_empty() {
            let digest = |patch: &String| self.files.patches[&(id.name.clone(), patch.clone())];
            let work = Work::Patch { patches: patches.iter().map(digest).collect(), names: patches.to_vec() };
            step = self.add(label("patched"), work, vec![step]);
        }
        (step, Mounted::Copy)
    }

    /// Plans the crates that a `Cargo.lock` lists: each fetched and unpacked by itself, so that a new list brings only
    /// what is new in it. Packages of one git repository have one tree.
    fn crates(&mut self, id: &Id, package: &LockedPackage, source: &Name, lock: &cargo::Lock) -> StepId {
        let mut crates = BTreeMap::new();
        for one in &lock.crates {
            let vendored = one.vendored();
            let (name, (request, pin)) = match &one.origin {
                cargo::Origin::Registry(checksum) => {
                    (format!("{source}:{}-{}", one.name, one.version), one.archive(*checksum))
                }
                cargo::Origin::Git(repository) => {
                    let name = repository.source_name();
                    let (request, pin) = package.sources[&name].on(self.arch);
                    (name.to_string(), (request.clone(), *pin))
                }
            };
            let label = |part: &str| Label::new(id, format!("{part}:{name}"));
            let file = self.add(label("fetch"), Work::Fetch(Fetch::Source { request, pin }), Vec::new());
            let unpack = Work::Unpack { rules: unpack::RULES, strip: Some(1) };
            let tree = self.add(label("source"), unpack, vec![file]);
            crates.insert(vendored.folder.clone(), (vendored, tree));
        }
        let (crates, inputs) = crates.into_values().unzip();
        let work = Work::Crates { rules: cargo::RULES, crates };
        self.add(Label::new(id, format!("source:{source}")), work, inputs)
    }

    /// Plans cargo's configuration, which cargo finds in every folder below `/build`.
    fn cargo_config(&mut self, id: &Id, source: &Name, lock: &cargo::Lock) -> StepId {
        let text = lock.config(&format!("/build/{source}"));
        let work = Work::Text { path: guest("/config.toml"), text };
        self.add(Label::new(id, "cargo-config"), work, Vec::new())
    }

    /// The environment of every builder's script. `HOME` and the locale are the same everywhere;
    /// `SOURCE_DATE_EPOCH` is what compilers and archivers take for now
    /// (reproducible-builds.org/specs/source-date-epoch).
    fn environment(&self, version: &str, own: &BTreeMap<String, String>) -> BTreeMap<String, String> {
        let fixed = [
            ("PATH", PATH),
            ("HOME", "/build"),
            ("LANG", "C.UTF-8"),
            ("LC_ALL", "C.UTF-8"),
            ("TZ", "UTC"),
            ("TERM", "dumb"),
            ("SOURCE_DATE_EPOCH", "0"),
            ("OUT", "/out"),
            ("VERSION", version),
        ];
        let mut env: BTreeMap<_, _> = fixed.map(|(key, text)| (key.to_owned(), text.to_owned())).into();
        env.extend(self.machine());
        env.extend(own.clone());
        env
    }

    /// What every script knows about the machine it makes things for.
    pub(super) fn machine(&self) -> BTreeMap<String, String> {
        let names =
            [("ARCH", self.arch.name()), ("MACHINE", self.arch.machine()), ("TRIPLET", self.arch.triplet())];
        names.map(|(key, text)| (key.to_owned(), text.to_owned())).into()
    }
}

/// Has a script run with the umask that results are made with, whatever the machine's is. It stands in the script's first
/// line: the shell counts lines.
fn shell(script: &str) -> Vec<String> {
    ["/bin/sh", "-eu", "-c", &format!("umask 022; {script}")].map(str::to_owned).to_vec()
}

pub(super) fn guest(path: &str) -> GuestPath {
    GuestPath::new(path).expect("names make good paths")
}

pub(super) fn limits(own: &recipe::Limits) -> sandbox::Limits {
    let default = sandbox::Limits::default();
    sandbox::Limits {
        time: own.time.map_or(default.time, |time| time.0),
        processes: own.processes.unwrap_or(default.processes),
        memory: own.memory.map_or(default.memory, |size| size.0),
        disk: own.disk.map_or(default.disk, |size| size.0),
    }
}
