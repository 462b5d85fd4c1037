//! From a descriptor to an image: through indexes to the manifest for a platform, and its config.

use oci_spec::image::{Descriptor, ImageConfiguration, ImageIndex, ImageManifest, MediaType};
use serde::Deserialize;

use super::document::{self, Document, Documents, fetch, parse};
use super::{Digest, Error, Image, LayerDescriptor, Platform};

/// How deep indexes may nest.
const MAX_NESTING: usize = 4;
/// Indexes' entries that name no platform are looked into, this many in one image.
const MAX_LOOKS: usize = 32;
/// The annotation by which BuildKit marks attestations in an index.
const REFERENCE_TYPE: &str = "vnd.docker.reference.type";

/// What a document is, as its own JSON says.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Shape {
    schema_version: Option<u64>,
    manifests: Option<serde::de::IgnoredAny>,
}

/// The image for `platform` behind `descriptor`.
///
/// # Errors
/// [`Error`] naming the document that is missing, altered, malformed, for other platforms, or no
/// image at all.
pub(super) fn image(
    documents: &dyn Documents,
    descriptor: &Descriptor,
    platform: &Platform,
) -> Result<Image, Error> {
    let mut search = Search {
        documents,
        platform,
        looks: 0,
        found: Vec::new(),
    };
    let top = fetch(documents, "manifest", descriptor)?;
    let index = is_index(descriptor.media_type(), &top)?.then(|| top.clone());
    let object = top.digest.to_string();
    match search.within(top, descriptor, 0)? {
        Some(image) => Ok(Image { index, ..image }),
        None => {
            search.found.sort();
            search.found.dedup();
            Err(Error::Platform {
                object,
                platform: platform.to_string(),
                found: search.found,
            })
        }
    }
}

struct Search<'a> {
    documents: &'a dyn Documents,
    platform: &'a Platform,
    looks: usize,
    /// Platforms that were seen on the way, for the message.
    found: Vec<String>,
}

impl Search<'_> {
    /// The image in `document`, which `descriptor` named, if it is or holds one for the platform.
    fn within(
        &mut self,
        document: Document,
        descriptor: &Descriptor,
        depth: usize,
    ) -> Result<Option<Image>, Error> {
        if !is_index(descriptor.media_type(), &document)? {
            // An entry's platform counts, as in containerd: configs leave variants out.
            let named = named_platform(descriptor);
            let is_chosen = named.is_some_and(|named| self.platform.rank(&named).is_some());
            return self.manifest(document, is_chosen);
        }
        let object = document.digest.to_string();
        if depth == MAX_NESTING {
            return Err(Error::Malformed {
                what: "index",
                object,
                reason: format!("nested deeper than {MAX_NESTING}"),
            });
        }
        let index: ImageIndex = parse("index", &object, &document.bytes)?;
        for candidate in self.candidates(&index) {
            self.looks += 1;
            if self.looks > MAX_LOOKS {
                return Err(Error::Malformed {
                    what: "index",
                    object,
                    reason: format!("more than {MAX_LOOKS} entries that name no platform"),
                });
            }
            let next = fetch(self.documents, "manifest", candidate)?;
            if let Some(image) = self.within(next, candidate, depth + 1)? {
                return Ok(Some(image));
            }
        }
        Ok(None)
    }

    /// The entry that serves the platform best, or else those that name no platform.
    fn candidates<'i>(&mut self, index: &'i ImageIndex) -> Vec<&'i Descriptor> {
        let entries = || index.manifests().iter().filter(|one| !is_attestation(one));
        let mut best: Option<(usize, &Descriptor)> = None;
        for entry in entries() {
            let Some(named) = named_platform(entry) else {
                continue;
            };
            self.found.push(named.to_string());
            if let Some(rank) = self.platform.rank(&named)
                && best.is_none_or(|(least, _)| rank < least)
            {
                best = Some((rank, entry));
            }
        }
        match best {
            Some((_, entry)) => vec![entry],
            None => entries().filter(|one| one.platform().is_none()).collect(),
        }
    }

    fn manifest(&mut self, manifest: Document, is_chosen: bool) -> Result<Option<Image>, Error> {
        let object = manifest.digest.to_string();
        let parsed: ImageManifest = parse("manifest", &object, &manifest.bytes)?;
        check_is_image(&parsed, &object)?;
        let config_document = fetch(self.documents, "config", parsed.config())?;
        let config: ImageConfiguration = parse(
            "config",
            &config_document.digest.to_string(),
            &config_document.bytes,
        )?;
        let own = Platform::of(
            config.os(),
            config.architecture(),
            config.variant().as_ref(),
        );
        if !is_chosen && self.platform.rank(&own).is_none() {
            self.found.push(own.to_string());
            return Ok(None);
        }
        let layers = layers(&parsed, &config, &manifest.digest)?;
        Ok(Some(Image {
            index: None,
            manifest,
            config_document,
            config,
            layers,
        }))
    }
}

