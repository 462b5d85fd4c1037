//! Secrets that go into the disk.

use std::collections::{BTreeMap, BTreeSet};

use super::Error;
use crate::manifest::{EnvFrom, EnvValue, FileContent, Pod, VolumeFile, VolumeSource};

/// Secrets by name, their values by key, in hexadecimal.
type Baked = BTreeMap<String, BTreeMap<String, String>>;

/// Those of the Pod's Secrets that a container or a volume takes from.
///
/// # Errors
/// [`Error::OmittedSecret`].
pub(super) fn baked(pod: &Pod) -> Result<Baked, Error> {
    let used = used(pod);
    if let Some(name) = used.iter().find(|name| pod.secrets.is_omitted(name)) {
        let secret = (*name).to_owned();
        return Err(Error::OmittedSecret { secret });
    }
    let secrets = pod
        .secrets
        .iter()
        .filter(|(name, _)| used.contains(name.as_str()));
    let values = |values: &BTreeMap<String, Vec<u8>>| {
        let value = |(key, value): (&String, &Vec<u8>)| (key.clone(), hex::encode(value));
        values.iter().map(value).collect()
    };
    Ok(secrets
        .map(|(name, secret)| (name.clone(), values(secret)))
        .collect())
}

fn used(pod: &Pod) -> BTreeSet<&str> {
    let mut used = BTreeSet::new();
    for container in pod.all_containers() {
        let froms = container.env_from.iter().filter_map(|from| match from {
            EnvFrom::Secret(secret) => Some(secret.secret.as_str()),
            EnvFrom::Var(var) => of_value(&var.value),
        });
        used.extend(froms);
        used.extend(container.env.iter().filter_map(|var| of_value(&var.value)));
    }
    for volume in &pod.volumes {
        let VolumeSource::Files(files) = &volume.source else {
            continue;
        };
        used.extend(files.iter().filter_map(|file| match file {
            VolumeFile::Secret(secret) => Some(secret.name.as_str()),
            VolumeFile::File { content, .. } => match content {
                FileContent::Secret { from, .. } => Some(from.name.as_str()),
                _ => None,
            },
        }));
    }
    used
}

fn of_value(value: &EnvValue) -> Option<&str> {
    match value {
        EnvValue::Secret { from, .. } => Some(&from.name),
        _ => None,
    }
}
