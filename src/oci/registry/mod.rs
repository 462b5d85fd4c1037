//! Images in a registry (OCI distribution-spec 1.1).
//!
//! The client is our own on `ureq`, blocking as the pipeline is. `oci-client` (0.18) is async and
//! loses an answer's headers with its errors (`Retry-After`), retries nothing, checks no
//! `Content-Range`, reads manifests of any size, and has no client certificates or identity tokens.
//!
//! ```text
//! Client   which place to ask, as whom, and again: client, transfer, ranges, referrers, push
//! Auth     challenges, tokens, credentials
//! Wire     one exchange: permits, certificates, proxies, time limits, redirects
//! ```

mod agents;
mod auth;
mod auth_file;
mod aws;
mod certificates;
mod challenge;
mod client;
mod clock;
mod ecr;
mod endpoint;
mod error;
mod files;
mod gate;
mod hosts_toml;
mod keyring;
mod options;
mod program;
mod proxy;
mod push;
mod ranges;
mod referrers;
mod registries;
mod registries_conf;
mod retry;
mod settings;
mod source;
mod transfer;
mod url;
mod wire;

use super::Environment;

pub use auth::{Anonymous, Credentials};
pub use aws::AwsError;
pub use client::{Client, Repository, Wanted};
pub use clock::{Clock, SystemClock};
pub use endpoint::{Credential, Endpoint, Scheme, Secret, Tls};
pub use error::{Error, Reason};
pub use files::Files;
pub use hosts_toml::Hosts;
pub use keyring::{CredentialError, Keyring};
pub use options::{Options, Ranges, Timeouts};
pub use proxy::Proxies;
pub use push::Upload;
pub use registries::Registries;
pub use registries_conf::RegistriesConf;
pub use retry::RetryPolicy;
pub use settings::{Settings, SettingsError};
pub use source::RegistrySource;
pub use transfer::{Blob, BlobSpec};
