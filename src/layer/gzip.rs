//! gzip (RFC 1952), but for its checksums: whoever inflates here checks a digest of what comes out,
//! which says more and costs less than both.

use std::io::{self, BufRead, Read};

use flate2::bufread::DeflateDecoder;

/// Flags of a member's header (§2.3.1).
const FHCRC: u8 = 1 << 1;
const FEXTRA: u8 = 1 << 2;
const FNAME: u8 = 1 << 3;
const FCOMMENT: u8 = 1 << 4;
const RESERVED: u8 = 0b1110_0000;

/// The bytes of all members, inflated.
pub(super) struct Members<R> {
    /// The one that is being read; None after the last.
    member: Option<DeflateDecoder<R>>,
}

impl<R: BufRead> Members<R> {
    /// # Errors
    /// The reader's, and what is wrong with the first member's header.
    pub(super) fn new(reader: R) -> io::Result<Self> {
        let member = next(reader)?;
        Ok(Self { member })
    }
}

impl<R: BufRead> Read for Members<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        while let Some(mut member) = self.member.take() {
            let got = member.read(buf)?;
            if got > 0 || buf.is_empty() {
                self.member = Some(member);
                return Ok(got);
            }
            let mut reader = member.into_inner();
            // The member's CRC-32 and length.
            skip(&mut reader, 8)?;
            self.member = next(reader)?;
        }
        Ok(0)
    }
}

/// The next member, if there is one: some writers pad the last one with zeros.
fn next<R: BufRead>(mut reader: R) -> io::Result<Option<DeflateDecoder<R>>> {
    if skip_zeros(&mut reader)? {
        return Ok(None);
    }
    header(&mut reader)?;
    Ok(Some(DeflateDecoder::new(reader)))
}

/// Skips zeros; answers true at the end.
fn skip_zeros(reader: &mut impl BufRead) -> io::Result<bool> {
    loop {
        let buffer = reader.fill_buf()?;
        let zeros = buffer.iter().take_while(|byte| **byte == 0).count();
        let (end, more) = (buffer.is_empty(), zeros < buffer.len());
        reader.consume(zeros);
        if end || more {
            return Ok(end);
        }
    }
}

/// Reads a member's header.
fn header(reader: &mut impl BufRead) -> io::Result<()> {
    let mut fixed = [0; 10];
    reader.read_exact(&mut fixed)?;
    let [0x1f, 0x8b, 8, flags, ..] = fixed else {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "no gzip header"));
    };
    if flags & RESERVED != 0 {
        let reason = "a gzip header with reserved flags";
        return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
    }
    if flags & FEXTRA != 0 {
        let mut len = [0; 2];
        reader.read_exact(&mut len)?;
        skip(reader, u16::from_le_bytes(len).into())?;
    }
    for field in [FNAME, FCOMMENT] {
        if flags & field != 0 {
            reader.skip_until(0)?;
        }
    }
    if flags & FHCRC != 0 {
        skip(reader, 2)?;
    }
    Ok(())
}

fn skip(reader: &mut impl BufRead, len: u64) -> io::Result<()> {
    match io::copy(&mut reader.take(len), &mut io::sink())? == len {
        true => Ok(()),
        false => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn read(bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        Members::new(bytes)?.read_to_end(&mut out)?;
        Ok(out)
    }

    fn written(builder: flate2::GzBuilder) -> Vec<u8> {
        let mut writer = builder.write(Vec::new(), flate2::Compression::fast());
        writer.write_all(b"what is in it").unwrap();
        writer.finish().unwrap()
    }

    #[test]
    fn every_field_of_a_header_is_passed() {
        let full = flate2::GzBuilder::new()
            .extra(vec![0, 1, 2])
            .filename("name")
            .comment("comment");
        for mut bytes in [written(flate2::GzBuilder::new()), written(full)] {
            assert_eq!(read(&bytes).unwrap(), b"what is in it");
            let len = bytes.len();
            for short in 1..len {
                assert!(read(&bytes[..short]).is_err(), "{short} of {len}");
            }
            bytes.extend([0; 5]);
            assert_eq!(read(&bytes).unwrap(), b"what is in it");
            bytes.extend_from_within(..len);
            assert_eq!(read(&bytes).unwrap(), b"what is in itwhat is in it");
            bytes.extend(b"more");
            assert!(read(&bytes).is_err());
        }
        // The header's own checksum, between it and the data.
        let plain = written(flate2::GzBuilder::new());
        let mut checked = plain.clone();
        checked[3] |= FHCRC;
        checked.splice(10..10, [7, 7]);
        assert_eq!(read(&checked).unwrap(), b"what is in it");
        for (at, byte) in [(0, 1), (2, 9), (3, 0x20)] {
            let mut bad = plain.clone();
            bad[at] = byte;
            assert!(read(&bad).is_err(), "{at}");
        }
    }
}
