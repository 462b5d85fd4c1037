//! `Container`.

use super::super::decode::{Field, Fields, Report};
use super::super::life::{Role, life};
use super::super::pod::Container;
use super::super::{fields, names};
use super::Unique;
use super::env::{env, env_from};
use super::known::Known;
use super::mounts::{devices, mounts};
use super::ports::ports;
use super::resources::resources;
use super::security::security;

/// Reads a Pod's `initContainers` and `containers`, whose names are unique together.
pub fn containers(
    report: &mut Report,
    spec: &Fields<'_>,
    known: &Known<'_>,
    grace_period: u32,
) -> (Vec<Container>, Vec<Container>) {
    let mut list = List {
        unique: Unique::default(),
        known,
        grace_period,
    };
    let items = spec.items(report, "initContainers");
    let init = list.read(report, items, Role::Init);
    let Some(field) = spec.require(report, "containers") else {
        return (init, Vec::new());
    };
    let before = report.errors.len();
    let items = field.items(report);
    if items.is_empty() && report.errors.len() == before {
        field.refuse(report, "a Pod needs at least one container");
    }
    (init, list.read(report, items, Role::Main))
}

/// What decoding a container needs to know of the Pod.
struct List<'a> {
    unique: Unique,
    known: &'a Known<'a>,
    grace_period: u32,
}

impl List<'_> {
    fn read(&mut self, report: &mut Report, items: Vec<Field<'_>>, role: Role) -> Vec<Container> {
        let mut containers = Vec::new();
        for item in items {
            let Some(fields) = item.fields(report, &fields::CONTAINER) else {
                continue;
            };
            let text = |f: &Field<'_>| f.string(&mut Report::default());
            if let Some((name, text)) = fields
                .get("name")
                .and_then(|f| Some((f.clone(), text(&f)?)))
            {
                self.unique.check(report, &name, &text);
            }
            containers.push(self.container(report, &fields, role));
        }
        containers
    }

    fn container(&self, report: &mut Report, fields: &Fields<'_>, role: Role) -> Container {
        let ports = ports(report, fields);
        let (life, stop_signal) = life(report, fields, role, &ports, self.grace_period);
        let security = security(report, fields);
        let mounts = mounts(report, fields, self.known, security.privileged);
        Container {
            name: fields
                .require(report, "name")
                .and_then(|f| f.checked(report, names::dns_label))
                .unwrap_or_default(),
            image: fields
                .require(report, "image")
                .and_then(|f| f.checked(report, image_name))
                .unwrap_or_default(),
            command: fields.strings(report, "command"),
            args: fields.strings(report, "args"),
            env_from: env_from(report, fields, self.known),
            env: env(report, fields, self.known),
            working_dir: fields
                .get_text("workingDir")
                .and_then(|f| f.checked(report, absolute)),
            ports,
            resources: resources(report, fields),
            devices: devices(report, fields, self.known, &mounts),
            mounts,
            security,
            life,
            stop_signal,
        }
    }
}

/// A word that names an image.
///
/// # Errors
/// It is none.
pub fn image_name(image: &str) -> Result<(), String> {
    if image.is_empty() {
        return Err("names no image".to_owned());
    }
    match image.contains(|c: char| c.is_whitespace() || c.is_control()) {
        true => Err("must not contain white space or control characters".to_owned()),
        false => Ok(()),
    }
}

/// A path that begins at the root.
///
/// # Errors
/// It does not.
pub fn absolute(path: &str) -> Result<(), String> {
    match path.starts_with('/') {
        true => Ok(()),
        false => Err("must be an absolute path".to_owned()),
    }
}
