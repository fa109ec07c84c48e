//! Checks that what recipes say about each other and about files is true.

use std::collections::{BTreeMap, BTreeSet};

use super::document::{Document, Step};
use super::error::{Fault, Problem, near};
use super::expand::PACKAGE_NAMES;
use super::runtime::ExampleContainer;
use super::{Id, Image, Package, Project, Role, Runtime, Suite, substitute};
use crate::base::{Arch, GuestPath, Name};
use crate::fetch::oci;

/// Finds what is wrong between recipes.
pub(super) fn check(project: &Project, problems: &mut Vec<Problem>) {
    let mut found = Vec::new();
    for (id, document) in &project.documents {
        let mut checks = Checks { project, id, document, problems: &mut found };
        match id.role {
            Role::Suite => _ = project.suites.get(&id.name).map(|recipe| checks.suite(recipe)),
            Role::Package => _ = project.packages.get(&id.name).map(|recipe| checks.package(recipe)),
            Role::Runtime => _ = project.runtimes.get(&id.name).map(|recipe| checks.runtime(recipe)),
            Role::Image => _ = project.images.get(&id.name).map(|recipe| checks.image(recipe)),
        }
    }
    circles(project, &mut found);
    problems.append(&mut found);
}

/// Names the recipes that one needs directly.
pub(super) fn needs(project: &Project, id: &Id) -> Vec<Id> {
    let mut all = Vec::new();
    let mut add = |role: Role, names: &[Name]| all.extend(names.iter().map(|name| Id::new(role, name)));
    match id.role {
        Role::Suite => {}
        Role::Package => {
            if let Some(package) = project.packages.get(&id.name) {
                add(Role::Suite, std::slice::from_ref(&package.build.root));
                let inputs: Vec<_> = package.places_of_inputs().map(|at| package.input(at).clone()).collect();
                add(Role::Package, &inputs);
            }
        }
        Role::Runtime => {
            if let Some(runtime) = project.runtimes.get(&id.name) {
                add(Role::Package, &runtime.packages);
                let images: Vec<_> = runtime.containers().map(|container| container.image.clone()).collect();
                add(Role::Image, &images);
            }
        }
        Role::Image => {
            if let Some(image) = project.images.get(&id.name) {
                if let Some(system) = &image.system {
                    add(Role::Suite, std::slice::from_ref(&system.suite));
                    add(Role::Package, &system.inputs);
                }
                for layer in &image.layers {
                    add(Role::Package, &layer.packages);
                    add(Role::Image, &layer.preload);
                }
                if let Some(node) = &image.node {
                    add(
                        Role::Package,
                        node.kubernetes.package().map(std::slice::from_ref).unwrap_or_default(),
                    );
                    add(Role::Runtime, &node.runtimes);
                }
            }
        }
    }
    all
}

struct Checks<'a> {
    project: &'a Project,
    id: &'a Id,
    document: &'a Document,
    problems: &'a mut Vec<Problem>,
}

