//! A process namespace for the whole Pod (`shareProcessNamespace`).
//!
//! A namespace lives as long as its first process. A program that does nothing but reap is that
//! process, as the pause container is in a cluster: PID 1 runs itself again in this role.

use std::{
    io,
    os::unix::process::CommandExt,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::fault::{Context, Fault};

/// The argument that asks for the role.
pub const ROLE: &str = "--hold-process-namespace";
/// How long the holder may take to be there.
const PATIENCE: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(2);

/// Starts the holder and answers the path of its namespace.
///
/// # Errors
/// It cannot be started.
pub fn start() -> Result<String, Fault> {
    let mut command = Command::new("/proc/self/exe");
    command.arg(ROLE).env_clear();
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    // SAFETY: the closure makes one system call, between fork and exec.
    let command = unsafe {
        command.pre_exec(|| match libc::unshare(libc::CLONE_NEWPID) {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        })
    };
    // The child itself stays outside: the namespace's first process is its child.
    let outer = command.spawn().context("start", "the process namespace")?;
    let path = format!("/proc/{}/ns/pid_for_children", outer.id());
    let end = Instant::now() + PATIENCE;
    // The link leads nowhere until the namespace has its first process.
    while std::fs::metadata(&path).is_err() {
        if Instant::now() >= end {
            return Err(Fault::new("open", path, io::ErrorKind::TimedOut));
        }
        thread::sleep(POLL);
    }
    Ok(path)
}

/// The role itself: starts the namespace's first process, then both wait for ever.
pub fn hold() -> io::Result<()> {
    if std::process::id() == 1 {
        return reap_for_ever();
    }
    let mut inner = Command::new("/proc/self/exe").arg(ROLE).spawn()?;
    inner.wait().map(drop)
}

/// Children of the containers' that have lost their parents end here.
fn reap_for_ever() -> io::Result<()> {
    // Ignored, children leave no zombies: the kernel reaps them, and there is nothing to wait for.
    // SAFETY: no handler is set, so nothing runs at a signal.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
    loop {
        thread::park();
    }
}
