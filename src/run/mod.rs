//! Runs a disk image in a local virtual machine: QEMU with UEFI firmware.
//!
//! The disk file is opened for reading only; what the guest writes goes to an overlay that is
//! gone when the run ends. The guest tells how the Pod ends on a virtio-serial port
//! ([`i2kit_contract::Status`]); its serial console is streamed.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::{Duration, Instant};

use i2kit_contract::{ContainerExit, Status, runtime::SecretBytes};

mod command;
mod console;
mod control;
mod error;
mod firmware;
mod forward;
mod kvm;
mod loader;
mod qmp;
mod signals;
mod status;
mod vm;
mod watch;

pub use command::Accelerator;
pub use control::{ControlError, Session as ControlSession};
pub use error::Error;
pub use firmware::Firmware;
pub use forward::{DEFAULT_HOST_IP, Forward, ForwardError, PortError, settle, with_defaults};
pub use loader::Loader;

use control::Control;
use loader::Settled;
use vm::{Message, Vm};
use watch::{Told, Watch};

/// The program that is looked for in `PATH`.
const QEMU: &str = "qemu-system-x86_64";

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
    /// KVM where it works, else TCG. The boot itself is the probe: a machine that hangs under KVM
    /// before the guest has said a word starts again under TCG.
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
    /// Data disks, for the Pod's volume claims.
    pub data_disks: Vec<DataDisk>,
    /// Which virtualisation to use.
    pub accel: Accel,
    /// The file that remembers, until this machine boots anew, that guests hang under KVM; none
    /// finds it out each time.
    pub kvm_hangs: Option<PathBuf>,
    /// QEMU; none looks for `qemu-system-x86_64` in `PATH`.
    pub qemu: Option<PathBuf>,
    /// What starts the kernel.
    pub loader: Loader,
    /// The run-time configuration ([`i2kit_contract::runtime`]), which may hold secrets. The guest
    /// reads it from QEMU's fw_cfg.
    pub config: Option<SecretBytes>,
    /// The name by which others of this user find the machine's control channel; none for a guest
    /// that answers nobody.
    pub control: Option<String>,
}

impl Options {
    /// Memory when nothing else is said: room for containerd and a modest Pod.
    pub const DEFAULT_MEMORY_MIB: u32 = 1024;
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
            data_disks: Vec::new(),
            accel: Accel::default(),
            kvm_hangs: None,
            qemu: None,
            loader: Loader::Firmware(None),
            config: None,
            control: None,
        }
    }
}

/// A raw image that the guest writes, as the disk of a volume claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataDisk {
    /// The claim's name; its first 20 bytes become the disk's serial number.
    pub claim: String,
    /// The image.
    pub file: PathBuf,
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
    /// lines end in LF. Whole lines, but for a start of one that is very long, has waited for a
    /// second (a prompt) or is the last.
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
    /// The Pod ended.
    Ended {
        /// The last exit of each container that decides, in the Pod's order.
        containers: Vec<ContainerExit>,
        /// Why it has failed whatever the exits say.
        reason: Option<String>,
    },
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
    /// The guest wanted a reboot. A run ends there.
    pub rebooted: bool,
    /// What it ran on.
    pub accelerator: Accelerator,
    /// From the start of the VM to its end.
    pub duration: Duration,
}

impl Outcome {
    /// The exit code of `i2kit run`: the first in the Pod's order that isn't 0 (at most 255), 1 when
    /// there is none but the Pod has failed all the same, 124 after a timeout, 70 when the guest failed, 128 + signal when stopped without exit codes.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match &self.ending {
            Ending::Ended { containers, reason } => containers
                .iter()
                .map(|container| container.exit_code)
                .find(|code| *code != 0)
                .map_or(u8::from(reason.is_some()), |code| {
                    u8::try_from(code).unwrap_or(u8::MAX)
                }),
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
    let least = options.loader.least_memory_mib();
    if options.memory_mib < least {
        return Err(Error::Memory { least });
    }
    let disk = open_disk(&options.disk)?;
    let loader = options.loader.settle(&options.disk)?;
    let config = options.config.as_ref();
    let config = config.map(|config| loader::in_memory("i2kit-config", config.expose()));
    let config = config.transpose().map_err(Error::Config)?;
    let control = options
        .control
        .as_deref()
        .map(Control::listen)
        .transpose()?;
    let forwards = settle(&options.forwards)?;
    let (sender, messages) = mpsc::channel();
    let _signals = signals::Watch::start(sender.clone()).map_err(Error::Signals)?;
    let session = Session {
        options,
        hangs: kvm::Hangs::new(options.kvm_hangs.clone(), &qemu),
        patience: watch::Patience::KVM,
        qemu,
        loader,
        disk,
        config,
        control,
        forwards,
        sender,
        messages,
    };

