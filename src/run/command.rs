//! The QEMU command line of a run.

use std::ffi::OsString;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use i2kit_contract::{STATUS_PORT, control::CONTROL_PORT, runtime::FW_CFG_NAME};

use super::forward::transport;
use super::loader::{Kernel, Settled};
use super::{DataDisk, DiskBus, Firmware, Forward};

/// A virtualisation that was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accelerator {
    /// The kernel's, through `/dev/kvm`.
    Kvm,
    /// QEMU's translator: works everywhere, many times slower.
    Tcg,
}

impl std::fmt::Display for Accelerator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Kvm => "KVM",
            Self::Tcg => "TCG",
        })
    }
}

/// Longest serial number of a virtio disk (`VIRTIO_BLK_ID_BYTES`).
const SERIAL: usize = 20;

/// Descriptor numbers that QEMU inherits.
pub(super) struct Descriptors {
    pub(super) disk: i32,
    pub(super) console: i32,
    pub(super) status: i32,
    pub(super) monitor: i32,
    pub(super) config: Option<i32>,
    pub(super) control: Option<i32>,
}

/// What the virtual machine is made of.
pub(super) struct Machine<'a> {
    pub(super) accelerator: Accelerator,
    pub(super) loader: &'a Settled,
    pub(super) memory_mib: u32,
    pub(super) cpus: u32,
    pub(super) disk_bus: DiskBus,
    pub(super) data_disks: &'a [DataDisk],
    pub(super) forwards: &'a [Forward],
    pub(super) descriptors: Descriptors,
}

impl Machine<'_> {
    /// QEMU's arguments. The disk comes as a descriptor that was opened for reading, so nothing
    /// QEMU does can reach the file; writes go to an overlay that QEMU makes in `$TMPDIR` (else
    /// `/var/tmp`) and unlinks at once.
    pub(super) fn arguments(&self) -> Vec<OsString> {
        let mut args = Arguments::default();
        self.platform(&mut args);
        match self.loader {
            Settled::Firmware(found) => firmware(found, &mut args),
            Settled::Kernel(found) => kernel(found, &mut args),
        }
        self.disk(&mut args);
        self.data_disks(&mut args);
        self.network(&mut args);
        self.channels(&mut args);
        self.config(&mut args);
        args.0
    }

    fn platform(&self, args: &mut Arguments) {
        args.flag("-nodefaults");
        args.flag("-no-user-config");
        args.flag("-no-reboot");
        args.option("-display", "none");
        args.option("-vga", "none");
        if matches!(self.loader, Settled::Firmware(firmware) if firmware.secure_boot) {
            args.option("-machine", "q35,smm=on");
            args.option("-global", "driver=cfi.pflash01,property=secure,value=on");
            // Waking from sleep would run what the guest's memory says.
            args.option("-global", "ICH9-LPC.disable_s3=1");
        } else {
            args.option("-machine", "q35,smm=off");
        }
        match self.accelerator {
            Accelerator::Kvm => {
                args.option("-accel", "kvm");
                args.option("-cpu", "host");
            }
            Accelerator::Tcg => {
                // With a thread for each processor, one may run an instruction that the kernel is
                // just patching: its int3 then reaches nobody (seen as an oops in enqueue_timer).
                args.option("-accel", "tcg,thread=single");
                // Four levels of page tables: a fifth only makes each translated access dearer.
                args.option("-cpu", "max,la57=off");
            }
        }
        args.option("-m", self.memory_mib.to_string());
        args.option("-smp", self.cpus.to_string());
        args.option("-object", "rng-random,id=rng,filename=/dev/urandom");
        args.option("-device", "virtio-rng-pci,rng=rng");
    }

    fn disk(&self, args: &mut Arguments) {
        args.option("-add-fd", format!("fd={},set=1", self.descriptors.disk));
        args.option(
            "-drive",
            "if=none,id=disk,format=raw,snapshot=on,discard=unmap,file=/dev/fdset/1",
        );
        // A kernel that QEMU starts itself has index 0.
        match self.disk_bus {
            DiskBus::Virtio => args.option("-device", "virtio-blk-pci,drive=disk,bootindex=1"),
            DiskBus::Nvme => args.option("-device", "nvme,drive=disk,serial=i2kit,bootindex=1"),
            DiskBus::Scsi => {
                args.option("-device", "virtio-scsi-pci,id=scsi");
                args.option("-device", "scsi-hd,bus=scsi.0,drive=disk,bootindex=1");
            }
        }
    }

    /// What the guest writes there stays; QEMU locks the files.
    fn data_disks(&self, args: &mut Arguments) {
        for (number, disk) in self.data_disks.iter().enumerate() {
            let mut drive = format!("if=none,id=data{number},format=raw,discard=unmap,file=");
            drive.push_str(&escaped(&disk.file.display().to_string()));
            args.option("-drive", drive);
            let serial = disk.claim.get(..disk.claim.len().min(SERIAL));
            let serial = serial.unwrap_or(&disk.claim);
            let device = format!("virtio-blk-pci,drive=data{number},serial={serial}");
            args.option("-device", device);
        }
    }

    fn network(&self, args: &mut Arguments) {
        let mut netdev = String::from("user,id=net");
        for Forward {
            host_ip,
            host_port,
            guest_port,
            protocol,
        } in self.forwards
        {
            let transport = transport(*protocol);
            netdev.push_str(&format!(
                ",hostfwd={transport}:{host_ip}:{host_port}-:{guest_port}"
            ));
        }
        args.option("-netdev", netdev);
        // No option ROM: nothing boots from the network.
        args.option("-device", "virtio-net-pci,netdev=net,romfile=");
    }

    fn channels(&self, args: &mut Arguments) {
        let Descriptors {
            console,
            status,
            monitor,
            ..
        } = self.descriptors;
        // A pipe: QEMU writes byte by byte, and a socket charges each write as much room as a packet.
        // One that is full for long makes the kernel drop what it prints. Appending, since a pipe
        // cannot be truncated.
        args.option("-add-fd", format!("fd={console},set=2"));
        args.option("-chardev", "file,id=console,path=/dev/fdset/2,append=on");
        args.option("-serial", "chardev:console");
        args.option("-chardev", format!("socket,id=status,fd={status}"));
        args.option("-device", "virtio-serial-pci");
        args.option(
            "-device",
            format!("virtserialport,chardev=status,name={STATUS_PORT}"),
        );
        if let Some(control) = self.descriptors.control {
            args.option("-chardev", format!("socket,id=control,fd={control}"));
            args.option(
                "-device",
                format!("virtserialport,chardev=control,name={CONTROL_PORT}"),
            );
        }
        args.option("-chardev", format!("socket,id=monitor,fd={monitor}"));
        args.option("-mon", "chardev=monitor,mode=control");
    }

    /// By its descriptor: nobody else can read it, and nothing of it stands in the arguments.
    fn config(&self, args: &mut Arguments) {
        if let Some(config) = self.descriptors.config {
            args.option(
                "-fw_cfg",
                format!("name={FW_CFG_NAME},file=/proc/self/fd/{config}"),
            );
        }
    }
}

