//! The messages of containerd's API (`api/services/{content,images,leases}/v1`) that an import needs, with the fields
//! that it uses. Field numbers are containerd's; what a message has besides is skipped.

use std::collections::BTreeMap;

use prost::Message;

/// `content.v1.WriteContentRequest`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct WriteRequest {
    #[prost(int32, tag = 1)]
    pub(super) action: i32,
    #[prost(string, tag = 2)]
    pub(super) r#ref: String,
    #[prost(int64, tag = 3)]
    pub(super) total: i64,
    #[prost(string, tag = 4)]
    pub(super) expected: String,
    #[prost(int64, tag = 5)]
    pub(super) offset: i64,
    #[prost(bytes = "vec", tag = 6)]
    pub(super) data: Vec<u8>,
    #[prost(btree_map = "string, string", tag = 7)]
    pub(super) labels: BTreeMap<String, String>,
}

/// `content.v1.WriteAction`: asks how much is there.
pub(super) const STAT: i32 = 0;
/// `content.v1.WriteAction`: brings some bytes.
pub(super) const WRITE: i32 = 1;
/// `content.v1.WriteAction`: ends the blob, whose digest is checked.
pub(super) const COMMIT: i32 = 2;

/// `content.v1.WriteContentResponse`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct WriteResponse {
    #[prost(int64, tag = 4)]
    pub(super) offset: i64,
}

/// `content.v1.Info`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Info {
    #[prost(string, tag = 1)]
    pub(super) digest: String,
    #[prost(btree_map = "string, string", tag = 5)]
    pub(super) labels: BTreeMap<String, String>,
}

/// `google.protobuf.FieldMask`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct FieldMask {
    #[prost(string, repeated, tag = 1)]
    pub(super) paths: Vec<String>,
}

/// `content.v1.UpdateRequest`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct UpdateInfo {
    #[prost(message, optional, tag = 1)]
    pub(super) info: Option<Info>,
    #[prost(message, optional, tag = 2)]
    pub(super) update_mask: Option<FieldMask>,
}

/// `types.Descriptor`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Descriptor {
    #[prost(string, tag = 1)]
    pub(super) media_type: String,
    #[prost(string, tag = 2)]
    pub(super) digest: String,
    #[prost(int64, tag = 3)]
    pub(super) size: i64,
}

/// `images.v1.Image`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Image {
    #[prost(string, tag = 1)]
    pub(super) name: String,
    #[prost(message, optional, tag = 3)]
    pub(super) target: Option<Descriptor>,
}

/// `images.v1.GetImageRequest`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct GetImage {
    #[prost(string, tag = 1)]
    pub(super) name: String,
}

/// `images.v1.CreateImageRequest`, and the `GetImageResponse`, which looks the same.
#[derive(Clone, PartialEq, Message)]
pub(super) struct OneImage {
    #[prost(message, optional, tag = 1)]
    pub(super) image: Option<Image>,
}

/// `images.v1.UpdateImageRequest`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct UpdateImage {
    #[prost(message, optional, tag = 1)]
    pub(super) image: Option<Image>,
    #[prost(message, optional, tag = 2)]
    pub(super) update_mask: Option<FieldMask>,
}

/// `leases.v1.CreateRequest`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct CreateLease {
    #[prost(string, tag = 1)]
    pub(super) id: String,
    #[prost(btree_map = "string, string", tag = 3)]
    pub(super) labels: BTreeMap<String, String>,
}

/// `leases.v1.DeleteRequest`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct DeleteLease {
    #[prost(string, tag = 1)]
    pub(super) id: String,
}

/// An answer of which nothing is read.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Anything {}
