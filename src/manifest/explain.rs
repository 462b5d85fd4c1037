//! The table of every field and what becomes of it, from the same tables that decode.

use serde::Serialize;

use super::fields::{self, Fate, Schema};
use super::{life, probe};

/// Where each type stands in a manifest, from a Pod's or a Deployment's top level.
const PLACES: &[(&str, &Schema)] = &[
    ("", &fields::POD),
    ("metadata", &fields::METADATA),
    ("spec", &fields::POD_SPEC),
    ("spec.containers[]", &fields::CONTAINER),
    ("spec.containers[].env[]", &fields::ENV_VAR),
    ("spec.containers[].env[].valueFrom", &fields::ENV_VAR_SOURCE),
    (
        "spec.containers[].env[].valueFrom.configMapKeyRef",
        &fields::CONFIG_MAP_KEY,
    ),
    (
        "spec.containers[].env[].valueFrom.secretKeyRef",
        &fields::SECRET_KEY,
    ),
    (
        "spec.containers[].env[].valueFrom.fieldRef",
        &fields::FIELD_REF,
    ),
    (
        "spec.containers[].env[].valueFrom.resourceFieldRef",
        &fields::RESOURCE_REF,
    ),
    ("spec.containers[].envFrom[]", &fields::ENV_FROM),
    (
        "spec.containers[].envFrom[].configMapRef",
        &fields::CONFIG_MAP_ENV,
    ),
    ("spec.containers[].envFrom[].secretRef", &fields::SECRET_ENV),
    ("spec.containers[].lifecycle", &life::LIFECYCLE),
    ("spec.containers[].lifecycle.postStart", &life::HANDLER),
    ("spec.containers[].lifecycle.postStart.exec", &probe::EXEC),
    (
        "spec.containers[].lifecycle.postStart.httpGet",
        &probe::HTTP_GET,
    ),
    (
        "spec.containers[].lifecycle.postStart.httpGet.httpHeaders[]",
        &probe::HTTP_HEADER,
    ),
    ("spec.containers[].lifecycle.postStart.sleep", &life::SLEEP),
    ("spec.containers[].lifecycle.preStop", &life::HANDLER),
    ("spec.containers[].lifecycle.preStop.exec", &probe::EXEC),
    (
        "spec.containers[].lifecycle.preStop.httpGet",
        &probe::HTTP_GET,
    ),
    (
        "spec.containers[].lifecycle.preStop.httpGet.httpHeaders[]",
        &probe::HTTP_HEADER,
    ),
    ("spec.containers[].lifecycle.preStop.sleep", &life::SLEEP),
    ("spec.containers[].livenessProbe", &probe::PROBE),
    ("spec.containers[].livenessProbe.exec", &probe::EXEC),
    ("spec.containers[].livenessProbe.grpc", &probe::GRPC),
    ("spec.containers[].livenessProbe.httpGet", &probe::HTTP_GET),
    (
        "spec.containers[].livenessProbe.httpGet.httpHeaders[]",
        &probe::HTTP_HEADER,
    ),
    (
        "spec.containers[].livenessProbe.tcpSocket",
        &probe::TCP_SOCKET,
    ),
    ("spec.containers[].readinessProbe", &probe::PROBE),
    ("spec.containers[].readinessProbe.exec", &probe::EXEC),
    ("spec.containers[].readinessProbe.grpc", &probe::GRPC),
    ("spec.containers[].readinessProbe.httpGet", &probe::HTTP_GET),
    (
        "spec.containers[].readinessProbe.httpGet.httpHeaders[]",
        &probe::HTTP_HEADER,
    ),
    (
        "spec.containers[].readinessProbe.tcpSocket",
        &probe::TCP_SOCKET,
    ),
    ("spec.containers[].startupProbe", &probe::PROBE),
    ("spec.containers[].startupProbe.exec", &probe::EXEC),
    ("spec.containers[].startupProbe.grpc", &probe::GRPC),
    ("spec.containers[].startupProbe.httpGet", &probe::HTTP_GET),
    (
        "spec.containers[].startupProbe.httpGet.httpHeaders[]",
        &probe::HTTP_HEADER,
    ),
    (
        "spec.containers[].startupProbe.tcpSocket",
        &probe::TCP_SOCKET,
    ),
    ("spec.containers[].ports[]", &fields::PORT),
    ("spec.containers[].resources", &fields::RESOURCES),
    (
        "spec.containers[].restartPolicyRules[]",
        &life::RESTART_RULE,
    ),
    (
        "spec.containers[].restartPolicyRules[].exitCodes",
        &life::EXIT_CODES,
    ),
    (
        "spec.containers[].securityContext",
        &fields::SECURITY_CONTEXT,
    ),
    (
        "spec.containers[].securityContext.capabilities",
        &fields::CAPABILITIES,
    ),
    (
        "spec.containers[].securityContext.seccompProfile",
        &fields::SECCOMP_PROFILE,
    ),
    (
        "spec.containers[].securityContext.appArmorProfile",
        &fields::APP_ARMOR_PROFILE,
    ),
    ("spec.containers[].volumeMounts[]", &fields::VOLUME_MOUNT),
    ("spec.containers[].volumeDevices[]", &fields::VOLUME_DEVICE),
    ("spec.dnsConfig", &fields::DNS_CONFIG),
    ("spec.dnsConfig.options[]", &fields::DNS_OPTION),
    ("spec.hostAliases[]", &fields::HOST_ALIAS),
    ("spec.os", &fields::POD_OS),
    ("spec.resources", &fields::RESOURCES),
    ("spec.securityContext", &fields::POD_SECURITY_CONTEXT),
    ("spec.securityContext.sysctls[]", &fields::SYSCTL),
    ("spec.volumes[]", &fields::VOLUME),
    ("spec.volumes[].configMap", &fields::CONFIG_MAP_VOLUME),
    ("spec.volumes[].configMap.items[]", &fields::KEY_TO_PATH),
    ("spec.volumes[].downwardAPI", &fields::DOWNWARD_VOLUME),
    ("spec.volumes[].downwardAPI.items[]", &fields::DOWNWARD_FILE),
    ("spec.volumes[].emptyDir", &fields::EMPTY_DIR),
    ("spec.volumes[].hostPath", &fields::HOST_PATH),
    (
        "spec.volumes[].persistentVolumeClaim",
        &fields::CLAIM_VOLUME,
    ),
    ("spec.volumes[].image", &fields::IMAGE_VOLUME),
    ("spec.volumes[].projected", &fields::PROJECTED_VOLUME),
    (
        "spec.volumes[].projected.sources[]",
        &fields::VOLUME_PROJECTION,
    ),
    (
        "spec.volumes[].projected.sources[].configMap",
        &fields::CONFIG_MAP_PROJECTION,
    ),
    (
        "spec.volumes[].projected.sources[].downwardAPI",
        &fields::DOWNWARD_PROJECTION,
    ),
    (
        "spec.volumes[].projected.sources[].secret",
        &fields::SECRET_PROJECTION,
    ),
    ("spec.volumes[].secret", &fields::SECRET_VOLUME),
    ("Deployment.spec", &fields::DEPLOYMENT_SPEC),
    ("Deployment.spec.selector", &fields::LABEL_SELECTOR),
    (
        "Deployment.spec.selector.matchExpressions[]",
        &fields::LABEL_REQUIREMENT,
    ),
    ("Deployment.spec.template", &fields::POD_TEMPLATE),
    ("DaemonSet.spec", &fields::DAEMON_SET_SPEC),
    ("ReplicaSet.spec", &fields::REPLICA_SET_SPEC),
    ("StatefulSet.spec", &fields::STATEFUL_SET_SPEC),
    ("Job.spec", &fields::JOB_SPEC),
    ("Service", &fields::SERVICE),
    ("Service.spec", &fields::SERVICE_SPEC),
    ("Service.spec.ports[]", &fields::SERVICE_PORT),
    ("ConfigMap", &fields::CONFIG_MAP),
    ("Secret", &fields::SECRET),
    ("PersistentVolumeClaim", &fields::CLAIM),
    ("PersistentVolumeClaim.spec", &fields::CLAIM_SPEC),
];

