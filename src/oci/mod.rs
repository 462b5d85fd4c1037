//! Container images: references, sources, manifests.
//!
//! A [`Source`] answers one image, every byte of its manifest and config already checked against
//! the digests that named them. Layers' bytes are checked by whoever reads them.

pub mod bundle;
mod digest;
mod document;
mod image;
mod layout;
mod lock;
mod platform;
pub(crate) mod reference;
pub mod registry;
mod source;
mod transport;

pub use digest::Digest;
pub use document::Document;
pub use layout::{LayoutReference, LayoutSource};
pub use lock::{Lock, LockError, LockedImage, LockedLayer, LockedPlatform, toml_reason};
pub use platform::{ParseError as PlatformError, Platform};
pub use reference::Reference;
pub use source::{Error, Image, LayerDescriptor, Source};
pub use transport::{Sources, TRANSPORTS};
