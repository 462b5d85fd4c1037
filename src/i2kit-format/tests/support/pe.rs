//! The smallest PE file.

/// Overwrites bytes.
pub fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    bytes[at..at + value.len()].copy_from_slice(value);
}

/// Where the parts of [`stub`] lie.
pub const COFF: usize = 68;
pub const OPTIONAL: usize = 88;
pub const DIRECTORIES: usize = OPTIONAL + 112;
pub const TABLE: usize = OPTIONAL + 240;
pub const HEADERS: usize = 1024;

/// The smallest PE32+ file that a stub could be: headers of 1 KiB, one section of code.
pub fn stub() -> Vec<u8> {
    let mut out = vec![0; HEADERS + 512];
    put(&mut out, 0, b"MZ");
    put(&mut out, 60, &64u32.to_le_bytes());
    put(&mut out, 64, b"PE\0\0");
    put(&mut out, COFF, &0x8664u16.to_le_bytes());
    put(&mut out, COFF + 2, &1u16.to_le_bytes());
    put(&mut out, COFF + 16, &240u16.to_le_bytes());
    put(&mut out, COFF + 18, &0x22u16.to_le_bytes());
    put(&mut out, OPTIONAL, &0x20bu16.to_le_bytes());
    put(&mut out, OPTIONAL + 32, &4096u32.to_le_bytes());
    put(&mut out, OPTIONAL + 36, &512u32.to_le_bytes());
    put(&mut out, OPTIONAL + 56, &8192u32.to_le_bytes());
    put(&mut out, OPTIONAL + 60, &(HEADERS as u32).to_le_bytes());
    put(&mut out, OPTIONAL + 68, &10u16.to_le_bytes());
    put(&mut out, OPTIONAL + 108, &16u32.to_le_bytes());
    put(&mut out, TABLE, b".text\0\0\0");
    put(&mut out, TABLE + 8, &16u32.to_le_bytes());
    put(&mut out, TABLE + 12, &4096u32.to_le_bytes());
    put(&mut out, TABLE + 16, &512u32.to_le_bytes());
    put(&mut out, TABLE + 20, &(HEADERS as u32).to_le_bytes());
    put(&mut out, TABLE + 36, &0x6000_0020u32.to_le_bytes());
    put(&mut out, HEADERS, b"\xc3code");
    out
}
