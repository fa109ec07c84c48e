//! What can go wrong with a project's bundle.

use std::io;
use std::path::PathBuf;

use crate::base::{Arch, Blame, Sha256};

/// Says why there is no bundle of a project, or why one is no use here.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[allow(missing_docs, reason = "each message says what its fields are")]
pub enum Error {
    #[error(
        "no program goes into the bundle: this nodeimg is linked dynamically, and runs on no machine that has nothing else"
    )]
    #[diagnostic(help(
        "make a static one with\n`RUSTFLAGS='-C target-feature=+crt-static' cargo build --locked --release --target \
         {machine}-unknown-linux-gnu`\nand name it with `--program target/{machine}-unknown-linux-gnu/release/nodeimg`"
    ))]
    NoProgram { machine: &'static str },

    #[error("the project's files alone don't make `{step}` as the project does")]
    #[diagnostic(help(
        "what a recipe names in `path` must be plain files: a link or an empty folder does not go into a bundle, as empty \
         folders don't into git"
    ))]
    Closure { step: String },

    #[error("`{bundle}` is for machines that are {hosts}, this one is {arch}")]
    #[diagnostic(help(
        "make one with a static nodeimg for {arch} too: `nodeimg bundle create --program FILE`"
    ))]
    Host { bundle: String, hosts: String, arch: Arch },

    #[error("`{bundle}` lacks what an earlier bundle has, {since}\n  {member}")]
    #[diagnostic(help("give that one too: `--bundle EARLIER --bundle {bundle}`"))]
    Earlier { bundle: String, since: Sha256, member: String },

    #[error("`{bundle}` lacks{}", .lacking.iter().map(|(file, step)| format!("\n  `{file}`, which `{step}` needs")).collect::<String>())]
    #[diagnostic(help("it was made for other targets or platforms: name them in `nodeimg bundle create`"))]
    Lacking { bundle: String, lacking: Vec<(String, String)> },

    #[error("the results of `{bundle}` are wrong: {why}")]
    #[diagnostic(help("do not trust this file"))]
    Results { bundle: String, why: String },

    #[error("nothing can be built out of the bundle alone: the build above ended with {code}")]
    #[diagnostic(help("make it again with `nodeimg bundle create`, where there is a network"))]
    NotProven { code: i32 },

    #[error(
        "the result of `{step}` in `{bundle}` is not what its sources give\n  expected: {expected}\n  received: {received}"
    )]
    #[diagnostic(help(
        "do not trust the results of this file; the step may also be one that is not reproducible"
    ))]
    Differs { bundle: String, step: String, expected: Sha256, received: Sha256 },

    #[error("cannot {action} `{path}`")]
    Io { action: &'static str, path: PathBuf, source: io::Error },
}

impl Error {
    /// Tells who is to act.
    pub fn blame(&self) -> Blame {
        match self {
            Error::NoProgram { .. } => Blame::Usage,
            Error::Host { .. } | Error::Io { .. } => Blame::Machine,
            Error::NotProven { .. } | Error::Differs { .. } => Blame::Build,
            _ => Blame::Input,
        }
    }
}
