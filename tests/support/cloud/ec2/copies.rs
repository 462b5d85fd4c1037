//! Copies to this region.

use std::collections::BTreeSet;
use std::time::Instant;

use super::super::answer::{Outcome, Refusal};
use super::super::call::Call;
use super::super::ebs::kms_key;
use super::super::world::{Change, Image, Snapshot, Token, World};
use super::super::xml;
use super::parameters::Parameters;
use super::{no_image, no_snapshot, register, tag_set};

/// What a copy is encrypted with.
struct Encryption {
    encrypted: bool,
    kms_key: Option<String>,
}

impl Encryption {
    fn of(parameters: &Parameters) -> Outcome<Self> {
        let encrypted = parameters.flag("Encrypted")?.unwrap_or(false);
        let kms_key = parameters.get("KmsKeyId").map(str::to_owned);
        if kms_key.is_some() && !encrypted {
            let message = "KmsKeyId needs Encrypted";
            return Err(Refusal::new(400, "InvalidParameterDependency", message));
        }
        Ok(Self { encrypted, kms_key })
    }
}

pub fn copy_snapshot(call: &Call, parameters: &Parameters) -> Outcome<String> {
    let from_region = parameters.required("SourceRegion")?;
    let from = parameters.required("SourceSnapshotId")?;
    let description = parameters.get("Description").unwrap_or_default();
    let encryption = Encryption::of(parameters)?;
    let mut tags = parameters.tag_specification(&["snapshot"])?;
    // What an SDK adds of itself.
    parameters.get("DestinationRegion");
    parameters.get("PresignedUrl");
    parameters.done()?;
    let mut world = call.shared.world.lock().unwrap();
    let id = copy(call, &mut world, from_region, from, &encryption)?;
    let copy = world.snapshots.get_mut(&id).unwrap();
    description.clone_into(&mut copy.description);
    copy.tags = tags.remove("snapshot").unwrap_or_default();
    Ok(xml::text("snapshotId", &copy.id) + &tag_set(&copy.tags))
}

fn copy(
    call: &Call,
    world: &mut World,
    from_region: &str,
    from: &str,
    encryption: &Encryption,
) -> Outcome<String> {
    let source = world.snapshots.get(from).cloned();
    let source = source.filter(|source| source.region == from_region);
    let source = source.ok_or_else(|| no_snapshot(from))?;
    if !source.is_usable(&call.settings) {
        let message = format!("Snapshot {from} is not completed");
        return Err(Refusal::new(400, "IncorrectState", message));
    }
    let id = world.id("snap");
    let encrypted = source.encrypted || encryption.encrypted;
    let copy = Snapshot {
        id: id.clone(),
        region: call.region.clone(),
        parent: None,
        lineage: id.clone(),
        encrypted,
        kms_key: encrypted.then(|| kms_key(call, encryption.kms_key.as_deref())),
        start_time: call.now,
        created: Instant::now(),
        inherited: source.blocks(),
        put: Default::default(),
        change: Some(Change::after(call.settings.copying, None)),
        shared: BTreeSet::new(),
        asked: 0,
        ..source
    };
    world.snapshots.insert(id.clone(), copy);
    Ok(id)
}

pub fn copy_image(call: &Call, parameters: &Parameters) -> Outcome<String> {
    let name = register::name(parameters)?;
    let from_region = parameters.required("SourceRegion")?;
    let from = parameters.required("SourceImageId")?;
    let description = parameters.get("Description").unwrap_or_default();
    let encryption = Encryption::of(parameters)?;
    let mut tags = parameters.tag_specification(&["image", "snapshot"])?;
    let with_tags = parameters.flag("CopyImageTags")?.unwrap_or(false);
    let token = parameters.get("ClientToken").unwrap_or_default();
    parameters.done()?;
    let mut world = call.shared.world.lock().unwrap();
    let key = (call.region.clone(), token.to_owned());
    let asked = format!("copy of {from} as {name}");
    if let Some(known) = world.tokens.get(&key).filter(|_| !token.is_empty()) {
        if known.parameters != asked {
            let message = "The client token was used with other parameters";
            return Err(Refusal::new(400, "IdempotentParameterMismatch", message));
        }
        return Ok(xml::text("imageId", &known.id));
    }
    let source = world.images.get(from).cloned();
    let source = source.filter(|source| source.region == from_region);
    let source = source.ok_or_else(|| no_image(from))?;
    if source.state() != "available" {
        let message = format!("Image {from} is not available");
        return Err(Refusal::new(400, "InvalidAMIID.Unavailable", message));
    }
    let snapshot = copy(
        call,
        &mut world,
        from_region,
        &source.mapping.snapshot,
        &encryption,
    )?;
    let id = world.id("ami");
    let mut image = copied(call, source, &id, &snapshot);
    name.clone_into(&mut image.name);
    description.clone_into(&mut image.description);
    if !with_tags {
        image.tags.clear();
    }
    image.tags.extend(tags.remove("image").unwrap_or_default());
    let copy = world.snapshots.get_mut(&snapshot).unwrap();
    copy.tags = tags.remove("snapshot").unwrap_or_default();
    copy.description = format!("Copied for DestinationAmi {id} from SourceAmi {from}");
    image.mapping.encrypted = copy.encrypted;
    world.images.insert(id.clone(), image);
    let answered = Token {
        parameters: asked,
        id: id.clone(),
    };
    world.tokens.insert(key, answered);
    Ok(xml::text("imageId", id))
}

fn copied(call: &Call, source: Image, id: &str, snapshot: &str) -> Image {
    let mut change = register::change(call);
    change.at += call.settings.copying;
    let mut copy = Image {
        id: id.to_owned(),
        region: call.region.clone(),
        creation_date: call.now,
        created: Instant::now(),
        change,
        launch_permissions: BTreeSet::new(),
        deprecation: None,
        is_protected: false,
        asked: 0,
        ..source
    };
    snapshot.clone_into(&mut copy.mapping.snapshot);
    copy
}
