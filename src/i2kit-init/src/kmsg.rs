//! The kernel's log, `/dev/kmsg`. Its errors go to the console as lines of PID 1's, which alone
//! writes there: the kernel would print them in the middle of others' lines. And it is where
//! blocks that fail verification are named (`drivers/md/dm-verity-target.c`,
//! `verity_handle_err`); their readers only get an input/output error.

use std::{
    fmt,
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, SeekFrom},
    ops::RangeInclusive,
    os::unix::fs::OpenOptionsExt,
    thread,
};

use crate::{
    console::Console,
    fault::{Context, Fault},
    power::Fuse,
};

const KMSG: &str = "/dev/kmsg";
/// Longest record of `/dev/kmsg` (`PRINTKRB_RECORD_MAX` and its predecessors fit).
const RECORD: usize = 8192;
/// Written to it, the first number is the level below which the kernel prints by itself.
const PRINTK: &str = "/proc/sys/kernel/printk";
/// Emergencies alone (level 0): a kernel that panics prints for itself.
const KERNEL_PRINTS_BELOW: &str = "1";
/// Alerts, critical conditions and errors: what `loglevel=4` of our command line shows before PID 1
/// takes over, but for the emergencies.
const RELAYED: RangeInclusive<u32> = 1..=3;

/// A block of the store that failed verification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Corruption {
    /// Number of the 4096-byte block in its partition.
    pub block: u64,
    /// It is a block of the hash tree rather than of data.
    pub metadata: bool,
}

impl fmt::Display for Corruption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (partition, kind) = if self.metadata {
            ("store-verity", "hash block")
        } else {
            ("store", "block")
        };
        let offset = self.block.saturating_mul(4096);
        write!(
            f,
            "{partition}: {kind} {} (byte offset {offset}) failed verification",
            self.block
        )
    }
}

/// Takes over from the kernel: a thread relays its errors to the console from now on, and blows
/// the fuse on the first bad block.
///
/// # Errors
/// The log cannot be opened, or no thread be started.
pub fn start(fuse: &Fuse, console: &Console) -> Result<(), Fault> {
    let mut kmsg = File::open(KMSG).context("open", KMSG)?;
    // What was logged so far, the kernel has printed.
    kmsg.seek(SeekFrom::End(0)).context("seek in", KMSG)?;
    fs::write(PRINTK, KERNEL_PRINTS_BELOW).context("write", PRINTK)?;
    let (fuse, console) = (fuse.clone(), console.clone());
    let relay = move || {
        let mut buffer = vec![0; RECORD];
        while let Some(length) = next_record(&mut kmsg, &mut buffer) {
            let Some(record) = buffer.get(..length).and_then(Record::parse) else {
                continue;
            };
            if RELAYED.contains(&record.level) {
                console.system_line("kernel", record.text.as_bytes());
            }
            if let Some(corruption) = record.corruption() {
                if fuse.is_bad(&corruption) {
                    fuse.blow(&corruption.to_string());
                }
                console.say(format_args!("{corruption}, and was repaired"));
            }
        }
    };
    thread::Builder::new()
        .name("kmsg".into())
        .spawn(relay)
        .context("start a thread for", KMSG)?;
    Ok(())
}

/// The first block in the kernel's log so far that is still bad.
pub fn logged_corruption(is_bad: &dyn Fn(&Corruption) -> bool) -> Option<Corruption> {
    let mut kmsg = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(KMSG)
        .ok()?;
    let mut buffer = vec![0; RECORD];
    while let Some(length) = next_record(&mut kmsg, &mut buffer) {
        let record = buffer.get(..length).and_then(Record::parse);
        let found = record.and_then(|record| record.corruption());
        if let Some(found) = found.filter(|found| is_bad(found)) {
            return Some(found);
        }
    }
    None
}

/// The length of the next record; none at the log's end, where the file does not wait for more.
fn next_record(kmsg: &mut File, buffer: &mut [u8]) -> Option<usize> {
    loop {
        match kmsg.read(buffer) {
            Ok(0) => return None,
            Ok(length) => return Some(length),
            // EPIPE: records were overwritten before they were read; the next read goes on.
            Err(error) if goes_on(&error) => {}
            Err(_) => return None,
        }
    }
}

fn goes_on(error: &io::Error) -> bool {
    let known = [libc::EPIPE, libc::EINTR, libc::EINVAL];
    error
        .raw_os_error()
        .is_some_and(|code| known.contains(&code))
}

/// A record of the kernel's own.
#[derive(Debug, PartialEq, Eq)]
struct Record<'a> {
    /// 0 (emergency) to 7 (debug).
    level: u32,
    text: &'a str,
}

impl<'a> Record<'a> {
    /// Parses `PRIORITY,SEQUENCE,TIME,FLAGS;TEXT`, of whose lines the first is the message. None
    /// for what user space wrote (a facility other than 0): anyone with the device could write the
    /// same text.
    fn parse(record: &'a [u8]) -> Option<Self> {
        let (prefix, text) = str::from_utf8(record).ok()?.split_once(';')?;
        let priority: u32 = prefix.split(',').next()?.parse().ok()?;
        (priority >> 3 == 0).then_some(Self {
            level: priority & 7,
            text: text.lines().next().unwrap_or_default(),
        })
    }

    fn corruption(&self) -> Option<Corruption> {
        let words = self.text.strip_prefix("device-mapper: verity: ")?;
        let (before, after) = words.split_once(" block ")?;
        let (number, rest) = after.split_once(' ')?;
        if !rest.starts_with("is corrupted") {
            return None;
        }
        let block = number.parse().ok()?;
        let metadata = match before.rsplit(' ').next()? {
            "data" => false,
            "metadata" => true,
            _ => return None,
        };
        Some(Corruption { block, metadata })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_kernels_reports_are_read() {
        let record = b"3,412,1234567,-;device-mapper: verity: 254:2: data block 77 is corrupted\n SUBSYSTEM=block\n";
        let record = Record::parse(record).unwrap();
        assert_eq!(
            (record.level, record.text),
            (
                3,
                "device-mapper: verity: 254:2: data block 77 is corrupted"
            )
        );
        let data = record.corruption().unwrap();
        assert_eq!(
            data.to_string(),
            "store: block 77 (byte offset 315392) failed verification"
        );
        let record = b"3,1,1,-;device-mapper: verity: 259:3: metadata block 1 is corrupted\n";
        let hash = Record::parse(record).unwrap().corruption().unwrap();
        assert_eq!(
            hash.to_string(),
            "store-verity: hash block 1 (byte offset 4096) failed verification"
        );
    }

    #[test]
    fn text_from_user_space_and_other_messages_are_not() {
        let forged = b"11,1,1,-;device-mapper: verity: 254:2: data block 77 is corrupted\n";
        assert_eq!(Record::parse(forged), None);
        let harmless = b"6,1,1,-;device-mapper: verity: sha256 using \"sha256-ni\"\n";
        assert_eq!(Record::parse(harmless).unwrap().corruption(), None);
    }

    proptest! {
        #[test]
        fn no_record_panics(record in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Record::parse(&record).and_then(|record| record.corruption());
            let text = [b"3,1,1,-;device-mapper: verity: ".as_slice(), &record].concat();
            let _ = Record::parse(&text).and_then(|record| record.corruption());
        }
    }
}
