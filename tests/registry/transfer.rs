//! Bytes that come late, cut, twice, wrong or not at all.

use std::time::{Duration, Instant};

use i2kit::oci::Source;
use i2kit::oci::registry::{Options, Ranges, Reason};

use super::*;
use crate::support::registry::http::Response;
use crate::support::registry::{Fault, Rule, Seen};

fn reason(error: &Error) -> &Reason {
    match error {
        Error::Registry(error) => error.reason(),
        other => panic!("{other}"),
    }
}

fn blobs(registry: &Registry) -> Vec<Seen> {
    let seen = registry.seen().into_iter();
    seen.filter(|one| one.path.contains("/blobs/")).collect()
}

#[test]
fn an_image_is_what_its_layout_is() {
    let folder = tempfile::tempdir().unwrap();
    let layout = image(folder.path(), &[200_000, 0, 70_000, 5]);
    let registry = Registry::start();
    registry.load(&layout, NAME);
    let desk = Desk::new();
    let source = Arc::new(desk.source(repository(&registry)));
    let found = convert(source.clone(), &folder.path().join("cache")).unwrap();
    assert_eq!(contents(&found), expected(&layout));
    let seen = registry.seen();
    // The manifest, the config, four layers: nothing is asked twice.
    assert_eq!(seen.len(), 6, "{seen:?}");
    assert!(seen[0].path.ends_with("/v2/team/app/manifests/latest"));
    assert!(seen[0].headers["accept"].contains("vnd.oci.image.index.v1+json"));
    assert!(seen[0].headers["user-agent"].starts_with("i2kit/"));
    assert!(desk.clock.slept().is_empty());
    let image = source.image(&Platform::default()).unwrap();
    assert_eq!(image.layers.len(), 4);
}

#[test]
fn a_cut_connection_goes_on_from_the_byte_reached() {
    let registry = Registry::start();
    let bytes = noise(1, 300_000);
    let digest = registry.put_blob(bytes.clone());
    let cut = |at| Rule::new("/blobs/", Fault::Cut(at)).times(1);
    registry.script([cut(100_000), cut(0), cut(50_000)]);
    let desk = Desk::new();
    let found = desk
        .read(&repository(&registry), &digest, bytes.len())
        .unwrap();
    assert!(found == bytes);
    let ranges: Vec<_> = blobs(&registry)
        .iter()
        .map(|one| one.headers.get("range").cloned())
        .collect();
    let from = |at: usize| Some(format!("bytes={at}-"));
    assert_eq!(ranges, [None, from(100_000), from(100_000), from(150_000)]);
    let etag = format!("\"{digest}\"");
    assert_eq!(blobs(&registry)[3].headers["if-range"], etag);
    // After progress the waits begin anew.
    let waits: Vec<_> = desk.clock.slept().iter().map(Duration::as_millis).collect();
    assert_eq!(waits, [50, 100, 50]);
}

#[test]
fn a_blob_that_never_goes_on_is_given_up() {
    let registry = Registry::start();
    let bytes = noise(1, 100_000);
    let digest = registry.put_blob(bytes.clone());
    registry.script([
        Rule::new("/blobs/", Fault::Cut(50_000)).times(1),
        Rule::new("/blobs/", Fault::Cut(3)),
    ]);
    let desk = Desk::new();
    let error = desk.fails(&repository(&registry), &digest, bytes.len());
    // 50,000 and 3 bytes a try, the last of which ends it.
    let text = error.to_string();
    assert!(
        text.ends_with("ended after 50009 of 100000 bytes"),
        "{text}"
    );
    assert!(
        text.contains("registry.test/team/app") && text.contains(&digest),
        "{text}"
    );
    assert_eq!(blobs(&registry).len(), 4);
}

