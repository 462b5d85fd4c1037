//! Names that follow from content, where others take random ones.

use std::fmt::Write as _;

use sha2::{Digest, Sha256};

use crate::Package;
use crate::bill::Part;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

/// A UUID of version 8 (RFC 9562) of the content's SHA-256.
pub fn uuid(content: &[u8]) -> String {
    let digest = hex(&Sha256::digest(content));
    let part = |from: usize, to: usize| digest.get(from..to).unwrap_or_default();
    let (a, b, c) = (part(0, 8), part(8, 12), part(13, 16));
    format!("{a}-{b}-8{c}-a{}-{}", part(17, 20), part(20, 32))
}

/// 16 hex digits that name a package within a bill.
pub fn id(part: &Part, package: &Package) -> String {
    let mut hash = Sha256::new();
    let source = package.source.as_ref();
    for text in [
        part.name.as_str(),
        package.ecosystem.purl_type(),
        package.name.as_str(),
        package.purl.as_str(),
        package.licence.as_deref().unwrap_or_default(),
        source.map(|one| one.name.as_str()).unwrap_or_default(),
        source
            .and_then(|one| one.version.as_deref())
            .unwrap_or_default(),
        package.supplier.as_deref().unwrap_or_default(),
    ] {
        hash.update((text.len() as u64).to_le_bytes());
        hash.update(text);
    }
    hex(hash.finalize().get(..8).unwrap_or_default())
}
