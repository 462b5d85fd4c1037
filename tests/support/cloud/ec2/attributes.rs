//! Tags, permissions, deprecation, protection.

use std::time::Duration;

use super::super::answer::{Outcome, Refusal};
use super::super::call::Call;
use super::super::time;
use super::super::xml;
use super::images::image;
use super::parameters::Parameters;
use super::{done, no_snapshot, wrong_value};

pub fn create_tags(call: &Call, parameters: &Parameters) -> Outcome<String> {
    let ids = parameters.list("ResourceId");
    let tags = parameters.tags("Tag")?;
    parameters.done()?;
    if ids.is_empty() || tags.is_empty() {
        let message = "The request must contain resource ids and tags";
        return Err(Refusal::new(400, "MissingParameter", message));
    }
    let mut world = call.shared.world.lock().unwrap();
    for id in ids {
        if id.starts_with("ami-") {
            image(call, &mut world, id)?.tags.extend(tags.clone());
            continue;
        }
        let snapshot = world.snapshots.get_mut(id);
        let snapshot = snapshot.filter(|snapshot| snapshot.region == call.region);
        let snapshot = snapshot.ok_or_else(|| no_snapshot(id))?;
        snapshot.tags.extend(tags.clone());
    }
    Ok(done())
}

fn account(text: &str) -> Outcome<&str> {
    if text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(text);
    }
    let message = format!("Invalid user ID: \"{text}\"");
    Err(Refusal::new(400, "InvalidUserID.Malformed", message))
}

pub fn modify_snapshot(call: &Call, parameters: &Parameters) -> Outcome<String> {
    let id = parameters.required("SnapshotId")?;
    if parameters
        .get("Attribute")
        .is_some_and(|name| name != "createVolumePermission")
    {
        return Err(wrong_value("Attribute must be createVolumePermission"));
    }
    let mut accounts = parameters.list("UserId");
    if parameters
        .get("OperationType")
        .is_some_and(|kind| kind != "add")
    {
        return Err(wrong_value("Only OperationType add is known here"));
    }
    for prefix in parameters.groups("CreateVolumePermission.Add") {
        accounts.extend(parameters.get(&format!("{prefix}UserId")));
    }
    parameters.done()?;
    let mut world = call.shared.world.lock().unwrap();
    let snapshot = world.snapshots.get_mut(id);
    let snapshot = snapshot.filter(|snapshot| snapshot.region == call.region);
    let snapshot = snapshot.ok_or_else(|| no_snapshot(id))?;
    for one in accounts {
        snapshot.shared.insert(account(one)?.to_owned());
    }
    Ok(done())
}

pub fn modify_image(call: &Call, parameters: &Parameters) -> Outcome<String> {
    let id = parameters.required("ImageId")?;
    if parameters
        .get("Attribute")
        .is_some_and(|name| name != "launchPermission")
    {
        return Err(wrong_value("Attribute must be launchPermission"));
    }
    if parameters
        .get("OperationType")
        .is_some_and(|kind| kind != "add")
    {
        return Err(wrong_value("Only OperationType add is known here"));
    }
    let mut permissions = Vec::new();
    for prefix in parameters.groups("LaunchPermission.Add") {
        let get = |name: &str| parameters.get(&format!("{prefix}{name}"));
        if let Some(user) = get("UserId") {
            permissions.push(account(user)?.to_owned());
        }
        match get("Group") {
            None => {}
            Some("all") => permissions.push("group:all".to_owned()),
            Some(_) => return Err(wrong_value("Group must be all")),
        }
        for name in ["OrganizationArn", "OrganizationalUnitArn"] {
            permissions.extend(get(name).map(str::to_owned));
        }
    }
    for user in parameters.list("UserId") {
        permissions.push(account(user)?.to_owned());
    }
    permissions.extend(
        parameters
            .list("UserGroup")
            .iter()
            .map(|group| format!("group:{group}")),
    );
    for name in ["OrganizationArn", "OrganizationalUnitArn"] {
        permissions.extend(parameters.list(name).iter().map(|arn| (*arn).to_owned()));
    }
    parameters.done()?;
    if permissions.is_empty() {
        let message = "No attributes specified.";
        return Err(Refusal::new(400, "InvalidParameterCombination", message));
    }
    let mut world = call.shared.world.lock().unwrap();
    let image = image(call, &mut world, id)?;
    let is_public = permissions.iter().any(|one| one == "group:all");
    if is_public && image.mapping.encrypted {
        let message = "Images with encrypted volumes cannot be public";
        return Err(Refusal::new(400, "InvalidParameter", message));
    }
    image.launch_permissions.extend(permissions);
    Ok(done())
}

pub fn deprecate(call: &Call, parameters: &Parameters) -> Outcome<String> {
    let id = parameters.required("ImageId")?;
    let text = parameters.required("DeprecateAt")?;
    parameters.done()?;
    let at = time::parse(text);
    let at = at.ok_or_else(|| wrong_value(format!("DeprecateAt ({text}) is no time")))?;
    let latest = call.now + Duration::from_secs(10 * 366 * 86_400);
    if at <= call.now || at > latest {
        return Err(wrong_value("DeprecateAt must be within ten years"));
    }
    let mut world = call.shared.world.lock().unwrap();
    image(call, &mut world, id)?.deprecation = Some(time::iso(at));
    Ok(done())
}

pub fn protect(call: &Call, parameters: &Parameters, is_protected: bool) -> Outcome<String> {
    let id = parameters.required("ImageId")?;
    let cooldown = parameters.flag("WithCooldown")?.unwrap_or(false);
    parameters.done()?;
    if cooldown {
        return Err(wrong_value("WithCooldown is not known here"));
    }
    let mut world = call.shared.world.lock().unwrap();
    image(call, &mut world, id)?.is_protected = is_protected;
    let state = if is_protected {
        "enabled-without-cooldown"
    } else {
        "disabled"
    };
    Ok(xml::text("return", state))
}
