//! What can be said on the command line.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::export;

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

/// Where steps run.
#[derive(Debug, Args)]
pub(super) struct Sandboxing {
    /// Where steps run; what they give is the same
    #[arg(long, value_name = "KIND", default_value = "namespace")]
    pub(super) sandbox: Sandbox,
}

/// The kinds of sandboxes.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum Sandbox {
    /// Linux namespaces of this machine
    Namespace,
    /// Containers of a Docker or Podman engine, which may be elsewhere
    Docker,
}

/// Lists the forms for help.
fn forms() -> String {
    let mut text = "The form that images leave in; may be given several times:\n\n".to_owned();
    for form in export::FORMS {
        let _ = writeln!(text, "  {:<24} {}", format!("{}[={}]", form.name, form.place), form.about);
    }
    let _ =
        write!(text, "\nBy default `{}`, in the image's folder below `out`", export::USUAL.join("` and `"));
    text
}

#[derive(Debug, Args)]
pub(super) struct Init {
    /// Where, by default here; the folder may have other files, but no `recipes`
    #[arg(value_name = "DIR")]
    pub(super) folder: Option<PathBuf>,
    /// The node image to start from, one that nodeimg comes with
    #[arg(long, value_name = "IMAGE")]
    pub(super) base: Option<String>,
    /// A runtime in place of the image's own; may be given several times
    #[arg(long = "runtime", value_name = "NAME")]
    pub(super) runtimes: Vec<String>,
}

#[derive(Debug, Args)]
pub(super) struct Add {
    #[command(subcommand)]
    pub(super) command: AddCommand,
}

#[derive(Debug, Subcommand)]
pub(super) enum AddCommand {
    /// Add a containerd runtime to a node image, with the packages and examples that it needs
    Runtime(AddRuntime),
}

