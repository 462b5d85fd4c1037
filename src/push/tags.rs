//! The tags by which i2kit knows its snapshots and AMIs again, from any machine.

use std::collections::BTreeMap;

use super::cloud::Ami;
use super::identity::Identity;

/// What Amazon's console shows as the name.
pub const TITLE: &str = "Name";
/// The name that versions of one image share.
pub const NAME: &str = "i2kit:name";
/// dm-verity root hash of the store, 64 hex digits.
pub const ROOT_HASH: &str = "i2kit:root-hash";
/// Digests of the ESP's blocks, as [`Esp::tag`](super::esp::Esp::tag) writes them.
pub const ESP: &str = "i2kit:esp";
/// The digest over all slabs of the disk, `sha256:` and hex.
pub const DISK_DIGEST: &str = "i2kit:disk-digest";
/// SHA-256 of the inputs record in the store, `sha256:` and hex.
pub const RECORD_DIGEST: &str = "i2kit:record-digest";
/// The digest of the manifests, as the inputs record has it.
pub const MANIFEST_DIGEST: &str = "i2kit:manifest-digest";
/// What `--image-version` said.
pub const VERSION: &str = "i2kit:version";
/// Bytes of the disk; the volume may be larger.
pub const SIZE: &str = "i2kit:size";
/// The version of i2kit that pushed it.
pub const WRITER: &str = "i2kit:writer";

/// All tags of a disk of `size` bytes.
#[must_use]
pub fn of(identity: &Identity, size: u64) -> Vec<(String, String)> {
    let title = match identity.version {
        Some(version) => format!("{} {version}", identity.name),
        None => identity.name.clone(),
    };
    let known = [
        (TITLE, Some(title)),
        (NAME, Some(identity.name.clone())),
        (ROOT_HASH, Some(hex::encode(identity.root_hash))),
        (ESP, identity.esp.tag()),
        (DISK_DIGEST, Some(identity.disk_digest.clone())),
        (RECORD_DIGEST, identity.record_digest.clone()),
        (MANIFEST_DIGEST, identity.manifest_digest.clone()),
        (VERSION, identity.version.map(|number| number.to_string())),
        (SIZE, Some(size.to_string())),
        (WRITER, Some(env!("CARGO_PKG_VERSION").to_owned())),
    ];
    let known = known.into_iter();
    known
        .filter_map(|(key, value)| Some((key.to_owned(), value?)))
        .collect()
}

/// The root hash that tags name, if they do.
#[must_use]
pub fn root_hash(tags: &BTreeMap<String, String>) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    hex::decode_to_slice(tags.get(ROOT_HASH)?, &mut bytes).ok()?;
    Some(bytes)
}

/// Bytes of the disk that tags name, if they do.
#[must_use]
pub fn size(tags: &BTreeMap<String, String>) -> Option<u64> {
    tags.get(SIZE)?.parse().ok()
}

/// The version that tags name, if they do.
#[must_use]
pub fn version(tags: &BTreeMap<String, String>) -> Option<u64> {
    tags.get(VERSION)?.parse().ok()
}

/// Sorts AMIs as they were made. EC2 tells no more than seconds, or milliseconds; the version decides
/// between those of the same.
#[must_use]
pub fn order(ami: &Ami) -> (&str, Option<u64>, &str) {
    // ISO 8601 sorts as time does.
    (&ami.creation_date, version(&ami.tags), &ami.id)
}

/// True for what i2kit made: whatever else an account has is never touched.
#[must_use]
pub fn is_ours(tags: &BTreeMap<String, String>) -> bool {
    tags.contains_key(NAME) && tags.contains_key(DISK_DIGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_tagged_is_known_again() {
        let identity = Identity {
            name: "web".to_owned(),
            root_hash: [7; 32],
            disk_digest: "sha256:ab".to_owned(),
            version: Some(3),
            ..Identity::default()
        };
        let tags: BTreeMap<String, String> = of(&identity, 1 << 20).into_iter().collect();
        assert_eq!(tags.get(TITLE).map(String::as_str), Some("web 3"));
        assert_eq!(root_hash(&tags), Some([7; 32]));
        assert_eq!(size(&tags), Some(1 << 20));
        assert!(is_ours(&tags) && !tags.contains_key(RECORD_DIGEST));
        assert!(
            tags.iter()
                .all(|(key, value)| key.len() <= 128 && value.len() <= 255)
        );
        let made = |date: &str, version: &str| Ami {
            creation_date: date.to_owned(),
            tags: [(VERSION.to_owned(), version.to_owned())].into(),
            ..Ami::default()
        };
        let (ten, nine) = (
            made("2026-01-01T00:00:00.000Z", "10"),
            made("2026-01-01T00:00:00.000Z", "9"),
        );
        assert!(order(&ten) > order(&nine));
        assert!(order(&made("2026-01-01T00:00:01.000Z", "1")) > order(&ten));
        assert!(!is_ours(&BTreeMap::new()) && root_hash(&BTreeMap::new()).is_none());
    }
}
