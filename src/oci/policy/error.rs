//! Why a policy can't be read, or an image may not be used.

use std::io;
use std::path::PathBuf;

use crate::oci::Digest;
use crate::oci::signature::{Doubt, KeyError};

/// Why there is no verdict, or a bad one.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file can't be read.
    #[error("read policy {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The file is no policy.
    #[error("parse policy {policy}: {reason}")]
    Malformed {
        /// The file.
        policy: String,
        /// Where and what.
        reason: String,
    },
    /// The image has no place in a policy.
    #[error("find the policy of image {image}: {reason}")]
    Image {
        /// `TRANSPORT:REFERENCE`.
        image: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The policy is against the image.
    #[error("check image {image} against {rule} of {policy}: {reason}")]
    Refused {
        /// `TRANSPORT:REFERENCE`, the reference in its expanded form.
        image: String,
        /// `default[0]`, `transports.docker."docker.io/library"[1]`: the requirement.
        rule: String,
        /// The file.
        policy: String,
        /// Why.
        reason: Box<Refusal>,
    },
}

/// Why one requirement is against an image.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// `reject`.
    #[error("it rejects every image")]
    Rejected,
    /// A requirement that i2kit can't check.
    #[error("{0} is not supported: keys only")]
    Unsupported(&'static str),
    /// A key file can't be read.
    #[error("read key {key}: {source}")]
    KeyFile {
        /// The file.
        key: String,
        /// The system's answer.
        source: io::Error,
    },
    /// A key that is none.
    #[error("parse key {key}: {source}")]
    Key {
        /// The file, or the field it stands in.
        key: String,
        /// What is wrong with it.
        source: KeyError,
    },
    /// The image is not the one that the reference names.
    #[error("it is {found}, and the reference names {wanted}")]
    OtherImage {
        /// The manifest's digest.
        found: Digest,
        /// The reference's.
        wanted: String,
    },
    /// Nobody signed it.
    #[error("no signature; one by {} is needed", keys.join(" or "))]
    Unsigned {
        /// The keys, with their fingerprints.
        keys: Vec<String>,
    },
    /// Somebody else signed it, or something else.
    #[error("no signature by {} is accepted: {}", keys.join(" or "), listed(doubts))]
    NotAccepted {
        /// The keys, with their fingerprints.
        keys: Vec<String>,
        /// Each signature, by where it lies, and why not.
        doubts: Vec<(String, String)>,
        /// A cure for one of them.
        hint: Option<&'static str>,
    },
}

fn listed(doubts: &[(String, String)]) -> String {
    let each = doubts.iter().map(|(place, why)| format!("{place}: {why}"));
    each.collect::<Vec<_>>().join("; ")
}

impl Error {
    /// What the user can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let Self::Refused { reason, .. } = self else {
            return None;
        };
        let hint = match reason.as_ref() {
            Refusal::Unsupported(_) => {
                "sign it with a key pair, and name the public key with keyPath"
            }
            Refusal::Unsigned { .. } => {
                "sign it: cosign sign --key KEY REPOSITORY@DIGEST; or name another key"
            }
            Refusal::NotAccepted { hint, .. } => return hint.map(str::to_owned),
            _ => return None,
        };
        Some(hint.to_owned())
    }
}

/// The cure for what keeps a signature from being accepted.
pub(super) fn cure(doubt: &Doubt) -> Option<&'static str> {
    match doubt {
        Doubt::Identity { signed, .. } if !signed.contains(['@', ':']) => Some(
            "cosign names the repository alone: a signedIdentity of type matchRepository accepts \
             that",
        ),
        Doubt::Nameless { .. } => Some(
            "bundles of cosign 3 carry no name: sign with --new-bundle-format=false, or accept any \
             image of this key by a signedIdentity of type matchDigest",
        ),
        _ => None,
    }
}
