//! Tests: odd layers end up in the mounted store as containerd unpacks them, entry by entry, and
//! as umoci does where it can.

mod cases;
mod large;
mod random;

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::support::containerd::Containerd;
use crate::support::layout::{self, Compression};
use crate::support::listing::{self, Listing, Mount};
use crate::support::output_of;
use crate::support::tarball::archive;
use crate::support::vm::Bench;
use cases::{Case, Verdict};

/// A layer's tar and how it is compressed.
type Layer = (Vec<u8>, Compression);

/// A Pod of many images in one disk, its store mounted.
struct Built {
    bench: Bench,
    mount: Option<Mount>,
}

impl Built {
    /// `images` by container name; every layout is written below the bench's folder.
    fn new(images: &[(String, Vec<Layer>)]) -> Self {
        let bench = Bench::new();
        let mut layouts = Vec::new();
        for (name, layers) in images {
            let folder = bench.path(name);
            layout::write(&folder, layers, &json!({"Cmd": ["/x"]}));
            layouts.push((name.as_str(), folder));
        }
        Self::build(bench, &layouts)
    }

    fn from_layout(name: &str, layout: &Path) -> Self {
        Self::build(Bench::new(), &[(name, layout.to_owned())])
    }

    fn build(bench: Bench, layouts: &[(&str, PathBuf)]) -> Self {
        let mut pod =
            "apiVersion: v1\nkind: Pod\nmetadata: {name: odd}\nspec:\n  containers:\n".to_owned();
        let mut command = bench.command("build");
        for (name, folder) in layouts {
            pod.push_str(&format!("  - {{name: {name}, image: {name}}}\n"));
            let layout = format!("{name}=oci:{}", folder.display());
            command.arg("--image").arg(layout);
        }
        fs::write(bench.path("pod.yaml"), pod).unwrap();
        let disk = bench.path("disk.raw");
        let output = command
            .arg("-f")
            .arg(bench.path("pod.yaml"))
            .arg("-o")
            .arg(&disk)
            .output()
            .unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{error}");
        let mount = Some(Mount::store(&disk));
        Self { bench, mount }
    }

    fn root(&self, name: &str) -> PathBuf {
        let mount = self.mount.as_ref().unwrap();
        mount.path().join("containers").join(name)
    }

    fn listing(&self, name: &str) -> Listing {
        listing::of(&self.root(name))
    }

    fn layout(&self, name: &str) -> PathBuf {
        self.bench.path(name)
    }
}

impl Drop for Built {
    fn drop(&mut self) {
        // Before the folder that holds the disk goes.
        self.mount = None;
    }
}

/// Seconds since 1970.
fn now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    i64::try_from(since.unwrap().as_secs()).unwrap()
}

/// What differs, beyond what must: theirs is a real directory, changed since `start`.
fn differences(ours: &Listing, theirs: &Listing, start: i64) -> Vec<String> {
    let mut out = Vec::new();
    for (path, mine) in ours {
        let Some(other) = theirs.get(path) else {
            out.push(format!("{path}: only ours: {mine:?}"));
            continue;
        };
        let mut other = other.clone();
        // A directory that changed after its last entry, or that no entry names.
        let touched = other.what == "dir" && other.mtime.0 >= start;
        // containerd's `boundTime`.
        let bounded = mine.mtime.0 < 0 && other.mtime == (0, 0);
        if touched || bounded {
            other.mtime = mine.mtime;
        }
        if *mine != other {
            out.push(format!(
                "{path}:\n    ours   {mine:?}\n    theirs {other:?}"
            ));
        }
    }
    let missing = theirs.keys().filter(|path| !ours.contains_key(*path));
    out.extend(missing.map(|path| format!("{path}: only theirs: {:?}", theirs[path])));
    out
}

fn layers(case: &Case, compression: &[Compression]) -> Vec<Layer> {
    let layers = case.layers.iter().enumerate();
    layers
        .map(|(index, (items, dialect))| {
            let compression = compression[index % compression.len()];
            (archive(items, *dialect), compression)
        })
        .collect()
}

/// What speaks against a case: differences where there must be none, or none where a listed
/// deviation should show, so that it leaves the list once it is gone.
fn judge(name: &str, verdict: &Verdict, found: &[String]) -> Vec<String> {
    match verdict {
        Verdict::Same => found.iter().map(|what| format!("{name}: {what}")).collect(),
        Verdict::Differs(why) if found.is_empty() => {
            vec![format!("{name}: no difference, although: {why}")]
        }
        Verdict::Differs(_) => Vec::new(),
    }
}

fn images(cases: &[Case], compression: &[Compression]) -> Vec<(String, Vec<Layer>)> {
    let cases = cases.iter();
    cases
        .map(|case| (case.name.to_owned(), layers(case, compression)))
        .collect()
}

