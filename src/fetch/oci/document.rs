//! What registries give, read: indexes, manifests and configurations, of OCI and of Docker (schema 2).
//!
//! Bytes alone decide what a document is, never the header that came with it: a document that says two
//! things about itself is refused, so nobody reads one image where another reader sees another.

use serde::Deserialize;

use super::{Compression, Descriptor};
use crate::base::{Arch, Digest, Sha256};

/// The media types of manifests that are asked for.
pub(super) const ACCEPTED: &str = "application/vnd.oci.image.index.v1+json, \
     application/vnd.docker.distribution.manifest.list.v2+json, \
     application/vnd.oci.image.manifest.v1+json, \
     application/vnd.docker.distribution.manifest.v2+json";

/// More than this is no manifest and no configuration: registries have the same limit.
pub(super) const LARGEST: u64 = 4 << 20;
/// More than this is no layer of a node image.
const LARGEST_LAYER: u64 = 16 << 30;
/// overlayfs and engines stop long before.
const MOST_LAYERS: usize = 512;

const INDEXES: [&str; 2] =
    ["application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json"];
const MANIFESTS: [&str; 2] =
    ["application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json"];
const CONFIGS: [&str; 2] =
    ["application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json"];
const LAYERS: [(&str, Compression); 6] = [
    ("application/vnd.oci.image.layer.v1.tar", Compression::None),
    ("application/vnd.oci.image.layer.v1.tar+gzip", Compression::Gzip),
    ("application/vnd.oci.image.layer.v1.tar+zstd", Compression::Zstd),
    ("application/vnd.docker.image.rootfs.diff.tar", Compression::None),
    ("application/vnd.docker.image.rootfs.diff.tar.gzip", Compression::Gzip),
    ("application/vnd.docker.image.rootfs.diff.tar.zstd", Compression::Zstd),
];
const FOREIGN: [&str; 4] = [
    "application/vnd.oci.image.layer.nondistributable.v1.tar",
    "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
    "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
    "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
];

/// What is wrong with a document.
#[derive(Debug)]
pub(super) enum Fault {
    /// It is what it says, and of no use here.
    Unsuitable(String),
    /// It is not what it should be.
    Malformed(String),
}

/// A document that a reference may name.
#[derive(Debug)]
pub(super) enum Document {
    Index(Index),
    Manifest(Manifest),
}

/// An index, or Docker's manifest list.
#[derive(Debug)]
pub(super) struct Index {
    entries: Vec<(Platform, Digest)>,
}

/// One image.
#[derive(Debug)]
pub(super) struct Manifest {
    pub config: Digest,
    pub layers: Vec<Descriptor>,
}

/// What is read of an image's configuration.
#[derive(Debug)]
pub(super) struct Configuration {
    pub platform: Platform,
    pub diff_ids: Vec<Sha256>,
}

/// Which machines an image is for.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Platform {
    os: String,
    architecture: String,
    #[serde(default)]
    variant: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire {
    schema_version: u64,
    #[serde(default)]
    media_type: Option<String>,
    #[serde(default)]
    artifact_type: Option<String>,
    manifests: Option<Vec<WireDescriptor>>,
    config: Option<WireDescriptor>,
    layers: Option<Vec<WireDescriptor>>,
    // Schema 1.
    fs_layers: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireDescriptor {
    #[serde(default)]
    media_type: Option<String>,
    digest: String,
    size: u64,
    #[serde(default)]
    platform: Option<Platform>,
    #[serde(default)]
    artifact_type: Option<String>,
}

#[derive(Deserialize)]
struct WireConfiguration {
    #[serde(flatten)]
    platform: Platform,
    rootfs: WireRootFs,
}

#[derive(Deserialize)]
struct WireRootFs {
    diff_ids: Vec<String>,
}

impl Platform {
    /// Tells how well the image runs on a machine: 0 is best.
    fn rank(&self, arch: Arch) -> Option<u8> {
        if self.os != "linux" || self.architecture != arch.name() {
            return None;
        }
        // The baseline goes by its name, or by none.
        match (arch, self.variant.as_deref()) {
            (_, None | Some("")) => Some(0),
            (Arch::Amd64, Some("v1")) | (Arch::Arm64, Some("v8")) => Some(1),
            _ => None,
        }
    }

    pub(super) fn fits(&self, arch: Arch) -> bool {
        self.rank(arch).is_some()
    }
}

impl std::fmt::Display for Platform {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Somebody else's words, on one line and not endless.
        let word = |text: &str| -> String {
            text.chars().filter(|c| c.is_ascii_alphanumeric() || ".-_".contains(*c)).take(32).collect()
        };
        write!(f, "{}/{}", word(&self.os), word(&self.architecture))?;
        match self.variant.as_deref() {
            None | Some("") => Ok(()),
            Some(variant) => write!(f, "/{}", word(variant)),
        }
    }
}

