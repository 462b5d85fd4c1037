//! What is too long, too large or too many, with the error that says so.

use i2kit_format::fat::{self, MAX_CLUSTERS, MIN_CLUSTERS, NewFile, Options};

use crate::volume::{Planned, one, options};

fn refused(files: &[NewFile], options: &Options) -> String {
    fat::plan(files, options).map(drop).unwrap_err().to_string()
}

fn paths<'a>(paths: impl IntoIterator<Item = &'a str>) -> Vec<NewFile> {
    paths.into_iter().flat_map(|path| one(path, 0)).collect()
}

/// The volume's paths, read back.
fn written(files: &[NewFile]) -> Vec<String> {
    let layout = fat::plan(files, &options()).unwrap();
    let entries = fat::read(&Planned(layout)).unwrap().entries;
    entries.into_iter().map(|entry| entry.path).collect()
}

#[test]
fn names_are_what_fat_can_hold() {
    for path in [
        "", "/A", "A/", "A//B", ".", "..", "A/./B", "A/../B", "A.", "A ", "A./B", " A", "a*",
        "a:b", "a<", "a>", "a?", "a\\b", "a|b", "a\"b", "a\nb", "a\x7f", "a\0",
    ] {
        assert_eq!(
            refused(&one(path, 0), &options()),
            format!(
                "plan FAT16: path {path:?} is not relative, with components of 1 to 255 UTF-16 \
                 units, none of them \".\" or \"..\", without control characters and any of \
                 \"*:<>?\\|, none starting with a space or ending in a dot or a space"
            )
        );
    }
    let longest = "🦀".repeat(127) + "n";
    assert!(written(&one(&longest, 0)).contains(&longest));
    let error = refused(&one(&(longest + "n"), 0), &options());
    assert!(
        error.contains("components of 1 to 255 UTF-16 units"),
        "{error}"
    );
}

/// 260 with the NUL at the end (specification, section 7).
#[test]
fn paths_have_259_units() {
    let longest = format!("a/b/{}", "n".repeat(255));
    assert_eq!(written(&one(&longest, 0)).last(), Some(&longest));
    let deep = format!("{}f", "d/".repeat(129));
    assert_eq!(written(&one(&deep, 0)).len(), 130);
    for path in [
        format!("{longest}/c"),
        format!("a{longest}"),
        format!("{deep}f"),
    ] {
        let units = path.len();
        assert_eq!(
            refused(&one(&path, 0), &options()),
            format!("plan FAT16: path {path:?} has {units} UTF-16 units, at most 259")
        );
    }
}

#[test]
fn names_differ_by_more_than_case() {
    for pair in [
        ["A", "a"],
        ["größe", "GRÖSSE"],
        ["D/x", "d/y"],
        ["D", "D/x"],
        ["d/x", "d"],
        ["A", "A"],
    ] {
        let error = refused(&paths(pair), &options());
        assert_eq!(
            error,
            format!(
                "plan FAT16: {:?} is there twice (FAT ignores case), or is file and directory",
                pair[1]
            )
        );
    }
}

#[test]
fn files_are_below_4_gib_and_volumes_below_2() {
    let most = u64::from(u32::MAX);
    assert_eq!(
        refused(&one("A", most + 1), &options()),
        "plan FAT16: \"A\" has 4294967296 bytes, at most 4 GiB - 1"
    );
    // 2047 MiB less boot sector, FATs and root.
    let max = 65_495 * 32_768;
    assert_eq!(
        refused(&one("A", most), &options()),
        format!("plan FAT16: {} bytes of clusters, at most {max}", most + 1)
    );
    fat::plan(&one("A", max), &options()).unwrap();
    assert_eq!(
        refused(&one("A", max + 1), &options()),
        format!(
            "plan FAT16: {} bytes of clusters, at most {max}",
            max + 32_768
        )
    );
    let mut many = one("A", u64::from(u32::MAX));
    many.extend(one("B", u64::from(u32::MAX)));
    assert_eq!(
        refused(&many, &options()),
        format!(
            "plan FAT16: {} bytes of clusters, at most {max}",
            2 * (most + 1)
        )
    );
    let mut small = one("A", max - 32_768);
    small.extend(paths_of_one_byte(1));
    fat::plan(&small, &options()).unwrap();
    small.extend(paths_of_one_byte(2));
    assert_eq!(
        refused(&small, &options()),
        format!(
            "plan FAT16: {} bytes of clusters, at most {max}",
            max + 65_536
        )
    );
    for min_size in [2 << 30, u64::MAX - 5, u64::MAX] {
        let huge = Options {
            min_size,
            ..options()
        };
        assert_eq!(
            refused(&one("A", 0), &huge),
            format!("plan FAT16: {min_size} bytes of clusters, at most {max}")
        );
    }
}

fn paths_of_one_byte(count: usize) -> Vec<NewFile> {
    (0..count)
        .flat_map(|index| one(&format!("B{count}{index}"), 1))
        .collect()
}

