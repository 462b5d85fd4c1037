//! The end of the VM: power-off or reboot, and the failures that lead there.

use std::{
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use i2kit_contract::{FailurePolicy, Status};
use rustix::{
    io::Errno,
    mount::{MountFlags, UnmountFlags},
    process::{Pid, Signal, WaitOptions},
    system::RebootCommand,
};

use crate::{
    console::Console,
    kmsg::{self, Corruption},
    paths,
    report::Report,
    verity::recheck::Recheck,
};

/// How long the console may take to print the reason of a failure before the power goes.
const LAST_WORDS: Duration = Duration::from_secs(3);
/// How long it may take at an orderly end, when containers' lines may still wait: a serial line
/// carries some 11 KiB a second.
const LAST_LINES: Duration = Duration::from_secs(100);
/// How long processes have between SIGTERM and SIGKILL when the VM ends.
const TERM_PATIENCE: Duration = Duration::from_secs(2);

/// How long an orderly end may take in all; a disk that is gone can hold up a sync for ever.
const END_PATIENCE: Duration = Duration::from_secs(150);
/// How long scratch may stay busy when all other processes are gone.
const UNMOUNT_PATIENCE: Duration = Duration::from_secs(3);

/// How the VM ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Power off.
    PowerOff,
    /// Reboot.
    Reboot,
}

impl From<FailurePolicy> for Ending {
    fn from(policy: FailurePolicy) -> Self {
        match policy {
            FailurePolicy::PowerOff => Self::PowerOff,
            FailurePolicy::Reboot => Self::Reboot,
        }
    }
}

impl Ending {
    /// What the console says about it.
    pub fn present_participle(self) -> &'static str {
        match self {
            Self::PowerOff => "powering off",
            Self::Reboot => "rebooting",
        }
    }
}

/// Ends the VM when something cannot go on. Any thread may hold a clone; the first to fail wins.
#[derive(Clone)]
pub struct Fuse {
    console: Console,
    report: Report,
    policy: Arc<Mutex<FailurePolicy>>,
    blown: Arc<AtomicBool>,
    recheck: Arc<OnceLock<Recheck>>,
}

impl Fuse {
    /// A fuse with the default policy.
    pub fn new(console: Console, report: Report) -> Self {
        Self {
            console,
            report,
            policy: Arc::default(),
            blown: Arc::default(),
            recheck: Arc::default(),
        }
    }

    /// Sets what a failure leads to from now on.
    pub fn set_policy(&self, policy: FailurePolicy) {
        *self.policy.lock().unwrap_or_else(PoisonError::into_inner) = policy;
    }

    /// From now on a block that can be read after all does not count as bad.
    pub fn set_recheck(&self, recheck: Recheck) {
        // Set once, when the store is opened.
        let _ = self.recheck.set(recheck);
    }

    /// True when nothing has repaired the block.
    pub fn is_bad(&self, corruption: &Corruption) -> bool {
        let recheck = self.recheck.get();
        !recheck.is_some_and(|recheck| recheck.is_repaired(corruption))
    }

    fn ending(&self) -> Ending {
        (*self.policy.lock().unwrap_or_else(PoisonError::into_inner)).into()
    }

    /// Reports the failure and ends the VM by policy, at once: nothing on disk is worth a wait
    /// when what runs can no longer be trusted. If the kernel has logged a block that failed
    /// verification, that is the reason reported, since it explains whatever failed after it.
    pub fn blow(&self, reason: &str) -> ! {
        if self.blown.swap(true, Ordering::SeqCst) {
            idle();
        }
        let ending = self.ending();
        self.console.drop_backlog();
        let cause = kmsg::logged_corruption(&|corruption| self.is_bad(corruption));
        let cause = cause.map(|corruption| corruption.to_string());
        if cause.as_deref().is_some_and(|cause| cause != reason) {
            self.console.say(reason);
        }
        let reason = cause.unwrap_or_else(|| reason.to_owned());
        self.console
            .say(format_args!("{reason}: {}", ending.present_participle()));
        self.report.send_last(&Status::Failed { reason });
        self.console.flush(LAST_WORDS);
        stop(ending, &self.console)
    }

    /// The VM's orderly end: processes are ended, the scratch partition unmounted.
    pub fn end(&self, ending: Ending) -> ! {
        if self.blown.swap(true, Ordering::SeqCst) {
            idle();
        }
        self.console.say(ending.present_participle());
        let console = self.console.clone();
        // Without the thread it ends in order or not at all.
        let _ = thread::Builder::new()
            .name("end".into())
            .spawn(move || stop_after(END_PATIENCE, ending, &console));
        end_processes();
        rustix::fs::sync();
        release_scratch(&self.console);
        self.console.flush(LAST_LINES);
        stop(ending, &self.console)
    }
}

fn stop_after(patience: Duration, ending: Ending, console: &Console) {
    thread::sleep(patience);
    stop(ending, console)
}

fn end_processes() {
    // "Process group 1" is kill(-1, …), which from PID 1 means every process but itself
    // (kill(2)); ESRCH says there is none.
    let _ = rustix::process::kill_process_group(Pid::INIT, Signal::TERM);
    reap_until_none(TERM_PATIENCE);
    let _ = rustix::process::kill_process_group(Pid::INIT, Signal::KILL);
    reap_until_none(TERM_PATIENCE);
}

fn reap_until_none(patience: Duration) {
    let end = Instant::now() + patience;
    while Instant::now() < end {
        match rustix::process::wait(WaitOptions::NOHANG) {
            Ok(Some(_)) => {}
            Ok(None) => thread::sleep(Duration::from_millis(10)),
            Err(_) => return,
        }
    }
}

fn release_scratch(console: &Console) {
    let end = Instant::now() + UNMOUNT_PATIENCE;
    while let Err(error) = rustix::mount::unmount(paths::VAR, UnmountFlags::empty()) {
        // A thread may still be deleting a writable layer. Read-only is as good for the file system.
        if rustix::mount::mount_remount(paths::VAR, MountFlags::RDONLY, "").is_ok() {
            return;
        }
        if error != Errno::BUSY || Instant::now() >= end {
            // The journal makes up for it at the next boot.
            console.say(format_args!("unmount {}: {error}", paths::VAR));
            return;
        }
        thread::sleep(Duration::from_millis(20));
    }
}

fn stop(ending: Ending, console: &Console) -> ! {
    let command = match ending {
        Ending::PowerOff => RebootCommand::PowerOff,
        Ending::Reboot => RebootCommand::Restart,
    };
    if let Err(error) = rustix::system::reboot(command) {
        console.say(format_args!("{}: {error}", ending.present_participle()));
    }
    idle()
}

/// PID 1 never exits: the kernel would panic.
fn idle() -> ! {
    loop {
        thread::park();
    }
}
