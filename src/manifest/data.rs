//! The documents that Pods take from: ConfigMap, Secret, PersistentVolumeClaim.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::decode::{Field, Fields, Report};
use super::error::quoted;
use super::scalar::Scalar;
use super::secrets::Secrets;
use super::spec::one_of;
use super::yaml::Value;
use super::{fields, names, redact};

/// Most bytes that a ConfigMap's or a Secret's values may have together (`MaxSecretSize`).
const MAX_DATA: usize = 1 << 20;

/// What the manifests hold besides Pods, by name.
#[derive(Debug, Default)]
pub struct Objects {
    /// ConfigMaps.
    pub config_maps: BTreeMap<String, ConfigMap>,
    /// Secrets.
    pub secrets: Secrets,
    /// Claims, and whether each is of `volumeMode: Block`.
    pub claims: BTreeMap<String, bool>,
}

/// A ConfigMap's values by key.
#[derive(Debug, Default)]
pub struct ConfigMap {
    /// `data`.
    pub text: BTreeMap<String, String>,
    /// `binaryData`.
    pub binary: BTreeMap<String, Vec<u8>>,
}

impl Objects {
    /// Reads a document of one of [`fields::DATA_KINDS`]; false when it is of another kind.
    pub fn read(&mut self, report: &mut Report, object: &Field<'_>) -> bool {
        let mut silent = Report::default();
        let any = object.fields(&mut silent, &fields::ANY);
        let kind = any.and_then(|f| f.get("kind")?.string(&mut silent));
        match kind.as_deref() {
            Some("ConfigMap") => self.config_map(report, object),
            Some("Secret") => self.secret(report, object),
            Some("PersistentVolumeClaim") => self.claim(report, object),
            Some("List") => {
                let items = any_items(object);
                items.iter().for_each(|item| {
                    self.read(report, item);
                });
                return false;
            }
            _ => return false,
        };
        true
    }

    fn config_map(&mut self, report: &mut Report, object: &Field<'_>) -> Option<()> {
        let fields = object.fields(report, &fields::CONFIG_MAP)?;
        let name = head(report, &fields)?;
        let mut map = ConfigMap::default();
        for (key, field) in values(report, &fields, "data") {
            map.text
                .extend(text(report, &field).map(|text| (key, text)));
        }
        for (key, field) in values(report, &fields, "binaryData") {
            if map.text.contains_key(&key) {
                report.error(
                    field.position(),
                    format!("{}: its key is in data, too", field.path),
                );
            }
            map.binary.extend(base64(report, &field).map(|v| (key, v)));
        }
        let size = map.text.values().map(String::len).sum::<usize>()
            + map.binary.values().map(Vec::len).sum::<usize>();
        bounded(report, object, size);
        if self.config_maps.insert(name, map).is_some() {
            twice(report, &fields);
        }
        Some(())
    }

    /// `stringData` wins over `data`.
    fn secret(&mut self, report: &mut Report, object: &Field<'_>) -> Option<()> {
        let fields = object.fields(report, &fields::SECRET)?;
        let name = head(report, &fields)?;
        let mut secret = BTreeMap::new();
        for (key, field) in values(report, &fields, "data") {
            secret.extend(base64(report, &field).map(|value| (key, value)));
        }
        for (key, field) in values(report, &fields, "stringData") {
            secret.extend(text(report, &field).map(|text| (key, text.into_bytes())));
        }
        bounded(report, object, secret.values().map(Vec::len).sum());
        if self.secrets.get(&name).is_some() {
            twice(report, &fields);
        }
        if is_omitted(&fields) {
            self.secrets.omit(name.clone());
        }
        self.secrets.insert(name, secret);
        Some(())
    }

    fn claim(&mut self, report: &mut Report, object: &Field<'_>) -> Option<()> {
        let fields = object.fields(report, &fields::CLAIM)?;
        let name = head(report, &fields)?;
        let block = claim_spec(report, &fields)?;
        if self.claims.insert(name, block).is_some() {
            twice(report, &fields);
        }
        Some(())
    }
}

/// Reads an item of `volumeClaimTemplates`: its name.
pub fn claim_template(report: &mut Report, item: &Field<'_>) -> Option<String> {
    let fields = item.fields(report, &fields::CLAIM)?;
    let metadata = fields.require(report, "metadata")?;
    let metadata = metadata.fields(report, &fields::METADATA)?;
    let name = metadata.require(report, "name")?;
    let name = name.checked(report, names::dns_label);
    claim_spec(report, &fields)?;
    name
}

