//! Commands that keep a project, its keys and the store.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

#[derive(Debug, Args)]
pub(in crate::cli) struct Init {
    /// Where, by default here; the folder may have other files, but no `recipes`
    #[arg(value_name = "DIR")]
    pub(in crate::cli) folder: Option<PathBuf>,
    /// The node image to start from, one that nodeimg comes with
    #[arg(long, value_name = "IMAGE")]
    pub(in crate::cli) base: Option<String>,
    /// A runtime in place of the image's own; may be given several times
    #[arg(long = "runtime", value_name = "NAME")]
    pub(in crate::cli) runtimes: Vec<String>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Add {
    #[command(subcommand)]
    pub(in crate::cli) command: AddCommand,
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum AddCommand {
    /// Add a containerd runtime to a node image, with the packages and examples that it needs
    Runtime(AddRuntime),
}

#[derive(Debug, Args)]
pub(in crate::cli) struct AddRuntime {
    /// The runtime: a recipe of the project, or one that nodeimg comes with
    #[arg(value_name = "NAME")]
    pub(in crate::cli) name: String,
    /// The node image that gets it; by default the project's default image
    #[arg(long, value_name = "IMAGE")]
    pub(in crate::cli) image: Option<String>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Lock {
    /// Recipes, with all that they need; by default every recipe
    #[arg(value_name = "TARGET")]
    pub(in crate::cli) targets: Vec<String>,
    /// Only compare locks with recipes, offline
    #[arg(long)]
    pub(in crate::cli) check: bool,
    /// Lock the recipes that a unified diff on stdin changes, and those that follow: `git diff | nodeimg lock --from-diff`
    #[arg(long, conflicts_with_all = ["targets", "check", "update"])]
    pub(in crate::cli) from_diff: bool,
    /// Ask anew for what is pinned already
    #[arg(long, conflicts_with = "check")]
    pub(in crate::cli) update: bool,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Key {
    #[command(subcommand)]
    pub(in crate::cli) command: KeyCommand,
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum KeyCommand {
    /// Make a key: FILE, which only you can read, and FILE.pub, which checks what it signs
    New(NewKey),
}

#[derive(Debug, Args)]
pub(in crate::cli) struct NewKey {
    /// Where the private half goes; the public one lies beside it. Nothing is overwritten
    #[arg(value_name = "FILE")]
    pub(in crate::cli) file: PathBuf,
    /// How the key signs
    #[arg(long, value_name = "ALGORITHM", default_value = "ed25519")]
    pub(in crate::cli) algorithm: KeyAlgorithm,
}

/// The algorithms of keys.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(in crate::cli) enum KeyAlgorithm {
    /// Ed25519
    Ed25519,
    /// ECDSA over P-256, what `cosign generate-key-pair` makes
    P256,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Store {
    #[command(subcommand)]
    pub(in crate::cli) command: StoreCommand,
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum StoreCommand {
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
pub(in crate::cli) struct Gc {
    /// Keep what was used in the last so many days; 0 removes all that no project keeps. A project whose folder is gone
    /// keeps nothing
    #[arg(long, value_name = "DAYS", default_value_t = 30)]
    pub(in crate::cli) unused_for: u32,
    /// Then remove what was used longest ago until no more than this is left, such as `20GiB`
    #[arg(long, value_name = "SIZE")]
    pub(in crate::cli) max_size: Option<crate::recipe::Size>,
    /// Only tell what would be removed
    #[arg(long)]
    pub(in crate::cli) dry_run: bool,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Schema {
    /// Whose schema; by default all, by folder
    #[arg(value_name = "ROLE")]
    pub(in crate::cli) role: Option<Role>,
}

/// The roles of recipes.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(in crate::cli) enum Role {
    Suites,
    Packages,
    Runtimes,
    Images,
}
