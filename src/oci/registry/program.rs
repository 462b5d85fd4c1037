//! Programs that answer with a secret: bounded in time and size, their answers never shown.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

/// More than any credential has.
const MAX_ANSWER: usize = 1 << 20;

/// What a program answered.
pub(super) struct Answer {
    pub status: ExitStatus,
    pub stdout: Vec<u8>,
}

/// Why a program did not answer.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    /// The system.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// It took too long and was killed.
    #[error("no answer within {} s", .0.as_secs_f32())]
    Timeout(Duration),
    /// It said too much and was killed.
    #[error("its answer is larger than {MAX_ANSWER} bytes")]
    Large,
}

/// Runs `command` with `stdin` (less than a pipe holds) until it ends.
///
/// What it says on standard error is dropped: it may show what is none of the log's business.
pub(super) fn run(
    mut command: Command,
    stdin: &[u8],
    timeout: Duration,
) -> Result<Answer, ProgramError> {
    let deadline = Instant::now() + timeout;
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let mut child = command.spawn()?;
    // A program that does not read it says so in another way.
    let written = child.stdin.take().map(|mut pipe| pipe.write_all(stdin));
    drop(written);
    let answer = answer(&mut child, deadline).map_err(|error| match error {
        ProgramError::Timeout(_) => ProgramError::Timeout(timeout),
        error => error,
    });
    if answer.is_err() {
        // It may have ended by itself by now.
        let _ = child.kill();
        child.wait()?;
    }
    answer
}

/// What the child writes until it has ended. Its own children may keep the pipe open longer, and
/// are not waited for.
fn answer(child: &mut Child, deadline: Instant) -> Result<Answer, ProgramError> {
    let pid = Pid::from_child(child);
    let ended = pidfd_open(pid, PidfdFlags::empty()).map_err(io::Error::from)?;
    let mut pipe = child.stdout.take();
    let mut stdout = Vec::new();
    loop {
        let waits = pipe.as_ref().map(AsFd::as_fd);
        let ready = wait(ended.as_fd(), waits, deadline)?;
        if ready.pipe && !read_some(&mut pipe, &mut stdout)? {
            pipe = None;
        }
        if ready.ended && !ready.pipe {
            let status = child.wait()?;
            return Ok(Answer { status, stdout });
        }
    }
}

struct Ready {
    ended: bool,
    pipe: bool,
}

/// Waits for the end of the child or for something in the pipe.
fn wait(
    ended: BorrowedFd<'_>,
    pipe: Option<BorrowedFd<'_>>,
    deadline: Instant,
) -> Result<Ready, ProgramError> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(ProgramError::Timeout(left));
    }
    let left = Timespec::try_from(left).map_err(io::Error::other)?;
    let mut all: Vec<_> = [Some(ended), pipe]
        .into_iter()
        .flatten()
        .map(|one| PollFd::from_borrowed_fd(one, PollFlags::IN))
        .collect();
    match poll(&mut all, Some(&left)) {
        Err(rustix::io::Errno::INTR) | Ok(_) => {}
        Err(error) => return Err(io::Error::from(error).into()),
    }
    let mut ready = all.iter().map(|one| !one.revents().is_empty());
    Ok(Ready {
        ended: ready.next().unwrap_or(false),
        pipe: ready.next().unwrap_or(false),
    })
}

/// One read; false at the end.
fn read_some(pipe: &mut Option<ChildStdout>, out: &mut Vec<u8>) -> Result<bool, ProgramError> {
    let Some(pipe) = pipe else { return Ok(false) };
    let mut buffer = [0; 4096];
    let len = pipe.read(&mut buffer)?;
    out.extend(buffer.get(..len).unwrap_or_default());
    if out.len() > MAX_ANSWER {
        return Err(ProgramError::Large);
    }
    Ok(len > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str, stdin: &[u8], timeout: u64) -> Result<Answer, ProgramError> {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        run(command, stdin, Duration::from_millis(timeout))
    }

    #[test]
    fn answers() {
        let answer = sh("cat; echo; echo secret >&2; exit 3", b"hello", 60_000).unwrap();
        assert_eq!(answer.stdout, b"hello\n");
        assert_eq!(answer.status.code(), Some(3));
        // Nothing is read, and more is said than a pipe holds.
        let script = "exec <&-; head -c 200000 /dev/zero";
        let answer = sh(script, &[0; 10_000], 60_000).unwrap();
        assert_eq!(answer.stdout.len(), 200_000);
    }

    #[test]
    fn neither_silence_nor_a_child_left_behind_is_waited_for() {
        let start = Instant::now();
        let error = sh("exec sleep 600", b"", 200).err().unwrap();
        assert!(matches!(error, ProgramError::Timeout(_)), "{error}");
        let error = sh("exec >&-; exec sleep 600", b"", 200).err().unwrap();
        assert!(matches!(error, ProgramError::Timeout(_)), "{error}");
        let answer = sh("sleep 30 & echo x", b"", 60_000).unwrap();
        assert_eq!(answer.stdout, b"x\n");
        assert!(start.elapsed() < Duration::from_secs(25));
    }

    #[test]
    fn endless_talk_is_cut() {
        let error = sh("exec cat /dev/zero", b"", 60_000).err().unwrap();
        assert!(matches!(error, ProgramError::Large), "{error}");
    }
}
