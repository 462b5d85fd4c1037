//! The JSON of a policy, read as strictly as containers/image reads it: what is unknown, double or
//! missing makes the whole file invalid (containers-policy.json(5), Format).

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::path::PathBuf;

use serde::de::{Deserialize, Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};

use super::identity::Identity;
use super::origin::scope_error;
use crate::oci::signature::base64;

/// What `signedBy` calls its keys.
const KEY_TYPES: [&str; 4] = [
    "GPGKeys",
    "signedByGPGKeys",
    "X509Certificates",
    "signedByX509CAs",
];

/// A policy file.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    pub default: Vec<Requirement>,
    #[serde(default)]
    pub transports: Unique<Unique<Vec<Requirement>>>,
}

/// One requirement.
#[derive(Debug, serde::Deserialize)]
#[serde(tag = "type", rename_all = "camelCase", deny_unknown_fields)]
pub(super) enum Requirement {
    InsecureAcceptAnything {},
    Reject {},
    SignedBy(SignedBy),
    SignedBaseLayer(SignedBaseLayer),
    SigstoreSigned(Box<SigstoreSigned>),
}

/// By GPG: only its shape is read.
#[derive(Debug, serde::Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct SignedBy {
    key_type: String,
    key_path: Option<String>,
    key_paths: Option<Vec<String>>,
    key_data: Option<String>,
    #[serde(default)]
    signed_identity: Identity,
}

/// Never worked anywhere: only its shape is read.
#[derive(Debug, serde::Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct SignedBaseLayer {
    base_layer_identity: Identity,
}

/// By sigstore.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct SigstoreSigned {
    key_path: Option<String>,
    key_paths: Option<Vec<String>>,
    key_data: Option<String>,
    key_datas: Option<Vec<String>>,
    fulcio: Option<Fulcio>,
    pki: Option<Pki>,
    rekor_public_key_path: Option<String>,
    rekor_public_key_paths: Option<Vec<String>>,
    rekor_public_key_data: Option<String>,
    rekor_public_key_datas: Option<Vec<String>>,
    pub signed_identity: Identity,
}

/// Only its shape is read.
#[derive(Debug, serde::Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Fulcio {
    ca_path: Option<String>,
    ca_data: Option<String>,
    oidc_issuer: String,
    subject_email: String,
}

/// Only its shape is read.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Pki {
    ca_roots_path: Option<String>,
    ca_roots_data: Option<String>,
    ca_intermediates_path: Option<String>,
    ca_intermediates_data: Option<String>,
    subject_email: Option<String>,
    subject_hostname: Option<String>,
}

/// Where a key is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum KeySource {
    Path(PathBuf),
    /// The field it stands in, and its PEM.
    Data(String, Vec<u8>),
}

impl fmt::Display for KeySource {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => path.display().fmt(formatter),
            Self::Data(field, _) => formatter.write_str(field),
        }
    }
}

impl File {
    /// What is wrong with it beyond its JSON, and where.
    pub fn error(&self) -> Option<String> {
        let at = |place: &str, list: &[Requirement]| {
            let error = requirements_error(list)?;
            Some(format!("{place}{error}"))
        };
        let scopes = self.transports.0.iter().find_map(|(transport, scopes)| {
            scopes.0.iter().find_map(|(scope, list)| {
                let place = format!("transports.{transport}.{scope:?}");
                match scope_error(transport, scope) {
                    Some(reason) => Some(format!("{place}: {reason}")),
                    None => at(&place, list),
                }
            })
        });
        at("default", &self.default).or(scopes)
    }
}

fn requirements_error(list: &[Requirement]) -> Option<String> {
    if list.is_empty() {
        return Some(": no requirement".to_owned());
    }
    let mut errors = list.iter().enumerate();
    errors.find_map(|(number, one)| Some(format!("[{number}]: {}", one.error()?)))
}

impl Requirement {
    fn error(&self) -> Option<String> {
        match self {
            Self::InsecureAcceptAnything {} | Self::Reject {} => None,
            Self::SignedBaseLayer(one) => one.base_layer_identity.error(),
            Self::SignedBy(one) => one.error(),
            Self::SigstoreSigned(one) => one.error(),
        }
    }
}

impl SignedBy {
    fn error(&self) -> Option<String> {
        if !KEY_TYPES.contains(&self.key_type.as_str()) {
            return Some(format!("unknown keyType {:?}", self.key_type));
        }
        let sources = [
            some(&self.key_path),
            self.key_paths.is_some(),
            some(&self.key_data),
        ];
        match count(&sources) {
            1 => self.signed_identity.error(),
            _ => Some("needs one of keyPath, keyPaths and keyData".to_owned()),
        }
    }
}

