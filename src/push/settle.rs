//! What follows once an AMI is available: sharing, deprecation, protection, a parameter. Each of
//! these calls may be made again and changes nothing then.

use std::time::Duration;

use super::cloud::{CallError, Region, Retry};
use super::share::Share;
use super::{Error, find, times};

/// How an AMI lives on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Life {
    /// With whom it is shared.
    pub share: Share,
    /// How long until it is deprecated, counted from now.
    pub deprecate_after: Option<Duration>,
    /// Whether it cannot be deregistered.
    pub protect: bool,
    /// The parameter that names it.
    pub ssm_parameter: Option<String>,
}

/// Shares, deprecates and protects the AMI as was asked; what it is already stays.
///
/// # Errors
/// What EC2 answers; of sharing [`Error::Share`].
pub async fn settle(region: &Region, id: &str, life: &Life) -> Result<(), Error> {
    let retry = Retry::default();
    if !life.share.is_private() {
        let shared = share(region, id, &life.share).await;
        shared.map_err(|source| Error::Share {
            ami: id.to_owned(),
            region: region.name.clone(),
            source,
        })?;
    }
    if let Some(at) = life.deprecate_after.and_then(deprecation) {
        let call = async || region.ec2.enable_image_deprecation(id, &at).await;
        retry.run(call, |_| {}).await?;
    }
    if life.protect && !find::ami(region, id).await?.protected {
        let call = async || region.ec2.enable_image_deregistration_protection(id).await;
        retry.run(call, |_| {}).await?;
    }
    Ok(())
}

async fn share(region: &Region, id: &str, share: &Share) -> Result<(), CallError> {
    let listed = |set: &std::collections::BTreeSet<String>| set.iter().cloned().collect::<Vec<_>>();
    let accounts = listed(&share.accounts);
    let (organizations, units) = (listed(&share.organizations), listed(&share.units));
    let call = async || {
        let change =
            region
                .ec2
                .modify_image_attribute(id, &accounts, &organizations, &units, share.public);
        change.await
    };
    Retry::default().run(call, |_| {}).await
}

/// The time after so long, as EC2 reads it. EC2 rounds to minutes.
fn deprecation(after: Duration) -> Option<String> {
    times::text(times::now().checked_add(after.as_secs())?)
}

/// Has the parameter name the AMI, in the AMI's region.
///
/// # Errors
/// What Systems Manager answers.
pub async fn publish(region: &Region, parameter: &str, ami: &str) -> Result<(), CallError> {
    let retry = Retry::default();
    let known = async || region.ssm.get_parameter(parameter).await;
    if retry.run(known, |_| {}).await?.as_deref() == Some(ami) {
        return Ok(());
    }
    let call = async || {
        let put = region
            .ssm
            .put_parameter(parameter, ami, "aws:ec2:image", true);
        put.await
    };
    retry.run(call, |_| {}).await
}
