//! Images in a registry (OCI distribution-spec 1.1).

mod auth_file;
mod aws;
mod certificates;
mod ecr;
mod endpoint;
mod hosts_toml;
mod keyring;
mod program;
mod registries;
mod registries_conf;
mod settings;

pub use aws::AwsError;
pub use endpoint::{Credential, Endpoint, Scheme, Secret, Tls};
pub use hosts_toml::Hosts;
pub use keyring::{CredentialError, Keyring};
pub use registries::Registries;
pub use registries_conf::RegistriesConf;
pub use settings::{Environment, Settings, SettingsError};
