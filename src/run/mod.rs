//! Runs a disk image in a local virtual machine: QEMU with UEFI firmware.
//!
//! The disk file is opened for reading only; what the guest writes goes to an overlay that is
//! gone when the run ends. The guest tells how the Pod ends on a virtio-serial port
//! ([`i2kit_contract::Status`]); its serial console is streamed.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use i2kit_contract::{ContainerExit, Status};

mod command;
mod console;
mod error;
mod firmware;
mod forward;
mod qmp;
mod signals;
mod status;
mod vm;

pub use command::Accelerator;
pub use error::Error;
pub use firmware::Firmware;
pub use forward::{DEFAULT_HOST_IP, Forward, ForwardError, PortError, settle, with_defaults};

use vm::{Message, Reader, Vm};

/// The program that is looked for in `PATH`.
const QEMU: &str = "qemu-system-x86_64";

/// A VM under KVM that shows no sign of life for so long has hung: firmware writes to the serial
/// console within a second.
const KVM_SIGN_OF_LIFE: Duration = Duration::from_secs(5);

/// Exit code of a run that [`Options::timeout`] ended, as `timeout(1)` has it.
pub const EXIT_TIMEOUT: u8 = 124;
/// Exit code when the guest could not run the Pod: `EX_SOFTWARE` of `sysexits.h`.
pub const EXIT_GUEST_FAILED: u8 = 70;

/// How the guest sees the disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DiskBus {
    /// virtio-blk.
    #[default]
    Virtio,
    /// NVMe, as on EC2.
    Nvme,
    /// A SCSI disk behind virtio-scsi.
    Scsi,
}

/// Which virtualisation to use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Accel {
    /// KVM where it works, else TCG. The boot itself is the probe: a machine that shows no sign of
    /// life under KVM starts again under TCG.
    #[default]
    Auto,
    /// KVM or nothing.
    Kvm,
    /// TCG.
    Tcg,
}

/// What to run and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// The raw disk image. Never written.
    pub disk: PathBuf,
    /// Host ports that lead into the VM. See [`with_defaults`] for those of the Pod.
    pub forwards: Vec<Forward>,
    /// Memory of the VM in MiB.
    pub memory_mib: u32,
    /// Virtual CPUs, at least 1.
    pub cpus: u32,
    /// When to give up, counted from the start of the VM.
    pub timeout: Option<Duration>,
    /// How the guest sees the disk.
    pub disk_bus: DiskBus,
    /// Which virtualisation to use.
    pub accel: Accel,
    /// QEMU; none looks for `qemu-system-x86_64` in `PATH`.
    pub qemu: Option<PathBuf>,
    /// UEFI firmware; none takes the first that [`Firmware::find`] finds.
    pub firmware: Option<Firmware>,
}

impl Options {
    /// Memory when nothing else is said: room for containerd and a modest Pod.
    pub const DEFAULT_MEMORY_MIB: u32 = 1024;
    /// Less than this and neither firmware nor kernel gets far.
    pub const MIN_MEMORY_MIB: u32 = 256;
    /// Virtual CPUs when nothing else is said.
    pub const DEFAULT_CPUS: u32 = 2;

    /// The defaults for a disk image.
    #[must_use]
    pub fn new(disk: impl Into<PathBuf>) -> Self {
        Self {
            disk: disk.into(),
            forwards: Vec::new(),
            memory_mib: Self::DEFAULT_MEMORY_MIB,
            cpus: Self::DEFAULT_CPUS,
            timeout: None,
            disk_bus: DiskBus::default(),
            accel: Accel::default(),
            qemu: None,
            firmware: None,
        }
    }
}

/// What happens during a run, in order.
#[derive(Clone, Debug, PartialEq)]
pub enum Event<'a> {
    /// The VM starts.
    Starting {
        /// What it runs on.
        accelerator: Accelerator,
        /// The forwards, every host port settled.
        forwards: &'a [Forward],
    },
    /// Text from the guest's serial console. Control sequences other than colours are left out;
    /// lines end in LF. Pieces may end anywhere.
    Console(&'a [u8]),
    /// The guest reports.
    Status(&'a Status),
    /// The user asked to stop and the power button was pressed.
    Stopping,
    /// Something is odd; the run goes on.
    Warning(&'a str),
}

/// Why a run is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The Pod ended: each container's last exit, in the Pod's order.
    Ended(Vec<ContainerExit>),
    /// The guest could not go on.
    Failed(String),
    /// [`Options::timeout`] passed and the VM was killed.
    TimedOut,
    /// The user stopped the VM by this signal and the Pod reported no exit codes.
    Stopped(i32),
}

/// How a run went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Why it is over.
    pub ending: Ending,
    /// What it ran on.
    pub accelerator: Accelerator,
    /// From the start of the VM to its end.
    pub duration: Duration,
}

