//! `ResourceRequirements`.

use super::super::decode::{Field, Fields, Report, closest};
use super::super::error::Position;
use super::super::pod::{ResourceList, Resources};
use super::super::quantity::Quantity;
use super::super::{fields, names};

/// Sizes of huge pages on x86-64 and, with pages of 4 KiB, arm64.
const HUGE_PAGES: [u64; 2] = [2 << 20, 1 << 30];

/// Reads a container's `resources`.
pub fn resources(report: &mut Report, container: &Fields<'_>) -> Resources {
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
    let ephemeral_storage = request(
        report,
        wanted.as_ref(),
        "ephemeral-storage",
        limits.ephemeral_storage,
        requests.ephemeral_storage,
    );
    huge_pages(report, fields.get("limits").as_ref(), &limits, &requests);
    Resources {
        requests: ResourceList {
            cpu,
            memory,
            ephemeral_storage,
            huge_pages: limits.huge_pages.clone(),
        },
        limits,
    }
}

fn resource_list(report: &mut Report, list: Option<&Field<'_>>) -> ResourceList {
    let Some(list) = list else {
        return ResourceList::default();
    };
    let mut amounts = ResourceList::default();
    for (name, position, mut field) in list.entries(report) {
        if fields::RESOURCES_KNOWN.contains(&name) {
            field.path = format!("{}.{name}", list.path);
        }
        match name {
            _ if field.node.is_null() => {}
            "cpu" => amounts.cpu = quantity(report, &field),
            "memory" => amounts.memory = memory(report, &field),
            "ephemeral-storage" => amounts.ephemeral_storage = memory(report, &field),
            _ if name.starts_with("hugepages-") => {
                amounts
                    .huge_pages
                    .extend(pages(report, position, name, &field));
            }
            _ if is_extended(name) => {
                report.error(position, format!("{} {}", field.path, fields::NO_DEVICE));
            }
            _ => unknown_resource(report, position, &field.path, name),
        }
    }
    amounts
}

/// Whether it is a resource that a device plugin offers, such as `nvidia.com/gpu`.
fn is_extended(name: &str) -> bool {
    name.contains('/') && names::qualified_name(name).is_ok()
}

/// Reads a Pod's `resources`.
pub fn pod_resources(report: &mut Report, spec: &Fields<'_>) -> Resources {
    let all = resources(report, spec);
    let is_other =
        |list: &ResourceList| list.ephemeral_storage.is_some() || !list.huge_pages.is_empty();
    if (is_other(&all.limits) || is_other(&all.requests))
        && let Some(field) = spec.get("resources")
    {
        field.refuse(
            report,
            "can have cpu and memory, the rest belongs in the containers",
        );
    }
    all
}

fn unknown_resource(report: &mut Report, position: Position, path: &str, name: &str) {
    let message = format!("{path} is no resource of a container");
    match closest(name, fields::RESOURCES_KNOWN.iter().copied()) {
        Some(known) => report.error_hint(position, message, format!("did you mean {known:?}?")),
        None => report.error(position, message),
    }
}

/// The size of a page and how many bytes of such pages.
fn pages(
    report: &mut Report,
    position: Position,
    name: &str,
    field: &Field<'_>,
) -> Option<(u64, u64)> {
    let Some(size) = name.strip_prefix("hugepages-").and_then(page_size) else {
        report.error(position, format!("{}: pages are of 2Mi or 1Gi", field.path));
        return None;
    };
    let bytes = bytes(report, field)?;
    if !bytes.is_multiple_of(size) {
        field.refuse(report, "must be a multiple of the page's size");
        return None;
    }
    Some((size, bytes))
}

/// The bytes of a huge page, written as a quantity.
pub fn page_size(text: &str) -> Option<u64> {
    let size = Quantity::parse(text).ok().filter(|size| size.is_whole())?;
    Some(size.value()).filter(|size| HUGE_PAGES.contains(size))
}

/// Huge pages cannot be overcommitted: a request is the limit, and needs one.
fn huge_pages(
    report: &mut Report,
    field: Option<&Field<'_>>,
    limits: &ResourceList,
    requests: &ResourceList,
) {
    for (size, bytes) in &requests.huge_pages {
        if limits.huge_pages.get(size) != Some(bytes)
            && let Some(field) = field
        {
            field.refuse(report, "must have the huge pages of requests");
        }
    }
}

/// A whole number of bytes.
pub fn bytes(report: &mut Report, field: &Field<'_>) -> Option<u64> {
    Some(memory(report, field)?.value())
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
