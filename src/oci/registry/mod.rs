//! Images in a registry (OCI distribution-spec 1.1).

mod certificates;
mod endpoint;
mod hosts_toml;
mod registries;
mod registries_conf;
mod settings;

pub use endpoint::{Credential, Endpoint, Scheme, Secret, Tls};
pub use hosts_toml::Hosts;
pub use registries::Registries;
pub use registries_conf::RegistriesConf;
pub use settings::{Environment, Settings, SettingsError};