impl Outcome {
    /// The exit code of `i2kit run`: the first in the Pod's order that isn't 0 (at most 255), 124
    /// after a timeout, 70 when the guest failed, 128 + signal when stopped without exit codes.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match &self.ending {
            Ending::Ended(containers) => containers
                .iter()
                .map(|container| container.exit_code)
                .find(|code| *code != 0)
                .map_or(0, |code| u8::try_from(code).unwrap_or(u8::MAX)),
            Ending::Failed(_) => EXIT_GUEST_FAILED,
            Ending::TimedOut => EXIT_TIMEOUT,
            Ending::Stopped(signal) => u8::try_from(*signal).unwrap_or(0).saturating_add(128),
        }
    }
}

/// Boots the disk and stays until the VM is gone. SIGINT and SIGTERM press the VM's power button;
/// a second one ends it at once. Whatever happens, no process and no file is left behind.
///
/// # Errors
/// [`Error`] when the VM cannot start, or ends without a word from the guest.
pub fn run(options: &Options, events: &mut dyn FnMut(Event<'_>)) -> Result<Outcome, Error> {
    let qemu = match &options.qemu {
        Some(path) => path.clone(),
        None => find_in_path(QEMU).ok_or_else(|| Error::QemuMissing { name: QEMU.into() })?,
    };
    let firmware = options
        .firmware
        .clone()
        .or_else(Firmware::find)
        .ok_or(Error::FirmwareMissing)?;
    let disk = open_disk(&options.disk)?;
    let forwards = settle(&options.forwards)?;
    let (sender, messages) = mpsc::channel();
    let _signals = signals::Watch::start(sender.clone()).map_err(Error::Signals)?;
    let session = Session {
        options,
        qemu,
        firmware,
        disk,
        forwards,
        sender,
        messages,
    };

    for accelerator in candidates(options.accel, events)? {
        match session.boot(accelerator, events)? {
            Boot::Over(outcome) => return Ok(outcome),
            Boot::Lifeless(reason) if options.accel == Accel::Kvm => {
                return Err(Error::Kvm { reason });
            }
            Boot::Lifeless(reason) => events(Event::Warning(&format!(
                "KVM does not work here ({reason}): using TCG"
            ))),
        }
    }
    // TCG comes last and is never called lifeless.
    Err(Error::Kvm {
        reason: "no accelerator is left".into(),
    })
}

/// What to try, best first.
fn candidates(accel: Accel, events: &mut dyn FnMut(Event<'_>)) -> Result<Vec<Accelerator>, Error> {
    let device = File::options().read(true).write(true).open("/dev/kvm");
    match (accel, device) {
        (Accel::Tcg, _) => Ok(vec![Accelerator::Tcg]),
        (Accel::Kvm, Ok(_)) => Ok(vec![Accelerator::Kvm]),
        (Accel::Kvm, Err(error)) => Err(Error::Kvm {
            reason: format!("open /dev/kvm: {error}"),
        }),
        (Accel::Auto, Ok(_)) => Ok(vec![Accelerator::Kvm, Accelerator::Tcg]),
        (Accel::Auto, Err(error)) => {
            if error.kind() == std::io::ErrorKind::PermissionDenied {
                events(Event::Warning(
                    "no permission to use /dev/kvm (add yourself to the group kvm): using TCG",
                ));
            }
            Ok(vec![Accelerator::Tcg])
        }
    }
}

fn find_in_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|folder| folder.join(name))
        .find(|file| {
            file.is_file() && rustix::fs::access(file, rustix::fs::Access::EXEC_OK).is_ok()
        })
}

