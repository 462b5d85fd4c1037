//! Which AMIs something would miss: instances, launch templates, Auto Scaling.

use std::collections::BTreeSet;

use super::super::call::Call;
use super::super::query::Form;
use super::super::xml::Element;
use super::super::{CallError, Kind, Retry};
use super::{Ec2, PAGE, form, pages};

/// Of the API of Auto Scaling.
const AUTO_SCALING_VERSION: &str = "2011-01-01";

/// States in which an instance still has its AMI's volume.
const STATES: [&str; 5] = ["pending", "running", "shutting-down", "stopping", "stopped"];

impl Ec2 {
    /// The AMIs of the instances that are not terminated.
    ///
    /// # Errors
    /// [`CallError`]
    pub async fn describe_instances_images(&self) -> Result<BTreeSet<String>, CallError> {
        let states = STATES.map(str::to_owned).to_vec();
        let form = form("DescribeInstances")
            .filters(&[("instance-state-name", states)])
            .set("MaxResults", PAGE);
        let call = Call::new("describe instances", "of the account");
        let read = |root: Element<'_, '_>, all: &mut Vec<_>| {
            let instances = root
                .items("reservationSet")
                .flat_map(|reservation| reservation.items("instancesSet"));
            all.extend(instances.filter_map(|instance| instance.maybe("imageId")));
            root.maybe("nextToken")
        };
        let images = pages(&self.ec2, &call, &form, read).await?;
        Ok(images.into_iter().collect())
    }

    /// The AMIs of all versions of all launch templates. One that is found by a parameter is
    /// there as `resolve:ssm:NAME`.
    ///
    /// # Errors
    /// [`CallError`]
    pub async fn describe_launch_template_images(&self) -> Result<BTreeSet<String>, CallError> {
        let form = form("DescribeLaunchTemplates").set("MaxResults", "200");
        let call = Call::new("describe launch templates", "of the account");
        let read = |root: Element<'_, '_>, all: &mut Vec<_>| {
            let templates = root.items("launchTemplates");
            all.extend(templates.filter_map(|template| template.maybe("launchTemplateId")));
            root.maybe("nextToken")
        };
        let mut images = BTreeSet::new();
        for template in pages(&self.ec2, &call, &form, read).await? {
            let ask = async || self.template_images(&template).await;
            match Retry::default().run(ask, |_| ()).await {
                Ok(found) => images.extend(found),
                // Deleted since the list was made.
                Err(error) if error.kind == Kind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(images)
    }

    async fn template_images(&self, template: &str) -> Result<Vec<String>, CallError> {
        let form = form("DescribeLaunchTemplateVersions")
            .set("LaunchTemplateId", template)
            .set("MaxResults", "200");
        let call = Call::new("describe launch template", template);
        let read = |root: Element<'_, '_>, all: &mut Vec<_>| {
            let data = root
                .items("launchTemplateVersionSet")
                .filter_map(|version| version.child("launchTemplateData"));
            all.extend(data.filter_map(|data| data.maybe("imageId")));
            root.maybe("nextToken")
        };
        pages(&self.ec2, &call, &form, read).await
    }

    /// The AMIs that launch configurations name, and groups in place of their launch template's.
    ///
    /// # Errors
    /// [`CallError`]
    pub async fn describe_auto_scaling_images(&self) -> Result<BTreeSet<String>, CallError> {
        let configurations = self
            .auto_scaling_images("DescribeLaunchConfigurations", |result, all| {
                let configurations = result.items("LaunchConfigurations");
                all.extend(configurations.filter_map(|one| one.maybe("ImageId")));
            })
            .await?;
        let groups = self
            .auto_scaling_images("DescribeAutoScalingGroups", |result, all| {
                let overrides = result
                    .items("AutoScalingGroups")
                    .filter_map(|group| group.child("MixedInstancesPolicy"))
                    .filter_map(|policy| policy.child("LaunchTemplate"))
                    .flat_map(|template| template.items("Overrides"));
                all.extend(overrides.filter_map(|one| one.maybe("ImageId")));
            })
            .await?;
        Ok(configurations.into_iter().chain(groups).collect())
    }

    async fn auto_scaling_images(
        &self,
        action: &'static str,
        read: impl Fn(Element<'_, '_>, &mut Vec<String>),
    ) -> Result<Vec<String>, CallError> {
        let form = Form::new(action, AUTO_SCALING_VERSION).set("MaxRecords", "100");
        let call = Call::new("describe Auto Scaling", "of the account");
        let name = format!("{action}Result");
        let read = |root: Element<'_, '_>, all: &mut Vec<_>| {
            let result = root.child(&name)?;
            read(result, all);
            result.maybe("NextToken")
        };
        pages(&self.auto_scaling, &call, &form, read).await
    }
}
