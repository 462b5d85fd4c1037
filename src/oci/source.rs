//! The one trait behind which images come from anywhere.

use std::io::{self, Read};
use std::path::PathBuf;

use oci_spec::image::ImageConfiguration;

use super::signature::{Signatures, Unsigned};
use super::{Digest, Document, Platform};

/// Where one container image comes from.
pub trait Source: Send + Sync {
    /// The image for `platform`: manifest and config fetched, checked and parsed.
    ///
    /// # Errors
    /// [`Error`] naming the reference and what is wrong with it.
    fn image(&self, platform: &Platform) -> Result<Image, Error>;

    /// The compressed bytes of a layer, as they come: the reader must check size and digest.
    ///
    /// # Errors
    /// What opening the blob answers.
    fn open(&self, layer: &LayerDescriptor) -> io::Result<Box<dyn Read + Send>>;

    /// The signatures that lie beside the image; none where the transport has no place for them.
    fn signatures(&self) -> Box<dyn Signatures + '_> {
        Box::new(Unsigned)
    }
}

/// A container image, its parts checked against their digests.
#[derive(Clone, Debug)]
pub struct Image {
    /// The index that the reference names, where it names one.
    pub index: Option<Document>,
    /// The manifest for the platform.
    pub manifest: Document,
    /// The config, as it is stored.
    pub config_document: Document,
    /// The config, parsed.
    pub config: ImageConfiguration,
    /// The layers, lowest first.
    pub layers: Vec<LayerDescriptor>,
}

/// One layer of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerDescriptor {
    /// Digest of the compressed bytes.
    pub digest: Digest,
    /// Length of the compressed bytes.
    pub size: u64,
    /// OCI or Docker media type.
    pub media_type: String,
    /// Digest of the uncompressed tar.
    pub diff_id: Digest,
    /// Where else the bytes are to be had (a non-distributable layer).
    pub urls: Vec<String>,
}

/// Why an image is not to be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A reference that is none.
    #[error("parse image reference {reference:?}: {reason}")]
    Reference {
        /// As given.
        reference: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// No transport that i2kit knows.
    #[error("parse image source {reference:?}: it begins with no known transport")]
    Transport {
        /// As given.
        reference: String,
    },
    /// The cache has not what a tag or digest names, and no connection may be made.
    #[error("find {reference}: not in the cache, and no connection may be made")]
    Offline {
        /// The full reference.
        reference: String,
    },
    /// The source has another image than it should.
    #[error("check {reference}: it is {found} now, not {pinned}")]
    NotPinned {
        /// The full reference.
        reference: String,
        /// What it must be.
        pinned: String,
        /// The manifest that is there.
        found: Digest,
    },
    /// A file cannot be written.
    #[error("write {path}: {source}")]
    Write {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The settings for a registry.
    #[error(transparent)]
    Settings(#[from] super::registry::SettingsError),
    /// A file cannot be read.
    #[error("read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The folder or file is not what the transport reads.
    #[error("open {what} {path}: {reason}")]
    NotA {
        /// `OCI layout`, `OCI archive`, …
        what: &'static str,
        /// The folder or file.
        path: PathBuf,
        /// What is missing.
        reason: String,
    },
    /// An archive that cannot be read in place cannot be unpacked either.
    #[error("unpack {path} into {folder}: {source}")]
    Unpack {
        /// The archive.
        path: PathBuf,
        /// The folder for what is unpacked.
        folder: PathBuf,
        /// What is wrong with the one or the other.
        source: io::Error,
    },
    /// An engine's socket answers nothing.
    #[error("connect to the engine at {path}: {source}")]
    Connect {
        /// The socket.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// An engine does not give the image.
    #[error("get {image} from the engine at {path}: {reason}")]
    Engine {
        /// The image's name.
        image: String,
        /// The engine's socket.
        path: PathBuf,
        /// The engine's status and message, or what broke.
        reason: String,
    },
    /// What is in a containers storage cannot be read.
    #[error("read containers storage {path}: {source}")]
    Stored {
        /// A file or folder of the store.
        path: PathBuf,
        /// The system's answer, or what is wrong with the file.
        source: io::Error,
    },
    /// There is no such tag or digest.
    #[error("find {wanted} in {what} {path}: not there")]
    NoSuchImage {
        /// `OCI layout`, `OCI archive`, …
        what: &'static str,
        /// The folder or file.
        path: PathBuf,
        /// Tag or digest.
        wanted: String,
        /// The tags that are there.
        tags: Vec<String>,
    },
    /// Several images, and none was chosen.
    #[error("choose an image in {what} {path}: it holds {}", tags.len())]
    Ambiguous {
        /// `OCI layout`, `OCI archive`, …
        what: &'static str,
        /// The folder or file.
        path: PathBuf,
        /// The tags that are there.
        tags: Vec<String>,
    },
    /// No manifest of the index is for the platform.
    #[error("find platform {platform} in {object}: only {}", found.join(", "))]
    Platform {
        /// The index or image.
        object: String,
        /// What was wanted.
        platform: String,
        /// What is there.
        found: Vec<String>,
    },
    /// The reference names something else than an image.
    #[error("read image {object}: it is no container image but {found}")]
    NotAnImage {
        /// The manifest's digest.
        object: String,
        /// Its artifact type, or the type of its config or of a layer.
        found: String,
    },
    /// A manifest of Docker's first schema, which names no config.
    #[error("read manifest {object}: Docker image manifest schema 1 is not supported")]
    Schema1 {
        /// The manifest's digest.
        object: String,
    },
    /// The bytes are not those that the digest names.
    #[error("check {what} {digest}: {reason}")]
    Blob {
        /// `manifest`, `config`.
        what: &'static str,
        /// The digest that named it.
        digest: Digest,
        /// Missing, short, other bytes.
        reason: String,
    },
    /// A registry, or what stands between.
    #[error(transparent)]
    Registry(#[from] super::registry::Error),
    /// The bytes are right and make no sense.
    #[error("parse {what} {object}: {reason}")]
    Malformed {
        /// `index`, `manifest`, `config`.
        what: &'static str,
        /// Digest or path.
        object: String,
        /// What is wrong.
        reason: String,
    },
}

impl Error {
    /// What the user can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Transport { .. } => Some(format!(
                "say where the image is with one of {}:…",
                super::TRANSPORTS.join(":…, ")
            )),
            Self::NoSuchImage { tags, .. } if !tags.is_empty() => {
                Some(format!("it has {}", list(tags, ", ")))
            }
            Self::Ambiguous { tags, .. } if !tags.is_empty() => Some(format!(
                "add one of :{} to the reference",
                list(tags, ", :")
            )),
            Self::Registry(error) => error.hint(),
            Self::Settings(error) => error.hint(),
            Self::Offline { .. } => Some(
                "pull it while there is a network (i2kit pull), take it from a bundle \
                 (--bundle), or say where it is (--image NAME=oci:DIR)"
                    .to_owned(),
            ),
            Self::NotPinned { .. } => {
                Some("if that is as it should be, write the lock again with i2kit lock".to_owned())
            }
            Self::Blob { .. } => Some("make or copy the image again".to_owned()),
            Self::Schema1 { .. } => Some(
                "convert it: skopeo copy --format v2s2, or push it again with a current engine"
                    .to_owned(),
            ),
            Self::Platform { found, .. } if found.len() > 1 => {
                Some(format!("choose one with --platform {}", found.join(" | ")))
            }
            Self::NotA { what, .. } => not_a_hint(what).map(str::to_owned),
            Self::Unpack { source, .. } => unpack_hint(source).map(str::to_owned),
            Self::Connect { source, .. } => connect_hint(source).map(str::to_owned),
            Self::Stored { source, .. } => Some(stored_hint(source).to_owned()),
            _ => None,
        }
    }
}

