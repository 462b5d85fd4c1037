//! Tests: parsers answer or refuse whatever they are given, and read back what was written.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use i2kit_sbom::{Distribution, Origin, apk, copyright, deb822, dpkg, licence, rfc3339, seconds};
use proptest::prelude::*;

const ORIGINS: [Origin; 6] = [
    Origin::Dpkg,
    Origin::Apk,
    Origin::Rpm,
    Origin::Python,
    Origin::Node,
    Origin::Binary,
];
const STARTS: [&[u8]; 5] = [
    b"",
    b"SQLite format 3\0\x02\0",
    b"RpmP\0\0\0\0\0\0\0\0\x01\0\0\0",
    b"\x7fELF\x02\x01",
    b"\x7fELF\x01\x02",
];

proptest! {
    #[test]
    fn no_parser_panics(
        bytes in prop::collection::vec(any::<u8>(), 0..6000),
        start in 0..STARTS.len(),
    ) {
        let bytes = [STARTS[start], &bytes].concat();
        for origin in ORIGINS {
            let _ = origin.packages(&bytes, "x", &Distribution::parse(&bytes));
        }
        let _ = copyright::licence(&bytes);
        let _ = licence::tidy(&String::from_utf8_lossy(&bytes));
        let _ = seconds(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn stanzas_read_back(
        values in prop::collection::vec(("[!-~]([ -~]{0,20}[!-~])?", "[!-~]([ -~]{0,20}[!-~])?"), 1..8),
    ) {
        let text: String = values
            .iter()
            .map(|(one, more)| format!("A: {one}\n {more}\nB: x\n\n"))
            .collect();
        let found: Vec<String> = deb822::stanzas(text.as_bytes(), &["A"])
            .map(|stanza| stanza.get("a").unwrap().to_owned())
            .collect();
        let expected: Vec<String> = values.iter().map(|(one, more)| format!("{one}\n{more}")).collect();
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn installed_packages_read_back(
        names in prop::collection::vec(("[a-z0-9][a-z0-9+.-]{1,9}", "[0-9][0-9a-z.+~-]{0,9}"), 0..20),
    ) {
        let stanzas = |name: &str, version: &str| {
            let stanza = |(one, other): &(String, String)| format!("{name}:{one}\n{version}:{other}\n\n");
            names.iter().map(stanza).collect::<String>()
        };
        let distribution = Distribution::default();
        let found = [
            dpkg::packages(stanzas("Package", "Version").as_bytes(), &distribution, "x"),
            apk::packages(stanzas("P", "V").as_bytes(), &distribution, "x"),
        ];
        for packages in found {
            let again: Vec<_> = packages.into_iter().map(|one| (one.name, one.version)).collect();
            prop_assert_eq!(&again, &names);
        }
    }

    #[test]
    fn times_read_back(time in 0..=i2kit_sbom::MAX_TIME) {
        prop_assert_eq!(seconds(&rfc3339(time)), Some(time));
    }
}
