//! Manifest and image config → what the guest runs, as the kubelet and containerd's CRI decide it.

use std::collections::BTreeMap;
use std::io;

use i2kit::assemble::contract::contract;
use i2kit_contract::{Contract, EnvVar, FailurePolicy, User};
use oci_spec::image::ImageConfiguration;
use serde_json::{Value, json};

use super::*;

const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\n# comment\n\nweb:x:33:33::/var/www:/bin/false\nnogroup:x:44\nbroken:x:a:b::/:\nodd:x:1000:2000::/:\nweb:x:99:99:second::/:\n2147483648:x:0:0:::\n";
const GROUP: &str = "root:x:0:\nweb:x:33:web\nadm:x:4:root,web\nlog:x:5:web\nlog2:x:5:web\nodd:x:7:other\nstaff:x:50:\nbad:x:z:web\n";

/// The contract of a Pod whose container runs an image with this config.
fn run(manifest: &str, config: &Value, files: &[(&str, &str)]) -> Result<Contract, String> {
    let image = json!({"architecture": "amd64", "os": "linux", "config": config,
        "rootfs": {"type": "layers", "diff_ids": []}});
    let image: ImageConfiguration = serde_json::from_value(image).unwrap();
    let pod = pod(manifest);
    let images: BTreeMap<_, _> = pod
        .all_containers()
        .map(|c| (c.name.clone(), image.clone()))
        .collect();
    let read = |container: &str, path: &str| -> io::Result<Option<Vec<u8>>> {
        assert_eq!(container, "c");
        let found = files.iter().find(|(name, _)| *name == path);
        Ok(found.map(|(_, text)| text.as_bytes().to_vec()))
    };
    contract(&pod, &images, &read, FailurePolicy::PowerOff).map_err(|e| match e.hint() {
        Some(hint) => format!("{e} | {hint}"),
        None => e.to_string(),
    })
}

/// Variables that the builder knew all of.
fn plain(env: &[EnvVar]) -> Vec<String> {
    let text = |var: &EnvVar| match var {
        EnvVar::Plain(text) => text.clone(),
        other => panic!("{other:?}"),
    };
    env.iter().map(text).collect()
}

fn one(fields: &str, config: &Value) -> Result<i2kit_contract::Container, String> {
    let files = [("/etc/passwd", PASSWD), ("/etc/group", GROUP)];
    run(&in_container(fields), config, &files).map(|mut c| c.containers.remove(0))
}

#[test]
fn command_and_args_against_entrypoint_and_cmd() {
    let both = json!({"Entrypoint": ["/entry", "e"], "Cmd": ["cmd", "c"]});
    let none = json!({});
    let entry = json!({"Entrypoint": ["/entry"]});
    let cmd = json!({"Cmd": ["cmd"]});
    let empty_word = json!({"Entrypoint": [""], "Cmd": ["cmd"]});
    let null = json!({"Entrypoint": null, "Cmd": null});
    let no_command = Err(
        "container c: image i has neither Entrypoint nor Cmd | set command or args in the manifest"
            .to_owned(),
    );
    for (fields, config, expected) in [
        // https://kubernetes.io/docs/tasks/inject-data-application/define-command-argument-container
        ("", &both, Ok(vec!["/entry", "e", "cmd", "c"])),
        ("command: [a]", &both, Ok(vec!["a"])),
        ("args: [b]", &both, Ok(vec!["/entry", "e", "b"])),
        ("command: [a]\nargs: [b]", &both, Ok(vec!["a", "b"])),
        (
            "command: []\nargs: []",
            &both,
            Ok(vec!["/entry", "e", "cmd", "c"]),
        ),
        ("", &entry, Ok(vec!["/entry"])),
        ("", &cmd, Ok(vec!["cmd"])),
        ("args: [b]", &cmd, Ok(vec!["b"])),
        ("", &empty_word, Ok(vec!["cmd"])),
        ("args: [b]", &empty_word, Ok(vec!["b"])),
        ("args: [\"\", b]", &none, Err(())),
        ("", &none, Err(())),
        ("", &null, Err(())),
        ("command: [a, \"\"]", &none, Ok(vec!["a", ""])),
    ] {
        let got = one(fields, config).map(|c| c.args);
        let expected = expected.map(|args| args.iter().map(|&a| a.into()).collect());
        assert_eq!(got, expected.or(no_command.clone()), "{fields} {config}");
    }
}

