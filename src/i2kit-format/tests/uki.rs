//! UKIs against binutils, chance and damage.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::disallowed_types,
    clippy::disallowed_methods
)]

mod support;

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::sync::LazyLock;

use i2kit_format::uki::{self, Error, NewSection};
use proptest::prelude::*;
use support::meter::peak_of;
use support::pe::{COFF, DIRECTORIES, HEADERS, OPTIONAL, TABLE, put, stub};
use support::{check_layout, digest, each_flipped_bit, finish, pattern, run, text};

type Sections<'a> = [(&'a str, &'a [u8])];

/// A stub as systemd's was made until version 253: an ELF library that objcopy turns into PE. It
/// has a symbol table, and a section that is not a multiple of the file's alignment.
static LINKED: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let folder = tempfile::tempdir().unwrap();
    let source = ".text\n.globl _start\n_start: ret\n.section .sdmagic,\"a\"\n.ascii \"#### \
                  LoaderInfo: test ####\"\n.data\n.quad 1\n";
    std::fs::write(folder.path().join("stub.s"), source).unwrap();
    for command in [
        "as -o stub.o stub.s",
        "ld -shared -nostdlib -o stub.so stub.o",
        "objcopy --file-alignment=4096 -j .text -j .sdmagic -j .data -O efi-app-x86_64 stub.so stub.efi",
    ] {
        let mut words = command.split(' ');
        let mut command = Command::new(words.next().unwrap());
        command.args(words).current_dir(folder.path());
        text(&finish(command));
    }
    std::fs::read(folder.path().join("stub.efi")).unwrap()
});

/// The sections of a UKI, with sizes around the alignments.
fn typical() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        (".osrel", b"ID=i2kit\n".to_vec()),
        (".cmdline", pattern(1, 300)),
        (".uname", b"6.12.0".to_vec()),
        (".initrd", pattern(2, 4096)),
        (".pad", pattern(3, 4095)),
        (".linux", pattern(4, 100_001)),
    ]
}

fn borrowed<'a>(sections: &'a [(&'a str, Vec<u8>)]) -> Vec<(&'a str, &'a [u8])> {
    sections
        .iter()
        .map(|(name, data)| (*name, data.as_slice()))
        .collect()
}

/// One line of `objdump -h`: name, size, virtual address, place in the file.
#[derive(Debug, PartialEq)]
struct Line {
    name: String,
    size: u64,
    address: u64,
    offset: u64,
}

fn objdump(path: &Path) -> Vec<Line> {
    let list = text(&run("objdump", &["-h"], path));
    let number = |text: &str| u64::from_str_radix(text, 16).unwrap();
    list.lines()
        .filter_map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            words.first()?.parse::<u32>().ok()?;
            Some(Line {
                name: words[1].to_owned(),
                size: number(words[2]),
                address: number(words[3]),
                offset: number(words[5]),
            })
        })
        .collect()
}

/// A field that `objdump -p` prints in hex.
fn header_field(path: &Path, name: &str) -> u64 {
    let list = text(&run("objdump", &["-p"], path));
    let line = list
        .lines()
        .find(|line| line.split_whitespace().next() == Some(name));
    let value = line
        .unwrap_or_else(|| panic!("no {name} in {list}"))
        .split_whitespace()
        .last();
    u64::from_str_radix(value.unwrap(), 16).unwrap()
}

/// binutils reads the same sections at the same places, and gives back the same bytes.
fn compare_with_binutils(folder: &Path, bytes: &[u8], sections: &Sections<'_>) {
    let path = folder.join("uki");
    std::fs::write(&path, bytes).unwrap();
    let image = uki::read(bytes).unwrap();
    let base = header_field(&path, "ImageBase");
    let ours: Vec<Line> = image
        .sections
        .iter()
        .map(|section| Line {
            name: section.name.clone(),
            size: section.size,
            address: base + u64::from(section.virtual_address),
            offset: section.offset,
        })
        .collect();
    assert_eq!(objdump(&path), ours);
    let mut command = Command::new("objcopy");
    for (index, (name, _)) in sections.iter().enumerate() {
        let dump = folder.join(index.to_string());
        command.arg(format!("--dump-section={name}={}", dump.display()));
    }
    command.args(["-O", "binary"]).arg(&path).arg("/dev/null");
    text(&finish(command));
    for (index, (name, data)) in sections.iter().enumerate() {
        let dumped = std::fs::read(folder.join(index.to_string())).unwrap();
        assert!(
            dumped == *data,
            "{name}: {} bytes of {}",
            dumped.len(),
            data.len()
        );
    }
    let last = image.sections.last().unwrap();
    let end = u64::from(last.virtual_address) + last.size;
    assert_eq!(
        header_field(&path, "SizeOfImage"),
        end.next_multiple_of(4096)
    );
    assert_eq!(header_field(&path, "CheckSum"), 0);
}

