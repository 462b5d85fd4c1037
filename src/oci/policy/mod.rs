//! Which images may be used: containers' `policy.json` (containers-policy.json(5)).
//!
//! The most specific scope that holds an image has its requirements, and all of them must be met.
//! Signatures are checked by keys alone: `signedBy` (GPG), certificates and Rekor are refused where
//! they would decide, and read over elsewhere, so that a machine's own policy can be used.
//!
//! A signature must be of the image's manifest, or of the index that led to it: the index names the
//! manifest by its digest. containers/image takes the manifest's alone, and `cosign verify` the
//! index's alone, which is what `cosign sign` signs of an image for several platforms.

mod error;
mod file;
mod identity;
mod name;
mod origin;

use std::fs;
use std::io::Read as _;
use std::path::Path;

use self::error::cure;
use self::file::{File, KeySource, Requirement, SigstoreSigned};
use self::identity::Identity;
use self::origin::Origin;
use super::signature::{Claim, Doubt, Key, Search, Signatures, Signed};
use super::{Digest, Document, Image};

pub use error::{Error, Refusal};

/// Policies are some KiB.
const MAX_POLICY: u64 = 1 << 20;
/// Keys are some hundred bytes.
const MAX_KEY: u64 = 64 << 10;

/// A policy, parsed.
#[derive(Debug)]
pub struct Policy {
    /// The file's name, for messages.
    name: String,
    file: File,
}

/// What a policy says of one image, before anything of the image is read.
#[derive(Debug)]
pub struct Rule<'p> {
    policy: &'p str,
    /// `default`, `transports.docker."docker.io"`.
    name: String,
    image: String,
    origin: Origin,
    requirements: Vec<Needed<'p>>,
}

/// A requirement that an image can meet.
#[derive(Debug)]
enum Needed<'p> {
    Nothing,
    Signature {
        keys: Vec<NamedKey>,
        identity: &'p Identity,
    },
}

/// A key and where it came from.
#[derive(Debug)]
struct NamedKey {
    name: String,
    key: Key,
}

/// How an image was accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The rule that decided: `default`, or `transports.TRANSPORT."SCOPE"`.
    pub rule: String,
    /// For each of its requirements, in order, what met it.
    pub accepted: Vec<Accepted>,
}

/// What met a requirement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Accepted {
    /// `insecureAcceptAnything`: nothing was checked.
    Anything,
    /// A signature.
    Signature {
        /// The key's path, or the field it stands in (`keyData`).
        key: String,
        /// SHA-256 of the key's DER (SubjectPublicKeyInfo).
        fingerprint: Digest,
        /// The manifest or index that was signed.
        signed: Digest,
        /// The name that the signer gave it.
        name: Option<String>,
        /// Where the signature lies: a tag or a referrer, and its layer.
        place: String,
    },
}

impl Policy {
    /// Reads the policy in a file. Keys in it are not read yet; paths are relative to the working
    /// directory, as for containers/image.
    ///
    /// # Errors
    /// [`Error::Read`] and [`Error::Malformed`].
    pub fn load(path: &Path) -> Result<Self, Error> {
        let bytes = read_bounded(path, MAX_POLICY).map_err(|source| Error::Read {
            path: path.to_owned(),
            source,
        })?;
        Self::parse(&path.display().to_string(), &bytes)
    }

    /// The policy in `bytes`, to be called `name` in messages.
    ///
    /// # Errors
    /// [`Error::Malformed`], with the place.
    pub fn parse(name: &str, bytes: &[u8]) -> Result<Self, Error> {
        let malformed = |reason| Error::Malformed {
            policy: name.to_owned(),
            reason,
        };
        let file: File =
            serde_json::from_slice(bytes).map_err(|error| malformed(error.to_string()))?;
        match file.error() {
            Some(reason) => Err(malformed(reason)),
            None => Ok(Self {
                name: name.to_owned(),
                file,
            }),
        }
    }

