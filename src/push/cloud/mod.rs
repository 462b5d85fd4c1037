//! One account at Amazon: EBS direct, EC2, Auto Scaling and Systems Manager, call by call.
//!
//! ```text
//! Cloud      one identity: the SDK's sources of credentials, profiles, endpoints
//! Region     Ebs (the SDK's client), Ec2 and Ssm (our own: send, query, xml)
//! CallError  why one attempt failed; Kind: what that means
//! Retry      the only place that tries again
//! ```
//!
//! Every attempt ends within 30 seconds, connecting within 5.

mod call;
#[cfg(test)]
mod canned;
mod clock;
mod ebs;
mod ec2;
mod endpoint;
mod failure;
mod http;
mod identity;
mod kind;
mod look;
mod query;
mod retry;
mod send;
mod ssm;
#[cfg(test)]
mod tests;
mod xml;

use std::path::PathBuf;
use std::sync::Arc;

use aws_config::identity::IdentityCache;
use aws_config::retry::RetryConfig;
use aws_config::sts::AssumeRoleProvider;
use aws_config::timeout::TimeoutConfig;
use aws_config::{AppName, BehaviorVersion, Region as RegionName};
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_runtime_api::client::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_types::SdkConfig;

pub use call::{CallError, Failed};
pub use ebs::{Block, Changed, Ebs, Page, StartSnapshot, Started};
pub use ec2::{Ami, CopyImage, Ec2, RegisterImage, Snapshot, is_key};
pub use kind::Kind;
pub use retry::{DEADLINE, Retry};
pub use ssm::Ssm;

use call::Call;
use clock::Clock;
use http::{ATTEMPT, CONNECT, Http};
use identity::Identity;
use send::{Sent, Service, Wire};

/// Where STS is asked when nobody names a region: it is in every account of the partition.
const DEFAULT_REGION: &str = "us-east-1";

/// How the account is reached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// Profile of the AWS configuration; by default `AWS_PROFILE`, then `default`.
    pub profile: Option<String>,
    /// ARN of a role to take on with the credentials found.
    pub assume_role: Option<String>,
    /// Endpoints of certified cryptography; so too where environment or profile say it.
    pub fips: bool,
    /// Endpoints that have IPv6; so too where environment or profile say it.
    pub dual_stack: bool,
}

/// The account cannot be reached at all.
#[derive(Debug, thiserror::Error)]
pub enum CloudError {
    /// The file of authorities to trust.
    #[error("read authorities {}: {reason}", path.display())]
    Trust {
        /// What `AWS_CA_BUNDLE` names.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The proxy's URL, which is not shown: it may have a password.
    #[error("read {name}: not the URL of an HTTP proxy")]
    Proxy {
        /// The variable.
        name: &'static str,
    },
    /// The role is not to be had.
    #[error(transparent)]
    Role(CallError),
}

impl CloudError {
    /// What the user can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Trust { .. } => {
                Some("AWS_CA_BUNDLE names a file of certificates in PEM, or nothing".to_owned())
            }
            Self::Proxy { name } => Some(format!("{name}=http://[USER:PASSWORD@]HOST:PORT")),
            Self::Role(error) => error.hint(),
        }
    }
}

/// One identity. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Cloud {
    config: Arc<SdkConfig>,
    wire: Wire,
}

/// The services of one region.
#[derive(Clone, Debug)]
pub struct Region {
    /// `eu-central-1`.
    pub name: String,
    /// The EBS direct APIs.
    pub ebs: Ebs,
    /// EC2 and Auto Scaling.
    pub ec2: Ec2,
    /// Systems Manager.
    pub ssm: Ssm,
}

