//! A virtual machine under test: `i2kit run` as a child process.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use super::{i2kit, samples};

/// No boot takes as long, even emulated on a busy machine.
const PATIENCE: Duration = Duration::from_secs(290);
/// What PID 1's lines start with.
const GUEST: &str = "i2kit: ";

/// A folder with a cache of its own; disks of one test file share layers through it.
pub struct Bench {
    pub folder: tempfile::TempDir,
    pub base: String,
}

impl Bench {
    pub fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            base: samples::base(),
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// `i2kit COMMAND` with base, cache and the samples given.
    pub fn command(&self, command: &str) -> Command {
        let mut process = i2kit();
        process.arg(command).arg("--base").arg(&self.base);
        process.arg("--cache-dir").arg(self.path("cache"));
        for name in ["nginx", "tiny"] {
            process
                .arg("--image")
                .arg(format!("{name}={}", samples::sample(name)));
        }
        process
    }

    /// Builds `manifest` to a disk; fails the test when that fails.
    pub fn build(&self, manifest: &str, name: &str, more: &[&str]) -> PathBuf {
        let disk = self.path(name);
        let output = self.try_build(manifest, &disk, more);
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        disk
    }

    pub fn try_build(&self, manifest: &str, disk: &Path, more: &[&str]) -> Output {
        let file = self.path("manifest.yaml");
        std::fs::write(&file, manifest).unwrap();
        self.command("build")
            .arg("-f")
            .arg(file)
            .arg("-o")
            .arg(disk)
            .args(more)
            .output()
            .unwrap()
    }
}

#[derive(Default)]
struct Console {
    text: Mutex<(String, bool)>,
    grown: Condvar,
}

/// A running machine, killed when dropped.
pub struct Vm {
    child: Child,
    console: Arc<Console>,
}

impl Vm {
    pub fn start(mut command: Command) -> Self {
        // Both streams go to one place, as in a terminal.
        let (reader, writer) = std::io::pipe().unwrap();
        command
            .stdin(Stdio::null())
            .stdout(writer.try_clone().unwrap())
            .stderr(writer);
        let child = command.spawn().unwrap();
        // It holds the writing end, too.
        drop(command);
        let console = Arc::new(Console::default());
        let shared = Arc::clone(&console);
        std::thread::spawn(move || {
            collect(reader, &shared);
            shared.text.lock().unwrap().1 = true;
            shared.grown.notify_all();
        });
        Self { child, console }
    }

    /// Boots a disk with the options.
    pub fn boot(disk: &Path, options: &[&str]) -> Self {
        let mut command = i2kit();
        command
            .arg("run")
            .arg(disk)
            .args(options)
            .args(["--timeout", "280"]);
        Self::start(command)
    }

    /// Waits until the console has `pattern`; answers the whole console.
    pub fn wait_for(&self, pattern: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        let mut state = self.console.text.lock().unwrap();
        while !state.0.contains(pattern) {
            let rest = deadline.saturating_duration_since(Instant::now());
            assert!(
                !state.1 && !rest.is_zero(),
                "no {pattern:?} in:\n{}",
                state.0
            );
            state = self.console.grown.wait_timeout(state, rest).unwrap().0;
        }
        state.0.clone()
    }

    pub fn interrupt(&self) {
        let pid = rustix::process::Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    }

    /// Waits for the end; answers exit code and console, of which no two lines may have mixed.
    pub fn end(mut self) -> (i32, String) {
        let deadline = Instant::now() + PATIENCE;
        let mut state = self.console.text.lock().unwrap();
        while !state.1 {
            let rest = deadline.saturating_duration_since(Instant::now());
            assert!(!rest.is_zero(), "no end after:\n{}", state.0);
            state = self.console.grown.wait_timeout(state, rest).unwrap().0;
        }
        let text = state.0.clone();
        drop(state);
        lines_are_whole(&text);
        (self.child.wait().unwrap().code().unwrap_or(-1), text)
    }
}

impl Drop for Vm {
    fn drop(&mut self) {
        // QEMU dies with its parent.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn collect(from: impl Read, console: &Console) {
    let mut reader = BufReader::new(from);
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line).is_ok_and(|len| len > 0) {
        let mut state = console.text.lock().unwrap();
        state.0.push_str(&String::from_utf8_lossy(&line));
        console.grown.notify_all();
        line.clear();
    }
}

/// Each writer's mark is where a line starts and nowhere else.
fn lines_are_whole(text: &str) {
    let Some(booted) = text.find(GUEST) else {
        return;
    };
    let marks = [GUEST, "kernel: ", "{\"event\":", "stopping; "];
    let others = [
        "container ",
        "containerd: ",
        "warning: ",
        "note: ",
        "error: ",
        "learned so far: ",
        "[",
    ];
    for line in text[booted..].lines() {
        let is_known = marks
            .iter()
            .chain(&others)
            .any(|mark| line.starts_with(mark));
        let is_mixed = marks
            .iter()
            .any(|mark| line.rfind(mark).is_some_and(|at| at > 0));
        assert!(is_known && !is_mixed, "{line:?} in:\n{text}");
    }
}

/// What the container has printed, line by line.
pub fn printed<'a>(console: &'a str, container: &str) -> Vec<&'a str> {
    let prefix = format!("[{container}] ");
    console
        .lines()
        .filter_map(|line| line.strip_prefix(&prefix))
        .collect()
}

/// The last exit codes that the guest reports on its console as JSON.
pub fn exit_codes(console: &str) -> Vec<(String, u32)> {
    let line = console
        .lines()
        .find(|line| line.starts_with("{\"event\":\"ended\""))
        .unwrap_or_else(|| panic!("no exit codes in:\n{console}"));
    match serde_json::from_str(line).unwrap() {
        i2kit_contract::Status::Ended { containers, .. } => containers
            .into_iter()
            .map(|container| (container.name, container.exit_code))
            .collect(),
        other => panic!("{other:?}"),
    }
}

/// The answer to a datagram, sent again until the deadline.
pub fn ask(port: u16, question: &str) -> String {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(("127.0.0.1", port)).unwrap();
    socket
        .set_read_timeout(Some(Duration::from_millis(500)))
        .unwrap();
    let deadline = Instant::now() + PATIENCE;
    let mut answer = [0; 100];
    while Instant::now() < deadline {
        // While nobody listens on the host's side, each try may fail.
        let _ = socket.send(question.as_bytes());
        if let Ok(length) = socket.recv(&mut answer) {
            return String::from_utf8_lossy(&answer[..length]).into_owned();
        }
    }
    panic!("no answer on UDP port {port}");
}

/// A port that is free now.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

/// The answer to a GET, asked for until the deadline.
pub fn get(port: u16) -> String {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answer = try_get(port).unwrap_or_default();
        if answer.contains("200 OK") {
            return answer;
        }
        assert!(
            Instant::now() < deadline,
            "no answer on port {port}: {answer:?}"
        );
        std::thread::sleep(Duration::from_millis(200));
    }
}

fn try_get(port: u16) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.write_all(b"GET / HTTP/1.0\r\nHost: x\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}
