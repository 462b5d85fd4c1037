//! Who a disk is: what its tags, its name and its description say.

use i2kit_contract::INPUTS_JSON;
use i2kit_format::{ReadAt, gpt};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::esp::Esp;
use crate::disk::Slabs;
use crate::inspect;
use crate::output::disk_digest;

/// An AMI's description may have so many characters.
const DESCRIPTION: usize = 255;
/// An AMI's name may have so many.
const AMI_NAME: usize = 128;
/// Hex digits of the disk's digest in an AMI's name.
const SHORT_DIGEST: usize = 12;

/// Who is pushed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// What versions of one image share.
    pub name: String,
    /// At most 255 characters, for people.
    pub description: String,
    /// dm-verity root hash of the store.
    pub root_hash: [u8; 32],
    /// The digest over all slabs of the disk, `sha256:` and hex.
    pub disk_digest: String,
    /// SHA-256 of the inputs record in the store, `sha256:` and hex.
    pub record_digest: Option<String>,
    /// The digest of the manifests.
    pub manifest_digest: Option<String>,
    /// What `--image-version` said.
    pub version: Option<u64>,
    /// As EC2 calls it: `x86_64` or `arm64`.
    pub architecture: String,
    /// What its ESP holds.
    pub esp: Esp,
    /// The Secure Boot variables for RegisterImage.
    pub uefi_data: Option<String>,
}

/// A name that no AMI can have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("name the image {name:?}: {reason}")]
pub struct NameError {
    name: String,
    reason: String,
}

impl NameError {
    /// What the user can do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        "--name takes 1 to 115 letters, digits and ()[]./-'@_".to_owned()
    }
}

/// Checks a name that versions of an image are to share.
///
/// # Errors
/// [`NameError`] when an AMI could not be called that and twelve digits.
pub fn check_name(name: &str) -> Result<(), NameError> {
    let wrong = |reason: String| NameError {
        name: name.to_owned(),
        reason,
    };
    let most = AMI_NAME - SHORT_DIGEST - 1;
    if !(1..=most).contains(&name.len()) {
        return Err(wrong(format!(
            "{} characters, 1 to {most} are allowed",
            name.len()
        )));
    }
    let allowed = |c: &char| c.is_ascii_alphanumeric() || "()[]./-'@_".contains(*c);
    match name.chars().find(|c| !allowed(c)) {
        Some(bad) => Err(wrong(format!("an AMI's name cannot have {bad:?}"))),
        None => Ok(()),
    }
}

/// The Pod's name, as the disk's inputs record has it.
///
/// # Errors
/// [`inspect::Error`] when it is no disk of i2kit's.
pub fn pod_name(disk: &dyn ReadAt) -> Result<Option<String>, inspect::Error> {
    let (_, inputs) = inputs(disk)?;
    let name = inputs.get("pod").and_then(Value::as_str);
    Ok(name.map(str::to_owned))
}

/// The inputs record of a disk: its bytes, and what they say.
fn inputs(disk: &dyn ReadAt) -> Result<(Vec<u8>, Value), inspect::Error> {
    let record = inspect::file(disk, INPUTS_JSON)?;
    let inputs = serde_json::from_slice(&record)?;
    Ok((record, inputs))
}

impl Identity {
    /// Of a disk with these slabs, as it tells itself: the root hash by its UKI, the rest by its
    /// inputs record.
    ///
    /// # Errors
    /// [`inspect::Error`] when it is no disk of i2kit's.
    pub fn of(disk: &dyn ReadAt, slabs: &Slabs, name: &str) -> Result<Self, inspect::Error> {
        let (record, inputs) = inputs(disk)?;
        let text = |key: &str| inputs.get(key).and_then(Value::as_str);
        let root_hash = inspect::disk_root_hash(disk)?;
        let version = inputs.get("image_version").and_then(Value::as_u64);
        Ok(Self {
            description: described(text("pod"), version, &root_hash),
            name: name.to_owned(),
            root_hash,
            disk_digest: disk_digest(slabs),
            record_digest: Some(format!("sha256:{}", hex::encode(Sha256::digest(&record)))),
            manifest_digest: text("manifest").map(str::to_owned),
            version,
            architecture: architecture(text("platform")).to_owned(),
            esp: Esp::of(&gpt::read(disk)?, slabs),
            uefi_data: None,
        })
    }

    /// The AMI's name: the same for the same disk, another one for each other.
    #[must_use]
    pub fn ami_name(&self) -> String {
        let hex = self.disk_digest.strip_prefix("sha256:");
        let hex = hex.unwrap_or(&self.disk_digest);
        format!("{}-{}", self.name, hex.get(..SHORT_DIGEST).unwrap_or(hex))
    }
}

/// EC2's word for a platform such as `linux/amd64`.
fn architecture(platform: Option<&str>) -> &'static str {
    match platform {
        Some(platform) if platform.starts_with("linux/arm64") => "arm64",
        _ => "x86_64",
    }
}

fn described(pod: Option<&str>, version: Option<u64>, root_hash: &[u8; 32]) -> String {
    let version = version.map_or_else(String::new, |number| format!(" version {number}"));
    let pod = pod.unwrap_or("?");
    let text = format!(
        "Pod {pod}{version}, root hash {}, by i2kit {}",
        hex::encode(root_hash),
        env!("CARGO_PKG_VERSION")
    );
    text.chars().take(DESCRIPTION).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ami_is_named_after_its_disk() {
        let identity = Identity {
            name: "web".to_owned(),
            disk_digest: format!("sha256:{}", "0123456789abcdef".repeat(4)),
            ..Identity::default()
        };
        assert_eq!(identity.ami_name(), "web-0123456789ab");
    }

    #[test]
    fn names_that_no_ami_can_have_are_refused() {
        for good in ["w", "web", "a.b-c_d/e@f'(1)[2]", &"x".repeat(115)] {
            assert_eq!(check_name(good), Ok(()), "{good}");
        }
        for bad in ["", "web app", "wéb", "a:b", "a+b", &"x".repeat(116)] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
        let longest = Identity {
            name: "x".repeat(115),
            disk_digest: "ab".repeat(32),
            ..Identity::default()
        };
        assert_eq!(longest.ami_name().len(), AMI_NAME);
    }

    #[test]
    fn a_description_fits() {
        let text = described(Some(&"é".repeat(300)), Some(7), &[1; 32]);
        assert_eq!(text.chars().count(), DESCRIPTION);
        let text = described(Some("web"), None, &[1; 32]);
        assert!(text.starts_with("Pod web, root hash 0101"), "{text}");
        assert_eq!(architecture(Some("linux/arm64/v8")), "arm64");
        assert_eq!(architecture(Some("linux/amd64")), "x86_64");
    }
}
