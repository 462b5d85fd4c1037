//! Tests: a Pod's life in its machine. The containers ask and judge each other; what they find
//! wrong ends them with an exit code of its own.

use super::{contains, pod};
use crate::support::vm::{Bench, Vm, exit_codes, printed};

/// Waits in a container until a shell condition holds; `code` is its exit code when it never does.
fn until(condition: &str, code: u32) -> String {
    format!(
        "n=0; until {condition}; do n=$((n+1)); test $n -gt 1000 && exit {code}; sleep 0.2; done; "
    )
}

/// `initContainers:` in a Pod's spec, each with lines of its own and a script.
fn init_containers(containers: &[(&str, &str, &str)]) -> String {
    let mut out = String::from("initContainers:\n");
    for (name, more, script) in containers {
        let script = serde_json::to_string(script).unwrap();
        out.push_str(&format!(
            "  - name: {name}\n    image: tiny\n    command: [sh, -c, {script}]\n"
        ));
        more.lines()
            .for_each(|line| out.push_str(&format!("    {line}\n")));
    }
    out
}

const SHARED: &str = "volumeMounts: [{name: s, mountPath: /s}]";

/// Init containers in order, one tried again, a sidecar whose startup probe the next waits for.
fn beginning() -> String {
    let sidecar = "trap 'echo sidecar ends; exit 0' TERM; echo sidecar >> /s/order; sleep 2; \
                   touch /s/up; while true; do sleep 0.1; done";
    let probe = "restartPolicy: Always\nstartupProbe: {exec: {command: [test, -e, /s/up]}, periodSeconds: 1, failureThreshold: 60}\n";
    init_containers(&[
        ("first", SHARED, "echo first >> /s/order"),
        (
            "second",
            &format!("restartPolicy: OnFailure\n{SHARED}"),
            "echo second >> /s/order; test -e /s/tried || { touch /s/tried; exit 1; }",
        ),
        ("sidecar", &format!("{probe}{SHARED}"), sidecar),
        (
            "third",
            SHARED,
            "test -e /s/up || exit 9; echo third >> /s/order",
        ),
    ])
}

