//! UEFI variables: chance and damage. What other tools make of them is in the tests of `i2kit keys
//! enrol`.
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

use i2kit_format::Guid;
use i2kit_format::efi::store::{self, Error};
use i2kit_format::efi::{self, SecureBoot, Signature, Time, Variable, ec2};
use proptest::prelude::*;
use support::digest;
use support::pe::put;

/// Where the parts of [`empty`] lie.
const STORE: usize = 72;
const FIRST: usize = STORE + 28;

/// A store of 4 KiB without variables, and 1 KiB of something else behind it.
fn empty() -> Vec<u8> {
    let mut out = vec![0xff; 5120];
    put(&mut out, 0, &[0; STORE]);
    let volume = Guid::from_u128(0xfff12b8d_7696_4c8b_a985_2747075b4f50);
    put(&mut out, 16, &volume.to_mixed_endian());
    put(&mut out, 32, &5120u64.to_le_bytes());
    put(&mut out, 40, b"_FVH");
    put(&mut out, 48, &(STORE as u16).to_le_bytes());
    let kind = Guid::from_u128(0xaaf32c78_947b_439a_a180_2e144ec37792);
    put(&mut out, STORE, &kind.to_mixed_endian());
    put(&mut out, STORE + 16, &4024u32.to_le_bytes());
    put(&mut out, STORE + 20, &[0x5a, 0xfe, 0, 0, 0, 0, 0, 0]);
    put(&mut out, 4096, b"the firmware's working space");
    out
}

fn variable(name: &str, data: &[u8]) -> Variable {
    Variable {
        name: name.to_owned(),
        vendor: efi::GLOBAL_VARIABLE,
        attributes: 7,
        time: Time {
            year: 2026,
            month: 2,
            day: 3,
            hour: 4,
            minute: 5,
            second: 6,
        },
        data: data.to_vec(),
    }
}

fn secure_boot() -> SecureBoot {
    SecureBoot {
        owner: Guid::from_u128(0x00010203_0405_0607_0809_0a0b0c0d0e0f),
        platform_key: b"platform".to_vec(),
        key_exchange_keys: vec![b"exchange".to_vec()],
        allowed: vec![
            Signature::X509(b"one".to_vec()),
            Signature::X509(b"other".to_vec()),
        ],
        forbidden: vec![Signature::Sha256([1; 32]), Signature::Sha256([2; 32])],
        time: variable("", b"").time,
    }
}

#[test]
fn the_variables_of_secure_boot_are_as_they_were() {
    let variables = secure_boot().edk2_variables();
    let names: Vec<&str> = variables.iter().map(|one| one.name.as_str()).collect();
    assert_eq!(names, ["PK", "KEK", "db", "dbx", "SecureBootEnable"]);
    let sizes: Vec<usize> = variables.iter().map(|one| one.data.len()).collect();
    // 28 for a list, 16 for the owner of each entry.
    assert_eq!(sizes, [52, 52, 28 + 16 + 3 + 28 + 16 + 5, 28 + 2 * 48, 1]);
    let written = store::write(&empty(), &variables).unwrap();
    assert_eq!(store::read(&written).unwrap(), variables);
    let blob = ec2::wrap(&ec2::entries(&secure_boot().variables()));
    assert_eq!(
        [digest(&written), digest(&blob)],
        [
            "2c7d5dff708f41514a5ef15abfe4171370ce30ccc293e6e8e4c3c3fee905ee69",
            "69adac979b1f8df015f51f9337fa5e4993e9979dac86cea3e14bf30e976e6958"
        ]
    );
}

#[test]
fn what_is_written_again_is_replaced_and_the_rest_stays() {
    let start = store::write(&empty(), &[variable("a", b"1"), variable("b", b"22")]).unwrap();
    let mut other = variable("a", b"another vendor's");
    other.vendor = efi::IMAGE_SECURITY_DATABASE;
    let changed = store::write(&start, &[variable("a", b"333"), other.clone()]).unwrap();
    assert_eq!(
        store::read(&changed).unwrap(),
        [variable("b", b"22"), variable("a", b"333"), other]
    );
    assert_eq!(changed.len(), start.len());
    assert_eq!(changed[4096..], empty()[4096..], "nothing else is touched");
}