impl Index {
    /// Finds the manifest for a platform.
    pub(super) fn pick(&self, arch: Arch) -> Option<Digest> {
        let fitting =
            self.entries.iter().filter_map(|(platform, digest)| Some((platform.rank(arch)?, *digest)));
        // Of two that fit alike, the first (OCI image index, `manifests`).
        fitting.min_by_key(|(rank, _)| *rank).map(|(_, digest)| digest)
    }

    /// Says what it has.
    pub(super) fn platforms(&self) -> String {
        let mut names: Vec<String> = Vec::new();
        for (platform, _) in &self.entries {
            let name = platform.to_string();
            if platform.os != "unknown" && !names.contains(&name) {
                names.push(name);
            }
        }
        if names.is_empty() { "no platform".to_owned() } else { names.join(", ") }
    }
}

fn hash(text: &str) -> Result<Sha256, Fault> {
    text.strip_prefix("sha256:")
        .filter(|hex| hex.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f')))
        .and_then(|hex| hex.parse().ok())
        .ok_or_else(|| Fault::Malformed(format!("{} is no SHA-256 digest", shown(text))))
}

/// Somebody else's words in backticks: on one line and not endless.
fn shown(text: &str) -> String {
    let text: String = text.chars().filter(|c| !c.is_control() && *c != '`').take(120).collect();
    format!("`{text}`")
}

impl WireDescriptor {
    fn digest(&self, what: &str, most: u64) -> Result<Digest, Fault> {
        if self.size > most {
            let size = self.size;
            return Err(Fault::Malformed(format!("{what} of {size} bytes is larger than {most}")));
        }
        Ok(Digest { hash: hash(&self.digest)?, size: self.size })
    }
}

/// Reads what a reference names.
pub(super) fn read(bytes: &[u8]) -> Result<Document, Fault> {
    let wire: Wire = json(bytes)?;
    if wire.schema_version == 1 || wire.fs_layers.is_some() {
        return Err(Fault::Unsuitable(
            "its manifest has Docker's old schema 1, which does not name its layers' content; push it anew \
             with a current tool"
                .to_owned(),
        ));
    }
    if wire.schema_version != 2 {
        return Err(Fault::Malformed(format!("schema version {} is unknown", wire.schema_version)));
    }
    let media_type = wire.media_type.as_deref().unwrap_or_default();
    let is_index = INDEXES.contains(&media_type) || (media_type.is_empty() && wire.manifests.is_some());
    let is_manifest = MANIFESTS.contains(&media_type) || (media_type.is_empty() && !is_index);
    if !is_index && !is_manifest {
        return Err(Fault::Unsuitable(format!("its media type is {}", shown(media_type))));
    }
    if wire.manifests.is_some() && (wire.config.is_some() || wire.layers.is_some()) {
        return Err(Fault::Malformed("it is an index and a manifest at once".to_owned()));
    }
    if is_index {
        let entries =
            wire.manifests.ok_or_else(|| Fault::Malformed("its index lacks `manifests`".to_owned()))?;
        return Ok(Document::Index(index(&entries)?));
    }
    let (Some(config), Some(layers)) = (&wire.config, &wire.layers) else {
        return Err(Fault::Malformed("its manifest lacks `config` or `layers`".to_owned()));
    };
    let kind = config.media_type.as_deref().unwrap_or_default();
    if wire.artifact_type.is_some() || !CONFIGS.contains(&kind) {
        let kind = wire.artifact_type.as_deref().unwrap_or(kind);
        return Err(Fault::Unsuitable(format!("it is an artifact of type {}, not an image", shown(kind))));
    }
    Ok(Document::Manifest(Manifest {
        config: config.digest("a configuration", LARGEST)?,
        layers: read_layers(layers)?,
    }))
}

fn index(entries: &[WireDescriptor]) -> Result<Index, Fault> {
    let mut found = Vec::new();
    for entry in entries {
        let is_manifest = entry.media_type.as_deref().is_some_and(|kind| MANIFESTS.contains(&kind));
        // Attestations and signatures stand beside images, an index in an index is for other tools.
        let Some(platform) = entry.platform.clone().filter(|_| is_manifest && entry.artifact_type.is_none())
        else {
            continue;
        };
        found.push((platform, entry.digest("a manifest", LARGEST)?));
    }
    Ok(Index { entries: found })
}

fn read_layers(layers: &[WireDescriptor]) -> Result<Vec<Descriptor>, Fault> {
    if layers.len() > MOST_LAYERS {
        return Err(Fault::Malformed(format!("it has more than {MOST_LAYERS} layers")));
    }
    let mut read = Vec::new();
    for layer in layers {
        let kind = layer.media_type.as_deref().unwrap_or_default();
        if FOREIGN.contains(&kind) {
            return Err(Fault::Unsuitable(format!(
                "its layer {} is not distributable, so no registry has it",
                shown(&layer.digest)
            )));
        }
        let Some((media_type, compression)) = LAYERS.iter().find(|(known, _)| *known == kind) else {
            return Err(Fault::Unsuitable(format!(
                "its layer {} has the media type {}",
                shown(&layer.digest),
                shown(kind)
            )));
        };
        let digest = layer.digest("a layer", LARGEST_LAYER)?;
        read.push(Descriptor { media_type, compression: *compression, digest });
    }
    Ok(read)
}

/// Reads an image's configuration.
pub(super) fn configuration(bytes: &[u8]) -> Result<Configuration, Fault> {
    let wire: WireConfiguration = json(bytes)?;
    let diff_ids = wire.rootfs.diff_ids.iter().map(|text| hash(text)).collect::<Result<_, _>>()?;
    Ok(Configuration { platform: wire.platform, diff_ids })
}

fn json<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T, Fault> {
    serde_json::from_slice(bytes).map_err(|error| Fault::Malformed(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ZERO: &str = "sha256:0000000000000000000000000000000000000000000000000000000000000000";

    fn fault(text: &str) -> String {
        match read(text.replace("ZERO", ZERO).as_bytes()).unwrap_err() {
            Fault::Unsuitable(why) => format!("unsuitable: {why}"),
            Fault::Malformed(why) => format!("malformed: {why}"),
        }
    }

    fn layer(kind: &str) -> String {
        format!(
            r#"{{"schemaVersion":2,"config":{{"mediaType":"{}","digest":"{ZERO}","size":2}},
                "layers":[{{"mediaType":"{kind}","digest":"{ZERO}","size":3}}]}}"#,
            CONFIGS[0]
        )
    }

    #[test]
    fn every_known_layer_is_taken() {
        for (kind, compression) in LAYERS {
            let Document::Manifest(manifest) = read(layer(kind).as_bytes()).unwrap() else { panic!() };
            assert_eq!(manifest.layers[0].media_type, kind);
            assert_eq!(manifest.layers[0].compression, compression);
            assert_eq!((manifest.config.size, manifest.layers[0].digest.size), (2, 3));
        }
        for kind in FOREIGN {
            let want = format!("unsuitable: its layer `{ZERO}` is not distributable, so no registry has it");
            assert_eq!(fault(&layer(kind)), want);
        }
        assert_eq!(
            fault(&layer("application/vnd.x+encrypted")),
            format!("unsuitable: its layer `{ZERO}` has the media type `application/vnd.x+encrypted`")
        );
    }

    #[test]
    fn what_is_no_image_says_why() {
        for (text, why) in [
            (
                r#"{"schemaVersion":1,"fsLayers":[],"history":[]}"#,
                "unsuitable: its manifest has Docker's old schema 1, which does not name its layers' content; \
                 push it anew with a current tool",
            ),
            (r#"{"schemaVersion":3}"#, "malformed: schema version 3 is unknown"),
            (
                r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.artifact.manifest.v1+json"}"#,
                "unsuitable: its media type is `application/vnd.oci.artifact.manifest.v1+json`",
            ),
            (
                r#"{"schemaVersion":2,"manifests":[],"layers":[]}"#,
                "malformed: it is an index and a manifest at once",
            ),
            (
                r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json"}"#,
                "malformed: its index lacks `manifests`",
            ),
            (r#"{"schemaVersion":2}"#, "malformed: its manifest lacks `config` or `layers`"),
            (
                r#"{"schemaVersion":2,"config":{"mediaType":"application/vnd.cncf.helm.config.v1+json","digest":"ZERO","size":1},"layers":[]}"#,
                "unsuitable: it is an artifact of type `application/vnd.cncf.helm.config.v1+json`, not an image",
            ),
            (
                r#"{"schemaVersion":2,"artifactType":"a/b","config":{"mediaType":"application/vnd.oci.empty.v1+json","digest":"ZERO","size":1},"layers":[]}"#,
                "unsuitable: it is an artifact of type `a/b`, not an image",
            ),
            (
                r#"{"schemaVersion":2,"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha512:00","size":1},"layers":[]}"#,
                "malformed: `sha512:00` is no SHA-256 digest",
            ),
            (
                r#"{"schemaVersion":2,"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"ZERO","size":4194305},"layers":[]}"#,
                "malformed: a configuration of 4194305 bytes is larger than 4194304",
            ),
            ("<html>", "malformed: expected value at line 1 column 1"),
        ] {
            assert_eq!(fault(text), why);
        }
    }

    #[test]
    fn the_baseline_of_a_platform_is_picked() {
        let entry = |number: u8, platform: &str, kind: &str| {
            format!(
                r#"{{"mediaType":"{kind}","digest":"sha256:{}","size":1,"platform":{platform}}}"#,
                format!("{number:02x}").repeat(32)
            )
        };
        let entries = [
            entry(1, r#"{"os":"linux","architecture":"amd64","variant":"v3"}"#, MANIFESTS[0]),
            entry(2, r#"{"os":"windows","architecture":"amd64"}"#, MANIFESTS[0]),
            entry(3, r#"{"os":"linux","architecture":"amd64"}"#, INDEXES[0]),
            entry(4, r#"{"os":"linux","architecture":"amd64"}"#, MANIFESTS[1]),
            entry(5, r#"{"os":"linux","architecture":"amd64"}"#, MANIFESTS[0]),
            entry(6, r#"{"os":"unknown","architecture":"unknown"}"#, MANIFESTS[0]),
            entry(7, r#"{"os":"linux","architecture":"arm","variant":"v7"}"#, MANIFESTS[0]),
            entry(8, r#"{"os":"linux","architecture":"arm64","variant":"v8"}"#, MANIFESTS[0]),
        ];
        let text = format!(r#"{{"schemaVersion":2,"manifests":[{}]}}"#, entries.join(","));
        let Document::Index(index) = read(text.as_bytes()).unwrap() else { panic!() };
        assert_eq!(index.pick(Arch::Amd64).unwrap().hash, Sha256([4; 32]));
        assert_eq!(index.pick(Arch::Arm64).unwrap().hash, Sha256([8; 32]));
        assert_eq!(
            index.platforms(),
            "linux/amd64/v3, windows/amd64, linux/amd64, linux/arm/v7, linux/arm64/v8"
        );
        let Document::Index(none) = read(br#"{"schemaVersion":2,"manifests":[]}"#).unwrap() else { panic!() };
        assert_eq!((none.pick(Arch::Amd64), none.platforms()), (None, "no platform".to_owned()));
    }
}
