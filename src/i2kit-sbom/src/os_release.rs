//! os-release(5): which distribution a root file system is of.

/// The distribution that package URLs name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Distribution {
    /// `ID`: `debian`, `alpine`, `fedora`; empty when unknown.
    pub id: String,
    /// `VERSION_ID`; empty for a rolling one.
    pub version: String,
    /// `PRETTY_NAME`.
    pub name: Option<String>,
}

impl Distribution {
    /// Reads `etc/os-release`. Lines that make no sense are skipped, as the manual asks.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(bytes);
        let value = |name: &str| {
            let mut lines = text.lines().rev();
            let found = lines.find_map(|line| line.trim().strip_prefix(name)?.strip_prefix('='))?;
            Some(unquoted(found))
        };
        Self {
            id: value("ID").unwrap_or_default().to_lowercase(),
            version: value("VERSION_ID").unwrap_or_default(),
            name: value("PRETTY_NAME"),
        }
    }

    /// The `distro` qualifier: `debian-12`.
    #[must_use]
    pub fn qualifier(&self) -> String {
        match (&*self.id, &*self.version) {
            ("", _) => String::new(),
            (id, "") => id.to_owned(),
            (id, version) => format!("{id}-{version}"),
        }
    }

    /// The distribution's name, or another where it is not told.
    #[must_use]
    pub fn id_or<'a>(&'a self, other: &'a str) -> &'a str {
        if self.id.is_empty() { other } else { &self.id }
    }
}

/// Shell quoting, as far as the manual allows it.
fn unquoted(value: &str) -> String {
    let value = value.trim();
    let inner = ['"', '\'']
        .iter()
        .find_map(|quote| value.strip_prefix(*quote)?.strip_suffix(*quote));
    let mut out = String::new();
    let mut chars = inner.unwrap_or(value).chars();
    while let Some(char) = chars.next() {
        out.extend(if char == '\\' {
            chars.next()
        } else {
            Some(char)
        });
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_and_absence() {
        let found =
            Distribution::parse(b"# x\nID=Debian\nVERSION_ID=\"12\"\nPRETTY_NAME='D \\'q'\n");
        assert_eq!(found.qualifier(), "debian-12");
        assert_eq!(found.name.as_deref(), Some("D 'q"));
        assert_eq!(Distribution::parse(b"\xff\n=").qualifier(), "");
        assert_eq!(Distribution::parse(b"ID=arch").qualifier(), "arch");
    }
}
