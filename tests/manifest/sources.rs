//! ConfigMaps, Secrets and the downward API: what variables and volumes take from them.

use std::collections::BTreeMap;

use i2kit::assemble::contract::contract;
use i2kit_contract::{
    Container, Content, Contract, EnvVar, FailurePolicy, Files, Reference, Seccomp, Source,
};
use oci_spec::image::ImageConfiguration;

use super::*;

const DATA: &str = "---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {color: blue, two.lines: \"a\\nb\", size: \"$(X)\"}
binaryData: {raw: /wA=}
---
apiVersion: v1
kind: Secret
metadata: {name: db}
type: Opaque
data: {user: YWRtaW4=}
stringData: {password: hunter2}
";

/// The Pod's contract, its documents behind it; a container runs `x` when it says nothing else.
fn build(pod: &str) -> Contract {
    let (pod, _) = read(format!("{pod}{DATA}")).unwrap_or_else(|e| panic!("{pod}\n{e}"));
    let image = r#"{"architecture":"amd64","os":"linux","config":{"Cmd":["x"],"Env":["color=image"]},"rootfs":{"type":"layers","diff_ids":[]}}"#;
    let image: ImageConfiguration = serde_json::from_str(image).unwrap();
    let names = pod.containers.iter().map(|one| one.name.clone());
    let images: BTreeMap<_, _> = names.map(|name| (name, image.clone())).collect();
    contract(&pod, &images, &|_, _| Ok(None), FailurePolicy::PowerOff).unwrap()
}

fn first(fields: &str) -> Container {
    build(&in_container(fields)).containers.remove(0)
}

/// Variables without the two that every container has, references as people read them.
fn env(fields: &str) -> Vec<String> {
    let env = first(fields).env;
    let shown = env.iter().skip(2).map(|var| match var {
        EnvVar::Plain(text) => text.clone(),
        EnvVar::Value(var) => {
            let optional = if var.optional { "?" } else { "" };
            format!("{}{optional}={}", var.name, var.value)
        }
        EnvVar::Secret(all) => format!("{}* of {}", all.prefix, all.secret),
    });
    shown.collect()
}