#[test]
fn a_range_that_is_ignored_is_read_past() {
    for fault in [Fault::IgnoreRange, Fault::RefuseRange] {
        let registry = Registry::start();
        let bytes = noise(2, 200_000);
        let digest = registry.put_blob(bytes.clone());
        registry.script([
            Rule::new("/blobs/", Fault::Cut(120_000)).times(1),
            Rule::new("/blobs/", fault.clone()).times(1),
        ]);
        let found = Desk::new().read(&repository(&registry), &digest, bytes.len());
        assert!(found.unwrap() == bytes, "{fault:?}");
    }
}

#[test]
fn a_lying_content_range_is_not_believed() {
    let says = |text: &str| Fault::Header("Content-Range", text.to_owned());
    for fault in [
        says("bytes 0-199999/200000"),
        says("bytes 119999-199999/200000"),
        says("bytes 120000-199999/300000"),
        says("bytes 120000-300000/200000"),
        says("bytes 120000-1/200000"),
        says("pages 1-2/3"),
        says(""),
    ] {
        let registry = Registry::start();
        let bytes = noise(3, 200_000);
        let digest = registry.put_blob(bytes.clone());
        registry.script([
            Rule::new("/blobs/", Fault::Cut(120_000)).times(1),
            Rule::new("/blobs/", fault.clone()).times(1),
        ]);
        let desk = Desk::new();
        let found = desk.read(&repository(&registry), &digest, bytes.len());
        assert!(found.unwrap() == bytes, "{fault:?}");
        let notes = desk.notes();
        assert!(notes[0].contains("Content-Range"), "{notes:?}");
        assert_eq!(blobs(&registry)[2].headers.get("range"), None);
    }
}

#[test]
fn a_range_of_other_bytes_is_found_by_the_digest() {
    let folder = tempfile::tempdir().unwrap();
    let layout = image(folder.path(), &[200_000]);
    let registry = Registry::start();
    registry.load(&layout, NAME);
    let desk = Desk::new();
    let source = Arc::new(desk.source(repository(&registry)));
    let layer = &layers(&*source)[0];
    let path = format!("/blobs/{}", layer.digest);
    registry.script([
        Rule::new(&path, Fault::Cut(100_000)).times(1),
        Rule::new(&path, Fault::ShiftRange(7)).times(1),
    ]);
    let cache = folder.path().join("cache");
    let error = convert(source.clone(), &cache).unwrap_err();
    assert!(error.contains("its bytes are sha256:"), "{error}");
    assert_eq!(left_in(&cache), 0);
    assert_eq!(
        contents(&convert(source, &cache).unwrap()),
        expected(&layout)
    );
}

#[test]
fn wrong_bytes_leave_nothing_in_the_cache() {
    let folder = tempfile::tempdir().unwrap();
    let layout = image(folder.path(), &[50_000]);
    let registry = Registry::start();
    registry.load(&layout, NAME);
    let source = Arc::new(Desk::new().source(repository(&registry)));
    let digest = layers(&*source)[0].digest;
    registry.script([Rule::new(format!("/blobs/{digest}"), Fault::Corrupt(30_000)).times(1)]);
    let cache = folder.path().join("cache");
    let error = convert(source.clone(), &cache).unwrap_err();
    assert!(
        error.starts_with(&format!("check layer {digest}")),
        "{error}"
    );
    assert_eq!(left_in(&cache), 0);
    assert_eq!(
        contents(&convert(source, &cache).unwrap()),
        expected(&layout)
    );
}

#[test]
fn a_wrong_length_is_told() {
    let registry = Registry::start();
    let bytes = noise(4, 20_000);
    let digest = registry.put_blob(bytes.clone());
    let repository = repository(&registry);
    for (more, expected) in [
        (5, "20005 bytes where 20000"),
        (-5, "19995 bytes where 20000"),
    ] {
        registry.script([Rule::new("/blobs/", Fault::Length(more))]);
        let error = Desk::new().fails(&repository, &digest, bytes.len());
        assert!(error.to_string().contains(expected), "{error}");
        assert!(matches!(reason(&error), Reason::OtherSize { .. }));
    }
    // Nor does the manifest's word for it make one that the registry hasn't.
    registry.script([]);
    let error = Desk::new().fails(&repository, &digest, 10 << 40);
    assert!(
        error
            .to_string()
            .contains("20000 bytes where 10995116277760"),
        "{error}"
    );
}

