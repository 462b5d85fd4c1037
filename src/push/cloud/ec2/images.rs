//! AMIs: listed, registered, copied, shared, protected, deprecated, deregistered.

use super::super::CallError;
use super::super::call::Call;
use super::super::query::Form;
use super::super::xml::{Answer, Element};
use super::snapshots::named;
use super::{Ami, CopyImage, Ec2, PAGE, RegisterImage, form, pages};

/// The root device of every AMI that i2kit makes; on Nitro it is an NVMe device and the name
/// nothing but its key.
const ROOT_DEVICE: &str = "/dev/xvda";

impl Ec2 {
    /// The AMIs of these ids, or of those `filters`; of one's own account only where `owner_self`.
    ///
    /// # Errors
    /// [`Kind::NotFound`](super::super::Kind::NotFound) where one of `ids` is not there (yet).
    pub async fn describe_images(
        &self,
        ids: &[String],
        filters: &[(&str, Vec<String>)],
        owner_self: bool,
        include_deprecated: bool,
    ) -> Result<Vec<Ami>, CallError> {
        let form = form("DescribeImages")
            .list("ImageId", ids)
            .filters(filters)
            .maybe("Owner.1", owner_self.then_some("self"))
            .maybe("IncludeDeprecated", include_deprecated.then_some("true"))
            // May not be said together with ids.
            .maybe("MaxResults", ids.is_empty().then_some(PAGE));
        let call = Call::new("describe AMIs", named(ids));
        let read = |root: Element<'_, '_>, all: &mut Vec<_>| {
            all.extend(root.items("imagesSet").map(ami));
            root.maybe("nextToken")
        };
        pages(&self.ec2, &call, &form, read).await
    }

    /// Registers an AMI; answers with its id.
    ///
    /// # Errors
    /// [`CallError`]; `InvalidAMIName.Duplicate` where the account has one of that name.
    pub async fn register_image(&self, image: &RegisterImage) -> Result<String, CallError> {
        let call = Call::new("register AMI", &image.name);
        let answer = self.ec2.query(&call, &registration(image)).await?;
        answer.needed("imageId")
    }

    /// Ends an AMI; its snapshot stays.
    ///
    /// # Errors
    /// [`CallError`]
    pub async fn deregister_image(&self, id: &str) -> Result<(), CallError> {
        let form = form("DeregisterImage").set("ImageId", id);
        self.done(&Call::new("deregister AMI", id), &form).await
    }

    /// Copies an AMI of another region into this one; answers with the copy's id.
    ///
    /// # Errors
    /// [`CallError`]
    pub async fn copy_image(&self, image: &CopyImage) -> Result<String, CallError> {
        let object = format!("{} of {}", image.from, image.from_region);
        let call = Call::new("copy AMI", object);
        let form = form("CopyImage")
            .set("SourceRegion", &image.from_region)
            .set("SourceImageId", &image.from)
            .set("Name", &image.name)
            .set("Description", &image.description)
            .set("ClientToken", &image.client_token)
            .maybe("Encrypted", image.kms_key.is_some().then_some("true"))
            .maybe("KmsKeyId", image.kms_key.as_deref())
            .tagged(&["image", "snapshot"], &image.tags);
        self.ec2.query(&call, &form).await?.needed("imageId")
    }

