//! One QEMU process and the streams that come out of it.
//!
//! Each stream has a thread that blocks on it and hands what it reads to one channel. A reader
//! waits for its message to be handled before it reads on, so a guest that writes faster than we
//! print is slowed down, not buffered.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufRead, BufReader, PipeReader, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::JoinHandle;

use i2kit_contract::Status;
use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};

use super::command::Descriptors;
use super::loader::Settled;
use super::{qmp, status};

/// Something happened.
#[derive(Debug)]
pub(super) enum Message {
    /// Bytes from the serial console.
    Console(Vec<u8>),
    /// A status line, or what was read instead of one.
    Status(Result<Status, String>),
    /// A report from QEMU's monitor.
    Monitor(qmp::Report),
    /// One of the VM's [`SOURCES`] has ended.
    Closed,
    /// SIGINT or SIGTERM for us.
    Signal(i32),
}

/// Console, status port, monitor and the process itself: what ends when a VM ends.
pub(super) const SOURCES: usize = 4;

/// Room for what the guest prints while we do something else.
const CONSOLE_BYTES: usize = 1 << 20;

/// QEMU's own words kept for an error.
const WORDS_KEPT: u64 = 16 * 1024;

/// A running QEMU. Dropping it kills and reaps the process.
pub(super) struct Vm {
    child: Child,
    monitor: UnixStream,
    sockets: Vec<UnixStream>,
    handled: Vec<Sender<()>>,
    readers: Vec<JoinHandle<()>>,
    words: Option<JoinHandle<String>>,
}

/// The reader of a message waits until it is told to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reader {
    Console = 0,
    Status = 1,
}

impl Vm {
    /// Starts QEMU with the arguments that `arguments` makes of the inherited descriptors: those of
    /// the disk, of the run-time configuration, of the control channel's far end and of our streams.
    /// QEMU inherits what `loader` needs, too.
    pub(super) fn start(
        qemu: &Path,
        disk: &File,
        config: Option<&OwnedFd>,
        loader: &Settled,
        control: Option<UnixStream>,
        arguments: impl FnOnce(Descriptors) -> Vec<OsString>,
        messages: &Sender<Message>,
    ) -> io::Result<Self> {
        let (console, guest_console) = io::pipe()?;
        // Less than the kernel grants anyone does no harm.
        let _ = rustix::pipe::fcntl_setpipe_size(&guest_console, CONSOLE_BYTES);
        let (status, guest_status) = UnixStream::pair()?;
        let (monitor, guest_monitor) = UnixStream::pair()?;
        let descriptors = Descriptors {
            disk: disk.as_raw_fd(),
            console: guest_console.as_raw_fd(),
            status: guest_status.as_raw_fd(),
            monitor: guest_monitor.as_raw_fd(),
            config: config.map(AsRawFd::as_raw_fd),
            control: control.as_ref().map(AsRawFd::as_raw_fd),
        };
        let mut inherited = vec![
            descriptors.disk,
            descriptors.console,
            descriptors.status,
            descriptors.monitor,
        ];
        inherited.extend(descriptors.config);
        inherited.extend(descriptors.control);
        inherited.extend(loader.descriptors());
        let sockets = vec![status.try_clone()?, monitor.try_clone()?];
        let commands = monitor.try_clone()?;
        let mut child = spawn(Command::new(qemu).args(arguments(descriptors)), inherited)?;
        // Only QEMU holds its ends from here on: when it ends, ours read the end of the stream.
        drop((guest_console, guest_status, guest_monitor, control));

        let words = child
            .stderr
            .take()
            .map(|stderr| std::thread::spawn(move || last_words(stderr)));
        let mut vm = Self {
            child,
            sockets,
            monitor: commands,
            handled: Vec::new(),
            readers: Vec::new(),
            words,
        };
        vm.read_console(console, messages.clone());
        vm.read_status(status, messages.clone());
        vm.read_monitor(monitor, messages.clone());
        vm.watch_process(messages.clone());
        // Fails only when QEMU has ended already, and then its exit says more.
        let _ = vm.monitor.write_all(qmp::CAPABILITIES);
        Ok(vm)
    }

    /// Lets a reader read on after its message was handled.
    pub(super) fn handled(&self, reader: Reader) {
        if let Some(sender) = self.handled.get(reader as usize) {
            // A reader that has ended needs no word.
            let _ = sender.send(());
        }
    }

    /// Presses the power button.
    pub(super) fn power_down(&mut self) -> io::Result<()> {
        self.monitor.write_all(qmp::POWER_DOWN)
    }

