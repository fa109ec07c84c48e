//! `bundle.json`: what a bundle is for and what is in it.
//!
//! There is one text for a listing: whatever else parses to the same is refused, so that its hash is the bundle's name.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{Error, header};
use crate::base::{Arch, Name, Sha256};

/// The format that this release writes.
const FORMAT: u32 = 1;

/// What a bundle is for and what is in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Listing {
    /// The format's number.
    pub nodeimg_bundle: u32,
    /// What it is for: `images/NAME`, `packages/NAME`, in the order that they were asked for.
    pub targets: Vec<String>,
    /// The machines that the targets are for: `linux/amd64`.
    pub platforms: Vec<String>,
    /// The machines that the targets can be made on.
    pub hosts: Vec<String>,
    /// The public key that the listing is signed with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signed_by: Option<String>,
    /// The bundle that this one is made on top of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Since>,
    /// What that one has, and is left out here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub elsewhere: Vec<Member>,
    /// What is in this file behind the listing, in this order.
    pub members: Vec<Member>,
}

/// An earlier bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Since {
    /// The hash of its listing.
    pub listing: Sha256,
}

/// One file of a bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Member {
    /// Where it lies in the tar.
    pub path: String,
    /// Its size in bytes.
    pub size: u64,
    /// The hash of its bytes.
    pub sha256: Sha256,
    /// Whether it is a program.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub executable: bool,
    /// The name that a fetched file has where it comes from; what has none belongs to results.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
}

/// What a path stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Program,
    Blob,
    Project,
    Results,
    Tree,
}

/// Where a blob lies.
pub fn blob(hash: &Sha256) -> String {
    format!("blobs/sha256/{hash}")
}

/// Where a tree lies; its name is the hash of its root.
pub fn tree(root: &Sha256) -> String {
    format!("trees/sha256/{root}")
}

impl Member {
    /// Names it for people: what is fetched has a better name than its path.
    pub fn name(&self) -> String {
        match &self.source {
            Some(source) => format!("{} ({source})", self.path),
            None => self.path.clone(),
        }
    }

    /// The project's file that it is.
    pub fn project(&self) -> Option<&str> {
        self.path.strip_prefix("project/")
    }

    /// The tree that it is.
    pub fn tree(&self) -> Option<Sha256> {
        self.path.strip_prefix("trees/sha256/")?.parse().ok()
    }

    pub(super) fn kind(&self) -> Result<Kind, String> {
        let path = &self.path;
        let named = |hex: &str| hex.parse().ok().filter(|hash: &Sha256| hash.to_string() == hex);
        let wrong = || format!("`{}` is no path of a bundle", path.escape_debug());
        let (folder, rest) = path.split_once('/').unwrap_or(("", path));
        match (folder, rest) {
            ("bin", rest) => {
                let arch = rest.strip_prefix("nodeimg-").and_then(|arch| arch.parse::<Arch>().ok());
                arch.filter(|arch| rest == format!("nodeimg-{arch}")).map(|_| Kind::Program).ok_or_else(wrong)
            }
            ("blobs", rest) => match rest.strip_prefix("sha256/").and_then(named) {
                Some(hash) if hash == self.sha256 => Ok(Kind::Blob),
                Some(_) => Err(format!("`{path}` is said to have another hash than its name")),
                None => Err(wrong()),
            },
            ("trees", rest) => {
                rest.strip_prefix("sha256/").and_then(named).map(|_| Kind::Tree).ok_or_else(wrong)
            }
            ("project", rest) => {
                let is_plain = rest.split('/').all(|part| Name::new(part).is_ok())
                    && !rest.contains(char::is_control)
                    && header::fits(path);
                if is_plain { Ok(Kind::Project) } else { Err(wrong()) }
            }
            ("", super::RESULTS) => Ok(Kind::Results),
            _ => Err(wrong()),
        }
    }
}

impl Kind {
    /// The largest that is believed. A blob may have any size, since it goes to disk as it comes.
    fn largest(self) -> u64 {
        match self {
            Kind::Program => 1 << 30,
            Kind::Blob => 1 << 50,
            Kind::Project => 64 << 20,
            Kind::Results | Kind::Tree => 256 << 20,
        }
    }
}

impl Listing {
    /// Lists nothing yet.
    pub fn new(targets: Vec<String>, platforms: &[Arch], hosts: &[Arch]) -> Self {
        let names = |all: &[Arch]| all.iter().map(|arch| arch.platform()).collect();
        Self {
            nodeimg_bundle: FORMAT,
            targets,
            platforms: names(platforms),
            hosts: names(hosts),
            signed_by: None,
            since: None,
            elsewhere: Vec::new(),
            members: Vec::new(),
        }
    }

    /// Lists a member behind the others; their paths must come sorted. Tells whether it is in this bundle: what an
    /// earlier one has is listed as elsewhere.
    pub fn add(&mut self, member: Member, earlier: Option<&Listing>) -> Result<bool, Error> {
        if !header::fits(&member.path) {
            return Err(Error::TooLong { path: member.path });
        }
        let is_content = matches!(member.kind(), Ok(Kind::Blob | Kind::Tree));
        let has = |members: &[Member]| {
            let found = members.binary_search_by(|other| other.path.cmp(&member.path));
            found.is_ok_and(|at| members[at].sha256 == member.sha256)
        };
        match earlier.filter(|earlier| is_content && (has(&earlier.members) || has(&earlier.elsewhere))) {
            Some(earlier) => {
                self.since = Some(Since { listing: earlier.hash() });
                self.elsewhere.push(member);
                Ok(false)
            }
            None => {
                self.members.push(member);
                Ok(true)
            }
        }
    }

