//! Steps as plain data.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use super::StepId;
use crate::base::{Arch, Digest, GuestPath, Name, Sha256};
use crate::fetch::cargo::Vendored;
use crate::fetch::debian::PackagePin;
use crate::fetch::{Pin, Request, oci};
use crate::image;
use crate::node::Node;
use crate::recipe::Id;
use crate::sandbox::Limits;

/// One step: gives one artifact, a blob or a tree.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// What people call it; the first is shown. Steps of several recipes that are equal are one step.
    pub labels: Vec<Label>,
    /// What is done.
    pub work: Work,
    /// The steps whose artifacts it takes, in the order that `work` gives them a meaning in.
    pub inputs: Vec<StepId>,
    /// Its name before anything is done; see the module doc.
    pub key: Sha256,
}

/// What people call a step: the recipe and a part of the way to it. Prints as `crun`, `crun:test` or `crun@arm64:test`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Label {
    /// The recipe.
    pub recipe: Id,
    /// The part; empty for the result.
    pub part: String,
    /// The machine that it is for, where it is not the one that plans.
    pub arch: Option<Arch>,
}

impl Label {
    pub(super) fn new(recipe: &Id, part: impl Into<String>) -> Self {
        Self { recipe: recipe.clone(), part: part.into(), arch: None }
    }

    /// Tells whether a person may mean this label: with or without the recipe's role.
    pub fn is(&self, name: &str) -> bool {
        self.to_string() == name || format!("{}/{self}", self.recipe.role.folder()) == name
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.recipe.name)?;
        if let Some(arch) = self.arch {
            write!(f, "@{arch}")?;
        }
        if self.part.is_empty() { Ok(()) } else { write!(f, ":{}", self.part) }
    }
}

/// What a step does. Serialised, it is the step's own share of its key; skipped fields are not in the key.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
#[allow(missing_docs, reason = "each variant says what its fields are")]
pub enum Work {
    /// Brings a pinned file: no input → blob.
    Fetch(Fetch),
    /// Brings an image that others are built on: no input → tree of its manifest and configuration
    /// ([`image::base()`]). `digest` is the manifest's, or that of an index that has it for `arch`.
    Base {
        digest: Sha256,
        arch: Arch,
        #[serde(skip)]
        reference: oci::Reference,
    },
    /// Unpacks the layers of a base over each other: its tree → what a container of it sees.
    Unlayer {
        rules: u32,
        #[serde(skip)]
        reference: oci::Reference,
    },
    /// Is there already: a folder of the project, taken into the store → tree.
    Folder { tree: Digest },
    /// Unpacks an archive: blob → tree. `strip` as the recipe says it.
    Unpack { rules: u32, strip: Option<u32> },
    /// Applies patches, blobs of the project: tree → tree. `names` are for errors.
    Patch {
        patches: Vec<Digest>,
        #[serde(skip)]
        names: Vec<String>,
    },
    /// Lays unpacked crates out for cargo: trees → tree. One crate an input.
    Crates { rules: u32, crates: Vec<Vendored> },
    /// Is a text of nodeimg's own, in a file: no input → tree.
    Text { path: GuestPath, text: String },
    /// Unpacks Debian packages into one root: blobs → tree. `files` are the packages' file names.
    Root {
        rules: u32,
        arch: Arch,
        #[serde(skip)]
        files: Vec<String>,
    },
    /// Fits an unpacked root to be read from outside it: tree → tree.
    Beside { rules: u32 },
    /// Runs a script in the sandbox: root and what is placed in it → tree.
    Run(Run),
    /// Puts packages and preloaded images together: trees → tree. One part an input.
    Layer { parts: Vec<Part> },
    /// Makes a node's configuration out of the layers below: trees → tree.
    Node { node: Box<Node> },
    /// Shows what a node's configuration changes: what [`Work::Node`] takes → tree with [`CHANGE_FILE`](crate::node::CHANGE_FILE).
    Change { rules: u32, node: Box<Node> },
    /// Holds what a program's source calls against the libraries of a runtime: the source's tree, the results of
    /// packages that it was built with, those of the runtime's other packages → an empty tree.
    Calls(Calls),
    /// Reads what a node image says of itself: its layers' trees → tree with [`SURVEY_FILE`].
    Survey { rules: u32, containerd_config: GuestPath },
    /// Lets the gates look at a node image: its layers' trees → tree with [`GATE_FILE`], or an error.
    Gate { rules: u32, arch: Arch, node: Box<Node> },
    /// Assembles an image from layers: trees → tree, an OCI layout. A base and what it holds come first.
    Image(Assembly),
    /// Makes one image of the same one for several platforms: trees → tree, an OCI layout with an index. `main` is the
    /// input that a program takes which knows no index.
    Index { assembly: u32, main: usize },
}