impl Cloud {
    /// Finds out who one is, by the SDK's own chain: the environment, profiles with SSO, roles and
    /// processes, web identity, the container, the instance. A role is taken on at once; all other
    /// credentials are asked for when the first call needs them.
    ///
    /// # Errors
    /// [`CloudError`]
    pub async fn connect(access: &Access) -> Result<Self, CloudError> {
        let http = Http::new(|name| std::env::var(name).ok())?;
        let config = loaded(access, &http).await;
        let clock = Clock::default();
        let source = match &access.assume_role {
            Some(role) => Some(role_provider(&config, role).await),
            None => config.credentials_provider(),
        };
        let identity = Identity::new(source, clock.clone());
        let wire = Wire {
            http,
            identity,
            clock,
            sent: Sent::default(),
        };
        if let Some(role) = &access.assume_role {
            let call = Call::new("assume role", role);
            let ask = async || wire.identity.keys(&call).await;
            let asked = Retry::default().run(ask, |_| ()).await;
            asked.map_err(CloudError::Role)?;
        }
        let config = config
            .into_builder()
            .credentials_provider(SharedCredentialsProvider::new(wire.identity.clone()))
            .build();
        Ok(Self {
            config: Arc::new(config),
            wire,
        })
    }

    /// The region of environment or profile, or the one that this machine is in.
    #[must_use]
    pub fn default_region(&self) -> Option<&str> {
        self.config.region().map(AsRef::as_ref)
    }

    /// The services of the region `name`; nobody is asked yet.
    #[must_use]
    pub fn region(&self, name: &str) -> Region {
        let wire = Wire {
            sent: Sent::default(),
            ..self.wire.clone()
        };
        let config = aws_sdk_ebs::config::Builder::from(self.config.as_ref())
            .region(RegionName::new(name.to_owned()))
            .build();
        let client = aws_sdk_ebs::Client::from_conf(config);
        let ssm = Service {
            wire: wire.clone(),
            origin: endpoint::origin(&self.config, ssm::SSM, name),
            region: name.to_owned(),
            name: ssm::SSM.host,
        };
        Region {
            name: name.to_owned(),
            ec2: Ec2::new(&self.config, &wire, name),
            ebs: Ebs::new(client, wire),
            ssm: Ssm::new(ssm),
        }
    }
}

impl Region {
    /// Requests that this region and its clones have sent so far: each attempt counts.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.ebs.requests()
    }
}

/// The SDK's view of environment and profile.
async fn loaded(access: &Access, http: &Http) -> SdkConfig {
    let mut loader = aws_config::defaults(BehaviorVersion::v2026_01_12()).http_client(http.clone());
    if let Some(profile) = &access.profile {
        loader = loader.profile_name(profile);
    }
    if access.fips {
        loader = loader.use_fips(true);
    }
    if access.dual_stack {
        loader = loader.use_dual_stack(true);
    }
    bare(loader.load().await.into_builder(), http).build()
}

/// What is ours whatever environment and profile say. The SDK's retries are off, and so is its
/// guard against slow bodies, which a hundred blocks at a time over a thin line would wake: the time
/// limit of an attempt ends what hangs. [`Identity`] keeps the credentials.
fn bare(builder: aws_types::sdk_config::Builder, http: &Http) -> aws_types::sdk_config::Builder {
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(CONNECT)
        .operation_attempt_timeout(ATTEMPT)
        .operation_timeout(ATTEMPT)
        .build();
    let mut builder = builder
        .behavior_version(BehaviorVersion::v2026_01_12())
        .http_client(http.clone())
        .retry_config(RetryConfig::disabled())
        .timeout_config(timeouts)
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .identity_cache(IdentityCache::no_cache());
    builder.set_app_name(AppName::new("i2kit").ok());
    builder
}

async fn role_provider(config: &SdkConfig, role: &str) -> SharedCredentialsProvider {
    let region = config.region().cloned();
    let region = region.unwrap_or_else(|| RegionName::from_static(DEFAULT_REGION));
    let provider = AssumeRoleProvider::builder(role)
        .session_name("i2kit")
        .region(region)
        .configure(config)
        .build()
        .await;
    SharedCredentialsProvider::new(provider)
}
