//! Tests: what a Pod is told at run time, from each source, and how the network follows it.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use super::{contains, pod};
use crate::support::vm::{Bench, Vm, printed};
use crate::support::{i2kit, output_of};

pub const HEAD: &str = "apiVersion: i2kit.io/v1\nkind: RuntimeConfig\n";

/// A disk with one container that runs a script.
fn build(bench: &Bench, script: &str) -> PathBuf {
    let more = "env: [{name: GREETING, value: baked}, {name: KEPT, value: baked}]";
    let containers = [("look", more, script)];
    bench.build(
        &pod("restartPolicy: Never", &containers),
        "test.raw",
        &["--scratch", "none"],
    )
}

/// A QEMU, first in `PATH`, that is given more arguments, and more in the network's.
fn qemu(bench: &Bench, arguments: &str, network: &str) -> String {
    qemu_with_netdev(bench, arguments, &format!("$a{network}"))
}

/// A QEMU, first in `PATH`, that is given more arguments, and another network: `$a` is its own.
pub fn qemu_with_netdev(bench: &Bench, arguments: &str, netdev: &str) -> String {
    let folder = bench.path("bin");
    std::fs::create_dir_all(&folder).unwrap();
    let script = format!(
        "#!/bin/bash\nprintf '%s\\n' \"$@\" > '{}'\nall=()\n\
         for a; do case \"$a\" in user,id=net*) a=\"{netdev}\" ;; esac; all+=(\"$a\"); done\n\
         exec /usr/bin/qemu-system-x86_64 \"${{all[@]}}\" {arguments}\n",
        bench.path("arguments").display()
    );
    let path = folder.join("qemu-system-x86_64");
    std::fs::write(&path, script).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    let path = std::env::var("PATH").unwrap();
    format!("{}:{path}", folder.display())
}

pub fn boot(disk: &Path, path: &str, options: &[&str]) -> (i32, String) {
    let mut command = i2kit();
    command.arg("run").arg(disk).args(options);
    command.args(["--timeout", "280"]).env("PATH", path);
    Vm::start(command).end()
}

