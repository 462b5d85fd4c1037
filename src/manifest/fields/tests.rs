//! The tables against the API's.

use std::collections::BTreeSet;

use super::super::{life, probe};
use super::*;

#[test]
fn the_tables_have_the_fields_of_the_kubernetes_api_and_no_others() {
    let tables = [
        ("Pod", &POD),
        ("Deployment", &DEPLOYMENT),
        ("List", &LIST),
        ("ObjectMeta", &METADATA),
        ("DeploymentSpec", &DEPLOYMENT_SPEC),
        ("LabelSelector", &LABEL_SELECTOR),
        ("LabelSelectorRequirement", &LABEL_REQUIREMENT),
        ("PodTemplateSpec", &POD_TEMPLATE),
        ("PodSpec", &POD_SPEC),
        ("Container", &CONTAINER),
        ("EnvVar", &ENV_VAR),
        ("ContainerPort", &PORT),
        ("ResourceRequirements", &RESOURCES),
        ("Probe", &probe::PROBE),
        ("ExecAction", &probe::EXEC),
        ("HTTPGetAction", &probe::HTTP_GET),
        ("HTTPHeader", &probe::HTTP_HEADER),
        ("TCPSocketAction", &probe::TCP_SOCKET),
        ("GRPCAction", &probe::GRPC),
        ("Lifecycle", &life::LIFECYCLE),
        ("LifecycleHandler", &life::HANDLER),
        ("SleepAction", &life::SLEEP),
        ("ContainerRestartRule", &life::RESTART_RULE),
        ("ContainerRestartRuleOnExitCodes", &life::EXIT_CODES),
        ("SecurityContext", &SECURITY_CONTEXT),
        ("PodSecurityContext", &POD_SECURITY_CONTEXT),
        ("VolumeMount", &VOLUME_MOUNT),
        ("Volume", &VOLUME),
        ("EmptyDirVolumeSource", &EMPTY_DIR),
        ("EnvVarSource", &ENV_VAR_SOURCE),
        ("ObjectFieldSelector", &FIELD_REF),
        ("ResourceFieldSelector", &RESOURCE_REF),
        ("ConfigMapKeySelector", &CONFIG_MAP_KEY),
        ("SecretKeySelector", &SECRET_KEY),
        ("EnvFromSource", &ENV_FROM),
        ("ConfigMapEnvSource", &CONFIG_MAP_ENV),
        ("SecretEnvSource", &SECRET_ENV),
        ("ConfigMapVolumeSource", &CONFIG_MAP_VOLUME),
        ("SecretVolumeSource", &SECRET_VOLUME),
        ("DownwardAPIVolumeSource", &DOWNWARD_VOLUME),
        ("ProjectedVolumeSource", &PROJECTED_VOLUME),
        ("VolumeProjection", &VOLUME_PROJECTION),
        ("ConfigMapProjection", &CONFIG_MAP_PROJECTION),
        ("SecretProjection", &SECRET_PROJECTION),
        ("DownwardAPIProjection", &DOWNWARD_PROJECTION),
        ("KeyToPath", &KEY_TO_PATH),
        ("DownwardAPIVolumeFile", &DOWNWARD_FILE),
        ("HostPathVolumeSource", &HOST_PATH),
        ("PersistentVolumeClaimVolumeSource", &CLAIM_VOLUME),
        ("Capabilities", &CAPABILITIES),
        ("SeccompProfile", &SECCOMP_PROFILE),
        ("AppArmorProfile", &APP_ARMOR_PROFILE),
        ("Sysctl", &SYSCTL),
        ("HostAlias", &HOST_ALIAS),
        ("PodDNSConfig", &DNS_CONFIG),
        ("PodDNSConfigOption", &DNS_OPTION),
        ("ConfigMap", &CONFIG_MAP),
        ("Secret", &SECRET),
        ("PersistentVolumeClaim", &CLAIM),
        ("PersistentVolumeClaimSpec", &CLAIM_SPEC),
        ("DaemonSetSpec", &DAEMON_SET_SPEC),
        ("ReplicaSetSpec", &REPLICA_SET_SPEC),
        ("StatefulSetSpec", &STATEFUL_SET_SPEC),
        ("JobSpec", &JOB_SPEC),
        ("PodOS", &POD_OS),
        ("VolumeDevice", &VOLUME_DEVICE),
        ("ImageVolumeSource", &IMAGE_VOLUME),
        ("Service", &SERVICE),
        ("ServiceSpec", &SERVICE_SPEC),
        ("ServicePort", &SERVICE_PORT),
    ];
    let api = include_str!("../../../fixtures/kubernetes/fields.json");
    let api: Vec<(String, BTreeSet<String>)> = serde_json::from_str(api).unwrap();
    assert_eq!(api.len(), tables.len());
    for ((name, fields), (ours, table)) in api.iter().zip(tables) {
        assert_eq!(name, ours);
        let names: Vec<_> = table.names().map(str::to_owned).collect();
        let unique: BTreeSet<_> = names.iter().cloned().collect();
        assert_eq!(names.len(), unique.len(), "{name}");
        assert_eq!(&unique, fields, "{name}");
    }
}
