//! Entries, drafts, holds and their ends, in one process: a lock belongs to whoever opened the
//! file, so two openings meet as two processes do.

use super::*;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, SystemTime};

fn open() -> (tempfile::TempDir, Cache) {
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::open(folder.path()).unwrap();
    (folder, cache)
}

fn count(cache: &Cache, name: &str) -> usize {
    fs::read_dir(cache.folders.root.join(name)).unwrap().count()
}

/// Makes the layer `key` with one file.
fn make(cache: &Cache, key: &str) -> Entry {
    let _lock = cache.lock(key).unwrap();
    let draft = cache.draft(key).unwrap();
    fs::write(draft.folder().join("data"), "x").unwrap();
    draft.commit().unwrap()
}

fn keep_blob(cache: &Cache, digest: &str) {
    let mut draft = cache.draft_blob(digest).unwrap().unwrap();
    io::Write::write_all(&mut draft.file, b"x").unwrap();
    draft.commit().unwrap();
}

fn everything() -> Policy {
    Policy {
        max_size: Some(0),
        older_than: None,
    }
}

fn removed(cache: &Cache) -> Vec<String> {
    let collected = cache.gc(&everything(), SystemTime::now(), false).unwrap();
    collected.removed.into_iter().map(|one| one.key).collect()
}

#[test]
fn an_entry_appears_only_by_commit() {
    let (_folder, cache) = open();
    let lock = cache.lock("k").unwrap();
    let draft = cache.draft("k").unwrap();
    fs::write(draft.folder().join("data"), "x").unwrap();
    assert!(cache.find("k").is_none());
    drop(draft);
    assert_eq!(count(&cache, "tmp"), 0);
    let draft = cache.draft("k").unwrap();
    fs::write(draft.folder().join("data"), "x").unwrap();
    let entry = draft.commit().unwrap();
    assert_eq!(cache.find("k").unwrap().folder(), entry.folder());
    assert_eq!(fs::read_dir(entry.folder()).unwrap().count(), 1);
    assert!(cache.discard(&entry, &lock).unwrap());
    assert!(cache.find("k").is_none());
    assert_eq!(count(&cache, "tmp"), 0);
}

#[test]
fn a_discarded_entry_leaves_the_one_made_after_it() {
    let (_folder, cache) = open();
    let damaged = make(&cache, "k");
    let lock = cache.lock("k").unwrap();
    assert!(cache.discard(&damaged, &lock).unwrap());
    drop(lock);
    drop(make(&cache, "k"));
    let lock = cache.lock("k").unwrap();
    assert!(!cache.discard(&damaged, &lock).unwrap());
    assert!(cache.find("k").is_some());
}

#[test]
fn opening_removes_the_drafts_of_dead_writers_only() {
    let (folder, cache) = open();
    let alive = cache.draft("k").unwrap();
    let dead = folder.path().join("v1/tmp/draft-dead");
    fs::create_dir_all(dead.join("within")).unwrap();
    let evicted = folder.path().join("v1/tmp/evicted-0-k");
    fs::create_dir(&evicted).unwrap();
    Cache::open(folder.path()).unwrap();
    assert!(alive.folder().exists() && !dead.exists() && !evicted.exists());
}

#[test]
fn a_piece_is_what_was_kept_or_nothing() {
    let (folder, cache) = open();
    assert_eq!(cache.piece("k"), None);
    cache.keep_piece("k", b"bytes").unwrap();
    assert_eq!(cache.piece("k").unwrap(), b"bytes");
    assert_eq!(count(&cache, "tmp"), 0);
    let path = folder.path().join("v1/pieces/k");
    for damaged in [&b"short"[..], &[b"Bytes", &[7; 32][..]].concat()] {
        fs::write(&path, damaged).unwrap();
        assert_eq!(cache.piece("k"), None);
    }
}

#[test]
fn a_document_is_what_its_digest_says_or_nothing() {
    let (folder, cache) = open();
    // printf '{}' | sha256sum
    let digits = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";
    let digest = format!("sha256:{digits}");
    assert_eq!(cache.document(&digest), None);
    cache.keep_document(b"{}").unwrap();
    assert_eq!(cache.document(&digest).unwrap(), b"{}");
    let path = folder.path().join("v1/documents/sha256").join(digits);
    fs::write(&path, "[]").unwrap();
    assert_eq!(cache.document(&digest), None);
    assert!(!path.exists(), "it stays and is in the way");
    cache.keep_document(b"{}").unwrap();
    fs::write(&path, "[]").unwrap();
    cache.keep_document(b"{}").unwrap();
    assert_eq!(cache.document(&digest).unwrap(), b"{}", "kept over it");
    for bad in [
        "",
        "sha256:",
        "sha256:../../x",
        &digest.to_uppercase(),
        digits,
    ] {
        assert_eq!(cache.document(bad), None, "{bad}");
        assert!(cache.blob(bad).is_none() && cache.draft_blob(bad).unwrap().is_none());
    }
}

#[test]
fn a_second_writer_waits_for_the_first() {
    let (_folder, cache) = open();
    let lock = cache.lock("k").unwrap();
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let _second = cache.lock("k").unwrap();
            tell.send(cache.find("k").is_some()).unwrap();
        });
        drop(cache.draft("k").unwrap().commit().unwrap());
        drop(lock);
        assert!(told.recv().unwrap());
    });
}

