//! GUIDs: their text, their bytes in a table, and where they come from.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use i2kit_format::Guid;
use i2kit_format::gpt::types;
use proptest::prelude::*;

#[test]
fn the_first_three_fields_are_little_endian_in_a_table() {
    // The ESP's type, as UEFI 2.10 prints it (table 5-7) and as `sgdisk` writes it.
    let text = "c12a7328-f81f-11d2-ba4b-00a0c93ec93b";
    let bytes = [
        0x28, 0x73, 0x2a, 0xc1, 0x1f, 0xf8, 0xd2, 0x11, 0xba, 0x4b, 0x00, 0xa0, 0xc9, 0x3e, 0xc9,
        0x3b,
    ];
    assert_eq!(types::ESP.to_string(), text);
    assert_eq!(types::ESP.to_mixed_endian(), bytes);
    assert_eq!(Guid::from_mixed_endian(bytes), types::ESP);
    assert_eq!(text.parse(), Ok(types::ESP));
    assert_eq!(text.to_uppercase().parse(), Ok(types::ESP));
}

#[test]
fn a_root_hashs_halves_are_read_as_text() {
    let mut hash = [0; 32];
    (0..).zip(&mut hash).for_each(|(at, byte)| *byte = at);
    let (data, verity) = Guid::root_hash_halves(&hash);
    assert_eq!(data.to_string(), "00010203-0405-0607-0809-0a0b0c0d0e0f");
    assert_eq!(verity.to_string(), "10111213-1415-1617-1819-1a1b1c1d1e1f");
}

#[test]
fn a_digest_becomes_a_guid_of_version_8() {
    let zeros = Guid::from_digest(&[0; 16]).to_string();
    assert_eq!(zeros, "00000000-0000-8000-8000-000000000000");
    let ones = Guid::from_digest(&[0xff; 16]).to_string();
    assert_eq!(ones, "ffffffff-ffff-8fff-bfff-ffffffffffff");
}

#[test]
fn what_is_no_guid_is_refused() {
    for text in [
        "",
        "c12a7328f81f11d2ba4b00a0c93ec93b",
        "{c12a7328-f81f-11d2-ba4b-00a0c93ec93b}",
        "c12a7328-f81f-11d2-ba4b-00a0c93ec93",
        "c12a7328-f81f-11d2-ba4b-00a0c93ec93b0",
        "c12a7328-f81f-11d2-ba4b-00a0c93ec93g",
        "+12a7328-f81f-11d2-ba4b-00a0c93ec93b",
        "c12a7328-f81f-11d2-ba4b00a0-c93ec93b",
        "c12a7328-f81f-11d2-ba4b-00a0c93ec93b ",
        "ſ12a732-f81f-11d2-ba4b-00a0c93ec93b",
    ] {
        let error = text.parse::<Guid>().expect_err(text).to_string();
        assert_eq!(
            error,
            format!("parse GUID {text:?}: expected 8-4-4-4-12 hex digits")
        );
    }
}

proptest! {
    #[test]
    fn every_form_leads_back(bytes in any::<[u8; 16]>()) {
        let guid = Guid::from_bytes(bytes);
        prop_assert_eq!(guid.to_string().parse(), Ok(guid));
        prop_assert_eq!(Guid::from_mixed_endian(guid.to_mixed_endian()), guid);
        prop_assert_eq!(Guid::from_u128(u128::from_be_bytes(bytes)), guid);
        prop_assert_eq!(guid.to_bytes(), bytes);
    }

    #[test]
    fn any_text_is_a_guid_or_not(text in "\\PC{0,40}") {
        if let Ok(guid) = text.parse::<Guid>() {
            prop_assert_eq!(guid.to_string(), text.to_lowercase());
        }
    }
}
