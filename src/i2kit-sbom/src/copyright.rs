//! Debian's copyright files: `usr/share/doc/PACKAGE/copyright`, most of them machine-readable (DEP-5,
//! "Machine-readable debian/copyright file" 1.0).

use std::collections::BTreeSet;

use crate::{deb822, licence};

const FIELDS: [&str; 3] = ["Format", "Files", "License"];
/// Where Debian keeps the texts of common licences, which older files refer to.
const COMMON: &str = "/usr/share/common-licenses/";

/// The licences of a package: an SPDX expression where each of the names that the file has is one
/// that SPDX knows, too; else those names, separated by commas. `None` when the file names none.
#[must_use]
pub fn licence(bytes: &[u8]) -> Option<String> {
    let (names, are_exact) = names(bytes);
    if names.is_empty() {
        return None;
    }
    let known: Option<Vec<String>> = names.iter().map(|name| expression(name)).collect();
    let known = known.filter(|_| are_exact);
    let text = match known.as_deref() {
        Some([one]) => one.clone(),
        Some(all) => {
            let all: BTreeSet<String> = all.iter().map(|one| parenthesised(one)).collect();
            Vec::from_iter(all).join(" AND ")
        }
        None => Vec::from_iter(names).join(", "),
    };
    Some(text)
}

/// The names as the file has them (`GPL-2+ or Expat`), and whether they are the licences: a file
/// of no format only refers to texts, and whether later versions apply is anybody's reading.
fn names(bytes: &[u8]) -> (BTreeSet<String>, bool) {
    let mut stanzas = deb822::stanzas(bytes, &FIELDS);
    let Some(first) = stanzas.next().filter(|one| one.get("Format").is_some()) else {
        return (common(bytes), false);
    };
    let of_files = stanzas.filter(|one| one.get("Files").is_some());
    let names = std::iter::once(first)
        .chain(of_files)
        .filter_map(|stanza| {
            let name = stanza.get("License")?.lines().next()?.trim();
            (!name.is_empty()).then(|| name.to_owned())
        })
        .collect();
    (names, true)
}

/// The texts that a file of no format refers to.
fn common(bytes: &[u8]) -> BTreeSet<String> {
    let text = String::from_utf8_lossy(bytes);
    let after = text.split(COMMON).skip(1);
    after
        .map(|rest| {
            let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.');
            let end = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
            rest.get(..end).unwrap_or_default().trim_end_matches('.')
        })
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect()
}

/// `GPL-2+ or Expat` as SPDX writes it.
fn expression(names: &str) -> Option<String> {
    let words: Option<Vec<&str>> = names
        .split_whitespace()
        .map(|word| match word {
            "and" => Some("AND"),
            "or" => Some("OR"),
            name => licence::of_debian(name),
        })
        .collect();
    let text = words?.join(" ");
    licence::is_expression(&text).then_some(text)
}

fn parenthesised(expression: &str) -> String {
    if expression.contains(" OR ") {
        format!("({expression})")
    } else {
        expression.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machine_readable_ones() {
        let text = b"Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\nUpstream-Name: x\n\nFiles: *\nCopyright: me\nLicense: GPL-2+ or Expat\n\nFiles: a\nLicense: BSD-3-clause\n text\n\nLicense: GPL-3\n not of a file\n";
        let found = licence(text);
        assert_eq!(
            found.as_deref(),
            Some("(GPL-2.0-or-later OR MIT) AND BSD-3-Clause")
        );
        let text = b"Format: x\n\nFiles: *\nLicense: GPL-2+\n\nFiles: b\nLicense: public-domain\n";
        assert_eq!(licence(text).as_deref(), Some("GPL-2+, public-domain"));
    }

    #[test]
    fn texts() {
        let text =
            b"see /usr/share/common-licenses/GPL-2. Or `/usr/share/common-licenses/LGPL-2.1'.";
        assert_eq!(licence(text).as_deref(), Some("GPL-2, LGPL-2.1"));
        assert_eq!(licence(b"none"), None);
    }
}