impl Checks<'_> {
    fn at(&mut self, fault: Fault, path: &[Step<'_>]) {
        self.problems.push(self.document.at(fault, path));
    }

    fn name(&mut self, name: &Name) {
        let file = self.id.name.as_str();
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let good = plain(file.as_bytes()[0])
            && file.bytes().all(|byte| plain(byte) || matches!(byte, b'.' | b'_' | b'-'));
        if name.as_str() != file {
            self.at(Fault::NotTheFile { name: name.to_string(), file: file.to_owned() }, &["name".into()]);
        } else if !good {
            self.at(Fault::BadName(file.to_owned()), &["name".into()]);
        }
    }

    /// Checks one reference. A recipe that exists but can't be read is no unknown one.
    fn reference(&mut self, role: Role, name: &Name, path: &[Step<'_>]) {
        let project = self.project;
        if !project.documents.contains_key(&Id::new(role, name)) {
            let known = project.documents.keys().filter(|id| id.role == role).map(|id| id.name.as_str());
            let near = near(name.as_str(), known);
            self.at(Fault::UnknownReference { kind: role.word(), name: name.to_string(), near }, path);
        }
    }

    fn references(&mut self, role: Role, names: &[Name], path: &[Step<'_>]) {
        for (index, name) in names.iter().enumerate() {
            self.reference(role, name, &[path, &[index.into()]].concat());
        }
        self.once(names, path);
    }

    /// Checks that a list holds nothing twice.
    fn once<T: Ord + ToString>(&mut self, items: &[T], path: &[Step<'_>]) {
        let mut seen = BTreeSet::new();
        for (index, item) in items.iter().enumerate() {
            if !seen.insert(item) {
                self.at(Fault::Duplicate(item.to_string()), &[path, &[index.into()]].concat());
            }
        }
    }

    /// Checks that a path stays below a folder of the project and leads to something.
    fn beside(&mut self, folder: &str, path: &str, place: &[Step<'_>]) {
        if GuestPath::new(&format!("/{path}")).is_err() || path.is_empty() {
            return self.at(Fault::Escapes { path: path.to_owned(), folder: folder.to_owned() }, place);
        }
        if self.project.path.join(folder).join(path).exists() {
            return;
        }
        let beside = fs_err::read_dir(self.project.path.join(folder)).into_iter().flatten().flatten();
        let beside: Vec<_> = beside.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        let near = near(path, beside.iter().map(String::as_str));
        self.at(Fault::NoFile { path: format!("{folder}/{path}"), near }, place);
    }

    fn suite(&mut self, suite: &Suite) {
        self.name(&suite.name);
        self.once(&suite.components, &["components".into()]);
        for (index, key) in suite.keys.iter().enumerate() {
            self.beside("recipes/suites", key, &["keys".into(), index.into()]);
        }
    }

    fn package(&mut self, package: &Package) {
        self.name(&package.name);
        if let Some(variant) = &package.variant {
            // All else is the other recipe's.
            for (place, package) in &variant.with {
                self.reference(Role::Package, package, &["with".into(), place.as_str().into()]);
            }
            if let Some(suite) = &variant.root {
                self.reference(Role::Suite, suite, &["root".into()]);
            }
            if let Some(test) = &variant.test {
                self.references(Role::Package, &test.inputs, &["test".into(), "inputs".into()]);
                self.once(&test.packages, &["test".into(), "packages".into()]);
            }
            let known: Vec<_> = PACKAGE_NAMES.into_iter().map(str::to_owned).collect();
            for (key, text) in &variant.env {
                let path = ["env".into(), key.as_str().into()];
                self.variables(text, &known, &|name| package.variable(name, Arch::Amd64), &path);
            }
            return;
        }
        if package.source.is_some() && !package.sources.0.is_empty() {
            self.at(Fault::SourceTwice, &["sources".into()]);
        }
        let build = &package.build;
        self.reference(Role::Suite, &build.root, &["build".into(), "root".into()]);
        self.references(Role::Package, &build.inputs, &["build".into(), "inputs".into()]);
        self.once(&build.packages, &["build".into(), "packages".into()]);
        if let Some(cross) = &build.cross {
            self.once(
                cross.packages.as_deref().unwrap_or_default(),
                &["build".into(), "cross".into(), "packages".into()],
            );
            self.once(&cross.libraries, &["build".into(), "cross".into(), "libraries".into()]);
        }
        self.once(&build.patches, &["build".into(), "patches".into()]);
        let folder = format!("patches/{}", self.id.name);
        for (index, patch) in build.patches.iter().enumerate() {
            self.beside(&folder, patch, &["build".into(), "patches".into(), index.into()]);
        }
        let first = package.sources().next();
        if !build.patches.is_empty() && first.is_none_or(|(_, source)| source.fetch.cargo_lock().is_some()) {
            self.at(Fault::NothingToPatch, &["build".into(), "patches".into()]);
        }
        let is_unpacked =
            first.is_some_and(|(_, source)| source.unpack && source.fetch.cargo_lock().is_none());
        if !build.calls.is_empty() && !is_unpacked {
            self.at(Fault::NothingToRead, &["build".into(), "calls".into()]);
        }
        if let Some(test) = &package.test {
            self.references(Role::Package, &test.inputs, &["test".into(), "inputs".into()]);
            self.once(&test.packages, &["test".into(), "packages".into()]);
        }
        if package.source.is_some() {
            self.source(package, &package.name, &["source".into()]);
        }
        for (name, _) in &package.sources.0 {
            self.source(package, name, &["sources".into(), name.as_str().into()]);
        }
        let known: Vec<_> = PACKAGE_NAMES.into_iter().map(str::to_owned).collect();
        let mut crates = package.sources().filter(|(_, source)| source.fetch.cargo_lock().is_some());
        if let Some((name, _)) = crates.nth(1) {
            self.at(Fault::CratesTwice, &["sources".into(), name.as_str().into()]);
        }
        for (path, text) in package.clone().places() {
            self.variables(text, &known, &|name| package.variable(name, Arch::Amd64), &path);
        }
    }

    /// Checks one source: names in its strings, its folder, and that it says something for every platform.
    fn source(&mut self, package: &Package, name: &Name, path: &[Step<'_>]) {
        let Some((_, source)) = package.sources().find(|(other, _)| *other == name) else { return };
        if let Some(local) = source.fetch.local() {
            return self.beside("recipes/packages", local.path, &[path, &["path".into()]].concat());
        }
        if let Some(file) = source.fetch.cargo_lock() {
            return self.beside("recipes/packages", file, &[path, &["cargo".into()]].concat());
        }
        if let Some(signature) = source.fetch.signature() {
            let place = [path, &["signature".into(), "key".into()]].concat();
            self.beside(super::KEYS, &signature.key_file(), &place);
        }
        let known: Vec<_> = PACKAGE_NAMES.into_iter().map(str::to_owned).collect();
        let value = |name: &str| package.variable(name, Arch::Amd64);
        let before = self.problems.len();
        let table = toml::Table::try_from(&source.fetch).unwrap_or_default();
        for (place, text) in strings(&table) {
            if source.fetch.texts().contains(&text) {
                self.variables(text, &known, &value, &[path, &place].concat());
            }
        }
        if self.problems.len() > before {
            return;
        }
        for arch in Arch::ALL.into_iter().filter(|arch| package.architecture.covers(*arch)) {
            let replace = |text: &str| substitute(text, &|name| package.variable(name, arch));
            if let Err(reason) = source.fetch.request(arch, &replace) {
                self.at(Fault::Value(reason), path);
            }
        }
    }

    /// Checks that each `{name}` of a string stands for something.
    fn variables(
        &mut self,
        text: &str,
        known: &[String],
        value: &dyn Fn(&str) -> Option<String>,
        path: &[Step<'_>],
    ) {
        if let Err(name) = substitute(text, value) {
            let near = near(&name, known.iter().map(String::as_str));
            let known = if known.len() > 12 { Vec::new() } else { known.to_vec() };
            self.at(Fault::UnknownVariable { name, near, known }, path);
        }
    }

    /// Checks that containers of one pod all serve or none does, each on a port of its own, and what they are asked.
    fn served(&mut self, containers: &[ExampleContainer], path: &[Step<'_>]) {
        let Some(first) = containers.iter().position(|container| container.http.is_some()) else { return };
        let mut ports = BTreeSet::new();
        for (index, container) in containers.iter().enumerate() {
            let at = [path, &[index.into()]].concat();
            let Some(http) = &container.http else {
                let server = &containers[first].name;
                let fault = format!(
                    "`{server}` of the same pod serves until it is stopped, `{}` ends",
                    container.name
                );
                self.at(Fault::Value(fault), &at);
                continue;
            };
            if !http.has_good_path() {
                let fault =
                    format!("`{}` is no path of a URL: it starts with `/` and holds no blank", http.path);
                self.at(Fault::Value(fault), &[&at[..], &["http".into(), "path".into()]].concat());
            }
            if !(100..600).contains(&http.status) {
                let fault = format!("`{}` is no status of HTTP", http.status);
                self.at(Fault::Value(fault), &[&at[..], &["http".into(), "status".into()]].concat());
            }
            if !ports.insert(http.port) {
                let fault = Fault::Duplicate(http.port.to_string());
                self.at(fault, &[&at[..], &["http".into(), "port".into()]].concat());
            }
            let ends = [("stdin", container.stdin.is_some()), ("exit", container.exit != 0)];
            for (key, _) in ends.into_iter().filter(|(_, there)| *there) {
                let fault = format!("`{key}` is for containers that end by themselves, this one serves");
                self.at(Fault::Value(fault), &[&at[..], &[key.into()]].concat());
            }
        }
    }

    fn runtime(&mut self, runtime: &Runtime) {
        self.name(&runtime.name);
        self.references(Role::Package, &runtime.packages, &["packages".into()]);
        for (index, container) in runtime.example.iter().enumerate() {
            self.reference(Role::Image, &container.image, &["example".into(), index.into(), "image".into()]);
        }
        let names: Vec<_> = runtime.example.iter().map(|container| &container.name).collect();
        self.once(&names, &["example".into()]);
        self.served(&runtime.example, &["example".into()]);
        for (at, pod) in runtime.trial.iter().enumerate() {
            let path = [Step::from("trial"), at.into(), "containers".into()];
            for (index, container) in pod.containers.iter().enumerate() {
                let image = [path.as_slice(), &[index.into(), "image".into()]].concat();
                self.reference(Role::Image, &container.image, &image);
            }
            let names: Vec<_> = pod.containers.iter().map(|container| &container.name).collect();
            self.once(&names, &path);
            self.served(&pod.containers, &path);
        }
        self.once(&runtime.trial.iter().map(|pod| &pod.name).collect::<Vec<_>>(), &["trial".into()]);
        let before = self.project.runtimes.range::<Name, _>(..&self.id.name);
        let same = |what: fn(&Runtime) -> &Name| {
            before.clone().find(|(_, other)| what(other) == what(runtime)).map(|(name, _)| name.clone())
        };
        if let Some(other) = same(Runtime::handler) {
            let fault = Fault::Taken { what: "handler", name: runtime.handler().clone(), other };
            self.at(fault, &[if runtime.handler.is_some() { "handler" } else { "name" }.into()]);
        } else if let Some(other) = same(Runtime::runtime_class) {
            let fault = Fault::Taken { what: "RuntimeClass", name: runtime.runtime_class().clone(), other };
            self.at(fault, &[if runtime.runtime_class.is_some() { "runtime-class" } else { "name" }.into()]);
        }
    }

    fn image(&mut self, image: &Image) {
        self.name(&image.name);
        if let Some(system) = &image.system {
            self.reference(Role::Suite, &system.suite, &["system".into(), "suite".into()]);
            self.references(Role::Package, &system.inputs, &["system".into(), "inputs".into()]);
            self.once(&system.packages, &["system".into(), "packages".into()]);
        }
        if let Some(base) = &image.base {
            if let Err(reason) = base.oci.parse::<oci::Reference>() {
                self.at(Fault::Value(reason), &["base".into(), "oci".into()]);
            }
            if image.system.is_some() {
                self.at(Fault::BaseAndSystem, &["system".into()]);
            }
        }
        for (index, layer) in image.layers.iter().enumerate() {
            let at = ["layers".into(), index.into()];
            self.references(Role::Package, &layer.packages, &[at[0], at[1], "packages".into()]);
            self.references(Role::Image, &layer.preload, &[at[0], at[1], "preload".into()]);
        }
        let names: Vec<_> = image.layers.iter().map(|layer| &layer.name).collect();
        self.once(&names, &["layers".into()]);
        if let Some(node) = &image.node {
            if let Some(package) = node.kubernetes.package() {
                self.reference(Role::Package, package, &["node".into(), "kubernetes".into()]);
            } else if image.base.is_none() {
                self.at(Fault::NoBase, &["node".into(), "kubernetes".into()]);
            }
            self.references(Role::Runtime, &node.runtimes, &["node".into(), "runtimes".into()]);
        }
        let first = self.project.images.values().find(|other| other.default);
        if let Some(first) = first.filter(|first| image.default && first.name != image.name) {
            self.at(Fault::TwoDefaults(first.name.clone()), &["default".into()]);
        }
        let arch = ["arch", "machine", "triplet"].into_iter();
        let known: Vec<_> =
            arch.chain(self.project.packages.keys().map(Name::as_str)).map(str::to_owned).collect();
        // A package that can't be read has no version, but that is told already.
        let project = self.project;
        let value = |name: &str| {
            let there = Name::new(name)
                .is_ok_and(|name| project.documents.contains_key(&Id::new(Role::Package, &name)));
            project.image_variable(name, Arch::Amd64).or_else(|| there.then(String::new))
        };
        for (path, text) in image.clone().places() {
            self.variables(text, &known, &value, &path);
        }
    }
}

/// Finds recipes that need each other in a circle: packages as build inputs, images as preloaded ones. (A test's
/// inputs don't count: nothing waits for a test.)
fn circles(project: &Project, problems: &mut Vec<Problem>) {
    let mut edges: BTreeMap<Id, Vec<(Id, Vec<Step<'static>>)>> = BTreeMap::new();
    for (name, package) in &project.packages {
        let to = package.build.inputs.iter().enumerate();
        let to = to.map(|(at, input)| {
            // In a variant's own file that way leads nowhere, and the file as a whole is the place.
            let path = vec!["build".into(), "inputs".into(), at.into()];
            (Id::new(Role::Package, package.input(input)), path)
        });
        edges.insert(Id::new(Role::Package, name), to.collect());
    }
    for (name, image) in &project.images {
        let layers = image.layers.iter().enumerate();
        let to = layers.flat_map(|(layer, of)| {
            of.preload.iter().enumerate().map(move |(at, image)| {
                let path = vec!["layers".into(), layer.into(), "preload".into(), at.into()];
                (Id::new(Role::Image, image), path)
            })
        });
        edges.insert(Id::new(Role::Image, name), to.collect());
    }
    let mut done = BTreeSet::new();
    for start in edges.keys() {
        visit(project, &edges, start, &mut Vec::new(), &mut done, problems);
    }
}

fn visit(
    project: &Project,
    edges: &BTreeMap<Id, Vec<(Id, Vec<Step<'static>>)>>,
    id: &Id,
    way: &mut Vec<Id>,
    done: &mut BTreeSet<Id>,
    problems: &mut Vec<Problem>,
) {
    if done.contains(id) {
        return;
    }
    way.push(id.clone());
    for (to, place) in edges.get(id).into_iter().flatten() {
        if let Some(at) = way.iter().position(|before| before == to) {
            let circle = way[at..].iter().chain([to]).map(|id| id.name.clone()).collect();
            problems.push(project.documents[id].at(Fault::Cycle(circle), place));
        } else {
            visit(project, edges, to, way, done, problems);
        }
    }
    way.pop();
    done.insert(id.clone());
}

/// Finds every string in a table, with the way to it.
fn strings(table: &toml::Table) -> Vec<(Vec<Step<'_>>, &str)> {
    fn walk<'t>(value: &'t toml::Value, path: &[Step<'t>], found: &mut Vec<(Vec<Step<'t>>, &'t str)>) {
        match value {
            toml::Value::String(text) => found.push((path.to_vec(), text)),
            toml::Value::Array(items) => {
                items
                    .iter()
                    .enumerate()
                    .for_each(|(at, item)| walk(item, &[path, &[at.into()]].concat(), found));
            }
            toml::Value::Table(table) => {
                let inner = table.iter();
                inner.for_each(|(key, item)| walk(item, &[path, &[key.as_str().into()]].concat(), found));
            }
            _ => {}
        }
    }
    let mut found = Vec::new();
    table.iter().for_each(|(key, value)| walk(value, &[key.as_str().into()], &mut found));
    found
}
