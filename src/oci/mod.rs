//! Container images: references, sources, manifests.
//!
//! A [`Source`] answers one image, every byte of its manifest and config already checked against
//! the digests that named them. Layers' bytes are checked by whoever reads them.

mod digest;
mod document;
mod image;
mod layout;
mod platform;
pub mod policy;
pub mod registry;
pub mod signature;
mod source;
mod transport;

pub use digest::Digest;
pub use document::Document;
pub use layout::{LayoutReference, LayoutSource};
pub use platform::{ParseError as PlatformError, Platform};
pub use source::{Error, Image, LayerDescriptor, Source};
pub use transport::{Sources, TRANSPORTS};