/// As many names as a line holds.
fn list(names: &[String], between: &str) -> String {
    const SHOWN: usize = 20;
    let shown: Vec<&str> = names.iter().take(SHOWN).map(String::as_str).collect();
    let more = names.len() - shown.len();
    match more {
        0 => shown.join(between),
        more => format!("{} and {more} more", shown.join(between)),
    }
}

fn not_a_hint(what: &str) -> Option<&'static str> {
    Some(match what {
        super::layout::FOLDER => "name a folder that has oci-layout and index.json in it",
        super::layout::ARCHIVE => {
            "skopeo copy … oci-archive:FILE makes one; what docker save makes is a docker-archive:"
        }
        super::docker_archive::WHAT => {
            "docker save -o FILE IMAGE makes one; a layout in a tar is an oci-archive:"
        }
        super::directory::WHAT => "skopeo copy … dir:DIR makes one; for an OCI layout use oci:DIR",
        super::storage::WHAT => {
            "name another with containers-storage:[overlay@/PATH]NAME, or bring the image along: \
             podman save -o FILE NAME, then docker-archive:FILE"
        }
        _ => return None,
    })
}

fn unpack_hint(source: &io::Error) -> Option<&'static str> {
    match source.kind() {
        io::ErrorKind::StorageFull => {
            Some("free some room, or choose another folder with --cache-dir")
        }
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            Some("choose another folder with --cache-dir")
        }
        io::ErrorKind::FileTooLarge => Some("raise --max-layer-size if that is right"),
        io::ErrorKind::Unsupported => Some("unpack it with another tool"),
        _ => None,
    }
}

fn connect_hint(source: &io::Error) -> Option<&'static str> {
    match source.kind() {
        io::ErrorKind::PermissionDenied => Some(
            "join the group that may use the engine (docker), or let one who may run docker save \
             and use docker-archive:FILE",
        ),
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => Some(
            "start the engine, or say where it listens with DOCKER_HOST=unix:///PATH; without \
             one, docker-archive: and containers-storage: read what engines leave behind",
        ),
        io::ErrorKind::Unsupported => {
            Some("set DOCKER_HOST=unix:///PATH, or run docker save and use docker-archive:FILE")
        }
        _ => None,
    }
}

fn stored_hint(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::PermissionDenied => {
            "run i2kit as the store's owner, within podman unshare where files belong to a \
             container's other users; or podman save -o FILE IMAGE and use docker-archive:FILE"
        }
        _ => "pull the image again, or podman save -o FILE IMAGE and use docker-archive:FILE",
    }
}
