//! RegisterImage.

use std::collections::BTreeSet;
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::super::answer::{Outcome, Refusal};
use super::super::call::Call;
use super::super::world::{Change, Image, Mapping, World};
use super::super::xml;
use super::parameters::Parameters;
use super::{no_snapshot, wrong_value};

/// What an image that fails says.
const FAILED: &str = "The image could not be created: an internal error";

pub fn register(call: &Call, parameters: &Parameters) -> Outcome<String> {
    let name = name(parameters)?;
    let mapping = mapping(parameters)?;
    let one_of = |name: &str, values: &[&str]| match parameters.get(name) {
        Some(value) if !values.contains(&value) => Err(wrong_value(format!(
            "Value ({value}) for parameter {name} is invalid."
        ))),
        value => Ok(value.map(str::to_owned)),
    };
    let architecture = one_of("Architecture", &["x86_64", "arm64", "i386"])?;
    let boot_mode = one_of("BootMode", &["uefi", "legacy-bios", "uefi-preferred"])?;
    let imds = one_of("ImdsSupport", &["v2.0"])?;
    let tpm = one_of("TpmSupport", &["v2.0"])?;
    let virtualization = one_of("VirtualizationType", &["hvm", "paravirtual"])?;
    let root_device = parameters.required("RootDeviceName")?.to_owned();
    let description = parameters.get("Description").unwrap_or_default().to_owned();
    let ena = parameters.flag("EnaSupport")?.unwrap_or(false);
    let uefi_data = parameters.get("UefiData").map(str::to_owned);
    let mut tags = parameters.tag_specification(&["image", "snapshot"])?;
    parameters.done()?;
    let is_uefi = boot_mode.as_deref() == Some("uefi");
    if tpm.is_some() && !is_uefi {
        return Err(wrong_value("TpmSupport needs the boot mode uefi"));
    }
    if uefi_data
        .as_ref()
        .is_some_and(|data| STANDARD.decode(data).is_err() || !is_uefi)
    {
        return Err(wrong_value(
            "UefiData must be Base64 and needs the boot mode uefi",
        ));
    }
    if root_device != mapping.device {
        return Err(wrong_value("No block device of the name RootDeviceName"));
    }
    if description.len() > 255 {
        return Err(wrong_value("Description is longer than 255"));
    }
    let image = Image {
        id: String::new(),
        region: call.region.clone(),
        name: name.to_owned(),
        description,
        architecture: architecture.unwrap_or_else(|| "i386".to_owned()),
        boot_mode,
        ena,
        imds,
        tpm,
        uefi_data,
        virtualization: virtualization.unwrap_or_else(|| "paravirtual".to_owned()),
        root_device,
        mapping,
        tags: tags.remove("image").unwrap_or_default(),
        creation_date: call.now,
        created: Instant::now(),
        change: change(call),
        launch_permissions: BTreeSet::new(),
        deprecation: None,
        is_protected: false,
        asked: 0,
    };
    let mut world = call.shared.world.lock().unwrap();
    let id = add(call, &mut world, image)?;
    Ok(xml::text("imageId", id))
}

/// What becomes of an image.
pub fn change(call: &Call) -> Change {
    let error = call.settings.images_fail.then_some(FAILED);
    Change::after(call.settings.pending_image, error)
}

/// A name as AWS allows it.
pub fn name(parameters: &Parameters) -> Outcome<&str> {
    let name = parameters.required("Name")?;
    let allowed = |c: char| c.is_ascii_alphanumeric() || "()[] ./-'@_".contains(c);
    if !(3..=128).contains(&name.len()) || !name.chars().all(allowed) {
        let message = format!("AMI name '{name}' is invalid: 3 to 128 of a-z A-Z 0-9 ()[] ./-'@_");
        return Err(Refusal::new(400, "InvalidAMIName.Malformed", message));
    }
    Ok(name)
}

fn mapping(parameters: &Parameters) -> Outcome<Mapping> {
    let groups = parameters.groups("BlockDeviceMapping");
    let [prefix] = &groups[..] else {
        return Err(wrong_value("One BlockDeviceMapping is expected"));
    };
    let of = |name: &str| format!("{prefix}{name}");
    let volume_type = parameters.get(&of("Ebs.VolumeType")).unwrap_or("gp2");
    if !["gp2", "gp3", "io1", "io2", "standard"].contains(&volume_type) {
        return Err(wrong_value(format!("Volume type {volume_type} is unknown")));
    }
    Ok(Mapping {
        device: parameters.required(&of("DeviceName"))?.to_owned(),
        snapshot: parameters.required(&of("Ebs.SnapshotId"))?.to_owned(),
        volume_type: volume_type.to_owned(),
        volume_gib: parameters.number(&of("Ebs.VolumeSize"))?.unwrap_or(0),
        delete_on_termination: parameters
            .flag(&of("Ebs.DeleteOnTermination"))?
            .unwrap_or(true),
        encrypted: false,
    })
}

fn add(call: &Call, world: &mut World, mut image: Image) -> Outcome<String> {
    let mut others = world.images.values();
    let is_same = |other: &&Image| other.region == image.region && other.name == image.name;
    if let Some(other) = others.find(is_same) {
        let message = format!(
            "AMI name {} is already in use by AMI {}",
            image.name, other.id
        );
        return Err(Refusal::new(400, "InvalidAMIName.Duplicate", message));
    }
    let id = &image.mapping.snapshot;
    let snapshot = world.snapshots.get(id);
    let snapshot = snapshot.filter(|snapshot| snapshot.region == call.region);
    let snapshot = snapshot.ok_or_else(|| no_snapshot(id))?;
    if !snapshot.is_usable(&call.settings) {
        let message = format!("Snapshot {id} is not in the state 'completed'");
        return Err(Refusal::new(400, "IncorrectState", message));
    }
    if image.mapping.volume_gib == 0 {
        image.mapping.volume_gib = snapshot.volume_gib;
    }
    if image.mapping.volume_gib < snapshot.volume_gib {
        let message = "Volume of size smaller than the snapshot's";
        return Err(Refusal::new(400, "InvalidBlockDeviceMapping", message));
    }
    image.mapping.encrypted = snapshot.encrypted;
    let id = world.id("ami");
    image.id.clone_from(&id);
    world.images.insert(id.clone(), image);
    Ok(id)
}
