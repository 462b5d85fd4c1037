//! Container images: references, sources, manifests.
//!
//! A [`Source`] answers one image, every byte of its manifest and config already checked against
//! the digests that named them. Layers' bytes are checked by whoever reads them.

mod archive;
pub mod artifact;
pub mod bundle;
mod daemon;
mod digest;
mod directory;
mod docker_archive;
mod document;
mod environment;
mod image;
mod key;
mod layout;
mod local;
mod lock;
mod names;
mod pinned;
mod platform;
pub mod policy;
pub(crate) mod reference;
pub mod registry;
pub mod signature;
mod source;
mod storage;
mod transport;

pub use archive::{Notice, Scratch};
pub use digest::Digest;
pub use document::Document;
pub use environment::Environment;
pub use key::{KeyError, SigningKey, VerifyingKey};
pub use layout::{LayoutReference, LayoutSource};
pub use local::LocalSources;
pub use lock::{Lock, LockError, LockedImage, LockedLayer, LockedPlatform, toml_reason};
pub use pinned::{PinnedSource, Terms};
pub use platform::{ParseError as PlatformError, Platform};
pub use reference::Reference;
pub use source::{Error, Image, LayerDescriptor, Source};
pub use storage::TarSplit;
pub use transport::{Found, Sources, TRANSPORTS, portable};