    /// Ends QEMU at once. What it has written so far can still be received.
    pub(super) fn kill(&mut self) {
        // Fails only when it has ended by itself.
        let _ = self.child.kill();
    }

    /// Reaps QEMU and gives its exit status and what it had to say.
    pub(super) fn finish(mut self) -> io::Result<(ExitStatus, String)> {
        let status = self.child.wait()?;
        let words = self
            .words
            .take()
            .and_then(|words| words.join().ok())
            .unwrap_or_default();
        Ok((status, words))
    }

    fn read_console(&mut self, mut stream: PipeReader, messages: Sender<Message>) {
        let go_on = self.flow();
        self.readers.push(std::thread::spawn(move || {
            let mut buffer = vec![0; 16 * 1024];
            while let Ok(length) = stream.read(&mut buffer) {
                let Some(bytes) = buffer.get(..length).filter(|bytes| !bytes.is_empty()) else {
                    break;
                };
                if messages.send(Message::Console(bytes.to_vec())).is_err() || go_on.recv().is_err()
                {
                    break;
                }
            }
            let _ = messages.send(Message::Closed);
        }));
    }

    fn read_status(&mut self, stream: UnixStream, messages: Sender<Message>) {
        let go_on = self.flow();
        self.readers.push(std::thread::spawn(move || {
            let mut stream = BufReader::new(stream);
            while let Ok(Some(line)) = status::read(&mut stream) {
                if messages.send(Message::Status(line)).is_err() || go_on.recv().is_err() {
                    break;
                }
            }
            let _ = messages.send(Message::Closed);
        }));
    }

    /// QEMU is trusted: its lines are short and few.
    fn read_monitor(&mut self, stream: UnixStream, messages: Sender<Message>) {
        self.readers.push(std::thread::spawn(move || {
            for line in BufReader::new(stream).split(b'\n') {
                let Ok(line) = line else { break };
                if let Some(report) = qmp::parse(&line)
                    && messages.send(Message::Monitor(report)).is_err()
                {
                    break;
                }
            }
            let _ = messages.send(Message::Closed);
        }));
    }

    /// Waits without reaping, so that the process id stays ours until [`Vm::finish`].
    fn watch_process(&mut self, messages: Sender<Message>) {
        let pid = Pid::from_child(&self.child);
        self.readers.push(std::thread::spawn(move || {
            let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
            while matches!(
                waitid(WaitId::Pid(pid), options),
                Err(rustix::io::Errno::INTR)
            ) {}
            let _ = messages.send(Message::Closed);
        }));
    }

    fn flow(&mut self) -> Receiver<()> {
        let (sender, receiver) = mpsc::channel();
        self.handled.push(sender);
        receiver
    }
}

impl Drop for Vm {
    fn drop(&mut self) {
        self.kill();
        // Only fails when it was reaped before.
        let _ = self.child.wait();
        for socket in &self.sockets {
            let _ = socket.shutdown(Shutdown::Both);
        }
        self.handled.clear();
        for reader in self.readers.drain(..) {
            let _ = reader.join();
        }
    }
}

/// Starts a child that dies with us, apart from our terminal's signals: Ctrl-C is ours to handle.
fn spawn(command: &mut Command, inherited: Vec<RawFd>) -> io::Result<Child> {
    let parent = rustix::process::getpid();
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .process_group(0);
    // SAFETY: between fork and exec the closure only makes system calls (fcntl, prctl, getppid)
    // and neither allocates nor takes a lock. The descriptors are open: the caller holds them
    // across the spawn.
    unsafe {
        command.pre_exec(move || {
            for &descriptor in &inherited {
                let descriptor = BorrowedFd::borrow_raw(descriptor);
                rustix::io::fcntl_setfd(descriptor, rustix::io::FdFlags::empty())?;
            }
            rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
            // We may have been killed before the line above.
            if rustix::process::getppid() != Some(parent) {
                return Err(io::Error::from_raw_os_error(libc::ESRCH));
            }
            Ok(())
        });
    }
    command.spawn()
}

/// The first part of what QEMU says; the rest is read, so that it never blocks.
fn last_words(mut stderr: ChildStderr) -> String {
    let mut kept = Vec::new();
    let _ = stderr.by_ref().take(WORDS_KEPT).read_to_end(&mut kept);
    let _ = io::copy(&mut stderr, &mut io::sink());
    String::from_utf8_lossy(&kept).trim().to_string()
}

/// How a process ended, in words.
pub(super) fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (_, Some(signal)) => format!("killed by signal {signal}"),
        _ => status.to_string(),
    }
}
