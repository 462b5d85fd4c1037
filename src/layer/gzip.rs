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

/// A member's bytes, inflated. At its end it has read up to the member's trailer.
pub(super) type Member<'a, R> = DeflateDecoder<&'a mut R>;

/// Reads a member's header.
///
/// # Errors
/// The reader's, and what is wrong with the header.
pub(super) fn member<R: BufRead>(reader: &mut R) -> io::Result<Member<'_, R>> {
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
    Ok(DeflateDecoder::new(reader))
}

/// Skips a member's CRC-32 and length.
///
/// # Errors
/// The reader's, or that it ends before.
pub(super) fn trailer(reader: &mut impl BufRead) -> io::Result<()> {
    skip(reader, 8)
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

    /// All of the first member's bytes, and what follows it.
    fn read(mut bytes: &[u8]) -> io::Result<(Vec<u8>, usize)> {
        let mut out = Vec::new();
        member(&mut bytes)?.read_to_end(&mut out)?;
        trailer(&mut bytes)?;
        Ok((out, bytes.len()))
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
            assert_eq!(read(&bytes).unwrap(), (b"what is in it".to_vec(), 0));
            let len = bytes.len();
            bytes.extend(b"more");
            assert_eq!(read(&bytes).unwrap().1, 4);
            for short in 0..len {
                assert!(read(&bytes[..short]).is_err(), "{short} of {len}");
            }
        }
        // The header's own checksum, between it and the data.
        let plain = written(flate2::GzBuilder::new());
        let mut checked = plain.clone();
        checked[3] |= FHCRC;
        checked.splice(10..10, [7, 7]);
        assert_eq!(read(&checked).unwrap().0, b"what is in it");
        for (at, byte) in [(0, 0), (2, 9), (3, 0x20)] {
            let mut bad = plain.clone();
            bad[at] = byte;
            assert!(read(&bad).is_err(), "{at}");
        }
    }
}
