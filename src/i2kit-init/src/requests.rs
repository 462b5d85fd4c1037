//! Who asks PID 1 to end the VM: signals and the power button. And children that ended.

use std::{
    fs::{self, File},
    io::{self, Read},
    os::fd::AsFd,
    thread,
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, poll},
    process::{WaitOptions, WaitStatus},
};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc::{self, UnboundedReceiver, UnboundedSender},
};

use crate::{console::Console, containerd::keeper::Keeper, power::Ending};

const EV_KEY: u16 = 1;
const KEY_POWER: u16 = 116;
/// `sizeof(struct input_event)` on 64-bit systems: a time stamp of 16 bytes, type, code, value.
const EVENT: usize = 24;
/// How often new input devices are looked for.
const RESCAN: Duration = Duration::from_secs(5);

/// Listens from now on: SIGTERM and SIGPWR mean power-off, SIGINT (which Ctrl-Alt-Del sends)
/// reboot, the power button power-off. Must run inside a tokio runtime.
///
/// # Errors
/// A handler or thread cannot be set up.
pub fn listen(console: &Console) -> io::Result<UnboundedReceiver<Ending>> {
    let (sender, receiver) = mpsc::unbounded_channel();
    for (kind, ending) in [
        (SignalKind::terminate(), Ending::PowerOff),
        (SignalKind::from_raw(libc::SIGPWR), Ending::PowerOff),
        (SignalKind::interrupt(), Ending::Reboot),
    ] {
        let mut stream = signal(kind)?;
        let sender = sender.clone();
        tokio::spawn(async move {
            while stream.recv().await.is_some() && sender.send(ending).is_ok() {}
        });
    }
    // Without it the kernel reboots at once on Ctrl-Alt-Del.
    rustix::system::reboot(rustix::system::RebootCommand::CadOff)?;
    let console = console.clone();
    thread::Builder::new()
        .name("power-button".into())
        .spawn(move || watch_buttons(&sender, &console))?;
    Ok(receiver)
}

fn watch_buttons(sender: &UnboundedSender<Ending>, console: &Console) {
    let mut devices: Vec<(String, File)> = Vec::new();
    loop {
        open_new_devices(&mut devices);
        let mut fds: Vec<PollFd<'_>> = devices
            .iter()
            .map(|(_, file)| PollFd::from_borrowed_fd(file.as_fd(), PollFlags::IN))
            .collect();
        let timeout = rustix::event::Timespec::try_from(RESCAN).unwrap_or_default();
        if poll(&mut fds, Some(&timeout)).is_err() {
            continue;
        }
        let ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
        let mut ready = ready.into_iter();
        devices.retain_mut(|(_, file)| {
            if !ready.next().unwrap_or(false) {
                return true;
            }
            let mut buffer = [0; EVENT * 64];
            match file.read(&mut buffer) {
                Ok(length) => {
                    if pressed(buffer.get(..length).unwrap_or_default()) {
                        console.say("power button pressed");
                        // Nobody listens any more once the VM is ending.
                        let _ = sender.send(Ending::PowerOff);
                    }
                    true
                }
                // Unplugged.
                Err(_) => false,
            }
        });
    }
}

fn open_new_devices(devices: &mut Vec<(String, File)>) {
    for entry in fs::read_dir("/dev/input").into_iter().flatten().flatten() {
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        if !name.starts_with("event") || devices.iter().any(|(known, _)| *known == name) {
            continue;
        }
        if let Ok(file) = File::open(entry.path()) {
            devices.push((name, file));
        }
    }
}

/// True when one of the events is the power key going down.
fn pressed(events: &[u8]) -> bool {
    events.as_chunks::<EVENT>().0.iter().any(|event| {
        let field = |offset: usize| {
            event
                .get(offset..)
                .and_then(|rest| rest.first_chunk())
                .map_or(0, |bytes| u16::from_le_bytes(*bytes))
        };
        field(16) == EV_KEY && field(18) == KEY_POWER && field(20) == 1
    })
}

/// Reaps every child that ends, since all orphans become PID 1's; containerd is started again.
/// Must run inside a tokio runtime.
///
/// # Errors
/// The handler cannot be set up.
pub fn reap(mut containerd: Keeper) -> io::Result<()> {
    reap_each(move |pid, status| containerd.child_ended(pid, &describe(status)))
}

fn reap_each(mut ended: impl FnMut(u32, WaitStatus) + Send + 'static) -> io::Result<()> {
    let mut children = signal(SignalKind::child())?;
    tokio::spawn(async move {
        loop {
            // One signal may stand for many children.
            while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
                ended(pid.as_raw_nonzero().get().unsigned_abs(), status);
            }
            if children.recv().await.is_none() {
                return;
            }
        }
    });
    Ok(())
}

fn describe(status: WaitStatus) -> String {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "an unknown status".into(),
    }
}

#[cfg(test)]
mod tests {
    use std::{
        process::{Command, Stdio},
        sync::{Arc, Mutex},
    };

    use proptest::prelude::*;

    use super::*;

    /// Processes of this one's children that are zombies, from `/proc`.
    fn zombies() -> Vec<u32> {
        let own = format!("PPid:\t{}", std::process::id());
        let statuses = fs::read_dir("/proc")
            .unwrap()
            .flatten()
            .filter_map(|entry| {
                let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
                Some((pid, fs::read_to_string(entry.path().join("status")).ok()?))
            });
        statuses
            .filter(|(_, status)| {
                status.contains("State:\tZ") && status.lines().any(|line| line == own)
            })
            .map(|(pid, _)| pid)
            .collect()
    }

    /// Forty orphans of a process that is gone come to us as they come to PID 1, and none stays.
    #[tokio::test(flavor = "current_thread")]
    #[expect(clippy::zombie_processes, reason = "what is tested reaps it")]
    async fn orphans_are_reaped() {
        rustix::process::set_child_subreaper(Some(rustix::process::getpid())).unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let ended = Arc::clone(&seen);
        reap_each(move |pid, status| ended.lock().unwrap().push((pid, describe(status)))).unwrap();
        let script = "for i in $(seq 40); do (sleep 0.2; exit 3) & done; exit 5";
        let parent = Command::new("sh")
            .args(["-c", script])
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let all = async {
            while seen.lock().unwrap().len() < 41 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let in_time = tokio::time::timeout(Duration::from_secs(20), all).await;
        let seen = seen.lock().unwrap();
        assert!(in_time.is_ok(), "{seen:?}");
        assert!(
            seen.contains(&(parent.id(), "exit code 5".into())),
            "{seen:?}"
        );
        assert_eq!(
            seen.iter().filter(|(_, how)| how == "exit code 3").count(),
            40
        );
        assert_eq!(zombies(), [0; 0]);
    }

    fn event(kind: u16, code: u16, value: u16) -> Vec<u8> {
        let mut bytes = vec![0; 16];
        for field in [kind, code, value, 0] {
            bytes.extend(field.to_le_bytes());
        }
        bytes
    }

    #[test]
    fn only_the_power_key_going_down_counts() {
        assert!(pressed(
            &[event(0, 0, 0), event(EV_KEY, KEY_POWER, 1)].concat()
        ));
        assert!(!pressed(&event(EV_KEY, KEY_POWER, 0)));
        assert!(!pressed(&event(EV_KEY, 30, 1)));
    }

    proptest! {
        #[test]
        fn no_events_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = pressed(&bytes);
        }
    }
}
