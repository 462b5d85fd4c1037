//! What firmware is given.

use std::io::Write as _;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use flate2::Compression;
use flate2::write::ZlibEncoder;
use i2kit_format::Guid;
use i2kit_format::efi::{Variable, ec2};

use super::Certificate;

/// Who the entries of signature lists are said to come from: derived from the platform key, so that
/// the same keys give the same bytes.
#[must_use]
pub fn owner(platform_key: &Certificate) -> Guid {
    let digest = platform_key.fingerprint();
    Guid::from_digest(digest.first_chunk().unwrap_or(&[0; 16]))
}

/// The `UefiData` of EC2's RegisterImage, in one line.
///
/// # Errors
/// None but what a compressor in memory gives.
pub fn ec2_data(variables: &[Variable]) -> std::io::Result<String> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(&ec2::entries(variables))?;
    Ok(BASE64_STANDARD.encode(ec2::wrap(&encoder.finish()?)))
}
