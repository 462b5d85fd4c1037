//! Each field of the Kubernetes API is honoured, accepted with a note, or refused; others do not
//! exist.

use super::*;

/// Where a field of each type stands: a manifest with `FIELD: VALUE` in the place of `@`, the path
/// of the place.
const PLACES: [(&str, &str, &str); 23] = [
    (
        "Pod",
        "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {containers: [{name: c, image: i}]}\n@\n",
        "",
    ),
    (
        "ObjectMeta",
        "apiVersion: v1\nkind: Pod\nmetadata: {@, name: p}\nspec: {containers: [{name: c, image: i}]}\n",
        "metadata.",
    ),
    (
        "PodSpec",
        "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {@, containers: [{name: c, image: i}]}\n",
        "spec.",
    ),
    (
        "Container",
        "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {containers: [{@, name: c, image: i}]}\n",
        "spec.containers[0].",
    ),
    (
        "EnvVar",
        "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {containers: [{name: c, image: i, env: [{@, name: A}]}]}\n",
        "spec.containers[0].env[0].",
    ),
    (
        "ContainerPort",
        "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {containers: [{name: c, image: i, ports: [{@, containerPort: 1}]}]}\n",
        "spec.containers[0].ports[0].",
    ),
    (
        "ResourceRequirements",
        "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {containers: [{name: c, image: i, resources: {@}}]}\n",
        "spec.containers[0].resources.",
    ),
    (
        "SecurityContext",
        "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {containers: [{name: c, image: i, securityContext: {@}}]}\n",
        "spec.containers[0].securityContext.",
    ),
    (
        "PodSecurityContext",
        "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {containers: [{name: c, image: i}], securityContext: {@}}\n",
        "spec.securityContext.",
    ),
    (
        "VolumeMount",
        "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {volumes: [{name: v}], containers: [{name: c, image: i, volumeMounts: [{@, name: v, mountPath: /v}]}]}\n",
        "spec.containers[0].volumeMounts[0].",
    ),
    (
        "Volume",
        "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {volumes: [{@, name: v}], containers: [{name: c, image: i}]}\n",
        "spec.volumes[0].",
    ),
    (
        "EmptyDirVolumeSource",
        "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {volumes: [{name: v, emptyDir: {@}}], containers: [{name: c, image: i}]}\n",
        "spec.volumes[0].emptyDir.",
    ),
    (
        "Probe",
        "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {containers: [{name: c, image: i, livenessProbe: {@}}]}\n",
        "spec.containers[0].livenessProbe.",
    ),
    (
        "ExecAction",
        "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {containers: [{name: c, image: i, livenessProbe: {exec: {@}}}]}\n",
        "spec.containers[0].livenessProbe.exec.",
    ),
    (
        "HTTPGetAction",
        "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {containers: [{name: c, image: i, livenessProbe: {httpGet: {@, port: 1}}}]}\n",
        "spec.containers[0].livenessProbe.httpGet.",
    ),
    (
        "HTTPHeader",
        "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {containers: [{name: c, image: i, livenessProbe: {httpGet: {port: 1, httpHeaders: [{@, name: x}]}}}]}\n",
        "spec.containers[0].livenessProbe.httpGet.httpHeaders[0].",
    ),
    (
        "TCPSocketAction",
        "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {containers: [{name: c, image: i, livenessProbe: {tcpSocket: {@, port: 1}}}]}\n",
        "spec.containers[0].livenessProbe.tcpSocket.",
    ),
    (
        "GRPCAction",
        "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {containers: [{name: c, image: i, livenessProbe: {grpc: {@, port: 1}}}]}\n",
        "spec.containers[0].livenessProbe.grpc.",
    ),
    (
        "Lifecycle",
        "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {containers: [{name: c, image: i, lifecycle: {@}}]}\n",
        "spec.containers[0].lifecycle.",
    ),
    (
        "LifecycleHandler",
        "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {containers: [{name: c, image: i, lifecycle: {preStop: {@}}}]}\n",
        "spec.containers[0].lifecycle.preStop.",
    ),
    (
        "ContainerRestartRule",
        "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {containers: [{name: c, image: i, restartPolicy: Never, restartPolicyRules: [{@}]}]}\n",
        "spec.containers[0].restartPolicyRules[0].",
    ),
    (
        "ContainerRestartRuleOnExitCodes",
        "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {containers: [{name: c, image: i, restartPolicy: Never, restartPolicyRules: [{action: Restart, exitCodes: {@}}]}]}\n",
        "spec.containers[0].restartPolicyRules[0].exitCodes.",
    ),
    (
        "DeploymentSpec",
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: p}\nspec: {@, selector: {matchLabels: {a: b}}, template: {metadata: {labels: {a: b}}, spec: {containers: [{name: c, image: i}]}}}\n",
        "spec.",
    ),
];