/// What a loader and a signer want: sections in order, apart, aligned, without gaps in the file,
/// which ends with the last one.
fn check_places(bytes: &[u8], stub: &[u8]) {
    let raw = raw_sections(bytes);
    let old = raw_sections(stub);
    assert_eq!(raw[..old.len()], old);
    for pair in raw.windows(2) {
        let ([_, address, size, offset], next) = (pair[0], pair[1]);
        assert!(
            next[1] >= (address + pair[0][0].max(1)).next_multiple_of(512),
            "{pair:?}"
        );
        assert!(next[1].is_multiple_of(512));
        assert_eq!(next[3], offset + size, "{pair:?}");
    }
    for [_, address, size, _] in &raw[old.len()..] {
        assert!(address.is_multiple_of(4096) && size.is_multiple_of(512));
    }
    for [_, _, _, offset] in raw.iter().skip(old.len() + 1) {
        assert!(offset.is_multiple_of(4096));
    }
    let last = raw.last().unwrap();
    assert_eq!(last[2] + last[3], bytes.len() as u64);
}

/// `VirtualSize`, `VirtualAddress`, `SizeOfRawData`, `PointerToRawData` of each section.
fn raw_sections(bytes: &[u8]) -> Vec<[u64; 4]> {
    let word = |at: usize| u64::from(u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()));
    let coff = word(60) as usize + 4;
    let count = usize::from(u16::from_le_bytes([bytes[coff + 2], bytes[coff + 3]]));
    let optional = usize::from(u16::from_le_bytes([bytes[coff + 16], bytes[coff + 17]]));
    let table = coff + 20 + optional;
    (0..count)
        .map(|index| [8, 12, 16, 20].map(|field| word(table + index * 40 + field)))
        .collect()
}

fn check(stub: &[u8], sections: &Sections<'_>) -> Vec<u8> {
    let bytes = uki::assemble(stub, sections).unwrap();
    let image = uki::read(bytes.as_slice()).unwrap();
    assert_eq!(image.machine, 0x8664);
    let old = uki::read(stub).unwrap().sections;
    assert_eq!(image.sections[..old.len()], old);
    assert_eq!(image.sections.len(), old.len() + sections.len());
    for (section, (name, data)) in image.sections[old.len()..].iter().zip(sections) {
        assert_eq!(section.name, *name);
        let start = section.offset as usize;
        assert!(
            bytes[start..start + section.size as usize] == **data,
            "{name}"
        );
        assert_eq!(image.section(name), Some(section));
    }
    check_places(&bytes, stub);
    bytes
}

#[test]
fn binutils_reads_what_was_written() {
    let sections = typical();
    for stub in [stub(), LINKED.clone()] {
        let folder = tempfile::tempdir().unwrap();
        let bytes = check(&stub, &borrowed(&sections));
        compare_with_binutils(folder.path(), &bytes, &borrowed(&sections));
    }
}

