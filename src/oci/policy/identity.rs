//! `signedIdentity`: which name a signature may give the image (containers-policy.json(5),
//! `signedBy`).

use serde::Deserialize;

use super::name::{Name, is_prefix};
use super::origin::Origin;
use crate::oci::signature::Doubt;

/// A requirement's `signedIdentity`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(
    tag = "type",
    rename_all = "camelCase",
    rename_all_fields = "camelCase",
    deny_unknown_fields
)]
pub(super) enum Identity {
    /// The image's name, tag or digest included.
    MatchExact {},
    /// The image's name with its tag, or its repository when it is named by digest.
    MatchRepoDigestOrExact {},
    /// The image's repository.
    MatchRepository {},
    /// This name.
    ExactReference { docker_reference: String },
    /// This repository.
    ExactRepository { docker_repository: String },
    /// As `matchRepoDigestOrExact`, with another beginning in place of the image's own.
    #[serde(rename = "remapIdentity")]
    Remap {
        prefix: String,
        signed_prefix: String,
    },
    /// Any name or none: i2kit's own type. cosign's verification is like that, and the bundles of
    /// cosign 3 carry no name. Whatever image the key ever signed may stand for another.
    MatchDigest {},
}

impl Default for Identity {
    fn default() -> Self {
        Self::MatchRepoDigestOrExact {}
    }
}

/// What a signature must say.
enum Wanted {
    Anything,
    Repository(String),
    Reference(String),
    /// Nothing would do.
    Nothing(String),
}

impl Identity {
    /// What is wrong with it, if anything.
    pub fn error(&self) -> Option<String> {
        let bad = |text: &str, reason: &str| Some(format!("{text:?}: {reason}"));
        match self {
            Self::ExactReference { docker_reference } => match Name::parse(docker_reference) {
                Ok(name) if name.is_bare() => bad(docker_reference, "no tag and no digest"),
                Ok(_) => None,
                Err(reason) => bad(docker_reference, reason),
            },
            Self::ExactRepository { docker_repository } => {
                let error = Name::parse(docker_repository).err()?;
                bad(docker_repository, error)
            }
            Self::Remap {
                prefix,
                signed_prefix,
            } => {
                let wrong = [prefix, signed_prefix]
                    .into_iter()
                    .find(|one| !is_prefix(one))?;
                bad(wrong, "not a host, namespace or repository")
            }
            _ => None,
        }
    }

    /// Decides over the name that a signature gives the image of `origin`.
    pub fn check(&self, origin: &Origin, signed: Option<&str>) -> Result<(), Doubt> {
        let name = |text: &str| Name::parse(text).ok();
        let (is_it, wanted) = match (self.wanted(origin), signed) {
            (Wanted::Anything, _) => return Ok(()),
            (Wanted::Nothing(reason), _) => return Err(Doubt::Unnamed(reason)),
            (Wanted::Repository(wanted) | Wanted::Reference(wanted), None) => {
                return Err(Doubt::Nameless { wanted });
            }
            (Wanted::Repository(wanted), Some(signed)) => {
                let is_it = name(signed).is_some_and(|name| name.repository == wanted);
                (is_it, wanted)
            }
            (Wanted::Reference(wanted), Some(signed)) => {
                let is_it = name(signed).is_some_and(|name| name.to_string() == wanted);
                (is_it, wanted)
            }
        };
        match is_it {
            true => Ok(()),
            false => Err(Doubt::Identity {
                signed: signed.unwrap_or_default().chars().take(300).collect(),
                wanted,
            }),
        }
    }

    fn wanted(&self, origin: &Origin) -> Wanted {
        match (self, &origin.name) {
            (Self::MatchDigest {}, _) => Wanted::Anything,
            (Self::ExactReference { docker_reference }, _) => {
                parsed(docker_reference, |name| Wanted::Reference(name.to_string()))
            }
            (Self::ExactRepository { docker_repository }, _) => parsed(docker_repository, |name| {
                Wanted::Repository(name.repository)
            }),
            (_, None) => Wanted::Nothing(format!(
                "images of transport {} have no name to match with; exactReference and \
                 exactRepository work",
                origin.transport
            )),
            (Self::MatchExact {}, Some(name)) => Wanted::Reference(name.to_string()),
            (Self::MatchRepository {}, Some(name)) => Wanted::Repository(name.repository.clone()),
            (Self::MatchRepoDigestOrExact {}, Some(name)) => repository_or_exact(name.clone()),
            (
                Self::Remap {
                    prefix,
                    signed_prefix,
                },
                Some(name),
            ) => match remapped(name, prefix, signed_prefix) {
                Some(name) => repository_or_exact(name),
                None => Wanted::Nothing(format!(
                    "{name} with {signed_prefix:?} for {prefix:?} is no reference"
                )),
            },
        }
    }
}

fn parsed(text: &str, wanted: impl Fn(Name) -> Wanted) -> Wanted {
    match Name::parse(text) {
        Ok(name) => wanted(name),
        Err(reason) => Wanted::Nothing(format!("{text:?}: {reason}")),
    }
}

/// A digest is checked by itself; the signature may have been made for any tag of the repository.
fn repository_or_exact(name: Name) -> Wanted {
    match name.tag {
        Some(_) => Wanted::Reference(name.to_string()),
        None => Wanted::Repository(name.repository),
    }
}