/// The platform that an index' entry names.
pub(super) fn named_platform(entry: &Descriptor) -> Option<Platform> {
    let named = entry.platform().as_ref()?;
    let variant = named.variant().as_ref();
    Some(Platform::of(named.os(), named.architecture(), variant))
}

/// An attestation that BuildKit put beside an image, which runs nowhere.
fn is_attestation(entry: &Descriptor) -> bool {
    let annotations = entry.annotations().as_ref();
    annotations.is_some_and(|all| all.contains_key(REFERENCE_TYPE))
}

/// An index by its media type, or, where the descriptor says nothing true, by what is in it.
fn is_index(media_type: &MediaType, document: &Document) -> Result<bool, Error> {
    let object = document.digest.to_string();
    let shape: Shape = parse("manifest", &object, &document.bytes)?;
    let named = media_type.to_string();
    let is_v1 = |name: &str| name.contains("distribution.manifest.v1+");
    if shape.schema_version == Some(1) || is_v1(&named) {
        return Err(Error::Schema1 { object });
    }
    Ok(match media_type {
        MediaType::ImageIndex => true,
        MediaType::ImageManifest => false,
        MediaType::Other(other) if other.ends_with("manifest.list.v2+json") => true,
        MediaType::Other(other) if other.ends_with("distribution.manifest.v2+json") => false,
        _ => shape.manifests.is_some(),
    })
}

/// Artifacts look like images, but their config or their layers are something else.
fn check_is_image(manifest: &ImageManifest, object: &str) -> Result<(), Error> {
    let not = |found: String| {
        Err(Error::NotAnImage {
            object: object.to_owned(),
            found,
        })
    };
    if let Some(artifact) = manifest.artifact_type() {
        return not(artifact.to_string());
    }
    match manifest.config().media_type() {
        MediaType::ImageConfig => {}
        MediaType::Other(other) if other == "application/vnd.docker.container.image.v1+json" => {}
        other => return not(other.to_string()),
    }
    let layers = manifest.layers().iter();
    match layers
        .map(|layer| layer.media_type().to_string())
        .find(|name| !is_layer(name))
    {
        Some(strange) => not(format!("a layer of type {strange}")),
        None => Ok(()),
    }
}

/// The tar, plain or compressed, of OCI or Docker; not an encrypted one.
fn is_layer(media_type: &str) -> bool {
    const PREFIXES: [&str; 4] = [
        "application/vnd.oci.image.layer.v1.tar",
        "application/vnd.oci.image.layer.nondistributable.v1.tar",
        "application/vnd.docker.image.rootfs.diff.tar",
        "application/vnd.docker.image.rootfs.foreign.diff.tar",
    ];
    let suffixes = ["", "+gzip", "+zstd", ".gzip", ".zstd"];
    PREFIXES.iter().any(|prefix| {
        media_type
            .strip_prefix(prefix)
            .is_some_and(|suffix| suffixes.contains(&suffix))
    })
}

/// Pairs the manifest's layers with the config's diffIDs.
fn layers(
    manifest: &ImageManifest,
    config: &ImageConfiguration,
    digest: &Digest,
) -> Result<Vec<LayerDescriptor>, Error> {
    let malformed = |reason: String| Error::Malformed {
        what: "manifest",
        object: digest.to_string(),
        reason,
    };
    let diff_ids = config.rootfs().diff_ids();
    if diff_ids.len() != manifest.layers().len() {
        let (layers, diff_ids) = (manifest.layers().len(), diff_ids.len());
        return Err(malformed(format!(
            "{layers} layers, but {diff_ids} diff_ids in the config"
        )));
    }
    let pairs = manifest.layers().iter().zip(diff_ids);
    pairs
        .map(|(layer, diff_id)| {
            let diff_id = diff_id
                .parse()
                .map_err(|error| malformed(format!("diff_id: {error}")))?;
            Ok(LayerDescriptor {
                digest: document::digest("manifest", layer)?,
                size: layer.size(),
                media_type: layer.media_type().to_string(),
                diff_id,
                urls: layer.urls().clone().unwrap_or_default(),
            })
        })
        .collect()
}
