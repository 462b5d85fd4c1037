//! An AMI or a snapshot in the place of a disk: `i2kit verify ami-…`, `i2kit diff ami-… ami-…`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use i2kit_format::gpt;
use tempfile::TempDir;

use super::{connect, region, runtime};
use crate::cli::args::{CacheArgs, CloudArgs, ProgressArgs, RegionArgs};
use crate::cli::error::Error;
use crate::cli::plan::cache_folder;
use crate::cli::progress::Transfer;
use crate::disk::{self, Blob};
use crate::inspect::{self, Fault};
use crate::output::disk_digest;
use crate::push::cloud::{Cloud, Region};
use crate::push::download::{FetchError, fetch};
use crate::push::esp::Esp;
use crate::push::snapshot_disk::SnapshotDisk;
use crate::push::{changes, find, tags};

/// A snapshot, and what tags tell of the disk in it.
pub struct Found {
    /// Where it is.
    pub region: Region,
    /// Its id.
    pub snapshot: String,
    /// Of the disk's store.
    pub root_hash: Option<[u8; 32]>,
    /// Of all slabs of the disk.
    pub disk_digest: Option<String>,
    /// Of its ESP's blocks.
    pub esp: Option<String>,
}

/// True for the id of an AMI or a snapshot.
pub fn is_id(text: &str) -> bool {
    text.starts_with("ami-") || text.starts_with("snap-")
}

/// True for the id of an AMI or a snapshot that is no file's name.
pub fn is_named(path: &Path) -> bool {
    path.to_str().is_some_and(is_id) && !path.exists()
}

/// Finds the snapshot that an AMI's or its own id names.
pub async fn find(cloud: &Cloud, arguments: &RegionArgs, id: &str) -> Result<Found, Error> {
    let region = region(cloud, arguments)?;
    let (snapshot, tags) = match id.starts_with("ami-") {
        true => {
            let ami = find::ami(&region, id).await?;
            let root = ami.root_snapshot;
            let missing = || crate::push::Error::NoRoot { ami: ami.id };
            (root.ok_or_else(missing)?, ami.tags)
        }
        false => (id.to_owned(), find::snapshot(&region, id).await?.tags),
    };
    Ok(Found {
        region,
        snapshot,
        root_hash: tags::root_hash(&tags),
        disk_digest: tags.get(tags::DISK_DIGEST).cloned(),
        esp: tags.get(tags::ESP).cloned(),
    })
}

/// A disk that was fetched to be looked at. Its file goes with it.
pub struct Fetched {
    /// The disk.
    pub disk: Blob,
    /// Where it lies for now.
    pub path: PathBuf,
    _folder: TempDir,
}

/// Fetches what the id names into the cache's folder, which has room for disks. Where a block does
/// not match, `name` is asked to tell what lies there, from a disk that reads each block as it is
/// wanted.
pub fn fetched(
    id: &str,
    arguments: (&CloudArgs, &RegionArgs, &CacheArgs),
    progress: ProgressArgs,
    name: impl FnOnce(&Blob) -> Result<(), Error>,
) -> Result<Fetched, Error> {
    let (cloud, region, cache) = arguments;
    let runtime = runtime()?;
    let found = runtime.block_on(async {
        let cloud = connect(cloud).await?;
        find(&cloud, region, id).await
    })?;
    let folder = folder(cache)?;
    let path = folder.path().join("disk.raw");
    let transfer = Transfer::new(progress, "fetch");
    let (region, snapshot, root) = (&found.region, &found.snapshot, found.root_hash);
    let fetched = runtime.block_on(fetch(region, snapshot, root, &path, &transfer));
    transfer.clear();
    if let Err(error @ FetchError::Corrupt { .. }) = fetched {
        name(&runtime.block_on(opened(&found))?.0)?;
        return Err(error.into());
    }
    fetched?;
    let disk = crate::cli::open(&path)?;
    check_tags(&disk, &path, &found)?;
    Ok(Fetched {
        disk,
        path,
        _folder: folder,
    })
}

fn folder(cache: &CacheArgs) -> Result<TempDir, Error> {
    let folder = cache_folder(cache.cache_dir.as_deref())?;
    let made = std::fs::create_dir_all(&folder).and_then(|()| {
        tempfile::Builder::new()
            .prefix("fetch-")
            .tempdir_in(&folder)
    });
    made.map_err(|source| Error::Write {
        path: folder,
        source,
    })
}

/// The disk is the one that its tags name, in every slab.
fn check_tags(disk: &Blob, path: &Path, found: &Found) -> Result<(), Error> {
    if found.disk_digest.is_none() && found.esp.is_none() {
        return Ok(());
    }
    let slabs = disk::slabs(disk).map_err(|source| Error::Read {
        path: path.to_owned(),
        source,
    })?;
    let table = gpt::read(disk).map_err(inspect::Error::from)?;
    let esp = Esp::of(&table, &slabs).tag().unwrap_or_default();
    let differs = |part, what: &str, tagged: &Option<String>, own: String| {
        let tagged = tagged.as_ref()?;
        let reason = format!("its {what} {own}, its tags say {tagged}");
        (*tagged != own).then(|| Error::Unlike(Box::new(Fault::new(part, reason))))
    };
    let wrong = differs("disk", "digest is", &found.disk_digest, disk_digest(&slabs))
        .or_else(|| differs("esp", "blocks' digests are", &found.esp, esp));
    wrong.map_or(Ok(()), Err)
}

/// The snapshot as a disk whose blocks are read as they are wanted.
async fn opened(found: &Found) -> Result<(Blob, Arc<SnapshotDisk>), Error> {
    let disk = SnapshotDisk::open(&found.region, &found.snapshot, found.root_hash).await?;
    let disk = Arc::new(disk);
    Ok((Blob::of(Arc::clone(&disk) as Arc<_>), disk))
}

/// Two snapshots' disks, and in which slabs they may differ.
pub struct Pair {
    /// One.
    pub one: Blob,
    /// The other.
    pub other: Blob,
    /// By their numbers, ascending.
    pub slabs: Vec<u64>,
    /// Reads for both.
    _runtime: tokio::runtime::Runtime,
}

/// Opens two of one region.
pub fn pair(ids: [&str; 2], cloud: &CloudArgs, region: &RegionArgs) -> Result<Pair, Error> {
    let runtime = runtime()?;
    let (one, other, slabs) = runtime.block_on(async {
        let cloud = connect(cloud).await?;
        let [one, other] = ids.map(|id| find(&cloud, region, id));
        let (one, other) = tokio::try_join!(one, other)?;
        let listed = changes::listed(&one.region, &one.snapshot, &other.snapshot).await;
        let listed = listed.map_err(crate::push::Error::from)?;
        let (one, other) = tokio::try_join!(opened(&one), opened(&other))?;
        let slabs = match (one.1.index(), other.1.index()) {
            (Some(first), Some(second)) => changes::differing(first, second, listed.as_ref()),
            _ => Default::default(),
        };
        Ok::<_, Error>((one.0, other.0, slabs))
    })?;
    Ok(Pair {
        one,
        other,
        slabs: slabs.into_iter().map(u64::from).collect(),
        _runtime: runtime,
    })
}
