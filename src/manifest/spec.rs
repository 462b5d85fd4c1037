//! `PodSpec` and what is in it.

use std::collections::{BTreeSet, HashMap};

use i2kit_contract::{Port, Protocol, RestartPolicy};

use super::decode::{Field, Fields, Report, closest};
use super::error::Position;
use super::pod::{Container, EnvVar, ResourceList, Resources, SecurityContext, VolumeMount};
use super::quantity::Quantity;
use super::{fields, names};

/// Highest user or group id that Kubernetes takes.
const MAX_ID: u32 = i32::MAX.unsigned_abs();

/// What a `PodSpec` says.
#[derive(Debug, Default)]
pub struct Spec {
    /// `hostname`.
    pub hostname: Option<String>,
    /// `restartPolicy`.
    pub restart_policy: RestartPolicy,
    /// `terminationGracePeriodSeconds`.
    pub grace_period: u32,
    /// `securityContext`.
    pub security: SecurityContext,
    /// Names of `volumes`.
    pub volumes: Vec<String>,
    /// `containers`.
    pub containers: Vec<Container>,
}

/// Refuses the second of two equal names.
#[derive(Default)]
struct Unique(HashMap<String, Position>);

impl Unique {
    fn check(&mut self, report: &mut Report, field: &Field<'_>, name: &str) {
        if let Some(first) = self.0.insert(name.to_owned(), field.position()) {
            field.refuse(
                report,
                format!("is used twice, first in line {}", first.line),
            );
        }
    }
}

/// Reads a `PodSpec`.
pub fn pod_spec(report: &mut Report, spec: &Field<'_>) -> Option<Spec> {
    let fields = spec.fields(report, &fields::POD_SPEC)?;
    let volumes = volumes(report, &fields);
    let known: BTreeSet<_> = volumes.iter().map(String::as_str).collect();
    let containers = containers(report, &fields, &known);
    Some(Spec {
        hostname: fields
            .get_text("hostname")
            .and_then(|f| f.checked(report, names::dns_label)),
        restart_policy: restart_policy(report, &fields),
        grace_period: fields
            .get("terminationGracePeriodSeconds")
            .map_or(Some(30), |f| f.ranged(report, 0, u32::MAX))
            .unwrap_or_default(),
        security: security(report, &fields, &fields::POD_SECURITY_CONTEXT),
        volumes,
        containers,
    })
}

fn restart_policy(report: &mut Report, fields: &Fields<'_>) -> RestartPolicy {
    let all = [
        ("Always", RestartPolicy::Always),
        ("OnFailure", RestartPolicy::OnFailure),
        ("Never", RestartPolicy::Never),
    ];
    one_of(report, fields, "restartPolicy", &all).unwrap_or_default()
}

fn one_of<T: Copy>(
    report: &mut Report,
    fields: &Fields<'_>,
    name: &str,
    all: &[(&str, T)],
) -> Option<T> {
    let field = fields.get_text(name)?;
    let text = field.string(report)?;
    let found = all.iter().find(|(name, _)| *name == text);
    if found.is_none() {
        let names: Vec<_> = all.iter().map(|(name, _)| *name).collect();
        field.refuse(report, format!("must be one of {}", names.join(", ")));
    }
    found.map(|(_, value)| *value)
}

fn security(
    report: &mut Report,
    fields: &Fields<'_>,
    schema: &'static fields::Schema,
) -> SecurityContext {
    let context = fields.get("securityContext");
    let Some(fields) = context.and_then(|f| f.fields(report, schema)) else {
        return SecurityContext::default();
    };
    let mut id = |name| fields.get(name).and_then(|f| f.ranged(report, 0, MAX_ID));
    SecurityContext {
        run_as_user: id("runAsUser"),
        run_as_group: id("runAsGroup"),
    }
}