#[derive(Debug, Args)]
pub(super) struct AddRuntime {
    /// The runtime: a recipe of the project, or one that nodeimg comes with
    #[arg(value_name = "NAME")]
    pub(super) name: String,
    /// The node image that gets it; by default the project's default image
    #[arg(long, value_name = "IMAGE")]
    pub(super) image: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct Build {
    /// Images or packages; by default the project's default image
    #[arg(value_name = "TARGET")]
    pub(super) targets: Vec<String>,
    #[command(flatten)]
    pub(super) platforms: Platforms,
    #[command(flatten)]
    pub(super) locking: Locking,
    #[command(flatten)]
    pub(super) sandboxing: Sandboxing,
    /// Steps at once, and what scripts get as `$JOBS`; by default the number of processors
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub(super) jobs: Option<u16>,
    /// Where outputs go; by default `out` in the project's folder
    #[arg(long, value_name = "DIR")]
    pub(super) out: Option<PathBuf>,
    /// The form that images leave in; may be given several times
    #[arg(long, value_name = "FORM[=PLACE]", long_help = forms())]
    pub(super) output: Vec<String>,
    /// Go on with what does not depend on a failed step
    #[arg(long)]
    pub(super) keep_going: bool,
    /// Build out of a bundle and nothing else: no project, no network. `-` is stdin. One that was made with `--since`
    /// comes behind those below it
    #[arg(long, value_name = "FILE")]
    pub(super) bundle: Vec<PathBuf>,
    /// Take a bundle's results even if nobody signed them whose key is among `trusted-keys` of config.toml
    #[arg(long, requires = "bundle")]
    pub(super) trust_unsigned: bool,
    /// Take no results of a bundle, whoever signed them
    #[arg(long, requires = "bundle", conflicts_with = "trust_unsigned")]
    pub(super) from_sources: bool,
}

#[derive(Debug, Args)]
pub(super) struct Bundle {
    #[command(subcommand)]
    pub(super) command: BundleCommand,
}

#[derive(Debug, Subcommand)]
pub(super) enum BundleCommand {
    /// Write a bundle: recipes, locks, patches, all sources and packages, results, and nodeimg itself
    Create(CreateBundle),
    /// Prove that a bundle is whole: build out of it in an empty store, without a network
    Verify(VerifyBundle),
}

#[derive(Debug, Args)]
pub(super) struct CreateBundle {
    /// Images or packages; by default the project's default image
    #[arg(value_name = "TARGET")]
    pub(super) targets: Vec<String>,
    /// Where the bundle goes; `-` is stdout. What a stopped run has written of it is used
    #[arg(short, long, value_name = "FILE")]
    pub(super) output: PathBuf,
    #[command(flatten)]
    pub(super) platforms: Platforms,
    /// A static nodeimg for machines that the bundle will be used on; one for each architecture. By default this
    /// program, if it is static
    #[arg(long, value_name = "FILE")]
    pub(super) program: Vec<PathBuf>,
    /// Leave results out: whoever uses the bundle makes everything from sources
    #[arg(long)]
    pub(super) without_cached_results: bool,
    /// Leave out what an earlier bundle has
    #[arg(long, value_name = "FILE")]
    pub(super) since: Option<PathBuf>,
    /// Sign the listing with this private key
    #[arg(long, value_name = "FILE")]
    pub(super) key: Option<PathBuf>,
    #[command(flatten)]
    pub(super) sandboxing: Sandboxing,
    /// Steps at once, and what scripts get as `$JOBS`; by default the number of processors
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub(super) jobs: Option<u16>,
}

#[derive(Debug, Args)]
pub(super) struct VerifyBundle {
    /// The bundle; one that was made with `--since` behind those below it
    #[arg(value_name = "FILE", required = true)]
    pub(super) bundle: Vec<PathBuf>,
    /// Make everything from sources, and compare it with the bundle's results
    #[arg(long)]
    pub(super) from_sources: bool,
    /// Steps at once, and what scripts get as `$JOBS`; by default the number of processors
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub(super) jobs: Option<u16>,
}

#[derive(Debug, Args)]
pub(super) struct Try {
    /// The node image; by default the project's default image
    #[arg(value_name = "IMAGE")]
    pub(super) image: Option<String>,
    #[command(flatten)]
    pub(super) locking: Locking,
    /// Leave the cluster up if it got so far, and say how to use and delete it
    #[arg(long)]
    pub(super) keep: bool,
    /// Run the examples with the image's containerd by itself, in seconds: no Docker, no Kubernetes; needs root
    #[arg(long, conflicts_with_all = ["keep", "record", "attest"])]
    pub(super) no_cluster: bool,
    /// If all went well, note in `trials/` that this kind booted the image; `nodeimg catalog` shows it
    #[arg(long)]
    pub(super) record: bool,
    /// Write the result as JUnit XML too
    #[arg(long, value_name = "FILE")]
    pub(super) junit: Option<PathBuf>,
    /// Write the result as an in-toto statement about the image's digest too
    #[arg(long, value_name = "FILE")]
    pub(super) attest: Option<PathBuf>,
    #[command(flatten)]
    pub(super) sandboxing: Sandboxing,
    /// Steps at once, and what scripts get as `$JOBS`; by default the number of processors
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub(super) jobs: Option<u16>,
    /// Where outputs go; by default `out` in the project's folder
    #[arg(long, value_name = "DIR")]
    pub(super) out: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct Catalog {
    /// Where the outputs are; by default `out` in the project's folder
    #[arg(long, value_name = "DIR")]
    pub(super) out: Option<PathBuf>,
    /// Print the JSON schema of `catalog.json`
    #[arg(long)]
    pub(super) schema: bool,
}

#[derive(Debug, Args)]
pub(super) struct Lock {
    /// Recipes, with all that they need; by default every recipe
    #[arg(value_name = "TARGET")]
    pub(super) targets: Vec<String>,
    /// Only compare locks with recipes, offline
    #[arg(long)]
    pub(super) check: bool,
    /// Lock the recipes that a unified diff on stdin changes, and those that follow: `git diff | nodeimg lock --from-diff`
    #[arg(long, conflicts_with_all = ["targets", "check", "update"])]
    pub(super) from_diff: bool,
    /// Ask anew for what is pinned already
    #[arg(long, conflicts_with = "check")]
    pub(super) update: bool,
}

#[derive(Debug, Args)]
pub(super) struct Outdated {
    /// Recipes, with all that they need; by default every recipe
    #[arg(value_name = "TARGET")]
    pub(super) targets: Vec<String>,
    /// A file of Debian's security tracker: the JSON of its site, or its list of advisories, `data/DSA/list`; both say
    /// most. May be given several times
    #[arg(long, value_name = "FILE")]
    pub(super) tracker: Vec<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct Fetch {
    /// Images or packages; by default the project's default image
    #[arg(value_name = "TARGET")]
    pub(super) targets: Vec<String>,
    #[command(flatten)]
    pub(super) platforms: Platforms,
}

#[derive(Debug, Args)]
pub(super) struct Plan {
    /// Images or packages; by default the project's default image
    #[arg(value_name = "TARGET")]
    pub(super) targets: Vec<String>,
    #[command(flatten)]
    pub(super) platforms: Platforms,
}

#[derive(Debug, Args)]
pub(super) struct Lint {
    /// The image, in one of these forms
    #[arg(value_name = "IMAGE", long_help = sources())]
    pub(super) image: String,
    /// containerd's configuration in an image that no recipe describes
    #[arg(long, value_name = "PATH", default_value = crate::gate::CONFIG, value_parser = guest_path)]
    pub(super) config: crate::base::GuestPath,
    /// The machine to take of an image for several: `linux/amd64` or `linux/arm64`; by default this one
    #[arg(long, value_name = "PLATFORM")]
    pub(super) platform: Option<String>,
    #[command(flatten)]
    pub(super) locking: Locking,
    #[command(flatten)]
    pub(super) sandboxing: Sandboxing,
    /// How many steps run at once
    #[arg(short, long, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..))]
    pub(super) jobs: Option<u16>,
}

fn percent(text: &str) -> Result<usize, String> {
    let number =
        text.strip_suffix('%').unwrap_or(text).parse().ok().filter(|number| (1..=100).contains(number));
    number.ok_or_else(|| "is no share such as `5%`".to_owned())
}

fn guest_path(text: &str) -> Result<crate::base::GuestPath, String> {
    crate::base::GuestPath::new(text).map_err(|error| error.to_string())
}

/// Lists where images can be for help.
fn sources() -> String {
    let mut text = "The image, in one of these forms:\n\n".to_owned();
    let _ = writeln!(text, "  {:<24} an image of this project", "RECIPE");
    for form in crate::pipeline::lint::FORMS {
        let _ = writeln!(text, "  {:<24} {}", form.place, form.about);
    }
    text
}

/// What `diff` takes, for help.
const THINGS: &str = "\
What to compare, in one of these forms:

