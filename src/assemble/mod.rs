//! Manifest, images and base become a disk.

pub mod merge;
pub mod merged;
pub mod store;

/// 16 bytes of a digest as a UUID of version 8 (RFC 9562): free content, marked as such.
fn content_uuid(digest: &[u8]) -> [u8; 16] {
    let mut uuid = [0; 16];
    uuid.iter_mut().zip(digest).for_each(|(to, from)| *to = *from);
    uuid[6] = uuid[6] & 0x0f | 0x80;
    uuid[8] = uuid[8] & 0x3f | 0x80;
    uuid
}
