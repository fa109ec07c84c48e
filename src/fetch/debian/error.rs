//! What can go wrong with Debian archives, beyond what can go wrong with any download.

use crate::base::{Arch, Blame};

/// Says why a suite can't be pinned, or why packages can't be found in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, miette::Diagnostic)]
#[allow(missing_docs, reason = "each message says what its fields are")]
pub enum Error {
    #[error("`{text}` is no moment")]
    #[diagnostic(help("write `snapshot` in the suite's recipe as `YYYYMMDDTHHMMSSZ`"))]
    NotAMoment { text: String },

    #[error("key `{file}` can't be used: {reason}")]
    #[diagnostic(help("the files under `keys` in the suite's recipe are armored OpenPGP public keys"))]
    Key { file: String, reason: String },

    #[error("`{file}` does not hold the key that it is named after\n  key: {key}")]
    #[diagnostic(help(
        "get that key from its owner, check its fingerprint there, and put it into that file"
    ))]
    OtherKey { file: String, key: String },

    #[error("`{url}` is no signature: {reason}")]
    #[diagnostic(help(
        "`signature` in the recipe names a detached OpenPGP signature, such as `{{url}}.asc`"
    ))]
    NotASignature { url: String, reason: String },

    #[error("the signature `{url}` is by another key than the recipe's\n  signed by: {}", signers.join(", "))]
    #[diagnostic(help(
        "do not trust this download; if upstream has a new key, check it, put it into `recipes/keys/` and name it in the recipe"
    ))]
    OtherSigner { url: String, signers: Vec<String> },

    #[error("the signature `{url}` is bad: the file is not what was signed\n  key: {signer}")]
    #[diagnostic(help("do not trust this download; ask upstream, or name another place in `also`"))]
    BadFile { url: String, signer: String },

    #[error("the signature `{url}` is by a key that was not in force\n  key: {signer}\n  {reason}")]
    #[diagnostic(help(
        "if upstream has a newer key, check it, put it into `recipes/keys/` and name it in the recipe"
    ))]
    UnfitSigner { url: String, signer: String, reason: String },

    #[error("`{url}` is no signed release file: {reason}")]
    #[diagnostic(help("do not trust this download; name another mirror"))]
    NotSigned { url: String, reason: String },

    #[error("`{url}` is signed by no key of the suite's recipe\n  signed by: {}", signers.join(", "))]
    #[diagnostic(help(
        "do not trust this download; if the archive has a new key, check it and add it to `keys` in the suite's recipe"
    ))]
    UnknownSigner { url: String, signers: Vec<String> },

    #[error("the signature of `{url}` is bad\n  key: {signer}")]
    #[diagnostic(help("do not trust this download: its text is not what was signed"))]
    BadSignature { url: String, signer: String },

    #[error("`{url}` is signed by a key that was not in force\n  key: {signer}\n  {reason}")]
    #[diagnostic(help(
        "if the archive has a newer key, check it and add it to `keys` in the suite's recipe"
    ))]
    UnfitKey { url: String, signer: String, reason: String },

    #[error(
        "the releases that can be had are newer than the suite's moment\n  moment: {moment}{}{}",
        found.iter().map(|(url, date)| format!("\n  {url}: {date}")).collect::<String>(),
        tried.iter().map(|(url, why)| format!("\n  {url}: {why}")).collect::<String>()
    )]
    #[diagnostic(help("set `snapshot` in the suite's recipe to a moment after that, such as `{later}`"))]
    Newer { moment: String, found: Vec<(String, String)>, tried: Vec<(String, String)>, later: String },

    #[error(
        "the release `{url}` had expired at the suite's moment\n  moment: {moment}\n  valid until: {until}"
    )]
    #[diagnostic(help(
        "name a mirror that is up to date, or set `snapshot` in the suite's recipe to an earlier moment"
    ))]
    Expired { url: String, moment: String, until: String },

    #[error("`{file}` can't be used as Debian's tracker data: {reason}")]
    #[diagnostic(help(
        "take the JSON of https://security-tracker.debian.org/tracker/data/json, or `data/DSA/list` of the tracker's repository"
    ))]
    Tracker { file: String, reason: String },

    #[error("Debian's tracker data says nothing of the release `{release}`")]
    #[diagnostic(help("take newer tracker data; it knows releases by their code names, such as `bookworm`"))]
    UnknownRelease { release: String },

    #[error("the suite has no package `{name}` on {arch}{}", near.as_ref().map(|near| format!(", did you mean `{near}`?")).unwrap_or_default())]
    UnknownPackage { name: String, arch: Arch, near: Option<String> },

    #[error("package `{name}` has no version `{version}` on {arch}\n  the suite has: {}", there.join(", "))]
    UnknownVersion { name: String, version: String, arch: Arch, there: Vec<String> },

    #[error("`{name}` is no package of its own on {arch}, several provide it\n  {}", providers.join(", "))]
    #[diagnostic(help("name the one that is wanted"))]
    Virtual { name: String, arch: Arch, providers: Vec<String> },

    #[error("the wanted packages don't go together on {arch}\n{}", why.iter().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n"))]
    #[diagnostic(help(
        "leave one out, ask for another version as `name=version`, or draw from another suite or moment"
    ))]
    Unsatisfiable { arch: Arch, why: Vec<String> },
}

impl Error {
    /// Tells who is to act: all of these are about what was asked for or what came.
    pub fn blame(&self) -> Blame {
        Blame::Input
    }
}