#[test]
fn a_blob_without_a_length_comes_whole() {
    let registry = Registry::start();
    let bytes = noise(5, 20_000);
    let digest = registry.put_blob(bytes.clone());
    registry.script([Rule::new("/blobs/", Fault::Chunked)]);
    let repository = repository(&registry);
    let found = Desk::new().read(&repository, &digest, bytes.len());
    assert!(found.unwrap() == bytes);
    let unknown = BlobSpec {
        size: None,
        ..blob(&digest, 0)
    };
    let found = read(Desk::new().client.blob(&repository, &unknown).unwrap());
    assert!(found.unwrap() == bytes);
    for spec in [blob(&digest, bytes.len()), unknown] {
        let cut = Rule::new("/blobs/", Fault::CutChunk(9000)).times(1);
        registry.script([cut, Rule::new("/blobs/", Fault::Chunked)]);
        let found = read(Desk::new().client.blob(&repository, &spec).unwrap());
        assert!(found.unwrap() == bytes);
    }
    // Too few are noticed all the same, and too many are delivered for the reader to notice.
    let error = Desk::new().fails(&repository, &digest, 30_000);
    assert!(
        error.to_string().contains("ended after 20000 of 30000"),
        "{error}"
    );
    let found = Desk::new().read(&repository, &digest, 10_000);
    assert_eq!(found.unwrap().len(), 20_000);
}

#[test]
fn who_sends_nothing_or_too_little_is_left() {
    let registry = Registry::start();
    let bytes = noise(6, 50_000);
    let digest = registry.put_blob(bytes.clone());
    let repository = repository(&registry);
    for (fault, expected) in [
        (Fault::Stall(100), "timed out waiting for the next byte"),
        (Fault::Silent, "timed out waiting for the"),
        (
            Fault::Trickle(Duration::from_millis(5)),
            "less than 2000 bytes a second",
        ),
    ] {
        registry.script([Rule::new("/blobs/", fault.clone())]);
        let mut options = options();
        options.retry.attempts = 2;
        let desk = Desk::with(options, Anonymous);
        let begin = Instant::now();
        let error = desk.fails(&repository, &digest, bytes.len());
        let took = begin.elapsed();
        assert!(error.to_string().contains(expected), "{fault:?}: {error}");
        assert!(took < Duration::from_secs(4), "{fault:?}: {took:?}");
        assert!(hint(&error).contains("HTTPS_PROXY"), "{}", hint(&error));
        registry.script([Rule::new("/blobs/", fault).times(1)]);
        assert!(desk.read(&repository, &digest, bytes.len()).unwrap() == bytes);
    }
}

#[test]
fn a_slow_reader_is_not_a_slow_registry() {
    let registry = Registry::start();
    let bytes = noise(7, 1_000_000);
    let digest = registry.put_blob(bytes.clone());
    let desk = Desk::new();
    let mut blob = desk
        .client
        .blob(&repository(&registry), &blob(&digest, bytes.len()))
        .unwrap();
    let mut first = [0; 80];
    // Slower than any limit of the client, if it counted that.
    for piece in first.chunks_mut(10) {
        blob.read_exact(piece).unwrap();
        std::thread::sleep(Duration::from_millis(90));
    }
    let rest = read(blob).unwrap();
    assert!([&first[..], &rest].concat() == bytes);
    assert_eq!(blobs(&registry).len(), 1);
}

