//! Tests: what only a boot shows. Each machine is asked many things.

mod config;
mod fields;
mod kept;
mod learn;
mod lease;
mod life;
mod secure;

use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::time::{Duration, Instant};

use i2kit_format::erofs::Reader;

use crate::support::vm::{Bench, Vm, ask, exit_codes, free_port, get, printed};
use crate::support::{layout, output_of, samples};

/// A Pod of busybox containers, one shell script each; lines of `more` go into the container.
fn pod(spec: &str, containers: &[(&str, &str, &str)]) -> String {
    let mut out = format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: test}}\nspec:\n  {spec}\n  containers:\n"
    );
    for (name, more, script) in containers {
        let image = if more.contains("image:") {
            ""
        } else {
            "    image: tiny\n"
        };
        out.push_str(&format!("  - name: {name}\n{image}"));
        if !script.is_empty() {
            let script = serde_json::to_string(script).unwrap();
            out.push_str(&format!("    command: [sh, -c]\n    args: [{script}]\n"));
        }
        more.lines()
            .for_each(|line| out.push_str(&format!("    {line}\n")));
    }
    out
}

fn contains(console: &str, expected: &[&str]) {
    for one in expected {
        assert!(console.contains(one), "no {one:?} in:\n{console}");
    }
}

/// Offset and size of the disk's partitions, by label.
fn partition(disk: &Path, label: &str) -> (u64, u64) {
    let list = output_of("sfdisk", &["--json", disk.to_str().unwrap()]);
    let list: serde_json::Value = serde_json::from_str(&list).unwrap();
    let partitions = list["partitiontable"]["partitions"].as_array().unwrap();
    let found = partitions
        .iter()
        .find(|one| one["name"] == label)
        .unwrap_or_else(|| panic!("no {label} in {list}"));
    let bytes = |field: &str| found[field].as_u64().unwrap() * 512;
    (bytes("start"), bytes("size"))
}

fn open(disk: &Path) -> std::fs::File {
    std::fs::File::options()
        .read(true)
        .write(true)
        .open(disk)
        .unwrap()
}

/// Options for a disk whose ESP has room for what a test drops there: fewer modules leave more of its
/// last MiB.
const ROOM: [&str; 2] = ["--target", "virtio"];

fn flip(disk: &Path, offset: u64) {
    let (file, mut byte) = (open(disk), [0]);
    file.read_exact_at(&mut byte, offset).unwrap();
    file.write_all_at(&[byte[0] ^ 1], offset).unwrap();
}

/// nginx, and a perl that answers datagrams.
const SERVERS: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: servers}
spec:
  containers:
  - name: web
    image: nginx
    ports: [{containerPort: 80}]
  - name: echo
    image: nginx
    command: [perl, -MSocket, -e]
    args:
    - |
      $SIG{QUIT} = sub { exit 0 };
      socket(S, PF_INET, SOCK_DGRAM, 17) and bind(S, sockaddr_in(5353, INADDR_ANY)) or die $!;
      while (1) { my $from = recv(S, my $text, 1500, 0) or next; send(S, "echo $text", 0, $from) }
    ports: [{containerPort: 5353, protocol: UDP}]
"#;

#[test]
fn servers_answer_on_nvme_over_tcp_and_udp_and_stop_gracefully() {
    let bench = Bench::new();
    let disk = bench.build(SERVERS, "servers.raw", &["--scratch", "256MiB"]);
    let stamp = |path: &Path| {
        let found = std::fs::metadata(path).unwrap();
        (found.mtime_nsec(), found.ctime_nsec(), found.blocks())
    };
    let before = stamp(&disk);
    let (web, echo) = (free_port(), free_port());
    let forwards = [format!("{web}:80"), format!("{echo}:5353/udp")];
    let options = ["-p", &forwards[0], "-p", &forwards[1], "--disk-bus", "nvme"];
    let vm = Vm::boot(&disk, &options);
    assert!(get(web).contains("one Pod"));
    assert_eq!(ask(echo, "hello"), "echo hello");
    vm.interrupt();
    let (code, console) = vm.end();
    assert_eq!(code, 0, "{console}");
    contains(
        &console,
        &[
            &format!("forward 127.0.0.1:{web} -> 80/tcp"),
            "scratch: /dev/nvme0n1p4",
            "power button pressed",
            "powering off",
        ],
    );
    assert!(!printed(&console, "web").is_empty(), "{console}");
    assert_eq!(
        exit_codes(&console),
        [("web".into(), 0), ("echo".into(), 0)]
    );
    stages_add_up(&console);
    assert_eq!(stamp(&disk), before, "the disk was written");
}