/// Fields that the manifests above have already, besides `@`.
fn stands_there(kind: &str, field: &str) -> bool {
    let there: &[&str] = match kind {
        "Pod" => &["apiVersion", "kind", "metadata", "spec"],
        "PodSpec" => &["containers"],
        "Container" => &["name", "image"],
        "VolumeMount" => &["name", "mountPath"],
        "ContainerPort" => &["containerPort"],
        "HTTPGetAction" | "TCPSocketAction" | "GRPCAction" => &["port"],
        "DeploymentSpec" => &["selector", "template"],
        "EmptyDirVolumeSource"
        | "Probe"
        | "ExecAction"
        | "Lifecycle"
        | "LifecycleHandler"
        | "ContainerRestartRule"
        | "ContainerRestartRuleOnExitCodes"
        | "ResourceRequirements"
        | "SecurityContext"
        | "PodSecurityContext" => &[],
        _ => &["name"],
    };
    there.contains(&field)
}

/// What becomes of every field of the API, set to a mapping: a line each.
#[test]
fn every_field_of_the_api_has_its_fate() {
    let api = include_str!("../../fixtures/kubernetes/fields.json");
    let api: Vec<(String, Vec<String>)> = serde_json::from_str(api).unwrap();
    let mut fates = String::new();
    for (kind, fields) in api {
        let Some((_, manifest, path)) = PLACES.iter().find(|(name, ..)| *name == kind) else {
            continue;
        };
        for field in fields.iter().filter(|field| !stands_there(&kind, field)) {
            let loaded = read(manifest.replace('@', &format!("{field}: {{zz: 1}}")));
            let told = told(&loaded);
            assert!(
                !told.contains(&format!("unknown field \"{field}\"")),
                "{told}"
            );
            let place = format!("{path}{field}");
            let fate = match &loaded {
                Err(_) if told.contains(&format!(": {place} ")) => "refused",
                Err(_) => "read",
                Ok((_, notes)) if notes.len() == 1 && told.contains(&format!(": {place}: ")) => {
                    "note"
                }
                Ok(_) => panic!("{kind} {field} is ignored"),
            };
            fates += &format!("{kind}.{field}: {fate}\n");
        }
    }
    insta::assert_snapshot!(fates);
}

#[test]
fn a_field_that_does_not_exist_is_unknown() {
    for (_, manifest, path) in PLACES {
        for field in [
            "foo",
            "Name",
            "imagee",
            "workloadRef",
            "*",
            "name ",
            "clusterName",
        ] {
            let told = told(&read(manifest.replace('@', &format!("\"{field}\": null"))));
            let place = path.trim_end_matches('.');
            let place = if place.is_empty() { "Pod" } else { place };
            assert!(
                told.contains(&format!(": unknown field {field:?} in {place}")),
                "{manifest} {field}: {told}"
            );
        }
    }
}

