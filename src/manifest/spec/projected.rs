//! Volumes of generated files: `configMap`, `secret`, `downwardAPI`, `projected`.

use std::collections::BTreeSet;

use i2kit_contract::{SecretFiles, SecretKey};

use super::super::decode::{Field, Fields, Report};
use super::super::pod::{FileContent, VolumeFile, VolumeSource};
use super::super::{data::ConfigMap, fields, names};
use super::downward::{field_ref, resource_ref};
use super::known::{Known, listed, missing_key, optional};
use super::one_source;

/// `defaultMode` when it is not set.
const DEFAULT_MODE: u32 = 0o644;
const MAX_MODE: u32 = 0o777;

/// The files of one volume, gathered source by source.
pub struct Projection<'a> {
    known: &'a Known<'a>,
    containers: &'a [String],
    mode: u32,
    paths: BTreeSet<String>,
    files: Vec<VolumeFile>,
}

/// One of `items`.
struct Item<'a> {
    key: Field<'a>,
    name: String,
    path: String,
    mode: u32,
}

impl<'a> Projection<'a> {
    /// No files yet.
    pub fn new(known: &'a Known<'a>, containers: &'a [String]) -> Self {
        Self {
            known,
            containers,
            mode: DEFAULT_MODE,
            paths: BTreeSet::new(),
            files: Vec::new(),
        }
    }

    fn done(self) -> VolumeSource {
        VolumeSource::Files(self.files)
    }

    fn default_mode(&mut self, report: &mut Report, fields: &Fields<'_>) {
        self.mode = mode(report, fields, "defaultMode").unwrap_or(DEFAULT_MODE);
    }

    /// A `ConfigMapVolumeSource`.
    pub fn config_map_volume(
        mut self,
        report: &mut Report,
        field: &Field<'_>,
    ) -> Option<VolumeSource> {
        let fields = field.fields(report, &fields::CONFIG_MAP_VOLUME)?;
        self.default_mode(report, &fields);
        self.config_map(report, &fields)?;
        Some(self.done())
    }

    /// A `SecretVolumeSource`.
    pub fn secret_volume(mut self, report: &mut Report, field: &Field<'_>) -> Option<VolumeSource> {
        let fields = field.fields(report, &fields::SECRET_VOLUME)?;
        self.default_mode(report, &fields);
        self.secret(report, &fields, "secretName")?;
        Some(self.done())
    }

    /// A `DownwardAPIVolumeSource`.
    pub fn downward_volume(
        mut self,
        report: &mut Report,
        field: &Field<'_>,
    ) -> Option<VolumeSource> {
        let fields = field.fields(report, &fields::DOWNWARD_VOLUME)?;
        self.default_mode(report, &fields);
        self.downward(report, &fields);
        Some(self.done())
    }

    fn config_map(&mut self, report: &mut Report, fields: &Fields<'_>) -> Option<()> {
        let optional = optional(report, fields);
        let name = fields.require(report, "name")?;
        let Some(map) = self.known.config_map(report, &name, optional) else {
            return Some(());
        };
        let Some(items) = self.items(report, fields) else {
            for key in map.text.keys().chain(map.binary.keys()) {
                let bytes = value(map, key).unwrap_or_default();
                self.add(
                    report,
                    &name,
                    key.clone(),
                    self.mode,
                    FileContent::Bytes(bytes),
                );
            }
            return Some(());
        };
        for item in items {
            match value(map, &item.name) {
                Some(bytes) => {
                    let content = FileContent::Bytes(bytes);
                    self.add(report, &item.key, item.path, item.mode, content);
                }
                None if optional => {}
                None => {
                    let keys = map.text.keys().chain(map.binary.keys());
                    let there = listed(keys.map(String::as_str));
                    let message = format!("is no key of the ConfigMap, which has {there}");
                    item.key.refuse(report, message);
                }
            }
        }
        Some(())
    }

    fn secret(&mut self, report: &mut Report, fields: &Fields<'_>, name: &str) -> Option<()> {
        let optional = optional(report, fields);
        let field = fields.require(report, name)?;
        let name = field.checked(report, names::dns_subdomain)?;
        let from = |key: &str| SecretKey {
            name: name.clone(),
            key: key.to_owned(),
        };
        if let Some(items) = self.items(report, fields) {
            for item in items {
                if !optional {
                    missing_key(report, &item.key, &name, &item.name, self.known);
                }
                let from = from(&item.name);
                let content = FileContent::Secret { from, optional };
                self.add(report, &item.key, item.path, item.mode, content);
            }
        } else if let Some(secret) = self.known.objects.secrets.get(&name) {
            for key in secret.keys() {
                let from = from(key);
                let content = FileContent::Secret { from, optional };
                self.add(report, &field, key.clone(), self.mode, content);
            }
        } else {
            let mode = self.mode;
            self.files.push(VolumeFile::Secret(SecretFiles {
                name,
                mode,
                optional,
            }));
        }
        Some(())
    }

