//! Layers that are large in one way or another.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{FileExt, MetadataExt};

use serde_json::json;

use super::Built;
use crate::support::layout::Compression;
use crate::support::tarball::{Dialect, Item, archive};

#[test]
fn a_folder_of_100_000_entries() {
    let count = 100_000;
    let mut items = vec![Item::dir("many")];
    items.extend((0..count).map(|index| Item::file(format!("many/entry-{index}"), "")));
    let layers = vec![(archive(&items, Dialect::Pax), Compression::Zstd)];
    let built = Built::new(&[("many".to_owned(), layers)]);
    let folder = built.root("many").join("many");
    let mut seen: Vec<u32> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| {
            let name = entry.unwrap().file_name().into_string().unwrap();
            name.strip_prefix("entry-").unwrap().parse().unwrap()
        })
        .collect();
    seen.sort_unstable();
    assert!(seen.into_iter().eq(0..count));
    for index in [0, 1, 49_999, 99_999] {
        let found = fs::metadata(folder.join(format!("entry-{index}"))).unwrap();
        assert_eq!(found.mtime(), 1_700_000_000);
    }
    assert!(!folder.join("entry-100000").exists());
}

/// A tar of one file of `size` bytes with `marks` in it, zeros elsewhere; never in memory.
struct Huge {
    size: u64,
    at: u64,
    marks: Vec<(u64, Vec<u8>)>,
}

impl Read for Huge {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        let len = usize::try_from(self.size - self.at)
            .unwrap_or(usize::MAX)
            .min(buf.len());
        let (from, to) = (self.at, self.at + len as u64);
        buf[..len].fill(0);
        for (offset, bytes) in &self.marks {
            for (index, byte) in bytes.iter().enumerate() {
                let place = offset + index as u64;
                if (from..to).contains(&place) {
                    buf[usize::try_from(place - from).unwrap()] = *byte;
                }
            }
        }
        self.at = to;
        Ok(len)
    }
}

#[test]
fn a_file_over_4_gib() {
    use sha2::{Digest, Sha256};
    let size = (4u64 << 30) + (700 << 20) + 5;
    let marks = vec![
        (3, b"near the start".to_vec()),
        ((4 << 30) - 3, b"across 4 GiB".to_vec()),
        (size - 3, b"end".to_vec()),
    ];
    let mut header = tar::Header::new_gnu();
    header.set_path("huge").unwrap();
    header.set_size(size);
    header.set_mode(0o644);
    header.set_cksum();
    let padding = vec![0; usize::try_from(size.next_multiple_of(512) - size).unwrap() + 1024];
    let content = Huge {
        size,
        at: 0,
        marks: marks.clone(),
    };
    let mut tar = header.as_bytes().chain(content).chain(&padding[..]);
    // The layout's writer takes a whole tar; this one is compressed as it comes.
    let (mut hash, mut blob) = (Sha256::new(), zstd::Encoder::new(Vec::new(), 1).unwrap());
    let mut buffer = vec![0; 1 << 20];
    loop {
        let got = tar.read(&mut buffer).unwrap();
        if got == 0 {
            break;
        }
        hash.update(&buffer[..got]);
        blob.write_all(&buffer[..got]).unwrap();
    }
    let diff_id = format!("sha256:{}", hex::encode(hash.finalize()));
    let layout = tempfile::tempdir().unwrap();
    crate::support::layout::write_blobs(
        layout.path(),
        &[(blob.finish().unwrap(), "+zstd", diff_id)],
        &json!({"Cmd": ["/x"]}),
    );
    let built = Built::from_layout("huge", layout.path());
    let path = built.root("huge").join("huge");
    assert_eq!(fs::metadata(&path).unwrap().len(), size);
    let file = fs::File::open(&path).unwrap();
    for (offset, bytes) in marks {
        let mut found = vec![1; bytes.len() + 8];
        let start = offset - 3;
        let got = file.read_at(&mut found, start).unwrap();
        let mut expected = [vec![0; 3], bytes, vec![0; 5]].concat();
        expected.truncate(got);
        assert_eq!(&found[..got], &expected[..], "at {offset}");
    }
    // Zeros take no room.
    let disk = fs::metadata(built.bench.path("disk.raw")).unwrap();
    assert!(disk.len() < 200 << 20, "{} bytes", disk.len());
}