/// The name with `to` where `from` was, when `from` is its beginning.
fn remapped(name: &Name, from: &str, to: &str) -> Option<Name> {
    let Some(rest) = name.repository.strip_prefix(from) else {
        return Some(name.clone());
    };
    if !rest.is_empty() && !rest.starts_with('/') {
        return Some(name.clone());
    }
    let repository = format!("{to}{rest}");
    // It must already be in the expanded form: `busybox` alone would become another name.
    let parsed = Name::parse(&repository).ok()?;
    let is_expanded = parsed.is_bare() && parsed.repository == repository;
    is_expanded.then(|| Name {
        repository,
        ..name.clone()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepts(identity: &str, reference: &str, signed: &str) -> bool {
        let identity: Identity = serde_json::from_str(identity).unwrap();
        assert_eq!(identity.error(), None);
        let origin = Origin::parse("docker", reference).unwrap();
        identity.check(&origin, Some(signed)).is_ok()
    }

    #[test]
    fn names_as_containers_image_matches_them() {
        let digest = format!("sha256:{}", "0".repeat(64));
        let pinned = format!("h.example/a@{digest}");
        let exact = r#"{"type":"matchExact"}"#;
        let either = r#"{"type":"matchRepoDigestOrExact"}"#;
        let repository = r#"{"type":"matchRepository"}"#;
        let one = r#"{"type":"exactReference","dockerReference":"x.example/b:1"}"#;
        let of_one = r#"{"type":"exactRepository","dockerRepository":"x.example/b"}"#;
        let any = r#"{"type":"matchDigest"}"#;
        let cases = [
            (exact, "h.example/a:1", "h.example/a:1", true),
            (exact, "h.example/a:1", "h.example/a:2", false),
            (exact, "h.example/a:1", "h.example/a", false),
            (exact, &pinned, &pinned, true),
            (exact, &pinned, "h.example/a:1", false),
            (exact, "nginx", "index.docker.io/library/nginx:latest", true),
            (either, "h.example/a:1", "h.example/a:1", true),
            (either, "h.example/a:1", "h.example/a", false),
            (either, &pinned, "h.example/a:1", true),
            (either, &pinned, "h.example/a", true),
            (either, &pinned, "h.example/b:1", false),
            (repository, "h.example/a:1", "h.example/a:2", true),
            (repository, "h.example/a:1", "h.example/a", true),
            (repository, "h.example/a:1", "h.example/b:1", false),
            (repository, "h.example/a:1", "not a name", false),
            (one, "h.example/a:1", "x.example/b:1", true),
            (one, "h.example/a:1", "x.example/b", false),
            (one, "h.example/a:1", "h.example/a:1", false),
            (of_one, "h.example/a:1", "x.example/b", true),
            (of_one, "h.example/a:1", "x.example/b:9", true),
            (of_one, "h.example/a:1", "h.example/a:1", false),
            (any, "h.example/a:1", "anything at all", true),
        ];
        for (identity, reference, signed, expected) in cases {
            let found = accepts(identity, reference, signed);
            assert_eq!(found, expected, "{identity} {reference} {signed}");
        }
    }

    #[test]
    fn a_prefix_is_another_in_the_signature() {
        let remap = |from: &str, to: &str| {
            format!(r#"{{"type":"remapIdentity","prefix":"{from}","signedPrefix":"{to}"}}"#)
        };
        let cases = [
            (
                remap("m:5000/v", "v.example"),
                "m:5000/v/p/i:1",
                "v.example/p/i:1",
                true,
            ),
            (
                remap("m:5000/v", "v.example"),
                "m:5000/v/p/i:1",
                "m:5000/v/p/i:1",
                false,
            ),
            (
                remap("m:5000/v", "v.example"),
                "m:5000/vv/i:1",
                "m:5000/vv/i:1",
                true,
            ),
            (
                remap("m:5000", "v.example/x"),
                "m:5000/i:1",
                "v.example/x/i:1",
                true,
            ),
            (
                remap("m:5000/i", "v.example/i"),
                "m:5000/i:1",
                "v.example/i:2",
                false,
            ),
            (
                remap("m:5000/i", "short"),
                "m:5000/i:1",
                "docker.io/library/short:1",
                false,
            ),
        ];
        for (identity, reference, signed, expected) in cases {
            let found = accepts(&identity, reference, signed);
            assert_eq!(found, expected, "{identity} {reference} {signed}");
        }
    }

    #[test]
    fn what_no_signature_can_say() {
        let origin = Origin::parse("docker-archive", "/some/file.tar").unwrap();
        let error = Identity::default().check(&origin, Some("a:1")).unwrap_err();
        assert!(matches!(error, Doubt::Unnamed(_)), "{error}");
        let named = Origin::parse("docker", "a").unwrap();
        let error = Identity::default().check(&named, None).unwrap_err();
        assert!(matches!(error, Doubt::Nameless { .. }), "{error}");
        assert!(Identity::MatchDigest {}.check(&origin, None).is_ok());
    }

    #[test]
    fn identities_that_are_none() {
        for bad in [
            r#"{"type":"exactReference","dockerReference":"a/b"}"#,
            r#"{"type":"exactRepository","dockerRepository":"A"}"#,
            r#"{"type":"remapIdentity","prefix":"a:tag/x","signedPrefix":"b"}"#,
            r#"{"type":"remapIdentity","prefix":"a","signedPrefix":""}"#,
        ] {
            let identity: Identity = serde_json::from_str(bad).unwrap();
            assert!(identity.error().is_some(), "{bad}");
        }
        for bad in [
            r#"{"type":"matchWhatever"}"#,
            r#"{"type":"matchExact","more":1}"#,
            r#"{"type":"exactReference"}"#,
            r#"{}"#,
        ] {
            assert!(serde_json::from_str::<Identity>(bad).is_err(), "{bad}");
        }
    }
}
