//! Authenticode against `sbsign`, `pesign` and `osslsigncode`, chance and damage.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::cast_possible_truncation,
    clippy::disallowed_types,
    clippy::disallowed_methods
)]

mod support;

use std::path::Path;
use std::process::Command;

use i2kit_format::authenticode::{self, Error};
use i2kit_format::uki;
use proptest::prelude::*;
use support::pe::{COFF, DIRECTORIES, HEADERS, OPTIONAL, TABLE, put, stub};
use support::{digest, each_flipped_bit, finish, pattern, run, text};

/// Of the certificate table.
const DIRECTORY: usize = DIRECTORIES + 4 * 8;
const CHECK_SUM: usize = OPTIONAL + 64;

fn made() -> Vec<u8> {
    let kernel = pattern(4, 100_001);
    uki::assemble(&stub(), &[(".cmdline", b"quiet"), (".linux", &kernel)]).unwrap()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn command(folder: &Path, line: &str) -> String {
    let mut words = line.split(' ');
    let mut command = Command::new(words.next().unwrap());
    text(&finish({
        command.args(words).current_dir(folder);
        command
    }))
}

/// A folder with a key, its certificate and `image`.
fn workshop(image: &[u8]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("image"), image).unwrap();
    command(
        folder.path(),
        "openssl req -x509 -newkey rsa:2048 -nodes -keyout key -out cert -days 9 -subj /CN=test \
         -addext extendedKeyUsage=codeSigning",
    );
    folder
}

#[test]
fn the_digest_is_what_pesign_computes() {
    let mut odd = made();
    odd.extend(b"behind");
    let signed = {
        let mut image = made();
        authenticode::attach(&mut image, &[7; 1001]).unwrap();
        image
    };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("image");
    for image in [stub(), made(), odd, signed] {
        std::fs::write(&file, &image).unwrap();
        // pesign hashes the file as it is, without the padding that a signature brings.
        if image.len().is_multiple_of(8) {
            let told = text(&run("pesign", &["--hash", "-P", "-i"], &file));
            let ours = hex(&authenticode::digest(&image).unwrap());
            assert!(told.contains(&ours), "{ours}: {told}");
        }
    }
}

#[test]
fn a_signature_of_sbsign_moves_to_our_table_and_every_tool_takes_it() {
    let mut odd = made();
    odd.extend(b"behind");
    for image in [made(), odd] {
        let folder = workshop(&image);
        let at = |name: &str| folder.path().join(name);
        command(
            folder.path(),
            "sbsign --key key --cert cert --output theirs image",
        );
        let theirs = std::fs::read(at("theirs")).unwrap();
        let found = authenticode::certificates(&theirs).unwrap();
        assert_eq!(found.len(), 1);
        assert!(found[0].is_pkcs7());
        let hash = authenticode::digest(&theirs).unwrap();
        assert!(hex(&found[0].data).contains(&hex(&hash)));
        assert_eq!(authenticode::digest(&image).unwrap(), hash);

        let mut ours = image.clone();
        authenticode::attach(&mut ours, &found[0].data).unwrap();
        std::fs::write(at("ours"), &ours).unwrap();
        let said = command(folder.path(), "sbverify --cert cert ours");
        assert!(said.contains("Signature verification OK"), "{said}");
        let said = command(folder.path(), "osslsigncode verify -CAfile cert -in ours");
        // It names a second sum where it computes another one.
        let sum = format!(": {:08X}\n", authenticode::check_sum(&ours).unwrap());
        assert!(said.contains(&format!("PE checksum   {sum}")), "{said}");
        assert!(!said.contains("alculated PE checksum"), "{said}");
        assert!(
            text(&run("pesign", &["-S", "-i"], &at("ours"))).contains("test"),
            "pesign finds the signer"
        );
    }
}

#[test]
fn what_is_taken_away_leaves_the_file_as_it_was() {
    let mut image = made();
    let before = image.clone();
    authenticode::attach(&mut image, b"signature").unwrap();
    let again = authenticode::attach(&mut image, b"another");
    assert!(matches!(again, Err(Error::Signed)));
    authenticode::detach(&mut image).unwrap();
    assert_eq!(image, before);
    authenticode::detach(&mut image).unwrap();
    assert_eq!(image, before);
}

#[test]
fn a_small_signed_file_is_as_it_was() {
    let mut image = made();
    authenticode::attach(&mut image, b"signature").unwrap();
    let table = image.len() - 24;
    assert_eq!(
        hex(&image[table..]),
        format!("1100000000020200{}{}", hex(b"signature"), "00".repeat(7))
    );
    let mut entry = (table as u32).to_le_bytes().to_vec();
    entry.extend(24u32.to_le_bytes());
    assert_eq!(image[DIRECTORY..DIRECTORY + 8], entry);
    assert_eq!(
        [digest(&image), hex(&authenticode::digest(&image).unwrap())],
        [
            "3709594f9a5a2caddb0091af061f08fdcbeafb9ef456d73931ac10fd672c68e2",
            "895266ca0922f481c6cb95c6172b0bde3d663c8b02cfa882e559e71f25fe8671"
        ]
    );
}