/// Is ready only when its page is there, and is ended when it goes.
const WEB: &str = "ports: [{name: web, containerPort: 8080}]
volumeMounts: [{name: s, mountPath: /s}]
readinessProbe: {httpGet: {port: web, path: /health, httpHeaders: [{name: X, value: why}]}, periodSeconds: 1, timeoutSeconds: 5}
startupProbe: {tcpSocket: {port: web}, periodSeconds: 1, failureThreshold: 60}
livenessProbe: {httpGet: {port: web, path: /alive}, periodSeconds: 1, timeoutSeconds: 5, failureThreshold: 2}
lifecycle:
  postStart: {exec: {command: [sh, -c, \"sleep 1; echo post >> /s/order; mkdir -p /s/www; touch /s/www/alive\"]}}
  preStop: {exec: {command: [sh, -c, \"echo pre > /s/pre; sleep 1\"]}}
  stopSignal: SIGINT";

/// Asks the machine for the Pod's state while the Pod's other containers live and die.
fn judge() -> String {
    let ask = |path: &str| format!("wget -q -O - http://127.0.0.1:10248{path}");
    let order = "first second second sidecar third post";
    [
        // The page is not there yet: the Pod is live, but not ready.
        format!("{} > /dev/null || exit 20; ", ask("/livez")),
        format!("{} && exit 21; ", ask("/readyz")),
        "touch /s/www/health; ".into(),
        // While it is being restarted, the Pod is not ready.
        until(
            &format!(
                "{} | grep -q 'restarts_total{{container=\"ruled\"}} 1'",
                ask("/metrics")
            ),
            19,
        ),
        until(&ask("/readyz"), 22),
        format!("test \"$(echo $(cat /s/order))\" = '{order}' || exit 23; "),
        format!("{} > /s/pods; ", ask("/pods")),
        "grep -q '\"phase\":\"Running\"' /s/pods || exit 24; ".into(),
        "grep -q '\"image\":\"tiny\"' /s/pods || exit 25; ".into(),
        format!("{} > /s/metrics; ", ask("/metrics")),
        "grep -q 'kube_pod_status_ready 1' /s/metrics || exit 26; ".into(),
        "grep -q 'restarts_total{container=\"second\"} 1' /s/metrics || exit 27; ".into(),
        "grep -q 'working_set_bytes{container=\"web\"} [1-9]' /s/metrics || exit 28; ".into(),
        // The small ones may end, and web is no longer well.
        "touch /s/seen; rm /s/www/alive; ".into(),
        until("test -e /s/pre", 29),
        until(&format!("{} | grep -q '\"exitCode\":5'", ask("/pods")), 30),
        until(&format!("{} | grep -q 'said at the end'", ask("/pods")), 31),
        until(
            &format!("{} | grep -q 'read from the log'", ask("/pods")),
            32,
        ),
        "echo all is as it should be".into(),
    ]
    .concat()
}

#[test]
fn a_pod_lives_as_it_does_in_a_cluster() {
    let bench = Bench::new();
    let wait = until("test -e /s/seen", 40);
    let web = "trap 'exit 5' INT; mkdir -p /s/www; httpd -p 8080 -h /s/www; while true; do sleep 0.1; done";
    let last = format!("{wait} printf 'said at the end' > /dev/termination-log; exit 7");
    let log = format!("{wait} echo read from the log; exit 8");
    let tty = format!("test -t 0 && test -t 1 && echo \"a terminal, $TERM\"; {wait}");
    let stdin = format!("{wait} read line; echo never");
    let rules = "restartPolicy: Never\nrestartPolicyRules: [{action: Restart, exitCodes: {operator: In, values: [42]}}]\n";
    let ruled = format!("test -e /s/ruled || {{ touch /s/ruled; exit 42; }}; {wait}");
    let judge = judge();
    let containers = [
        ("web", WEB, web),
        ("judge", SHARED, judge.as_str()),
        ("last", SHARED, last.as_str()),
        (
            "log",
            "terminationMessagePolicy: FallbackToLogsOnError\nvolumeMounts: [{name: s, mountPath: /s}]",
            log.as_str(),
        ),
        (
            "tty",
            "tty: true\nstdin: true\nvolumeMounts: [{name: s, mountPath: /s}]",
            tty.as_str(),
        ),
        ("ruled", &format!("{rules}{SHARED}"), ruled.as_str()),
        (
            "open",
            "stdin: true\nvolumeMounts: [{name: s, mountPath: /s}]\nlivenessProbe: {exec: {command: [test, '!', -e, /s/pre]}, periodSeconds: 1, failureThreshold: 1, terminationGracePeriodSeconds: 1}",
            stdin.as_str(),
        ),
    ];
    let spec = format!(
        "restartPolicy: Never\n  terminationGracePeriodSeconds: 20\n  volumes: [{{name: s, emptyDir: {{}}}}]\n  {}",
        beginning()
    );
    let disk = bench.build(&pod(&spec, &containers), "test.raw", &[]);
    let (code, console) = Vm::boot(&disk, &[]).end();
    assert_eq!(code, 5, "{console}");
    let codes = [
        ("web", 5),
        ("judge", 0),
        ("last", 7),
        ("log", 8),
        ("tty", 0),
        ("ruled", 0),
        // A shell that is PID 1 of its container and has no handler hears no SIGTERM.
        ("open", 137),
    ];
    let codes = codes.map(|(name, code)| (name.to_owned(), code));
    assert_eq!(exit_codes(&console), codes, "{console}");
    assert_eq!(
        printed(&console, "judge").last(),
        Some(&"all is as it should be")
    );
    assert_eq!(printed(&console, "tty"), ["a terminal, xterm"]);
    assert_eq!(printed(&console, "open"), [""; 0]);
    contains(
        &console,
        &[
            "i2kit: Normal Ready pod: all containers are ready",
            "i2kit: Warning Exited container second: ended with exit code 1; restart in 0 s",
            "i2kit: Warning Unhealthy container web: Liveness probe failed (1 of 2): HTTP status 404",
            "i2kit: Warning Killing container web: Liveness probe failed: ending the container",
            "i2kit: Warning Exited container last: ended with exit code 7; said at the end",
            "i2kit: Warning Exited container log: ended with exit code 8; read from the log",
            "i2kit: Warning Exited container ruled: ended with exit code 42; restart in 0 s",
            "[sidecar] sidecar ends",
        ],
    );
}

/// A deadline ends a Pod that would run for ever, the sidecars after it in reverse order; and it
/// has failed though every container was polite.
#[test]
fn a_deadline_ends_the_pod_and_sidecars_end_last() {
    let bench = Bench::new();
    let polite = |name: &str| {
        format!("trap 'echo {name} ends; exit 0' TERM; while true; do sleep 0.1; done")
    };
    let sidecars = [polite("one"), polite("two")];
    let always = "restartPolicy: Always";
    let init = init_containers(&[
        ("one", always, sidecars[0].as_str()),
        ("two", always, sidecars[1].as_str()),
    ]);
    let main = "trap 'sleep 1; echo main ends; exit 0' TERM; while true; do sleep 0.1; done";
    let hook = "lifecycle: {preStop: {exec: {command: [sh, -c, \"echo hook > /proc/1/fd/1\"]}}}";
    let spec = format!("activeDeadlineSeconds: 40\n  {init}");
    let disk = bench.build(&pod(&spec, &[("main", hook, main)]), "test.raw", &[]);
    let (code, console) = Vm::boot(&disk, &[]).end();
    assert_eq!(code, 1, "{console}");
    contains(
        &console,
        &[
            "i2kit: Warning DeadlineExceeded pod: the Pod was active longer than its deadline",
            "error: run the Pod: DeadlineExceeded",
        ],
    );
    let ends: Vec<&str> = console
        .lines()
        .filter_map(|line| line.strip_prefix('[')?.split_once("] "))
        // The kernel's lines have a time there.
        .filter(|(name, _)| !name.starts_with(' '))
        .map(|(_, said)| said)
        .collect();
    assert_eq!(
        ends,
        ["hook", "main ends", "two ends", "one ends"],
        "{console}"
    );
    assert_eq!(exit_codes(&console), [("main".into(), 0)]);
}

/// Floods of lines and zombies, then a full disk, then want of memory, then a fork bomb.
#[test]
fn the_machine_stands_what_its_containers_do() {
    let bench = Bench::new();
    let both = until("test -e /s/flood && test -e /s/zombies", 50);
    let full = until("test -e /s/full", 51);
    let flood = "seq 1 60000; touch /s/flood; exit 7";
    let zombies = "n=0; while test $n -lt 2000; do (true &); n=$((n+1)); done; touch /s/zombies; \
                   sleep 2; exit 4";
    let disk = format!(
        "{both} dd if=/dev/zero of=/data/all bs=1M 2> /dev/null; echo full; sleep 2; \
         rm /data/all; touch /s/full; exit 6"
    );
    let hog = format!("{full} x=a; while true; do x=$x$x; done");
    // `read` needs no other process to wait.
    let bomb = format!("{full} sleep 10; b() {{ b | b & }}; b 2> /dev/null; read -t 6 x; exit 3");
    let stdin = format!("stdin: true\n{SHARED}");
    let containers = [
        ("flood", SHARED, flood),
        ("zombies", SHARED, zombies),
        ("full", SHARED, disk.as_str()),
        ("hog", SHARED, hog.as_str()),
        ("bomb", stdin.as_str(), bomb.as_str()),
    ];
    let spec = "restartPolicy: Never\n  volumes: [{name: s, emptyDir: {}}]";
    let options = ["--scratch", "128MiB"];
    let disk = bench.build(&pod(spec, &containers), "test.raw", &options);
    let (code, console) = Vm::boot(&disk, &["--memory", "512MiB"]).end();
    assert_eq!(code, 7, "{console}");
    let codes = [
        ("flood", 7),
        ("zombies", 4),
        ("full", 6),
        ("hog", 137),
        ("bomb", 3),
    ];
    let codes = codes.map(|(name, code)| (name.to_owned(), code));
    assert_eq!(exit_codes(&console), codes, "{console}");
    let hog = "container hog: ended with exit code 137, out of memory";
    contains(&console, &["[full] full", hog]);
}
