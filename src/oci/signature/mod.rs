//! Signatures of images: where they lie, and what they say once a key has proved them.
//!
//! Read are cosign's simple signing (`SIGNATURE_SPEC.md`), found by the tag `sha256-….sig` or as a
//! referrer (`--registry-referrers-mode=oci-1-1`), and sigstore's bundles (`BUNDLE_SPEC.md`,
//! `sigstore_bundle.proto`; cosign 3 writes them), found as referrers. Only keys count: certificates,
//! transparency logs and timestamps that come along are not looked at.

mod bundle;
mod claim;
mod key;
mod layout;
mod search;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD_NO_PAD;
use oci_spec::image::Descriptor;

use super::{Digest, Error};

pub use claim::{Claim, ClaimError};
pub use key::{Key, KeyError};
pub(super) use search::{Doubt, Search, Signed};

/// Where the signatures of an image are looked for: the repository or the layout it lies in.
///
/// Nothing here need check a digest: whoever asks does. Documents and blobs are answered whole and
/// must not be larger than 8 MiB; larger ones are errors.
pub trait Signatures {
    /// The manifest with that tag; `None` where there is no such tag.
    ///
    /// # Errors
    /// [`Error`] when that can't be found out.
    fn tagged(&self, tag: &str) -> Result<Option<Vec<u8>>, Error>;

    /// What refers to the manifest or index `subject` (distribution-spec, Listing Referrers): the
    /// registry's answer, or the index with the tag `sha256-…` where it has none. All types: an
    /// index that clients keep themselves is known to have wrong ones.
    ///
    /// # Errors
    /// [`Error`] when that can't be found out.
    fn referrers(&self, subject: &Digest) -> Result<Vec<Descriptor>, Error>;

    /// The manifest that a referrer's descriptor names.
    ///
    /// # Errors
    /// [`Error`] when it is not to be had.
    fn manifest(&self, descriptor: &Descriptor) -> Result<Vec<u8>, Error>;

    /// The blob that a signature's manifest names.
    ///
    /// # Errors
    /// [`Error`] when it is not to be had.
    fn blob(&self, descriptor: &Descriptor) -> Result<Vec<u8>, Error>;
}

/// For transports whose images carry no signatures: Docker's archives, stores of engines.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unsigned;

impl Signatures for Unsigned {
    fn tagged(&self, _: &str) -> Result<Option<Vec<u8>>, Error> {
        Ok(None)
    }

    fn referrers(&self, _: &Digest) -> Result<Vec<Descriptor>, Error> {
        Ok(Vec::new())
    }

    fn manifest(&self, descriptor: &Descriptor) -> Result<Vec<u8>, Error> {
        Err(none(descriptor))
    }

    fn blob(&self, descriptor: &Descriptor) -> Result<Vec<u8>, Error> {
        Err(none(descriptor))
    }
}

fn none(descriptor: &Descriptor) -> Error {
    Error::Malformed {
        what: "signature",
        object: descriptor.digest().to_string(),
        reason: "this transport has no signatures".to_owned(),
    }
}

/// Base64 as signers write it: either alphabet, padded or not, perhaps with line ends (protobuf's
/// JSON mapping allows the first two, Go's decoder the last).
pub(super) fn base64(text: &str) -> Option<Vec<u8>> {
    let usual = text.chars().filter(|char| !matches!(char, '\r' | '\n'));
    let usual: String = usual
        .map(|char| match char {
            '-' => '+',
            '_' => '/',
            other => other,
        })
        .collect();
    BASE64_STANDARD_NO_PAD
        .decode(usual.trim_end_matches('='))
        .ok()
}

/// The beginning of what others wrote, for messages.
fn short(text: &(impl ToString + ?Sized)) -> String {
    text.to_string().chars().take(100).collect()
}
