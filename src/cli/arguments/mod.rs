//! What can be said on the command line.

mod keeping;
mod looking;
mod making;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub(super) use keeping::{
    Add, AddCommand, Gc, Init, Key, KeyAlgorithm, KeyCommand, Lock, Role, Schema, Store, StoreCommand,
};
pub(super) use looking::{Catalog, Diff, Graph, Lint, Log, Outdated, Plan, Shell, Trust, Verify, Why};
pub(super) use making::{
    Attest, Build, Bundle, BundleCommand, CreateBundle, Fetch, Rebuild, Try, VerifyBundle,
};

/// Reproducible Kubernetes node images with WebAssembly runtimes.
#[derive(Debug, Parser)]
#[command(name = "nodeimg", version, max_term_width = 80, disable_help_subcommand = true)]
pub(super) struct Arguments {
    #[command(flatten)]
    pub(super) common: Common,
    #[command(subcommand)]
    pub(super) command: Command,
}

/// What every command takes.
#[derive(Debug, Clone, Args)]
pub(super) struct Common {
    /// The project's folder
    #[arg(long, global = true, default_value = ".", value_name = "DIR")]
    pub(super) project: PathBuf,
    /// Never use the network
    #[arg(long, global = true)]
    pub(super) offline: bool,
    /// Print one JSON document on stdout when done
    #[arg(long, global = true)]
    pub(super) json: bool,
    /// Print warnings and errors only
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub(super) quiet: bool,
    /// Print what steps print, each fetch and each decision
    #[arg(short, long, global = true)]
    pub(super) verbose: bool,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Start a project: recipes, patches and locks for a node image, a README and a CI file
    Init(Init),
    /// Add to a project what nodeimg comes with
    Add(Add),
    /// Make images and packages, and put them below `out/`
    Build(Build),
    /// Build a node image, run it as a throw-away kind cluster and check what its examples do there
    Try(Try),
    /// Look for what would fail in pods: in an image of this project, or any node image from anywhere
    Lint(Lint),
    /// List the node images that were built: what is in them and what boots them
    Catalog(Catalog),
    /// Pin what recipes ask for in `lockfiles/`, and show what changed
    Lock(Lock),
    /// Say what could be newer: upstreams' releases, base images, Debian packages, security updates; exits with 1 if
    /// something could
    Outdated(Outdated),
    /// Bring everything that a build needs into the store
    Fetch(Fetch),
    /// Put everything that a rebuild needs into one file, for machines that nothing else reaches
    Bundle(Bundle),
    /// Show what would be fetched, built or reused, and why, without doing it
    Plan(Plan),
    /// Show what two images, packages, folders or archives differ in, and why; exits with 1 if they do
    Diff(Diff),
    /// Say why an image, a package or a step would be made anew, or was when it was last
    Why(Why),
    /// Make an image again out of what it carries: its recipes, locks and patches
    Rebuild(Rebuild),
    /// Make an image or a package again from nothing, or single steps, and compare
    Verify(Verify),
    /// Show the steps and what they are made of: as text, for Graphviz, as a picture
    Graph(Graph),
    /// Print what a step printed when it last ran
    Log(Log),
    /// Open a shell in a step's sandbox: its files, environment and ids
    Shell(Shell),
    /// Say what is in an image and how it was made, beside it and attached to it, and sign that
    Attest(Attest),
    /// Make keys to sign with
    Key(Key),
    /// Look at and clean the store
    Store(Store),
    /// Print the JSON schema of recipes
    Schema(Schema),
}

/// Which locks count.
#[derive(Debug, Args)]
pub(super) struct Locking {
    /// Take locks as they are: a missing or stale one is an error. With a value, another lock file for the target, or
    /// another folder in place of `lockfiles/`
    #[arg(
        long,
        visible_alias = "locked",
        value_name = "FILE",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "",
        value_parser = clap::value_parser!(OsString)
    )]
    pub(super) lock: Option<OsString>,
}

/// What machines things are made for.
#[derive(Debug, Args)]
pub(super) struct Platforms {
    /// The machines that things are made for: `linux/amd64`, `linux/arm64` or `all`; several as a list or one by one.
    /// An image for several is one image with an index. By default this machine's
    #[arg(long, value_name = "OS/ARCH", value_delimiter = ',')]
    pub(super) platform: Vec<String>,
}

/// Where steps run, and how many.
#[derive(Debug, Args)]
pub(super) struct Running {
    /// Where steps run; what they give is the same
    #[arg(long, value_name = "KIND", default_value = "namespace")]
    pub(super) sandbox: Sandbox,
    /// Steps at once, and what scripts get as `$JOBS`; by default the number of processors
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub(super) jobs: Option<u16>,
}

/// The kinds of sandboxes.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum Sandbox {
    /// Linux namespaces of this machine
    Namespace,
    /// Containers of a Docker or Podman engine, which may be elsewhere
    Docker,
}