fn open_disk(path: &Path) -> Result<File, Error> {
    let error = |source| Error::Disk {
        path: path.into(),
        source,
    };
    let file = File::open(path).map_err(error)?;
    let kind = file.metadata().map_err(error)?.file_type();
    if kind.is_file() || std::os::unix::fs::FileTypeExt::is_block_device(&kind) {
        Ok(file)
    } else {
        Err(Error::NotAFile { path: path.into() })
    }
}

struct Session<'a> {
    options: &'a Options,
    qemu: PathBuf,
    firmware: Firmware,
    disk: File,
    forwards: Vec<Forward>,
    sender: Sender<Message>,
    messages: Receiver<Message>,
}

enum Boot {
    Over(Outcome),
    /// Nothing was seen of the guest, for this reason.
    Lifeless(String),
}

impl Session<'_> {
    fn boot(
        &self,
        accelerator: Accelerator,
        events: &mut dyn FnMut(Event<'_>),
    ) -> Result<Boot, Error> {
        let arguments = |descriptors| {
            let machine = command::Machine {
                accelerator,
                firmware: &self.firmware,
                memory_mib: self.options.memory_mib,
                cpus: self.options.cpus,
                disk_bus: self.options.disk_bus,
                forwards: &self.forwards,
                descriptors,
            };
            machine.arguments()
        };
        let started = Instant::now();
        let vm = Vm::start(&self.qemu, &self.disk, arguments, &self.sender)
            .map_err(|source| self.process_error("start", source))?;
        let starting = Event::Starting {
            accelerator,
            forwards: &self.forwards,
        };
        let mut watch = Watch::new(vm, accelerator, started, self.options.timeout);
        if accelerator == Accelerator::Tcg {
            watch.seen.alive = true;
            events(starting.clone());
        }
        watch.watch(&self.messages, &mut |event| match event {
            Told::Alive => events(starting.clone()),
            Told::Event(event) => events(event),
        });
        let Watch { vm, seen, .. } = watch;
        let (status, words) = vm
            .finish()
            .map_err(|source| self.process_error("wait for", source))?;
        let how = vm::describe(status);
        if let Some(reason) = seen.lifeless(accelerator, &how, &words) {
            return Ok(Boot::Lifeless(reason));
        }
        let duration = started.elapsed();
        let ending = seen.ending(how, words)?;
        Ok(Boot::Over(Outcome {
            ending,
            accelerator,
            duration,
        }))
    }

    fn process_error(&self, operation: &'static str, source: std::io::Error) -> Error {
        Error::Process {
            operation,
            program: self.qemu.clone(),
            source,
        }
    }
}

enum Told<'a> {
    /// The first sign of life.
    Alive,
    Event(Event<'a>),
}

/// Follows one VM to its end.
struct Watch {
    vm: Vm,
    deadline: Option<Instant>,
    /// Until when a sign of life must be seen.
    probation: Option<Instant>,
    open: usize,
    filter: console::Filter,
    seen: Seen,
}

/// What is known of a VM.
#[derive(Debug, Default)]
struct Seen {
    alive: bool,
    hung: bool,
    timed_out: bool,
    /// The signal that asked for an end.
    signal: Option<i32>,
    /// QMP's `ShutdownCause`.
    cause: Option<String>,
    any_status: bool,
    ending: Option<Ending>,
}

impl Seen {
    /// Why KVM is taken not to work. Only a VM that nobody asked to stop can be lifeless.
    fn lifeless(&self, accelerator: Accelerator, how: &str, words: &str) -> Option<String> {
        if accelerator == Accelerator::Tcg
            || self.alive && !self.hung
            || self.timed_out
            || self.signal.is_some()
        {
            return None;
        }
        let line = words.lines().next_back().map_or(how, str::trim);
        Some(if self.hung {
            "the VM hangs in its firmware".into()
        } else {
            format!("QEMU ended: {line}")
        })
    }

    fn ending(self, how: String, words: String) -> Result<Ending, Error> {
        if self.timed_out {
            return Ok(Ending::TimedOut);
        }
        match (self.ending, self.signal, self.cause) {
            (Some(ending), _, _) => Ok(ending),
            (None, Some(signal), _) => Ok(Ending::Stopped(signal)),
            (None, None, Some(cause)) => Err(Error::NoStatus { cause }),
            (None, None, None) => Err(Error::Qemu { how, words }),
        }
    }
}