impl SigstoreSigned {
    /// The keys it names.
    pub fn keys(&self) -> Vec<KeySource> {
        let one = self.key_path.iter();
        let paths = one.chain(self.key_paths.iter().flatten());
        let mut keys: Vec<_> = paths.map(|path| KeySource::Path(path.into())).collect();
        // Checked to be base64 before.
        let data =
            |name: String, text: &str| KeySource::Data(name, base64(text).unwrap_or_default());
        keys.extend(
            self.key_data
                .iter()
                .map(|text| data("keyData".to_owned(), text)),
        );
        let many = self.key_datas.iter().flatten().enumerate();
        keys.extend(many.map(|(number, text)| data(format!("keyDatas[{number}]"), text)));
        keys
    }

    /// What it asks for that keys alone can't give.
    pub fn unsupported(&self) -> Option<&'static str> {
        match (&self.fulcio, &self.pki, self.rekor_sources()) {
            (Some(_), _, _) => Some("sigstoreSigned with fulcio"),
            (_, Some(_), _) => Some("sigstoreSigned with pki"),
            (_, _, 1..) => Some("sigstoreSigned with a Rekor key"),
            _ => None,
        }
    }

    fn rekor_sources(&self) -> usize {
        count(&[
            some(&self.rekor_public_key_path),
            self.rekor_public_key_paths.is_some(),
            some(&self.rekor_public_key_data),
            self.rekor_public_key_datas.is_some(),
        ])
    }

    fn error(&self) -> Option<String> {
        let sources = [
            some(&self.key_path),
            self.key_paths.is_some(),
            some(&self.key_data),
            self.key_datas.is_some(),
            self.fulcio.is_some(),
            self.pki.is_some(),
        ];
        let datas = self.key_data.iter().chain(self.key_datas.iter().flatten());
        let is_empty = |list: &Option<Vec<String>>| list.as_ref().is_some_and(Vec::is_empty);
        let lists = [
            &self.key_paths,
            &self.key_datas,
            &self.rekor_public_key_paths,
            &self.rekor_public_key_datas,
        ];
        let reason = if count(&sources) != 1 {
            "needs one of keyPath, keyPaths, keyData, keyDatas, fulcio and pki"
        } else if lists.into_iter().any(is_empty) {
            "an empty list of keys"
        } else if datas.into_iter().any(|text| base64(text).is_none()) {
            "keyData is not base64"
        } else if self.rekor_sources() > 1 {
            "takes one of the rekorPublicKey fields at most"
        } else if self.fulcio.is_some() && self.rekor_sources() == 0 {
            "fulcio needs one of the rekorPublicKey fields"
        } else if self.pki.is_some() && self.rekor_sources() > 0 {
            "pki takes none of the rekorPublicKey fields"
        } else {
            let fulcio = self.fulcio.as_ref().and_then(Fulcio::error);
            let pki = || self.pki.as_ref().and_then(Pki::error);
            let identity = || self.signed_identity.error();
            return fulcio.or_else(pki).or_else(identity);
        };
        Some(reason.to_owned())
    }
}

impl Fulcio {
    fn error(&self) -> Option<String> {
        let is_whole = count(&[some(&self.ca_path), some(&self.ca_data)]) == 1
            && !self.oidc_issuer.is_empty()
            && !self.subject_email.is_empty();
        let reason = "fulcio needs one of caPath and caData, oidcIssuer and subjectEmail";
        (!is_whole).then(|| reason.to_owned())
    }
}

impl Pki {
    fn error(&self) -> Option<String> {
        let roots = count(&[some(&self.ca_roots_path), some(&self.ca_roots_data)]);
        let intermediates = [
            some(&self.ca_intermediates_path),
            some(&self.ca_intermediates_data),
        ];
        let has_subject = some(&self.subject_email) || some(&self.subject_hostname);
        let is_whole = roots == 1 && count(&intermediates) <= 1 && has_subject;
        let reason = "pki needs one of caRootsPath and caRootsData, at most one of \
                      caIntermediatesPath and caIntermediatesData, and a subject";
        (!is_whole).then(|| reason.to_owned())
    }
}

fn some(field: &Option<String>) -> bool {
    field.as_ref().is_some_and(|text| !text.is_empty())
}

fn count(sources: &[bool]) -> usize {
    sources.iter().filter(|is_there| **is_there).count()
}

/// A JSON object, no key twice.
#[derive(Debug)]
pub(super) struct Unique<T>(pub BTreeMap<String, T>);

impl<T> Default for Unique<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Unique<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(UniqueVisitor(PhantomData))
    }
}