#[test]
fn every_covered_bit_counts_and_no_other() {
    let mut image = made();
    authenticode::attach(&mut image, b"signature").unwrap();
    let hash = authenticode::digest(&image).unwrap();
    let table = image.len() - 24;
    let covered = |at: usize| {
        !(CHECK_SUM..CHECK_SUM + 4).contains(&at)
            && !(DIRECTORY..DIRECTORY + 8).contains(&at)
            && at < table
    };
    let end = image.len();
    for range in [0..HEADERS, HEADERS..HEADERS + 9, end - 40..end] {
        each_flipped_bit(&image, range, |at, bad| match authenticode::digest(bad) {
            Ok(found) => assert_eq!(found == hash, !covered(at), "byte {at}"),
            // Headers that make no sense any more, or a table that is elsewhere.
            Err(_) => assert!(at < HEADERS, "byte {at}"),
        });
    }
}

#[test]
fn what_tools_would_hash_differently_is_refused() {
    let change = |at: usize, value: u32| {
        let mut image = stub();
        put(&mut image, at, &value.to_le_bytes());
        image
    };
    let gap = change(OPTIONAL + 60, 512);
    assert!(matches!(
        authenticode::digest(&gap),
        Err(Error::Gap {
            expected: 512,
            found: 1024
        })
    ));
    let overlap = change(TABLE + 20, 1000);
    assert!(matches!(
        authenticode::digest(&overlap),
        Err(Error::Gap { .. })
    ));
    let past = change(TABLE + 16, 513);
    assert!(matches!(authenticode::digest(&past), Err(Error::Pe(_))));
    let headers = change(OPTIONAL + 60, 300);
    assert!(matches!(
        authenticode::digest(&headers),
        Err(Error::SizeOfHeaders { .. })
    ));
    let few = change(OPTIONAL + 108, 4);
    assert!(matches!(
        authenticode::digest(&few),
        Err(Error::NoDirectory(4))
    ));
    let mut short = stub();
    put(&mut short, COFF + 16, &(112u16 + 32).to_le_bytes());
    assert!(matches!(
        authenticode::digest(&short),
        Err(Error::NoDirectory(_))
    ));
    for (offset, size) in [(1536, 8), (8, 8), (1536, 0), (0, 8), (u32::MAX, u32::MAX)] {
        let mut image = change(DIRECTORY, offset);
        put(&mut image, DIRECTORY + 4, &size.to_le_bytes());
        assert!(
            matches!(authenticode::digest(&image), Err(Error::Table { .. })),
            "{offset} {size}"
        );
    }
}

#[test]
fn entries_that_do_not_fit_are_refused() {
    let mut image = made();
    authenticode::attach(&mut image, b"signature").unwrap();
    let table = image.len() - 24;
    for length in [0u32, 7, 25, u32::MAX] {
        put(&mut image, table, &length.to_le_bytes());
        assert!(
            matches!(
                authenticode::certificates(&image),
                Err(Error::Certificate { .. })
            ),
            "{length}"
        );
    }
    put(&mut image, table, &8u32.to_le_bytes());
    // What is left is read as two more entries, whose lengths make no sense.
    assert!(authenticode::certificates(&image).is_err());
}

proptest! {
    #[test]
    fn a_signature_goes_on_and_comes_off(
        kernel in prop::collection::vec(any::<u8>(), 1..9000),
        behind in prop::collection::vec(any::<u8>(), 0..20),
        signature in prop::collection::vec(any::<u8>(), 0..3000),
    ) {
        let mut image = uki::assemble(&stub(), &[(".linux", &kernel)]).unwrap();
        image.extend(&behind);
        let hash = authenticode::digest(&image).unwrap();
        let mut signed = image.clone();
        authenticode::attach(&mut signed, &signature).unwrap();
        prop_assert_eq!(authenticode::digest(&signed).unwrap(), hash);
        let found = authenticode::certificates(&signed).unwrap();
        prop_assert_eq!(&found[0].data, &signature);
        prop_assert_eq!(signed.len() % 8, 0);
        let sum = u32::from_le_bytes(signed[CHECK_SUM..CHECK_SUM + 4].try_into().unwrap());
        prop_assert_eq!(authenticode::check_sum(&signed).unwrap(), sum);
        authenticode::detach(&mut signed).unwrap();
        image.resize(image.len().next_multiple_of(8), 0);
        prop_assert_eq!(signed, image);
    }

    #[test]
    fn any_bytes_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..600), at in 0usize..1536) {
        let mut image = stub();
        let end = (at + bytes.len()).min(image.len());
        image[at..end].copy_from_slice(&bytes[..end - at]);
        let _ = (authenticode::digest(&image), authenticode::certificates(&image));
        let _ = authenticode::attach(&mut image, &bytes);
        let _ = authenticode::detach(&mut image);
    }
}
