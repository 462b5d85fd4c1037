//! The table that `i2kit explain` prints, against what a Pod in a VM is expected to honour: all
//! that `podman kube play` does and what it leaves out, bar what has no meaning in a VM.

use std::collections::BTreeMap;

use i2kit::manifest::{Row, explain};

/// Where fields stand, and what becomes of them.
const EXPECTED: &[(&str, &str, &str)] = &[
    (
        "spec",
        "honoured",
        "activeDeadlineSeconds containers dnsConfig dnsPolicy hostAliases hostPID hostname \
         initContainers restartPolicy securityContext serviceAccountName setHostnameAsFQDN \
         shareProcessNamespace subdomain terminationGracePeriodSeconds volumes",
    ),
    (
        "spec",
        "noted",
        "affinity enableServiceLinks hostIPC hostNetwork imagePullSecrets nodeSelector \
         preemptionPolicy priority priorityClassName runtimeClassName schedulerName tolerations \
         topologySpreadConstraints",
    ),
    ("spec", "refused", "readinessGates"),
    (
        "spec.securityContext",
        "honoured",
        "fsGroup fsGroupChangePolicy runAsGroup runAsNonRoot runAsUser seccompProfile \
         supplementalGroups sysctls",
    ),
    ("spec.securityContext", "noted", "seLinuxOptions"),
    ("spec.securityContext", "refused", "windowsOptions"),
    (
        "spec.containers[]",
        "honoured",
        "args command env envFrom image lifecycle livenessProbe name ports readinessProbe \
         resources securityContext startupProbe stdin stdinOnce terminationMessagePath \
         terminationMessagePolicy tty volumeDevices volumeMounts workingDir",
    ),
    ("spec.containers[]", "noted", "imagePullPolicy"),
    (
        "spec.containers[].env[]",
        "honoured",
        "name value valueFrom",
    ),
    (
        "spec.containers[].env[].valueFrom",
        "honoured",
        "configMapKeyRef fieldRef resourceFieldRef secretKeyRef",
    ),
    (
        "spec.containers[].envFrom[]",
        "honoured",
        "configMapRef prefix secretRef",
    ),
    (
        "spec.containers[].volumeMounts[]",
        "honoured",
        "mountPath mountPropagation name readOnly subPath subPathExpr",
    ),
    ("spec.containers[].resources", "honoured", "limits requests"),
    (
        "spec.containers[].lifecycle",
        "honoured",
        "postStart preStop stopSignal",
    ),
    (
        "spec.containers[].securityContext",
        "honoured",
        "allowPrivilegeEscalation capabilities privileged procMount readOnlyRootFilesystem \
         runAsGroup runAsNonRoot runAsUser seccompProfile",
    ),
    (
        "spec.containers[].securityContext",
        "noted",
        "seLinuxOptions",
    ),
    (
        "spec.volumes[]",
        "honoured",
        "configMap downwardAPI emptyDir hostPath image persistentVolumeClaim projected secret",
    ),
    ("spec.volumes[]", "refused", "csi"),
    (
        "PersistentVolumeClaim.spec",
        "honoured",
        "accessModes volumeMode",
    ),
    (
        "PersistentVolumeClaim.spec",
        "noted",
        "resources selector storageClassName volumeName",
    ),
    ("Deployment.spec", "honoured", "replicas selector template"),
    (
        "Deployment.spec",
        "noted",
        "minReadySeconds paused progressDeadlineSeconds revisionHistoryLimit strategy",
    ),
    ("ConfigMap", "honoured", "binaryData data"),
    ("ConfigMap", "noted", "immutable"),
    ("Service.spec.ports[]", "refused", "nodePort"),
];

#[test]
fn what_a_pod_in_a_vm_must_honour_is_honoured() {
    let table: BTreeMap<String, Row> = explain(None)
        .into_iter()
        .map(|row| (row.field.clone(), row))
        .collect();
    let mut wrong = String::new();
    for (place, fate, names) in EXPECTED {
        for name in names.split_whitespace() {
            let field = format!("{place}.{name}");
            match table.get(&field) {
                Some(row) if row.fate == *fate => {}
                row => wrong += &format!("{field} should be {fate}: {row:?}\n"),
            }
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

#[test]
fn whatever_is_not_honoured_says_why() {
    for row in explain(None) {
        let says = row.remark.as_ref().is_some_and(|remark| remark.len() > 15);
        assert!(says || row.fate == "honoured", "{row:?}");
    }
}
