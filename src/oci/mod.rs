//! Container images: references, sources, manifests.
//!
//! A [`Source`] answers one image, every byte of its manifest and config already checked against
//! the digests that named them. Layers' bytes are checked by whoever reads them.

mod archive;
mod daemon;
mod digest;
mod directory;
mod docker_archive;
mod document;
mod environment;
mod image;
mod layout;
mod names;
mod platform;
pub mod registry;
mod source;
mod storage;
mod transport;

pub use archive::{Notice, Scratch};
pub use digest::Digest;
pub use document::Document;
pub use environment::Environment;
pub use layout::{LayoutReference, LayoutSource};
pub use platform::{ParseError as PlatformError, Platform};
pub use source::{Error, Image, LayerDescriptor, Source};
pub use storage::TarSplit;
pub use transport::{Sources, TRANSPORTS};
