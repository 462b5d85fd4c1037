//! The disk to push, and who it is.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::super::args;
use super::super::build;
use super::super::error::Error;
use super::super::plan::{Plan, cache_folder};
use super::progress;
use crate::cache::Cache;
use crate::disk::{FileDisk, slabs};
use crate::output::{Memory, OutputsRecord};
use crate::push::identity::{Identity, check_name, pod_name};
use crate::push::own::Own;
use crate::push::source::{RawDisk, Source};

/// The Secure Boot variables that EC2 takes are 64 KiB at most.
const MAX_UEFI_DATA: usize = 64 << 10;

/// The name of an image whose Pod has none.
const NAMELESS: &str = "i2kit";

/// The disk to push, and who it is.
pub(super) struct Subject {
    pub(super) identity: Identity,
    pub(super) source: Arc<dyn Source>,
    pub(super) own: Arc<Own>,
    /// Their files stay in the cache as long as this lives.
    _layers: Option<build::Layers>,
}

/// What is known of it before its bytes are.
pub(super) struct Draft {
    /// What versions of the image share.
    pub(super) name: String,
    origin: Origin,
}

enum Origin {
    File(FileDisk, PathBuf),
    Plan(Box<Plan>),
}

impl Draft {
    /// Opens the disk, or plans what it is made of.
    pub(super) fn of(arguments: &args::Push) -> Result<Self, Error> {
        let (origin, pod) = match &arguments.file {
            Some(path) => {
                let disk = FileDisk::open(path)?;
                let pod = pod_name(&disk)?;
                (Origin::File(disk, path.clone()), pod)
            }
            None => {
                let plan = planned(arguments)?;
                let pod = plan.pod.name.clone();
                (Origin::Plan(Box::new(plan)), Some(pod))
            }
        };
        let name = arguments.image.name.clone().or(pod);
        let name = name.unwrap_or_else(|| NAMELESS.to_owned());
        check_name(&name).map_err(crate::push::Error::from)?;
        Ok(Self { name, origin })
    }

    /// Reads the file, or puts together what a build would write from the layers in the cache.
    pub(super) fn finish(self, arguments: &args::Push) -> Result<Subject, Error> {
        let mut subject = match self.origin {
            Origin::File(disk, path) => of_file(arguments, &disk, &path, &self.name)?,
            Origin::Plan(plan) => of_plan(arguments, &plan, &self.name)?,
        };
        if let Some(path) = &arguments.image.secure_boot_vars {
            subject.identity.uefi_data = Some(uefi_data(path)?);
        }
        Ok(subject)
    }
}

fn planned(arguments: &args::Push) -> Result<Plan, Error> {
    if !arguments.disk.names_a_pod() {
        return Err(Error::Argument {
            argument: "push".to_owned(),
            reason: "name a disk, a manifest with -f, an image with --from or a bundle with \
                     --bundle",
        });
    }
    build::planned(&arguments.disk, &arguments.sign)
}

/// A raw disk; a record beside it that is true says what its slabs are.
fn of_file(
    arguments: &args::Push,
    disk: &FileDisk,
    path: &Path,
    name: &str,
) -> Result<Subject, Error> {
    let cache = cache_folder(arguments.disk.pod.cache.cache_dir.as_deref());
    let cache = cache.ok().and_then(|folder| Cache::open(&folder).ok());
    let record = OutputsRecord::of(path, &Memory(cache.as_ref()));
    let recorded = record.and_then(|record| record.digests().ok());
    let slabs = match recorded {
        Some(slabs) => slabs,
        None => slabs(disk).map_err(|source| Error::Read {
            path: path.to_owned(),
            source,
        })?,
    };
    let identity = Identity::of(disk, &slabs, name)?;
    let source = RawDisk::open(path, Some(slabs)).map_err(crate::push::Error::from)?;
    let own = Own::read(&source, &identity.root_hash).map_err(crate::push::Error::from)?;
    Ok(Subject {
        own: Arc::new(own.with_esp(identity.esp.clone())),
        identity,
        source: Arc::new(source),
        _layers: None,
    })
}

fn of_plan(arguments: &args::Push, plan: &Plan, name: &str) -> Result<Subject, Error> {
    let (layers, assembled) = build::assembled(plan, progress(arguments))?;
    let disk = assembled.disk;
    let read = || Own::read(&disk, &assembled.root_hash);
    let (slabs, own) = rayon::join(|| disk.slabs(), read);
    let slabs = slabs.map_err(Error::Planned)?;
    let identity = Identity::of(&disk, &slabs, name)?;
    let own = own.map_err(crate::push::Error::from)?;
    Ok(Subject {
        own: Arc::new(own.with_esp(identity.esp.clone())),
        identity,
        source: Arc::new(disk),
        _layers: Some(layers),
    })
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
