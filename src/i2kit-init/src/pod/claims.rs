//! `persistentVolumeClaim`: a data disk that is found by its serial number or its label.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use i2kit_contract::Claim;
use rustix::mount::MountFlags;

use crate::{
    console::Console,
    fault::{Context, Fault},
    mounts::make_folder,
    scratch,
};

/// How long the disk may take to appear.
const PATIENCE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(20);
/// Longest serial number of a virtio disk (`VIRTIO_BLK_ID_BYTES`).
const SERIAL: usize = 20;
/// Longest label of an ext4 file system.
const LABEL: usize = 16;
/// What must be zero at both ends of a blank disk: every file system, volume manager and
/// partition table has something there.
const ENDS: u64 = 4 << 20;
/// Blocks between the ends that must be zero, too.
const SAMPLES: u64 = 256;
const BLOCK: usize = 4096;

/// A data disk that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A system operation failed.
    #[error(transparent)]
    System(#[from] Fault),
    /// No disk is named like the claim.
    #[error("no disk has the serial number or ext4 label {name} (disks: {disks})")]
    Missing {
        /// The claim's name, cut to what a disk can have.
        name: String,
        /// The disks that are there.
        disks: String,
    },
    /// Which of them is meant nobody can say.
    #[error("several disks have the serial number or ext4 label {name}: {disks}")]
    Ambiguous {
        /// The claim's name.
        name: String,
        /// Those disks.
        disks: String,
    },
    /// The disk holds something else.
    #[error("{device} holds something that is no ext4 file system; it is left as it is")]
    Foreign {
        /// The disk's node.
        device: String,
    },
    /// A blank disk cannot be given a file system.
    #[error("{device} is blank, and the claim is read-only")]
    BlankReadOnly {
        /// The disk's node.
        device: String,
    },
    /// `mkfs.ext4` failed.
    #[error(transparent)]
    Format(#[from] scratch::Error),
}

/// Mounts the claim's disk at `target`. A blank one gets an ext4 file system first; one that holds
/// anything else is never written.
///
/// # Errors
/// [`Error`].
pub fn mount(claim: &Claim, target: &Path, console: &Console) -> Result<(), Error> {
    let device = find(&claim.name)?;
    let shown = device.display().to_string();
    if scratch::ext4_label(&device).is_none() {
        if !is_blank(&device).context("read", &shown)? {
            return Err(Error::Foreign { device: shown });
        }
        if claim.read_only {
            return Err(Error::BlankReadOnly { device: shown });
        }
        console.say(format_args!(
            "volume claim {}: {shown} is blank, formatting it",
            claim.name
        ));
        scratch::format(&device, cut(&claim.name, LABEL))?;
    }
    make_folder(target, 0o755)?;
    let flags = match claim.read_only {
        true => MountFlags::RDONLY,
        false => MountFlags::empty(),
    };
    rustix::mount::mount(&device, target, c"ext4", flags | MountFlags::NOATIME, c"")
        .context("mount", &shown)?;
    console.say(format_args!("volume claim {}: {shown}", claim.name));
    Ok(())
}

/// The node of the claim's disk, once it has appeared.
///
/// # Errors
/// [`Error::Missing`] or [`Error::Ambiguous`].
pub fn find(name: &str) -> Result<PathBuf, Error> {
    let end = Instant::now() + PATIENCE;
    loop {
        let found = find_now(Path::new("/sys/class/block"), Path::new("/dev"), name);
        match found.as_slice() {
            [] => {}
            [one] => return Ok(one.clone()),
            several => {
                let disks: Vec<_> = several
                    .iter()
                    .map(|one| one.display().to_string())
                    .collect();
                return Err(Error::Ambiguous {
                    name: name.to_owned(),
                    disks: disks.join(" "),
                });
            }
        }
        if Instant::now() >= end {
            let mut disks = names(Path::new("/sys/block"));
            disks.sort();
            return Err(Error::Missing {
                name: name.to_owned(),
                disks: disks.join(" "),
            });
        }
        thread::sleep(POLL);
    }
}

/// By serial number first: it is the host's word, a label the disk's. The scratch partition's
/// label is no claim's.
fn find_now(class: &Path, dev: &Path, name: &str) -> Vec<PathBuf> {
    let mut names = names(class);
    names.sort();
    let nodes = |names: Vec<&String>| names.into_iter().map(|one| dev.join(one)).collect();
    let has_serial = |one: &&String| {
        serial(&class.join(one)).is_some_and(|serial| serial == cut(name, SERIAL) || serial == name)
    };
    let by_serial: Vec<_> = names.iter().filter(has_serial).collect();
    let label = cut(name, LABEL);
    if !by_serial.is_empty() || label == scratch::FS_LABEL {
        return nodes(by_serial);
    }
    let has_label =
        |one: &&String| scratch::ext4_label(&dev.join(one)).as_deref() == Some(label.as_bytes());
    nodes(names.iter().filter(has_label).collect())
}

fn names(class: &Path) -> Vec<String> {
    let entries = fs::read_dir(class).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}

/// A whole disk's: virtio's own file, or the device's for NVMe and SCSI.
fn serial(disk: &Path) -> Option<String> {
    let places = ["serial", "device/serial", "device/vpd_pg80"];
    let bytes = places
        .iter()
        .find_map(|place| fs::read(disk.join(place)).ok())?;
    // The page of SCSI's has a header of four bytes.
    let text = match bytes.as_slice() {
        [0, 0x80, _, _, rest @ ..] => rest,
        all => all,
    };
    let text = String::from_utf8_lossy(text);
    let text = text.trim_matches(|c: char| c.is_whitespace() || c == '\0');
    (!text.is_empty()).then(|| text.to_owned())
}

fn cut(name: &str, most: usize) -> &str {
    name.get(..name.len().min(most)).unwrap_or(name)
}

/// True when there is nothing on the disk, as far as its ends and many places between tell.
fn is_blank(device: &Path) -> io::Result<bool> {
    use io::Seek as _;
    let mut file = File::open(device)?;
    let size = file.seek(io::SeekFrom::End(0))?;
    let step = BLOCK as u64;
    let ends = (0..ENDS).chain(size.saturating_sub(ENDS)..size);
    let head = ends
        .step_by(BLOCK)
        .map(|at| at.min(size.saturating_sub(step)));
    let between = (1..SAMPLES).map(|part| size / SAMPLES * part / step * step);
    let mut block = [0; BLOCK];
    for at in head
        .chain(between)
        .filter(|at| at.saturating_add(step) <= size)
    {
        file.read_exact_at(&mut block, at)?;
        if block.iter().any(|byte| *byte != 0) {
            return Ok(false);
        }
    }
    Ok(size >= step)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn disk(name: &str, size: u64) -> (PathBuf, File) {
        let path = std::env::temp_dir().join(format!("i2kit-{name}-{}", std::process::id()));
        let file = File::create(&path).unwrap();
        file.set_len(size).unwrap();
        (path, file)
    }

    #[test]
    fn a_byte_at_either_end_is_not_blank() {
        let size = 64 << 20;
        let (path, file) = disk("blank", size);
        assert!(is_blank(&path).unwrap());
        for at in [
            0,
            1024,
            65_600,
            ENDS - 1,
            size - 1,
            size - 512,
            size - ENDS,
            size / 2,
        ] {
            file.write_all_at(&[1], at).unwrap();
            assert!(!is_blank(&path).unwrap(), "{at}");
            file.write_all_at(&[0], at).unwrap();
        }
        file.set_len(0).unwrap();
        assert!(!is_blank(&path).unwrap());
        fs::remove_file(path).unwrap();
    }

    /// The oracles: what other tools write is not blank.
    #[test]
    fn file_systems_and_partition_tables_are_not_blank() {
        let (path, _) = disk("foreign", 64 << 20);
        let shown = path.display().to_string();
        for (program, arguments) in [
            ("mkfs.ext4", vec!["-q", "-F"]),
            ("mkswap", vec![]),
            ("mkfs.vfat", vec![]),
            ("sgdisk", vec!["-n1:0:0"]),
        ] {
            File::create(&path).unwrap().set_len(64 << 20).unwrap();
            let Ok(output) = Command::new(program).args(arguments).arg(&shown).output() else {
                continue;
            };
            assert!(output.status.success(), "{program}: {output:?}");
            assert!(!is_blank(&path).unwrap(), "{program}");
        }
        fs::remove_file(path).unwrap();
    }

    #[test]
    fn a_disk_is_found_by_its_serial_number() {
        let root = std::env::temp_dir().join(format!("i2kit-class-{}", std::process::id()));
        for (place, text) in [
            ("vda/serial", "other\n"),
            ("vdb/serial", "data-of-the-pod-with"),
            ("nvme0n1/device/serial", "vol0123  \n"),
            ("sda/device/vpd_pg80", "\0\u{80}\0\u{4}disk"),
        ] {
            let path = root.join(place);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            let latin: Vec<u8> = text
                .chars()
                .map(|c| u8::try_from(u32::from(c)).unwrap())
                .collect();
            fs::write(path, latin).unwrap();
        }
        let find = |name| find_now(&root, Path::new("/nowhere"), name);
        let node = |name| vec![Path::new("/nowhere").join(name)];
        assert_eq!(find("data-of-the-pod-with-a-long-name"), node("vdb"));
        assert_eq!(find("vol0123"), node("nvme0n1"));
        assert_eq!(find("disk"), node("sda"));
        assert!(find("none").is_empty());
        fs::create_dir_all(root.join("vdc")).unwrap();
        fs::write(root.join("vdc/serial"), "other").unwrap();
        assert_eq!(find("other").len(), 2);
        fs::remove_dir_all(root).unwrap();
    }
}