/// QEMU starts the kernel: the store is still checked, and little memory is enough.
#[test]
fn a_disk_boots_without_firmware_in_little_memory() {
    let bench = Bench::new();
    let script = "while read -r name kib _; do test $name = MemTotal: && echo $kib; done < /proc/meminfo; exit 4";
    let disk = bench.build(
        &pod("restartPolicy: Never", &[("main", "", script)]),
        "test.raw",
        &[],
    );
    let vm = Vm::boot(&disk, &["--direct-boot", "--memory", "128MiB"]);
    let (code, console) = vm.end();
    assert_eq!(code, 4, "{console}");
    let kib: Vec<u32> = printed(&console, "main")
        .iter()
        .map(|line| line.parse().unwrap())
        .collect();
    assert!(matches!(kib[..], [1..=131_072]), "{console}");
    assert!(!console.contains("BdsDxe"), "{console}");
}

/// The line with the time of each stage, from PID 1 to the containers' first instruction: every
/// step of PID 1's table in order, and together what the whole took.
fn stages_add_up(console: &str) {
    let line = console
        .lines()
        .find_map(|line| line.strip_prefix("i2kit: started in "))
        .unwrap_or_else(|| panic!("no times in:\n{console}"));
    let (total, stages) = line.split_once(" ms: ").unwrap();
    let total: u64 = total.parse().unwrap();
    let stages: Vec<(&str, u64)> = stages
        .strip_suffix(" (ms)")
        .unwrap()
        .split(", ")
        .map(|stage| stage.split_once(' ').unwrap())
        .map(|(name, time)| (name, time.parse().unwrap()))
        .collect();
    let steps = output_of(env!("I2KIT_INIT"), &["--steps"]);
    let steps: Vec<&str> = steps
        .lines()
        .map(|line| line.split(' ').next().unwrap())
        .collect();
    let names: Vec<&str> = stages.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, steps);
    let sum: u64 = stages.iter().map(|(_, time)| time).sum();
    assert!(sum <= total && total <= sum + sum / 10 + 100, "{line}");
    // Since the kernel's start, which is a little earlier.
    let started: u64 = console
        .lines()
        .filter_map(|line| line.split_once(" started at ")?.1.strip_suffix(" ms"))
        .map(|time| time.parse().unwrap())
        .max()
        .unwrap();
    assert!((total..total + 20_000).contains(&started), "{console}");
}

#[test]
fn a_pod_sees_what_its_manifest_and_images_say() {
    let bench = Bench::new();
    let look = "id; pwd; echo $GREETING; cat /data/seed && echo more > /data/seed && cat /data/seed; \
                hostname; grep -q localhost /etc/hosts && echo hosts; cat /etc/hostname; \
                cat /proc/1/comm; ls -d /shared; echo hello > /shared/file; \
                touch /bin/new && echo writable; \
                head -c 40000 /dev/zero | tr '\\0' x; echo; printf 'no newline'; sleep 5; exit 3";
    let serve = "mkdir -p /shared/www && echo from-server > /shared/www/index.html && httpd -h /shared/www -p 8000; \
                 until test -e /shared/file; do sleep 1; done; cat /shared/file; id; \
                 until test -e /shared/asked; do sleep 1; done";
    let ask =
        "until wget -q -O - http://localhost:8000/; do sleep 1; done; touch /shared/asked; exit 7";
    let containers = [
        (
            "look",
            "env: [{name: WHO, value: world}, {name: GREETING, value: hello $(WHO)}]\nsecurityContext: {runAsUser: 0}\nvolumeMounts: [{name: shared, mountPath: /shared}]",
            look,
        ),
        (
            "serve",
            "image: named\nvolumeMounts: [{name: shared, mountPath: /shared}]",
            serve,
        ),
        (
            "ask",
            "securityContext: {runAsUser: 1000}\nworkingDir: /tmp\nvolumeMounts: [{name: shared, mountPath: /shared}]",
            ask,
        ),
        ("ghost", "command: [/nonexistent]", ""),
    ];
    let spec = "restartPolicy: Never\n  hostname: box\n  volumes: [{name: shared, emptyDir: {}}]";
    let named = format!("named={}", with_user(&bench, "app:nogroup"));
    let options = ["--scratch", "none", "--image", &named];
    let disk = bench.build(&pod(spec, &containers), "test.raw", &options);
    let (code, console) = Vm::boot(&disk, &[]).end();
    assert_eq!(code, 3, "{console}");
    contains(
        &console,
        &[
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
            "[serve] uid=1000(app) gid=65534(nogroup) groups=2000(extra),65534(nogroup)",
            "scratch: tmpfs",
            "container look ended: 3",
            "container serve ended: 0",
            "container ask ended: 7",
            "Warning Failed container ghost: containerd: create task ghost.0",
            "/nonexistent",
            "container ghost ended: 128",
        ],
    );
    assert!(!console.contains("copy shim log"), "{console}");
    let look = printed(&console, "look");
    let long: Vec<usize> = look
        .iter()
        .filter(|line| line.starts_with("xxx") && line.bytes().all(|byte| byte == b'x'))
        .map(|line| line.len())
        .collect();
    assert_eq!(long, [16384, 16384, 7232], "pieces of the long line");
    assert_eq!(look.last(), Some(&"no newline"), "{console}");
    let codes = [("look", 3), ("serve", 0), ("ask", 7), ("ghost", 128)];
    assert_eq!(
        exit_codes(&console),
        codes.map(|(name, code)| (name.to_owned(), code))
    );
}

