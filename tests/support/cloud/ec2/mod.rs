//! EC2's query protocol (2016-11-15), as far as images need it.

mod attributes;
mod copies;
mod filters;
mod images;
mod inventory;
pub mod parameters;
mod register;
mod snapshots;

use super::answer::{Answer, Outcome, Refusal};
use super::call::Call;
use super::xml;
use parameters::Parameters;

const NAMESPACE: &str = "http://ec2.amazonaws.com/doc/2016-11-15/";

pub fn answer(call: &mut Call) -> Outcome {
    let parameters = Parameters::of(&call.request.body);
    let action = parameters.required("Action")?.to_owned();
    if parameters.get("Version") != Some("2016-11-15") {
        return Err(Refusal::new(
            400,
            "InvalidParameterValue",
            "Version must be 2016-11-15",
        ));
    }
    let is_dry = parameters.flag("DryRun")? == Some(true);
    if is_dry {
        let message = "Request would have succeeded, but DryRun flag is set.";
        return Err(Refusal::new(412, "DryRunOperation", message));
    }
    let inner = dispatch(call, &action, &parameters)?;
    let id = xml::text("requestId", &call.request_id);
    let name = format!("{action}Response");
    Ok(Answer::xml(
        200,
        &format!("<{name} xmlns=\"{NAMESPACE}\">{id}{inner}</{name}>"),
    ))
}

fn dispatch(call: &Call, action: &str, parameters: &Parameters) -> Outcome<String> {
    match action {
        "DescribeSnapshots" => snapshots::describe(call, parameters),
        "DeleteSnapshot" => snapshots::delete(call, parameters),
        "CopySnapshot" => copies::copy_snapshot(call, parameters),
        "CopyImage" => copies::copy_image(call, parameters),
        "ModifySnapshotAttribute" => attributes::modify_snapshot(call, parameters),
        "CreateTags" => attributes::create_tags(call, parameters),
        "DescribeImages" => images::describe(call, parameters),
        "DeregisterImage" => images::deregister(call, parameters),
        "RegisterImage" => register::register(call, parameters),
        "ModifyImageAttribute" => attributes::modify_image(call, parameters),
        "EnableImageDeprecation" => attributes::deprecate(call, parameters),
        "EnableImageDeregistrationProtection" => attributes::protect(call, parameters, true),
        "DisableImageDeregistrationProtection" => attributes::protect(call, parameters, false),
        "DescribeInstances" => inventory::instances(call, parameters),
        "DescribeLaunchTemplates" => inventory::templates(call, parameters),
        "DescribeLaunchTemplateVersions" => inventory::versions(call, parameters),
        _ => {
            let message = format!("The action {action} is not valid for this web service.");
            Err(Refusal::new(400, "InvalidAction", message))
        }
    }
}

/// What calls without a result answer.
fn done() -> String {
    xml::text("return", true)
}

fn wrong_value(message: impl Into<String>) -> Refusal {
    Refusal::new(400, "InvalidParameterValue", message)
}

fn no_snapshot(id: &str) -> Refusal {
    let message = format!("The snapshot '{id}' does not exist.");
    Refusal::new(400, "InvalidSnapshot.NotFound", message)
}

fn no_image(id: &str) -> Refusal {
    let message = format!("The image id '[{id}]' does not exist");
    Refusal::new(400, "InvalidAMIID.NotFound", message)
}

fn tag_set(tags: &super::world::Tags) -> String {
    let items = tags
        .iter()
        .map(|(key, value)| xml::text("key", key) + &xml::text("value", value));
    xml::list("tagSet", "item", items)
}