/// One field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Row {
    /// The way to it: `spec.containers[].image`.
    pub field: String,
    /// The API's type that has it.
    pub r#type: &'static str,
    /// What becomes of it.
    pub fate: &'static str,
    /// Why, or which values are taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remark: Option<String>,
}

/// Every field whose path or a whole word of it is `wanted`, or all.
#[must_use]
pub fn explain(wanted: Option<&str>) -> Vec<Row> {
    let rows = PLACES
        .iter()
        .flat_map(|(place, schema)| rows(place, schema));
    rows.filter(|row| wanted.is_none_or(|wanted| concerns(&row.field, wanted)))
        .collect()
}

/// By its whole path, with `[]` or without, by the start of one, or by its own name.
fn concerns(field: &str, wanted: &str) -> bool {
    let field = field.replace("[]", "");
    let wanted = wanted.replace("[]", "");
    let below = field.strip_prefix(wanted.as_str());
    let last = field.rsplit('.').next();
    below.is_some_and(|rest| rest.is_empty() || rest.starts_with('.')) || last == Some(&wanted)
}

fn rows(place: &str, schema: &'static Schema) -> Vec<Row> {
    let mut names: Vec<_> = schema.names().collect();
    names.sort_unstable();
    let row = |name: &str| {
        let (fate, remark) = told(schema.fate(name)?);
        let field = match place {
            "" => name.to_owned(),
            place => format!("{place}.{name}"),
        };
        Some(Row {
            field,
            r#type: schema.name,
            fate,
            remark,
        })
    };
    names.into_iter().filter_map(row).collect()
}

fn told(fate: Fate) -> (&'static str, Option<String>) {
    match fate {
        Fate::Honoured => ("honoured", None),
        Fate::Only(values) => {
            let values = values.join(", ");
            (
                "accepted",
                Some(format!(
                    "only {values}, the rest is behind a feature gate in Kubernetes"
                )),
            )
        }
        Fate::Bool(value, why) => ("accepted", Some(format!("only {value}, {why}"))),
        Fate::Noted(why) => ("noted", Some(why.to_owned())),
        Fate::Refused(why) => ("refused", Some(why.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_by_path_start_and_name() {
        let found = |wanted| {
            let rows = explain(Some(wanted));
            rows.into_iter().map(|row| row.field).collect::<Vec<_>>()
        };
        assert_eq!(found("spec.containers.image"), ["spec.containers[].image"]);
        assert_eq!(
            found("spec.dnsConfig.options"),
            [
                "spec.dnsConfig.options",
                "spec.dnsConfig.options[].name",
                "spec.dnsConfig.options[].value"
            ]
        );
        assert_eq!(found("workingDir"), ["spec.containers[].workingDir"]);
        assert!(found("nosuch").is_empty());
        let image = explain(Some("imagePullPolicy")).remove(0);
        assert_eq!((image.fate, image.r#type), ("noted", "Container"));
    }

    #[test]
    fn no_field_has_two_rows() {
        let mut fields: Vec<_> = explain(None).into_iter().map(|row| row.field).collect();
        let all = fields.len();
        fields.sort_unstable();
        fields.dedup();
        assert_eq!(fields.len(), all);
        assert!(all > 200, "{all}");
    }
}