struct UniqueVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for UniqueVisitor<T> {
    type Value = Unique<T>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut out = BTreeMap::new();
        while let Some(key) = map.next_key::<String>()? {
            if out.contains_key(&key) {
                map.next_value::<IgnoredAny>()?;
                return Err(A::Error::custom(format_args!("duplicate key {key:?}")));
            }
            out.insert(key, map.next_value()?);
        }
        Ok(Unique(out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> Option<String> {
        match serde_json::from_str::<File>(text) {
            Ok(file) => file.error(),
            Err(error) => Some(error.to_string()),
        }
    }

    fn requirement(text: &str) -> String {
        format!(r#"{{"default":[{text}]}}"#)
    }

    #[test]
    fn what_is_a_policy() {
        let gpg = r#"{"type":"signedBy","keyType":"GPGKeys","keyPath":"/k"}"#;
        let fulcio = r#"{"type":"sigstoreSigned","fulcio":{"caPath":"/c","oidcIssuer":"i","subjectEmail":"e"},"rekorPublicKeyPath":"/r","signedIdentity":{"type":"matchRepository"}}"#;
        let pki = r#"{"type":"sigstoreSigned","pki":{"caRootsPath":"/c","subjectHostname":"h"}}"#;
        let base = r#"{"type":"signedBaseLayer","baseLayerIdentity":{"type":"matchExact"}}"#;
        for good in [
            gpg,
            fulcio,
            pki,
            base,
            r#"{"type":"reject"}"#,
            r#"{"type":"insecureAcceptAnything"}"#,
            r#"{"type":"sigstoreSigned","keyPath":"/k"}"#,
            r#"{"type":"sigstoreSigned","keyPaths":["/k","/l"]}"#,
            r#"{"type":"sigstoreSigned","keyData":"aGk="}"#,
            r#"{"keyDatas":["aGk=","aGk"],"type":"sigstoreSigned"}"#,
        ] {
            assert_eq!(error(&requirement(good)), None, "{good}");
        }
        let scopes = r#"{"default":[{"type":"reject"}],"transports":{"docker":{"":[{"type":"reject"}],"*.x":[{"type":"reject"}]},"atomic":{"y":[{"type":"reject"}]},"oci":{"/a":[{"type":"reject"}]}}}"#;
        assert_eq!(error(scopes), None);
    }

    #[test]
    fn what_is_none() {
        let reject = r#"{"type":"reject"}"#;
        for bad in [
            "",
            "[]",
            "{}",
            r#"{"default":[]}"#,
            r#"{"default":null}"#,
            &format!(r#"{{"default":[{reject}],"default":[{reject}]}}"#),
            &format!(r#"{{"default":[{reject}],"more":1}}"#),
            &format!(r#"{{"default":[{reject}],"transports":null}}"#),
            &format!(r#"{{"default":[{reject}],"transports":{{"docker":{{}},"docker":{{}}}}}}"#),
            &format!(
                r#"{{"default":[{reject}],"transports":{{"docker":{{"a":[{reject}],"a":[{reject}]}}}}}}"#
            ),
            &format!(r#"{{"default":[{reject}],"transports":{{"docker":{{"a":[]}}}}}}"#),
            &format!(r#"{{"default":[{reject}],"transports":{{"oci":{{"a":[{reject}]}}}}}}"#),
            &format!(r#"{{"default":[{reject}]}} x"#),
        ] {
            assert!(error(bad).is_some(), "{bad}");
        }
    }

    #[test]
    fn what_is_no_requirement() {
        for bad in [
            r#"{}"#,
            r#"{"type":"accept"}"#,
            r#"{"type":"reject","more":1}"#,
            r#"{"type":"insecureAcceptAnything","keyPath":"/k"}"#,
            r#"{"type":"reject","type":"insecureAcceptAnything"}"#,
            r#"{"type":"signedBy","keyType":"GPGKeys"}"#,
            r#"{"type":"signedBy","keyType":"other","keyPath":"/k"}"#,
            r#"{"type":"signedBy","keyType":"GPGKeys","keyPath":"/k","keyData":"aGk="}"#,
            r#"{"type":"signedBaseLayer"}"#,
            r#"{"type":"sigstoreSigned"}"#,
            r#"{"type":"sigstoreSigned","keyPath":""}"#,
            r#"{"type":"sigstoreSigned","keyPath":"/k","keyPath":"/l"}"#,
            r#"{"type":"sigstoreSigned","keyPath":"/k","keyData":"aGk="}"#,
            r#"{"type":"sigstoreSigned","keyPaths":[]}"#,
            r#"{"type":"sigstoreSigned","keyDatas":[]}"#,
            r#"{"type":"sigstoreSigned","keyData":"not base64!"}"#,
            r#"{"type":"sigstoreSigned","keyPath":"/k","keypath":"/l"}"#,
            r#"{"type":"sigstoreSigned","keyPath":"/k","signedIdentity":null}"#,
            r#"{"type":"sigstoreSigned","keyPath":"/k","signedIdentity":{"type":"exactReference","dockerReference":"a"}}"#,
            r#"{"type":"sigstoreSigned","keyPath":"/k","rekorPublicKeyPath":"/r","rekorPublicKeyData":"aGk="}"#,
            r#"{"type":"sigstoreSigned","fulcio":{"caPath":"/c","oidcIssuer":"i","subjectEmail":"e"}}"#,
            r#"{"type":"sigstoreSigned","fulcio":{"oidcIssuer":"i","subjectEmail":"e"},"rekorPublicKeyPath":"/r"}"#,
            r#"{"type":"sigstoreSigned","pki":{"caRootsPath":"/c"}}"#,
        ] {
            assert!(error(&requirement(bad)).is_some(), "{bad}");
        }
    }
}
