//! What uses images: instances, launch templates.

use super::super::answer::{Outcome, Refusal};
use super::super::call::Call;
use super::super::world::{Tags, User};
use super::super::xml;
use super::filters::{self, Filter};
use super::parameters::Parameters;

pub fn instances(call: &Call, parameters: &Parameters) -> Outcome<String> {
    let ids = parameters.list("InstanceId");
    let filters = Filter::all(parameters, &["image-id", "instance-state-name", "tag-key"])?;
    let world = call.shared.world.lock().unwrap();
    let mut items = Vec::new();
    for ((region, id), user) in &world.users {
        let User::Instance(image, state) = user else {
            continue;
        };
        let values = |name: &str| match name {
            "image-id" => vec![image.clone()],
            "instance-state-name" => vec![(*state).to_owned()],
            _ => Vec::new(),
        };
        let passes = filters
            .iter()
            .all(|filter| filter.passes(&Tags::new(), &values));
        let is_asked = ids.is_empty() || ids.contains(&id.as_str());
        if *region != call.region || !passes || !is_asked {
            continue;
        }
        let name = xml::text("name", *state);
        let instance = [
            xml::text("instanceId", id),
            xml::text("imageId", image),
            xml::element("instanceState", name),
        ];
        let set = xml::list("instancesSet", "item", [instance.concat()]);
        items.push(xml::text("reservationId", format!("r-{id}")) + &set);
    }
    filters::page(call, parameters, "reservationSet", &items, !ids.is_empty())
}

/// Ids, versions and default versions of the region's launch templates.
fn all_templates(call: &Call) -> Vec<(String, Vec<String>, usize)> {
    let world = call.shared.world.lock().unwrap();
    let of_region = world
        .users
        .iter()
        .filter(|((region, _), _)| *region == call.region);
    let found = of_region.filter_map(|((_, id), user)| match user {
        User::Template(versions, default) => Some((id.clone(), versions.clone(), *default)),
        _ => None,
    });
    found.collect()
}

pub fn templates(call: &Call, parameters: &Parameters) -> Outcome<String> {
    let ids = parameters.list("LaunchTemplateId");
    let items = all_templates(call)
        .into_iter()
        .map(|(id, versions, default)| {
            [
                xml::text("launchTemplateId", &id),
                xml::text("launchTemplateName", format!("name-of-{id}")),
                xml::text("defaultVersionNumber", default),
                xml::text("latestVersionNumber", versions.len()),
            ]
            .concat()
        });
    filters::page(
        call,
        parameters,
        "launchTemplates",
        &items.collect::<Vec<_>>(),
        !ids.is_empty(),
    )
}

pub fn versions(call: &Call, parameters: &Parameters) -> Outcome<String> {
    let id = parameters.get("LaunchTemplateId");
    let wanted = parameters.list("LaunchTemplateVersion");
    let is_alias = |text: &&str| ["$Latest", "$Default"].contains(text);
    if id.is_none() && (wanted.is_empty() || !wanted.iter().all(is_alias)) {
        let message = "A launch template's id, or $Latest or $Default, must be given";
        return Err(Refusal::new(400, "MissingParameter", message));
    }
    let mut items = Vec::new();
    for (own, versions, default) in all_templates(call) {
        if id.is_some_and(|id| id != own) {
            continue;
        }
        for (number, image) in (1..).zip(&versions) {
            let is_wanted = |text: &&str| match *text {
                "$Latest" => number == versions.len(),
                "$Default" => number == default,
                text => text == number.to_string(),
            };
            if wanted.is_empty() || wanted.iter().any(is_wanted) {
                items.push(version(&own, number, number == default, image));
            }
        }
    }
    if items.is_empty() && id.is_some() {
        let message = "The launch template does not exist";
        return Err(Refusal::new(
            400,
            "InvalidLaunchTemplateId.NotFound",
            message,
        ));
    }
    filters::page(call, parameters, "launchTemplateVersionSet", &items, false)
}

fn version(id: &str, number: usize, is_default: bool, image: &str) -> String {
    [
        xml::text("launchTemplateId", id),
        xml::text("versionNumber", number),
        xml::text("defaultVersion", is_default),
        xml::element("launchTemplateData", xml::text("imageId", image)),
    ]
    .concat()
}