#[test]
fn symbols_and_signature_of_the_stub_are_dropped() {
    let symbols = |bytes: &[u8]| {
        let coff = u32::from_le_bytes(bytes[60..64].try_into().unwrap()) as usize + 4;
        bytes[coff + 8..coff + 16].iter().any(|byte| *byte != 0)
    };
    assert!(symbols(&LINKED));
    assert!(!symbols(&check(&LINKED, &[(".linux", b"kernel")])));
    let mut signed = stub();
    let signature = signed.len() as u32;
    put(&mut signed, DIRECTORIES + 4 * 8, &signature.to_le_bytes());
    put(&mut signed, DIRECTORIES + 4 * 8 + 4, &8u32.to_le_bytes());
    signed.extend([0xaa; 8]);
    let bytes = check(&signed, &[(".linux", b"kernel")]);
    assert_eq!(bytes[DIRECTORIES + 32..DIRECTORIES + 40], [0; 8]);
    assert!(bytes[HEADERS + 512..].starts_with(b"kernel\0\0"));
}

fn name() -> impl Strategy<Value = String> {
    "\\.u[a-z0-9]{1,6}"
}

fn sections(max: usize) -> impl Strategy<Value = Vec<(String, Vec<u8>)>> {
    let size = prop_oneof![
        3 => 1..9000usize,
        1 => prop::sample::select(vec![1, 511, 512, 513, 4095, 4096, 4097, 8192]),
    ];
    prop::collection::btree_map(name(), size, 0..max).prop_map(|made| {
        let data = |(index, (name, size))| (name, pattern(index, size));
        made.into_iter().enumerate().map(data).rev().collect()
    })
}

fn as_slices(sections: &[(String, Vec<u8>)]) -> Vec<(&str, &[u8])> {
    sections
        .iter()
        .map(|(name, data)| (name.as_str(), data.as_slice()))
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_is_read(sections in sections(17)) {
        check(&stub(), &as_slices(&sections));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 30, ..ProptestConfig::default() })]

    #[test]
    fn binutils_reads_random_sections(sections in sections(9), linked in any::<bool>()) {
        let folder = tempfile::tempdir().unwrap();
        let stub = if linked { LINKED.clone() } else { stub() };
        let bytes = check(&stub, &as_slices(&sections));
        compare_with_binutils(folder.path(), &bytes, &as_slices(&sections));
    }
}

fn small() -> Vec<u8> {
    uki::assemble(&stub(), &[(".cmdline", b"quiet"), (".linux", b"kernel")]).unwrap()
}

#[test]
fn a_file_cut_anywhere_is_refused() {
    let whole = small();
    let end = raw_sections(&whole)[2][3] as usize + 6;
    for len in 0..end {
        let error = uki::read(&whole[..len]).unwrap_err();
        assert!(
            matches!(error, Error::NotPe | Error::Truncated { .. }),
            "{len} bytes: {error}"
        );
        assert!(uki::assemble(&whole[..len], &[(".new", b"x")]).is_err());
    }
    // What is missing is the last section's padding.
    assert_eq!(uki::read(&whole[..end]).unwrap().sections.len(), 3);
}

#[test]
fn each_flipped_bit_of_the_headers_gives_an_answer() {
    let whole = small();
    each_flipped_bit(&whole, 0..HEADERS, |_, bad| {
        for section in uki::read(bad).into_iter().flat_map(|image| image.sections) {
            assert!(section.size == 0 || section.offset + section.size <= bad.len() as u64);
        }
        if let Ok(made) = uki::assemble(bad, &[(".new", b"x")]) {
            assert!(
                uki::read(made.as_slice())
                    .unwrap()
                    .section(".new")
                    .is_some()
            );
        }
    });
}

