//! Restarts, probes, hooks and last words of a container.

use i2kit_contract::{
    Check, Exec, ExitCodeOperator, Grpc, Header, Hook, HttpGet, Life, MessagePolicy, Probe,
    RestartPolicy, RestartRule, Scheme, TcpSocket, TerminationMessage,
};

use super::*;

fn probe(check: Check) -> Probe {
    Probe {
        check,
        initial_delay_seconds: 0,
        timeout_seconds: 1,
        period_seconds: 10,
        success_threshold: 1,
        failure_threshold: 3,
        termination_grace_period_seconds: None,
    }
}

fn exec(words: &[&str]) -> Exec {
    Exec {
        command: words.iter().map(|word| (*word).to_owned()).collect(),
    }
}

#[test]
fn a_life_is_what_the_manifest_says() {
    let container = container(
        "restartPolicy: Never
restartPolicyRules: [{action: Restart, exitCodes: {operator: NotIn, values: [0, 255]}}]
ports: [{name: web, containerPort: 8080}]
livenessProbe: {exec: {command: [cat, /ok]}, initialDelaySeconds: 5, timeoutSeconds: 2, periodSeconds: 3, failureThreshold: 1, terminationGracePeriodSeconds: 60}
readinessProbe: {grpc: {port: 9000, service: shop}, successThreshold: 2}
startupProbe: {tcpSocket: {port: web, host: localhost}}
lifecycle: {postStart: {httpGet: {port: web, scheme: HTTPS, path: a b, httpHeaders: [{name: Host, value: x}]}}, preStop: {sleep: {seconds: 30}}, stopSignal: SIGRTMIN+3}
terminationMessagePath: /tmp/last
terminationMessagePolicy: FallbackToLogsOnError
stdin: true
tty: true",
    );
    let socket = TcpSocket {
        host: Some([127, 0, 0, 1].into()),
        port: 8080,
    };
    let get = HttpGet {
        scheme: Scheme::Https,
        host: None,
        port: 8080,
        path: "/a%20b".into(),
        headers: vec![Header {
            name: "Host".into(),
            value: "x".into(),
        }],
    };
    let expected = Life {
        restart_policy: Some(RestartPolicy::Never),
        restart_rules: vec![RestartRule {
            operator: ExitCodeOperator::NotIn,
            exit_codes: vec![0, 255],
        }],
        liveness_probe: Some(Probe {
            initial_delay_seconds: 5,
            timeout_seconds: 2,
            period_seconds: 3,
            failure_threshold: 1,
            termination_grace_period_seconds: Some(60),
            ..probe(Check::Exec(exec(&["cat", "/ok"])))
        }),
        readiness_probe: Some(Probe {
            success_threshold: 2,
            ..probe(Check::Grpc(Grpc {
                port: 9000,
                service: "shop".into(),
            }))
        }),
        startup_probe: Some(probe(Check::TcpSocket(socket))),
        post_start: Some(Hook::HttpGet(get)),
        pre_stop: Some(Hook::Sleep { seconds: 30 }),
        termination_message: TerminationMessage {
            path: "/tmp/last".into(),
            policy: MessagePolicy::FallbackToLogsOnError,
        },
        stdin: true,
        tty: true,
    };
    assert_eq!(container.life, expected);
    assert_eq!(container.stop_signal, Some(37));
}

#[test]
fn zeros_and_what_is_not_said_have_kubernetes_defaults() {
    let zeros = "livenessProbe: {httpGet: {port: 80}, timeoutSeconds: 0, periodSeconds: 0, successThreshold: 0, failureThreshold: 0}";
    let get = HttpGet {
        scheme: Scheme::Http,
        host: None,
        port: 80,
        path: "/".into(),
        headers: Vec::new(),
    };
    let life = container(zeros).life;
    assert_eq!(life.liveness_probe, Some(probe(Check::HttpGet(get))));
    let life = container("lifecycle: {}\nterminationMessagePath: \"\"\nlivenessProbe:").life;
    assert_eq!(life, Life::default());
}

