//! The disk to push, and who it is.

use std::path::Path;
use std::sync::Arc;

use super::super::args;
use super::super::build;
use super::super::error::Error;
use super::super::plan::cache_folder;
use super::progress;
use crate::cache::Cache;
use crate::disk::{FileDisk, Slabs, slabs};
use crate::output::{Memory, OutputsRecord};
use crate::push::identity::{Identity, check_name};
use crate::push::source::{RawDisk, Source};

/// The Secure Boot variables that EC2 takes are 64 KiB at most.
const MAX_UEFI_DATA: usize = 64 << 10;

/// The disk to push, and who it is.
pub(super) struct Subject {
    pub(super) identity: Identity,
    pub(super) source: Arc<dyn Source>,
    /// Their files stay in the cache as long as this lives.
    _layers: Option<build::Layers>,
}

impl Subject {
    pub(super) fn of(arguments: &args::Push) -> Result<Self, Error> {
        let mut subject = match &arguments.file {
            Some(path) => Self::of_file(arguments, path)?,
            None => Self::of_plan(arguments)?,
        };
        check_name(&subject.identity.name).map_err(crate::push::Error::from)?;
        if let Some(path) = &arguments.image.secure_boot_vars {
            subject.identity.uefi_data = Some(uefi_data(path)?);
        }
        Ok(subject)
    }

    /// A raw disk; a record beside it that is true says what its slabs are.
    fn of_file(arguments: &args::Push, path: &Path) -> Result<Self, Error> {
        let cache = cache_folder(arguments.disk.pod.cache.cache_dir.as_deref());
        let cache = cache.ok().and_then(|folder| Cache::open(&folder).ok());
        let record = OutputsRecord::of(path, &Memory(cache.as_ref()));
        let recorded = record.and_then(|record| record.digests().ok());
        let disk = FileDisk::open(path)?;
        let slabs = match recorded {
            Some(slabs) => slabs,
            None => slabs(&disk).map_err(|source| Error::Read {
                path: path.to_owned(),
                source,
            })?,
        };
        let identity = named(arguments, &disk, &slabs)?;
        let source = RawDisk::open(path, Some(slabs)).map_err(crate::push::Error::from)?;
        Ok(Self {
            identity,
            source: Arc::new(source),
            _layers: None,
        })
    }

    /// What a build would write, from the layers in the cache.
    fn of_plan(arguments: &args::Push) -> Result<Self, Error> {
        if !arguments.disk.names_a_pod() {
            return Err(Error::Argument {
                argument: "push".to_owned(),
                reason: "name a disk, a manifest with -f, an image with --from or a bundle with \
                         --bundle",
            });
        }
        let plan = build::planned(&arguments.disk, &arguments.sign)?;
        let (layers, assembled) = build::assembled(&plan, progress(arguments))?;
        let slabs = assembled.disk.slabs().map_err(Error::Planned)?;
        let identity = named(arguments, &assembled.disk, &slabs)?;
        Ok(Self {
            identity,
            source: Arc::new(assembled.disk),
            _layers: Some(layers),
        })
    }
}

fn named(
    arguments: &args::Push,
    disk: &dyn i2kit_format::ReadAt,
    slabs: &Slabs,
) -> Result<Identity, Error> {
    Ok(Identity::of(disk, slabs, arguments.image.name.as_deref())?)
}

/// The file that `i2kit keys enrol --ec2` writes, in one line.
fn uefi_data(path: &Path) -> Result<String, Error> {
    use base64::Engine as _;
    let bytes = super::super::sign::read(path)?;
    let text = String::from_utf8_lossy(&bytes);
    let text = text.trim();
    let decoded = base64::prelude::BASE64_STANDARD.decode(text);
    let is_data = decoded.is_ok_and(|data| data.starts_with(b"AMZNUEFI"));
    if !is_data || text.len() > MAX_UEFI_DATA {
        return Err(Error::UefiData {
            path: path.to_owned(),
        });
    }
    Ok(text.to_owned())
}