    /// Lets these accounts, organisations and their units launch an AMI, or, where `public`,
    /// everybody.
    ///
    /// # Errors
    /// [`CallError`]
    pub async fn modify_image_attribute(
        &self,
        id: &str,
        accounts: &[String],
        org_arns: &[String],
        ou_arns: &[String],
        public: bool,
    ) -> Result<(), CallError> {
        let who = |list: &[String], name: &'static str| -> Vec<_> {
            list.iter().map(|one| (name, one.clone())).collect()
        };
        let everybody = public.then(|| ("Group", "all".to_owned()));
        let all = who(accounts, "UserId")
            .into_iter()
            .chain(who(org_arns, "OrganizationArn"))
            .chain(who(ou_arns, "OrganizationalUnitArn"))
            .chain(everybody);
        let form = form("ModifyImageAttribute").set("ImageId", id);
        let form = all.zip(1_u32..).fold(form, |form, ((name, one), at)| {
            form.set(format!("LaunchPermission.Add.{at}.{name}"), one)
        });
        self.done(&Call::new("share AMI", id), &form).await
    }

    /// From `at` on (`2026-01-31T12:00:00Z`, rounded to the minute) an AMI is shown to nobody but
    /// its owner.
    ///
    /// # Errors
    /// [`CallError`]
    pub async fn enable_image_deprecation(&self, id: &str, at: &str) -> Result<(), CallError> {
        let form = form("EnableImageDeprecation")
            .set("ImageId", id)
            .set("DeprecateAt", at);
        self.done(&Call::new("deprecate AMI", id), &form).await
    }

    /// Nobody can deregister an AMI any more.
    ///
    /// # Errors
    /// [`CallError`]
    pub async fn enable_image_deregistration_protection(&self, id: &str) -> Result<(), CallError> {
        let form = form("EnableImageDeregistrationProtection").set("ImageId", id);
        self.done(&Call::new("protect AMI", id), &form).await
    }
}

/// RegisterImage's form.
pub(super) fn registration(image: &RegisterImage) -> Form {
    form("RegisterImage")
        .set("Name", &image.name)
        .set("Description", &image.description)
        .set("Architecture", &image.architecture)
        .set("VirtualizationType", "hvm")
        .set("BootMode", "uefi")
        .set("EnaSupport", "true")
        .set("ImdsSupport", "v2.0")
        .maybe("TpmSupport", image.tpm.then_some("v2.0"))
        .maybe("UefiData", image.uefi_data.as_deref())
        .set("RootDeviceName", ROOT_DEVICE)
        .set("BlockDeviceMapping.1.DeviceName", ROOT_DEVICE)
        .set("BlockDeviceMapping.1.Ebs.SnapshotId", &image.snapshot)
        .set(
            "BlockDeviceMapping.1.Ebs.VolumeSize",
            image.volume_gib.to_string(),
        )
        .set("BlockDeviceMapping.1.Ebs.VolumeType", "gp3")
        .set("BlockDeviceMapping.1.Ebs.DeleteOnTermination", "true")
        .tagged(&["image"], &image.tags)
}

impl Ami {
    /// The AMIs that an answer to DescribeImages lists.
    ///
    /// # Errors
    /// [`CallError`] where it is no XML.
    pub fn of_answer(text: &str) -> Result<Vec<Self>, CallError> {
        let call = Call::new("read", "AMIs");
        let answer = Answer::parse(&call, text.to_owned())?;
        answer.read(|root| root.items("imagesSet").map(ami).collect())
    }
}

fn ami(item: Element<'_, '_>) -> Ami {
    let root = item.text("rootDeviceName");
    let disk = item
        .items("blockDeviceMapping")
        .find(|device| device.text("deviceName") == root)
        .and_then(|device| device.child("ebs"));
    let reason = item.child("stateReason");
    let protection = item.text("deregistrationProtection");
    Ami {
        id: item.string("imageId"),
        name: item.string("name"),
        state: item.string("imageState"),
        state_reason: reason.and_then(|reason| reason.maybe("message")),
        owner: item.string("imageOwnerId"),
        creation_date: item.string("creationDate"),
        architecture: item.string("architecture"),
        boot_mode: item.maybe("bootMode"),
        root_snapshot: disk.and_then(|disk| disk.maybe("snapshotId")),
        volume_gib: disk
            .map(|disk| disk.number("volumeSize"))
            .unwrap_or_default(),
        public: item.says("isPublic"),
        description: item.string("description"),
        deprecation: item.maybe("deprecationTime"),
        protected: protection.is_some_and(|protection| protection != "disabled"),
        tags: item.tags(),
    }
}
