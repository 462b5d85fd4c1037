//! Bad blocks: the kernel reports them in its log (`drivers/md/dm-verity-target.c`,
//! `verity_handle_err`), readers only get an input/output error.

use std::{
    fmt,
    fs::{File, OpenOptions},
    io::{self, Read},
    os::unix::fs::OpenOptionsExt,
    thread,
};

use crate::power::Fuse;

const KMSG: &str = "/dev/kmsg";
/// Longest record of `/dev/kmsg` (`PRINTKRB_RECORD_MAX` and its predecessors fit).
const RECORD: usize = 8192;

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

/// Watches the kernel's log from a thread of its own and blows the fuse on the first bad block.
///
/// # Errors
/// `/dev/kmsg` cannot be opened or no thread be started.
pub fn start(fuse: &Fuse) -> io::Result<()> {
    let mut kmsg = File::open(KMSG)?;
    let fuse = fuse.clone();
    thread::Builder::new().name("kmsg".into()).spawn(move || {
        if let Some(corruption) = next_corruption(&mut kmsg) {
            fuse.blow(&corruption.to_string());
        }
    })?;
    Ok(())
}

/// The first bad block in the kernel's log so far.
pub fn logged_corruption() -> Option<Corruption> {
    let mut kmsg = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(KMSG)
        .ok()?;
    next_corruption(&mut kmsg)
}

fn next_corruption(kmsg: &mut File) -> Option<Corruption> {
    let mut record = vec![0; RECORD];
    loop {
        match kmsg.read(&mut record) {
            Ok(0) => return None,
            Ok(length) => {
                if let Some(found) = record.get(..length).and_then(parse) {
                    return Some(found);
                }
            }
            // EPIPE: records were overwritten before they were read; the next read goes on.
            Err(error)
                if matches!(
                    error.raw_os_error(),
                    Some(libc::EPIPE | libc::EINTR | libc::EINVAL)
                ) => {}
            Err(_) => return None,
        }
    }
}

/// Parses one record, `PRIORITY,SEQUENCE,TIME,FLAGS;TEXT`. Only the kernel's own count (facility
/// 0): anyone with the device could write the same text.
fn parse(record: &[u8]) -> Option<Corruption> {
    let text = str::from_utf8(record).ok()?;
    let (prefix, message) = text.split_once(';')?;
    let priority: u32 = prefix.split(',').next()?.parse().ok()?;
    if priority >> 3 != 0 {
        return None;
    }
    let words = message.strip_prefix("device-mapper: verity: ")?;
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_kernels_reports_are_read() {
        let record = b"3,412,1234567,-;device-mapper: verity: 254:2: data block 77 is corrupted\n SUBSYSTEM=block\n";
        let data = parse(record).unwrap();
        assert_eq!(
            data.to_string(),
            "store: block 77 (byte offset 315392) failed verification"
        );
        let record = b"3,1,1,-;device-mapper: verity: 259:3: metadata block 1 is corrupted\n";
        let hash = parse(record).unwrap();
        assert_eq!(
            hash.to_string(),
            "store-verity: hash block 1 (byte offset 4096) failed verification"
        );
    }

    #[test]
    fn text_from_user_space_and_other_messages_are_not() {
        assert_eq!(
            parse(b"11,1,1,-;device-mapper: verity: 254:2: data block 77 is corrupted\n"),
            None
        );
        assert_eq!(
            parse(b"6,1,1,-;device-mapper: verity: sha256 using \"sha256-ni\"\n"),
            None
        );
    }

    proptest! {
        #[test]
        fn no_record_panics(record in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&record);
        }
    }
}
