//! `[DRIVER@ROOT+RUNROOT:OPTIONS]NAME[:TAG][@DIGEST]` or `@ID` (containers-transports(5)).

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use super::store::{Place, StoredImage};
use super::{Digest, Error, Held, names};

/// Digits that an abbreviated ID must have, as in Podman.
const SHORTEST_ID: usize = 3;

/// An image, and the store to look in if it isn't the user's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StorageReference {
    place: Option<Place>,
    wanted: Wanted,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// `NAME[:TAG]`; where no image has the name, the first digits of an ID.
    Name(String),
    /// The first digits of an ID, or all.
    Id(String),
    /// Any name of the repository, and the digest of a manifest.
    Digest(String, Digest),
}

impl FromStr for StorageReference {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let error = |reason| Error::Reference {
            reference: text.to_owned(),
            reason,
        };
        let (place, image) = match text.strip_prefix('[') {
            Some(rest) => {
                let (place, image) = rest.split_once(']').ok_or(error("no ] after ["))?;
                (Some(self::place(place).map_err(error)?), image)
            }
            None => (None, text),
        };
        let wanted = Wanted::parse(image).map_err(error)?;
        Ok(Self { place, wanted })
    }
}

impl StorageReference {
    pub(super) fn place(&self) -> Option<&Place> {
        self.place.as_ref()
    }

    pub(super) fn wanted(&self) -> &Wanted {
        &self.wanted
    }
}

/// `[DRIVER@]ROOT[+RUNROOT][:OPTIONS]`; nothing that is read depends on the last two.
fn place(text: &str) -> Result<Place, &'static str> {
    let (driver, rest) = match text.split_once('@') {
        Some((driver, rest)) => (Some(driver), rest),
        None => (None, text),
    };
    let root = rest.split([':', '+']).next().unwrap_or_default();
    if !root.starts_with('/') {
        return Err("the store's folder is not absolute");
    }
    if driver.is_some_and(|driver| !is_word(driver)) {
        return Err("the driver is no word");
    }
    Ok(Place {
        root: PathBuf::from(root),
        driver: driver.map(str::to_owned),
    })
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

fn is_id(text: &str) -> bool {
    let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    (SHORTEST_ID..=64).contains(&text.len()) && text.bytes().all(is_hex)
}

impl Wanted {
    fn parse(text: &str) -> Result<Self, &'static str> {
        let Some((name, after)) = text.split_once('@') else {
            return match text {
                "" => Err("no image"),
                name => Ok(Self::Name(name.to_owned())),
            };
        };
        // NAME@DIGEST@ID is an ID with its name for readers.
        let last = after.rsplit('@').next().unwrap_or(after);
        if is_id(last) {
            return Ok(Self::Id(last.to_owned()));
        }
        match (name, last.parse()) {
            ("", _) | (_, Err(_)) => Err("neither a sha256 digest nor an ID after @"),
            (name, Ok(digest)) => Ok(Self::Digest(name.to_owned(), digest)),
        }
    }

    pub(super) fn digest(&self) -> Option<&Digest> {
        match self {
            Self::Digest(_, digest) => Some(digest),
            Self::Name(_) | Self::Id(_) => None,
        }
    }

    /// The images that are meant.
    pub(super) fn matching<'a>(&self, images: &[Held<'a>]) -> Vec<Held<'a>> {
        let those = |is: &dyn Fn(&StoredImage) -> bool| -> Vec<Held<'a>> {
            let images = images.iter().copied();
            images.filter(|(_, one)| is(one)).collect()
        };
        let with_id = |id: &str| those(&|one| one.id.starts_with(id));
        match self {
            Self::Id(id) => with_id(id),
            Self::Name(name) => {
                let mut found = those(&|one| one.names.contains(&names::full(name)));
                if found.is_empty() && !name.contains('/') {
                    // One that was built here.
                    let local = names::full(&format!("localhost/{name}"));
                    found = those(&|one| one.names.contains(&local));
                }
                match found.is_empty() && is_id(name) {
                    true => with_id(name),
                    false => found,
                }
            }
            Self::Digest(name, digest) => {
                let wanted = [
                    Some(names::repository(name)),
                    (!name.contains('/')).then(|| format!("localhost/{name}")),
                ];
                let is_in = |name: &String| wanted.contains(&Some(names::repository(name)));
                those(&|one| one.has_manifest(digest) && one.names.iter().any(is_in))
            }
        }
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => formatter.write_str(&names::full(name)),
            Self::Id(id) => write!(formatter, "@{id}"),
            Self::Digest(name, digest) => write!(formatter, "{name}@{digest}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references() {
        let parse = |text: &str| text.parse::<StorageReference>();
        let wanted = |text: &str| parse(text).unwrap().wanted;
        assert_eq!(wanted("nginx:1"), Wanted::Name("nginx:1".to_owned()));
        assert_eq!(wanted("@0123abc"), Wanted::Id("0123abc".to_owned()));
        assert_eq!(wanted("nginx@0123abc"), Wanted::Id("0123abc".to_owned()));
        let digest = Digest::of(b"x");
        let by_digest = Wanted::Digest("a/b".to_owned(), digest);
        assert_eq!(wanted(&format!("a/b@{digest}")), by_digest);
        let id = digest.hex();
        assert_eq!(wanted(&format!("a@{digest}@{id}")), Wanted::Id(id));
        let place = |text: &str| parse(text).unwrap().place.unwrap();
        let full = place("[overlay@/a/b+/c:opt=1,x]nginx");
        assert_eq!(full.root, PathBuf::from("/a/b"));
        assert_eq!(full.driver.as_deref(), Some("overlay"));
        assert_eq!(place("[/a]nginx").driver, None);
        for bad in [
            "",
            "[/a]",
            "[/a",
            "[]a",
            "[a]b",
            "[@/a]b",
            "[../x@/a]b",
            "a@",
            "@zz",
            "a@sha256:12",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