/// True when the kernel's table has a process that waits to lock the file.
fn has_waiter(inode: u64) -> bool {
    let locks = fs::read_to_string("/proc/locks").unwrap();
    let of_inode = format!(":{inode} ");
    locks
        .lines()
        .any(|line| line.contains("-> FLOCK") && line.contains(&of_inode))
}

#[test]
fn a_lock_that_was_removed_is_made_again() {
    let (folder, cache) = open();
    let path = folder.path().join("v1/locks/k");
    let first = cache.lock("k").unwrap();
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let second = cache.lock("k").unwrap();
            tell.send(Lock::try_now(&path).is_none()).unwrap();
            drop(second);
        });
        // The other has opened the file that is now removed.
        let inode = fs::metadata(&path).unwrap().ino();
        while !has_waiter(inode) {
            std::thread::yield_now();
        }
        first.remove();
        assert!(told.recv().unwrap(), "two have the lock");
    });
}

#[test]
fn what_is_in_use_is_not_evicted() {
    let (_folder, cache) = open();
    let used = make(&cache, "used");
    drop(make(&cache, "idle"));
    let found = cache.find("used").unwrap();
    drop(used);
    let being_made = cache.lock("idle").unwrap();
    assert_eq!(removed(&cache), [""; 0]);
    drop(being_made);
    let dry = cache.gc(&everything(), SystemTime::now(), true).unwrap();
    assert_eq!((dry.removed.len(), dry.kept.len()), (1, 1));
    assert_eq!(removed(&cache), ["idle"]);
    assert!(cache.find("idle").is_none());
    drop(found);
    assert_eq!(removed(&cache), ["used"]);
    assert_eq!((count(&cache, "tmp"), count(&cache, "locks")), (0, 0));
}

#[test]
fn a_blob_in_use_is_not_evicted() {
    let (_folder, cache) = open();
    let digest = format!("sha256:{}", "0".repeat(64));
    keep_blob(&cache, &digest);
    let file = cache.blob(&digest).unwrap();
    assert_eq!(removed(&cache), [""; 0]);
    drop(file);
    assert_eq!(removed(&cache), [digest]);
}

#[test]
fn use_makes_an_entry_young() {
    let (_folder, cache) = open();
    let long_ago = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    let digest = format!("sha256:{}", "0".repeat(64));
    cache.keep_piece("p", b"x").unwrap();
    cache.keep_document(b"x").unwrap();
    let document = cache.list().unwrap()[0].key.clone();
    keep_blob(&cache, &digest);
    drop(make(&cache, "layer"));
    let age = || {
        for one in cache.list().unwrap() {
            fs::File::open(&one.path)
                .unwrap()
                .set_modified(long_ago)
                .unwrap();
        }
    };
    let young = || {
        let all = cache.list().unwrap().into_iter();
        let young = all.filter(|one| one.last_used > long_ago);
        young.map(|one| one.key).collect::<Vec<_>>()
    };
    age();
    assert_eq!(cache.list().unwrap().len(), 4);
    for one in cache.list().unwrap() {
        drop(cache.hold(&one));
        let _ = cache.file_is_sound(&one);
    }
    assert_eq!(young(), [""; 0], "looking is no use");
    let uses: [(&str, &dyn Fn()); 4] = [
        ("p", &|| drop(cache.piece("p"))),
        (&document, &|| drop(cache.document(&document))),
        (&digest, &|| drop(cache.blob(&digest))),
        ("layer", &|| drop(cache.find("layer"))),
    ];
    for (key, used) in uses {
        age();
        used();
        assert_eq!(young(), [key]);
    }
}

#[test]
fn another_format_is_counted_and_only_an_older_one_goes() {
    let (folder, cache) = open();
    for name in ["v0/layers/k", "v2/layers/k", "base/v3", "vx"] {
        fs::create_dir_all(folder.path().join(name)).unwrap();
    }
    fs::write(folder.path().join("v0/layers/k/data"), vec![1; 100_000]).unwrap();
    let listed = cache.list().unwrap();
    let keys: Vec<_> = listed
        .iter()
        .map(|one| (one.kind, one.key.as_str()))
        .collect();
    assert_eq!(keys, [(Kind::Format, "v0"), (Kind::Format, "v2")]);
    assert!(listed[0].size >= 100_000);
    assert_eq!(removed(&cache), ["v0"]);
    assert!(!folder.path().join("v0").exists());
    for name in ["v2/layers/k", "base/v3", "vx"] {
        assert!(folder.path().join(name).exists(), "{name}");
    }
}

#[test]
fn a_cache_that_is_not_there_is_empty() {
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::at(&folder.path().join("none"));
    assert_eq!(cache.list().unwrap(), []);
    assert_eq!(cache.unfinished().unwrap(), 0);
    assert_eq!(removed(&cache), [""; 0]);
    assert!(!folder.path().join("none").exists());
    let limit = cache.default_limit();
    assert!((1..=DEFAULT_LIMIT).contains(&limit), "{limit}");
}

#[test]
fn a_reader_keeps_what_is_removed_under_it() {
    let (_folder, cache) = open();
    let entry = make(&cache, "k");
    let file = fs::File::open(entry.folder().join("data")).unwrap();
    let lock = cache.lock("k").unwrap();
    cache.discard(&entry, &lock).unwrap();
    assert_eq!(io::read_to_string(file).unwrap(), "x");
}