#[test]
fn init_containers_come_first_and_share_the_names() {
    let pod = pod(&in_spec(
        "activeDeadlineSeconds: 5\ninitContainers: [{name: a, image: i}, {name: b, image: i, restartPolicy: Always, readinessProbe: {exec: {command: [a]}}}]",
    ));
    let names: Vec<_> = pod.all_containers().map(|c| c.name.as_str()).collect();
    assert_eq!(names, ["a", "b", "c"]);
    assert_eq!(pod.active_deadline_seconds, Some(5));
    check(
        &[
            (
                "initContainers: [{name: c, image: i}]",
                "m.yaml:5:23: spec.containers[0].name: \"c\" is used twice, first in line 6",
            ),
            (
                "initContainers: [{name: a, image: i, livenessProbe: {exec: {command: [a]}}, lifecycle: {preStop: {sleep: {seconds: 1}}}}]",
                "m.yaml:6:55: spec.initContainers[0].livenessProbe: an init container has none, unless its restartPolicy is Always\nm.yaml:6:90: spec.initContainers[0].lifecycle: an init container has none, unless its restartPolicy is Always",
            ),
            (
                "initContainers: [{name: a, image: i, restartPolicy: Always, restartPolicyRules: [{action: Restart, exitCodes: {operator: In, values: [1]}}]}]",
                "m.yaml:6:83: spec.initContainers[0].restartPolicyRules: a sidecar has none: it always starts again",
            ),
        ],
        in_spec,
    );
}

#[test]
fn probes_that_cannot_be() {
    check(
        &[
            (
                "livenessProbe: {}",
                "m.yaml:8:20: spec.containers[0].livenessProbe: needs one of exec, grpc, httpGet, tcpSocket",
            ),
            (
                "livenessProbe: {tcpSocket: {port: 1}, exec: {command: [a]}}",
                "m.yaml:8:32: spec.containers[0].livenessProbe.tcpSocket: is set besides exec",
            ),
            (
                "livenessProbe: {exec: {command: []}}",
                "m.yaml:8:37: spec.containers[0].livenessProbe.exec.command: is no command",
            ),
            (
                "livenessProbe: {tcpSocket: {port: 1}, successThreshold: 2}",
                "m.yaml:8:61: spec.containers[0].livenessProbe.successThreshold: \"2\" must be 1 in a livenessProbe",
            ),
            (
                "readinessProbe: {tcpSocket: {port: 1}, terminationGracePeriodSeconds: 2}",
                "m.yaml:8:75: spec.containers[0].readinessProbe.terminationGracePeriodSeconds: \"2\" has no place in a readinessProbe, which ends nothing",
            ),
            (
                "livenessProbe: {tcpSocket: {port: 1}, periodSeconds: -1, terminationGracePeriodSeconds: 0}",
                "m.yaml:8:58: spec.containers[0].livenessProbe.periodSeconds: \"-1\" must be between 0 and 2147483647\nm.yaml:8:93: spec.containers[0].livenessProbe.terminationGracePeriodSeconds: \"0\" must be between 1 and 2147483647",
            ),
            (
                "livenessProbe: {httpGet: {port: web}}",
                "m.yaml:8:37: spec.containers[0].livenessProbe.httpGet.port: \"web\" is no port of the container",
            ),
            (
                "livenessProbe: {httpGet: {port: dns}}\nports: [{name: dns, containerPort: 53, protocol: UDP}]",
                "m.yaml:8:37: spec.containers[0].livenessProbe.httpGet.port: \"dns\" is a port that is not TCP",
            ),
            (
                "livenessProbe: {httpGet: {port: 0}}",
                "m.yaml:8:37: spec.containers[0].livenessProbe.httpGet.port: \"0\" must be between 1 and 65535",
            ),
            (
                "livenessProbe: {httpGet: {port: 1, host: example.com, scheme: http, protocol: HTTP2}}",
                "m.yaml:8:46: spec.containers[0].livenessProbe.httpGet.host: \"example.com\" must be an IP address or localhost\nm.yaml:8:67: spec.containers[0].livenessProbe.httpGet.scheme: \"http\" must be one of HTTP, HTTPS\nm.yaml:8:83: spec.containers[0].livenessProbe.httpGet.protocol: \"HTTP2\" must be HTTP1, the rest is behind a feature gate in Kubernetes",
            ),
            (
                "livenessProbe: {httpGet: {port: 1, httpHeaders: [{name: \"a b\", value: \"x\\ny\"}]}}",
                "m.yaml:8:61: spec.containers[0].livenessProbe.httpGet.httpHeaders[0].name: \"a b\" is no name of a header\nm.yaml:8:75: spec.containers[0].livenessProbe.httpGet.httpHeaders[0].value: \"x\\ny\" must not contain control characters",
            ),
            (
                "readinessProbe: {grpc: {port: 1, mode: TLS}}",
                "m.yaml:8:44: spec.containers[0].readinessProbe.grpc.mode: \"TLS\" must be Plaintext, the rest is behind a feature gate in Kubernetes",
            ),
        ],
        in_container,
    );
}

