//! Stanzas of `Field: value` lines (deb822(5)), which dpkg, apt, Debian's copyright files and, in
//! essence, Python's metadata are made of.

/// One stanza: its fields in order. Text that is not UTF-8 is replaced.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stanza {
    fields: Vec<(String, String)>,
}

impl Stanza {
    /// The value of the first field of that name, in any case of letters; continuation lines are
    /// joined by newlines, their first blank removed.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    /// The values of all fields of that name.
    pub fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.fields
            .iter()
            .filter(move |(field, _)| field.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }
}

/// The stanzas of a file, whose fields `wanted` names are kept. Lines that are no field are
/// skipped.
pub fn stanzas<'a>(bytes: &'a [u8], wanted: &'a [&'a str]) -> impl Iterator<Item = Stanza> + 'a {
    let mut lines = bytes.split(|byte| *byte == b'\n');
    std::iter::from_fn(move || {
        let mut stanza = Stanza::default();
        let mut any = false;
        let mut keeping = false;
        for line in lines.by_ref() {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if line.iter().all(u8::is_ascii_whitespace) {
                if any {
                    return Some(stanza);
                }
                continue;
            }
            any = true;
            keeping = add(&mut stanza, line, keeping, wanted);
        }
        any.then_some(stanza)
    })
}

/// Adds a line; answers whether what continues it is kept, too.
fn add(stanza: &mut Stanza, line: &[u8], keeping: bool, wanted: &[&str]) -> bool {
    if let Some(rest) = line.strip_prefix(b" ").or(line.strip_prefix(b"\t")) {
        if keeping && let Some((_, value)) = stanza.fields.last_mut() {
            value.push('\n');
            value.push_str(String::from_utf8_lossy(rest).trim_end());
        }
        return keeping;
    }
    let Some(colon) = line.iter().position(|byte| *byte == b':') else {
        return false;
    };
    let (name, value) = line.split_at(colon);
    let found = wanted
        .iter()
        .find(|one| one.as_bytes().eq_ignore_ascii_case(name));
    let Some(name) = found else { return false };
    let value = String::from_utf8_lossy(value.get(1..).unwrap_or_default());
    stanza
        .fields
        .push(((*name).to_owned(), value.trim().to_owned()));
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_continue_and_stanzas_end() {
        let text = b"\nA: 1\nb:2\nLong: first\n second\n .\n third\nSkip: x\n more\nA: 3\n\n\n# no\nA: 4\r\n";
        let found: Vec<Stanza> = stanzas(text, &["A", "B", "Long"]).collect();
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].get("a"), Some("1"));
        assert_eq!(found[0].get("B"), Some("2"));
        assert_eq!(found[0].get("Long"), Some("first\nsecond\n.\nthird"));
        assert_eq!(found[0].all("A").collect::<Vec<_>>(), ["1", "3"]);
        assert_eq!(found[0].get("Skip"), None);
        assert_eq!(found[1].get("A"), Some("4"));
    }
}