/// The variable store is a template: what the firmware writes goes to an overlay as well.
fn firmware(firmware: &Firmware, args: &mut Arguments) {
    match &firmware.vars {
        None => args.option_os("-bios", firmware.code.as_os_str().to_owned()),
        Some(vars) => {
            args.option_os("-drive", flash(0, "readonly=on", &firmware.code));
            args.option_os("-drive", flash(1, "snapshot=on", vars));
        }
    }
}

/// QEMU's own small firmware starts it.
fn kernel(kernel: &Kernel, args: &mut Arguments) {
    let path = |descriptor: &OwnedFd| format!("/proc/self/fd/{}", descriptor.as_raw_fd());
    args.option("-kernel", path(&kernel.image));
    args.option("-initrd", path(&kernel.initrd));
    args.option("-append", kernel.cmdline.clone());
}

/// A comma ends a value unless it is doubled.
fn escaped(value: &str) -> String {
    value.replace(',', ",,")
}

fn flash(unit: u8, mode: &str, file: &Path) -> OsString {
    let mut value = OsString::from(format!("if=pflash,unit={unit},format=raw,{mode},file="));
    value.push(file);
    value
}

#[derive(Default)]
struct Arguments(Vec<OsString>);

impl Arguments {
    fn flag(&mut self, name: &str) {
        self.0.push(name.into());
    }

    fn option(&mut self, name: &str, value: impl Into<String>) {
        self.option_os(name, value.into().into());
    }

    fn option_os(&mut self, name: &str, value: OsString) {
        self.0.push(name.into());
        self.0.push(value);
    }
}
