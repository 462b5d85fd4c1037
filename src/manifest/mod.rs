//! Kubernetes manifests become a [`Pod`].

mod error;
mod pod;

pub use error::{Error, Errors, Note, Position};
pub use pod::{Container, Pod, from_image};

/// A manifest's text and what to call it in messages.
#[derive(Clone, Debug)]
pub struct Input {
    /// Its path, or `<stdin>`.
    pub name: String,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// TEMPORARY
pub fn load(_: &[Input], _: Option<&str>) -> Result<(Pod, Vec<Note>), Errors> {
    Err(Error::new("manifests are not read yet", None).into())
}
