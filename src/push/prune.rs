//! Old AMIs and their snapshots: which may go, and their going.
//!
//! Whatever is not known to be unused stays. A call that is refused ends the command before
//! anything is removed.

mod select;

use std::collections::BTreeSet;

use serde::Serialize;

use super::cloud::{Ami, CallError, Kind, Region, Retry};
use super::tags;
pub use select::{Kept, Rule, Selection, select};

/// A launch template may name an AMI by a parameter.
const RESOLVE: &str = "resolve:ssm:";

/// All AMIs of a region that i2kit made.
///
/// # Errors
/// What EC2 answers.
pub async fn list(region: &Region) -> Result<Vec<Ami>, CallError> {
    let filters = [("tag-key", vec![tags::DISK_DIGEST.to_owned()])];
    let mut amis = region.amis(&filters).await?;
    amis.retain(|ami| tags::is_ours(&ami.tags));
    Ok(amis)
}

/// The ids of AMIs that instances, launch templates (any version), autoscaling groups and launch
/// configurations of the region name. What other accounts do with a shared AMI nobody can see.
///
/// # Errors
/// When any of these calls is refused, or a parameter that a launch template names cannot be read:
/// an AMI that may be in use is one that is.
pub async fn in_use(region: &Region) -> Result<BTreeSet<String>, CallError> {
    let retry = Retry::default();
    let instances = async || region.ec2.describe_instances_images().await;
    let templates = async || region.ec2.describe_launch_template_images().await;
    let groups = async || region.ec2.describe_auto_scaling_images().await;
    let (instances, templates, groups) = tokio::try_join!(
        retry.run(instances, |_| {}),
        retry.run(templates, |_| {}),
        retry.run(groups, |_| {}),
    )?;
    let mut ids: BTreeSet<String> = instances;
    for name in templates.into_iter().chain(groups) {
        match name.strip_prefix(RESOLVE) {
            None => ids.extend([name]),
            Some(parameter) => ids.extend(resolved(region, parameter).await?),
        }
    }
    Ok(ids)
}

/// The AMI that a parameter names; none where there is no such parameter.
async fn resolved(region: &Region, parameter: &str) -> Result<Option<String>, CallError> {
    let call = async || region.ssm.get_parameter(parameter).await;
    Retry::default().run(call, |_| {}).await
}

/// What was removed with an AMI.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Removed {
    /// The AMI.
    pub ami: String,
    /// Its snapshot, where it was i2kit's and no other AMI has it.
    pub snapshot: Option<String>,
}

/// Deregisters an AMI, then deletes its snapshot. What is gone already is no failure: a command that
/// was interrupted goes on where it was.
///
/// # Errors
/// What EC2 answers; the snapshot then stays.
pub async fn remove(region: &Region, ami: &Ami) -> Result<Removed, CallError> {
    let retry = Retry::default();
    let deregister = async || region.ec2.deregister_image(&ami.id).await;
    gone(retry.run(deregister, |_| {}).await)?;
    let mut removed = Removed {
        ami: ami.id.clone(),
        snapshot: None,
    };
    let Some(id) = &ami.root_snapshot else {
        return Ok(removed);
    };
    let found = region.snapshot(id).await?;
    if !found.is_some_and(|one| tags::is_ours(&one.tags)) {
        return Ok(removed);
    }
    let delete = async || region.ec2.delete_snapshot(id).await;
    match gone(retry.run(delete, |_| {}).await) {
        // Another AMI is made of it.
        Err(error) if error.code == "InvalidSnapshot.InUse" => {}
        answer => {
            answer?;
            removed.snapshot = Some(id.clone());
        }
    }
    Ok(removed)
}

fn gone(answer: Result<(), CallError>) -> Result<(), CallError> {
    match answer {
        Err(error) if error.kind == Kind::NotFound => Ok(()),
        other => other,
    }
}
