//! The kernel command line: the user's words, then i2kit's own. Of a word that stands there twice
//! the kernel and `i2kit-init` take the last, so i2kit's hold.

use i2kit_contract::{CMDLINE_ON_FAILURE, CMDLINE_ROOT_HASH, FailurePolicy};

/// Bytes that an x86 kernel takes: `COMMAND_LINE_SIZE` (`arch/x86/include/asm/setup.h`) without the
/// terminating zero. It cuts off the rest without a word.
pub const MAX_BYTES: usize = 2047;

/// The last console is the one that `/dev/console` means. A kernel that panics cannot power off: it
/// reboots after a second, whatever the policy, rather than hang. And it must not panic because an
/// emulated timer ticks late on a busy host (`no_timer_check`; under KVM, Hyper-V and VMware a
/// kernel leaves that check out by itself).
const OWN: &str = "console=tty0 console=ttyS0 loglevel=4 panic=1 no_timer_check";
/// What everything of i2kit's own starts with.
const OWN_PREFIX: &str = "i2kit.";
/// Words that would start something else than `i2kit-init`, or hand the rest of the line to it.
const NOT_OURS_TO_GIVE: [&str; 2] = ["init", "rdinit"];

/// Words for the command line that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Nothing in it.
    #[error("use kernel argument {0:?}: it is empty")]
    Empty(String),
    /// A newline, a NUL, a letter beyond ASCII: the stub and the kernel disagree on them.
    #[error("use kernel argument {argument:?}: byte {byte:#04x} at {at} is not printable ASCII")]
    Byte {
        /// The argument.
        argument: String,
        /// The byte.
        byte: u8,
        /// Its place, from 0.
        at: usize,
    },
    /// Blanks outside quotes make two words, an open quote takes the next word in.
    #[error("use kernel argument {0:?}: it is not one word")]
    Words(String),
    /// i2kit gives it.
    #[error("use kernel argument {argument:?}: i2kit itself sets {key}")]
    Own {
        /// The argument.
        argument: String,
        /// The part before `=`.
        key: String,
    },
    /// It would take the boot away from i2kit's guest.
    #[error("use kernel argument {0:?}: the disk would boot something else")]
    NotI2kit(String),
    /// More than the kernel takes.
    #[error("write kernel command line: {bytes} bytes, the kernel takes at most {MAX_BYTES}")]
    TooLong {
        /// Bytes of the whole line.
        bytes: usize,
    },
}

impl Error {
    /// What the user can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Words(_) => {
                "one --kernel-arg for each word; a value with blanks in double quotes"
            }
            Self::TooLong { .. } => "leave out --kernel-arg words, or shorten them",
            _ => return None,
        };
        Some(hint.to_owned())
    }
}

/// What i2kit itself says on the line.
#[derive(Clone, Debug)]
pub struct Own<'a> {
    /// dm-verity root hash of the store.
    pub root_hash: &'a [u8; 32],
    /// What the guest does when it cannot go on.
    pub on_failure: FailurePolicy,
    /// The word for the store's error correction, if there is any.
    pub fec: Option<String>,
}

/// The user's words, each checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KernelArgs(Vec<String>);

impl KernelArgs {
    /// Checks each word, and that the line is not too long with what every disk has.
    ///
    /// # Errors
    /// [`Error`] for the first word that cannot be used.
    pub fn new(arguments: &[String]) -> Result<Self, Error> {
        arguments.iter().try_for_each(|argument| check(argument))?;
        let checked = Self(arguments.to_vec());
        checked.cmdline(&Own {
            root_hash: &[0; 32],
            on_failure: FailurePolicy::default(),
            fec: None,
        })?;
        Ok(checked)
    }

    /// The whole command line.
    ///
    /// # Errors
    /// [`Error::TooLong`].
    pub fn cmdline(&self, own: &Own<'_>) -> Result<String, Error> {
        let root_hash = format!("{CMDLINE_ROOT_HASH}={}", hex::encode(own.root_hash));
        let on_failure = match own.on_failure {
            FailurePolicy::PowerOff => "power-off",
            FailurePolicy::Reboot => "reboot",
        };
        let on_failure = format!("{CMDLINE_ON_FAILURE}={on_failure}");
        let words = self.0.iter().map(String::as_str);
        let words = words.chain([OWN, &root_hash, &on_failure]);
        let words: Vec<&str> = words.chain(own.fec.as_deref()).collect();
        let line = words.join(" ");
        if line.len() > MAX_BYTES {
            return Err(Error::TooLong { bytes: line.len() });
        }
        Ok(line)
    }
}