/// The tiny image with another user.
fn with_user(bench: &Bench, user: &str) -> String {
    let tiny = samples::sample("tiny");
    let to = bench.path(&format!("user-{}", user.replace(':', "-")));
    layout::with_config(
        Path::new(tiny.strip_prefix("oci:").unwrap()),
        &to,
        |config| {
            config["User"] = user.into();
        },
    );
    format!("oci:{}", to.display())
}

#[test]
fn a_user_that_the_image_does_not_know_is_a_build_error() {
    let bench = Bench::new();
    for (user, expected) in [
        ("nosuch", "\"nosuch\""),
        ("app:nosuch", "\"nosuch\""),
        ("app:", "bad User \"app:\""),
    ] {
        let image = format!("tiny={}", with_user(&bench, user));
        let disk = bench.path("disk.raw");
        let mut command = crate::support::i2kit();
        let manifest = bench.path("pod.yaml");
        std::fs::write(&manifest, pod("restartPolicy: Never", &[("a", "", "id")])).unwrap();
        command.args(["build", "--base", &samples::base(), "--image", &image]);
        command.arg("--cache-dir").arg(bench.path("cache"));
        command.arg("-f").arg(&manifest).arg("-o").arg(&disk);
        let output = command.output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(text.contains(expected) && !disk.exists(), "{text}");
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
    contains(
        &console,
        &[
            "container hog ended: 137, out of memory",
            "[big] wrote it",
            "container big ended: 0",
        ],
    );
}

/// What an earlier boot has left: a scratch partition with a volume, and with a writable layer.
fn lived_in(disk: &Path, bench: &Bench) {
    output_of(
        "sgdisk",
        &["-n0:0:0", "-c0:scratch", "-t0:8300", disk.to_str().unwrap()],
    );
    // sgdisk gives the new partition the first free number, 4.
    output_of("sgdisk", &["-c4:scratch", disk.to_str().unwrap()]);
    let (offset, size) = partition(disk, "scratch");
    let var = bench.path("var");
    for (file, text) in [
        ("lib/i2kit/volumes/keep/old", "from an earlier boot\n"),
        ("lib/i2kit/containers/flaky/upper/data/mine", ""),
    ] {
        let path = var.join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let (offset, size) = (format!("offset={offset}"), format!("{}k", size >> 10));
    let arguments = ["-q", "-L", "i2kit-scratch", "-E", &offset, "-d"];
    let place = [var.to_str().unwrap(), disk.to_str().unwrap(), &size];
    output_of("mkfs.ext4", &[&arguments[..], &place].concat());
}

#[test]
fn a_failing_container_is_restarted_with_back_off_and_a_succeeded_one_left() {
    let bench = Bench::new();
    // Its writable layer is fresh each time, its volume is not.
    let flaky = "cat /keep/old; n=$(cat /keep/n 2>/dev/null); n=$((n+1)); echo $n > /keep/n; \
                 test -e /data/mine && echo not fresh; touch /data/mine; echo run $n; \
                 test $n -lt 3 && exit 9; echo fine ran $(cat /keep/fine | wc -l); exit 0";
    let mounts = "volumeMounts: [{name: keep, mountPath: /keep}]";
    let containers = [
        ("flaky", mounts, flaky),
        ("fine", mounts, "echo once >> /keep/fine"),
    ];
    let spec = "restartPolicy: OnFailure\n  volumes: [{name: keep, emptyDir: {}}]";
    let disk = bench.build(
        &pod(spec, &containers),
        "test.raw",
        &["--scratch", "128MiB"],
    );
    lived_in(&disk, &bench);
    let (code, console) = Vm::boot(&disk, &[]).end();
    assert_eq!(code, 0, "{console}");
    let old = "from an earlier boot";
    assert_eq!(
        printed(&console, "flaky"),
        [old, "run 1", old, "run 2", old, "run 3", "fine ran 1"],
        "{console}"
    );
    let ends: Vec<&str> = console
        .lines()
        .filter(|line| line.contains(" Exited container flaky: "))
        .collect();
    assert_eq!(
        ends,
        [
            "i2kit: Warning Exited container flaky: ended with exit code 9; restart in 0 s",
            "i2kit: Warning Exited container flaky: ended with exit code 9; restart in 10 s",
            "i2kit: Normal Exited container flaky: ended with exit code 0",
        ]
    );
    contains(&console, &["container flaky ended: 9; restart in 10 s"]);
    assert!(!console.contains("file system"), "formatted:\n{console}");
    let codes = exit_codes(&console);
    assert_eq!(codes, [("flaky".into(), 0), ("fine".into(), 0)]);
}

#[test]
fn a_stop_is_graceful_for_who_listens_and_final_for_who_does_not() {
    let bench = Bench::new();
    let containers = [
        (
            "polite",
            "",
            "trap 'echo bye; exit 5' TERM; echo ready; while true; do sleep 0.2; done",
        ),
        ("deaf", "", "trap '' TERM; while true; do sleep 1; done"),
        // While others start and end, so that their lines meet on the console.
        (
            "noise",
            "",
            "i=0; while test $i -lt 2000; do echo $i $i $i $i $i $i $i $i; i=$((i+1)); done; echo quiet; exit 0",
        ),
        ("loop", "", "exit 4"),
    ];
    let spec = "terminationGracePeriodSeconds: 3";
    let disk = bench.build(&pod(spec, &containers), "test.raw", &[]);
    let vm = Vm::boot(&disk, &[]);
    vm.wait_for("[polite] ready");
    vm.wait_for("[noise] quiet");
    vm.wait_for("container loop ended: 4; restart in 10 s");
    vm.interrupt();
    let (code, console) = vm.end();
    assert_eq!(code, 5, "{console}");
    contains(
        &console,
        &[
            "[polite] bye",
            "Warning Killing container deaf: still runs after 3 s: killing it",
        ],
    );
    let codes = exit_codes(&console);
    let noise = codes[2].1;
    let expected = [("polite", 5), ("deaf", 137), ("noise", noise), ("loop", 4)];
    assert_eq!(codes, expected.map(|(name, code)| (name.to_owned(), code)));
    let lines = printed(&console, "noise");
    for (number, line) in (0..2000).zip(&lines) {
        assert_eq!(*line, vec![number.to_string(); 8].join(" "));
    }
    assert_eq!(lines.get(2000), Some(&"quiet"), "{console}");
}

/// Without a manifest; a machine whose Pod will not stop is ended by a second Ctrl-C at once, and
/// one whose time is up by itself.
#[test]
fn an_image_runs_with_arguments_and_ends_when_it_must() {
    let bench = Bench::new();
    let run = |options: &[&str]| {
        let mut command = bench.command("run");
        let script = "trap '' TERM; echo \"got $0 and $1\"; while true; do sleep 1; done";
        command.arg(samples::sample("tiny")).args(options);
        command.args(["--", "sh", "-c", script, "one", "two words"]);
        Vm::start(command)
    };
    let begun = Instant::now();
    let (code, console) = run(&["--timeout", "3", "--accel", "tcg"]).end();
    assert_eq!(code, 124, "{console}");
    contains(&console, &["the time is up", "starting the machine (TCG)"]);
    assert!(begun.elapsed() >= Duration::from_secs(3));

    let vm = run(&[]);
    vm.wait_for("[tiny] got one and two words");
    vm.interrupt();
    vm.wait_for("i2kit: stopping the containers");
    let begun = Instant::now();
    vm.interrupt();
    let (code, console) = vm.end();
    assert_eq!(code, 130, "{console}");
    assert!(begun.elapsed() < Duration::from_secs(10), "{console}");
    contains(
        &console,
        &["stopping; Ctrl-C again ends the machine at once"],
    );
    assert!(!console.contains("powering off"), "{console}");
}

/// A disk whose only container reads busybox and then sleeps.
fn idle(bench: &Bench, options: &[&str]) -> std::path::PathBuf {
    let containers = [("idle", "", "cat /bin/busybox > /dev/null; sleep 600")];
    bench.build(
        &pod("restartPolicy: Always", &containers),
        "test.raw",
        options,
    )
}

/// A block of the store that a file's middle cluster has.
fn middle_of(disk: &Path, file: &[u8]) -> u64 {
    let (offset, len) = partition(disk, "store");
    let bytes = std::fs::read(disk).unwrap();
    let from = usize::try_from(offset).unwrap();
    let store = &bytes[from..from + usize::try_from(len).unwrap()];
    let reader = Reader::open(store).unwrap();
    let inode = reader.lookup(file).unwrap().unwrap();
    let clusters = reader.clusters(&inode).unwrap().clusters;
    clusters[clusters.len() / 2].start_block
}

#[test]
fn a_flipped_byte_in_a_file_powers_the_machine_off() {
    let bench = Bench::new();
    let disk = idle(&bench, &[]);
    // In the middle of busybox, which the container reads.
    let block = middle_of(&disk, b"containers/idle/bin/busybox");
    flip(&disk, partition(&disk, "store").0 + block * 4096 + 100);
    let (code, console) = Vm::boot(&disk, &[]).end();
    assert_eq!(code, 70, "{console}");
    let reason = format!(
        "store: block {block} (byte offset {}) failed verification",
        block * 4096
    );
    contains(
        &console,
        &[
            &format!("i2kit: {reason}: powering off"),
            &format!("{{\"event\":\"failed\",\"reason\":\"{reason}\"}}"),
            &format!("error: run the Pod: {reason}"),
        ],
    );
    assert!(!console.contains("rebooted"), "{console}");
}

/// The store's first block, which the mount reads (whether its error or the kernel's word of the block
/// is told first is open); the byte is one that `run` itself does not
/// look at, as it looks for the Pod's ports. What the ESP holds besides the UKI is deleted.
#[test]
fn a_flipped_byte_in_the_stores_metadata_reboots_the_machine_where_that_is_the_policy() {
    let bench = Bench::new();
    let disk = idle(&bench, &[&ROOM[..], &["--on-failure", "reboot"]].concat());
    flip(&disk, partition(&disk, "store").0);
    let credential = bench.path("x.cred");
    std::fs::write(&credential, "secret").unwrap();
    let esp = format!("{}@@{}", disk.display(), partition(&disk, "esp").0);
    output_of("mmd", &["-i", &esp, "::/loader", "::/loader/credentials"]);
    let credential = credential.to_str().unwrap();
    output_of(
        "mcopy",
        &["-i", &esp, credential, "::/loader/credentials/x.cred"],
    );
    let (code, console) = Vm::boot(&disk, &[]).end();
    assert_eq!(code, 70, "{console}");
    contains(
        &console,
        &[
            "i2kit: deleted /.extra unread",
            "i2kit: store: block 0 (byte offset 0) failed verification: rebooting",
            "note: the guest rebooted",
        ],
    );
}

#[test]
fn a_flipped_byte_in_the_hash_tree_powers_the_machine_off() {
    let bench = Bench::new();
    let disk = idle(&bench, &[]);
    // The tree's root, in the block after the superblock.
    flip(&disk, partition(&disk, "store-verity").0 + 4096);
    let (code, console) = Vm::boot(&disk, &[]).end();
    assert_eq!(code, 70, "{console}");
    let reason = "store-verity: hash block 1 (byte offset 4096) failed verification";
    contains(&console, &[&format!("i2kit: {reason}: powering off")]);
}

#[test]
fn a_root_hash_of_another_disk_is_told() {
    let bench = Bench::new();
    let disk = idle(&bench, &[]);
    let mut bytes = std::fs::read(&disk).unwrap();
    let place = bytes
        .windows(9)
        .position(|window| window == b"roothash=")
        .unwrap();
    bytes[place + 9..place + 9 + 64].fill(b'a');
    std::fs::write(&disk, bytes).unwrap();
    let (code, console) = Vm::boot(&disk, &[]).end();
    assert_eq!(code, 70, "{console}");
    contains(
        &console,
        &[
            "i2kit: step disk failed: find the store partition: no PARTUUID=aaaaaaaa-aaaa-",
            "(disks: vda): powering off",
        ],
    );
}