#[test]
fn what_the_registry_asks_to_wait_is_waited() {
    let registry = Registry::start();
    let digest = registry.put_blob(b"x".to_vec());
    let busy = |status, after: &str| {
        let said = Response::error(status, "TOOMANYREQUESTS", "you have reached your limit");
        Fault::Answer(said.with("Retry-After", after))
    };
    let date = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(30));
    registry.script([
        Rule::new("/blobs/", busy(429, "7")).times(1),
        Rule::new("/blobs/", busy(503, &date)).times(1),
    ]);
    let desk = Desk::new();
    assert_eq!(desk.read(&repository(&registry), &digest, 1).unwrap(), b"x");
    let slept = desk.clock.slept();
    assert_eq!(slept[0], Duration::from_secs(7));
    assert!((25..=30).contains(&slept[1].as_secs()), "{slept:?}");
    // No longer than the bound.
    registry.script([Rule::new("/blobs/", busy(429, "3600"))]);
    let desk = Desk::new();
    let error = desk.fails(&repository(&registry), &digest, 1);
    let text = error.to_string();
    assert!(
        text.contains("429 Too Many Requests: TOOMANYREQUESTS: you have reached"),
        "{text}"
    );
    assert!(text.contains("(asks to wait 3600 s)"), "{text}");
    assert!(hint(&error).contains("rate"));
    assert!(desk.clock.slept().is_empty());
}

#[test]
fn trouble_of_the_registry_is_tried_again_and_told() {
    let registry = Registry::start();
    let digest = registry.put_blob(b"x".to_vec());
    let trouble = |status| Fault::Answer(Response::error(status, "UNKNOWN", "disk on fire"));
    for fault in [trouble(500), trouble(502), Fault::Drop] {
        registry.script([Rule::new("/blobs/", fault.clone()).times(3)]);
        let desk = Desk::new();
        assert_eq!(desk.read(&repository(&registry), &digest, 1).unwrap(), b"x");
        assert_eq!(desk.clock.slept().len(), 3, "{fault:?}");
    }
    registry.forget();
    registry.script([Rule::new("/blobs/", trouble(500))]);
    let error = Desk::new().fails(&repository(&registry), &digest, 1);
    let text = error.to_string();
    assert!(
        text.contains("500 Internal Server Error: UNKNOWN: disk on fire"),
        "{text}"
    );
    assert_eq!(blobs(&registry).len(), 4);
    // What will not get better is asked once.
    registry.forget();
    registry.script([Rule::new("/blobs/", trouble(400))]);
    Desk::new().fails(&repository(&registry), &digest, 1);
    assert_eq!(blobs(&registry).len(), 1);
    registry.script([Rule::new("/blobs/", Fault::Garbage)]);
    let error = Desk::new().fails(&repository(&registry), &digest, 1);
    assert!(
        matches!(reason(&error), Reason::BadAnswer { .. }),
        "{error}"
    );
}

fn in_ranges() -> Options {
    Options {
        ranges: Ranges {
            threshold: 100_000,
            chunk: 30_000,
            streams: 3,
        },
        ..options()
    }
}

#[test]
fn a_large_blob_comes_in_ranges_in_order() {
    let registry = Registry::start();
    let bytes = noise(8, 400_001);
    let digest = registry.put_blob(bytes.clone());
    // Long enough for requests to be there at once.
    registry.set_latency(Duration::from_millis(50));
    registry.script([
        Rule::new("/blobs/", Fault::Cut(5_000)).skip(2).times(3),
        Rule::new("/blobs/", Fault::Stall(5_000)).skip(4).times(1),
    ]);
    let desk = Desk::with(in_ranges(), Anonymous);
    let found = desk.read(&repository(&registry), &digest, bytes.len());
    assert!(found.unwrap() == bytes);
    let seen = blobs(&registry);
    assert!(seen.iter().all(|one| one.status == 206), "{seen:?}");
    // 14 chunks and 4 that were cut.
    assert_eq!(seen.len(), 18);
    assert!((2..=3).contains(&registry.peak()), "{}", registry.peak());
    // A smaller one comes in one piece.
    registry.forget();
    registry.script([]);
    let small = registry.put_blob(noise(9, 99_999));
    desk.read(&repository(&registry), &small, 99_999).unwrap();
    assert_eq!(blobs(&registry).len(), 1);
}