#[test]
fn variables_from_config_maps_and_secrets() {
    let got = env("envFrom:
- configMapRef: {name: settings}
- {prefix: DB_, secretRef: {name: db}}
- {secretRef: {name: elsewhere, optional: true}}
env:
- {name: A, valueFrom: {configMapKeyRef: {name: settings, key: size}}}
- {name: B, valueFrom: {secretKeyRef: {name: other, key: k, optional: true}}}
- {name: C, value: \"<$(A) $(B) $(DB_user) $(color)>\"}
- {name: D, valueFrom: {configMapKeyRef: {name: none, key: k, optional: true}}}
- {name: E, valueFrom: {configMapKeyRef: {name: settings, key: none, optional: true}}}");
    assert_eq!(
        got,
        [
            "color=blue",
            "size=$(X)",
            "two.lines=a\nb",
            "DB_password=<secret db/password>",
            "DB_user=<secret db/user>",
            "* of elsewhere",
            "A=$(X)",
            "B?=<secret other/k>",
            "C=<$(X) <secret other/k> <secret db/user> blue>",
        ]
    );
}

#[test]
fn variables_of_the_pod_and_its_container() {
    let got = env("resources: {limits: {cpu: 1500m, memory: 100Mi}}
env:
- {name: NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
- {name: NS, valueFrom: {fieldRef: {apiVersion: v1, fieldPath: metadata.namespace}}}
- {name: ACCOUNT, valueFrom: {fieldRef: {fieldPath: spec.serviceAccountName}}}
- {name: NOLABEL, valueFrom: {fieldRef: {fieldPath: \"metadata.labels['a/b']\"}}}
- {name: IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}
- {name: IPS, valueFrom: {fieldRef: {fieldPath: status.hostIPs}}}
- {name: NODE, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}
- {name: UID, valueFrom: {fieldRef: {fieldPath: metadata.uid}}}
- {name: URL, value: \"http://$(IP):80/$(NAME)\"}
- {name: CPU, valueFrom: {resourceFieldRef: {resource: limits.cpu}}}
- {name: MILLI, valueFrom: {resourceFieldRef: {resource: requests.cpu, divisor: 1m}}}
- {name: MEM, valueFrom: {resourceFieldRef: {resource: limits.memory, divisor: 1Mi}}}
- {name: DISK, valueFrom: {resourceFieldRef: {resource: limits.ephemeral-storage}}}
- {name: NOTHING, valueFrom: {resourceFieldRef: {resource: requests.ephemeral-storage}}}");
    let expected = [
        "color=image",
        "NAME=p",
        "NS=default",
        "ACCOUNT=default",
        "NOLABEL=",
        "CPU=2",
        "MILLI=1500",
        "MEM=100",
        "NOTHING=0",
        "IP=<pod IP>",
        "IPS=<pod IPs>",
        "NODE=<node name>",
        "UID=<pod uid>",
        "URL=http://<pod IP>:80/p",
        "DISK=<capacity EphemeralStorage>",
    ];
    let mut sorted = (got.clone(), expected.map(str::to_owned).to_vec());
    sorted.0.sort();
    sorted.1.sort();
    assert_eq!(sorted.0, sorted.1);
}

#[test]
fn what_variables_cannot_be_made_of() {
    let of = |from: &str| format!("env: [{{name: A, valueFrom: {{{from}}}}}]");
    let rows = [
        (
            of("configMapKeyRef: {name: none, key: k}"),
            "spec.containers[0].env[0].valueFrom.configMapKeyRef.name: \"none\" is no ConfigMap in the manifests, which have settings",
        ),
        (
            of("configMapKeyRef: {name: settings, key: k}"),
            "configMapKeyRef.key: \"k\" is no key of the ConfigMap, which has color, size, two.lines",
        ),
        (
            of("secretKeyRef: {name: db, key: k}"),
            "secretKeyRef.key: \"k\" is no key of Secret db, which has password, user",
        ),
        (
            of("fieldRef: {fieldPath: metadata.labels}"),
            "\"metadata.labels\" must be metadata.name",
        ),
        (
            of("fieldRef: {fieldPath: \"metadata.labels['']\"}"),
            "must be metadata.name",
        ),
        (
            of("fieldRef: {fieldPath: spec.hostname}"),
            "must be metadata.name",
        ),
        (
            of("resourceFieldRef: {resource: limits.gpu}"),
            "\"limits.gpu\" must be limits or requests",
        ),
        (
            of("resourceFieldRef: {resource: limits.cpu, divisor: 1Mi}"),
            "\"1Mi\" must be one of 1, 1m",
        ),
        (
            of("secretKeyRef: {name: a, key: b}, fieldRef: {fieldPath: metadata.name}"),
            "must have exactly one of",
        ),
        (
            of("fileKeyRef: {}"),
            "fileKeyRef is behind a feature gate in Kubernetes",
        ),
        (
            "env: [{name: A, value: b, valueFrom: {fieldRef: {fieldPath: metadata.name}}}]"
                .to_owned(),
            "value: \"b\" must not be set together with valueFrom",
        ),
        (
            "envFrom: [{prefix: x}]".to_owned(),
            "must have exactly one of configMapRef, secretRef",
        ),
    ];
    for (fields, expected) in rows {
        let told = told(&read(format!("{}{DATA}", in_container(&fields))));
        assert!(told.contains(expected), "{fields}\n{told}");
    }
}

/// `PATH MODE CONTENT` of each file, then whole Secrets.
fn files(source: &str) -> Vec<String> {
    let text = in_spec(&format!("volumes: [{{name: v, {source}}}]"));
    let text = text.replace("{name: p}", "{name: p, labels: {b: \"2\", a: x}}");
    let Source::Files(Files { files, secrets }) = build(&text).volumes.remove(0).source else {
        panic!("{source}");
    };
    let shown = files.iter().map(|file| {
        let content = match &file.content {
            Content::Text(text) => text.to_string(),
            Content::Hex(hex) => format!("hex {hex}"),
            Content::Secret { from, optional } => format!("{}/{} {optional}", from.name, from.key),
        };
        format!("{} {:o} {content}", file.path, file.mode)
    });
    let whole = secrets
        .iter()
        .map(|s| format!("all of {} {:o} {}", s.name, s.mode, s.optional));
    shown.chain(whole).collect()
}

#[test]
fn volumes_of_generated_files() {
    assert_eq!(
        files("configMap: {name: settings, defaultMode: 0400}"),
        [
            "color 400 blue",
            "size 400 $(X)",
            "two.lines 400 a\nb",
            "raw 400 hex ff00"
        ]
    );
    assert_eq!(
        files("configMap: {name: settings, items: [{key: color, path: a/./b, mode: 511}]}"),
        ["a/b 777 blue"]
    );
    assert!(files("configMap: {name: none, optional: true}").is_empty());
    assert_eq!(
        files("secret: {secretName: db}"),
        ["password 644 db/password false", "user 644 db/user false"]
    );
    assert_eq!(
        files("secret: {secretName: s, optional: true, defaultMode: 256}"),
        ["all of s 400 true"]
    );
    assert_eq!(
        files("secret: {secretName: s, items: [{key: k, path: p}]}"),
        ["p 644 s/k false"]
    );
    assert_eq!(
        files(
            "downwardAPI: {items: [{path: l, fieldRef: {fieldPath: metadata.labels}}, {path: c, resourceFieldRef: {containerName: c, resource: limits.cpu}}]}"
        ),
        ["l 644 a=\"x\"\nb=\"2\"", "c 644 <capacity Cpu>"]
    );
    assert_eq!(
        files(
            "projected: {defaultMode: 0440, sources: [{configMap: {name: settings, items: [{key: color, path: c}]}}, {secret: {name: db, items: [{key: user, path: u, mode: 0400}]}}, {downwardAPI: {items: [{path: name, fieldRef: {fieldPath: metadata.name}}]}}]}"
        ),
        ["c 440 blue", "u 400 db/user false", "name 440 p"]
    );
}

#[test]
fn what_volumes_cannot_be_made_of() {
    for (source, expected) in [
        (
            "configMap: {name: settings, items: [{key: color, path: ../x}]}",
            "must not contain \"..\"",
        ),
        (
            "configMap: {name: settings, items: [{key: color, path: /x}]}",
            "must be a relative path",
        ),
        (
            "configMap: {name: settings, items: [{key: none, path: x}]}",
            "\"none\" is no key of the ConfigMap",
        ),
        (
            "configMap: {name: settings, items: [{key: color, path: x}, {key: size, path: x/y}]}",
            "file \"x/y\" is in the way of \"x\"",
        ),
        (
            "configMap: {name: settings, defaultMode: 512}",
            "must be between 0 and 511",
        ),
        (
            "configMap: {name: settings}, emptyDir: {}",
            "has both configMap and emptyDir",
        ),
        (
            "secret: {secretName: db, items: [{key: k, path: x}]}",
            "\"k\" is no key of Secret db",
        ),
        (
            "downwardAPI: {items: [{path: l, fieldRef: {fieldPath: status.podIP}}]}",
            "must be metadata.name",
        ),
        (
            "downwardAPI: {items: [{path: l, resourceFieldRef: {containerName: z, resource: limits.cpu}}]}",
            "\"z\" is no container of the Pod",
        ),
        (
            "projected: {sources: [{serviceAccountToken: {path: t}}]}",
            "serviceAccountToken has no meaning in a VM",
        ),
        ("hostPath: {path: etc}", "must be an absolute path"),
        (
            "hostPath: {path: /a, type: Folder}",
            "must be one of DirectoryOrCreate",
        ),
        ("rbd: {x: 1}", "rbd needs a driver of a cluster"),
        ("persistentVolumeClaim: {}", "claimName is required"),
    ] {
        let text = in_spec(&format!("volumes: [{{name: v, {source}}}]"));
        let told = told(&read(format!("{text}{DATA}")));
        assert!(told.contains(expected), "{source}\n{told}");
    }
}

#[test]
fn documents_that_pods_cannot_take_from() {
    let pod = in_spec("hostname: h");
    for (document, expected) in [
        (
            "kind: ConfigMap\nmetadata: {name: a}",
            "apiVersion is required",
        ),
        (
            "kind: ConfigMap\napiVersion: v2\nmetadata: {name: a}",
            "\"v2\" must be v1",
        ),
        (
            "kind: ConfigMap\napiVersion: v1\nmetadata: {name: A}",
            "must be lower-case",
        ),
        (
            "kind: ConfigMap\napiVersion: v1\nmetadata: {name: a}\ndata: {..a: b}",
            "must not start with \"..\"",
        ),
        (
            "kind: ConfigMap\napiVersion: v1\nmetadata: {name: a}\ndata: {a: 1}",
            "must be a string, so quote it",
        ),
        (
            "kind: ConfigMap\napiVersion: v1\nmetadata: {name: settings}",
            "has the same name",
        ),
        (
            "kind: PersistentVolumeClaim\napiVersion: v1\nmetadata: {name: a}\nspec: {accessModes: [ReadWriteMany]}",
            "a disk belongs to one VM",
        ),
    ] {
        let told = told(&read(format!("{pod}{DATA}---\n{document}\n")));
        assert!(told.contains(expected), "{document}\n{told}");
    }
    // No message repeats what may be secret.
    for data in [
        "data: {k: s3cret!}",
        "data: {k: 530001}",
        "stringData: {k: 530001}",
        "stringData: {k: [s3cret!]}",
    ] {
        let document = format!("kind: Secret\napiVersion: v1\nmetadata: {{name: a}}\n{data}\n");
        let told = told(&read(format!("{pod}---\n{document}")));
        assert!(told.contains("[\"k\"]"), "{told}");
        assert!(
            !told.contains("s3cret") && !told.contains("530001"),
            "{told}"
        );
    }
    let loaded = pod_with_secrets();
    assert!(!format!("{loaded:?}").contains("hunter2"));
}

fn pod_with_secrets() -> Pod {
    let text =
        in_container("env: [{name: A, valueFrom: {secretKeyRef: {name: db, key: password}}}]");
    read(format!("{text}{DATA}")).unwrap().0
}

#[test]
fn secrets_are_baked_when_the_pod_has_them_and_takes_from_them() {
    let text =
        in_container("env: [{name: A, valueFrom: {secretKeyRef: {name: db, key: password}}}]");
    let baked = build(&text).baked_secrets;
    assert_eq!(baked["db"]["password"], hex::encode("hunter2"));
    assert!(build(&in_container("")).baked_secrets.is_empty());
}

#[test]
fn security_of_containers() {
    let security = |fields: &str| first(&format!("securityContext: {{{fields}}}")).security;
    assert!(security("").is_default());
    assert!(security("capabilities: {add: [], drop: []}").is_default());
    let capabilities = |fields: &str| security(fields).capabilities.unwrap().join(" ");
    assert_eq!(
        capabilities("capabilities: {drop: [ALL], add: [NET_BIND_SERVICE]}"),
        "CAP_NET_BIND_SERVICE"
    );
    assert_eq!(capabilities("capabilities: {drop: [ALL]}"), "");
    let more = capabilities("capabilities: {add: [cap_net_admin], drop: [MKNOD]}");
    assert!(
        more.contains("CAP_NET_ADMIN") && !more.contains("MKNOD"),
        "{more}"
    );
    let all = capabilities("capabilities: {add: [ALL], drop: [SYS_ADMIN]}");
    assert_eq!(all.split(' ').count(), 40);
    let privileged = security("privileged: true, seccompProfile: {type: RuntimeDefault}");
    assert_eq!(privileged.capabilities.unwrap().len(), 41);
    assert_eq!(
        (privileged.privileged, privileged.seccomp),
        (true, Seccomp::Unconfined)
    );
    let strict = security(
        "allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, procMount: Unmasked, seccompProfile: {type: RuntimeDefault}",
    );
    assert!(strict.no_new_privileges && strict.read_only_root && strict.unmasked_proc);
    assert_eq!(strict.seccomp, Seccomp::RuntimeDefault);
}

#[test]
fn what_a_security_context_cannot_say() {
    check(
        &[
            (
                "securityContext: {capabilities: {add: [NET_ADMN]}}",
                "m.yaml:8:44: spec.containers[0].securityContext.capabilities.add[0]: \"NET_ADMN\" is no capability, did you mean NET_ADMIN?",
            ),
            (
                "securityContext: {privileged: true, allowPrivilegeEscalation: false}",
                "m.yaml:8:67: spec.containers[0].securityContext.allowPrivilegeEscalation: \"false\" contradicts privileged",
            ),
            (
                "securityContext: {seccompProfile: {type: Localhost}}",
                "m.yaml:8:39: spec.containers[0].securityContext.seccompProfile.localhostProfile is required",
            ),
            (
                "securityContext: {seccompProfile: {type: Localhost, localhostProfile: ../a.json}}",
                "m.yaml:8:75: spec.containers[0].securityContext.seccompProfile.localhostProfile: \"../a.json\" must not contain \"..\"",
            ),
            (
                "securityContext: {seccompProfile: {type: Unconfined, localhostProfile: a.json}}",
                "m.yaml:8:76: spec.containers[0].securityContext.seccompProfile.localhostProfile: \"a.json\" is for type Localhost alone",
            ),
            (
                "securityContext: {appArmorProfile: {type: Localhost}}",
                "m.yaml:8:47: spec.containers[0].securityContext.appArmorProfile.type: \"Localhost\" needs a profile, which the guest does not have",
            ),
            (
                "securityContext: {windowsOptions: {hostProcess: true}}",
                "m.yaml:8:23: spec.containers[0].securityContext.windowsOptions is for Windows, and the VM runs Linux",
            ),
        ],
        in_container,
    );
}

#[test]
fn names_groups_and_the_kernel() {
    let got = build(&in_spec(
        "hostname: web
subdomain: sub
setHostnameAsFQDN: true
shareProcessNamespace: true
hostAliases: [{ip: 10.1.2.3, hostnames: [a, b.c]}]
dnsPolicy: None
dnsConfig: {nameservers: [1.1.1.1], searches: [x.y, .], options: [{name: ndots, value: \"2\"}, {name: edns0}]}
securityContext:
  runAsUser: 7
  fsGroup: 20
  fsGroupChangePolicy: OnRootMismatch
  supplementalGroups: [30, 10]
  sysctls: [{name: net.core.somaxconn, value: \"77\"}, {name: net/ipv4/conf/eth0.1/x, value: \"\"}]",
    ));
    let fqdn = "web.sub.default.svc.cluster.local";
    assert_eq!(
        (got.hostname.as_str(), got.names.fqdn.as_deref()),
        (fqdn, Some(fqdn))
    );
    assert!(got.names.ignore_network);
    assert_eq!(got.names.options, ["ndots:2", "edns0"]);
    assert_eq!(got.names.aliases[0].hostnames, ["a", "b.c"]);
    assert_eq!(got.process_namespace, i2kit_contract::ProcessNamespace::Pod);
    assert_eq!(got.containers[0].user.additional_gids, [10, 20, 30]);
    assert!(
        got.fs_group
            .is_some_and(|group| group.gid == 20 && group.on_root_mismatch)
    );
    let sysctls: Vec<_> = got.sysctls.iter().map(|one| one.name.as_str()).collect();
    assert_eq!(sysctls, ["net.core.somaxconn", "net.ipv4.conf.eth0/1.x"]);
    let root = read(in_spec("securityContext: {runAsNonRoot: true}"))
        .unwrap()
        .0;
    let image = r#"{"architecture":"amd64","os":"linux","config":{"Cmd":["x"]},"rootfs":{"type":"layers","diff_ids":[]}}"#;
    let images = [("c".to_owned(), serde_json::from_str(image).unwrap())].into();
    let error = contract(&root, &images, &|_, _| Ok(None), FailurePolicy::PowerOff).unwrap_err();
    assert_eq!(
        error.to_string(),
        "container c: runAsNonRoot is set, but image i would run as root"
    );
}

#[test]
fn mounts_of_parts_of_volumes() {
    let got = first(
        "env: [{name: IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}]
volumeMounts:
- {name: v, mountPath: /a, subPath: x/y}
- {name: w, mountPath: /b, subPathExpr: \"of-$(IP)\", mountPropagation: HostToContainer}",
    );
    let shown: Vec<_> = got
        .mounts
        .iter()
        .map(|m| m.sub_path.as_ref().unwrap().to_string())
        .collect();
    assert_eq!(shown, ["x/y", "of-<pod IP>"]);
    assert!(
        got.mounts[1]
            .sub_path
            .as_ref()
            .unwrap()
            .lookups()
            .all(|l| l.value == Reference::PodIp)
    );
    check(
        &[
            (
                "volumeMounts: [{name: v, mountPath: /v, subPath: ../x}]",
                "m.yaml:8:54: spec.containers[0].volumeMounts[0].subPath: \"../x\" must not contain \"..\"",
            ),
            (
                "volumeMounts: [{name: v, mountPath: /v, subPath: a, subPathExpr: b}]",
                "m.yaml:8:70: spec.containers[0].volumeMounts[0].subPathExpr: \"b\" must not be set together with subPath",
            ),
        ],
        in_container,
    );
}
