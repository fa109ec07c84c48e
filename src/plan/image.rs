//! The steps of an image: system, layers, a node's configuration, assembly.

use std::collections::BTreeMap;

use super::package::{guest, limits};
use super::step::{Assembly, Label, Part, Run, RunKind, Work};
use super::{Builder, ImageTarget, StepId};
use crate::base::{Arch, Name};
use crate::lock::LockedBase;
use crate::recipe::{self, Id, Image, Kubernetes, Role};
use crate::{gate, image, node, root, unpack};

impl Builder<'_> {
    /// Plans an image.
    pub(super) fn image(&mut self, name: &Name) -> StepId {
        let id = Id::new(Role::Image, name);
        let made = (id.clone(), self.arch);
        if let Some(&step) = self.made.get(&made) {
            return step;
        }
        let locked = &self.locked.images[name];
        let recipe = self.expanded(name);
        let mut layers = Vec::new();
        let base = locked.base.as_ref().map(|base| self.base(&id, base));
        if let Some(system) = &recipe.system {
            let root = locked.system.as_ref().expect("a lock that fits has the system's root");
            let root = self.root(&id, "system:root", root);
            layers.push(("system".to_owned(), self.system(&id, system, root)));
        }
        for layer in &recipe.layers {
            let step = self.layer(&id, layer.name.as_str(), &layer.packages, &layer.preload);
            layers.push((layer.name.to_string(), step));
        }
        if let Some(node) = &recipe.node {
            let mut packages: Vec<Name> = Vec::new();
            for runtime in &node.runtimes {
                let new = self.locked.runtimes[runtime].packages.iter();
                packages.extend(new.filter(|name| !packages.contains(name)).cloned().collect::<Vec<_>>());
            }
            // Each in a layer of its own: a new crun does not ship the engine again.
            for package in packages {
                let name = format!("runtime {package}");
                let step = self.layer(&id, &name, std::slice::from_ref(&package), &[]);
                layers.push((name, step));
            }
            let holds = base.iter().map(|(_, holds)| *holds);
            let below = holds.chain(layers.iter().map(|(_, step)| *step)).collect();
            let work = Work::Node { node: Box::new(self.node(&recipe, node).configuration()) };
            let step = self.add(Label::new(&id, "layer:configuration"), work, below);
            layers.push(("configuration".to_owned(), step));
        }
        let assembly = Assembly {
            assembly: locked.assembly,
            platform: recipe.platform.as_ref().map_or_else(
                || image::Platform { os: "linux".to_owned(), architecture: self.arch.name().to_owned() },
                |own| image::Platform { os: own.os.clone(), architecture: own.architecture.clone() },
            ),
            reference: reference(&recipe),
            config: config(&recipe.config),
            layers: layers.iter().map(|(name, _)| name.clone()).collect(),
            based: base.is_some(),
        };
        let base = base.iter().flat_map(|(image, holds)| [*image, *holds]);
        let inputs = base.chain(layers.iter().map(|(_, step)| *step)).collect();
        let step = self.add(Label::new(&id, ""), Work::Image(assembly), inputs);
        self.made.insert(made, step);
        step
    }

    /// Makes one image of those for several machines; where they are one image, it is that.
    pub(super) fn index(&mut self, id: &Id, images: &[(Arch, StepId)]) -> StepId {
        let (_, first) = images[0];
        if images.iter().all(|(_, step)| *step == first) {
            return first;
        }
        let main = images.iter().position(|(arch, _)| *arch == self.platforms.main()).unwrap_or(0);
        let work = Work::Index { assembly: self.locked.images[&id.name].assembly, main };
        self.add(Label::new(id, "index"), work, images.iter().map(|(_, step)| *step).collect())
    }

    /// Lists the trees that an image is made of.
    fn layers_of(&self, image: StepId) -> Vec<StepId> {
        let Work::Image(assembly) = &self.steps[image].work else {
            unreachable!("an image's step assembles it");
        };
        assembly.trees(&self.steps[image].inputs).to_vec()
    }

    /// Tells what an image target brings besides the image.
    pub(super) fn image_target(&mut self, name: &Name, images: Vec<(Arch, StepId)>) -> ImageTarget {
        let recipe = self.expanded(name);
        let (mut beside, mut workloads, mut described) = (BTreeMap::new(), BTreeMap::new(), None);
        let (mut survey, mut change, mut runtimes, mut checks) = (None, None, BTreeMap::new(), Vec::new());
        if let Some(node) = &recipe.node {
            let work =
                Work::Survey { rules: node::SURVEY, containerd_config: node.containerd_config.clone() };
            let main = self.platforms.main();
            let image = images.iter().find(|(arch, _)| *arch == main).expect("it is one of the wanted").1;
            let layers = self.layers_of(image);
            let label = |part: &str| Label::new(&Id::new(Role::Image, name), part);
            let (_, below) = layers.split_last().expect("a node has the layer of its configuration");
            let below = below.to_vec();
            survey = Some(self.add(label("survey"), work, layers));
            let described = described.insert(self.node(&recipe, node));
            let work = Work::Change { rules: node::CHANGE, node: Box::new(described.configuration()) };
            change = Some(self.add(label("change"), work, below));
            beside = node::manifests(described);
            for &(arch, image) in &images {
                let work = Work::Gate { rules: gate::RULES, arch, node: Box::new(described.clone()) };
                let layers = self.layers_of(image);
                checks.push(self.on(arch, |builder| builder.add(label("gates"), work, layers)));
            }
            for runtime in &node.runtimes {
                let version = |name: &Name| (name.clone(), self.locked.versions[name.as_str()].clone());
                let locked = &self.locked.runtimes[runtime];
                let packages = locked.packages.iter().map(version).collect();
                runtimes.insert(locked.handler().to_string(), packages);
                for &(arch, _) in &images {
                    checks.extend(self.on(arch, |builder| builder.calls(runtime)));
                }
                for container in self.locked.runtimes[runtime].containers() {
                    let wanted = self.platforms.wanted.clone();
                    let images =
                        wanted.iter().map(|&arch| (arch, self.on(arch, |b| b.image(&container.image))));
                    let images: Vec<_> = images.collect();
                    let step = self.index(&Id::new(Role::Image, &container.image), &images);
                    workloads.insert(container.image.clone(), step);
                }
            }
        }
        let project = self.files.projects.get(&Id::new(Role::Image, name)).copied();
        ImageTarget {
            project,
            reference: reference(&recipe),
            images,
            node: described,
            survey,
            change,
            checks,
            runtimes,
            beside,
            workloads,
        }
    }

    /// Plans what an image is built on: the image, and what is in it.
    fn base(&mut self, id: &Id, base: &LockedBase) -> (StepId, StepId) {
        let (arch, reference) = (self.arch, base.reference.clone());
        let work = Work::Base { digest: base.on(arch), arch, reference: reference.clone() };
        let image = self.add(Label::new(id, "base"), work, Vec::new());
        let work = Work::Unlayer { rules: unpack::LAYERS, reference };
        (image, self.add(Label::new(id, "base:files"), work, vec![image]))
    }

    fn system(&mut self, id: &Id, system: &recipe::System, root: StepId) -> StepId {
        let Some(script) = &system.script else { return root };
        let (mut inputs, mut placed) = (vec![root], Vec::new());
        for package in &system.inputs {
            self.place(package, package, &mut inputs, &mut placed);
        }
        let mut script = root::script(script);
        script.env.extend(self.machine());
        script.env.extend(system.env.clone());
        let run = Run {
            rules: root::RULES,
            kind: RunKind::System,
            argv: script.argv,
            env: script.env,
            cwd: guest("/"),
            placed,
            arch: self.arch,
            limits: limits(&system.limits),
        };
        self.add(Label::new(id, "system"), Work::Run(run), inputs)
    }

    fn layer(&mut self, id: &Id, name: &str, packages: &[Name], preload: &[Name]) -> StepId {
        let (mut parts, mut inputs) = (Vec::new(), Vec::new());
        for package in packages {
            inputs.push(self.package(package));
            let without = self.locked.packages[package].recipe.development.clone();
            parts.push(Part::Package { without });
        }
        for image in preload {
            inputs.push(self.image(image));
            parts.push(Part::Preload { path: guest(&format!("/kind/images/{image}.tar")) });
        }
        self.add(Label::new(id, format!("layer:{name}")), Work::Layer { parts }, inputs)
    }

    /// Replaces the `{names}` in an image's recipe.
    fn expanded(&self, name: &Name) -> Image {
        let version = |name: &str| self.locked.versions.get(name).cloned();
        self.locked.images[name].recipe.expand(&version, self.arch)
    }

    /// Describes a node: the one place where names that must agree come from.
    fn node(&self, recipe: &Image, node: &recipe::Node) -> node::Node {
        let runtime = |name: &Name| {
            let runtime = &self.locked.runtimes[name];
            let example = |container: &recipe::ExampleContainer| node::ExampleContainer {
                name: container.name.to_string(),
                image: reference(&self.expanded(&container.image)),
                command: container.command.clone(),
                args: container.args.clone(),
                stdin: container.stdin.clone(),
                env: container.env.clone(),
                memory: container.memory.map(|size| size.0),
                prints: container.prints.clone(),
                exit: container.exit,
                http: container.http.clone(),
            };
            let pod = |pod: &recipe::TrialPod| node::TrialPod {
                name: pod.name.to_string(),
                class: pod.class,
                annotations: pod.annotations.clone(),
                needs_cluster: pod.needs_cluster,
                containers: pod.containers.iter().map(example).collect(),
            };
            node::Runtime {
                handler: runtime.handler().to_string(),
                runtime_class: runtime.runtime_class().to_string(),
                kind: runtime.kind.clone(),
                binary: runtime.binary.clone(),
                loads: runtime.loads.iter().map(Name::to_string).collect(),
                options: runtime.options.clone(),
                annotations: runtime.annotations.clone(),
                pod_annotations: runtime.pod_annotations.clone(),
                node_labels: runtime.node_labels.clone(),
                example: runtime.example.iter().map(example).collect(),
                trial: runtime.trial.iter().map(pod).collect(),
            }
        };
        node::Node {
            reference: reference(recipe),
            kubernetes: match &node.kubernetes {
                Kubernetes::Package(package) => self.locked.packages[package].recipe.version.clone(),
                Kubernetes::Base(base) => base.version.clone(),
            },
            based: node.kubernetes.package().is_none(),
            containerd_config: node.containerd_config.clone(),
            runtimes: node.runtimes.iter().map(runtime).collect(),
        }
    }
}

fn reference(recipe: &Image) -> String {
    format!("{}:{}", recipe.repository(), recipe.tag)
}

fn config(own: &recipe::Config) -> image::Config {
    image::Config {
        entrypoint: own.entrypoint.clone(),
        cmd: own.cmd.clone(),
        env: own.env.clone(),
        user: own.user.clone(),
        working_dir: own.working_dir.clone(),
        stop_signal: own.stop_signal.clone(),
        exposed_ports: own.exposed_ports.iter().cloned().collect(),
        labels: own.labels.clone(),
    }
}