#[test]
fn unknown_fields_and_what_they_were_meant_to_be() {
    check(
        &[
            (
                "imag: i",
                "m.yaml:8:5: unknown field \"imag\" in spec.containers[0] | did you mean \"image\"?",
            ),
            (
                "Image: i",
                "m.yaml:8:5: unknown field \"Image\" in spec.containers[0] | did you mean \"image\"?",
            ),
            (
                "comand: [a]",
                "m.yaml:8:5: unknown field \"comand\" in spec.containers[0] | did you mean \"command\"?",
            ),
            (
                "cmd: [a]",
                "m.yaml:8:5: unknown field \"cmd\" in spec.containers[0]",
            ),
            (
                "arg: [a]",
                "m.yaml:8:5: unknown field \"arg\" in spec.containers[0] | did you mean \"args\"?",
            ),
            (
                "envs: []",
                "m.yaml:8:5: unknown field \"envs\" in spec.containers[0] | did you mean \"env\"?",
            ),
            (
                "enviroment: []",
                "m.yaml:8:5: unknown field \"enviroment\" in spec.containers[0] | did you mean \"envFrom\"?",
            ),
            (
                "workdir: /",
                "m.yaml:8:5: unknown field \"workdir\" in spec.containers[0] | did you mean \"workingDir\"?",
            ),
            (
                "workingDirectory: /",
                "m.yaml:8:5: unknown field \"workingDirectory\" in spec.containers[0] | did you mean \"workingDir\"?",
            ),
            (
                "port: []",
                "m.yaml:8:5: unknown field \"port\" in spec.containers[0] | did you mean \"ports\"?",
            ),
            (
                "volumeMount: []",
                "m.yaml:8:5: unknown field \"volumeMount\" in spec.containers[0] | did you mean \"volumeMounts\"?",
            ),
            (
                "volumes: []",
                "m.yaml:8:5: unknown field \"volumes\" in spec.containers[0] | it belongs in the Pod's spec",
            ),
            (
                "resource: {}",
                "m.yaml:8:5: unknown field \"resource\" in spec.containers[0] | did you mean \"resources\"?",
            ),
            (
                "liveness: {}",
                "m.yaml:8:5: unknown field \"liveness\" in spec.containers[0] | did you mean \"livenessProbe\"?",
            ),
            (
                "restartPolcy: Always",
                "m.yaml:8:5: unknown field \"restartPolcy\" in spec.containers[0] | did you mean \"restartPolicy\"?",
            ),
            (
                "imagePullSecrets: []",
                "m.yaml:8:5: unknown field \"imagePullSecrets\" in spec.containers[0] | it belongs in the Pod's spec",
            ),
            (
                "hostname: x",
                "m.yaml:8:5: unknown field \"hostname\" in spec.containers[0] | it belongs in the Pod's spec",
            ),
            (
                "xyz: 1",
                "m.yaml:8:5: unknown field \"xyz\" in spec.containers[0]",
            ),
            (
                "env: [{name: A, vaule: b}]",
                "m.yaml:8:21: unknown field \"vaule\" in spec.containers[0].env[0] | did you mean \"value\"?",
            ),
            (
                "ports: [{port: 80}]",
                "m.yaml:8:13: spec.containers[0].ports[0].containerPort is required\nm.yaml:8:14: unknown field \"port\" in spec.containers[0].ports[0]",
            ),
            (
                "resources: {limit: {}}",
                "m.yaml:8:17: unknown field \"limit\" in spec.containers[0].resources | did you mean \"limits\"?",
            ),
            (
                "resources: {limits: {memroy: 1}}",
                "m.yaml:8:26: spec.containers[0].resources.limits[\"memroy\"] is no resource of a container | did you mean \"memory\"?",
            ),
            (
                "securityContext: {runAsuser: 1}",
                "m.yaml:8:23: unknown field \"runAsuser\" in spec.containers[0].securityContext | did you mean \"runAsUser\"?",
            ),
            (
                "volumeMounts: [{name: v, path: /v}]",
                "m.yaml:8:20: spec.containers[0].volumeMounts[0].mountPath is required\nm.yaml:8:30: unknown field \"path\" in spec.containers[0].volumeMounts[0]",
            ),
        ],
        in_container,
    );
    check(
        &[
            (
                "container: []",
                "m.yaml:6:3: unknown field \"container\" in spec | did you mean \"containers\"?",
            ),
            (
                "restartpolicy: Always",
                "m.yaml:6:3: unknown field \"restartpolicy\" in spec | did you mean \"restartPolicy\"?",
            ),
            (
                "terminationGracePeriod: 5",
                "m.yaml:6:3: unknown field \"terminationGracePeriod\" in spec | did you mean \"terminationGracePeriodSeconds\"?",
            ),
            (
                "volume: []",
                "m.yaml:6:3: unknown field \"volume\" in spec | did you mean \"volumes\"?",
            ),
            (
                "volumes: [{name: v, emptydir: {}}]",
                "m.yaml:6:23: unknown field \"emptydir\" in spec.volumes[0] | did you mean \"emptyDir\"?",
            ),
            (
                "volumes: [{name: v, emptyDir: {size: 1}}]",
                "m.yaml:6:34: unknown field \"size\" in spec.volumes[0].emptyDir | did you mean \"sizeLimit\"?",
            ),
            (
                "securityContext: {runAsUsr: 1}",
                "m.yaml:6:21: unknown field \"runAsUsr\" in spec.securityContext | did you mean \"runAsUser\"?",
            ),
            (
                "replicas: 1",
                "m.yaml:6:3: unknown field \"replicas\" in spec | it belongs in the Deployment's spec",
            ),
            (
                "image: i",
                "m.yaml:6:3: unknown field \"image\" in spec | it belongs in a container",
            ),
        ],
        in_spec,
    );
    check(
        &[
            (
                "name: p\nlabel: {}",
                "m.yaml:5:3: unknown field \"label\" in metadata | did you mean \"labels\"?",
            ),
            (
                "name: p\nanotations: {}",
                "m.yaml:5:3: unknown field \"anotations\" in metadata | did you mean \"annotations\"?",
            ),
            (
                "nmae: p",
                "m.yaml:4:3: unknown field \"nmae\" in metadata | did you mean \"name\"?\nm.yaml:4:3: metadata.name is required",
            ),
        ],
        in_metadata,
    );
    check(
        &[
            (
                "apiVersion: v1\nkind: Pod\nmetdata: {name: p}\nspec: {containers: [{name: c, image: i}]}\n",
                "m.yaml:1:1: metadata is required\nm.yaml:3:1: unknown field \"metdata\" in Pod | did you mean \"metadata\"?",
            ),
            (
                "apiversion: v1\nkind: Pod\n",
                "m.yaml:1:1: apiVersion is required",
            ),
            (
                "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspecs: {}\n",
                "m.yaml:1:1: spec is required\nm.yaml:4:1: unknown field \"specs\" in Pod | did you mean \"spec\"?",
            ),
        ],
        whole,
    );
}

