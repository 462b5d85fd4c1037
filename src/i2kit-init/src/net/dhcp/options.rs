//! The options of a message (RFC 2132).

use std::net::Ipv4Addr;

use super::{COOKIE, FIXED, reply::Malformed};

/// Options in order of arrival; parts of one code are joined (RFC 3396).
#[derive(Debug)]
pub(super) struct Options(Vec<(u8, Vec<u8>)>);

impl Options {
    /// The options of a whole message.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let cookie = bytes.get(FIXED..FIXED + 4);
        if cookie != Some(&COOKIE) {
            return Err(Malformed::Cookie);
        }
        let mut options = Self(Vec::new());
        options.collect(bytes.get(FIXED + 4..).unwrap_or_default())?;
        // Option 52: `file` (1) and `sname` (2) carry options too.
        let overload = options.get(52).and_then(|value| value.first());
        let overload = overload.copied().unwrap_or(0);
        for (bit, field) in [(1, 108..236), (2, 44..108)] {
            if overload & bit != 0 {
                options.collect(bytes.get(field).unwrap_or_default())?;
            }
        }
        Ok(options)
    }

    fn collect(&mut self, mut bytes: &[u8]) -> Result<(), Malformed> {
        loop {
            match bytes {
                [] | [255, ..] => return Ok(()),
                [0, rest @ ..] => bytes = rest,
                [code, length, rest @ ..] => {
                    let (value, rest) = rest
                        .split_at_checked(usize::from(*length))
                        .ok_or(Malformed::Option)?;
                    match self.0.iter_mut().find(|(found, _)| found == code) {
                        Some((_, joined)) => joined.extend_from_slice(value),
                        None => self.0.push((*code, value.to_vec())),
                    }
                    bytes = rest;
                }
                [_] => return Err(Malformed::Option),
            }
        }
    }

    /// An option's value.
    pub(super) fn get(&self, code: u8) -> Option<&[u8]> {
        self.0
            .iter()
            .find(|(found, _)| *found == code)
            .map(|(_, value)| value.as_slice())
    }

    /// The addresses of an option; an incomplete last one is left out.
    pub(super) fn addresses(&self, code: u8) -> Vec<Ipv4Addr> {
        let (addresses, _) = self.get(code).unwrap_or_default().as_chunks::<4>();
        addresses
            .iter()
            .map(|octets| Ipv4Addr::from(*octets))
            .collect()
    }

    /// A number of seconds.
    pub(super) fn seconds(&self, code: u8) -> Option<u32> {
        Some(u32::from_be_bytes(*self.get(code)?.first_chunk()?))
    }

    /// A number of two bytes.
    pub(super) fn short(&self, code: u8) -> Option<u16> {
        Some(u16::from_be_bytes(*self.get(code)?.first_chunk()?))
    }
}