/// Names of the volumes, in order.
fn volumes(report: &mut Report, spec: &Fields<'_>) -> Vec<String> {
    let mut unique = Unique::default();
    let mut volumes = Vec::new();
    for item in spec.items(report, "volumes") {
        let Some(fields) = item.fields(report, &fields::VOLUME) else {
            continue;
        };
        // A volume that names no source is an emptyDir (API server's default).
        if let Some(source) = fields.get("emptyDir") {
            source.fields(report, &fields::EMPTY_DIR);
        }
        let name = fields.require(report, "name");
        if let Some((field, name)) =
            name.and_then(|f| Some((f.clone(), f.checked(report, names::dns_label)?)))
        {
            unique.check(report, &field, &name);
            volumes.push(name);
        }
    }
    volumes
}

fn containers(report: &mut Report, spec: &Fields<'_>, volumes: &BTreeSet<&str>) -> Vec<Container> {
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
        containers.push(container(report, &fields, volumes));
    }
    containers
}

fn container(report: &mut Report, fields: &Fields<'_>, volumes: &BTreeSet<&str>) -> Container {
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
        env: env(report, fields),
        working_dir: fields
            .get_text("workingDir")
            .and_then(|f| f.checked(report, absolute)),
        ports: ports(report, fields),
        resources: resources(report, fields),
        security: security(report, fields, &fields::SECURITY_CONTEXT),
        mounts: mounts(report, fields, volumes),
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

fn env(report: &mut Report, container: &Fields<'_>) -> Vec<EnvVar> {
    let mut env = Vec::new();
    for item in container.items(report, "env") {
        let Some(fields) = item.fields(report, &fields::ENV_VAR) else {
            continue;
        };
        let name = fields
            .require(report, "name")
            .and_then(|f| f.checked(report, names::env_name));
        let value = fields
            .get("value")
            .map_or(Some(String::new()), |f| f.string(report));
        if let (Some(name), Some(value)) = (name, value) {
            env.push(EnvVar { name, value });
        }
    }
    env
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

fn resources(report: &mut Report, container: &Fields<'_>) -> Resources {
    let field = container.get("resources");
    let Some(fields) = field.and_then(|f| f.fields(report, &fields::RESOURCES)) else {
        return Resources::default();
    };
    let (most, wanted) = (fields.get("limits"), fields.get("requests"));
    let limits = resource_list(report, most.as_ref());
    let requests = resource_list(report, wanted.as_ref());
    let cpu = request(report, wanted.as_ref(), "cpu", limits.cpu, requests.cpu);
    let memory = request(
        report,
        wanted.as_ref(),
        "memory",
        limits.memory,
        requests.memory,
    );
    Resources {
        limits,
        requests: ResourceList { cpu, memory },
    }
}

fn resource_list(report: &mut Report, list: Option<&Field<'_>>) -> ResourceList {
    let Some(list) = list else {
        return ResourceList::default();
    };
    let mut amounts = ResourceList::default();
    for (name, position, mut field) in list.entries(report) {
        if matches!(name, "cpu" | "memory") {
            field.path = format!("{}.{name}", list.path);
        }
        match name {
            _ if field.node.is_null() => {}
            "cpu" => amounts.cpu = quantity(report, &field),
            "memory" => amounts.memory = memory(report, &field),
            _ if is_resource(name) => {
                report.error(position, format!("{} is not supported yet", field.path));
            }
            _ => unknown_resource(report, position, &field.path, name),
        }
    }
    amounts
}

/// Whether a container can have such a resource (`ValidateContainerResourceName`).
fn is_resource(name: &str) -> bool {
    let domain = name.contains('/') && names::qualified_name(name).is_ok();
    domain || name.starts_with("hugepages-") || fields::RESOURCES_KNOWN.contains(&name)
}

fn unknown_resource(report: &mut Report, position: Position, path: &str, name: &str) {
    let message = format!("{path} is no resource of a container");
    match closest(name, fields::RESOURCES_KNOWN.iter().copied()) {
        Some(known) => report.error_hint(position, message, format!("did you mean {known:?}?")),
        None => report.error(position, message),
    }
}

/// Bytes; a part of one is most likely a slip (`64m` is 0.064), so there is a note.
fn memory(report: &mut Report, field: &Field<'_>) -> Option<Quantity> {
    let amount = quantity(report, field)?;
    if !amount.is_whole() {
        let (path, bytes) = (&field.path, amount.value());
        let message = format!("{path}: not a whole number of bytes, {bytes} is taken");
        report.note(field.position(), message);
    }
    Some(amount)
}

/// A number or a string.
fn quantity(report: &mut Report, field: &Field<'_>) -> Option<Quantity> {
    let text = field.number_or_string(report)?;
    match Quantity::parse(&text) {
        Ok(quantity) if quantity.is_negative() => field.refuse(report, "must not be negative"),
        Ok(quantity) => return Some(quantity),
        Err(e) => field.refuse(report, e.to_string()),
    }
    None
}

/// The request, which is the limit when not set (API server's default) and at most that.
fn request(
    report: &mut Report,
    requests: Option<&Field<'_>>,
    name: &str,
    limit: Option<Quantity>,
    request: Option<Quantity>,
) -> Option<Quantity> {
    let (Some(most), Some(wanted)) = (limit, request) else {
        return request.or(limit);
    };
    if wanted > most {
        let entries = requests.map(|list| list.entries(&mut Report::default()));
        let mut entries = entries.unwrap_or_default().into_iter();
        if let Some((_, _, mut field)) = entries.find(|(known, ..)| *known == name) {
            field.path = format!("{}.{name}", requests.map_or("", |list| &list.path));
            field.refuse(report, format!("is more than the {name} limit"));
        }
    }
    request
}

fn mounts(
    report: &mut Report,
    container: &Fields<'_>,
    volumes: &BTreeSet<&str>,
) -> Vec<VolumeMount> {
    let mut paths = Unique::default();
    let mut mounts = Vec::new();
    for item in container.items(report, "volumeMounts") {
        let Some(fields) = item.fields(report, &fields::VOLUME_MOUNT) else {
            continue;
        };
        let volume = fields.require(report, "name").and_then(|f| {
            let name = f.string(report)?;
            if !volumes.contains(name.as_str()) {
                f.refuse(report, no_volume(volumes));
            }
            Some(name)
        });
        let path = fields.require(report, "mountPath").and_then(|f| {
            let path = mount_path(report, &f)?;
            paths.check(report, &f, &path);
            Some(path)
        });
        let read_only = fields
            .get("readOnly")
            .and_then(|f| f.boolean(report))
            .unwrap_or_default();
        if let (Some(volume), Some(path)) = (volume, path) {
            mounts.push(VolumeMount {
                volume,
                path,
                read_only,
            });
        }
    }
    mounts
}

/// Most volumes that a message lists.
const MAX_LISTED: usize = 10;

fn no_volume(volumes: &BTreeSet<&str>) -> String {
    let mut names: Vec<_> = volumes.iter().take(MAX_LISTED).copied().collect();
    match volumes.len() {
        0 => names.push("none"),
        len if len > MAX_LISTED => names.push("more"),
        _ => {}
    }
    format!("is no volume of the Pod, which has {}", names.join(", "))
}

/// Absolute and without empty or `.` components; the kubelet takes a relative one from `/`.
fn mount_path(report: &mut Report, field: &Field<'_>) -> Option<String> {
    let path = field.string(report)?;
    let parts: Vec<_> = path
        .split('/')
        .filter(|p| !p.is_empty() && *p != ".")
        .collect();
    let reason = if path.is_empty() {
        "is no path"
    } else if path.contains(':') {
        "must not contain ':'"
    } else if parts.contains(&"..") {
        "must not contain \"..\""
    } else if parts.is_empty() {
        "is the container's own root"
    } else {
        return Some(format!("/{}", parts.join("/")));
    };
    field.refuse(report, reason);
    None
}
