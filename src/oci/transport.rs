//! Transports: `oci:DIR`, … name where an image comes from, as skopeo's do
//! (containers-transports(5)).

use std::sync::Arc;

use super::{Error, LayoutSource, Source};

/// What i2kit reads images from.
pub const TRANSPORTS: [&str; 1] = ["oci"];

/// Opens sources, and holds what they share.
#[derive(Debug, Default)]
pub struct Sources {}

impl Sources {
    /// The source that `TRANSPORT:REFERENCE` names; nothing is read yet.
    ///
    /// # Errors
    /// [`Error::Transport`] for an unknown transport, else what the reference is refused for.
    pub fn open(&self, text: &str) -> Result<Arc<dyn Source>, Error> {
        let unknown = || Error::Transport {
            reference: text.to_owned(),
        };
        let (transport, reference) = text.split_once(':').ok_or_else(unknown)?;
        match transport {
            "oci" => Ok(Arc::new(LayoutSource::new(reference.parse()?))),
            _ => Err(unknown()),
        }
    }

    /// True for what [`Self::open`] takes: it begins with a known transport. A name such as
    /// `nginx:1.27` does not.
    #[must_use]
    pub fn is_transport(text: &str) -> bool {
        text.split_once(':')
            .is_some_and(|(transport, _)| TRANSPORTS.contains(&transport))
    }
}
