//! Licence expressions (SPDX 2.3, annex D), and the names that Debian's copyright files use instead.

/// Longer ones are texts, not names.
const MAX_LEN: usize = 1000;

/// By the specification alone, where identifiers that are deprecated still are identifiers.
const MODE: spdx::ParseMode = spdx::ParseMode {
    allow_deprecated: true,
    ..spdx::ParseMode::STRICT
};

/// True when `text` is an SPDX licence expression of listed licences, with the operators in the
/// capitals that every reader takes.
#[must_use]
pub fn is_expression(text: &str) -> bool {
    let has_small = || {
        text.split(' ')
            .any(|word| matches!(word, "and" | "or" | "with" | ""))
    };
    text.len() <= MAX_LEN
        && text.is_ascii()
        && !has_small()
        && spdx::Expression::parse_mode(text, MODE).is_ok()
}

/// The expression in SPDX's own words where `text` is one, allowing for what packagers write
/// loosely: small operators, more blanks.
#[must_use]
pub fn tidy(text: &str) -> String {
    let words = text.split_whitespace().map(|word| match word {
        "and" | "And" => "AND",
        "or" | "Or" => "OR",
        "with" | "With" => "WITH",
        other => other,
    });
    let tidied = Vec::from_iter(words).join(" ");
    if is_expression(&tidied) {
        tidied
    } else {
        text.trim().to_owned()
    }
}

/// Short names of DEP-5 (Debian's machine-readable copyright files 1.0, "License
/// specification") and the SPDX identifiers that mean the same.
const DEBIAN: [(&str, &str); 37] = [
    ("AGPL-3", "AGPL-3.0-only"),
    ("AGPL-3+", "AGPL-3.0-or-later"),
    ("Apache-2", "Apache-2.0"),
    ("BSD-2-clause", "BSD-2-Clause"),
    ("BSD-3-clause", "BSD-3-Clause"),
    ("BSD-4-clause", "BSD-4-Clause"),
    ("BSL-1", "BSL-1.0"),
    ("CC0", "CC0-1.0"),
    ("CC0-1", "CC0-1.0"),
    ("CDDL", "CDDL-1.0"),
    ("Expat", "MIT"),
    ("GFDL-1.2", "GFDL-1.2-only"),
    ("GFDL-1.2+", "GFDL-1.2-or-later"),
    ("GFDL-1.3", "GFDL-1.3-only"),
    ("GFDL-1.3+", "GFDL-1.3-or-later"),
    ("GPL-1", "GPL-1.0-only"),
    ("GPL-1+", "GPL-1.0-or-later"),
    ("GPL-2", "GPL-2.0-only"),
    ("GPL-2.0", "GPL-2.0-only"),
    ("GPL-2+", "GPL-2.0-or-later"),
    ("GPL-2.0+", "GPL-2.0-or-later"),
    ("GPL-3", "GPL-3.0-only"),
    ("GPL-3.0", "GPL-3.0-only"),
    ("GPL-3+", "GPL-3.0-or-later"),
    ("GPL-3.0+", "GPL-3.0-or-later"),
    ("LGPL-2", "LGPL-2.0-only"),
    ("LGPL-2+", "LGPL-2.0-or-later"),
    ("LGPL-2.0", "LGPL-2.0-only"),
    ("LGPL-2.0+", "LGPL-2.0-or-later"),
    ("LGPL-2.1", "LGPL-2.1-only"),
    ("LGPL-2.1+", "LGPL-2.1-or-later"),
    ("LGPL-3", "LGPL-3.0-only"),
    ("LGPL-3+", "LGPL-3.0-or-later"),
    ("MPL-1.1", "MPL-1.1"),
    ("MPL-2", "MPL-2.0"),
    ("Zlib", "Zlib"),
    ("ZLIB", "Zlib"),
];

/// The SPDX identifier that a DEP-5 short name means; the name itself when it is one already.
#[must_use]
pub fn of_debian(name: &str) -> Option<&str> {
    let known = DEBIAN.iter().find(|(debian, _)| *debian == name);
    match known {
        Some((_, spdx)) => Some(spdx),
        None => is_expression(name).then_some(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions() {
        for good in [
            "MIT",
            "GPL-2.0-or-later AND (MIT OR Apache-2.0)",
            "GPL-2.0-only WITH Linux-syscall-note",
        ] {
            assert!(is_expression(good), "{good}");
            assert_eq!(tidy(good), good);
        }
        for bad in ["", "GPLv2+", "GPL-2+", "MIT and", "MIT, BSD", "ünlü"] {
            assert!(!is_expression(bad), "{bad}");
        }
        assert_eq!(tidy("MIT and  Zlib"), "MIT AND Zlib");
        assert_eq!(tidy(" GPLv2+ and MIT"), "GPLv2+ and MIT");
    }

    #[test]
    fn every_name_of_the_table_is_one_of_spdx() {
        for (debian, spdx) in DEBIAN {
            assert!(is_expression(spdx), "{spdx}");
            assert_eq!(of_debian(debian), Some(spdx));
        }
        assert_eq!(of_debian("ISC"), Some("ISC"));
        assert_eq!(of_debian("public-domain"), None);
    }
}