fn check(argument: &str) -> Result<(), Error> {
    if argument.trim_ascii().is_empty() {
        return Err(Error::Empty(argument.to_owned()));
    }
    let mut bytes = argument.bytes().enumerate();
    if let Some((at, byte)) = bytes.find(|(_, byte)| !matches!(byte, b' '..=b'~')) {
        let argument = argument.to_owned();
        return Err(Error::Byte { argument, byte, at });
    }
    if !is_one_word(argument) {
        return Err(Error::Words(argument.to_owned()));
    }
    check_key(argument)
}

/// As `next_arg` of the kernel's `lib/cmdline.c` splits: at blanks outside double quotes.
fn is_one_word(argument: &str) -> bool {
    let (inside, whole) = argument
        .bytes()
        .fold((false, true), |(inside, whole), byte| {
            (inside ^ (byte == b'"'), whole && (inside || byte != b' '))
        });
    whole && !inside
}

/// Consoles may be added; i2kit's own stand after them and stay what they are.
fn check_key(argument: &str) -> Result<(), Error> {
    let key = argument.split('=').next().unwrap_or_default();
    // The kernel takes a quote before the key away, and a dash for an underscore.
    let plain = |key: &str| key.replace('"', "").replace('-', "_");
    let key = plain(key);
    let own_words = OWN
        .split(' ')
        .map(|word| word.split('=').next().unwrap_or(word));
    let is_own = own_words
        .chain([CMDLINE_ROOT_HASH])
        .any(|own| own != "console" && plain(own) == key);
    // `i2kit-init` splits at every blank.
    let hides_own = argument.split(' ').any(|word| {
        let word = plain(word);
        word.starts_with(OWN_PREFIX) || word.starts_with(&format!("{CMDLINE_ROOT_HASH}="))
    });
    if is_own || hides_own {
        let argument = argument.to_owned();
        return Err(Error::Own { argument, key });
    }
    if argument == "--" || NOT_OURS_TO_GIVE.contains(&key.as_str()) {
        return Err(Error::NotI2kit(argument.to_owned()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new(arguments: &[&str]) -> Result<KernelArgs, Error> {
        let arguments: Vec<_> = arguments.iter().map(|one| (*one).to_owned()).collect();
        KernelArgs::new(&arguments)
    }

    fn line(arguments: &[&str]) -> Result<String, Error> {
        new(arguments)?.cmdline(&Own {
            root_hash: &[0xab; 32],
            on_failure: FailurePolicy::Reboot,
            fec: None,
        })
    }

    #[test]
    fn the_users_words_stand_before_i2kits() {
        let own = format!(
            "console=tty0 console=ttyS0 loglevel=4 panic=1 no_timer_check roothash={} \
             i2kit.on_failure=reboot",
            "ab".repeat(32)
        );
        assert_eq!(line(&[]).unwrap(), own);
        let words = [
            "mitigations=off",
            "dyndbg=\"file a +p\"",
            "console=hvc0",
            "-x",
        ];
        assert_eq!(
            line(&words).unwrap(),
            format!("mitigations=off dyndbg=\"file a +p\" console=hvc0 -x {own}")
        );
    }

    #[test]
    fn what_i2kit_sets_or_a_line_cannot_hold_is_refused() {
        for (argument, expected) in [
            ("roothash=00", "i2kit itself sets roothash"),
            ("\"roothash=00\"", "i2kit itself sets roothash"),
            ("a=\" roothash=00\"", "i2kit itself sets a"),
            (
                "i2kit.on_failure=reboot",
                "i2kit itself sets i2kit.on_failure",
            ),
            ("i2kit.new", "i2kit itself sets i2kit.new"),
            ("panic=0", "i2kit itself sets panic"),
            ("no-timer-check", "i2kit itself sets no_timer_check"),
            ("rdinit=/bin/sh", "something else"),
            ("init=/bin/sh", "something else"),
            ("--", "something else"),
            ("a\nb", "byte 0x0a at 1"),
            ("a\0", "byte 0x00 at 1"),
            ("ä", "byte 0xc3 at 0"),
            ("", "it is empty"),
            (" ", "it is empty"),
            ("a b", "not one word"),
            ("a=\"b", "not one word"),
        ] {
            let error = new(&[argument]).unwrap_err().to_string();
            assert!(error.contains(expected) && !error.contains('\n'), "{error}");
        }
        assert!(new(&["a b"]).unwrap_err().hint().is_some());
    }

    #[test]
    fn the_limit_counts_the_whole_line() {
        let own = line(&[]).unwrap().len();
        // "power-off" is longer than "reboot", and the line is checked with it.
        let room = MAX_BYTES - own - 1 - ("power-off".len() - "reboot".len());
        assert!(line(&[&"x".repeat(room)]).is_ok());
        let error = new(&[&"x".repeat(room + 1)]).unwrap_err();
        assert_eq!(error, Error::TooLong { bytes: 2048 });
        assert!(error.to_string().contains("2048 bytes"), "{error}");
    }
}
