//! The messages of the Remote Execution API, version 2, that nodeimg stores and hashes.
//!
//! Field numbers are those of `build/bazel/remote/execution/v2/remote_execution.proto`. Only fields
//! that nodeimg writes are here: an unknown field in a stored message makes it non-canonical, which
//! readers notice. Prost writes fields in tag order and leaves out defaults, as the API demands of
//! messages that are named by their digest.

use prost::Message;

use crate::base::{Digest as Name, Sha256};

/// Names a blob.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Digest {
    /// SHA-256, lower-case hexadecimal.
    #[prost(string, tag = "1")]
    pub hash: String,
    /// Length in bytes.
    #[prost(int64, tag = "2")]
    pub size_bytes: i64,
}

impl From<Name> for Digest {
    fn from(name: Name) -> Self {
        Self { hash: name.hash.to_string(), size_bytes: name.size as i64 }
    }
}

impl Digest {
    /// Reads the digest, if it is canonical.
    pub fn name(&self) -> Option<Name> {
        let hash: Sha256 = self.hash.parse().ok().filter(|hash: &Sha256| hash.to_string() == self.hash)?;
        Some(Name { hash, size: u64::try_from(self.size_bytes).ok()? })
    }
}

/// One directory: its entries by kind, each kind sorted by name.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Directory {
    /// Regular files.
    #[prost(message, repeated, tag = "1")]
    pub files: Vec<FileNode>,
    /// Directories.
    #[prost(message, repeated, tag = "2")]
    pub directories: Vec<DirectoryNode>,
    /// Symbolic links.
    #[prost(message, repeated, tag = "3")]
    pub symlinks: Vec<SymlinkNode>,
    /// The directory's own metadata.
    #[prost(message, optional, tag = "5")]
    pub node_properties: Option<NodeProperties>,
}

/// A regular file in a directory.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct FileNode {
    /// One path component.
    #[prost(string, tag = "1")]
    pub name: String,
    /// The content.
    #[prost(message, optional, tag = "2")]
    pub digest: Option<Digest>,
    /// Whether anyone may execute it.
    #[prost(bool, tag = "4")]
    pub is_executable: bool,
    /// Mode and owner where they are out of the ordinary.
    #[prost(message, optional, tag = "6")]
    pub node_properties: Option<NodeProperties>,
}

/// A directory in a directory.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct DirectoryNode {
    /// One path component.
    #[prost(string, tag = "1")]
    pub name: String,
    /// The digest of its [`Directory`] message.
    #[prost(message, optional, tag = "2")]
    pub digest: Option<Digest>,
}

/// A symbolic link in a directory.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct SymlinkNode {
    /// One path component.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Where it points.
    #[prost(string, tag = "2")]
    pub target: String,
}

/// Metadata of a file or directory.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct NodeProperties {
    /// Named properties, sorted by name.
    #[prost(message, repeated, tag = "1")]
    pub properties: Vec<Property>,
    /// The permission bits (a `google.protobuf.UInt32Value`).
    #[prost(message, optional, tag = "3")]
    pub unix_mode: Option<u32>,
}

/// A name and a value: `NodeProperty`, `Platform.Property` and `Command.EnvironmentVariable` alike.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Property {
    /// The name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// The value.
    #[prost(string, tag = "2")]
    pub value: String,
}

/// What a build step is: a command over an input root.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Action {
    /// The digest of the [`Command`] message.
    #[prost(message, optional, tag = "1")]
    pub command_digest: Option<Digest>,
    /// The digest of the root [`Directory`] of the inputs.
    #[prost(message, optional, tag = "2")]
    pub input_root_digest: Option<Digest>,
    /// When the step is stopped.
    #[prost(message, optional, tag = "6")]
    pub timeout: Option<Duration>,
    /// Whether the result must not be kept.
    #[prost(bool, tag = "7")]
    pub do_not_cache: bool,
    /// Puts the action into a name space of its own.
    #[prost(bytes = "vec", tag = "9")]
    pub salt: Vec<u8>,
    /// What the step needs of a worker.
    #[prost(message, optional, tag = "10")]
    pub platform: Option<Platform>,
}

/// `google.protobuf.Duration`.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct Duration {
    /// Whole seconds.
    #[prost(int64, tag = "1")]
    pub seconds: i64,
    /// The rest.
    #[prost(int32, tag = "2")]
    pub nanos: i32,
}

/// What runs, and in which environment.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Command {
    /// Program and arguments.
    #[prost(string, repeated, tag = "1")]
    pub arguments: Vec<String>,
    /// The whole environment, sorted by name.
    #[prost(message, repeated, tag = "2")]
    pub environment_variables: Vec<Property>,
    /// Where the process starts, relative to the input root.
    #[prost(string, tag = "6")]
    pub working_directory: String,
    /// What is kept of the result, sorted, relative to the working directory.
    #[prost(string, repeated, tag = "7")]
    pub output_paths: Vec<String>,
    /// Which node properties are kept, sorted.
    #[prost(string, repeated, tag = "8")]
    pub output_node_properties: Vec<String>,
}

/// What a step needs of a worker: sorted by name, then by value.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Platform {
    /// The needs.
    #[prost(message, repeated, tag = "1")]
    pub properties: Vec<Property>,
}

/// What a step gave.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct ActionResult {
    /// The output trees.
    #[prost(message, repeated, tag = "3")]
    pub output_directories: Vec<OutputDirectory>,
    /// The exit code.
    #[prost(int32, tag = "4")]
    pub exit_code: i32,
    /// What it wrote, a blob.
    #[prost(message, optional, tag = "6")]
    pub stdout_digest: Option<Digest>,
}

/// An output tree.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct OutputDirectory {
    /// Relative to the working directory.
    #[prost(string, tag = "1")]
    pub path: String,
    /// The digest of the `Tree` message.
    #[prost(message, optional, tag = "3")]
    pub tree_digest: Option<Digest>,
    /// Whether the `Tree` message lists every directory once, parents first.
    #[prost(bool, tag = "4")]
    pub is_topologically_sorted: bool,
    /// The digest of the root [`Directory`] message: the name of the tree in nodeimg.
    #[prost(message, optional, tag = "5")]
    pub root_directory_digest: Option<Digest>,
}

/// Names a message: the digest of its encoding.
pub fn digest_of(message: &impl Message) -> Name {
    Name::of(&message.encode_to_vec())
}