    /// The rule for an image; its keys are read. `reference` is, by `transport`:
    /// - `docker`: the reference, `//` before it or not;
    /// - `oci`, `oci-archive`, `dir`: the folder or file, without tag or digest;
    /// - `docker-archive`: anything;
    /// - `docker-daemon`: the reference or image ID;
    /// - `containers-storage`: `[DRIVER@ROOT]REFERENCE`, the store always named.
    ///
    /// # Errors
    /// [`Error::Image`] for what is no such reference, [`Error::Refused`] when no image can meet the
    /// rule: it rejects all, or is not supported, or a key can't be read.
    pub fn rule(&self, transport: &str, reference: &str) -> Result<Rule<'_>, Error> {
        let origin = Origin::parse(transport, reference)?;
        let (name, requirements) = self.lookup(&origin);
        let shown = origin.name.as_ref().map(ToString::to_string);
        let image = format!("{transport}:{}", shown.as_deref().unwrap_or(reference));
        let mut rule = Rule {
            policy: &self.name,
            name,
            image,
            origin,
            requirements: Vec::new(),
        };
        for requirement in requirements {
            let number = rule.requirements.len();
            let needed = needed(requirement).map_err(|reason| rule.refused(number, reason))?;
            rule.requirements.push(needed);
        }
        Ok(rule)
    }

    /// Decides over an image that was found under `reference` of `transport` (see [`Self::rule`]),
    /// with the signatures that lie beside it.
    ///
    /// # Errors
    /// [`Error`], naming the image, the requirement that is not met and its keys.
    pub fn check(
        &self,
        transport: &str,
        reference: &str,
        image: &Image,
        signatures: &dyn Signatures,
    ) -> Result<Verdict, Error> {
        self.rule(transport, reference)?.check(image, signatures)
    }

    /// The requirements of the narrowest scope, and what they are called.
    fn lookup(&self, origin: &Origin) -> (String, &[Requirement]) {
        let transport = &origin.transport;
        if let Some(scopes) = self.file.transports.0.get(transport) {
            let all = origin.scopes.iter().map(String::as_str).chain([""]);
            for scope in all {
                if let Some(found) = scopes.0.get(scope) {
                    return (format!("transports.{transport}.{scope:?}"), found);
                }
            }
        }
        ("default".to_owned(), &self.file.default)
    }
}

fn needed(requirement: &Requirement) -> Result<Needed<'_>, Refusal> {
    match requirement {
        Requirement::InsecureAcceptAnything {} => Ok(Needed::Nothing),
        Requirement::Reject {} => Err(Refusal::Rejected),
        Requirement::SignedBy(_) => Err(Refusal::Unsupported("signedBy (GPG)")),
        Requirement::SignedBaseLayer(_) => Err(Refusal::Unsupported("signedBaseLayer")),
        Requirement::SigstoreSigned(signed) => signature(signed),
    }
}

fn signature(signed: &SigstoreSigned) -> Result<Needed<'_>, Refusal> {
    if let Some(what) = signed.unsupported() {
        return Err(Refusal::Unsupported(what));
    }
    let keys = signed.keys().into_iter().map(read_key);
    Ok(Needed::Signature {
        keys: keys.collect::<Result<_, _>>()?,
        identity: &signed.signed_identity,
    })
}

fn read_key(source: KeySource) -> Result<NamedKey, Refusal> {
    let name = source.to_string();
    let pem = match source {
        KeySource::Data(_, pem) => pem,
        KeySource::Path(path) => {
            read_bounded(&path, MAX_KEY).map_err(|source| Refusal::KeyFile {
                key: name.clone(),
                source,
            })?
        }
    };
    match Key::from_pem(&pem) {
        Ok(key) => Ok(NamedKey { name, key }),
        Err(source) => Err(Refusal::Key { key: name, source }),
    }
}

fn read_bounded(path: &Path, most: u64) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut file = fs::File::open(path)?.take(most + 1);
    file.read_to_end(&mut bytes)?;
    match bytes.len() as u64 > most {
        true => Err(std::io::Error::other(format!("larger than {most} bytes"))),
        false => Ok(bytes),
    }
}

