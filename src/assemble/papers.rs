//! The bill of materials: which packages are in the containers' roots and in the base.
//!
//! It follows from the images alone: what a manifest says of commands or variables is no part of it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use i2kit_contract::SYSTEM;
use i2kit_format::ReadAt;
use i2kit_format::erofs::{CompressedFile, Content, FileData, InodeId};
use i2kit_sbom::{
    Bill, Distribution, Ecosystem, MAX_METADATA, Origin, Package, Part, PartKind, Purl, Unread,
    copyright, oci_purl,
};

use super::base::BaseRecord;
use super::boot::Base;
use super::merged::Merged;
use super::{ContainerInput, Inputs};

/// os-release(5): the first one counts.
const OS_RELEASE: [&str; 2] = ["etc/os-release", "usr/lib/os-release"];

/// The bill of a disk.
#[must_use]
pub fn bill(
    inputs: &Inputs<'_>,
    base: &Base<'_>,
    record: &serde_json::Value,
    roots: &BTreeMap<String, InodeId>,
    volumes: &BTreeMap<String, InodeId>,
) -> Bill {
    let mut parts = vec![base_part(inputs, base, record)];
    // Containers of one image have the same packages.
    let mut known: BTreeMap<Vec<&str>, Found> = BTreeMap::new();
    let containers = inputs.containers.iter();
    let containers = containers.map(|one| (PartKind::Container, one, roots));
    let others = inputs.image_volumes.iter();
    let others = others.map(|one| (PartKind::Volume, one, volumes));
    for (kind, input, roots) in containers.chain(others) {
        let Some(root) = roots.get(&input.name) else {
            continue;
        };
        let layers = input.layers.iter().map(|layer| layer.diff_id.as_str());
        let found = known
            .entry(layers.collect())
            .or_insert_with(|| Found::of(base.merged, *root));
        parts.push(image_part(kind, input, found.clone()));
    }
    Bill {
        name: inputs.pod.name.clone(),
        tool_version: env!("CARGO_PKG_VERSION").to_owned(),
        created: created(&inputs.containers),
        parts,
    }
}

/// When the newest of the images was made, where their configs tell: there is no clock here.
fn created(containers: &[ContainerInput]) -> u64 {
    let times = containers.iter().filter_map(|one| {
        let created = one.config.created().as_deref()?;
        i2kit_sbom::seconds(created)
    });
    times.max().unwrap_or(0)
}

fn image_part(kind: PartKind, input: &ContainerInput, found: Found) -> Part {
    let image = &input.image;
    let purl = oci_purl(&image.repository, &image.digest);
    let mut part =
        Part::new(kind, &input.name, &image.digest, purl).with(found.packages, found.unread);
    part.distribution = found.distribution.name;
    part
}

/// What a root holds.
#[derive(Clone, Default)]
struct Found {
    distribution: Distribution,
    packages: Vec<Package>,
    unread: Vec<Unread>,
}

impl Found {
    fn of(merged: &Merged, root: InodeId) -> Self {
        let read = |path: &&str| text(merged, root, path);
        let release = OS_RELEASE.iter().find_map(read).unwrap_or_default();
        let mut found = Self {
            distribution: Distribution::parse(&release),
            ..Self::default()
        };
        found.scan(merged, root);
        for package in &mut found.packages {
            if package.ecosystem == Ecosystem::Deb {
                package.licence = debian_licence(merged, root, &package.name);
            }
        }
        found
    }

    /// Looks at every file below `root` that may say what is installed, each once, in order.
    fn scan(&mut self, merged: &Merged, root: InodeId) {
        let mut seen = BTreeSet::new();
        let mut stack = vec![(String::new(), root)];
        while let Some((path, id)) = stack.pop() {
            let Some(inode) = merged.tree.get(id) else {
                continue;
            };
            match &inode.content {
                Content::Directory(entries) => {
                    // A name that is no text stands in papers as near as text comes to it.
                    let below = entries.iter().rev().map(|(name, id)| {
                        let name = String::from_utf8_lossy(name);
                        let slash = if path.is_empty() { "" } else { "/" };
                        (format!("{path}{slash}{name}"), *id)
                    });
                    stack.extend(below);
                }
                Content::Regular(FileData { size, .. })
                | Content::Compressed(CompressedFile { size, .. }) => {
                    let is_executable = inode.metadata.mode & 0o111 != 0;
                    if let Some(origin) = Origin::of(&path, is_executable, *size)
                        && seen.insert(id)
                    {
                        self.read(merged, id, origin, path);
                    }
                }
                _ => {}
            }
        }
    }

    fn read(&mut self, merged: &Merged, id: InodeId, origin: Origin, path: String) {
        let Some(file) = merged.unchecked(id) else {
            return;
        };
        match origin.packages(&file, &path, &self.distribution) {
            Ok(packages) => self.packages.extend(packages),
            Err(error) => self.unread.push(Unread {
                path,
                reason: error.to_string(),
            }),
        }
    }
}

/// A small file, symlinks followed; `None` when it is not there or not small.
fn text(merged: &Merged, root: InodeId, path: &str) -> Option<Vec<u8>> {
    let file = merged.unchecked(merged.lookup(root, Path::new(path))?)?;
    let len = Some(file.len()).filter(|len| *len <= MAX_METADATA)?;
    let mut bytes = vec![0; usize::try_from(len).ok()?];
    file.read_exact_at(&mut bytes, 0).ok()?;
    Some(bytes)
}

/// What the copyright file of a Debian package says.
pub(super) fn debian_licence(merged: &Merged, root: InodeId, package: &str) -> Option<String> {
    let path = format!("usr/share/doc/{package}/copyright");
    copyright::licence(&text(merged, root, &path)?)
}

/// The base: the Debian packages that its record names, the programs of its `system/`, and i2kit's
/// own program.
fn base_part(inputs: &Inputs<'_>, base: &Base<'_>, record: &serde_json::Value) -> Part {
    let mut found = Found::default();
    let record = BaseRecord::of(record);
    if let Some(system) = base.merged.lookup(base.root, Path::new(SYSTEM)) {
        found.scan(base.merged, system);
        found.packages.extend(record.packages(base.merged, system));
    }
    found.packages.push(init());
    let purl = oci_purl("i2kit-base", &inputs.base_digest);
    Part::new(PartKind::Base, "base", &inputs.base_digest, purl).with(found.packages, found.unread)
}

/// The guest's PID 1, which the initramfs holds.
fn init() -> Package {
    let version = env!("CARGO_PKG_VERSION");
    Package {
        ecosystem: Ecosystem::Cargo,
        name: "i2kit-init".to_owned(),
        version: version.to_owned(),
        purl: Purl::new("cargo", "", "i2kit-init", version, &[]),
        licence: Some(env!("CARGO_PKG_LICENSE").to_owned()),
        source: None,
        supplier: None,
        origin: "init".to_owned(),
    }
}
