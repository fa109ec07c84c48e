//! Commands that make things.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{Locking, Platforms, Running};
use crate::export;

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
pub(in crate::cli) struct Build {
    /// Images or packages; by default the project's default image
    #[arg(value_name = "TARGET")]
    pub(in crate::cli) targets: Vec<String>,
    #[command(flatten)]
    pub(in crate::cli) platforms: Platforms,
    #[command(flatten)]
    pub(in crate::cli) locking: Locking,
    #[command(flatten)]
    pub(in crate::cli) running: Running,
    /// Where outputs go; by default `out` in the project's folder
    #[arg(long, value_name = "DIR")]
    pub(in crate::cli) out: Option<PathBuf>,
    /// The form that images leave in; may be given several times
    #[arg(long, value_name = "FORM[=PLACE]", long_help = forms())]
    pub(in crate::cli) output: Vec<String>,
    /// Go on with what does not depend on a failed step
    #[arg(long)]
    pub(in crate::cli) keep_going: bool,
    /// Build out of a bundle and nothing else: no project, no network. `-` is stdin. One that was made with `--since`
    /// comes behind those below it
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) bundle: Vec<PathBuf>,
    /// Take a bundle's results even if nobody signed them whose key is among `trusted-keys` of config.toml
    #[arg(long, requires = "bundle")]
    pub(in crate::cli) trust_unsigned: bool,
    /// Take no results of a bundle, whoever signed them
    #[arg(long, requires = "bundle", conflicts_with = "trust_unsigned")]
    pub(in crate::cli) from_sources: bool,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Bundle {
    #[command(subcommand)]
    pub(in crate::cli) command: BundleCommand,
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum BundleCommand {
    /// Write a bundle: recipes, locks, patches, all sources and packages, results, and nodeimg itself
    Create(CreateBundle),
    /// Prove that a bundle is whole: build out of it in an empty store, without a network
    Verify(VerifyBundle),
}

#[derive(Debug, Args)]
pub(in crate::cli) struct CreateBundle {
    /// Images or packages; by default the project's default image
    #[arg(value_name = "TARGET")]
    pub(in crate::cli) targets: Vec<String>,
    /// Where the bundle goes; `-` is stdout. What a stopped run has written of it is used
    #[arg(short, long, value_name = "FILE")]
    pub(in crate::cli) output: PathBuf,
    #[command(flatten)]
    pub(in crate::cli) platforms: Platforms,
    /// A static nodeimg for machines that the bundle will be used on; one for each architecture. By default this
    /// program, if it is static
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) program: Vec<PathBuf>,
    /// Leave results out: whoever uses the bundle makes everything from sources
    #[arg(long)]
    pub(in crate::cli) without_cached_results: bool,
    /// Leave out what an earlier bundle has
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) since: Option<PathBuf>,
    /// Sign the listing with this private key
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) key: Option<PathBuf>,
    #[command(flatten)]
    pub(in crate::cli) running: Running,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct VerifyBundle {
    /// The bundle; one that was made with `--since` behind those below it
    #[arg(value_name = "FILE", required = true)]
    pub(in crate::cli) bundle: Vec<PathBuf>,
    /// Make everything from sources, and compare it with the bundle's results
    #[arg(long)]
    pub(in crate::cli) from_sources: bool,
    /// Steps at once, and what scripts get as `$JOBS`; by default the number of processors
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub(in crate::cli) jobs: Option<u16>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Try {
    /// The node image; by default the project's default image
    #[arg(value_name = "IMAGE")]
    pub(in crate::cli) image: Option<String>,
    #[command(flatten)]
    pub(in crate::cli) locking: Locking,
    /// Leave the cluster up if it got so far, and say how to use and delete it
    #[arg(long)]
    pub(in crate::cli) keep: bool,
    /// Run the examples with the image's containerd by itself, in seconds: no Docker, no Kubernetes; needs root
    #[arg(long, conflicts_with_all = ["keep", "record", "attest"])]
    pub(in crate::cli) no_cluster: bool,
    /// If all went well, note in `trials/` that this kind booted the image; `nodeimg catalog` shows it
    #[arg(long)]
    pub(in crate::cli) record: bool,
    /// Write the result as JUnit XML too
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) junit: Option<PathBuf>,
    /// Write the result as an in-toto statement about the image's digest too
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) attest: Option<PathBuf>,
    #[command(flatten)]
    pub(in crate::cli) running: Running,
    /// Where outputs go; by default `out` in the project's folder
    #[arg(long, value_name = "DIR")]
    pub(in crate::cli) out: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Fetch {
    /// Images or packages; by default the project's default image
    #[arg(value_name = "TARGET")]
    pub(in crate::cli) targets: Vec<String>,
    #[command(flatten)]
    pub(in crate::cli) platforms: Platforms,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Rebuild {
    /// The image: an OCI layout, an archive, a registry's image, or the digest of an image below `out`
    #[arg(value_name = "IMAGE")]
    pub(in crate::cli) image: String,
    #[command(flatten)]
    pub(in crate::cli) running: Running,
    /// Where outputs go; by default `out` in the current folder
    #[arg(long, value_name = "DIR")]
    pub(in crate::cli) out: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Attest {
    /// Images, which are built if they are not there; by default the project's default image
    #[arg(value_name = "IMAGE")]
    pub(in crate::cli) targets: Vec<String>,
    /// The private key that signs the image and what is said about it; without one nothing is signed
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) key: Option<PathBuf>,
    /// Who builds, as the provenance says it
    #[arg(long, value_name = "URI", default_value = crate::attest::provenance::BUILDER, value_parser = uri)]
    pub(in crate::cli) builder: String,
    #[command(flatten)]
    pub(in crate::cli) platforms: Platforms,
    #[command(flatten)]
    pub(in crate::cli) locking: Locking,
    #[command(flatten)]
    pub(in crate::cli) running: Running,
    /// Where outputs go; by default `out` in the project's folder
    #[arg(long, value_name = "DIR")]
    pub(in crate::cli) out: Option<PathBuf>,
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
