//! `PodSecurityContext` and `SecurityContext`.

use super::super::decode::{Fields, Report};
use super::super::fields;
use super::super::pod::SecurityContext;

/// Highest user or group id that Kubernetes takes.
const MAX_ID: u32 = i32::MAX.unsigned_abs();

/// Reads a `securityContext`.
pub fn security(
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
