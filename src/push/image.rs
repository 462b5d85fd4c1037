//! An AMI of a snapshot: registered, waited for.

use std::time::Duration;

use super::cloud::{Ami, CallError, Region, RegisterImage, Retry};
use super::identity::Identity;
use super::ledger::{Entry, Ledger, Made};
use super::wait::{Answer, TimeIsUp, agreed};
use super::{Error, GIB, find, tags};

/// EC2 registers within seconds; a copy to another region takes as long as its bytes.
const PATIENCE: Duration = Duration::from_secs(15 * 60);
/// How long a copy may take.
const COPY_PATIENCE: Duration = Duration::from_secs(3 * 3600);
/// Whose name is taken, EC2 says.
const DUPLICATE: &str = "InvalidAMIName.Duplicate";

/// What becomes an AMI.
#[derive(Clone, Copy, Debug)]
pub struct Registration<'a> {
    /// Who it is.
    pub identity: &'a Identity,
    /// Its snapshot, completed.
    pub snapshot: &'a str,
    /// GiB of the root volume.
    pub volume_gib: u64,
    /// Bytes of the disk.
    pub size: u64,
    /// Give instances a TPM 2.0.
    pub tpm: bool,
}

/// GiB of a volume that has room for so many bytes.
#[must_use]
pub fn volume_gib(bytes: u64) -> u64 {
    bytes.div_ceil(GIB).max(1)
}

/// Registers it and waits until it is available. Where its name is taken, an AMI of this snapshot is
/// the one of an earlier attempt whose answer was lost; one of the same disk, but of another snapshot,
/// is another push's, and is the answer.
///
/// # Errors
/// What EC2 answers, or [`Error::AmiFailed`], [`Error::Taken`], [`Error::Late`].
pub async fn register(
    region: &Region,
    ledger: &Ledger,
    registration: Registration<'_>,
) -> Result<Ami, Error> {
    let request = request(registration);
    let entry = Entry::new(Made::Ami, &region.name, String::new()).named(&request.name);
    let number = ledger.intend(entry.clone())?;
    let call = async || region.ec2.register_image(&request).await;
    // The snapshot's last server may not know yet that it is complete.
    let retry = Retry::default().not_found_is_transient(true);
    let id = match retry.run(call, |_| {}).await {
        Err(error) if error.code == DUPLICATE => {
            let earlier = earlier(region, registration.identity, &request.name, error).await?;
            if earlier.root_snapshot.as_deref() != Some(registration.snapshot) {
                // Another push of the same disk was first: its AMI is not ours to undo.
                ledger.forget(&entry)?;
                return available(region, &earlier.id).await;
            }
            earlier.id
        }
        answer => answer?,
    };
    ledger.made(number, &id)?;
    available(region, &id).await
}

fn request(registration: Registration<'_>) -> RegisterImage {
    let Registration { identity, .. } = registration;
    RegisterImage {
        name: identity.ami_name(),
        description: identity.description.clone(),
        architecture: identity.architecture.clone(),
        snapshot: registration.snapshot.to_owned(),
        volume_gib: registration.volume_gib,
        uefi_data: identity.uefi_data.clone(),
        tpm: registration.tpm,
        tags: tags::of(identity, registration.size),
    }
}

/// The AMI that has the name, if it is this disk's.
async fn earlier(
    region: &Region,
    identity: &Identity,
    name: &str,
    error: CallError,
) -> Result<Ami, Error> {
    let Some(ami) = find::named_ami(region, name).await? else {
        return Err(error.into());
    };
    if ami.tags.get(tags::DISK_DIGEST) == Some(&identity.disk_digest) {
        return Ok(ami);
    }
    Err(Error::Taken {
        name: name.to_owned(),
        region: region.name.clone(),
        ami: ami.id,
    })
}

/// Waits until an AMI that was registered is available.
///
/// # Errors
/// What EC2 answers, [`Error::AmiFailed`] or [`Error::Late`].
pub async fn available(region: &Region, id: &str) -> Result<Ami, Error> {
    wait(region, id, PATIENCE, async || state(region, id).await).await
}

/// Waits until an AMI that is copied from another region is available.
///
/// # Errors
/// As [`available`].
pub async fn copied(region: &Region, id: &str) -> Result<Ami, Error> {
    wait(region, id, COPY_PATIENCE, async || state(region, id).await).await
}

/// Waits until a snapshot that is copied from another region is complete.
///
/// # Errors
/// What EC2 answers, [`Error::CopyFailed`] or [`Error::Late`].
pub async fn snapshot_copied(region: &Region, id: &str) -> Result<(), Error> {
    let ask = async || snapshot_state(region, id).await;
    wait(region, id, COPY_PATIENCE, ask).await
}

async fn wait<T, F: Future<Output = Result<Answer<T>, Failed>>>(
    region: &Region,
    id: &str,
    patience: Duration,
    ask: impl Fn() -> F,
) -> Result<T, Error> {
    let waited = agreed(patience, ask).await;
    waited.map_err(|failed| match failed {
        Failed::Early(error) => error,
        Failed::Late(last) => Error::Late {
            what: format!("{id} in {}", region.name),
            last,
        },
    })
}

/// What ended a wait.
enum Failed {
    Early(Error),
    Late(TimeIsUp),
}

impl From<TimeIsUp> for Failed {
    fn from(last: TimeIsUp) -> Self {
        Self::Late(last)
    }
}

async fn state(region: &Region, id: &str) -> Result<Answer<Ami>, Failed> {
    let ami = match find::ami(region, id).await {
        Ok(ami) => ami,
        // It was made a moment ago.
        Err(Error::NoAmi { .. }) => return Ok(Answer::NotYet("it is not seen".to_owned())),
        Err(error) => return Err(Failed::Early(error)),
    };
    match ami.state.as_str() {
        "available" => Ok(Answer::There(ami)),
        "pending" | "transient" => Ok(Answer::NotYet(format!("it is {}", ami.state))),
        _ => Err(Failed::Early(Error::AmiFailed {
            ami: ami.id,
            region: region.name.clone(),
            state: ami.state,
            reason: ami.state_reason,
        })),
    }
}

async fn snapshot_state(region: &Region, id: &str) -> Result<Answer<()>, Failed> {
    let found = match find::snapshot(region, id).await {
        Ok(found) => found,
        Err(Error::NoSnapshot { .. }) => return Ok(Answer::NotYet("it is not seen".to_owned())),
        Err(error) => return Err(Failed::Early(error)),
    };
    match found.state.as_str() {
        "completed" => Ok(Answer::There(())),
        "pending" => Ok(Answer::NotYet(format!("it is pending, {}", found.progress))),
        _ => Err(Failed::Early(Error::CopyFailed {
            snapshot: found.id,
            region: region.name.clone(),
            state: found.state,
            reason: found.state_message,
        })),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn volumes_are_whole_gibibytes() {
        assert_eq!(volume_gib(0), 1);
        assert_eq!(volume_gib(GIB), 1);
        assert_eq!(volume_gib(GIB + 1), 2);
    }
}