#[test]
fn deleted_variables_do_not_count_and_half_replaced_ones_do() {
    let written = store::write(&empty(), &[variable("a", b"1"), variable("b", b"22")]).unwrap();
    let with_state = |state: u8| {
        let mut bytes = written.clone();
        bytes[FIRST + 2] = state;
        let names = store::read(&bytes).unwrap().into_iter();
        names.map(|one| one.name).collect::<Vec<_>>()
    };
    assert_eq!(with_state(0x3f), ["a", "b"]);
    assert_eq!(with_state(0x3e), ["a", "b"]);
    for deleted in [0x3d, 0x3c, 0x7f, 0xff] {
        assert_eq!(with_state(deleted), ["b"], "{deleted:x}");
    }
    let twice = store::write(&empty(), &[variable("a", b"1"), variable("a", b"2")]).unwrap();
    let mut replaced = twice;
    replaced[FIRST + 2] = 0x3e;
    assert_eq!(store::read(&replaced).unwrap(), [variable("a", b"2")]);
}

#[test]
fn a_store_has_an_end() {
    let room = STORE + 4024 - FIRST;
    let fits = variable("a", &vec![0; room - 64]);
    let full = store::write(&empty(), std::slice::from_ref(&fits)).unwrap();
    assert_eq!(store::read(&full).unwrap(), [fits]);
    let error = store::write(&empty(), &[variable("a", &vec![0; room - 63])]);
    assert!(
        matches!(error, Err(Error::Full { needed, room: found }) if needed == room + 1 && found == room)
    );
}

#[test]
fn what_is_no_store_is_refused() {
    let refused = |at: usize, bytes: &[u8]| {
        let mut store = empty();
        put(&mut store, at, bytes);
        store::read(&store).unwrap_err()
    };
    assert!(matches!(refused(16, &[0]), Error::NoVolume));
    assert!(matches!(refused(40, b"_FVX"), Error::NoVolume));
    assert!(matches!(refused(STORE, &[0]), Error::NotAuthenticated));
    assert!(matches!(refused(STORE + 20, &[0xff]), Error::Unhealthy));
    assert!(matches!(refused(STORE + 21, &[0xff]), Error::Unhealthy));
    for size in [0u32, 27, 5049, u32::MAX] {
        let error = refused(STORE + 16, &size.to_le_bytes());
        assert!(matches!(error, Error::Truncated { .. }), "{size}");
    }
    let mut cut = store::write(&empty(), &[variable("a", b"1")]).unwrap();
    put(&mut cut, FIRST + 40, &4000u32.to_le_bytes());
    assert!(matches!(store::read(&cut), Err(Error::Truncated { .. })));
    let mut odd = store::write(&empty(), &[variable("a", b"1")]).unwrap();
    put(&mut odd, FIRST + 60, &0xd800u16.to_le_bytes());
    assert!(matches!(store::read(&odd), Err(Error::Name(at)) if at == FIRST));
    for len in 0..FIRST {
        assert!(store::read(&empty()[..len]).is_err(), "{len}");
    }
}

fn any_variable() -> impl Strategy<Value = Variable> {
    let data = prop::collection::vec(any::<u8>(), 0..40);
    ("[^\0]{0,5}", any::<u128>(), any::<u32>(), data).prop_map(|(name, vendor, bits, data)| {
        Variable {
            vendor: Guid::from_u128(vendor),
            attributes: bits,
            data,
            ..variable(&name, b"")
        }
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read(variables in prop::collection::vec(any_variable(), 0..9)) {
        let written = store::write(&empty(), &variables).unwrap();
        prop_assert_eq!(store::read(&written).unwrap(), variables);
    }

    #[test]
    fn any_bytes_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..200), at in 0usize..400) {
        let mut store = store::write(&empty(), &[variable("a", b"1")]).unwrap();
        put(&mut store, at, &bytes);
        if let Ok(found) = store::read(&store) {
            prop_assert_eq!(store::read(&store::write(&store, &[]).unwrap()).unwrap(), found);
        }
    }
}