#[test]
fn odd_layers_unpack_as_containerd_unpacks_them() {
    let start = now();
    let cases = cases::all();
    let compression = [Compression::Gzip, Compression::Zstd, Compression::None];
    let built = Built::new(&images(&cases, &compression));
    let containerd = Containerd::start();
    let mut wrong = Vec::new();
    for case in &cases {
        let theirs = containerd
            .unpack(&built.layout(case.name))
            .unwrap_or_else(|error| panic!("{}: {error}", case.name));
        let (ours, theirs) = (built.listing(case.name), listing::of(&theirs.path()));
        assert!(!theirs.is_empty(), "{}", case.name);
        let found = differences(&ours, &theirs, start);
        wrong.extend(judge(case.name, &case.containerd, &found));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn odd_layers_unpack_as_umoci_unpacks_them() {
    let start = now();
    let cases = cases::all();
    // umoci knows no zstd.
    let built = Built::new(&images(&cases, &[Compression::Gzip, Compression::None]));
    let mut wrong = Vec::new();
    for case in &cases {
        let bundle = built.bench.path(&format!("bundle-{}", case.name));
        let image = format!("{}:latest", built.layout(case.name).display());
        let bundle_path = bundle.display().to_string();
        output_of("umoci", &["unpack", "--image", &image, &bundle_path]);
        let theirs = listing::of(&bundle.join("rootfs"));
        let found = differences(&built.listing(case.name), &theirs, start);
        wrong.extend(judge(case.name, &case.umoci, &found));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What neither oracle does: containerd takes neither trusted attributes nor libarchive's records.
#[test]
fn attributes_of_libarchive_and_marks_of_overlay() {
    let wanted = ["xattrs-libarchive", "xattrs-overlay"];
    let cases = cases::all().into_iter();
    let cases: Vec<Case> = cases.filter(|case| wanted.contains(&case.name)).collect();
    let built = Built::new(&images(&cases, &[Compression::None]));
    let listing = built.listing("xattrs-libarchive");
    assert_eq!(listing["a"].xattrs["user.a b"], b"hello");
    assert_eq!(listing["both"].xattrs["user.a"], b"from SCHILY");
    assert!(built.listing("xattrs-overlay")["d"].xattrs.is_empty());
}

#[test]
fn what_containerd_refuses_is_refused() {
    let containerd = Containerd::start();
    for (name, case) in cases::refused() {
        let folder = tempfile::tempdir().unwrap();
        let layers = layers(&case, &[Compression::None]);
        layout::write(folder.path(), &layers, &json!({"Cmd": ["/x"]}));
        let theirs = containerd.unpack(folder.path()).err();
        assert!(theirs.is_some(), "containerd takes {name}");
        let bench = Bench::new();
        let disk = bench.path("disk.raw");
        let output = bench
            .command("build")
            .arg("--from")
            .arg(format!("oci:{}", folder.path().display()))
            .arg("-o")
            .arg(&disk)
            .output()
            .unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{name}: {error}");
        assert!(error.contains(case.name), "{name}: {error}");
        assert!(!disk.exists(), "{name}");
    }
}

#[test]
fn sparse_files_of_every_format_unpack_as_containerd_unpacks_them() {
    let source = tempfile::tempdir().unwrap();
    let path = source.path().join("sparse");
    let file = fs::File::create(&path).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &[5; 70_000], 300_000).unwrap();
    for index in 0..30 {
        let at = 2_000_000 + index * 100_000;
        std::os::unix::fs::FileExt::write_all_at(&file, &[6; 5000], at).unwrap();
    }
    file.set_len(9_000_000).unwrap();
    let formats: [&[&str]; 4] = [
        &["--format=gnu"],
        &["--format=pax", "--sparse-version=0.0"],
        &["--format=pax", "--sparse-version=0.1"],
        &["--format=pax", "--sparse-version=1.0"],
    ];
    let mut images = Vec::new();
    for (index, format) in formats.iter().enumerate() {
        let output = std::process::Command::new("tar")
            .arg("-C")
            .arg(source.path())
            .args(["-S", "-cf-", "--owner=7", "--group=8"])
            .args(*format)
            .arg("sparse")
            .output()
            .unwrap();
        assert!(output.status.success());
        images.push((
            format!("s{index}"),
            vec![(output.stdout, Compression::Gzip)],
        ));
    }
    let built = Built::new(&images);
    let containerd = Containerd::start();
    // containerd does not take GNU's own sparse entries (type S); the file is the same in all.
    assert!(containerd.unpack(&built.layout("s0")).is_err());
    for (name, format) in ["s1", "s2", "s3"].iter().zip(&formats[1..]) {
        let theirs = containerd.unpack(&built.layout(name)).unwrap();
        let (ours, theirs) = (built.listing(name), listing::of(&theirs.path()));
        assert_eq!(theirs["sparse"].size, 9_000_000);
        assert_eq!(ours, theirs, "{format:?}");
    }
    assert_eq!(
        built.listing("s0")["sparse"].what,
        built.listing("s1")["sparse"].what
    );
}