#[test]
fn variables_in_command_args_and_env() {
    let config = json!({"Env": ["IMAGE=image", "A=image"], "Cmd": ["$(A)"]});
    let fields = "command: [\"$(A)\", \"$$(A)\", \"$$$(A)\", \"$(B)\", \"$(LATE)\", \"$(NONE)\"]
args: [\"$(A)$(A)\", \"$(IMAGE)\", \"$(HOSTNAME)\", \"$(A\", \"$A\", \"${A}\", \"$\", \"$()\", \"$(DUP)\", \"é$(A)ü\"]
env:
- {name: EARLY, value: \"$(A)\"}
- {name: A, value: a}
- {name: B, value: \"b$(A)$$(A)\"}
- {name: C, value: \"$(B)$(LATE)$(C)\"}
- {name: LATE, value: \"$(IMAGE)\"}
- {name: DUP, value: one}
- {name: DUP, value: \"$(DUP)two\"}
- {name: \"a b\", value: \"1\"}
- {name: D, value: \"$(a b)\"}
- {name: E}";
    let got = one(fields, &config).unwrap();
    assert_eq!(
        got.args,
        [
            "a",
            "$(A)",
            "$a",
            "ba$(A)",
            "$(IMAGE)",
            "$(NONE)",
            "aa",
            "$(IMAGE)",
            "$(HOSTNAME)",
            "$(A",
            "$A",
            "${A}",
            "$",
            "$()",
            "onetwo",
            "éaü"
        ]
    );
    assert_eq!(
        got.env,
        [
            "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOSTNAME=p",
            "IMAGE=image",
            "A=a",
            "EARLY=$(A)",
            "B=ba$(A)",
            "C=ba$(A)$(LATE)$(C)",
            "LATE=$(IMAGE)",
            "DUP=onetwo",
            "a b=1",
            "D=1",
            "E=",
        ]
    );
    // The image's own Cmd is no template.
    assert_eq!(one("", &config).unwrap().args, ["$(A)"]);
}

#[test]
fn the_images_env_and_the_defaults() {
    let env = |fields: &str, env: Value| {
        one(fields, &json!({"Cmd": ["x"], "Env": env})).map(|c| plain(&c.env))
    };
    let path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    for (fields, image, expected) in [
        ("", json!(null), vec![path, "HOSTNAME=p"]),
        (
            "",
            json!(["PATH=/bin", "X=a=b", "Y="]),
            vec!["PATH=/bin", "HOSTNAME=p", "X=a=b", "Y="],
        ),
        ("", json!(["X=1", "X=2"]), vec![path, "HOSTNAME=p", "X=2"]),
        ("", json!(["HOSTNAME=h"]), vec![path, "HOSTNAME=h"]),
        // containerd takes a name alone for "unset".
        ("", json!(["X=1", "PATH", "X", "Z"]), vec!["HOSTNAME=p"]),
        (
            "env: [{name: X, value: m}, {name: PATH, value: \"\"}]",
            json!(["X=1", "Y=2"]),
            vec!["PATH=", "HOSTNAME=p", "X=m", "Y=2"],
        ),
    ] {
        let expected: Vec<String> = expected.iter().map(|&e| e.to_owned()).collect();
        assert_eq!(env(fields, image.clone()), Ok(expected), "{fields} {image}");
    }
    for bad in ["=x", "A=\0"] {
        let expected = format!("container c: image i has a bad Env entry {bad:?}");
        assert_eq!(env("", json!([bad])), Err(expected));
    }
    // The hostname is the Pod's, cut as the kubelet cuts it.
    let hostname = |metadata: &str, spec: &str| {
        let manifest = format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: {metadata}}}\nspec: {{containers: [{{name: c, image: i}}]{spec}}}\n"
        );
        let contract = run(&manifest, &json!({"Cmd": ["x"]}), &[]).unwrap();
        assert_eq!(
            contract.containers[0].env[1],
            format!("HOSTNAME={}", contract.hostname)
        );
        contract.hostname
    };
    assert_eq!(hostname("a.b", ""), "a.b");
    assert_eq!(hostname("a", ", hostname: h"), "h");
    let long = format!("{}-.b", "a".repeat(61)).replace("-.b", "-b.c");
    assert_eq!(hostname(&long, ""), format!("{}-b", "a".repeat(61)));
    assert_eq!(
        hostname(&format!("{}-b", "a".repeat(62)), ""),
        "a".repeat(62)
    );
    assert_eq!(
        hostname(&format!("{}.b", "a".repeat(62)), ""),
        "a".repeat(62)
    );
}

const TOO_LONG: &str = "has more than 131071 bytes, the most Linux takes";
const TOO_MUCH: &str =
    "container c: arguments and variables have more than 2097152 bytes, the most Linux takes";

fn refused(fields: &str) -> String {
    one(fields, &json!({"Cmd": ["x"]})).unwrap_err()
}

/// Variables of which each is ten times as long as the one before, from A0 with ten bytes; then
/// more fields.
fn grown(levels: usize, more: &str) -> String {
    let mut env = "env:\n- {name: A0, value: \"0123456789\"}\n".to_owned();
    for i in 1..levels {
        let value = format!("$(A{})", i - 1).repeat(10);
        env += &format!("- {{name: A{i}, value: \"{value}\"}}\n");
    }
    env + more
}

#[test]
fn arguments_and_variables_are_no_longer_than_linux_takes() {
    let config = json!({"Cmd": ["x"]});
    let got = one(&grown(4, "args: [\"$(A3)\"]"), &config).unwrap();
    assert_eq!((got.args.len(), got.args[0].len()), (1, 10_000));
    assert_eq!(
        refused(&grown(30, "")),
        format!("container c: variable A5 {TOO_LONG}")
    );
    let twice = "[a, \"$(A4)$(A4)\"]";
    for field in ["command", "args"] {
        assert_eq!(
            refused(&grown(5, &format!("{field}: {twice}"))),
            format!("container c: {field}[1] {TOO_LONG}")
        );
    }
    let many: String = (0..3_000)
        .map(|i| format!("{{name: B{i}, value: {}}}, ", "x".repeat(1_000)))
        .collect();
    assert_eq!(refused(&format!("env: [{many}]")), TOO_MUCH);
    // The longest string that Linux takes, to the byte; its NUL comes besides.
    let just = |len: usize| {
        let (arg, value) = ("x".repeat(len), "x".repeat(len - 2));
        format!("args: [{arg}]\nenv: [{{name: A, value: {value}}}]")
    };
    assert!(one(&just(131_071), &config).is_ok());
    assert_eq!(
        refused(&just(131_072)),
        format!("container c: variable A {TOO_LONG}")
    );
    let linux = |len: usize| {
        std::process::Command::new("true")
            .arg("x".repeat(len))
            .status()
    };
    assert!(linux(131_071).is_ok() && linux(131_072).is_err());
    // The image's count, too.
    let long = "x".repeat(1 << 20);
    let image = json!({"Cmd": [long], "Env": [format!("A={long}")]});
    assert_eq!(one("", &image).unwrap_err(), TOO_MUCH);
}

/// The most memory that this process ever had, in bytes.
fn peak_memory() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let kib = line.unwrap().split_whitespace().nth(1).unwrap();
    kib.parse::<usize>().unwrap() << 10
}

/// 500 MB each, were they made whole.
#[test]
fn expansion_takes_little_memory() {
    let before = peak_memory();
    let args = format!("args: [{}]", "\"$(A4)\", ".repeat(5_000));
    assert_eq!(refused(&grown(5, &args)), TOO_MUCH);
    let vars: String = (0..5_000)
        .map(|i| format!("- {{name: B{i}, value: $(A4)}}\n"))
        .collect();
    assert_eq!(refused(&grown(5, &vars)), TOO_MUCH);
    let grown = peak_memory() - before;
    assert!(grown < 100 << 20, "{grown} bytes");
}

#[test]
fn users() {
    let user = |fields: &str, user: Value| {
        one(fields, &json!({"Cmd": ["x"], "User": user})).map(|c| c.user)
    };
    let is = |uid, gid, groups: &[u32]| {
        Ok(User {
            uid,
            gid,
            additional_gids: groups.to_vec(),
        })
    };
    for (fields, image, expected) in [
        ("", json!(null), is(0, 0, &[4])),
        ("", json!(""), is(0, 0, &[4])),
        ("", json!("0"), is(0, 0, &[4])),
        ("", json!("web"), is(33, 33, &[4, 5])),
        ("", json!("33"), is(33, 33, &[4, 5])),
        ("", json!("web:staff"), is(33, 50, &[4, 5])),
        ("", json!("web:50"), is(33, 50, &[4, 5])),
        ("", json!("33:adm"), is(33, 4, &[5])),
        ("", json!("1000"), is(1000, 2000, &[])),
        ("", json!("5000"), is(5000, 0, &[])),
        ("", json!("5000:6000"), is(5000, 6000, &[])),
        (
            "",
            json!("2147483647:2147483647"),
            is(2_147_483_647, 2_147_483_647, &[]),
        ),
        (
            "securityContext: {runAsUser: 33}",
            json!("odd:staff"),
            is(33, 33, &[4, 5]),
        ),
        (
            "securityContext: {runAsUser: 5000}",
            json!("web"),
            is(5000, 0, &[]),
        ),
        (
            "securityContext: {runAsUser: 5000, runAsGroup: 7}",
            json!("web"),
            is(5000, 7, &[]),
        ),
        (
            "securityContext: {runAsGroup: 7}",
            json!("web:staff"),
            is(33, 7, &[4, 5]),
        ),
        (
            "securityContext: {runAsGroup: 5}",
            json!("web"),
            is(33, 5, &[4]),
        ),
        (
            "securityContext: {runAsUser: 0}",
            json!("nobody"),
            is(0, 0, &[4]),
        ),
    ] {
        assert_eq!(user(fields, image.clone()), expected, "{fields} {image}");
    }
    let hint = "set securityContext.runAsUser to a number";
    let groups = "set securityContext.runAsUser and runAsGroup to numbers";
    for (image, expected) in [
        (
            "nobody",
            format!("user \"nobody\" is not in /etc/passwd of image i | {hint}"),
        ),
        (
            "nogroup",
            format!("user \"nogroup\" is not in /etc/passwd of image i | {hint}"),
        ),
        (
            "WEB",
            format!("user \"WEB\" is not in /etc/passwd of image i | {hint}"),
        ),
        (
            "web:none",
            format!("group \"none\" is not in /etc/group of image i | {groups}"),
        ),
        ("web:", format!("image i has a bad User \"web:\" | {hint}")),
        (":web", format!("image i has a bad User \":web\" | {hint}")),
        (
            "a:b:c",
            format!("image i has a bad User \"a:b:c\" | {hint}"),
        ),
        ("-1", format!("image i has a bad User \"-1\" | {hint}")),
        // Not the user of that name, who may be root.
        (
            "2147483648",
            format!("image i has a bad User \"2147483648\" | {hint}"),
        ),
        (
            "0:4294967296",
            format!("image i has a bad User \"0:4294967296\" | {hint}"),
        ),
        (
            "99999999999999999999",
            format!("image i has a bad User \"99999999999999999999\" | {hint}"),
        ),
    ] {
        assert_eq!(
            user("", json!(image)),
            Err(format!("container c: {expected}"))
        );
    }
    // The Pod's stand in for the container's.
    let manifest = |container: &str| {
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: p}}\nspec:\n  securityContext: {{runAsUser: 1, runAsGroup: 2}}\n  containers: [{{name: c, image: i, securityContext: {{{container}}}}}]\n"
        )
    };
    let of = |container: &str| {
        let user = run(
            &manifest(container),
            &json!({"Cmd": ["x"], "User": "web"}),
            &[],
        );
        let user = user.unwrap().containers.remove(0).user;
        (user.uid, user.gid)
    };
    assert_eq!(of(""), (1, 2));
    assert_eq!(of("runAsUser: 3"), (3, 2));
    assert_eq!(of("runAsGroup: 4"), (1, 4));
    // Without the files, numbers will do.
    let config = |user: &str| json!({"Cmd": ["x"], "User": user});
    let plain = in_container("");
    assert_eq!(
        run(&plain, &config("5:6"), &[]).unwrap().containers[0]
            .user
            .gid,
        6
    );
    assert!(run(&plain, &config("web"), &[]).is_err());
}

#[test]
fn folders_volumes_and_signals() {
    let with = |fields: &str, key: &str, value: Value| {
        let mut config = json!({"Cmd": ["x"]});
        config[key] = value;
        one(fields, &config)
    };
    let folder =
        |fields: &str, value: Value| with(fields, "WorkingDir", value).map(|c| c.working_dir);
    assert_eq!(folder("", json!(null)).unwrap(), "/");
    assert_eq!(folder("", json!("")).unwrap(), "/");
    assert_eq!(folder("", json!("/srv/x")).unwrap(), "/srv/x");
    assert_eq!(folder("workingDir: /tmp", json!("/srv")).unwrap(), "/tmp");
    assert_eq!(
        folder("", json!("srv")).unwrap_err(),
        "container c: image i has a bad WorkingDir \"srv\" | set workingDir in the manifest"
    );
    let volumes = |fields: &str, paths: &[&str]| {
        let map: serde_json::Map<_, _> = paths.iter().map(|&p| (p.to_owned(), json!({}))).collect();
        with(fields, "Volumes", map.into()).map(|c| c.image_volumes)
    };
    assert_eq!(
        volumes("", &["/b", "/a/", "a//x/.", "/a"]).unwrap(),
        ["/a", "/a/x", "/b"]
    );
    let mounted = "volumeMounts: [{name: v, mountPath: b/}]";
    assert_eq!(
        volumes(mounted, &["/b", "/b/c", "/a"]).unwrap(),
        ["/a", "/b/c"]
    );
    for bad in ["/", "", "/a/../b", "..", "/a\0"] {
        let expected = format!("container c: image i has a bad volume {bad:?}");
        assert_eq!(volumes("", &[bad]).unwrap_err(), expected);
    }
    let signal = |value: Value| with("", "StopSignal", value).map(|c| c.stop_signal);
    for (value, number) in [
        (json!(null), 15),
        (json!(""), 15),
        (json!("SIGQUIT"), 3),
        (json!("quit"), 3),
        (json!("9"), 9),
        (json!("SIGRTMIN+3"), 37),
    ] {
        assert_eq!(signal(value.clone()), Ok(number), "{value}");
    }
    assert_eq!(
        signal(json!("SIGNOPE")).unwrap_err(),
        "container c: image i has an unknown StopSignal \"SIGNOPE\""
    );
}

#[test]
fn limits_and_the_rest_of_the_pod() {
    let config = json!({"Cmd": ["x"]});
    let resources = |text: &str| {
        let got = one(&format!("resources: {{{text}}}"), &config)
            .unwrap()
            .resources;
        (got.memory_bytes, got.cpu_millis, got.cpu_request_millis)
    };
    assert_eq!(resources(""), (None, None, None));
    assert_eq!(
        resources("limits: {memory: 64Mi, cpu: 500m}"),
        (Some(64 << 20), Some(500), Some(500))
    );
    assert_eq!(
        resources("limits: {cpu: 2}, requests: {cpu: 0.1, memory: 1Gi}"),
        (None, Some(2000), Some(100))
    );
    assert_eq!(resources("limits: {memory: 0, cpu: 0}"), (None, None, None));
    assert_eq!(
        resources("limits: {memory: 0.5, cpu: 1u}"),
        (Some(1), Some(1), Some(1))
    );
    let manifest = "apiVersion: v1
kind: Pod
metadata: {name: p, labels: {a: b}, annotations: {c: d}}
spec:
  restartPolicy: Never
  terminationGracePeriodSeconds: 7
  volumes: [{name: v}, {name: w}]
  containers:
  - {name: c, image: i, ports: [{containerPort: 80, name: http}], volumeMounts: [{name: v, mountPath: /v, readOnly: true}]}
";
    let got = run(manifest, &config, &[]).unwrap();
    assert_eq!(
        (got.labels["a"].as_str(), got.annotations["c"].as_str()),
        ("b", "d")
    );
    assert_eq!(got.restart_policy, i2kit_contract::RestartPolicy::Never);
    assert_eq!(got.termination_grace_period_seconds, 7);
    assert_eq!(
        got.volumes
            .iter()
            .map(|v| v.name.as_str())
            .collect::<Vec<_>>(),
        ["v", "w"]
    );
    let container = &got.containers[0];
    assert_eq!(container.ports[0].name.as_deref(), Some("http"));
    let mount = &container.mounts[0];
    assert_eq!(
        (
            mount.volume.as_str(),
            mount.mount_path.as_str(),
            mount.read_only
        ),
        ("v", "/v", true)
    );
}

#[test]
fn an_image_alone() {
    let from = |reference: &str, args: &[&str]| {
        let args: Vec<String> = args.iter().map(|&a| a.to_owned()).collect();
        i2kit::manifest::from_image(reference, &args).map_err(|e| e.to_string())
    };
    for (reference, name) in [
        ("nginx", "nginx"),
        ("nginx:1.27", "nginx"),
        ("docker.io/library/nginx@sha256:00", "nginx"),
        ("registry.example.com:5000/team/My_App:v2", "my-app"),
        ("oci:./images/tiny", "tiny"),
        ("oci:./images/tiny/", "tiny"),
        ("oci:tiny:latest", "tiny"),
        ("oci-archive:tiny.tar:latest", "tiny-tar"),
        ("docker-archive:tiny", "tiny"),
        ("___", "app"),
        ("oci:/", "app"),
    ] {
        let pod = from(reference, &[]).unwrap();
        assert_eq!(
            (pod.name.as_str(), pod.containers[0].name.as_str()),
            (name, name)
        );
        assert_eq!(pod.containers[0].image, reference);
        assert_eq!(pod.restart_policy, i2kit_contract::RestartPolicy::Never);
    }
    assert_eq!(from(&"a".repeat(100), &[]).unwrap().name, "a".repeat(63));
    assert_eq!(
        from("i", &["$(A)", "$$"]).unwrap().containers[0].args,
        ["$$(A)", "$$$$"]
    );
    assert_eq!(
        from("", &[]).unwrap_err(),
        "image \"\": not an image reference"
    );
    assert_eq!(
        from("a b", &[]).unwrap_err(),
        "image \"a b\": not an image reference"
    );
    assert_eq!(
        from("i", &["\0"]).unwrap_err(),
        "argument \"\\0\": must not contain a NUL character"
    );
}

#[test]
fn variables_are_expanded_in_probes_and_not_in_hooks() {
    let words = |exec: &i2kit_contract::Exec| exec.command.join(" ");
    let life = one(
        "command: [a]\nenv: [{name: A, value: b}]\nlivenessProbe: {exec: {command: [$(A), $(B)]}}\nlifecycle: {preStop: {exec: {command: [$(A)]}}, stopSignal: SIGUSR1}",
        &json!({"StopSignal": "SIGQUIT"}),
    );
    let container = life.unwrap();
    assert_eq!(container.stop_signal, 10);
    let probe = container.life.liveness_probe.unwrap();
    let i2kit_contract::Check::Exec(exec) = probe.check else {
        panic!("{:?}", probe.check)
    };
    assert_eq!(words(&exec), "b $(B)");
    let Some(i2kit_contract::Hook::Exec(exec)) = container.life.pre_stop else {
        panic!("no hook")
    };
    assert_eq!(words(&exec), "$(A)");
}