    fn downward(&mut self, report: &mut Report, fields: &Fields<'_>) {
        for item in fields.items(report, "items") {
            let Some(fields) = item.fields(report, &fields::DOWNWARD_FILE) else {
                continue;
            };
            let path = path(report, &fields);
            let mode = mode(report, &fields, "mode").unwrap_or(self.mode);
            let sources = ["fieldRef", "resourceFieldRef"];
            let content = match one_source(report, &item, &fields, &sources) {
                Some(("fieldRef", source)) => {
                    field_ref(report, &source, true).map(FileContent::Field)
                }
                Some((_, source)) => {
                    resource_ref(report, &source, Some(self.containers)).map(FileContent::Resource)
                }
                None => None,
            };
            if let (Some(path), Some(content)) = (path, content) {
                self.add(report, &item, path, mode, content);
            }
        }
    }

    /// `items`; `None` when there are none, which stands for all keys.
    fn items<'f>(&self, report: &mut Report, fields: &Fields<'f>) -> Option<Vec<Item<'f>>> {
        let list = fields.items(report, "items");
        if list.is_empty() {
            return None;
        }
        let mut items = Vec::new();
        for item in list {
            let Some(fields) = item.fields(report, &fields::KEY_TO_PATH) else {
                continue;
            };
            let mode = mode(report, &fields, "mode").unwrap_or(self.mode);
            let path = path(report, &fields);
            let key = fields
                .require(report, "key")
                .and_then(|f| Some((f.clone(), f.string(report)?)));
            if let (Some((key, name)), Some(path)) = (key, path) {
                items.push(Item {
                    key,
                    name,
                    path,
                    mode,
                });
            }
        }
        Some(items)
    }

    /// A file that is this path, above it or below it.
    fn in_the_way(&self, path: &str) -> Option<String> {
        let ends = path
            .match_indices('/')
            .map(|(at, _)| at)
            .chain([path.len()]);
        let mut above = ends.filter_map(|end| self.paths.get(path.get(..end)?));
        let folder = format!("{path}/");
        let below = || {
            let next = self.paths.range(folder.clone()..).next();
            next.filter(|next| next.starts_with(&folder))
        };
        above.next().or_else(below).cloned()
    }

    /// Adds a file; `at` is to blame when its path has another already.
    fn add(
        &mut self,
        report: &mut Report,
        at: &Field<'_>,
        path: String,
        mode: u32,
        content: FileContent,
    ) {
        let taken = self.in_the_way(&path);
        if let Some(taken) = taken {
            let message = format!("{}: file {path:?} is in the way of {taken:?}", at.path);
            return report.error(at.position(), message);
        }
        self.paths.insert(path.clone());
        self.files.push(VolumeFile::File {
            path,
            mode,
            content,
        });
    }
}

/// Reads a `ProjectedVolumeSource`.
pub fn projected(
    report: &mut Report,
    field: &Field<'_>,
    mut files: Projection<'_>,
) -> Option<VolumeSource> {
    let fields = field.fields(report, &fields::PROJECTED_VOLUME)?;
    files.default_mode(report, &fields);
    for item in fields.items(report, "sources") {
        let Some(fields) = item.fields(report, &fields::VOLUME_PROJECTION) else {
            continue;
        };
        let sources = ["configMap", "downwardAPI", "secret"];
        let Some((name, source)) = one_source(report, &item, &fields, &sources) else {
            continue;
        };
        match name {
            "configMap" => {
                let fields = source.fields(report, &fields::CONFIG_MAP_PROJECTION);
                fields.and_then(|f| files.config_map(report, &f));
            }
            "secret" => {
                let fields = source.fields(report, &fields::SECRET_PROJECTION);
                fields.and_then(|f| files.secret(report, &f, "name"));
            }
            _ => {
                if let Some(fields) = source.fields(report, &fields::DOWNWARD_PROJECTION) {
                    files.downward(report, &fields);
                }
            }
        }
    }
    Some(files.done())
}

fn value(map: &ConfigMap, key: &str) -> Option<Vec<u8>> {
    let text = map.text.get(key).map(|text| text.clone().into_bytes());
    text.or_else(|| map.binary.get(key).cloned())
}

fn path(report: &mut Report, fields: &Fields<'_>) -> Option<String> {
    let field = fields.require(report, "path")?;
    let path = field.checked(report, names::relative_path)?;
    let parts = path.split('/').filter(|p| !p.is_empty() && *p != ".");
    let clean = parts.collect::<Vec<_>>().join("/");
    if clean.is_empty() {
        field.refuse(report, "is the volume itself");
        return None;
    }
    Some(clean)
}

fn mode(report: &mut Report, fields: &Fields<'_>, name: &str) -> Option<u32> {
    fields.get(name)?.ranged(report, 0, MAX_MODE)
}