#[test]
fn fields_that_come_later_unless_they_say_what_is_so_anyway() {
    check(
        &[
            (
                "readinessGates: [{conditionType: a}]",
                "m.yaml:6:3: spec.readinessGates must be empty, nobody sets a condition from outside here",
            ),
            ("initContainers: []", "ok p"),
            (
                "hostAliases: [{ip: 1.1.1.1}]\ndnsConfig: {nameservers: [1.1.1.1]}",
                "ok p",
            ),
            ("subdomain: \"\"", "ok p"),
            ("subdomain: x", "ok p"),
            (
                "activeDeadlineSeconds: 0",
                "m.yaml:6:26: spec.activeDeadlineSeconds: \"0\" must be between 1 and 2147483647",
            ),
            (
                "hostPID: false\nshareProcessNamespace: false\nhostUsers: true\nsetHostnameAsFQDN: null",
                "ok p",
            ),
            (
                "hostPID: true\nshareProcessNamespace: true",
                "m.yaml:7:26: spec.shareProcessNamespace: \"true\" contradicts hostPID",
            ),
            (
                "hostIPC: true",
                "note m.yaml:6:3: spec.hostIPC: always true here, the Pod has the VM's IPC namespace",
            ),
            (
                "hostUsers: false",
                "m.yaml:6:14: spec.hostUsers: \"false\" must be true, since containers have the VM's users",
            ),
            (
                "hostUsers: \"true\"",
                "m.yaml:6:14: spec.hostUsers: expected true or false, found a string (\"true\") | remove the quotes: true",
            ),
            ("shareProcessNamespace: yes", "ok p"),
            ("dnsPolicy: ClusterFirst", "ok p"),
            ("dnsPolicy: Default", "ok p"),
            (
                "dnsPolicy: None",
                "m.yaml:6:14: spec.dnsPolicy: \"None\" needs dnsConfig.nameservers",
            ),
            (
                "dnsPolicy: true",
                "m.yaml:6:14: spec.dnsPolicy: expected a string, found a boolean (true) | quote it: \"true\"",
            ),
            ("serviceAccountName: default", "ok p"),
            (
                "serviceAccountName: robot",
                "note m.yaml:6:23: spec.serviceAccountName: a name alone, since a VM has no API server to have rights with",
            ),
            (
                "securityContext: {fsGroup: 1, sysctls: [], supplementalGroupsPolicy: Strict}",
                "ok p",
            ),
            (
                "volumes: [{name: v, configMap: {name: c}}]",
                "m.yaml:6:41: spec.volumes[0].configMap.name: \"c\" is no ConfigMap in the manifests, which have none",
            ),
            (
                "volumes: [{name: v, hostPath: {}}]",
                "m.yaml:6:33: spec.volumes[0].hostPath.path is required",
            ),
            ("volumes: [{name: v, secret: null}]", "ok p"),
            ("volumes: [{name: v, emptyDir: {medium: Memory}}]", "ok p"),
            (
                "volumes: [{name: v, emptyDir: {medium: \"\", sizeLimit: 1Gi}}]",
                "ok p",
            ),
        ],
        in_spec,
    );
    check(
        &[
            (
                "envFrom: [{configMapRef: {name: c}}]",
                "m.yaml:8:37: spec.containers[0].envFrom[0].configMapRef.name: \"c\" is no ConfigMap in the manifests, which have none",
            ),
            (
                "env: [{name: A, valueFrom: {}}]",
                "m.yaml:8:32: spec.containers[0].env[0].valueFrom: must have exactly one of configMapKeyRef, fieldRef, resourceFieldRef, secretKeyRef",
            ),
            (
                "env: [{name: A, valueFrom: {fieldRef: {fieldPath: status.podIP}}}]",
                "ok p",
            ),
            (
                "securityContext: {privileged: false, procMount: Default}",
                "ok p",
            ),
            (
                "securityContext: {privileged: true, procMount: Unmasked, capabilities: {drop: [ALL]}}",
                "ok p",
            ),
            (
                "securityContext: {readOnlyRootFilesystem: true, allowPrivilegeEscalation: false, runAsNonRoot: true}",
                "ok p",
            ),
            (
                "volumeMounts: [{name: v, mountPath: /v, subPath: a}]",
                "ok p",
            ),
            (
                "volumeMounts: [{name: v, mountPath: /v, subPath: \"\", mountPropagation: None, recursiveReadOnly: Disabled}]",
                "ok p",
            ),
            (
                "volumeMounts: [{name: v, mountPath: /v, mountPropagation: Bidirectional}]",
                "m.yaml:8:63: spec.containers[0].volumeMounts[0].mountPropagation: \"Bidirectional\" is for privileged containers only",
            ),
        ],
        in_container,
    );
}

