//! Volumes and mounts.

use i2kit_contract::{Claim, Content, File, Files, Mount, Source, Volume};

use super::env::Variables;
use super::facts::Facts;
use super::{Error, Planned};
use crate::manifest::{self, FileContent, Pod, SubPath, VolumeFile, VolumeSource};

/// The Pod's volumes as the guest makes them.
pub(super) fn volumes(pod: &Pod) -> Vec<Volume> {
    let volume = |volume: &manifest::Volume| Volume {
        name: volume.name.clone(),
        source: source(pod, &volume.source),
        size_limit_bytes: match volume.source {
            VolumeSource::EmptyDir(limit) => limit,
            _ => None,
        },
    };
    pod.volumes.iter().map(volume).collect()
}

fn source(pod: &Pod, source: &VolumeSource) -> Source {
    match source {
        VolumeSource::EmptyDir(_) => Source::EmptyDir,
        VolumeSource::Image(_) => Source::Image,
        // Their size is known since the manifest was read.
        VolumeSource::HugePages(page) => Source::HugePages {
            page_bytes: page.unwrap_or_default(),
        },
        VolumeSource::Memory(size_bytes) => Source::Memory {
            size_bytes: *size_bytes,
        },
        VolumeSource::Files(files) => Source::Files(generated(pod, files)),
        VolumeSource::HostPath { path, kind } => Source::HostPath {
            path: path.clone(),
            kind: *kind,
        },
        VolumeSource::Claim {
            name,
            read_only,
            block,
        } => Source::Claim(Claim {
            name: name.clone(),
            read_only: *read_only,
            block: *block,
        }),
    }
}

fn generated(pod: &Pod, files: &[VolumeFile]) -> Files {
    let mut out = Files::default();
    for file in files {
        match file {
            VolumeFile::Secret(secret) => out.secrets.push(secret.clone()),
            VolumeFile::File {
                path,
                mode,
                content,
            } => out.files.push(File {
                path: path.clone(),
                mode: *mode,
                content: self::content(pod, content),
            }),
        }
    }
    out
}

fn content(pod: &Pod, content: &FileContent) -> Content {
    match content {
        FileContent::Bytes(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => Content::Text(text.into()),
            Err(_) => Content::Hex(hex::encode(bytes)),
        },
        FileContent::Field(field) => Content::Text(Facts(pod).field(field)),
        FileContent::Resource(field) => Content::Text(Facts(pod).resource(field, "")),
        FileContent::Secret { from, optional } => Content::Secret {
            from: from.clone(),
            optional: *optional,
        },
    }
}

impl Planned<'_> {
    /// What the container sees of the volumes. Generated files and images are read-only, as the
    /// kubelet has them.
    pub(super) fn mounts(&self, vars: &Variables) -> Result<Vec<Mount>, Error> {
        let mounts = self.container.mounts.iter();
        mounts.map(|mount| self.mount(mount, vars)).collect()
    }

    fn mount(&self, mount: &manifest::VolumeMount, vars: &Variables) -> Result<Mount, Error> {
        let sub_path = match &mount.sub_path {
            None => None,
            Some(SubPath::Literal(path)) => Some(path.as_str().into()),
            Some(SubPath::Template(template)) => {
                let what = || format!("subPathExpr of {}", mount.path);
                Some(self.expanded_one(what, template, vars)?)
            }
        };
        let volume = self.pod.volumes.iter().find(|one| one.name == mount.volume);
        let fixed = volume.is_some_and(|one| {
            matches!(one.source, VolumeSource::Files(_) | VolumeSource::Image(_))
        });
        Ok(Mount {
            volume: mount.volume.clone(),
            mount_path: mount.path.clone(),
            read_only: mount.read_only || fixed,
            recursive_read_only: mount.recursive_read_only,
            sub_path,
            propagation: mount.propagation,
        })
    }
}
