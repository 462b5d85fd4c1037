//! Images in a registry (OCI distribution-spec 1.1).

mod endpoint;

pub use endpoint::{Credential, Endpoint, Scheme, Secret, Tls};
