//! A container's termination message: its last words, from a file that it writes or from the end of
//! its log.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

use i2kit_contract::{MessagePolicy, TerminationMessage};

use crate::paths;

/// Of a longer message the end counts (the kubelet's `MaxContainerTerminationMessageLength`).
const LONGEST: u64 = 4096;

/// The file in the guest that a container has at its `terminationMessagePath`.
pub fn file(container: &str) -> PathBuf {
    Path::new(paths::UPPERS)
        .join(container)
        .join("termination-message")
}

/// What a container has left behind; `tail` is the end of its log.
pub fn read(container: &str, rule: &TerminationMessage, exit_code: u32, tail: &str) -> String {
    let written = end_of(&file(container)).unwrap_or_default();
    choose(rule.policy, &written, exit_code, tail)
}

fn choose(policy: MessagePolicy, written: &str, exit_code: u32, tail: &str) -> String {
    let falls_back = policy == MessagePolicy::FallbackToLogsOnError;
    match written {
        "" if falls_back && exit_code != 0 => tail.to_owned(),
        written => written.to_owned(),
    }
}

fn end_of(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let len = file.metadata()?.len();
    file.seek(SeekFrom::Start(len.saturating_sub(LONGEST)))?;
    let mut bytes = Vec::new();
    file.take(LONGEST).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_stands_in_for_an_empty_file_of_a_container_that_failed() {
        use MessagePolicy::{FallbackToLogsOnError, File};
        let choose = |policy, written, code| choose(policy, written, code, "log");
        assert_eq!(choose(File, "", 1), "");
        assert_eq!(choose(FallbackToLogsOnError, "", 1), "log");
        assert_eq!(choose(FallbackToLogsOnError, "", 0), "");
        assert_eq!(choose(FallbackToLogsOnError, "file", 1), "file");
    }

    #[test]
    fn of_a_gigabyte_only_the_end_is_read() {
        let path = std::env::temp_dir().join(format!("i2kit-message-{}", std::process::id()));
        let file = File::create(&path).unwrap();
        file.set_len(1 << 30).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&file, b"last words", (1 << 30) - 10).unwrap();
        let message = end_of(&path).unwrap();
        assert!(message.len() == 4096 && message.ends_with("last words"));
        std::fs::remove_file(path).unwrap();
    }
}
