//! TLS to a service: rustls, with the certificate authorities of the base image.

use std::{
    fs,
    io::{self, Read, Write},
    sync::Arc,
};

use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};

use crate::config::http::{self, Request, Response};

/// In the guest's root: one file, as Debian has it.
const AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// What servers are checked by.
///
/// # Errors
/// The authorities cannot be read, or there are none.
pub fn config() -> io::Result<Arc<ClientConfig>> {
    trusting(&fs::read(AUTHORITIES)?)
}

/// As [`config`], by these authorities in PEM.
fn trusting(pem: &[u8]) -> io::Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    // One that this library cannot read is one that nothing is trusted by.
    roots.add_parsable_certificates(CertificateDer::pem_slice_iter(pem).flatten());
    if roots.is_empty() {
        return Err(io::Error::other("none is known"));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// One exchange over TLS with `request.host` at the other end of a stream.
///
/// # Errors
/// The connection, the server's certificate, or the answer.
pub fn exchange(
    stream: impl Read + Write,
    config: &Arc<ClientConfig>,
    request: &Request<'_>,
    limit: usize,
) -> Result<Response, http::Error> {
    let invalid = |error| io::Error::new(io::ErrorKind::InvalidInput, error);
    let name = ServerName::try_from(request.host.to_owned()).map_err(invalid)?;
    let connection = ClientConnection::new(Arc::clone(config), name).map_err(io::Error::other)?;
    http::exchange(&mut StreamOwned::new(connection, stream), request, limit)
}

#[cfg(test)]
pub mod tests {
    use rcgen::{CertifiedKey, generate_simple_self_signed};
    use rustls::{ServerConfig, pki_types::PrivateKeyDer};

    use super::*;

    /// A server with these names, and what trusts it.
    pub fn server(names: &[&str]) -> (Arc<ServerConfig>, Arc<ClientConfig>) {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let CertifiedKey { cert, signing_key } = generate_simple_self_signed(names).unwrap();
        let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], key)
            .unwrap();
        (Arc::new(config), trusting(cert.pem().as_bytes()).unwrap())
    }

    /// Trust in some server that does not run.
    pub fn nobody() -> Arc<ClientConfig> {
        server(&["example.org"]).1
    }

    #[test]
    fn without_authorities_nobody_is_trusted() {
        for pem in [
            "",
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        ] {
            let error = trusting(pem.as_bytes()).unwrap_err().to_string();
            assert_eq!(error, "none is known");
        }
    }
}