/// What is looked at of a program's calls of libraries that it opens at run time.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Calls {
    /// The version of what is compared, and how.
    pub rules: u32,
    /// The source's files with the calls.
    pub files: Vec<GuestPath>,
    /// The libraries that the runtime loads.
    pub loads: Vec<Name>,
    /// How many inputs behind the source are what the program was built with.
    pub built: usize,
    /// The program's name, and for each input behind the source its package and version.
    #[serde(skip)]
    pub names: (String, Vec<String>),
}

/// What a survey leaves.
pub const SURVEY_FILE: &str = "/survey.json";

/// What the gates leave.
pub const GATE_FILE: &str = "/gates.json";

/// What an image is besides its layers, which are the inputs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Assembly {
    /// The algorithm's number.
    pub assembly: u32,
    /// The platform that the image names.
    pub platform: image::Platform,
    /// Repository and tag.
    pub reference: String,
    /// How a container of it runs.
    pub config: image::Config,
    /// The names of the layers that are made, lowest first.
    pub layers: Vec<String>,
    /// Whether it is built on another image.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub based: bool,
}

impl Assembly {
    /// Picks those of the step's inputs that are trees of layers, lowest first; a base's are one.
    pub fn trees<'a>(&self, inputs: &'a [StepId]) -> &'a [StepId] {
        &inputs[usize::from(self.based)..]
    }
}

/// What is fetched, and from where. The hash alone is the key.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(into = "Sha256")]
#[allow(missing_docs, reason = "each variant says what its fields are")]
pub enum Fetch {
    /// A recipe's source, as asked and as pinned.
    Source { request: Request, pin: Pin },
    /// A Debian package, and the moment under which snapshot.debian.org keeps it.
    Debian { pin: PackagePin, snapshot: String },
}

impl From<Fetch> for Sha256 {
    fn from(fetch: Fetch) -> Self {
        fetch.sha256()
    }
}

impl Fetch {
    /// Gives the size in bytes, where it is known.
    pub fn size(&self) -> Option<u64> {
        match self {
            Fetch::Source { pin, .. } => pin.size,
            Fetch::Debian { pin, .. } => Some(pin.size),
        }
    }

    /// Gives the file's name, for people.
    pub fn name(&self) -> String {
        match self {
            Fetch::Source { request, .. } => {
                let text = request.to_string();
                text.rsplit('/').next().unwrap_or(&text).to_owned()
            }
            Fetch::Debian { pin, .. } => pin.file().to_owned(),
        }
    }
}

/// A script that runs in the sandbox. The first input is the root, the others are placed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Run {
    /// The version of what is done around the script: what the sandbox looks like from inside, and for systems
    /// what is taken off the root afterwards.
    pub rules: u32,
    /// Who runs it and what is kept.
    pub kind: RunKind,
    /// Program and arguments.
    pub argv: Vec<String>,
    /// The environment; the sandbox adds `JOBS`.
    pub env: BTreeMap<String, String>,
    /// Where it starts.
    pub cwd: GuestPath,
    /// Where the second and later inputs lie.
    pub placed: Vec<Placed>,
    /// The machine it runs on.
    pub arch: Arch,
    /// When it is stopped.
    #[serde(skip)]
    pub limits: Limits,
}

/// Who runs a script, and what is kept of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RunKind {
    /// A builder, who leaves the result in `/out`.
    Build,
    /// A builder, who looks at a result in `/out`; nothing is kept.
    Test,
    /// Root, who changes the root; the changed root is kept.
    System,
}

/// An input of a [`Run`] and its place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Placed {
    /// Where.
    pub path: GuestPath,
    /// How.
    pub how: Mounted,
}

/// How an input of a [`Run`] is placed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mounted {
    /// A tree, read-only.
    ReadOnly,
    /// A tree, a copy that may be written to.
    Copy,
    /// A blob, a copy that may be written to.
    File,
}

/// One input of a layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs, reason = "each variant says what its fields are")]
pub enum Part {
    /// A package's result, without these paths.
    Package { without: Vec<GuestPath> },
    /// An image, as an archive at this path.
    Preload { path: GuestPath },
}

impl Step {
    /// Names an input by its role in this step, where its own label says too little.
    pub(super) fn input_name(&self, index: usize) -> Option<String> {
        match &self.work {
            Work::Run(_) if index == 0 => Some("root".to_owned()),
            Work::Run(run) => run.placed.get(index - 1).map(|placed| placed.path.to_string()),
            Work::Root { files, .. } => files.get(index).cloned(),
            _ => None,
        }
    }
}