/// Checks a claim's `spec`; true for a disk that is no file system.
fn claim_spec(report: &mut Report, claim: &Fields<'_>) -> Option<bool> {
    let spec = claim.require(report, "spec")?;
    let spec = spec.fields(report, &fields::CLAIM_SPEC)?;
    let modes = ["ReadWriteOnce", "ReadWriteOncePod", "ReadOnlyMany"];
    for mode in spec.items(report, "accessModes") {
        match mode.string(report).as_deref() {
            Some("ReadWriteMany") => {
                mode.refuse(report, "is not possible, a disk belongs to one VM")
            }
            Some(text) if !modes.contains(&text) => {
                mode.refuse(report, format!("must be one of {}", modes.join(", ")));
            }
            _ => {}
        }
    }
    let kinds = [("Filesystem", false), ("Block", true)];
    Some(one_of(report, &spec, "volumeMode", &kinds).unwrap_or_default())
}

fn any_items<'a>(list: &Field<'a>) -> Vec<Field<'a>> {
    let mut silent = Report::default();
    let fields = list.fields(&mut silent, &fields::ANY);
    fields.map_or_else(Vec::new, |f| f.items(&mut silent, "items"))
}

/// Checks `apiVersion`; answers `metadata.name`.
fn head(report: &mut Report, fields: &Fields<'_>) -> Option<String> {
    let version = fields.require(report, "apiVersion")?;
    if version.string(report)? != "v1" {
        version.refuse(report, "must be v1");
    }
    let metadata = fields.require(report, "metadata")?;
    let metadata = metadata.fields(report, &fields::METADATA)?;
    metadata
        .require(report, "name")?
        .checked(report, names::dns_subdomain)
}

/// Whether the Secret says of itself that its values were left out.
fn is_omitted(fields: &Fields<'_>) -> bool {
    let annotations = below(fields.get("metadata"), "annotations");
    let mark = below(annotations, redact::MARK.0);
    let mark = mark.and_then(|mark| mark.string(&mut Report::default()));
    mark.as_deref() == Some(redact::MARK.1)
}

fn below<'a>(field: Option<Field<'a>>, name: &str) -> Option<Field<'a>> {
    let fields = field?.fields(&mut Report::default(), &fields::ANY)?;
    fields.get(name)
}

fn twice(report: &mut Report, fields: &Fields<'_>) {
    if let Some(metadata) = fields.get("metadata") {
        metadata.refuse(report, "another document of this kind has the same name");
    }
}

fn bounded(report: &mut Report, object: &Field<'_>, size: usize) {
    if size > MAX_DATA {
        let message = format!("values have {size} bytes together, at most {MAX_DATA} are allowed");
        report.error(object.position(), message);
    }
}

/// The entries of a mapping whose keys may name files. A null is the empty value, as in Go.
fn values<'a>(report: &mut Report, object: &Fields<'a>, name: &str) -> Vec<(String, Field<'a>)> {
    let mut values = Vec::new();
    let entries = object.get(name).map(|field| field.entries(report));
    for (key, position, field) in entries.into_iter().flatten() {
        match names::data_key(key) {
            Ok(()) => values.push((key.to_owned(), field)),
            Err(reason) => report.error(
                position,
                format!("{}: key {} {reason}", object.path_to(name), quoted(key)),
            ),
        }
    }
    values
}

/// A string; no message repeats it, since it may be a secret.
fn text(report: &mut Report, field: &Field<'_>) -> Option<String> {
    let reason = match &field.node.value {
        Value::Scalar { scalar, .. } => match scalar {
            Scalar::Str(text) => return Some(text.clone()),
            Scalar::Null => return Some(String::new()),
            _ => "must be a string, so quote it",
        },
        _ => "must be a string",
    };
    report.error(field.position(), format!("{}: {reason}", field.path));
    None
}

/// Base64 with padding, line ends allowed.
fn base64(report: &mut Report, field: &Field<'_>) -> Option<Vec<u8>> {
    let mut text = text(report, field)?;
    text.retain(|c| !matches!(c, '\r' | '\n'));
    let decoded = STANDARD.decode(text);
    if decoded.is_err() {
        let message = format!("{}: is no base64", field.path);
        report.error_hint(field.position(), message, "use stringData for plain text");
    }
    decoded.ok()
}