fn write(bench: &Bench, name: &str, text: &str) -> String {
    let path = bench.path(name);
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

/// A FAT disk labelled `CIDATA` with these user data.
fn config_disk(bench: &Bench, user_data: &str) -> String {
    let image = write(bench, "cidata.img", "");
    std::fs::File::options()
        .write(true)
        .open(&image)
        .and_then(|file| file.set_len(2 << 20))
        .unwrap();
    let file = write(bench, "user-data", user_data);
    output_of("/usr/sbin/mkfs.vfat", &["-n", "CIDATA", &image]);
    output_of("mcopy", &["-i", &image, &file, "::user-data"]);
    format!(
        "-drive if=none,id=cidata,format=raw,readonly=on,file={image} -device virtio-blk-pci,drive=cidata"
    )
}

#[test]
fn fw_cfg_brings_variables_secrets_and_a_static_network() {
    let bench = Bench::new();
    let script = "echo $GREETING $KEPT $MINE $HTTPS_PROXY; hostname; cat /etc/resolv.conf; \
                  ip -o addr show eth0; ip route; cat /sys/class/net/eth0/mtu; \
                  ping -c 1 -W 5 10.0.2.2 >/dev/null && echo reached; \
                  grep -c hunter2 /proc/cmdline";
    let disk = build(&bench, script);
    let network = "hostname: box\nproxy: {https: 'http://10.0.2.2:3128'}\nnetwork:\n  \
                   addresses: [10.0.2.77/24, fd00:1::5/64]\n  routes: [{to: default, via: 10.0.2.2}]\n  \
                   nameservers: [10.0.2.3]\n  search: [example.org, example.net]\n  mtu: 1400\n";
    let config = write(
        &bench,
        "config.yaml",
        &format!("{HEAD}pod: test\n{network}"),
    );
    let secret = format!("db/password={}", write(&bench, "secret", "hunter2"));
    let path = qemu(&bench, "", "");
    let options = [
        "--config",
        &config,
        "--set",
        "GREETING=told",
        "--set",
        "look/MINE=mine",
        "--secret-file",
        &secret,
    ];
    let (code, console) = boot(&disk, &path, &options);
    assert_eq!(code, 1, "grep finds nothing: {console}");
    contains(
        &console,
        &[
            "i2kit: configuration: from QEMU's fw_cfg, ",
            " bytes; secrets: db (password)",
            "[look] told baked mine http://10.0.2.2:3128",
            "[look] box",
            "[look] search example.org example.net",
            "[look] nameserver 10.0.2.3",
            "inet 10.0.2.77/24",
            "inet6 fd00:1::5/64",
            "[look] default via 10.0.2.2",
            "[look] 1400",
            "[look] reached",
            "[look] 0",
        ],
    );
    assert!(!console.contains("10.0.2.15"), "a lease: {console}");
    assert!(
        !console.contains("hunter2") && !console.contains("aHVudGVyMg"),
        "{console}"
    );
    let arguments = std::fs::read_to_string(bench.path("arguments")).unwrap();
    assert!(
        arguments.contains("name=opt/org.i2kit/config"),
        "{arguments}"
    );
    assert!(
        !arguments.contains("told") && !arguments.contains("hunter2"),
        "{arguments}"
    );
}

/// QEMU's own network has routers' advertisements and a lease. Its name server by DHCPv6 is not asked
/// for here: unit tests alone show that part.
#[test]
fn a_config_disk_is_read_and_ipv6_comes_by_itself() {
    let bench = Bench::new();
    let script = "until ip -6 addr show eth0 | grep -q fec0; do sleep 1; done; \
                  echo $GREETING; cat /etc/resolv.conf; ip -o -6 addr show eth0; ip -o -4 addr show eth0";
    let disk = build(&bench, script);
    let drive = config_disk(
        &bench,
        &format!("{HEAD}pod: test\nenv: {{GREETING: from disk}}\n"),
    );
    let path = qemu(&bench, &drive, ",ipv4=on,ipv6=on");
    let (code, console) = boot(&disk, &path, &[]);
    assert_eq!(code, 0, "{console}");
    contains(
        &console,
        &[
            "configuration: from the config disk /dev/vdb, ",
            "[look] from disk",
            "[look] nameserver 10.0.2.3",
            "inet 10.0.2.15/24",
            "inet6 fec0::",
        ],
    );
}

/// The first thing that is wrong ends the boot, before containerd is started.
#[test]
fn a_document_that_cannot_be_used_ends_the_boot_and_shows_no_value() {
    let bench = Bench::new();
    let disk = build(&bench, "echo started");
    for (text, expected) in [
        (
            format!("{HEAD}pod: api\nenv: {{A: hunter2}}\n"),
            "step config failed: use the configuration from QEMU's fw_cfg: it is for Pod api, this is Pod test",
        ),
        (
            format!("{HEAD}pod: test\npasswords: {{A: hunter2}}\n"),
            "QEMU's fw_cfg: line 4, column 1: unknown key \"passwords\"",
        ),
        (
            format!(
                "{HEAD}pod: test\nenv: {{A: {}}}\n",
                "hunter2".repeat(200_000)
            ),
            "step config failed: read QEMU's fw_cfg file opt/org.i2kit/config: ",
        ),
    ] {
        let file = write(&bench, "document", &text);
        let more = format!("-fw_cfg name=opt/org.i2kit/config,file={file}");
        let begun = std::time::Instant::now();
        let (code, console) = boot(&disk, &qemu(&bench, &more, ""), &[]);
        assert_eq!(code, 70, "{console}");
        contains(&console, &[expected, "powering off"]);
        assert!(
            !console.contains("hunter2") && !console.contains("[look]"),
            "{console}"
        );
        println!("{} bytes: {:?}", text.len(), begun.elapsed());
    }
}

/// What the instance metadata service of a test is asked, and what it answers.
fn serve(listener: &TcpListener, answers: Vec<(&'static str, String)>) {
    for (expected, answer) in answers {
        let Ok((mut stream, _)) = listener.accept() else {
            return;
        };
        let request = read_head(&mut stream);
        let answer = if request.starts_with(expected) {
            answer
        } else {
            status("400 Bad Request", &request)
        };
        let _ = stream.write_all(answer.as_bytes());
    }
}

pub fn read_head(stream: &mut TcpStream) -> String {
    let (mut request, mut byte) = (Vec::new(), [0]);
    while !request.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|length| length > 0) {
        request.push(byte[0]);
    }
    String::from_utf8_lossy(&request).into_owned()
}

pub fn status(line: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {line}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// An EC2 instance by its firmware's tables, whose metadata service is this test's.
pub fn instance(bench: &Bench, port: u16) -> String {
    let relay = write(
        bench,
        "relay",
        &format!("#!/bin/bash\nexec 3<>/dev/tcp/127.0.0.1/{port}\ncat <&3 &\ncat >&3\nwait\n"),
    );
    std::fs::set_permissions(&relay, std::fs::Permissions::from_mode(0o755)).unwrap();
    let network = format!(",net=169.254.0.0/16,guestfwd=tcp:169.254.169.254:80-cmd:{relay}");
    qemu(bench, "-smbios 'type=1,manufacturer=Amazon EC2'", &network)
}

#[test]
fn user_data_comes_by_version_2_of_the_metadata_service_alone() {
    let bench = Bench::new();
    let disk = build(
        &bench,
        "echo $GREETING; hostname; cat /etc/hostname; grep search /etc/resolv.conf",
    );
    let document = format!(
        "{HEAD}pod: test\nhostname: told\nenv: {{GREETING: from EC2}}\nnetwork: {{search: [ec2.internal]}}\n"
    );
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let path = instance(&bench, listener.local_addr().unwrap().port());
    let (put, get) = ("PUT /latest/api/token ", "GET /latest/user-data ");
    let answers = vec![
        (put, status("503 Service Unavailable", "")),
        (put, status("200 OK", "stale")),
        (get, status("401 Unauthorized", "")),
        (put, status("200 OK", "t0ken")),
        (get, status("200 OK", &document)),
    ];
    std::thread::spawn(move || serve(&listener, answers));
    let (code, console) = boot(&disk, &path, &[]);
    assert_eq!(code, 0, "{console}");
    contains(&console, &["configuration: from EC2's user data, "]);
    let shown = ["from EC2", "told", "told", "search ec2.internal"];
    assert_eq!(printed(&console, "look"), shown, "{console}");
}

#[test]
fn a_metadata_service_that_hangs_does_not_hold_up_the_pod_for_long() {
    let bench = Bench::new();
    let disk = build(&bench, "echo $GREETING");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let path = instance(&bench, listener.local_addr().unwrap().port());
    std::thread::spawn(move || listener.incoming().flatten().collect::<Vec<_>>());
    let (code, console) = boot(&disk, &path, &[]);
    assert_eq!(code, 0, "{console}");
    contains(
        &console,
        &[
            "configuration: EC2's user data: PUT /latest/api/token: ",
            "; going on without",
            "[look] baked",
        ],
    );
    let waited = stage(&console, "metadata");
    assert!((3000..13_000).contains(&waited), "{waited} ms");
}

/// A time server whose clock is an hour ahead of its own machine's.
const CLOCK: &str = r#"
use Socket;
socket(S, PF_INET, SOCK_DGRAM, 17) and bind(S, sockaddr_in(123, INADDR_ANY)) or die $!;
while (1) {
  my $from = recv(S, my $query, 100, 0) or next;
  my $times = pack("N2", (time() + 3600 + 2208988800) & 0xffffffff, 0) x 2;
  my $head = pack("C4 N2 a4 N2", 0x24, 2, 6, 0, 0, 0, "LOCL", 0, 0);
  send(S, $head . substr($query, 40, 8) . $times, 0, $from);
}
"#;

/// A command's exit code, standard output and standard error.
fn ask(runtime: &Path, arguments: &[&str], input: &str) -> (Option<i32>, String, String) {
    let mut command = i2kit();
    command.args(arguments).env("XDG_RUNTIME_DIR", runtime);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let (mut stdin, input) = (child.stdin.take().unwrap(), input.to_owned());
    // One that fails early reads none of it.
    let writer = std::thread::spawn(move || drop(stdin.write_all(input.as_bytes())));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (
        output.status.code(),
        text(output.stdout),
        text(output.stderr),
    )
}

#[test]
fn a_machine_answers_exec_logs_and_status_and_keeps_the_time() {
    let bench = Bench::new();
    let perl = serde_json::to_string(CLOCK).unwrap();
    let clock = format!("image: nginx\ncommand: [perl, -e, {perl}]");
    let script = "echo first; echo second; while :; do sleep 1; done";
    let containers = [
        ("look", "env: [{name: A, value: b}]", script),
        ("clock", clock.as_str(), ""),
    ];
    let options = ["--scratch", "none", "--control"];
    let manifest = pod("terminationGracePeriodSeconds: 1", &containers);
    let disk = bench.build(&manifest, "test.raw", &options);
    let time = "time: {servers: [127.0.0.1]}";
    let config = write(&bench, "config.yaml", &format!("{HEAD}pod: test\n{time}\n"));
    let runtime = bench.path("runtime");
    let ask = |arguments: &[&str], input: &str| ask(&runtime, arguments, input);
    let (code, _, err) = ask(&["status", "box"], "");
    assert!(
        code == Some(1) && err.contains("no machine of this name runs here"),
        "{err}"
    );
    let mut command = i2kit();
    command
        .arg("run")
        .arg(&disk)
        .env("XDG_RUNTIME_DIR", &runtime);
    command.args(["--vm", "box", "--config", &config, "--timeout", "280"]);
    let vm = Vm::start(command);
    vm.wait_for("i2kit: started in ");

    let (_, json, _) = ask(&["status", "box", "--json"], "");
    let state: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(state["pod"], "test");
    assert_eq!(state["containers"][0]["running"], true);
    let script = "echo $A; echo oops >&2; exit 7";
    let (code, out, err) = ask(&["exec", "box", "--", "sh", "-c", script], "");
    assert_eq!((code, &*out, &*err), (Some(7), "b\n", "oops\n"));
    // More than a window, there and back.
    let long = "0123456789abcdef".repeat(64 * 1024);
    let (code, out, err) = ask(&["exec", "box", "-i", "-c", "look", "--", "cat"], &long);
    assert!(
        code == Some(0) && out == long,
        "{code:?}, {} bytes, {err}",
        out.len()
    );
    let (code, _, err) = ask(&["exec", "box", "--", "/nonexistent"], "");
    assert!(
        code == Some(125) && err.contains("/nonexistent"),
        "{code:?} {err}"
    );
    let (_, _, err) = ask(&["exec", "box", "-c", "ghost", "--", "id"], "");
    assert!(err.contains("the Pod has no container \"ghost\""), "{err}");
    assert_eq!(ask(&["logs", "box"], "").1, "first\nsecond\n");
    assert_eq!(ask(&["logs", "box", "--tail", "1"], "").1, "second\n");

    let console = vm.wait_for("time: stepped by +3");
    assert!(!console.contains("entropy: "), "{console}");
    // Sessions that are open at the end end with it.
    let open = [
        ["exec", "box", "--", "sleep", "1000"].as_slice(),
        &["logs", "box", "-f"],
    ];
    let open = open.map(|arguments| {
        let mut command = i2kit();
        command
            .args(arguments)
            .env("XDG_RUNTIME_DIR", &runtime)
            .stdin(Stdio::null());
        command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    });
    let state = ["exec", "box", "--", "pidof", "sleep"];
    while ask(&state, "").1.split_whitespace().count() < 2 {}
    vm.interrupt();
    let (code, console) = vm.end();
    assert!(code != 70 && console.contains("powering off"), "{console}");
    let [command, logs] = open.map(|session| session.wait_with_output().unwrap());
    // It was killed with its container, or with the machine.
    assert!(!command.status.success(), "{command:?}");
    assert_eq!(String::from_utf8_lossy(&logs.stdout), "first\nsecond\n");
    assert_eq!(ask(&["status", "box"], "").0, Some(1));
}

/// Milliseconds of a stage.
fn stage(console: &str, name: &str) -> u64 {
    let line = console
        .lines()
        .find(|line| line.starts_with("i2kit: started in "))
        .unwrap();
    let time = line
        .split([',', ':'])
        .find_map(|part| part.trim().strip_prefix(name));
    time.unwrap().trim().parse().unwrap()
}
