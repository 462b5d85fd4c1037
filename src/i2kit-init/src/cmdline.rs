//! The kernel command line.

use i2kit_contract::{CMDLINE_FEC, CMDLINE_ON_FAILURE, CMDLINE_ROOT_HASH, FailurePolicy};

/// A command line that cannot be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not 64 hex digits.
    #[error("parse kernel command line: {CMDLINE_ROOT_HASH} is {0:?}, not 64 hex digits")]
    RootHash(String),
    /// Neither `power-off` nor `reboot`.
    #[error(
        "parse kernel command line: {CMDLINE_ON_FAILURE} is {0:?}, neither power-off nor reboot"
    )]
    OnFailure(String),
    /// Not `PARTUUID:ROOTS:BLOCKS`.
    #[error("parse kernel command line: {CMDLINE_FEC} is {0:?}, not PARTUUID:ROOTS:BLOCKS")]
    Fec(String),
}

/// Where the store's error correction lies, and its parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fec {
    /// PARTUUID of the partition with the parity.
    pub partuuid: String,
    /// dm-verity's `fec_roots`: 2 to 24.
    pub roots: u8,
    /// dm-verity's `fec_blocks`.
    pub blocks: u64,
}

/// A SHA-256 dm-verity root hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RootHash([u8; 32]);

impl RootHash {
    /// Parses 64 hex digits.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.as_bytes();
        if digits.len() != 64 {
            return None;
        }
        let mut hash = [0u8; 32];
        for (byte, pair) in hash.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok()?;
        }
        digits
            .iter()
            .all(u8::is_ascii_hexdigit)
            .then_some(Self(hash))
    }

    /// 64 lower-case hex digits.
    pub fn hex(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// PARTUUID of the partition with the data: the first 128 bits (Discoverable Partitions
    /// Specification, "root-verity").
    pub fn data_partuuid(&self) -> String {
        dashed(self.hex().get(..32).unwrap_or_default())
    }

    /// PARTUUID of the partition with the hashes: the last 128 bits.
    pub fn hash_partuuid(&self) -> String {
        dashed(self.hex().get(32..).unwrap_or_default())
    }
}

fn dashed(hex: &str) -> String {
    let mut text = String::with_capacity(36);
    for (index, digit) in hex.chars().enumerate() {
        if matches!(index, 8 | 12 | 16 | 20) {
            text.push('-');
        }
        text.push(digit);
    }
    text
}

/// The store's root hash, if the command line names one; the last one wins, as in the kernel.
///
/// # Errors
/// [`Error::RootHash`].
pub fn root_hash(cmdline: &str) -> Result<Option<RootHash>, Error> {
    let Some(value) = value(cmdline, CMDLINE_ROOT_HASH) else {
        return Ok(None);
    };
    let hash = RootHash::parse(value).ok_or_else(|| Error::RootHash(value.to_owned()))?;
    Ok(Some(hash))
}

/// What to do on failure before the contract is known.
///
/// # Errors
/// [`Error::OnFailure`].
pub fn failure_policy(cmdline: &str) -> Result<FailurePolicy, Error> {
    match value(cmdline, CMDLINE_ON_FAILURE) {
        None => Ok(FailurePolicy::default()),
        Some("power-off") => Ok(FailurePolicy::PowerOff),
        Some("reboot") => Ok(FailurePolicy::Reboot),
        Some(other) => Err(Error::OnFailure(other.to_owned())),
    }
}

/// The store's error correction, if the command line names one.
///
/// # Errors
/// [`Error::Fec`].
pub fn fec(cmdline: &str) -> Result<Option<Fec>, Error> {
    let Some(value) = value(cmdline, CMDLINE_FEC) else {
        return Ok(None);
    };
    let parse = || {
        let mut parts = value.split(':');
        let fec = Fec {
            partuuid: parts.next()?.to_owned(),
            roots: parts.next()?.parse().ok()?,
            blocks: parts.next()?.parse().ok()?,
        };
        parts.next().is_none().then_some(fec)
    };
    parse()
        .map(Some)
        .ok_or_else(|| Error::Fec(value.to_owned()))
}

fn value<'a>(cmdline: &'a str, key: &str) -> Option<&'a str> {
    cmdline
        .split_ascii_whitespace()
        .filter_map(|word| word.split_once('='))
        .filter(|(found, _)| *found == key)
        .map(|(_, value)| value)
        .next_back()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HASH: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

    #[test]
    fn the_words_of_ours_are_found_among_the_others() {
        let line = format!("console=ttyS0 roothash={HASH} quiet i2kit.on_failure=reboot\n");
        assert_eq!(failure_policy(&line), Ok(FailurePolicy::Reboot));
        let hash = root_hash(&line).unwrap().unwrap();
        assert_eq!(hash.hex(), HASH);
        assert_eq!(hash.data_partuuid(), "00010203-0405-0607-0809-0a0b0c0d0e0f");
        assert_eq!(hash.hash_partuuid(), "10111213-1415-1617-1819-1a1b1c1d1e1f");
    }

    #[test]
    fn the_last_word_wins_and_none_is_none() {
        assert_eq!(
            failure_policy("i2kit.on_failure=reboot i2kit.on_failure=power-off"),
            Ok(FailurePolicy::PowerOff)
        );
        assert_eq!(failure_policy("quiet"), Ok(FailurePolicy::PowerOff));
        assert_eq!(root_hash("xroothash=12"), Ok(None));
    }

    #[test]
    fn nonsense_is_refused() {
        assert_eq!(root_hash("roothash=12"), Err(Error::RootHash("12".into())));
        let signs = format!("roothash={}", "+1".repeat(32));
        assert!(matches!(root_hash(&signs), Err(Error::RootHash(_))));
        assert_eq!(
            failure_policy("i2kit.on_failure=panic"),
            Err(Error::OnFailure("panic".into()))
        );
    }

    #[test]
    fn error_correction_has_three_parts() {
        let found = fec("quiet i2kit.fec=00-ab:2:1234").unwrap().unwrap();
        assert_eq!(
            (&*found.partuuid, found.roots, found.blocks),
            ("00-ab", 2, 1234)
        );
        assert_eq!(fec("quiet"), Ok(None));
        for bad in ["", "a", "a:2", "a:2:x", "a:300:1", "a:2:1:0"] {
            let line = format!("i2kit.fec={bad}");
            assert_eq!(fec(&line), Err(Error::Fec(bad.into())), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_input_panics(text in ".*") {
            let _ = (root_hash(&text), failure_policy(&text), fec(&text));
            let _ = RootHash::parse(&text);
        }
    }
}
