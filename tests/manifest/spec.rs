//! What a Pod and its containers may say, after `pkg/apis/core/validation` of Kubernetes.

use i2kit::manifest::{Quantity, VolumeMount};
use i2kit_contract::{Protocol, RestartPolicy};

use super::*;

#[test]
fn a_pod_with_everything() {
    let pod = pod("apiVersion: v1
kind: Pod
metadata:
  name: shop.v1
  labels: {app: shop, example.com/tier: \"\", none: null}
  annotations: {Example.com/Note: any text}
spec:
  restartPolicy: OnFailure
  hostname: shop
  terminationGracePeriodSeconds: 0
  securityContext: {runAsUser: 1000, runAsGroup: 0}
  volumes: [{name: data}, {name: run, emptyDir: {}}]
  containers:
  - name: web
    image: example.com/web:1
    command: [/bin/sh]
    args: [-c, \"\"]
    workingDir: /srv
    env: [{name: A, value: a}, {name: A}, {name: \"b.c d\", value: $(A)}]
    ports:
    - {containerPort: 80, name: http}
    - {containerPort: 80, protocol: UDP}
    - {containerPort: 65535, protocol: TCP, name: x-1}
    resources: {limits: {cpu: 0.5, memory: 1.5Gi}, requests: {cpu: 100m}}
    securityContext: {runAsUser: 0, runAsGroup: 2147483647}
    volumeMounts:
    - {name: data, mountPath: /data/, readOnly: true}
    - {name: data, mountPath: srv//./x}
  - {name: side, image: \"side\"}
");
    assert_eq!(pod.name, "shop.v1");
    assert_eq!(pod.labels["app"], "shop");
    assert_eq!(
        (
            pod.labels["example.com/tier"].as_str(),
            pod.labels["none"].as_str()
        ),
        ("", "")
    );
    assert_eq!(pod.annotations["Example.com/Note"], "any text");
    assert_eq!(pod.restart_policy, RestartPolicy::OnFailure);
    assert_eq!(pod.hostname.as_deref(), Some("shop"));
    assert_eq!(pod.termination_grace_period_seconds, 0);
    assert_eq!(pod.security.run_as_user, Some(1000));
    assert_eq!(pod.security.run_as_group, Some(0));
    let volumes: Vec<_> = pod.volumes.iter().map(|v| v.name.as_str()).collect();
    assert_eq!(volumes, ["data", "run"]);
    let [web, side] = pod.containers.as_slice() else {
        panic!("{pod:?}");
    };
    assert_eq!(
        (web.name.as_str(), web.image.as_str()),
        ("web", "example.com/web:1")
    );
    assert_eq!(
        (&web.command, &web.args),
        (
            &vec!["/bin/sh".to_owned()],
            &vec!["-c".to_owned(), String::new()]
        )
    );
    assert_eq!(web.working_dir.as_deref(), Some("/srv"));
    let env: Vec<_> = web
        .env
        .iter()
        .map(|v| (v.name.as_str(), template(v)))
        .collect();
    assert_eq!(env, [("A", "a"), ("A", ""), ("b.c d", "$(A)")]);
    let ports: Vec<_> = web
        .ports
        .iter()
        .map(|p| (p.name.as_deref(), p.container_port, p.protocol))
        .collect();
    assert_eq!(
        ports,
        [
            (Some("http"), 80, Protocol::Tcp),
            (None, 80, Protocol::Udp),
            (Some("x-1"), 65535, Protocol::Tcp),
        ]
    );
    let quantity = |text: &str| Some(Quantity::parse(text).unwrap());
    assert_eq!(
        (web.resources.limits.cpu, web.resources.limits.memory),
        (quantity("500m"), quantity("1536Mi"))
    );
    // What is not requested is requested up to the limit.
    assert_eq!(
        (web.resources.requests.cpu, web.resources.requests.memory),
        (quantity("100m"), quantity("1536Mi"))
    );
    assert_eq!(
        (web.security.run_as_user, web.security.run_as_group),
        (Some(0), Some(2_147_483_647))
    );
    let mount = |path: &str, read_only| VolumeMount {
        volume: "data".to_owned(),
        path: path.to_owned(),
        read_only,
        ..VolumeMount::default()
    };
    assert_eq!(web.mounts, [mount("/data", true), mount("/srv/x", false)]);
    assert_eq!(
        *side,
        Container {
            name: "side".to_owned(),
            image: "side".to_owned(),
            ..Container::default()
        }
    );
}

#[test]
fn what_is_not_said_has_kubernetes_defaults() {
    let pod = pod(&in_spec(
        "hostname: \"\"\nrestartPolicy: \"\"\nterminationGracePeriodSeconds: null\nvolumes:\nsecurityContext: {}",
    ));
    assert_eq!(pod.hostname, None);
    assert_eq!(pod.restart_policy, RestartPolicy::Always);
    assert_eq!(pod.termination_grace_period_seconds, 30);
    let container = container(
        "workingDir: \"\"\nports: [{containerPort: 1, name: \"\", protocol: \"\"}]\nresources: {}\nenv:\nargs: []",
    );
    assert_eq!(container.working_dir, None);
    assert_eq!(
        (
            container.ports[0].name.as_deref(),
            container.ports[0].protocol
        ),
        (None, Protocol::Tcp)
    );
}

#[test]
fn names() {
    let label = "a".repeat(63);
    let dots = format!("{label}.{label}.{label}.{}", "b".repeat(61));
    for name in ["a", "0", "a-b", "1.2", label.as_str(), dots.as_str()] {
        assert_eq!(pod(&in_metadata(&format!("name: \"{name}\""))).name, name);
    }
    let long = format!("name: {dots}b");
    check(
        &[
            ("name: \"\"", "m.yaml:4:3: metadata.name is required"),
            ("name:", "m.yaml:4:3: metadata.name is required"),
            ("labels: {a: b}", "m.yaml:4:3: metadata.name is required"),
            (
                "name: Web",
                "m.yaml:4:9: metadata.name: \"Web\" must be lower-case letters, digits, '-' and '.', and start and end with a letter or digit",
            ),
            (
                "name: my_app",
                "m.yaml:4:9: metadata.name: \"my_app\" must be lower-case letters, digits, '-' and '.', and start and end with a letter or digit",
            ),
            (
                "name: -a",
                "m.yaml:4:9: metadata.name: \"-a\" must be lower-case letters, digits, '-' and '.', and start and end with a letter or digit",
            ),
            (
                "name: a-",
                "m.yaml:4:9: metadata.name: \"a-\" must be lower-case letters, digits, '-' and '.', and start and end with a letter or digit",
            ),
            (
                "name: a..b",
                "m.yaml:4:9: metadata.name: \"a..b\" must be lower-case letters, digits, '-' and '.', and start and end with a letter or digit",
            ),
            (
                "name: a.-b",
                "m.yaml:4:9: metadata.name: \"a.-b\" must be lower-case letters, digits, '-' and '.', and start and end with a letter or digit",
            ),
            (
                "name: é",
                "m.yaml:4:9: metadata.name: \"é\" must be lower-case letters, digits, '-' and '.', and start and end with a letter or digit",
            ),
            (
                "name: \"a\\nb\"",
                "m.yaml:4:9: metadata.name: \"a\\nb\" must be lower-case letters, digits, '-' and '.', and start and end with a letter or digit",
            ),
            (
                "name: [a]",
                "m.yaml:4:9: metadata.name: expected a string, found a list",
            ),
            (
                &long,
                "m.yaml:4:9: metadata.name: \"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"… is 254 characters long, at most 253 are allowed",
            ),
        ],
        in_metadata,
    );
    let (long_value, long_key, long_prefix) = (
        format!("name: p\nlabels: {{a: {label}a}}"),
        format!("name: p\nlabels: {{{label}a: b}}"),
        format!("name: p\nlabels: {{{dots}b/a: b}}"),
    );
    check(
        &[
            (
                "name: p\nlabels: {a: -b}",
                "m.yaml:5:15: metadata.labels[\"a\"]: \"-b\" must be letters, digits, '-', '_' and '.', and start and end with a letter or digit",
            ),
            (
                "name: p\nlabels: {a: \"b c\"}",
                "m.yaml:5:15: metadata.labels[\"a\"]: \"b c\" must be letters, digits, '-', '_' and '.', and start and end with a letter or digit",
            ),
            (
                "name: p\nlabels: {a: [b]}",
                "m.yaml:5:15: metadata.labels[\"a\"]: expected a string, found a list",
            ),
            (
                "name: p\nlabels: {\"\": b}",
                "m.yaml:5:12: metadata.labels: key \"\" must be letters, digits, '-', '_' and '.', start and end with a letter or digit, and may have a DNS name and '/' before it",
            ),
            (
                "name: p\nlabels: {a/b/c: d}",
                "m.yaml:5:12: metadata.labels: key \"a/b/c\" must be letters, digits, '-', '_' and '.', start and end with a letter or digit, and may have a DNS name and '/' before it",
            ),
            (
                "name: p\nlabels: {A.com/b: c}",
                "m.yaml:5:12: metadata.labels: key \"A.com/b\" has a bad prefix \"A.com\", which must be lower-case letters, digits, '-' and '.', and start and end with a letter or digit",
            ),
            (
                "name: p\nlabels: {/a: b}",
                "m.yaml:5:12: metadata.labels: key \"/a\" has a bad prefix \"\", which must be lower-case letters, digits, '-' and '.', and start and end with a letter or digit",
            ),
            (
                "name: p\nlabels: {a/: b}",
                "m.yaml:5:12: metadata.labels: key \"a/\" must be letters, digits, '-', '_' and '.', start and end with a letter or digit, and may have a DNS name and '/' before it",
            ),
            (
                "name: p\nlabels: [a]",
                "m.yaml:5:11: metadata.labels: expected a mapping, found a list",
            ),
            (
                "name: p\nannotations: {a b: c}",
                "m.yaml:5:17: metadata.annotations: key \"a b\" must be letters, digits, '-', '_' and '.', start and end with a letter or digit, and may have a DNS name and '/' before it",
            ),
            ("name: p\nannotations: {A.com/B: \"any text -\"}", "ok p"),
            (
                &long_value,
                "m.yaml:5:15: metadata.labels[\"a\"]: \"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\" is 64 characters long, at most 63 are allowed",
            ),
            (
                &long_key,
                "m.yaml:5:12: metadata.labels: key \"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\" is 64 characters long, at most 63 are allowed",
            ),
            (
                &long_prefix,
                "m.yaml:5:12: metadata.labels: key \"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"… has a bad prefix \"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"…, which is 254 characters long, at most 253 are allowed",
            ),
        ],
        in_metadata,
    );
    let long_name = format!("containers: [{{name: {label}a, image: i}}]");
    check(
        &[
            (
                &long_name,
                "m.yaml:5:23: spec.containers[0].name: \"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\" is 64 characters long, at most 63 are allowed",
            ),
            (
                "containers: [{name: a.b, image: i}]",
                "m.yaml:5:23: spec.containers[0].name: \"a.b\" must be lower-case letters, digits and '-', and start and end with a letter or digit",
            ),
            (
                "containers: [{name: A, image: i}]",
                "m.yaml:5:23: spec.containers[0].name: \"A\" must be lower-case letters, digits and '-', and start and end with a letter or digit",
            ),
            (
                "containers: [{name: \"\", image: i}]",
                "m.yaml:5:23: spec.containers[0].name: \"\" must be lower-case letters, digits and '-', and start and end with a letter or digit",
            ),
            (
                "containers: [{image: i}]",
                "m.yaml:5:16: spec.containers[0].name is required",
            ),
            (
                "containers: [{name: a, image: i}, {name: b, image: i}, {name: a, image: i}]",
                "m.yaml:5:65: spec.containers[2].name: \"a\" is used twice, first in line 5",
            ),
            (
                "containers: [{name: A, image: i}, {name: A, image: i}]",
                "m.yaml:5:23: spec.containers[0].name: \"A\" must be lower-case letters, digits and '-', and start and end with a letter or digit\nm.yaml:5:44: spec.containers[1].name: \"A\" is used twice, first in line 5\nm.yaml:5:44: spec.containers[1].name: \"A\" must be lower-case letters, digits and '-', and start and end with a letter or digit",
            ),
            (
                "containers: []",
                "m.yaml:5:15: spec.containers: a Pod needs at least one container",
            ),
            ("containers:", "m.yaml:5:3: spec.containers is required"),
            (
                "containers: {}",
                "m.yaml:5:15: spec.containers: expected a list, found a mapping",
            ),
            (
                "containers: [null]",
                "m.yaml:5:16: spec.containers[0]: expected a mapping, found null",
            ),
            (
                "containers: [a]",
                "m.yaml:5:16: spec.containers[0]: expected a mapping, found a string (\"a\")",
            ),
            ("{}", "m.yaml:5:3: spec.containers is required"),
        ],
        |fields| format!("apiVersion: v1\nkind: Pod\nmetadata: {{name: p}}\nspec:\n  {fields}\n"),
    );
    check(
        &[
            (
                "hostname: a.b",
                "m.yaml:6:13: spec.hostname: \"a.b\" must be lower-case letters, digits and '-', and start and end with a letter or digit",
            ),
            (
                "hostname: Web",
                "m.yaml:6:13: spec.hostname: \"Web\" must be lower-case letters, digits and '-', and start and end with a letter or digit",
            ),
            (
                "hostname: 1",
                "m.yaml:6:13: spec.hostname: expected a string, found a number (1) | quote it: \"1\"",
            ),
            ("hostname: \"1\"", "ok p"),
            (
                "volumes: [{name: a.b}]",
                "m.yaml:6:20: spec.volumes[0].name: \"a.b\" must be lower-case letters, digits and '-', and start and end with a letter or digit",
            ),
            (
                "volumes: [{name: v}, {name: v}]",
                "m.yaml:6:31: spec.volumes[1].name: \"v\" is used twice, first in line 6",
            ),
            (
                "volumes: [{emptyDir: {}}]",
                "m.yaml:6:13: spec.volumes[0].name is required",
            ),
            (
                "volumes: [{name: v, emptyDir: x}]",
                "m.yaml:6:33: spec.volumes[0].emptyDir: expected a mapping, found a string (\"x\")",
            ),
            (
                "volumes: {}",
                "m.yaml:6:12: spec.volumes: expected a list, found a mapping",
            ),
        ],
        in_spec,
    );
}

#[test]
fn images() {
    check(
        &[
            (
                "image: \"\"",
                "m.yaml:7:12: spec.containers[0].image: \"\" names no image",
            ),
            ("image:", "m.yaml:6:5: spec.containers[0].image is required"),
            (
                "image: \" nginx\"",
                "m.yaml:7:12: spec.containers[0].image: \" nginx\" must not contain white space or control characters",
            ),
            (
                "image: \"a b\"",
                "m.yaml:7:12: spec.containers[0].image: \"a b\" must not contain white space or control characters",
            ),
            (
                "image: \"a\\tb\"",
                "m.yaml:7:12: spec.containers[0].image: \"a\\tb\" must not contain white space or control characters",
            ),
            (
                "image: \"a\\e[0m\"",
                "m.yaml:7:12: spec.containers[0].image: \"a\\u{1b}[0m\" must not contain white space or control characters",
            ),
            (
                "image: \"a\\0b\"",
                "m.yaml:7:12: spec.containers[0].image: \"a\\0b\" must not contain a NUL character",
            ),
            (
                "image: 1.25",
                "m.yaml:7:12: spec.containers[0].image: expected a string, found a number (1.25) | quote it: \"1.25\"",
            ),
            ("image: nginx", "ok p"),
            ("image: registry.example.com:5000/a/b@sha256:abc", "ok p"),
        ],
        |fields| in_container(fields).replace("    image: i\n", ""),
    );
}

#[test]
fn ports() {
    check(
        &[
            (
                "ports: [{containerPort: 0}]",
                "m.yaml:8:29: spec.containers[0].ports[0].containerPort: \"0\" must be between 1 and 65535",
            ),
            (
                "ports: [{containerPort: 65536}]",
                "m.yaml:8:29: spec.containers[0].ports[0].containerPort: \"65536\" must be between 1 and 65535",
            ),
            (
                "ports: [{containerPort: -1}]",
                "m.yaml:8:29: spec.containers[0].ports[0].containerPort: \"-1\" must be between 1 and 65535",
            ),
            (
                "ports: [{containerPort: 80.5}]",
                "m.yaml:8:29: spec.containers[0].ports[0].containerPort: expected a whole number, found a number (80.5)",
            ),
            (
                "ports: [{containerPort: \"80\"}]",
                "m.yaml:8:29: spec.containers[0].ports[0].containerPort: expected a number, found a string (\"80\") | remove the quotes: 80",
            ),
            (
                "ports: [{containerPort: http}]",
                "m.yaml:8:29: spec.containers[0].ports[0].containerPort: expected a whole number, found a string (\"http\")",
            ),
            (
                "ports: [{name: http}]",
                "m.yaml:8:13: spec.containers[0].ports[0].containerPort is required",
            ),
            (
                "ports: [80]",
                "m.yaml:8:13: spec.containers[0].ports[0]: expected a mapping, found a number (80)",
            ),
            (
                "ports: 80",
                "m.yaml:8:12: spec.containers[0].ports: expected a list, found a number (80)",
            ),
            (
                "ports: [{containerPort: 80, protocol: tcp}]",
                "m.yaml:8:43: spec.containers[0].ports[0].protocol: \"tcp\" must be one of TCP, UDP, SCTP",
            ),
            (
                "ports: [{containerPort: 10248}]",
                "m.yaml:8:29: spec.containers[0].ports[0].containerPort: \"10248\" is the port where the VM tells the Pod's state",
            ),
            (
                "ports: [{containerPort: 80, hostPort: 65536}]",
                "m.yaml:8:43: spec.containers[0].ports[0].hostPort: \"65536\" must be between 0 and 65535",
            ),
            (
                "ports: [{containerPort: 80, hostIP: here}]",
                "m.yaml:8:41: spec.containers[0].ports[0].hostIP: \"here\" is no IP address",
            ),
            (
                "ports: [{containerPort: 80, name: HTTP}]",
                "m.yaml:8:39: spec.containers[0].ports[0].name: \"HTTP\" must be lower-case letters (at least one), digits and single '-' between them",
            ),
            (
                "ports: [{containerPort: 80, name: a-name-too-long1}]",
                "m.yaml:8:39: spec.containers[0].ports[0].name: \"a-name-too-long1\" is 16 characters long, at most 15 are allowed",
            ),
            (
                "ports: [{containerPort: 80, name: \"80\"}]",
                "m.yaml:8:39: spec.containers[0].ports[0].name: \"80\" must be lower-case letters (at least one), digits and single '-' between them",
            ),
            (
                "ports: [{containerPort: 80, name: a--b}]",
                "m.yaml:8:39: spec.containers[0].ports[0].name: \"a--b\" must be lower-case letters (at least one), digits and single '-' between them",
            ),
            (
                "ports: [{containerPort: 80, name: a}, {containerPort: 81, name: a}]",
                "m.yaml:8:69: spec.containers[0].ports[1].name: \"a\" is used twice, first in line 8",
            ),
            ("ports: [{containerPort: 80}, {containerPort: 80}]", "ok p"),
        ],
        in_container,
    );
}

#[test]
fn quantities() {
    for (text, bytes) in [
        ("64M", 64_000_000),
        ("64Mi", 64 << 20),
        ("1e6", 1_000_000),
        ("1E", 1_000_000_000_000_000_000),
        ("1.5Gi", 3 << 29),
        ("\" 1k \"", 1000),
        ("0x400", 1024),
        ("1000000Ei", i64::MAX as u64),
        ("1e300", i64::MAX as u64),
        ("123456789012345678901234567890", i64::MAX as u64),
    ] {
        let got = container(&format!("resources: {{limits: {{memory: {text}}}}}"));
        assert_eq!(
            got.resources.limits.memory.unwrap().value(),
            bytes,
            "{text}"
        );
    }
    for (text, millis) in [
        ("1", 1000),
        ("500m", 500),
        ("0.1", 100),
        (".5", 500),
        ("1e-3", 1),
        ("1u", 1),
        ("0", 0),
    ] {
        let got = container(&format!("resources: {{limits: {{cpu: {text}}}}}"));
        assert_eq!(
            got.resources.limits.cpu.unwrap().milli_value(),
            millis,
            "{text}"
        );
    }
    check(
        &[
            (
                "resources: {limits: {memory: 64MB}}",
                "m.yaml:8:34: spec.containers[0].resources.limits.memory: \"64MB\" is no quantity, which is a number with an optional suffix (n u m k M G T P E Ki Mi Gi Ti Pi Ei, or an exponent)",
            ),
            (
                "resources: {limits: {memory: 64mi}}",
                "m.yaml:8:34: spec.containers[0].resources.limits.memory: \"64mi\" is no quantity, which is a number with an optional suffix (n u m k M G T P E Ki Mi Gi Ti Pi Ei, or an exponent)",
            ),
            (
                "resources: {limits: {memory: 64K}}",
                "m.yaml:8:34: spec.containers[0].resources.limits.memory: \"64K\" is no quantity, which is a number with an optional suffix (n u m k M G T P E Ki Mi Gi Ti Pi Ei, or an exponent)",
            ),
            (
                "resources: {limits: {memory: \"\"}}",
                "m.yaml:8:34: spec.containers[0].resources.limits.memory: \"\" is no quantity, which is a number with an optional suffix (n u m k M G T P E Ki Mi Gi Ti Pi Ei, or an exponent)",
            ),
            (
                "resources: {limits: {memory: Gi}}",
                "m.yaml:8:34: spec.containers[0].resources.limits.memory: \"Gi\" is no quantity, which is a number with an optional suffix (n u m k M G T P E Ki Mi Gi Ti Pi Ei, or an exponent)",
            ),
            (
                "resources: {limits: {memory: -1}}",
                "m.yaml:8:34: spec.containers[0].resources.limits.memory: \"-1\" must not be negative",
            ),
            (
                "resources: {limits: {cpu: -100m}}",
                "m.yaml:8:31: spec.containers[0].resources.limits.cpu: \"-100m\" must not be negative",
            ),
            (
                "resources: {limits: {cpu: yes}}",
                "m.yaml:8:31: spec.containers[0].resources.limits.cpu: expected a quantity, found a boolean (yes)",
            ),
            ("resources: {limits: {cpu: null}}", "ok p"),
            (
                "resources: {limits: {cpu: [1]}}",
                "m.yaml:8:31: spec.containers[0].resources.limits.cpu: expected a quantity, found a list",
            ),
            (
                "resources: {limits: {cpu: .inf}}",
                "m.yaml:8:31: spec.containers[0].resources.limits.cpu: expected a quantity, found a number (.inf)",
            ),
            (
                "resources: {limits: {cpu: 1.2.3}}",
                "m.yaml:8:31: spec.containers[0].resources.limits.cpu: \"1.2.3\" is no quantity, which is a number with an optional suffix (n u m k M G T P E Ki Mi Gi Ti Pi Ei, or an exponent)",
            ),
            (
                "resources: {limits: {cpu: \"99999999999999999999999999999999999999999\"}}",
                "m.yaml:8:31: spec.containers[0].resources.limits.cpu: \"99999999999999999999999999999999999999999\" has more digits than a quantity can hold",
            ),
            (
                "resources: {limits: {memory: 64m}}",
                "note m.yaml:8:34: spec.containers[0].resources.limits.memory: not a whole number of bytes, 1 is taken",
            ),
            (
                "resources: {requests: {memory: 0.5}}",
                "note m.yaml:8:36: spec.containers[0].resources.requests.memory: not a whole number of bytes, 1 is taken",
            ),
            (
                "resources: {limits: {cpu: 1}, requests: {cpu: 2}}",
                "m.yaml:8:51: spec.containers[0].resources.requests.cpu: \"2\" is more than the cpu limit",
            ),
            (
                "resources: {limits: {cpu: 1, memory: 1Gi}, requests: {cpu: 1000m, memory: 1025Mi}}",
                "m.yaml:8:79: spec.containers[0].resources.requests.memory: \"1025Mi\" is more than the memory limit",
            ),
            ("resources: {requests: {cpu: 2}}", "ok p"),
            ("resources: {limits: {ephemeral-storage: 1Gi}}", "ok p"),
            (
                "resources: {limits: {ephemeral-storage: 1Gi}, requests: {ephemeral-storage: 2Gi}}",
                "m.yaml:8:81: spec.containers[0].resources.requests.ephemeral-storage: \"2Gi\" is more than the ephemeral-storage limit",
            ),
            ("resources: {limits: {hugepages-2Mi: 2Mi}}", "ok p"),
            (
                "resources: {limits: {hugepages-2Mi: 3Mi}}",
                "m.yaml:8:41: spec.containers[0].resources.limits[\"hugepages-2Mi\"]: \"3Mi\" must be a multiple of the page's size",
            ),
            (
                "resources: {limits: {hugepages-3Mi: 3Mi}}",
                "m.yaml:8:26: spec.containers[0].resources.limits[\"hugepages-3Mi\"]: pages are of 2Mi or 1Gi",
            ),
            (
                "resources: {requests: {hugepages-2Mi: 2Mi}, limits: {memory: 1Gi}}",
                "m.yaml:8:57: spec.containers[0].resources.limits: must have the huge pages of requests",
            ),
            (
                "resources: {limits: {nvidia.com/gpu: 1}}",
                "m.yaml:8:26: spec.containers[0].resources.limits[\"nvidia.com/gpu\"] needs a device plugin of a cluster, which a VM does not have",
            ),
            (
                "resources: {limits: {memry: 1Gi}}",
                "m.yaml:8:26: spec.containers[0].resources.limits[\"memry\"] is no resource of a container | did you mean \"memory\"?",
            ),
            (
                "resources: {limits: {storage: 1Gi}}",
                "m.yaml:8:26: spec.containers[0].resources.limits[\"storage\"] is no resource of a container",
            ),
            (
                "resources: {limits: {CPU: 1}}",
                "m.yaml:8:26: spec.containers[0].resources.limits[\"CPU\"] is no resource of a container | did you mean \"cpu\"?",
            ),
            (
                "resources: {limits: {gpu: 1}}",
                "m.yaml:8:26: spec.containers[0].resources.limits[\"gpu\"] is no resource of a container",
            ),
            (
                "resources: {limits: {nvidia.com/: 1}}",
                "m.yaml:8:26: spec.containers[0].resources.limits[\"nvidia.com/\"] is no resource of a container",
            ),
            (
                "resources: {limits: 1}",
                "m.yaml:8:25: spec.containers[0].resources.limits: expected a mapping, found a number (1)",
            ),
            (
                "resources: {limits: []}",
                "m.yaml:8:25: spec.containers[0].resources.limits: expected a mapping, found a list",
            ),
            (
                "resources: 1",
                "m.yaml:8:16: spec.containers[0].resources: expected a mapping, found a number (1)",
            ),
            (
                "resources: {claims: [{name: a}]}",
                "m.yaml:8:17: spec.containers[0].resources.claims needs a device plugin of a cluster, which a VM does not have",
            ),
        ],
        in_container,
    );
}

#[test]
fn variables() {
    check(
        &[
            (
                "env: [{name: A=B}]",
                "m.yaml:8:18: spec.containers[0].env[0].name: \"A=B\" must be printable ASCII characters other than '='",
            ),
            (
                "env: [{name: \"\"}]",
                "m.yaml:8:18: spec.containers[0].env[0].name: \"\" must be printable ASCII characters other than '='",
            ),
            (
                "env: [{name: É}]",
                "m.yaml:8:18: spec.containers[0].env[0].name: \"É\" must be printable ASCII characters other than '='",
            ),
            (
                "env: [{value: a}]",
                "m.yaml:8:11: spec.containers[0].env[0].name is required",
            ),
            (
                "env: [{name: A, value: \"a\\0b\"}]",
                "m.yaml:8:28: spec.containers[0].env[0].value: \"a\\0b\" must not contain a NUL character",
            ),
            (
                "env: [A=b]",
                "m.yaml:8:11: spec.containers[0].env[0]: expected a mapping, found a string (\"A=b\")",
            ),
            (
                "env: {A: b}",
                "m.yaml:8:10: spec.containers[0].env: expected a list, found a mapping",
            ),
            ("env: [{name: \"1 a.b-c/d\"}, {name: \"%$(A)\"}]", "ok p"),
        ],
        in_container,
    );
}

#[test]
fn ids() {
    check(
        &[
            (
                "securityContext: {runAsUser: -1}",
                "m.yaml:8:34: spec.containers[0].securityContext.runAsUser: \"-1\" must be between 0 and 2147483647",
            ),
            (
                "securityContext: {runAsUser: 2147483648}",
                "m.yaml:8:34: spec.containers[0].securityContext.runAsUser: \"2147483648\" must be between 0 and 2147483647",
            ),
            (
                "securityContext: {runAsGroup: 99999999999999999999}",
                "m.yaml:8:35: spec.containers[0].securityContext.runAsGroup: \"99999999999999999999\" must be between 0 and 2147483647",
            ),
            (
                "securityContext: {runAsGroup: 2147483648}",
                "m.yaml:8:35: spec.containers[0].securityContext.runAsGroup: \"2147483648\" must be between 0 and 2147483647",
            ),
            ("securityContext: {runAsUser: 0, runAsGroup: 0}", "ok p"),
            (
                "securityContext: []",
                "m.yaml:8:22: spec.containers[0].securityContext: expected a mapping, found a list",
            ),
        ],
        in_container,
    );
    check(
        &[
            (
                "securityContext: {runAsUser: 2147483648, runAsGroup: -5}",
                "m.yaml:6:32: spec.securityContext.runAsUser: \"2147483648\" must be between 0 and 2147483647\nm.yaml:6:56: spec.securityContext.runAsGroup: \"-5\" must be between 0 and 2147483647",
            ),
            (
                "securityContext: {runAsGroup: staff}",
                "m.yaml:6:33: spec.securityContext.runAsGroup: expected a whole number, found a string (\"staff\")",
            ),
        ],
        in_spec,
    );
}

#[test]
fn paths() {
    check(
        &[
            (
                "workingDir: srv",
                "m.yaml:8:17: spec.containers[0].workingDir: \"srv\" must be an absolute path",
            ),
            (
                "workingDir: ./srv",
                "m.yaml:8:17: spec.containers[0].workingDir: \"./srv\" must be an absolute path",
            ),
            ("workingDir: /", "ok p"),
            (
                "volumeMounts: [{name: v, mountPath: \"\"}]",
                "m.yaml:8:41: spec.containers[0].volumeMounts[0].mountPath: \"\" is no path",
            ),
            (
                "volumeMounts: [{name: v, mountPath: /}]",
                "m.yaml:8:41: spec.containers[0].volumeMounts[0].mountPath: \"/\" is the container's own root",
            ),
            (
                "volumeMounts: [{name: v, mountPath: .}]",
                "m.yaml:8:41: spec.containers[0].volumeMounts[0].mountPath: \".\" is the container's own root",
            ),
            (
                "volumeMounts: [{name: v, mountPath: \"/a:b\"}]",
                "m.yaml:8:41: spec.containers[0].volumeMounts[0].mountPath: \"/a:b\" must not contain ':'",
            ),
            (
                "volumeMounts: [{name: v, mountPath: /a/../b}]",
                "m.yaml:8:41: spec.containers[0].volumeMounts[0].mountPath: \"/a/../b\" must not contain \"..\"",
            ),
            ("volumeMounts: [{name: v, mountPath: /a..b/c}]", "ok p"),
            (
                "volumeMounts: [{name: v}]",
                "m.yaml:8:20: spec.containers[0].volumeMounts[0].mountPath is required",
            ),
            (
                "volumeMounts: [{mountPath: /v}]",
                "m.yaml:8:20: spec.containers[0].volumeMounts[0].name is required",
            ),
            (
                "volumeMounts: [{name: x, mountPath: /v}]",
                "m.yaml:8:27: spec.containers[0].volumeMounts[0].name: \"x\" is no volume of the Pod, which has v, w",
            ),
            (
                "volumeMounts: [{name: v, mountPath: /a}, {name: w, mountPath: /a/}]",
                "m.yaml:8:67: spec.containers[0].volumeMounts[1].mountPath: \"/a/\" is used twice, first in line 8",
            ),
            (
                "volumeMounts: [{name: v, mountPath: a}, {name: w, mountPath: /a}]",
                "m.yaml:8:66: spec.containers[0].volumeMounts[1].mountPath: \"/a\" is used twice, first in line 8",
            ),
            (
                "volumeMounts: [{name: v, mountPath: /a}, {name: v, mountPath: /a/b}]",
                "ok p",
            ),
            (
                "volumeMounts: [v]",
                "m.yaml:8:20: spec.containers[0].volumeMounts[0]: expected a mapping, found a string (\"v\")",
            ),
        ],
        in_container,
    );
    let mount = in_container("volumeMounts: [{name: x, mountPath: /v}]");
    let volumes = "  volumes: [{name: v}, {name: w, emptyDir: {}}]\n";
    assert!(mount.contains(volumes));
    let path = "m.yaml:8:27: spec.containers[0].volumeMounts[0].name";
    assert_eq!(
        told(&read(mount.replace(volumes, ""))),
        format!("{path}: \"x\" is no volume of the Pod, which has none")
    );
    let many: String = (10..22).map(|i| format!("{{name: v{i}}}, ")).collect();
    assert_eq!(
        told(&read(
            mount.replace(volumes, &format!("  volumes: [{many}]\n"))
        )),
        format!(
            "{path}: \"x\" is no volume of the Pod, which has v10, v11, v12, v13, v14, v15, v16, v17, v18, v19, more"
        )
    );
}

#[test]
fn policies() {
    check(
        &[
            ("restartPolicy: Always", "ok p"),
            (
                "restartPolicy: always",
                "m.yaml:6:18: spec.restartPolicy: \"always\" must be one of Always, OnFailure, Never",
            ),
            (
                "restartPolicy: UnlessStopped",
                "m.yaml:6:18: spec.restartPolicy: \"UnlessStopped\" must be one of Always, OnFailure, Never",
            ),
            (
                "restartPolicy: no",
                "m.yaml:6:18: spec.restartPolicy: expected a string, found a boolean (no) | quote it: \"no\"",
            ),
            (
                "terminationGracePeriodSeconds: -1",
                "m.yaml:6:34: spec.terminationGracePeriodSeconds: \"-1\" must be between 0 and 4294967295",
            ),
            ("terminationGracePeriodSeconds: 4294967295", "ok p"),
            (
                "terminationGracePeriodSeconds: 4294967296",
                "m.yaml:6:34: spec.terminationGracePeriodSeconds: \"4294967296\" must be between 0 and 4294967295",
            ),
            (
                "terminationGracePeriodSeconds: 1.5",
                "m.yaml:6:34: spec.terminationGracePeriodSeconds: expected a whole number, found a number (1.5)",
            ),
            (
                "terminationGracePeriodSeconds: 30s",
                "m.yaml:6:34: spec.terminationGracePeriodSeconds: expected a whole number, found a string (\"30s\")",
            ),
            ("terminationGracePeriodSeconds: 1e1", "ok p"),
        ],
        in_spec,
    );
}

#[test]
fn all_problems_are_told_at_once() {
    check(
        &[(
            "apiVersion: v1
kind: Pod
metadata:
  name: Web
  labls: {a: b}
spec:
  restartPolicy: Sometimes
  containers:
  - name: web
    image: nginx
    ports: [{containerPort: 99999}, {containerport: 80}]
    env: [{name: DEBUG, value: on}]
    volumeMounts: [{name: data, mountPath: /data}]
  - name: web
    livenessProbe: {exec: {command: [true]}}
",
            "m.yaml:4:9: metadata.name: \"Web\" must be lower-case letters, digits, '-' and '.', and start and end with a letter or digit\nm.yaml:5:3: unknown field \"labls\" in metadata | did you mean \"labels\"?\nm.yaml:7:18: spec.restartPolicy: \"Sometimes\" must be one of Always, OnFailure, Never\nm.yaml:11:29: spec.containers[0].ports[0].containerPort: \"99999\" must be between 1 and 65535\nm.yaml:11:37: spec.containers[0].ports[1].containerPort is required\nm.yaml:11:38: unknown field \"containerport\" in spec.containers[0].ports[1] | did you mean \"containerPort\"?\nm.yaml:12:32: spec.containers[0].env[0].value: expected a string, found a boolean (on) | quote it: \"on\"\nm.yaml:13:27: spec.containers[0].volumeMounts[0].name: \"data\" is no volume of the Pod, which has none\nm.yaml:14:5: spec.containers[1].image is required\nm.yaml:14:11: spec.containers[1].name: \"web\" is used twice, first in line 9\nm.yaml:15:38: spec.containers[1].livenessProbe.exec.command[0]: expected a string, found a boolean (true) | quote it: \"true\"",
        )],
        whole,
    );
}