  NAME     an image or a package of this project, as its recipes say now
  FOLDER   an OCI layout, or files
  FILE     an archive of `docker save` or of an OCI layout, or any other
  DIGEST   a tree, a manifest, an action or a file of the store

With one name, what it was before it was last made and what it is are compared.
`./NAME` is a file or folder that is called like a recipe.";

#[derive(Debug, Args)]
pub(super) struct Diff {
    /// What was before, in one of these forms: a name of this project, a path, a digest of the store
    #[arg(value_name = "A", long_help = THINGS)]
    pub(super) before: String,
    /// What is now
    #[arg(value_name = "B")]
    pub(super) now: Option<String>,
    /// Write a report to this file too: one page that needs nothing else
    #[arg(long, value_name = "FILE")]
    pub(super) html: Option<PathBuf>,
    /// Look into files of Debian packages too that are there in another version
    #[arg(long)]
    pub(super) deep: bool,
    /// The machine that a package of this project is for; by default this one
    #[arg(long, value_name = "OS/ARCH")]
    pub(super) platform: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct Why {
    /// An image, a package, or a step such as `crun:test`; by default the project's default image
    #[arg(value_name = "NAME")]
    pub(super) name: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct Rebuild {
    /// The image: an OCI layout, an archive, a registry's image, or the digest of an image below `out`
    #[arg(value_name = "IMAGE")]
    pub(super) image: String,
    #[command(flatten)]
    pub(super) sandboxing: Sandboxing,
    /// Steps at once, and what scripts get as `$JOBS`; by default the number of processors
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub(super) jobs: Option<u16>,
    /// Where outputs go; by default `out` in the current folder
    #[arg(long, value_name = "DIR")]
    pub(super) out: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct Verify {
    /// Images or packages of this project, or images from elsewhere: an OCI layout, an archive, a registry's image, or
    /// the digest of an image below `out`; by default the project's default image
    #[arg(value_name = "IMAGE")]
    pub(super) images: Vec<String>,
    /// Only check who signed the image, and that it is what was signed; builds nothing. Besides what else `IMAGE` may be,
    /// what `nodeimg attest` left of an image of this project
    #[arg(long, conflicts_with_all = ["vary", "steps"], requires = "trusted")]
    pub(super) signature: bool,
    #[command(flatten)]
    pub(super) trust: Trust,
    /// Do each step again by itself, with another user, path, umask, host name, clock, time zone, locale, number of
    /// processors, directory order and kernel version, and name what a result depends on
    #[arg(long)]
    pub(super) vary: bool,
    /// Do only this step again, such as `crun`; may be given several times
    #[arg(long = "step", value_name = "STEP")]
    pub(super) steps: Vec<String>,
    /// Do only some steps again, others each time: so many of a hundred of those whose results came out of a bundle
    #[arg(long, value_name = "PERCENT", value_parser = percent, conflicts_with = "steps")]
    pub(super) sample: Option<usize>,
    #[command(flatten)]
    pub(super) sandboxing: Sandboxing,
    /// Steps at once, and what scripts get as `$JOBS`; by default the number of processors
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub(super) jobs: Option<u16>,
}

/// Whose signatures count.
#[derive(Debug, Args)]
#[group(id = "trusted")]
pub(super) struct Trust {
    /// A file that says whose signatures count and what they must be of: with `--signature`
    #[arg(long, value_name = "FILE", requires = "signature", conflicts_with = "key")]
    pub(super) policy: Option<PathBuf>,
    /// A public key whose signature of the image is enough: with `--signature`
    #[arg(long, value_name = "FILE", requires = "signature")]
    pub(super) key: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct Graph {
    /// An image, a package, or a step such as `crun:test`; by default the project's default image
    #[arg(value_name = "NAME")]
    pub(super) name: Option<String>,
    #[command(flatten)]
    pub(super) platforms: Platforms,
    /// Print the language of Graphviz
    #[arg(long, conflicts_with_all = ["svg", "json"])]
    pub(super) dot: bool,
    /// Print a picture
    #[arg(long, conflicts_with = "json")]
    pub(super) svg: bool,
}

#[derive(Debug, Args)]
pub(super) struct Log {
    /// The step: `crun`, `crun:test`, `crun:root`
    pub(super) step: String,
}

#[derive(Debug, Args)]
pub(super) struct Shell {
    /// The step: `crun`, `crun:test`, `crun:root`
    pub(super) step: String,
}

#[derive(Debug, Args)]
pub(super) struct Attest {
    /// Images, which are built if they are not there; by default the project's default image
    #[arg(value_name = "IMAGE")]
    pub(super) targets: Vec<String>,
    /// The private key that signs the image and what is said about it; without one nothing is signed
    #[arg(long, value_name = "FILE")]
    pub(super) key: Option<PathBuf>,
    /// Who builds, as the provenance says it
    #[arg(long, value_name = "URI", default_value = crate::attest::provenance::BUILDER, value_parser = uri)]
    pub(super) builder: String,
    #[command(flatten)]
    pub(super) platforms: Platforms,
    #[command(flatten)]
    pub(super) locking: Locking,
    #[command(flatten)]
    pub(super) sandboxing: Sandboxing,
    /// Steps at once, and what scripts get as `$JOBS`; by default the number of processors
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub(super) jobs: Option<u16>,
    /// Where outputs go; by default `out` in the project's folder
    #[arg(long, value_name = "DIR")]
    pub(super) out: Option<PathBuf>,
}

/// Takes what a reader of provenance takes for a URI: a scheme, then whatever that has.
fn uri(text: &str) -> Result<String, String> {
    let scheme = text.split_once(':').map_or("", |(scheme, _)| scheme);
    let is_scheme = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'));
    let is_plain = text.chars().all(|c| c.is_ascii_graphic());
    if is_scheme && is_plain {
        Ok(text.to_owned())
    } else {
        Err("is no URI such as `https://ci.example/nodes`".to_owned())
    }
}

#[derive(Debug, Args)]
pub(super) struct Key {
    #[command(subcommand)]
    pub(super) command: KeyCommand,
}

#[derive(Debug, Subcommand)]
pub(super) enum KeyCommand {
    /// Make a key: FILE, which only you can read, and FILE.pub, which checks what it signs
    New(NewKey),
}

#[derive(Debug, Args)]
pub(super) struct NewKey {
    /// Where the private half goes; the public one lies beside it. Nothing is overwritten
    #[arg(value_name = "FILE")]
    pub(super) file: PathBuf,
    /// How the key signs
    #[arg(long, value_name = "ALGORITHM", default_value = "ed25519")]
    pub(super) algorithm: KeyAlgorithm,
}

/// The algorithms of keys.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum KeyAlgorithm {
    /// Ed25519
    Ed25519,
    /// ECDSA over P-256, what `cosign generate-key-pair` makes
    P256,
}

#[derive(Debug, Args)]
pub(super) struct Store {
    #[command(subcommand)]
    pub(super) command: StoreCommand,
}

#[derive(Debug, Subcommand)]
pub(super) enum StoreCommand {
    /// Print where the store is
    Path,
    /// Count what is in it, and what each project keeps
    Ls,
    /// Read everything again and remove what is damaged
    Verify,
    /// Remove what no project keeps and nobody used lately
    Gc(Gc),
}

#[derive(Debug, Args)]
pub(super) struct Gc {
    /// Keep what was used in the last so many days; 0 removes all that no project keeps. A project whose folder is gone
    /// keeps nothing
    #[arg(long, value_name = "DAYS", default_value_t = 30)]
    pub(super) unused_for: u32,
    /// Then remove what was used longest ago until no more than this is left, such as `20GiB`
    #[arg(long, value_name = "SIZE")]
    pub(super) max_size: Option<crate::recipe::Size>,
    /// Only tell what would be removed
    #[arg(long)]
    pub(super) dry_run: bool,
}

#[derive(Debug, Args)]
pub(super) struct Schema {
    /// Whose schema; by default all, by folder
    #[arg(value_name = "ROLE")]
    pub(super) role: Option<Role>,
}

/// The roles of recipes.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum Role {
    Suites,
    Packages,
    Runtimes,
    Images,
}