#[test]
fn headers_that_lie_are_named() {
    let read = |at: usize, value: &[u8]| {
        let mut bytes = stub();
        put(&mut bytes, at, value);
        uki::read(bytes.as_slice())
            .map(drop)
            .unwrap_err()
            .to_string()
    };
    let no_pe = "read PE: no \"MZ\" and \"PE\" signatures";
    assert_eq!(read(0, b"ZM"), no_pe);
    assert_eq!(read(64, b"NE\0\0"), no_pe);
    let past = |what: &str| format!("read PE: {what} ends past the file's 1536 bytes");
    assert_eq!(read(60, &u32::MAX.to_le_bytes()), past("the PE signature"));
    assert_eq!(read(60, &1533u32.to_le_bytes()), past("the PE signature"));
    assert_eq!(
        read(OPTIONAL, &0x10bu16.to_le_bytes()),
        "read PE: optional header has magic 0x010b, only PE32+ (0x020b) is read"
    );
    for size in [0, 111_u16] {
        assert_eq!(
            read(COFF + 16, &size.to_le_bytes()),
            format!("read PE: optional header has {size} bytes, PE32+ has 112 at least")
        );
    }
    assert_eq!(
        read(COFF + 16, &u16::MAX.to_le_bytes()),
        past("the section table")
    );
    assert_eq!(
        read(COFF + 2, &u16::MAX.to_le_bytes()),
        past("the section table")
    );
    for (at, value) in [(TABLE + 20, 1521_u32), (TABLE + 20, u32::MAX)] {
        assert_eq!(read(at, &value.to_le_bytes()), past("a section's data"));
    }
    // More in memory than in the file is zeros, more in the file than in memory padding.
    let mut bytes = stub();
    put(&mut bytes, TABLE + 8, &u32::MAX.to_le_bytes());
    assert_eq!(uki::read(bytes.as_slice()).unwrap().sections[0].size, 512);
}

#[test]
fn what_is_claimed_takes_no_memory() {
    let mut bytes = stub();
    put(&mut bytes, COFF + 2, &u16::MAX.to_le_bytes());
    let (read, peak) = peak_of(|| uki::read(bytes.as_slice()).map(drop));
    read.unwrap_err();
    assert!(peak < 64 << 10, "{peak} bytes");
    let mut bytes = stub();
    put(&mut bytes, TABLE + 16, &u32::MAX.to_le_bytes());
    let (planned, peak) = peak_of(|| uki::plan(&bytes, &[]).map(drop));
    assert_eq!(
        planned.unwrap_err().to_string(),
        "read PE: a section's data ends past the file's 1536 bytes"
    );
    assert!(peak < 64 << 10, "{peak} bytes");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn changed_files_are_read_or_refused(
        changes in prop::collection::vec((60..TABLE + 120, prop::sample::select(vec![0, 1, 2, 0x7f, 0x80, 0xff])), 1..8),
    ) {
        let mut bytes = small();
        for (at, value) in changes {
            bytes[at] = value;
        }
        let (_, peak) = peak_of(|| uki::read(bytes.as_slice()).map(drop));
        prop_assert!(peak < 1 << 20, "{} bytes", peak);
        if let Ok(made) = uki::plan(&bytes, &[NewSection { name: ".new".to_owned(), size: 5 }]) {
            check_layout(&made);
        }
    }

    #[test]
    fn random_bytes_are_no_file(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        prop_assert!(uki::read(bytes.as_slice()).is_err());
    }
}

#[test]
fn a_small_uki_is_as_it_was() {
    let bytes = small();
    let mut dump = String::new();
    for (row, line) in bytes.chunks(16).enumerate() {
        if line.iter().any(|byte| *byte != 0) {
            let hex: Vec<String> = line.iter().map(|byte| format!("{byte:02x}")).collect();
            writeln!(dump, "{:05x}  {}", row * 16, hex.join(" ")).unwrap();
        }
    }
    for section in uki::read(bytes.as_slice()).unwrap().sections {
        writeln!(dump, "{section:?}").unwrap();
    }
    writeln!(dump, "{} bytes, sha256={}", bytes.len(), digest(&bytes)).unwrap();
    insta::assert_snapshot!(dump);
}

fn refused(stub: &[u8], sections: &Sections<'_>) -> String {
    uki::assemble(stub, sections)
        .map(drop)
        .unwrap_err()
        .to_string()
}

#[test]
fn names_are_1_to_8_bytes_and_differ() {
    for name in ["", ".linuxxxx", ".a b", ".ä", ".a\0", "/4"] {
        assert_eq!(
            refused(&stub(), &[(name, b"x")]),
            format!(
                "assemble UKI: section name {name:?} is not 1 to 8 printable ASCII bytes, the \
                 first one no slash"
            )
        );
    }
    check(&stub(), &[(".1234567", b"x"), (".a/b", b"y")]);
    for pair in [[".a", ".a"], [".a", ".text"]] {
        assert_eq!(
            refused(&stub(), &[(pair[0], b"x"), (pair[1], b"y")]),
            format!("assemble UKI: two sections {:?}", pair[1])
        );
    }
    assert_eq!(
        refused(&stub(), &[(".a", b"")]),
        "assemble UKI: section \".a\" is empty"
    );
}

