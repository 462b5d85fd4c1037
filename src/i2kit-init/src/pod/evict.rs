//! Limits of what the Pod may keep on scratch. Nothing stops a write; what has grown too large is
//! found by looking, as the kubelet's eviction manager does (`localStorageEviction`).

use std::{
    collections::HashSet,
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use i2kit_contract::{Container, Contract};

use crate::{paths, pod::volumes};

/// How long nobody looks, the kubelet's `monitoringInterval`.
const PAUSE: Duration = Duration::from_secs(10);
/// `st_blocks` counts these, whatever the file system's blocks are (`stat(2)`).
const BLOCK: u64 = 512;

/// Something that may hold so many bytes.
#[derive(Debug, PartialEq, Eq)]
struct Limit {
    /// What it is, for a message.
    what: String,
    /// Where its bytes lie.
    paths: Vec<PathBuf>,
    bytes: u64,
}

/// Waits until something is over its limit, and tells what. For ever, when nothing has a limit.
pub async fn over_limit(contract: &Contract) -> String {
    let limits = Arc::new(limits(contract));
    if limits.is_empty() {
        return std::future::pending().await;
    }
    loop {
        tokio::time::sleep(PAUSE).await;
        let limits = Arc::clone(&limits);
        // A walk over many files takes its time.
        let found = tokio::task::spawn_blocking(move || first_over(&limits)).await;
        if let Ok(Some(message)) = found {
            return message;
        }
    }
}

fn first_over(limits: &[Limit]) -> Option<String> {
    limits.iter().find_map(|limit| {
        let used = limit.paths.iter().map(|path| usage(path)).sum::<u64>();
        let Limit { what, bytes, .. } = limit;
        (used > *bytes).then(|| format!("{what} holds {used} bytes, at most {bytes} are allowed"))
    })
}

/// Volumes, then the whole Pod, then single containers.
fn limits(contract: &Contract) -> Vec<Limit> {
    let volumes = contract.volumes.iter().filter_map(|volume| {
        Some(Limit {
            what: format!("volume {}", volume.name),
            paths: vec![volumes::path(volume)],
            bytes: volume.size_limit_bytes?,
        })
    });
    let containers = contract.all_containers().filter_map(|container| {
        Some(Limit {
            what: format!("container {}", container.name),
            paths: of_container(&container.name),
            bytes: container.resources.ephemeral_bytes?,
        })
    });
    let containers: Vec<Limit> = containers.collect();
    volumes.chain(pod(contract)).chain(containers).collect()
}

/// Everything on scratch, when every container has a limit: those of all that run together, or of
/// an init container, if that is more.
fn pod(contract: &Contract) -> Option<Limit> {
    let is_short = |one: &&Container| !one.is_sidecar();
    let (short, sidecars): (Vec<_>, Vec<_>) = contract.init_containers.iter().partition(is_short);
    let lasting = contract.containers.iter().chain(sidecars);
    let mut limits = lasting.map(|one| one.resources.ephemeral_bytes);
    let together = limits.try_fold(0u64, |sum, one| Some(sum.saturating_add(one?)))?;
    let alone = short.into_iter().map(|one| one.resources.ephemeral_bytes);
    let alone = alone.collect::<Option<Vec<u64>>>()?.into_iter().max();
    let bytes = together.max(alone.unwrap_or(0));
    let names = contract.all_containers().map(|one| &one.name);
    let mut paths: Vec<_> = names.flat_map(|name| of_container(name)).collect();
    paths.push(PathBuf::from(paths::VOLUMES));
    let what = "the Pod".to_owned();
    Some(Limit { what, paths, bytes })
}

/// The writable layer with image volumes, and the log with its older files.
fn of_container(name: &str) -> Vec<PathBuf> {
    let logs = fs::read_dir(paths::LOGS).into_iter().flatten().flatten();
    let own = format!("{name}.log");
    let logs = logs.filter(|one| one.file_name().to_string_lossy().starts_with(&own));
    let upper = Path::new(paths::UPPERS).join(name);
    logs.map(|one| one.path()).chain([upper]).collect()
}

/// Bytes that a file or folder takes, of files with several names once. What goes away meanwhile
/// counts for nothing; no link is followed, and no other file system entered.
fn usage(path: &Path) -> u64 {
    let Ok(root) = fs::symlink_metadata(path) else {
        return 0;
    };
    let mut seen = HashSet::new();
    let mut bytes = root.blocks().saturating_mul(BLOCK);
    let mut folders = Vec::new();
    if root.is_dir() {
        folders.push(path.to_owned());
    }
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let Ok(found) = entry.metadata() else {
                continue;
            };
            if found.dev() != root.dev()
                || (found.nlink() > 1 && !found.is_dir() && !seen.insert(found.ino()))
            {
                continue;
            }
            bytes = bytes.saturating_add(found.blocks().saturating_mul(BLOCK));
            if found.is_dir() {
                folders.push(entry.path());
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use i2kit_contract::RestartPolicy;

    use super::*;
    use crate::pod::board::tests::contract;

    #[test]
    fn what_is_over_its_limit_is_found() {
        let folder = std::env::temp_dir().join(format!("i2kit-evict-{}", std::process::id()));
        fs::create_dir_all(folder.join("deep")).unwrap();
        fs::write(folder.join("deep/file"), vec![1; 100_000]).unwrap();
        let before = usage(&folder);
        assert!((100_000..200_000).contains(&before), "{before}");
        fs::hard_link(folder.join("deep/file"), folder.join("again")).unwrap();
        std::os::unix::fs::symlink("/usr", folder.join("link")).unwrap();
        assert!(usage(&folder) < before + 20_000);
        assert_eq!(usage(&folder.join("none")), 0);
        let limit = |bytes| Limit {
            what: "volume v".into(),
            paths: vec![folder.clone()],
            bytes,
        };
        assert_eq!(first_over(&[limit(1 << 20)]), None);
        let told = first_over(&[limit(1 << 20), limit(50_000)]).unwrap();
        assert!(told.starts_with("volume v holds 1"), "{told}");
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn volumes_containers_and_the_pod_have_limits() {
        let mut contract = contract(RestartPolicy::Never);
        assert_eq!(limits(&contract), []);
        contract.containers[0].resources.ephemeral_bytes = Some(5);
        let names = |contract: &Contract| -> Vec<String> {
            let limits = limits(contract).into_iter();
            limits
                .map(|limit| format!("{} {}", limit.what, limit.bytes))
                .collect()
        };
        assert_eq!(names(&contract), ["container web 5"]);
        let others = contract
            .init_containers
            .iter_mut()
            .chain(&mut contract.containers);
        others.for_each(|one| one.resources.ephemeral_bytes = Some(5));
        assert_eq!(names(&contract)[0], "the Pod 15");
        assert_eq!(names(&contract).len(), 5);
    }
}