#[test]
fn fields_without_a_meaning_in_a_vm_are_noted() {
    check(
        &[
            (
                "nodeSelector: {a: b}\ntolerations: []\npriorityClassName: high",
                "note m.yaml:6:3: spec.nodeSelector: there is nothing to schedule, the Pod is the VM\nnote m.yaml:8:3: spec.priorityClassName: there is nothing to schedule, the Pod is the VM",
            ),
            (
                "hostNetwork: true",
                "note m.yaml:6:3: spec.hostNetwork: always true here, the Pod has the VM's network",
            ),
            (
                "imagePullSecrets: [{name: s}]",
                "note m.yaml:6:3: spec.imagePullSecrets: no meaning in a VM, the images are in its disk",
            ),
            (
                "enableServiceLinks: false",
                "note m.yaml:6:3: spec.enableServiceLinks: no meaning in a VM, there is no API server",
            ),
            ("schedulerName: \"\"\nnodeName: null", "ok p"),
        ],
        in_spec,
    );
    check(
        &[
            (
                "imagePullPolicy: Always",
                "note m.yaml:8:5: spec.containers[0].imagePullPolicy: no meaning in a VM, the images are in its disk",
            ),
            (
                "stdinOnce: true",
                "note m.yaml:8:16: spec.containers[0].stdinOnce: changes nothing, nobody attaches here",
            ),
        ],
        in_container,
    );
    check(
        &[
            ("name: p\nnamespace: default", "ok p"),
            (
                "name: p\ncreationTimestamp: null\nuid: abc\nresourceVersion: \"5\"",
                "note m.yaml:6:3: metadata.uid: set by the API server, no meaning in a VM\nnote m.yaml:7:3: metadata.resourceVersion: set by the API server, no meaning in a VM",
            ),
            (
                "name: p\ngenerateName: p-",
                "note m.yaml:4:9: metadata.generateName: metadata.name is used",
            ),
            (
                "generateName: p-",
                "m.yaml:4:3: metadata.name is required, as there is no API server to generate one",
            ),
            ("name: p\ngenerateName: \"\"", "ok p"),
        ],
        in_metadata,
    );
    // A note stands beside nothing else: problems win.
    check(
        &[(
            "nodeName: n\nfoo: 1",
            "m.yaml:7:3: unknown field \"foo\" in spec",
        )],
        in_spec,
    );
}