#[test]
fn hooks_and_rules_that_cannot_be() {
    check(
        &[
            (
                "lifecycle: {preStop: {}}",
                "m.yaml:8:26: spec.containers[0].lifecycle.preStop: needs one of exec, httpGet, sleep, tcpSocket",
            ),
            (
                "lifecycle: {preStop: {tcpSocket: {port: 1}}}",
                "m.yaml:8:38: spec.containers[0].lifecycle.preStop.tcpSocket: Kubernetes has no such hook any more | use exec, httpGet or sleep",
            ),
            (
                "lifecycle: {preStop: {sleep: {seconds: 31}}}",
                "m.yaml:8:44: spec.containers[0].lifecycle.preStop.sleep.seconds: \"31\" is more than terminationGracePeriodSeconds (30)",
            ),
            (
                "lifecycle: {stopSignal: TERM}",
                "m.yaml:8:29: spec.containers[0].lifecycle.stopSignal: \"TERM\" is no signal, such as SIGTERM or SIGRTMIN+3",
            ),
            (
                "restartPolicyRules: [{action: Restart, exitCodes: {operator: In, values: [1]}}]",
                "m.yaml:8:25: spec.containers[0].restartPolicyRules: needs a restartPolicy besides",
            ),
            (
                "restartPolicy: Never\nrestartPolicyRules: [{action: RestartAllContainers, exitCodes: {operator: Is, values: [256]}}]",
                "m.yaml:9:35: spec.containers[0].restartPolicyRules[0].action: \"RestartAllContainers\" must be Restart, the rest is behind a feature gate in Kubernetes\nm.yaml:9:79: spec.containers[0].restartPolicyRules[0].exitCodes.operator: \"Is\" must be one of In, NotIn\nm.yaml:9:92: spec.containers[0].restartPolicyRules[0].exitCodes.values[0]: \"256\" must be between 0 and 255",
            ),
            (
                "restartPolicy: Never\nrestartPolicyRules: [{action: Restart, exitCodes: {operator: In}}]",
                "m.yaml:9:55: spec.containers[0].restartPolicyRules[0].exitCodes: needs 1 to 255 values",
            ),
            (
                "terminationMessagePath: log\nterminationMessagePolicy: Log",
                "m.yaml:8:29: spec.containers[0].terminationMessagePath: \"log\" must be an absolute path\nm.yaml:9:31: spec.containers[0].terminationMessagePolicy: \"Log\" must be one of File, FallbackToLogsOnError",
            ),
        ],
        in_container,
    );
}
