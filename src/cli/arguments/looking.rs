//! Commands that say what is, was or would be.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Args;

use super::{Locking, Platforms, Running};

#[derive(Debug, Args)]
pub(in crate::cli) struct Catalog {
    /// Where the outputs are; by default `out` in the project's folder
    #[arg(long, value_name = "DIR")]
    pub(in crate::cli) out: Option<PathBuf>,
    /// Print the JSON schema of `catalog.json`
    #[arg(long)]
    pub(in crate::cli) schema: bool,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Outdated {
    /// Recipes, with all that they need; by default every recipe
    #[arg(value_name = "TARGET")]
    pub(in crate::cli) targets: Vec<String>,
    /// A file of Debian's security tracker: the JSON of its site, or its list of advisories, `data/DSA/list`; both say
    /// most. May be given several times
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) tracker: Vec<PathBuf>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Plan {
    /// Images or packages; by default the project's default image
    #[arg(value_name = "TARGET")]
    pub(in crate::cli) targets: Vec<String>,
    #[command(flatten)]
    pub(in crate::cli) platforms: Platforms,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Lint {
    /// The image, in one of these forms
    #[arg(value_name = "IMAGE", long_help = sources())]
    pub(in crate::cli) image: String,
    /// containerd's configuration in an image that no recipe describes
    #[arg(long, value_name = "PATH", default_value = crate::gate::CONFIG, value_parser = guest_path)]
    pub(in crate::cli) config: crate::base::GuestPath,
    /// The machine to take of an image for several: `linux/amd64` or `linux/arm64`; by default this one
    #[arg(long, value_name = "PLATFORM")]
    pub(in crate::cli) platform: Option<String>,
    #[command(flatten)]
    pub(in crate::cli) locking: Locking,
    #[command(flatten)]
    pub(in crate::cli) running: Running,
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
pub(in crate::cli) struct Diff {
    /// What was before, in one of these forms: a name of this project, a path, a digest of the store
    #[arg(value_name = "A", long_help = THINGS)]
    pub(in crate::cli) before: String,
    /// What is now
    #[arg(value_name = "B")]
    pub(in crate::cli) now: Option<String>,
    /// Write a report to this file too: one page that needs nothing else
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) html: Option<PathBuf>,
    /// Look into files of Debian packages too that are there in another version
    #[arg(long)]
    pub(in crate::cli) deep: bool,
    /// The machine that a package of this project is for; by default this one
    #[arg(long, value_name = "OS/ARCH")]
    pub(in crate::cli) platform: Option<String>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Why {
    /// An image, a package, or a step such as `crun:test`; by default the project's default image
    #[arg(value_name = "NAME")]
    pub(in crate::cli) name: Option<String>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Verify {
    /// Images or packages of this project, or images from elsewhere: an OCI layout, an archive, a registry's image, or
    /// the digest of an image below `out`; by default the project's default image
    #[arg(value_name = "IMAGE")]
    pub(in crate::cli) images: Vec<String>,
    /// Only check who signed the image, and that it is what was signed; builds nothing. Besides what else `IMAGE` may be,
    /// what `nodeimg attest` left of an image of this project
    #[arg(long, conflicts_with_all = ["vary", "steps"], requires = "trusted")]
    pub(in crate::cli) signature: bool,
    #[command(flatten)]
    pub(in crate::cli) trust: Trust,
    /// Do each step again by itself, with another user, path, umask, host name, clock, time zone, locale, number of
    /// processors, directory order and kernel version, and name what a result depends on
    #[arg(long)]
    pub(in crate::cli) vary: bool,
    /// Do only this step again, such as `crun`; may be given several times
    #[arg(long = "step", value_name = "STEP")]
    pub(in crate::cli) steps: Vec<String>,
    /// Do only some steps again, others each time: so many of a hundred of those whose results came out of a bundle
    #[arg(long, value_name = "PERCENT", value_parser = percent, conflicts_with = "steps")]
    pub(in crate::cli) sample: Option<usize>,
    #[command(flatten)]
    pub(in crate::cli) running: Running,
}

/// Whose signatures count.
#[derive(Debug, Args)]
#[group(id = "trusted")]
pub(in crate::cli) struct Trust {
    /// A file that says whose signatures count and what they must be of: with `--signature`
    #[arg(long, value_name = "FILE", requires = "signature", conflicts_with = "key")]
    pub(in crate::cli) policy: Option<PathBuf>,
    /// A public key whose signature of the image is enough: with `--signature`
    #[arg(long, value_name = "FILE", requires = "signature")]
    pub(in crate::cli) key: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Graph {
    /// An image, a package, or a step such as `crun:test`; by default the project's default image
    #[arg(value_name = "NAME")]
    pub(in crate::cli) name: Option<String>,
    #[command(flatten)]
    pub(in crate::cli) platforms: Platforms,
    /// Print the language of Graphviz
    #[arg(long, conflicts_with_all = ["svg", "json"])]
    pub(in crate::cli) dot: bool,
    /// Print a picture
    #[arg(long, conflicts_with = "json")]
    pub(in crate::cli) svg: bool,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Log {
    /// The step: `crun`, `crun:test`, `crun:root`
    pub(in crate::cli) step: String,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Shell {
    /// The step: `crun`, `crun:test`, `crun:root`
    pub(in crate::cli) step: String,
}
