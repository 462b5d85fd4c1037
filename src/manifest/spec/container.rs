//! `Container`.

use i2kit_contract::{Port, Protocol};

use super::super::decode::{Field, Fields, Report};
use super::super::pod::Container;
use super::super::{fields, names};
use super::env::{env, env_from};
use super::known::Known;
use super::mounts::mounts;
use super::resources::resources;
use super::security::security;
use super::{Unique, one_of};

/// Reads a Pod's `containers`.
pub fn containers(report: &mut Report, spec: &Fields<'_>, known: &Known<'_>) -> Vec<Container> {
    let Some(list) = spec.require(report, "containers") else {
        return Vec::new();
    };
    let before = report.errors.len();
    let items = list.items(report);
    if items.is_empty() && report.errors.len() == before {
        list.refuse(report, "a Pod needs at least one container");
    }
    let mut unique = Unique::default();
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
            unique.check(report, &name, &text);
        }
        containers.push(container(report, &fields, known));
    }
    containers
}

fn container(report: &mut Report, fields: &Fields<'_>, known: &Known<'_>) -> Container {
    let security = security(report, fields);
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
        env_from: env_from(report, fields, known),
        env: env(report, fields, known),
        working_dir: fields
            .get_text("workingDir")
            .and_then(|f| f.checked(report, absolute)),
        ports: ports(report, fields),
        resources: resources(report, fields),
        mounts: mounts(report, fields, known, security.privileged),
        security,
    }
}

fn image_name(image: &str) -> Result<(), String> {
    if image.is_empty() {
        return Err("names no image".to_owned());
    }
    match image.contains(|c: char| c.is_whitespace() || c.is_control()) {
        true => Err("must not contain white space or control characters".to_owned()),
        false => Ok(()),
    }
}

fn absolute(path: &str) -> Result<(), String> {
    match path.starts_with('/') {
        true => Ok(()),
        false => Err("must be an absolute path".to_owned()),
    }
}

fn ports(report: &mut Report, container: &Fields<'_>) -> Vec<Port> {
    let mut unique = Unique::default();
    let mut ports = Vec::new();
    for item in container.items(report, "ports") {
        let Some(fields) = item.fields(report, &fields::PORT) else {
            continue;
        };
        let name = fields.get_text("name").and_then(|f| {
            let name = f.checked(report, names::port_name)?;
            unique.check(report, &f, &name);
            Some(name)
        });
        let number = fields
            .require(report, "containerPort")
            .and_then(|f| f.ranged(report, 1, u32::from(u16::MAX)))
            .and_then(|n| u16::try_from(n).ok());
        let protocol = protocol(report, &fields);
        if let Some(container_port) = number {
            ports.push(Port {
                name,
                container_port,
                protocol,
            });
        }
    }
    ports
}

fn protocol(report: &mut Report, port: &Fields<'_>) -> Protocol {
    let all = [
        ("TCP", Some(Protocol::Tcp)),
        ("UDP", Some(Protocol::Udp)),
        ("SCTP", None),
    ];
    match one_of(report, port, "protocol", &all) {
        Some(None) => {
            if let Some(field) = port.get("protocol") {
                field.refuse(report, "is not supported yet");
            }
            Protocol::Tcp
        }
        Some(Some(protocol)) => protocol,
        None => Protocol::Tcp,
    }
}
