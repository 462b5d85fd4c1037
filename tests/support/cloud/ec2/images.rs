//! Images: what they are, and their end.

use super::super::answer::{Outcome, Refusal};
use super::super::call::Call;
use super::super::keys::ACCOUNT;
use super::super::time;
use super::super::world::{Image, World};
use super::super::xml;
use super::filters::{self, Filter};
use super::parameters::Parameters;
use super::{done, no_image, tag_set};

const FILTERS: [&str; 11] = [
    "tag-key",
    "name",
    "owner-id",
    "state",
    "image-id",
    "architecture",
    "is-public",
    "block-device-mapping.snapshot-id",
    "description",
    "root-device-type",
    "virtualization-type",
];

fn is_visible(call: &Call, image: &Image) -> bool {
    image.region == call.region && image.created.elapsed() >= call.settings.consistency
}

/// An image of this region that the services know of by now.
pub fn image<'a>(call: &Call, world: &'a mut World, id: &str) -> Outcome<&'a mut Image> {
    if world.deregistered.contains(id) {
        let message = format!("The image id '[{id}]' is no longer available");
        return Err(Refusal::new(400, "InvalidAMIID.Unavailable", message));
    }
    let digits = id.strip_prefix("ami-");
    if digits.is_none_or(|digits| !digits.bytes().all(|byte| byte.is_ascii_hexdigit())) {
        let message = format!("Invalid id: \"{id}\"");
        return Err(Refusal::new(400, "InvalidAMIID.Malformed", message));
    }
    let image = world.images.get_mut(id);
    let image = image.filter(|image| is_visible(call, image));
    image.ok_or_else(|| no_image(id))
}

/// The state that is told: for a while after a change, the old one in turn with the new one.
fn told_state(call: &Call, image: &mut Image) -> &'static str {
    image.asked += 1;
    match image.state() {
        state if image.change.is_settled(&call.settings) => state,
        state if image.asked.is_multiple_of(2) => state,
        _ => "pending",
    }
}

pub fn describe(call: &Call, parameters: &Parameters) -> Outcome<String> {
    let ids = parameters.list("ImageId");
    let filters = Filter::all(parameters, &FILTERS)?;
    let owners = parameters.list("Owner");
    let is_own = owners.is_empty() || owners.contains(&"self") || owners.contains(&ACCOUNT);
    // All that there are belong to the account, which sees its deprecated ones too.
    parameters.flag("IncludeDeprecated")?;
    parameters.flag("IncludeDisabled")?;
    parameters.list("ExecutableBy");
    let mut world = call.shared.world.lock().unwrap();
    for id in &ids {
        let found = image(call, &mut world, id);
        // A name that has no image any more is unknown.
        found.map_err(|refusal| match refusal.code.as_str() {
            "InvalidAMIID.Unavailable" => no_image(id),
            _ => refusal,
        })?;
    }
    let mut items = Vec::new();
    let all = world.images.values_mut();
    for image in all.filter(|image| is_own && is_visible(call, image)) {
        if !ids.is_empty() && !ids.contains(&image.id.as_str()) {
            continue;
        }
        let state = told_state(call, image);
        let values = |name: &str| values(image, state, name);
        if filters
            .iter()
            .all(|filter| filter.passes(&image.tags, &values))
        {
            items.push(item(image, state));
        }
    }
    filters::page(call, parameters, "imagesSet", &items, !ids.is_empty())
}

fn values(image: &Image, state: &str, name: &str) -> Vec<String> {
    let value = match name {
        "name" => image.name.clone(),
        "owner-id" => ACCOUNT.to_owned(),
        "state" => state.to_owned(),
        "image-id" => image.id.clone(),
        "architecture" => image.architecture.clone(),
        "is-public" => image.is_public().to_string(),
        "block-device-mapping.snapshot-id" => image.mapping.snapshot.clone(),
        "description" => image.description.clone(),
        "root-device-type" => "ebs".to_owned(),
        "virtualization-type" => image.virtualization.clone(),
        _ => return Vec::new(),
    };
    vec![value]
}

fn item(image: &Image, state: &str) -> String {
    let ebs = [
        xml::text("snapshotId", &image.mapping.snapshot),
        xml::text("volumeSize", image.mapping.volume_gib),
        xml::text("deleteOnTermination", image.mapping.delete_on_termination),
        xml::text("volumeType", &image.mapping.volume_type),
        xml::text("encrypted", image.mapping.encrypted),
    ];
    let device = xml::text("deviceName", &image.mapping.device);
    let mapping = device + &xml::element("ebs", ebs.concat());
    let reason = image.change.error.clone().filter(|_| state == "failed");
    let reason = reason.map(|message| {
        let code = xml::text("code", "Client.ImageError");
        xml::element("stateReason", code + &xml::text("message", message))
    });
    let protection = if image.is_protected {
        "enabled-without-cooldown"
    } else {
        "disabled"
    };
    [
        xml::text("imageId", &image.id),
        xml::text("imageLocation", format!("{ACCOUNT}/{}", image.name)),
        xml::text("imageState", state),
        xml::text("imageOwnerId", ACCOUNT),
        xml::text("creationDate", time::iso(image.creation_date)),
        xml::text("isPublic", image.is_public()),
        xml::text("architecture", &image.architecture),
        xml::text("imageType", "machine"),
        xml::text("name", &image.name),
        xml::text("description", &image.description),
        xml::text("rootDeviceType", "ebs"),
        xml::text("rootDeviceName", &image.root_device),
        xml::list("blockDeviceMapping", "item", [mapping]),
        xml::text("virtualizationType", &image.virtualization),
        tag_set(&image.tags),
        xml::text("hypervisor", "xen"),
        xml::text("enaSupport", image.ena),
        xml::maybe("bootMode", image.boot_mode.as_ref()),
        xml::maybe("imdsSupport", image.imds.as_ref()),
        xml::maybe("tpmSupport", image.tpm.as_ref()),
        xml::maybe("deprecationTime", image.deprecation.as_ref()),
        xml::text("deregistrationProtection", protection),
        reason.unwrap_or_default(),
    ]
    .concat()
}

pub fn deregister(call: &Call, parameters: &Parameters) -> Outcome<String> {
    let id = parameters.required("ImageId")?;
    parameters.done()?;
    let mut world = call.shared.world.lock().unwrap();
    let found = image(call, &mut world, id)?;
    if found.is_protected {
        let message = format!("The image '{id}' is protected from deregistration");
        return Err(Refusal::new(400, "OperationNotPermitted", message));
    }
    world.images.remove(id);
    world.deregistered.insert(id.to_owned());
    Ok(done())
}
