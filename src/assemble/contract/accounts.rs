//! Users and groups of an image.

/// Highest id that containerd takes for a number rather than a name.
const MAX_ID: u32 = i32::MAX.unsigned_abs();

/// Half of a `User`.
pub(super) enum Id<'a> {
    Number(u32),
    Name(&'a str),
}

impl<'a> Id<'a> {
    /// `None` for a number that is no id: taken for a name, it could be any user of the image.
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
        if text.is_empty() || text.contains(':') {
            None
        } else if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
            Some(Self::Name(text))
        } else {
            let id = text.parse().ok().filter(|id| *id <= MAX_ID)?;
            Some(Self::Number(id))
        }
    }
}

/// One line of passwd(5).
pub(super) struct Account {
    pub(super) name: Option<String>,
    pub(super) uid: u32,
    pub(super) gid: u32,
}

impl Account {
    pub(super) fn parse(line: &str) -> Option<Self> {
        let mut fields = line.trim().split(':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        let uid = fields.nth(1)?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        Some(Self {
            name: Some(name.to_owned()),
            uid,
            gid,
        })
    }
}

/// One line of group(5).
pub(super) struct Group<'a> {
    pub(super) name: &'a str,
    pub(super) gid: u32,
    pub(super) members: &'a str,
}

impl<'a> Group<'a> {
    pub(super) fn parse(line: &'a str) -> Option<Self> {
        let mut fields = line.trim().split(':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        let gid = fields.nth(1)?.parse().ok()?;
        Some(Self {
            name,
            gid,
            members: fields.next().unwrap_or_default(),
        })
    }
}
