//! The containerd process.

use std::{
    fs,
    io::Read,
    process::{Command, Stdio},
    thread,
};

use crate::{
    cgroup,
    console::Console,
    fault::{Context, Fault},
    pod::logs::LineSplitter,
};

/// Where its API listens.
pub const SOCKET: &str = "/run/containerd/containerd.sock";
const BINARY: &str = "/usr/bin/containerd";
const CONFIG_PATH: &str = "/run/i2kit/containerd.toml";
/// Programs that containerd and its shims start are looked up here.
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Root file systems are mounted explicitly, so nothing that stores or unpacks images is needed;
/// the metadata store insists on one snapshotter. Its root holds metadata only, which must not
/// outlive the boot.
const CONFIG: &str = r#"version = 2
root = "/run/i2kit/containerd"
state = "/run/containerd"
oom_score = -999
disabled_plugins = [
  "io.containerd.grpc.v1.cri",
  "io.containerd.internal.v1.opt",
  "io.containerd.internal.v1.tracing",
  "io.containerd.tracing.processor.v1.otlp",
  "io.containerd.snapshotter.v1.aufs",
  "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.overlayfs",
  "io.containerd.snapshotter.v1.zfs",
]

[grpc]
  address = "/run/containerd/containerd.sock"
"#;

/// Starts containerd in the cgroup `/system` and returns its process id. Its errors go to the
/// console. It is reaped with all other children.
///
/// # Errors
/// It cannot be started.
pub fn spawn(console: &Console) -> Result<u32, Fault> {
    fs::write(CONFIG_PATH, CONFIG).context("write", CONFIG_PATH)?;
    let (name, value) = PATH.split_once('=').unwrap_or_default();
    let mut child = Command::new(BINARY)
        .args(["--config", CONFIG_PATH, "--log-level", "error"])
        .env_clear()
        .env(name, value)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .context("start", BINARY)?;
    cgroup::move_to_system(child.id())?;
    if let Some(stderr) = child.stderr.take() {
        let console = console.clone();
        thread::Builder::new()
            .name("containerd-log".into())
            .spawn(move || pump(stderr, &console))
            .context("start a thread for the output of", BINARY)?;
    }
    Ok(child.id())
}

fn pump(mut output: impl Read, console: &Console) {
    let mut splitter = LineSplitter::default();
    let mut buffer = [0; 4096];
    while let Ok(length @ 1..) = output.read(&mut buffer) {
        splitter.push(buffer.get(..length).unwrap_or_default(), |line, _| {
            say(console, line)
        });
    }
    splitter.finish(|line, _| say(console, line));
}

fn say(console: &Console, line: &[u8]) {
    if !is_routine(line) {
        console.system_line("containerd", line);
    }
}

/// The shims write to the same stream and know no log level: each start and end of a container
/// has several lines that say nothing, and each failed start one that says that the shim is gone.
fn is_routine(line: &[u8]) -> bool {
    let text = String::from_utf8_lossy(line);
    let is_low = ["debug", "info", "warning"].iter().any(|level| {
        text.split(' ')
            .take(2)
            .any(|word| word.strip_prefix("level=") == Some(level))
    });
    is_low || text.contains(" level=error msg=\"copy shim log\" error=\"read /proc/self/fd/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_routine_lines_are_left_out() {
        assert!(is_routine(
            br#"time="2026-11-24T12:48:15Z" level=info msg="level=error""#
        ));
        assert!(!is_routine(
            br#"time="2026-11-24T12:48:15Z" level=error msg="level=info""#
        ));
        assert!(!is_routine(b"panic: runtime error"));
        assert!(is_routine(
            br#"time="2026-11-24T12:48:15Z" level=error msg="copy shim log" error="read /proc/self/fd/14: file already closed""#
        ));
    }
}