#[test]
fn ranges_ahead_are_bounded() {
    let registry = Registry::start();
    let bytes = noise(10, 400_000);
    let digest = registry.put_blob(bytes.clone());
    let desk = Desk::with(in_ranges(), Anonymous);
    let mut blob = desk
        .client
        .blob(&repository(&registry), &blob(&digest, bytes.len()))
        .unwrap();
    let mut first = [0; 10];
    blob.read_exact(&mut first).unwrap();
    // Whoever reads no further gets no more than three ranges fetched ahead.
    let begin = Instant::now();
    while blobs(&registry).len() < 4 {
        assert!(begin.elapsed() < Duration::from_secs(10));
        std::thread::yield_now();
    }
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(blobs(&registry).len(), 4);
    let rest = read(blob).unwrap();
    assert!([&first[..], &rest].concat() == bytes);
}

#[test]
fn refused_ranges_fall_back_to_one_stream() {
    let registry = Registry::start();
    let bytes = noise(11, 300_000);
    let digest = registry.put_blob(bytes.clone());
    for rule in [
        Rule::new("/blobs/", Fault::IgnoreRange),
        Rule::new("/blobs/", Fault::RefuseRange).times(1),
        Rule::new("/blobs/", Fault::IgnoreRange).skip(4),
        Rule::new("/blobs/", Fault::RefuseRange).skip(2),
        Rule::new(
            "/blobs/",
            Fault::Header("Content-Range", "bytes 0-29999/300001".to_owned()),
        ),
        Rule::new(
            "/blobs/",
            Fault::Header("Content-Range", "bytes 0-9/300000".to_owned()),
        )
        .skip(3),
    ] {
        registry.script([rule.clone()]);
        let desk = Desk::with(in_ranges(), Anonymous);
        let found = desk.read(&repository(&registry), &digest, bytes.len());
        assert!(
            found.unwrap_or_else(|error| panic!("{rule:?}: {error}")) == bytes,
            "{rule:?}"
        );
    }
}

#[test]
fn a_range_that_cannot_be_had_ends_it() {
    let registry = Registry::start();
    let bytes = noise(12, 300_000);
    let digest = registry.put_blob(bytes.clone());
    registry.script([Rule::new("/blobs/", Fault::Drop).skip(3)]);
    let desk = Desk::with(in_ranges(), Anonymous);
    let error = desk.fails(&repository(&registry), &digest, bytes.len());
    assert!(matches!(reason(&error), Reason::Io(_)), "{error}");
}

#[test]
fn a_host_gets_no_more_requests_than_it_should() {
    let registry = Registry::start();
    let digest = registry.put_blob(noise(1, 100_000));
    let options = Options {
        requests_per_host: 2,
        ..options()
    };
    let desk = Desk::with(options, Anonymous);
    let open = || {
        let opened = desk
            .client
            .blob(&repository(&registry), &blob(&digest, 100_000));
        opened.unwrap()
    };
    let (first, second) = (open(), open());
    std::thread::scope(|scope| {
        let third = scope.spawn(|| read(open()).unwrap().len());
        // Whoever only has an answer and reads no further is still being served.
        std::thread::sleep(Duration::from_millis(200));
        assert!(!third.is_finished());
        assert_eq!(blobs(&registry).len(), 2);
        assert_eq!(read(first).unwrap().len(), 100_000);
        assert_eq!(third.join().unwrap(), 100_000);
    });
    // One that is given up makes room, too.
    drop(second);
    let (_third, _fourth) = (open(), open());
}
