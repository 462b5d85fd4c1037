//! Why images cannot serve a Pod.

use std::io;

use super::env::{MAX_STRING, MAX_STRINGS};

/// A Pod that cannot be served, mostly by its images; those name the container.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The caller has no config for the container's image.
    #[error("container {container}: no config for image {image}")]
    NoConfig {
        /// The container.
        container: String,
        /// Its image.
        image: String,
    },
    /// Neither manifest nor image say what to run.
    #[error("container {container}: image {image} has neither Entrypoint nor Cmd")]
    NoCommand {
        /// The container.
        container: String,
        /// Its image.
        image: String,
    },
    /// An argument or variable is too long to be passed to a process.
    #[error("container {container}: {what} has more than {MAX_STRING} bytes, the most Linux takes")]
    TooLong {
        /// The container.
        container: String,
        /// Which one.
        what: String,
    },
    /// Arguments and variables are too long together.
    #[error(
        "container {container}: arguments and variables have more than {MAX_STRINGS} bytes, the most Linux takes"
    )]
    TooMuch {
        /// The container.
        container: String,
    },
    /// The image's `User` has more than one colon, an empty part, or a number out of range.
    #[error("container {container}: image {image} has a bad User {user:?}")]
    BadUser {
        /// The container.
        container: String,
        /// Its image.
        image: String,
        /// The config's `User`.
        user: String,
    },
    /// A name is not in the image's files.
    #[error("container {container}: {what} {name:?} is not in {file} of image {image}")]
    UnknownName {
        /// The container.
        container: String,
        /// Its image.
        image: String,
        /// `user` or `group`.
        what: &'static str,
        /// The name.
        name: String,
        /// Where it was looked for.
        file: &'static str,
    },
    /// `setHostnameAsFQDN`, but the name is too long for Linux.
    #[error("the fully qualified name {fqdn} has {} bytes, and a host name at most 64", fqdn.len())]
    LongName {
        /// The name.
        fqdn: String,
    },
    /// A Secret is to go into the disk, but its values were left out of the manifests.
    #[error("the values of Secret {secret} were left out of these manifests, so none can be baked")]
    OmittedSecret {
        /// The Secret.
        secret: String,
    },
    /// A `seccompProfile` of type Localhost is not at hand.
    #[error("container {container}: no seccomp profile {profile}")]
    NoProfile {
        /// The container.
        container: String,
        /// The profile's name.
        profile: String,
    },
    /// `runAsNonRoot`, but the user is root.
    #[error("container {container}: runAsNonRoot is set, but image {image} would run as root")]
    Root {
        /// The container.
        container: String,
        /// Its image.
        image: String,
    },
    /// `WorkingDir` or a volume cannot be used.
    #[error("container {container}: image {image} has a bad {field} {path:?}")]
    BadPath {
        /// The container.
        container: String,
        /// Its image.
        image: String,
        /// The config's field.
        field: &'static str,
        /// Its value.
        path: String,
    },
    /// The image's `Env` has an entry that is no `NAME=value`.
    #[error("container {container}: image {image} has a bad Env entry {entry:?}")]
    BadEnv {
        /// The container.
        container: String,
        /// Its image.
        image: String,
        /// The entry.
        entry: String,
    },
    /// `StopSignal` is no signal.
    #[error("container {container}: image {image} has an unknown StopSignal {signal:?}")]
    UnknownSignal {
        /// The container.
        container: String,
        /// Its image.
        image: String,
        /// The config's `StopSignal`.
        signal: String,
    },
    /// The image's files could not be read.
    #[error("container {container}: read {file} of image {image}: {source}")]
    Read {
        /// The container.
        container: String,
        /// Its image.
        image: String,
        /// The file.
        file: &'static str,
        /// Why.
        source: io::Error,
    },
}

impl Error {
    /// The cure, when one is known.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoCommand { .. } => Some("set command or args in the manifest".to_owned()),
            Self::BadUser { .. } | Self::Root { .. } | Self::UnknownName { what: "user", .. } => {
                Some("set securityContext.runAsUser to a number".to_owned())
            }
            Self::UnknownName { .. } => {
                Some("set securityContext.runAsUser and runAsGroup to numbers".to_owned())
            }
            Self::BadPath {
                field: "WorkingDir",
                ..
            } => Some("set workingDir in the manifest".to_owned()),
            Self::NoProfile { .. } => {
                Some("--seccomp-profiles names the folder that it is in".to_owned())
            }
            Self::OmittedSecret { .. } => Some(
                "make the bundle with --bake-secrets, or deliver the values at run time".to_owned(),
            ),
            _ => None,
        }
    }
}