/// The label is an entry of the root; `.` and `..` are entries of the others.
#[test]
fn directories_hold_so_many_entries() {
    let short = |folder: &str, count: usize| -> Vec<NewFile> {
        (0..count)
            .flat_map(|index| one(&format!("{folder}F{index}"), 0))
            .collect()
    };
    assert_eq!(written(&short("", 511)).len(), 511);
    assert_eq!(
        refused(&short("", 512), &options()),
        "plan FAT16: directory \"/\" has more entries than fit"
    );
    assert_eq!(written(&short("D/", 65_533)).len(), 65_534);
    assert_eq!(
        refused(&short("D/", 65_534), &options()),
        "plan FAT16: directory \"/D\" has more entries than fit"
    );
    let mut both = short("D/", 40_000);
    both.extend(short("E/", 25_534));
    assert_eq!(written(&both).len(), 65_536);
    both.extend(one("F", 0));
    assert_eq!(
        refused(&both, &options()),
        "plan FAT16: 65537 files and directories, at most 65536"
    );
    // Two entries each, and a number each in what they are called in short.
    let long: Vec<NewFile> = (0..32_766)
        .flat_map(|index| one(&format!("D/file {index:05}"), 0))
        .collect();
    assert_eq!(written(&long).len(), 32_767);
}

#[test]
fn labels_are_1_to_11_characters() {
    let labelled = |label: &str| Options {
        label: label.to_owned(),
        ..options()
    };
    for label in [
        "",
        " ",
        "abc",
        "ABCDEFGHIJKL",
        "Ä",
        "A.B",
        "A\0",
        " A",
        "NO NAME",
        "NO NAME  ",
    ] {
        assert_eq!(
            refused(&[], &labelled(label)),
            format!(
                "plan FAT16: label {label:?} is not 1 to 11 of A-Z, 0-9, space, - and _, or starts \
                 with a space, or is \"NO NAME\""
            )
        );
    }
    let layout = fat::plan(&[], &labelled("A B-C_D0123")).unwrap();
    assert_eq!(fat::read(&Planned(layout)).unwrap().label, "A B-C_D0123");
}

/// The number of clusters alone makes a volume FAT16; this writer keeps a distance to the limits,
/// the reader takes all that the specification takes.
#[test]
fn cluster_counts_are_those_of_fat16() {
    let mut counts = Vec::new();
    for mib in (1..40).chain([
        64, 127, 128, 129, 255, 256, 511, 512, 1000, 1024, 1500, 2046,
    ]) {
        let options = Options {
            min_size: mib << 20,
            ..options()
        };
        let layout = Planned(fat::plan(&[], &options).unwrap());
        assert!(layout.0.size >= mib << 20);
        let count = clusters(&layout);
        assert!(
            (4101..=65_508).contains(&count),
            "{mib} MiB: {count} clusters"
        );
        counts.push(fat::read(&layout).unwrap().cluster_size);
    }
    counts.sort_unstable();
    counts.dedup();
    assert_eq!(counts, [512, 1024, 2048, 4096, 8192, 16384, 32768]);

    for (count, read) in [
        (
            MIN_CLUSTERS - 1,
            Some("read FAT16: 4084 clusters make it another kind of FAT"),
        ),
        (MIN_CLUSTERS, None),
        (MAX_CLUSTERS, None),
        (
            MAX_CLUSTERS + 1,
            Some("read FAT16: 65525 clusters make it another kind of FAT"),
        ),
    ] {
        let bytes = with_clusters(count);
        let answer = fat::read(&bytes)
            .map(drop)
            .map_err(|error| error.to_string());
        assert_eq!(answer.err().as_deref(), read, "{count} clusters");
    }
}

fn clusters(volume: &Planned) -> u64 {
    use i2kit_format::ReadAt;
    let mut boot = [0; 512];
    volume.read_exact_at(&mut boot, 0).unwrap();
    let word = |at: usize| u64::from(u16::from_le_bytes([boot[at], boot[at + 1]]));
    let before = word(14) + 2 * word(22) + word(17) * 32 / 512;
    (volume.len() / 512 - before) / u64::from(boot[13])
}

/// An empty volume of so many clusters of 512 bytes, as the specification has it.
fn with_clusters(count: u32) -> Vec<u8> {
    let mut bytes = vec![0; 512];
    let fat = (count + 2).div_ceil(256);
    let sectors = 1 + 2 * fat + 32 + count;
    bytes[..3].copy_from_slice(&[0xeb, 0x3c, 0x90]);
    bytes[11..13].copy_from_slice(&512u16.to_le_bytes());
    bytes[13] = 1;
    bytes[14] = 1;
    bytes[16] = 2;
    bytes[17..19].copy_from_slice(&512u16.to_le_bytes());
    bytes[22..24].copy_from_slice(&(fat as u16).to_le_bytes());
    bytes[32..36].copy_from_slice(&sectors.to_le_bytes());
    bytes[510..].copy_from_slice(&[0x55, 0xaa]);
    bytes.resize(sectors as usize * 512, 0);
    bytes
}
