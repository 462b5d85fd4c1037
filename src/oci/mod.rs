//! Container images: references, sources, manifests.
//!
//! A [`Source`] answers one image, every byte of its manifest and config already checked against
//! the digests that named them. Layers' bytes are checked by whoever reads them.

mod digest;
mod layout;
mod source;

pub use digest::Digest;
pub use layout::{LayoutReference, LayoutSource};
pub use source::{Error, Image, LayerDescriptor, Platform, Source};
