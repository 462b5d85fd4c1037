//! `LabelSelector`.

use std::collections::BTreeMap;

use super::decode::{Field, Fields, Report};
use super::metadata;
use super::{fields, names};

/// The selector must be there and match the template's labels; `None` when these are wrong.
pub fn selector(
    report: &mut Report,
    deployment: &Fields<'_>,
    labels: Option<&BTreeMap<String, String>>,
) {
    let Some(field) = deployment.require(report, "selector") else {
        return;
    };
    let before = report.errors.len();
    let Some(fields) = field.fields(report, &fields::LABEL_SELECTOR) else {
        return;
    };
    let wanted = fields
        .get("matchLabels")
        .map(|f| metadata::labels(report, &f))
        .unwrap_or_default();
    let expressions = fields.items(report, "matchExpressions");
    let none = BTreeMap::new();
    let had = labels.unwrap_or(&none);
    let mut matches = wanted.iter().all(|(k, v)| had.get(k) == Some(v));
    for expression in &expressions {
        matches &= requirement(report, expression, had).unwrap_or(true);
    }
    if report.errors.len() > before {
        return;
    }
    if wanted.is_empty() && expressions.is_empty() {
        field.refuse(report, "must select the template's labels, but is empty");
    } else if labels.is_some() && !matches {
        field.refuse(
            report,
            "does not match the labels in spec.template.metadata.labels",
        );
    }
}

/// Whether one `matchExpressions` entry holds; `None` when it is wrong.
fn requirement(
    report: &mut Report,
    field: &Field<'_>,
    labels: &BTreeMap<String, String>,
) -> Option<bool> {
    let fields = field.fields(report, &fields::LABEL_REQUIREMENT)?;
    let key = fields
        .require(report, "key")?
        .checked(report, names::qualified_name)?;
    let operator = fields.require(report, "operator")?;
    let values = fields.strings(report, "values");
    let label = labels.get(&key);
    let listed = label.is_some_and(|label| values.contains(label));
    let (takes_values, holds) = match operator.string(report)?.as_str() {
        "In" => (true, listed),
        "NotIn" => (true, !listed),
        "Exists" => (false, label.is_some()),
        "DoesNotExist" => (false, label.is_none()),
        _ => {
            operator.refuse(report, "must be one of In, NotIn, Exists, DoesNotExist");
            return None;
        }
    };
    if takes_values == values.is_empty() {
        let message = if takes_values {
            "needs values"
        } else {
            "takes no values"
        };
        operator.refuse(report, message);
        return None;
    }
    Some(holds)
}
