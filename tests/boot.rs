//! Tests: what only a boot shows. Each machine is asked many things.

use std::os::unix::fs::FileExt;

use crate::support::vm::{Bench, Vm, free_port, get};

const NGINX: &str = include_str!("../fixtures/manifests/nginx.yaml");

#[test]
fn nginx_answers_on_nvme_and_stops_gracefully() {
    let bench = Bench::new();
    let disk = bench.build(NGINX, "nginx.raw", &["--scratch", "256MiB"]);
    let before = std::fs::metadata(&disk).unwrap().modified().unwrap();
    let port = free_port();
    let forward = format!("{port}:80");
    let vm = Vm::boot(&disk, &["-p", &forward, "--disk-bus", "nvme"]);
    assert!(get(port).contains("one Pod"));
    vm.interrupt();
    let (code, console) = vm.end();
    assert_eq!(code, 0, "{console}");
    for expected in [
        "scratch: /dev/nvme0n1p4",
        "power button pressed",
        "[web] ",
        "powering off",
    ] {
        assert!(console.contains(expected), "no {expected:?} in:\n{console}");
    }
    assert_eq!(
        std::fs::metadata(&disk).unwrap().modified().unwrap(),
        before
    );
}

/// A Pod of busybox containers, one shell script each.
fn pod(spec: &str, containers: &[(&str, &str, &str)]) -> String {
    let mut out = format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: test}}\nspec:\n  {spec}\n  containers:\n"
    );
    for (name, more, script) in containers {
        out.push_str(&format!(
            "  - name: {name}\n    image: tiny\n    command: [sh, -c]\n"
        ));
        out.push_str(&format!(
            "    args: [{}]\n",
            serde_json::to_string(script).unwrap()
        ));
        more.lines()
            .for_each(|line| out.push_str(&format!("    {line}\n")));
    }
    out
}

#[test]
fn a_pod_sees_what_its_manifest_and_images_say() {
    let bench = Bench::new();
    let look = "id; pwd; echo $GREETING; cat /data/seed && echo more > /data/seed && cat /data/seed; \
                hostname; grep -q localhost /etc/hosts && echo hosts; cat /etc/hostname; \
                cat /proc/1/comm; ls -d /shared; echo hello > /shared/file; \
                touch /bin/new && echo writable; sleep 5; exit 3";
    let serve = "mkdir -p /tmp/www && echo from-server > /tmp/www/index.html && httpd -h /tmp/www -p 8000; \
                 while ! test -e /shared/file; do sleep 1; done; cat /shared/file; sleep 8";
    let ask = "for i in 1 2 3 4 5 6 7 8 9; do wget -q -O - http://localhost:8000/ && break; sleep 1; done; exit 7";
    let containers = [
        (
            "look",
            "env: [{name: WHO, value: world}, {name: GREETING, value: hello $(WHO)}]\nsecurityContext: {runAsUser: 0}\nvolumeMounts: [{name: shared, mountPath: /shared}]",
            look,
        ),
        (
            "serve",
            "volumeMounts: [{name: shared, mountPath: /shared}]",
            serve,
        ),
        (
            "ask",
            "securityContext: {runAsUser: 1000}\nworkingDir: /tmp",
            ask,
        ),
    ];
    let spec = "restartPolicy: Never\n  hostname: box\n  volumes: [{name: shared, emptyDir: {}}]";
    let disk = bench.build(&pod(spec, &containers), "test.raw", &[]);
    let (code, console) = Vm::boot(&disk, &[]).end();
    assert_eq!(code, 3, "{console}");
    for expected in [
        "[look] uid=0(root)",
        "[look] /data",
        "[look] hello world",
        "[look] seed",
        "[look] more",
        "[look] box",
        "[look] hosts",
        "[look] sh",
        "[look] /shared",
        "[look] writable",
        "[ask] from-server",
        "[serve] hello",
        "scratch: tmpfs",
        "container look ended: 3",
        "container serve ended: 0",
        "container ask ended: 7",
    ] {
        assert!(console.contains(expected), "no {expected:?} in:\n{console}");
    }
}

#[test]
fn a_memory_limit_kills_only_its_container_and_scratch_takes_a_gigabyte() {
    let bench = Bench::new();
    let containers = [
        (
            "hog",
            "resources: {limits: {memory: 32Mi}}",
            "x=a; while true; do x=$x$x; done",
        ),
        (
            "big",
            "",
            "dd if=/dev/zero of=/data/big bs=1M count=1024 && echo wrote it",
        ),
    ];
    let disk = bench.build(
        &pod("restartPolicy: Never", &containers),
        "test.raw",
        &["--scratch", "2GiB"],
    );
    let (code, console) = Vm::boot(&disk, &["--disk-bus", "scsi", "--memory", "512MiB"]).end();
    assert_eq!(code, 137, "{console}");
    for expected in [
        "container hog ended: 137, out of memory",
        "[big] wrote it",
        "container big ended: 0",
    ] {
        assert!(console.contains(expected), "no {expected:?} in:\n{console}");
    }
}

#[test]
fn a_crash_is_followed_by_a_restart() {
    let bench = Bench::new();
    let script = "test -e /keep/seen && echo second && sleep 600; touch /keep/seen /data/gone; echo first; exit 9";
    let containers = [(
        "flaky",
        "volumeMounts: [{name: keep, mountPath: /keep}]",
        script,
    )];
    let spec = "terminationGracePeriodSeconds: 1\n  volumes: [{name: keep, emptyDir: {}}]";
    let disk = bench.build(&pod(spec, &containers), "test.raw", &[]);
    let vm = Vm::boot(&disk, &[]);
    vm.wait_for("[flaky] second");
    vm.interrupt();
    let (code, console) = vm.end();
    assert!(console.contains("container flaky ended: 9"), "{console}");
    // SIGTERM does nothing to a shell that is PID 1, so the grace period ends in SIGKILL.
    assert_eq!(code, 137, "{console}");
}

#[test]
fn a_flipped_byte_in_the_store_powers_the_machine_off() {
    let bench = Bench::new();
    let containers = [("idle", "", "cat /bin/busybox > /dev/null; sleep 600")];
    let disk = bench.build(&pod("restartPolicy: Always", &containers), "test.raw", &[]);
    let bytes = std::fs::read(&disk).unwrap();
    // In the middle of busybox, which the container reads.
    let busybox = bytes
        .windows(24)
        .rposition(|window| window.starts_with(b"BusyBox v1."))
        .unwrap();
    let file = std::fs::OpenOptions::new().write(true).open(&disk).unwrap();
    file.write_all_at(&[bytes[busybox] ^ 1], busybox as u64)
        .unwrap();
    let (code, console) = Vm::boot(&disk, &[]).end();
    assert_eq!(code, 70, "{console}");
    assert!(console.contains("failed verification"), "{console}");
}