impl Watch {
    fn new(vm: Vm, accelerator: Accelerator, started: Instant, timeout: Option<Duration>) -> Self {
        let after = |duration| started.checked_add(duration);
        Self {
            vm,
            deadline: timeout.and_then(after),
            probation: (accelerator == Accelerator::Kvm)
                .then(|| after(KVM_SIGN_OF_LIFE))
                .flatten(),
            open: vm::SOURCES,
            filter: console::Filter::default(),
            seen: Seen::default(),
        }
    }

    fn watch(&mut self, messages: &Receiver<Message>, tell: &mut dyn FnMut(Told<'_>)) {
        while self.open > 0 {
            match self.receive(messages) {
                Ok(message) => self.handle(message, tell),
                Err(RecvTimeoutError::Timeout) => self.overdue(),
                // Cannot be: the session holds a sender.
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
    }

    fn receive(&self, messages: &Receiver<Message>) -> Result<Message, RecvTimeoutError> {
        match [self.deadline, self.probation].into_iter().flatten().min() {
            Some(instant) => {
                messages.recv_timeout(instant.saturating_duration_since(Instant::now()))
            }
            None => messages.recv().map_err(|_| RecvTimeoutError::Disconnected),
        }
    }

    fn overdue(&mut self) {
        let now = Instant::now();
        if self.deadline.is_some_and(|instant| instant <= now) {
            self.seen.timed_out = true;
            self.deadline = None;
        } else if self.probation.is_some_and(|instant| instant <= now) {
            self.seen.hung = true;
        } else {
            return;
        }
        self.probation = None;
        self.vm.kill();
    }

    fn handle(&mut self, message: Message, tell: &mut dyn FnMut(Told<'_>)) {
        match message {
            Message::Console(bytes) => {
                self.console(&bytes, tell);
                self.vm.handled(Reader::Console);
            }
            Message::Status(line) => {
                match line {
                    Ok(status) => self.status(status, tell),
                    Err(warning) => tell(Told::Event(Event::Warning(&format!(
                        "status port: {warning}"
                    )))),
                }
                self.vm.handled(Reader::Status);
            }
            Message::Monitor(report) => self.monitor(report),
            Message::Signal(signal) => self.signal(signal, tell),
            Message::Closed => self.open = self.open.saturating_sub(1),
        }
    }

    fn console(&mut self, bytes: &[u8], tell: &mut dyn FnMut(Told<'_>)) {
        if !self.seen.alive {
            self.seen.alive = true;
            self.probation = None;
            tell(Told::Alive);
        }
        let mut text = Vec::with_capacity(bytes.len());
        self.filter.push(bytes, &mut text);
        if !text.is_empty() {
            tell(Told::Event(Event::Console(&text)));
        }
    }

    fn status(&mut self, status: Status, tell: &mut dyn FnMut(Told<'_>)) {
        self.seen.any_status = true;
        tell(Told::Event(Event::Status(&status)));
        match status {
            Status::Ended { containers } => self.seen.ending = Some(Ending::Ended(containers)),
            Status::Failed { reason } => self.seen.ending = Some(Ending::Failed(reason)),
            // A guest that still boots may have missed the button.
            Status::Stage { .. } | Status::Started { .. } if self.seen.signal.is_some() => {
                self.press_button()
            }
            Status::Stage { .. } | Status::Started { .. } | Status::Exited { .. } => {}
        }
    }

    fn monitor(&mut self, report: qmp::Report) {
        match report {
            qmp::Report::Shutdown(cause) => self.seen.cause = Some(cause),
            qmp::Report::Stopped if self.seen.cause.is_none() => {
                // The accelerator failed: such a machine never runs again.
                self.seen.hung = true;
                self.vm.kill();
            }
            qmp::Report::Stopped => {}
        }
    }

    /// The first signal presses the button, the second pulls the plug. Before the guest's first
    /// status there is nothing to end in order: no container runs.
    fn signal(&mut self, signal: i32, tell: &mut dyn FnMut(Told<'_>)) {
        let first = self.seen.signal.is_none();
        self.seen.signal = Some(signal);
        if first && self.seen.any_status {
            tell(Told::Event(Event::Stopping));
            self.press_button();
        } else {
            self.vm.kill();
        }
    }

    fn press_button(&mut self) {
        // Fails only when QEMU is gone, which its own message tells.
        let _ = self.vm.power_down();
    }
}
