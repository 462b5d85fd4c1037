//! Secrets that Amazon keeps ([`SecretPlace`]): the instance's role reads them from the Systems Manager
//! and the Secrets Manager, by signed requests.

use std::{
    collections::BTreeMap,
    io,
    time::{Duration, Instant},
};

use i2kit_contract::{
    SecretPlace,
    runtime::{Proxy, Secret},
};

use crate::config::{http, imds};

mod role;
mod route;
mod service;
mod tls;

use role::Role;
use route::Route;
use service::Service;

/// How long all Secrets together may take. A fleet that boots at once meets limits of some 40
/// requests a second, so there is time for tries.
const PATIENCE: Duration = Duration::from_secs(30);

/// A Secret that could not be read. No error shows a value.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The metadata service does not answer.
    #[error(transparent)]
    Metadata(#[from] imds::Error),
    /// The metadata service does not have it, or its answer is none.
    #[error("the metadata service has no {0}")]
    NoMetadata(&'static str),
    /// The base image has no certificate authority.
    #[error("read the certificate authorities")]
    Authorities(#[source] io::Error),
    /// The run-time configuration's proxy.
    #[error("the proxy for https is no http://HOST:PORT")]
    Proxy,
    /// The service cannot be reached.
    #[error("ask {host}")]
    Exchange {
        /// The service.
        host: String,
        /// Why.
        source: http::Error,
    },
    /// The service refuses.
    #[error("{host}: {code} (HTTP status {status})")]
    Refused {
        /// The service.
        host: String,
        /// Amazon's word for it.
        code: String,
        /// HTTP status.
        status: u16,
    },
    /// What it answers is not what was asked for.
    #[error("{host}: {reason}")]
    Answer {
        /// The service.
        host: String,
        /// What is wrong with it.
        reason: &'static str,
    },
}

impl Error {
    /// Whether another try may do better.
    fn is_passing(&self) -> bool {
        match self {
            Self::Exchange { source, .. } => match source {
                // A name that is none and a certificate that is not trusted stay so.
                http::Error::Io(error) => !matches!(
                    error.kind(),
                    io::ErrorKind::NotFound
                        | io::ErrorKind::InvalidData
                        | io::ErrorKind::InvalidInput
                ),
                http::Error::Protocol(_) | http::Error::TooLarge(_) => false,
            },
            Self::Refused { code, status, .. } => {
                matches!(status, 429 | 500..)
                    || matches!(code.as_str(), "ThrottlingException" | "TooManyUpdates")
            }
            _ => false,
        }
    }
}

/// Reads the Secrets of these places; `told` hears of each how it went.
///
/// # Errors
/// None can be read: the instance has no role, say.
pub fn read(
    places: &BTreeMap<String, SecretPlace>,
    proxy: &Proxy,
    mut told: impl FnMut(&str, Result<Secret, Error>),
) -> Result<(), Error> {
    let role = Role::of_instance()?;
    let tls = tls::config().map_err(Error::Authorities)?;
    let deadline = Instant::now() + PATIENCE;
    let route = Route::new(proxy, tls)?;
    for (name, place) in places {
        told(name, Service::new(&role, &route, place, deadline).read());
    }
    Ok(())
}
