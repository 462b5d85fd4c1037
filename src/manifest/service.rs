//! `Service`: accepted, since it stands beside most Deployments; who leads to a VM is for who runs
//! it.

use super::decode::{Field, Report};
use super::fields;
use super::metadata::required_metadata;

/// Checks a Service, and notes that it changes nothing. A port of nodes is refused: there are none.
pub fn service(report: &mut Report, object: &Field<'_>) {
    // One note says what one for each field would.
    let mut own = Report::new(&report.file);
    if let Some(fields) = object.fields(&mut own, &fields::SERVICE) {
        required_metadata(&mut own, &fields);
        if let Some(spec) = fields.get("spec") {
            self::spec(&mut own, &spec);
        }
    }
    report.errors.append(&mut own.errors);
    let message = "Service: no part of the VM; i2kit run -p leads to its ports";
    report.note(object.position(), message);
}

fn spec(report: &mut Report, spec: &Field<'_>) {
    let Some(fields) = spec.fields(report, &fields::SERVICE_SPEC) else {
        return;
    };
    for port in fields.items(report, "ports") {
        port.fields(report, &fields::SERVICE_PORT);
    }
    if let Some(kind) = fields.get_text("type")
        && let Some(text) = kind.string(report)
    {
        match text.as_str() {
            "ClusterIP" | "LoadBalancer" | "ExternalName" => {}
            "NodePort" => kind.refuse(report, fields::NO_NODES),
            _ => kind.refuse(report, "must be ClusterIP, LoadBalancer or ExternalName"),
        }
    }
}