    /// Gives the listing's bytes: a member a line, so that people can read it.
    pub fn text(&self) -> String {
        let mut fields = vec![
            format!("\"nodeimg-bundle\": {}", self.nodeimg_bundle),
            format!("\"targets\": {}", json(&self.targets)),
            format!("\"platforms\": {}", json(&self.platforms)),
            format!("\"hosts\": {}", json(&self.hosts)),
        ];
        fields.extend(self.signed_by.as_ref().map(|key| format!("\"signed-by\": {}", json(key))));
        fields.extend(self.since.as_ref().map(|since| format!("\"since\": {}", json(since))));
        let lines = |members: &[Member]| {
            let lines: Vec<_> = members.iter().map(|member| format!("    {}", json(member))).collect();
            if lines.is_empty() { "[]".to_owned() } else { format!("[\n{}\n  ]", lines.join(",\n")) }
        };
        if !self.elsewhere.is_empty() {
            fields.push(format!("\"elsewhere\": {}", lines(&self.elsewhere)));
        }
        fields.push(format!("\"members\": {}", lines(&self.members)));
        format!("{{\n  {}\n}}\n", fields.join(",\n  "))
    }

    /// Gives the name of a bundle: the hash of its listing.
    pub fn hash(&self) -> Sha256 {
        Sha256::of(self.text().as_bytes())
    }

    /// Reads a listing. The error says what is wrong with it.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        #[derive(Deserialize)]
        #[serde(rename_all = "kebab-case")]
        struct Format {
            nodeimg_bundle: u32,
        }
        let format: Format = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        if format.nodeimg_bundle != FORMAT {
            let found = format.nodeimg_bundle;
            return Err(format!("its format is {found}, this nodeimg reads {FORMAT}"));
        }
        let listing: Self = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        listing.check()?;
        if listing.text().as_bytes() != bytes {
            return Err("it is not written as nodeimg writes it".to_owned());
        }
        Ok(listing)
    }

    /// The machines that the targets are for.
    pub fn wanted(&self) -> Vec<Arch> {
        self.platforms.iter().filter_map(|platform| platform.parse().ok()).collect()
    }

    /// Everything that the bundle and those below it have.
    pub fn all(&self) -> impl Iterator<Item = &Member> {
        self.members.iter().chain(&self.elsewhere)
    }

    /// Adds up the members' sizes.
    pub fn size(&self) -> u64 {
        self.members.iter().map(|member| member.size).sum()
    }

    fn check(&self) -> Result<(), String> {
        for platform in self.platforms.iter().chain(&self.hosts) {
            let known = platform.parse::<Arch>().is_ok_and(|arch| arch.platform() == *platform);
            if !known {
                return Err(format!("it is for `{}`, which is no platform", platform.escape_debug()));
            }
        }
        if self.targets.is_empty() || self.platforms.is_empty() {
            return Err("it is for nothing".to_owned());
        }
        if self.elsewhere.is_empty() != self.since.is_none() {
            return Err("`since` and `elsewhere` go together".to_owned());
        }
        self.check_members()?;
        for list in [&self.members, &self.elsewhere] {
            if let Some(pair) = list.windows(2).find(|pair| pair[0].path >= pair[1].path) {
                let (one, other) = (pair[0].path.escape_debug(), pair[1].path.escape_debug());
                return Err(match one.to_string() == other.to_string() {
                    true => format!("`{one}` is listed twice"),
                    false => format!("`{other}` is listed after `{one}`"),
                });
            }
        }
        if let Some(member) =
            self.elsewhere.iter().find(|member| !matches!(member.kind(), Ok(Kind::Blob | Kind::Tree)))
        {
            return Err(format!("`{}` must be in each bundle", member.path));
        }
        let mut paths = BTreeSet::new();
        if let Some(twice) = self.all().find(|member| !paths.insert(member.path.as_str())) {
            return Err(format!("`{}` is listed twice", twice.path));
        }
        // No file is a folder too.
        for path in &paths {
            let above = path.match_indices('/').map(|(at, _)| &path[..at]);
            if let Some(file) = above.into_iter().find(|above| paths.contains(above)) {
                return Err(format!("`{}` is a file and a folder", file.escape_debug()));
            }
        }
        Ok(())
    }

    /// Looks at each member by itself.
    fn check_members(&self) -> Result<(), String> {
        for member in self.all() {
            let kind = member.kind()?;
            let name = member.path.escape_debug();
            if member.size > kind.largest() {
                return Err(format!("`{name}` has {} bytes, more than anything of its kind", member.size));
            }
            let executable = matches!(kind, Kind::Program);
            if member.executable != executable && kind != Kind::Project {
                return Err(format!("`{name}` has the mode of another kind of file"));
            }
            if member.source.is_some() && kind != Kind::Blob {
                return Err(format!("`{name}` is no source"));
            }
        }
        Ok(())
    }
}

/// Gives a value as one line.
fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("plain values")
}
