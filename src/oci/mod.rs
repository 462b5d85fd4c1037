//! Container images: references, sources, manifests.
//!
//! A [`Source`] answers one image, every byte of its manifest and config already checked against
//! the digests that named them. Layers' bytes are checked by whoever reads them.

pub mod artifact;
pub mod bundle;
mod digest;
mod document;
mod image;
mod key;
mod layout;
mod lock;
mod pinned;
mod platform;
pub mod policy;
pub(crate) mod reference;
pub mod registry;
pub mod signature;
mod source;
mod transport;

pub use digest::Digest;
pub use document::Document;
pub use key::{KeyError, SigningKey, VerifyingKey};
pub use layout::{LayoutReference, LayoutSource};
pub use lock::{Lock, LockError, LockedImage, LockedLayer, LockedPlatform, toml_reason};
pub use pinned::{PinnedSource, Terms};
pub use platform::{ParseError as PlatformError, Platform};
pub use reference::Reference;
pub use source::{Error, Image, LayerDescriptor, Source};
pub use transport::{Found, Sources, TRANSPORTS};
