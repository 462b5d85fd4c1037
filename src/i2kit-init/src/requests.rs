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
    process::WaitOptions,
};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc::{self, UnboundedReceiver, UnboundedSender},
};

use crate::{
    console::Console,
    power::{Ending, Fuse},
};

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

/// Reaps every child that ends, since all orphans become PID 1's. The end of containerd blows
/// the fuse: its containers can no longer be supervised. Must run inside a tokio runtime.
///
/// # Errors
/// The handler cannot be set up.
pub fn reap(containerd: u32, fuse: &Fuse) -> io::Result<()> {
    let mut children = signal(SignalKind::child())?;
    let fuse = fuse.clone();
    tokio::spawn(async move {
        loop {
            while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
                if u32::try_from(pid.as_raw_nonzero().get()) == Ok(containerd) {
                    let how = match (status.exit_status(), status.terminating_signal()) {
                        (Some(code), _) => format!("exit code {code}"),
                        (None, Some(signal)) => format!("signal {signal}"),
                        (None, None) => "an unknown status".into(),
                    };
                    fuse.blow(&format!("containerd ended with {how}"));
                }
            }
            if children.recv().await.is_none() {
                return;
            }
        }
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

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