/// Between the table and the first section's data are 1024 - 368 bytes: 16 headers and a rest.
#[test]
fn section_headers_need_room() {
    let names: Vec<String> = (0..17).map(|index| format!(".s{index}")).collect();
    let sections: Vec<(&str, &[u8])> = names
        .iter()
        .map(|name| (name.as_str(), &b"x"[..]))
        .collect();
    check(&stub(), &sections[..16]);
    let no_room = |needed: usize, room: usize| {
        format!("assemble UKI: {needed} bytes of section headers, the stub has room for {room}")
    };
    assert_eq!(refused(&stub(), &sections), no_room(680, 656));
    // What lies there is not written over.
    let mut full = stub();
    full[TABLE + 40 + 79] = 1;
    assert_eq!(refused(&full, &sections[..2]), no_room(80, 79));
    let error = uki::assemble(&full, &sections[..2]).unwrap_err();
    assert!(error.hint().unwrap().contains("larger headers"));
    // SizeOfHeaders ends before the data.
    let mut short = stub();
    put(&mut short, OPTIONAL + 60, &512u32.to_le_bytes());
    assert_eq!(refused(&short, &sections[..4]), no_room(160, 144));
    // A stub without data.
    let mut empty = stub();
    put(&mut empty, TABLE + 16, &[0; 4]);
    assert_eq!(refused(&empty, &sections[..1]), no_room(40, 0));
}

#[test]
fn stubs_that_lie_are_named() {
    let with = |at: usize, value: u32| {
        let mut bytes = stub();
        put(&mut bytes, at, &value.to_le_bytes());
        refused(&bytes, &[(".new", b"x")])
    };
    for (file, section) in [(0, 4096), (3, 4096), (512, 0), (512, 4095)] {
        let mut bytes = stub();
        put(&mut bytes, OPTIONAL + 36, &u32::to_le_bytes(file));
        put(&mut bytes, OPTIONAL + 32, &u32::to_le_bytes(section));
        assert_eq!(
            refused(&bytes, &[(".new", b"x")]),
            format!("read PE: FileAlignment {file}, SectionAlignment {section}")
        );
    }
    // More data directories than the optional header holds: clearing one would hit a section.
    assert_eq!(
        with(OPTIONAL + 108, 17),
        "read PE: optional header of 240 bytes has no room for 17 data directories"
    );
    assert_eq!(
        with(OPTIONAL + 108, u32::MAX),
        "read PE: optional header of 240 bytes has no room for 4294967295 data directories"
    );
    check(
        &{
            let mut bytes = stub();
            put(&mut bytes, OPTIONAL + 108, &4u32.to_le_bytes());
            bytes
        },
        &[(".new", b"x")],
    );
}

#[test]
fn a_uki_ends_below_4_gib() {
    let sized = |sizes: &[u64]| {
        let sections: Vec<NewSection> = sizes
            .iter()
            .zip('a'..)
            .map(|(size, letter)| NewSection {
                name: format!(".{letter}"),
                size: *size,
            })
            .collect();
        uki::plan(&stub(), &sections)
    };
    let too_large = "assemble UKI: past the 4 GiB that a PE file can address";
    // From 0x2000 in memory, and SizeOfImage is 32 bits.
    let most = (1 << 32) - 0x2000 - 4096;
    let layout = sized(&[most]).unwrap();
    check_layout(&layout);
    for sizes in [
        &[most + 1][..],
        &[1 << 32],
        &[u64::MAX],
        &[most, 1],
        &[1 << 31, 1 << 31],
        &[u64::MAX / 2, u64::MAX / 2],
    ] {
        let error = sized(sizes).map(drop).unwrap_err().to_string();
        assert_eq!(error, too_large, "{sizes:?}");
    }
    let hinted = uki::plan(b"", &[]).unwrap_err();
    assert!(hinted.hint().unwrap().contains("linuxx64.efi.stub"));
}