    session.run(Path::new(kvm::DEVICE), events)
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
    hangs: kvm::Hangs,
    /// For KVM; TCG is trusted.
    patience: watch::Patience,
    qemu: PathBuf,
    loader: Settled,
    disk: File,
    config: Option<OwnedFd>,
    control: Option<Control>,
    forwards: Vec<Forward>,
    sender: Sender<Message>,
    messages: Receiver<Message>,
}

enum Boot {
    Over(Outcome),
    /// The guest has not said a word, and will not.
    Lifeless(watch::Lifeless),
}

impl Session<'_> {
    fn run(&self, kvm: &Path, events: &mut dyn FnMut(Event<'_>)) -> Result<Outcome, Error> {
        let candidates = kvm::candidates(self.options.accel, kvm, &self.hangs)?;
        if let Some(warning) = candidates.warning {
            events(Event::Warning(&warning));
        }
        for accelerator in candidates.list {
            match self.boot(accelerator, events)? {
                Boot::Over(outcome) => {
                    if accelerator == Accelerator::Kvm {
                        self.hangs.forget();
                    }
                    return Ok(outcome);
                }
                Boot::Lifeless(how) => self.without_kvm(&how, events)?,
            }
        }
        // TCG comes last and is never called lifeless.
        Err(Error::Kvm {
            reason: "no accelerator is left".into(),
        })
    }

    fn without_kvm(
        &self,
        how: &watch::Lifeless,
        events: &mut dyn FnMut(Event<'_>),
    ) -> Result<(), Error> {
        // What ends by itself does so at once: finding that out costs the next run nothing.
        if how.hung {
            self.hangs.remember();
        }
        let reason = how.reason.clone();
        if self.options.accel == Accel::Kvm {
            return Err(Error::Kvm { reason });
        }
        events(Event::Warning(&format!(
            "KVM does not work here ({reason}): using TCG"
        )));
        Ok(())
    }

    fn boot(
        &self,
        accelerator: Accelerator,
        events: &mut dyn FnMut(Event<'_>),
    ) -> Result<Boot, Error> {
        let arguments = |descriptors| {
            let machine = command::Machine {
                accelerator,
                loader: &self.loader,
                memory_mib: self.options.memory_mib,
                cpus: self.options.cpus,
                disk_bus: self.options.disk_bus,
                data_disks: &self.options.data_disks,
                forwards: &self.forwards,
                descriptors,
            };
            machine.arguments()
        };
        let started = Instant::now();
        let config = self.config.as_ref();
        let control = self.attach_control();
        let vm = control
            .and_then(|control| {
                Vm::start(
                    &self.qemu,
                    &self.disk,
                    config,
                    &self.loader,
                    control,
                    arguments,
                    &self.sender,
                )
            })
            .map_err(|source| self.process_error("start", source))?;
        let starting = Event::Starting {
            accelerator,
            forwards: &self.forwards,
        };
        let patience = (accelerator == Accelerator::Kvm).then_some(self.patience);
        let mut watch = Watch::new(vm, started, self.options.timeout, patience);
        if patience.is_none() {
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
        if let Some(how) = seen.lifeless(accelerator, &how, &words) {
            return Ok(Boot::Lifeless(how));
        }
        let duration = started.elapsed();
        let rebooted = seen.rebooted();
        let ending = seen.ending(how, words)?;
        Ok(Boot::Over(Outcome {
            ending,
            rebooted,
            accelerator,
            duration,
        }))
    }

    /// A new end for the guest's port, where it is to have one.
    fn attach_control(&self) -> std::io::Result<Option<UnixStream>> {
        let Some(control) = &self.control else {
            return Ok(None);
        };
        let (host, guest) = UnixStream::pair()?;
        control.attach(host)?;
        Ok(Some(guest))
    }

    fn process_error(&self, operation: &'static str, source: std::io::Error) -> Error {
        Error::Process {
            operation,
            program: self.qemu.clone(),
            source,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// A QEMU that hangs under KVM, after these words on the serial console, and ends by itself
    /// under TCG.
    fn hanging_qemu(folder: &Path, words: &str) -> PathBuf {
        let script = format!(
            "#!/bin/bash\n\
             case \"$*\" in *'-accel kvm'*) ;; *) echo no TCG here >&2; exit 3 ;; esac\n\
             [[ \"$*\" =~ fd=([0-9]+),set=2 ]] && printf '%s' '{words}' >&\"${{BASH_REMATCH[1]}}\"\n\
             exec sleep 600\n"
        );
        let path = folder.join("qemu");
        std::fs::write(&path, script).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    /// Runs it with little patience; answers the events in words, the error and the time.
    fn run(folder: &Path, qemu: &Path, accel: Accel) -> (Vec<String>, String, Duration) {
        let (disk, device) = (folder.join("disk"), folder.join("kvm"));
        std::fs::write(&disk, "").unwrap();
        std::fs::write(&device, "").unwrap();
        let mut options = Options::new(disk.clone());
        options.accel = accel;
        let (sender, messages) = mpsc::channel();
        let session = Session {
            options: &options,
            hangs: kvm::Hangs::new(Some(folder.join("hangs")), qemu),
            patience: watch::Patience {
                firmware: Duration::from_millis(500),
                guest: Duration::from_millis(700),
            },
            qemu: qemu.to_owned(),
            loader: Settled::Firmware(Firmware {
                code: folder.join("code"),
                vars: None,
                secure_boot: false,
            }),
            disk: File::open(disk).unwrap(),
            config: None,
            control: None,
            forwards: Vec::new(),
            sender,
            messages,
        };
        let mut seen = Vec::new();
        let begun = Instant::now();
        let result = session.run(&device, &mut |event| {
            seen.push(match event {
                Event::Starting { accelerator, .. } => format!("starting {accelerator}"),
                Event::Console(text) => String::from_utf8_lossy(text).into_owned(),
                Event::Warning(text) => text.to_owned(),
                other => format!("{other:?}"),
            });
        });
        (seen, result.unwrap_err().to_string(), begun.elapsed())
    }

    const HANGS: &str =
        "KVM does not work here (the VM hangs before its guest says a word): using TCG";

    #[test]
    fn a_hang_under_kvm_is_noticed_in_time_and_remembered() {
        for (words, before) in [("", &[][..]), ("firmware", &["starting KVM", "firmware"])] {
            let folder = tempfile::tempdir().unwrap();
            let qemu = hanging_qemu(folder.path(), words);
            let (seen, error, took) = run(folder.path(), &qemu, Accel::Auto);
            assert_eq!(seen, [before, &[HANGS, "starting TCG"]].concat());
            assert!(error.contains("no TCG here"), "{error}");
            assert!(took < Duration::from_secs(10), "{took:?}");
            let (seen, ..) = run(folder.path(), &qemu, Accel::Auto);
            assert_eq!(seen.len(), 2, "{seen:?}");
            assert!(seen[0].contains("hung under KVM since"), "{seen:?}");
            let (_, error, _) = run(folder.path(), &qemu, Accel::Kvm);
            assert!(error.contains("KVM does not work"), "{error}");
        }
    }

    #[test]
    fn little_memory_takes_a_direct_boot() {
        let mut options = Options::new("/nonexistent");
        options.qemu = Some("/bin/true".into());
        options.memory_mib = 128;
        let error = super::run(&options, &mut |_| ()).unwrap_err();
        assert!(matches!(error, Error::Memory { least: 256 }), "{error}");
        assert!(error.hint().unwrap().contains("--direct-boot"));
        options.loader = Loader::Direct;
        let error = super::run(&options, &mut |_| ()).unwrap_err();
        assert!(matches!(error, Error::Disk { .. }), "{error}");
        options.memory_mib = 127;
        let error = super::run(&options, &mut |_| ()).unwrap_err();
        assert!(matches!(error, Error::Memory { least: 128 }), "{error}");
        assert_eq!(error.hint(), None);
    }
}