impl Rule<'_> {
    /// Decides over the image that was found under the rule's reference.
    ///
    /// # Errors
    /// [`Error::Refused`], naming the image, the requirement that is not met and its keys.
    pub fn check(&self, image: &Image, signatures: &dyn Signatures) -> Result<Verdict, Error> {
        self.check_digest(image)?;
        let documents: Vec<&Document> = image.index.iter().chain([&image.manifest]).collect();
        let mut search = Search::new(signatures, documents);
        let mut accepted = Vec::new();
        for needed in &self.requirements {
            let by = match needed {
                Needed::Nothing => Accepted::Anything,
                Needed::Signature { keys, identity } => self
                    .find(keys, identity, image, &mut search)
                    .map_err(|reason| self.refused(accepted.len(), reason))?,
            };
            accepted.push(by);
        }
        Ok(Verdict {
            rule: self.name.clone(),
            accepted,
        })
    }

    /// A reference by digest must have led to this image: signatures for any tag then count.
    fn check_digest(&self, image: &Image) -> Result<(), Error> {
        let name = self.origin.name.as_ref();
        let Some(wanted) = name.and_then(|name| name.digest.clone()) else {
            return Ok(());
        };
        let documents = image.index.iter().chain([&image.manifest]);
        let mut digests = documents.map(|document| document.digest.to_string());
        if digests.any(|digest| digest == wanted) {
            return Ok(());
        }
        let found = image.manifest.digest;
        Err(self.refused(0, Refusal::OtherImage { found, wanted }))
    }

    /// The first signature that one of `keys` made of the image under a name that will do.
    fn find(
        &self,
        keys: &[NamedKey],
        identity: &Identity,
        image: &Image,
        search: &mut Search<'_>,
    ) -> Result<Accepted, Refusal> {
        let mut doubts = Vec::new();
        let mut hint = None;
        for number in 0.. {
            let Some((place, found)) = search.get(number) else {
                break;
            };
            let doubt = match found {
                Err(doubt) => doubt,
                Ok(signed) => match self.accept(signed, keys, identity, image) {
                    Ok(accepted) => return Ok(accepted),
                    Err(doubt) => &{ doubt },
                },
            };
            hint = hint.or_else(|| cure(doubt));
            doubts.push((place.clone(), doubt.to_string()));
        }
        let keys = keys.iter().map(NamedKey::to_string).collect();
        Err(match doubts.is_empty() {
            true => Refusal::Unsigned { keys },
            false => Refusal::NotAccepted { keys, doubts, hint },
        })
    }

    fn accept(
        &self,
        signed: &Signed,
        keys: &[NamedKey],
        identity: &Identity,
        image: &Image,
    ) -> Result<Accepted, Doubt> {
        let (by, claim) = signed.verify(keys, |named| &named.key)?;
        let (digest, name) = of_image(&claim, image)?;
        identity.check(&self.origin, name)?;
        Ok(Accepted::Signature {
            key: by.name.clone(),
            fingerprint: by.key.fingerprint(),
            signed: digest,
            name: name.map(str::to_owned),
            place: signed.place.clone(),
        })
    }

    fn refused(&self, number: usize, reason: Refusal) -> Error {
        Error::Refused {
            image: self.image.clone(),
            rule: format!("{}[{number}]", self.name),
            policy: self.policy.to_owned(),
            reason: Box::new(reason),
        }
    }
}

/// What a claim says of the image: by its manifest, or by the index that led to it.
fn of_image<'c>(claim: &'c Claim, image: &Image) -> Result<(Digest, Option<&'c str>), Doubt> {
    let index = image.index.as_ref().map(|index| index.digest);
    let is_it = |digest: &Digest| *digest == image.manifest.digest || Some(*digest) == index;
    match claim.images.iter().find(|(digest, _)| is_it(digest)) {
        Some((digest, name)) => Ok((*digest, name.as_deref())),
        None => {
            let all = claim.images.iter().map(|(digest, _)| digest.to_string());
            Err(Doubt::Digest(all.take(3).collect()))
        }
    }
}

impl std::fmt::Display for NamedKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} ({})", self.name, self.key.fingerprint())
    }
}
