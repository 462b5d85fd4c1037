//! Tests: `oci-archive:` and `docker-archive:`, honest ones and hostile ones.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex};

use i2kit::oci::{Environment, LocalSources, Notice, Platform, Scratch};
use serde_json::{Value, json};

use super::{Sample, amd64, assert_same, converted, image, refusal, skopeo, sources};
use crate::support::layout::{self, Compression};
use crate::support::tarball::{Dialect, Item, Kind, archive};
use crate::support::{output_of, tool};

#[test]
fn an_oci_archive_of_skopeos() {
    let sample = Sample::new();
    let target = format!("{}:docker.io/a/b:c", sample.at("oci-archive", "one.tar"));
    sample.copy_to(&target, &[]);
    let plain = sample.at("oci-archive", "one.tar");
    for name in ["", ":docker.io/a/b:c", ":a/b:c", ":c"] {
        assert_same(&sample.oci(), &format!("{plain}{name}"), &amd64(), true);
    }
    let (_, read) = image(&plain, &amd64());
    let by_digest = format!("{plain}@{}", read.manifest.digest);
    assert_same(&sample.oci(), &by_digest, &amd64(), true);
    let (error, hint) = refusal(&format!("{plain}:other"));
    assert!(error.contains("find other in OCI archive"), "{error}");
    assert_eq!(hint, "it has docker.io/a/b:c");
    let target = sample.at("oci-archive", "all.tar");
    sample.copy_to(&target, &["--all"]);
    assert_same(
        &sample.oci(),
        &target,
        &"linux/arm64".parse().unwrap(),
        true,
    );
}

#[test]
fn a_docker_archive_of_skopeos() {
    let sample = Sample::of_docker();
    let target = format!("{}:nginx:1", sample.at("docker-archive", "one.tar"));
    sample.copy_to(&target, &[]);
    let plain = sample.at("docker-archive", "one.tar");
    for name in ["", ":nginx:1", ":docker.io/library/nginx:1", ":1", ":@0"] {
        assert_same(&sample.oci(), &format!("{plain}{name}"), &amd64(), false);
    }
    // The manifest is made here: the same one each time.
    let (_, first) = image(&plain, &amd64());
    let (_, second) = image(&plain, &amd64());
    assert_eq!(first.manifest, second.manifest);
    for wanted in [":nginx:2", ":nginx", ":@1", ":2"] {
        let (error, hint) = refusal(&format!("{plain}{wanted}"));
        assert!(error.contains(": not there"), "{error}");
        assert!(hint.contains("nginx:1"), "{hint}");
    }
    let arm64: Platform = "linux/arm64".parse().unwrap();
    let source = sources().open(&plain).unwrap();
    let error = source.image(&arm64).unwrap_err().to_string();
    assert!(error.contains("linux/amd64"), "{error}");
}

/// Compresses a file with a tool.
fn compressed(path: &Path, program: &str, arguments: &[&str]) -> std::path::PathBuf {
    let target = path.with_extension(program);
    let path = path.display().to_string();
    let output = tool(program, &[arguments, &["-c", &path]].concat());
    assert!(output.status.success());
    fs::write(&target, output.stdout).unwrap();
    target
}

#[test]
fn compressed_archives_are_unpacked_once_and_told() {
    let sample = Sample::of_docker();
    for transport in ["oci-archive", "docker-archive"] {
        let target = format!("{}:x:1", sample.at(transport, "one.tar"));
        sample.copy_to(&target, &[]);
        let plain = sample.path("one.tar");
        let (_, expected) = image(&target, &amd64());
        for (program, arguments) in [("gzip", &[][..]), ("zstd", &["-q"]), ("xz", &["-0"])] {
            let path = compressed(&plain, program, arguments);
            let source = format!("{transport}:{}", path.display());
            assert_same(&sample.oci(), &source, &amd64(), transport == "oci-archive");
            let folder = sample.path("scratch");
            let told = Arc::new(Mutex::new(Vec::new()));
            let teller = Arc::clone(&told);
            let scratch = Scratch {
                folder: folder.clone(),
                limit: 1 << 30,
                notice: Notice::new(move |line| teller.lock().unwrap().push(line.to_owned())),
            };
            let sources = LocalSources::new(scratch, Environment::new([], 0, "/"));
            for _ in 0..2 {
                let opened = sources.open(&source).unwrap();
                assert_eq!(opened.image(&amd64()).unwrap().manifest, expected.manifest);
            }
            let told = told.lock().unwrap();
            assert_eq!(told.len(), 1, "{told:?}");
            assert!(told[0].contains(program), "{told:?}");
            assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
        }
        fs::remove_file(plain).unwrap();
    }
}

#[test]
fn a_compressed_archive_that_cannot_be_unpacked() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.tar.gz");
    let source = format!("docker-archive:{}", path.display());
    fs::write(&path, layout::gzip(&vec![0; 5000])).unwrap();
    let scratch = Scratch {
        folder: folder.path().to_owned(),
        limit: 4999,
        notice: Notice::default(),
    };
    let sources = LocalSources::new(scratch, Environment::new([], 0, "/"));
    let error = sources.open(&source).unwrap().image(&amd64()).unwrap_err();
    assert!(
        error.to_string().contains("more than 4999 bytes"),
        "{error}"
    );
    assert!(error.hint().unwrap().contains("--max-layer-size"));
    let whole = layout::gzip(&vec![1; 5000]);
    for (bytes, expected) in [
        (&whole[..whole.len() - 9], "unpack"),
        (b"BZh91AY&SY", "bzip2 is not supported"),
        (b"\xfd7zXZ\0junkjunkjunk", "unpack"),
        (b"\x28\xb5\x2f\xfdjunk", "unpack"),
    ] {
        fs::write(&path, bytes).unwrap();
        let (error, _) = refusal(&source);
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn an_archive_comes_through_a_pipe() {
    let sample = Sample::of_docker();
    sample.copy_to(&sample.at("docker-archive", "one.tar"), &[]);
    let bytes = fs::read(sample.path("one.tar")).unwrap();
    let pipe = sample.path("pipe");
    output_of("mkfifo", &[&pipe.display().to_string()]);
    let writer = std::thread::spawn({
        let pipe = pipe.clone();
        move || {
            fs::File::options()
                .write(true)
                .open(pipe)
                .unwrap()
                .write_all(&bytes)
                .unwrap()
        }
    });
    let (source, read) = image(&format!("docker-archive:{}", pipe.display()), &amd64());
    writer.join().unwrap();
    assert_eq!(converted(&source, &read).len(), 3);
}

/// Layers as `docker save` has them before 25: folders by ID, repeated layers symlinks.
fn legacy(sample: &Sample, rename: &dyn Fn(&str) -> String) -> Vec<Item> {
    let (_, read) = image(&sample.oci(), &amd64());
    let config = format!("{}.json", read.config_document.digest.hex());
    let mut items = vec![Item::file(&config, &read.config_document.bytes)];
    let layers = super::layers("amd64");
    let mut names: Vec<String> = Vec::new();
    for (place, (tar, _)) in layers.iter().enumerate() {
        let name = rename(&format!("{place:064}/layer.tar"));
        items.push(Item::dir(format!("{place:064}/")));
        items.push(Item::file(format!("{place:064}/VERSION"), "1.0"));
        match layers.iter().position(|(one, _)| one == tar) {
            Some(first) if first < place => {
                items.push(Item::symlink(&name, format!("../{first:064}/layer.tar")));
            }
            _ => items.push(Item::file(&name, tar)),
        }
        names.push(name);
    }
    let manifest = json!([{"Config": config, "RepoTags": ["a:1", "b.io/c:2"], "Layers": names}]);
    items.push(Item::file("manifest.json", manifest.to_string()));
    items.push(Item::file("repositories", "{}"));
    items
}

fn write(path: &Path, items: &[Item]) -> String {
    fs::write(path, archive(items, Dialect::Gnu)).unwrap();
    format!("docker-archive:{}", path.display())
}

#[test]
fn what_docker_saved_before_25() {
    let sample = Sample::of_docker();
    let items = legacy(&sample, &str::to_owned);
    let source = write(&sample.path("saved.tar"), &items);
    // The generator's archive is one that skopeo takes.
    let target = sample.at("dir", "by-skopeo");
    skopeo(&["copy", &source, &target]);
    let (_, theirs) = image(&target, &amd64());
    let (_, ours) = image(&source, &amd64());
    assert_eq!(theirs.config_document.digest, ours.config_document.digest);
    for name in ["", ":a:1", ":b.io/c:2", ":2"] {
        assert_same(&sample.oci(), &format!("{source}{name}"), &amd64(), false);
    }
    // As tar packs it, names begin with ./, and equal files may be hard links.
    let mut dotted: Vec<_> = items.clone();
    for item in &mut dotted {
        item.path = [b"./", &item.path[..]].concat();
        if let Kind::Symlink(target) = &item.kind {
            item.kind = Kind::Link([b"./", &target[3..]].concat());
        }
    }
    let source = write(&sample.path("dotted.tar"), &dotted);
    assert_same(&sample.oci(), &source, &amd64(), false);
}

#[test]
fn layers_that_are_compressed_within() {
    let sample = Sample::new();
    let mut items = legacy(&sample, &str::to_owned);
    for (place, item) in items.iter_mut().enumerate() {
        if item.path.ends_with(b"layer.tar")
            && let Kind::File(tar) = &mut item.kind
        {
            *tar = match place % 2 {
                0 => layout::gzip(tar),
                _ => zstd::encode_all(&tar[..], 1).unwrap(),
            };
        }
    }
    let source = write(&sample.path("saved.tar"), &items);
    assert_same(&sample.oci(), &source, &amd64(), false);
}

#[test]
fn what_docker_saves_since_25() {
    let sample = Sample::of_docker();
    let (_, read) = image(&sample.oci(), &amd64());
    let blob = |digest: &i2kit::oci::Digest| format!("blobs/sha256/{}", digest.hex());
    let layers: Vec<_> = read
        .layers
        .iter()
        .map(|layer| blob(&layer.digest))
        .collect();
    let manifest = json!([{
        "Config": blob(&read.config_document.digest),
        "RepoTags": ["nginx:latest"],
        "Layers": layers,
        "LayerSources": {},
    }]);
    fs::write(sample.path("layout/manifest.json"), manifest.to_string()).unwrap();
    let (layout, saved) = (sample.path("layout"), sample.path("saved.tar"));
    let paths = [layout, saved.clone()].map(|path| path.display().to_string());
    output_of("tar", &["-C", &paths[0], "-cf", &paths[1], "."]);
    let source = sample.at("docker-archive", "saved.tar");
    skopeo(&["copy", &source, &sample.at("dir", "by-skopeo")]);
    for name in ["", ":nginx", ":latest"] {
        assert_same(&sample.oci(), &format!("{source}{name}"), &amd64(), false);
    }
    // It is an OCI archive as well, with the image's own manifest.
    let source = format!("{}:latest", sample.at("oci-archive", "saved.tar"));
    assert_same(&sample.oci(), &source, &amd64(), true);
}

#[test]
fn several_images_in_one_archive() {
    let folder = tempfile::tempdir().unwrap();
    let tar = archive(&[Item::file("x", "x")], Dialect::Pax);
    let config = |note: &str| {
        json!({
            "architecture": "amd64", "os": "linux", "comment": note,
            "rootfs": {"type": "layers", "diff_ids": [layout::sha256(&tar)]},
        })
        .to_string()
    };
    let entry = |config: &str, tags: Value| json!({"Config": config, "RepoTags": tags, "Layers": ["l/layer.tar"]});
    let manifest = json!([
        entry("1.json", json!(["a:1", "a:latest"])),
        entry("2.json", json!(["b:2"])),
        entry("3.json", Value::Null),
    ]);
    let source = write(
        &folder.path().join("x.tar"),
        &[
            Item::file("1.json", config("one")),
            Item::file("2.json", config("two")),
            Item::file("3.json", config("three")),
            Item::file("l/layer.tar", &tar),
            // Some writers repeat what two images share.
            Item::file("l/layer.tar", &tar),
            Item::file("manifest.json", manifest.to_string()),
        ],
    );
    let (error, hint) = refusal(&source);
    assert!(error.contains("it holds 3"), "{error}");
    assert_eq!(hint, "add one of :a:1, :b:2, :@2 to the reference");
    for (wanted, note) in [
        (":a", "one"),
        (":1", "one"),
        (":b:2", "two"),
        (":@2", "three"),
    ] {
        let (_, read) = image(&format!("{source}{wanted}"), &amd64());
        let text = String::from_utf8(read.config_document.bytes).unwrap();
        assert!(text.contains(note), "{wanted}: {text}");
    }
}

/// What an archive of these items is refused for, as both kinds.
fn refused(items: &[Item]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hostile.tar");
    fs::write(&path, archive(items, Dialect::Pax)).unwrap();
    let (error, _) = refusal(&format!("docker-archive:{}", path.display()));
    let (other, _) = refusal(&format!("oci-archive:{}", path.display()));
    assert_eq!(error.replace("docker archive", "OCI archive"), other);
    error
}

#[test]
fn hostile_members_are_refused_by_name() {
    let file = |name: &str| Item::file(name, "x");
    for (items, expected) in [
        (
            vec![file("a"), Item::file("a", "y")],
            "member \"a\": it is there twice",
        ),
        (
            vec![file("a"), Item::symlink("./a", "b")],
            "member \"a\": it is there twice",
        ),
        (
            vec![file("/etc/passwd")],
            "member \"/etc/passwd\": its name is absolute",
        ),
        (
            vec![file("a/../../b")],
            "member \"a/../../b\": its name has a .. component",
        ),
        (
            vec![Item::symlink("a/b", "../../c")],
            "member \"a/b\": it is a link out of",
        ),
        (
            vec![Item::symlink("a", "/etc/passwd")],
            "member \"a\": it is a link out of",
        ),
        (
            vec![Item::link("a", "../b")],
            "member \"a\": it is a link out of",
        ),
        (
            vec![
                Item::file("s", "0123456789")
                    .record("GNU.sparse.major", "1")
                    .record("GNU.sparse.map", "0,4,100,6")
                    .record("GNU.sparse.size", "200"),
            ],
            "member \"s\": a sparse file",
        ),
        (
            vec![file("a").record("size", "1000000")],
            "member \"a\": the archive ends within it",
        ),
        (
            vec![file("a").record("size", "9223372036854775000")],
            "member \"a\": the archive ends within it",
        ),
        (
            vec![file("a").record("size", "18446744073709551615")],
            "a size does not fit 63 bits",
        ),
    ] {
        let error = refused(&items);
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn links_that_go_round_are_refused_when_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let source = write(
        &folder.path().join("x.tar"),
        &[
            Item::symlink("manifest.json", "b"),
            Item::symlink("b", "manifest.json"),
        ],
    );
    let (error, _) = refusal(&source);
    assert!(
        error.contains("member \"manifest.json\": its links lead to no file"),
        "{error}"
    );
}

#[test]
fn an_archive_that_is_cut_or_is_none() {
    let sample = Sample::new();
    let items = legacy(&sample, &str::to_owned);
    let whole = archive(&items, Dialect::Gnu);
    let path = sample.path("cut.tar");
    let source = format!("docker-archive:{}", path.display());
    for len in [100, 512, 700, 200_000] {
        fs::write(&path, &whole[..len]).unwrap();
        let (error, _) = refusal(&source);
        assert!(error.starts_with("open docker archive"), "{len}: {error}");
    }
    for (bytes, expected) in [
        (&b""[..], "no file \"manifest.json\" in it"),
        (&[b'x'; 2000], "not a tar header"),
    ] {
        fs::write(&path, bytes).unwrap();
        let (error, hint) = refusal(&source);
        assert!(error.contains(expected), "{error}");
        assert!(hint.contains("docker save -o FILE"), "{hint}");
    }
    let (error, hint) = refusal(&sample.at("oci-archive", "cut.tar"));
    assert!(error.starts_with("open OCI archive"), "{error}");
    assert!(hint.contains("docker-archive:"), "{hint}");
}

#[test]
fn a_million_members_are_too_many_and_take_no_memory() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("many.tar");
    // One header for all: the walk ends long before names would matter.
    let one = archive(&[Item::file("x", "")], Dialect::Gnu);
    let mut file = std::io::BufWriter::new(fs::File::create(&path).unwrap());
    for _ in 0..1_000_000 {
        file.write_all(&one[..512]).unwrap();
    }
    file.write_all(&[0; 1024]).unwrap();
    file.into_inner().unwrap();
    let (error, _) = refusal(&format!("oci-archive:{}", path.display()));
    assert!(error.contains("more than 100000 members"), "{error}");
    // Long names instead of many.
    let names: Vec<_> = (0..20)
        .map(|place| Item::file(format!("{place}{}", "n".repeat(1_000_000)), ""))
        .collect();
    assert!(refused(&names).contains("more than 16777216 bytes of names"));
}

#[test]
fn a_manifest_json_that_does_not_fit() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.tar");
    let tar = archive(&[Item::file("x", "x")], Dialect::Pax);
    let config = |diff_id: &str| {
        json!({"architecture": "amd64", "os": "linux",
            "rootfs": {"type": "layers", "diff_ids": [diff_id]}})
        .to_string()
    };
    let good = config(&layout::sha256(&tar));
    let entry = |layers: Value| json!([{"Config": "c.json", "Layers": layers}]).to_string();
    for (manifest, config, expected) in [
        ("{}".to_owned(), &good, "parse manifest"),
        ("[]".to_owned(), &good, "find any image"),
        (entry(json!(["l", "l"])), &good, "2 layers, but 1 diff_ids"),
        (entry(json!(["m"])), &good, "no file \"m\" in it"),
        (entry(json!(["../l"])), &good, "its name has a .. component"),
        (entry(json!(["l"])), &"{}".to_owned(), "parse config"),
        (entry(json!(["l"])), &config("md5:12"), "diff_id"),
    ] {
        let source = write(
            &path,
            &[
                Item::file("manifest.json", &manifest),
                Item::file("c.json", config),
                Item::file("l", &tar),
            ],
        );
        let (error, _) = refusal(&source);
        assert!(error.contains(expected), "{manifest}: {error}");
    }
    // A layer of other bytes than the config says is found when it is read.
    let source = write(
        &path,
        &[
            Item::file("manifest.json", entry(json!(["l"]))),
            Item::file("c.json", config(&layout::sha256(b"other"))),
            Item::file("l", &tar),
        ],
    );
    let (opened, read) = image(&source, &amd64());
    let cache = i2kit::cache::Cache::open(&folder.path().join("cache")).unwrap();
    let request = i2kit::pipeline::Request {
        layer: read.layers[0].clone(),
        source: opened,
    };
    let options = i2kit::layer::ConvertOptions::default();
    let error = i2kit::pipeline::convert(
        &cache,
        &[request],
        &options,
        1,
        None,
        &i2kit::pipeline::Silent,
    );
    let error = error.unwrap_err().to_string();
    assert!(error.starts_with("check layer"), "{error}");
}

#[test]
fn two_manifests_of_one_name_differ_by_platform_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let layers = layout::stored(&[(archive(&[], Dialect::Pax), Compression::None)]);
    let put = |architecture: &str, named: bool| {
        let mut entry = layout::put_image(folder.path(), &layers, &json!({}), architecture);
        entry["annotations"] = json!({"org.opencontainers.image.ref.name": "v1"});
        if named {
            entry["platform"] = json!({"os": "linux", "architecture": architecture});
        }
        entry
    };
    let source = format!("oci:{}", folder.path().display());
    layout::write_index(folder.path(), &[put("arm64", true), put("amd64", true)]);
    for reference in [source.clone(), format!("{source}:v1")] {
        let (_, read) = image(&reference, &amd64());
        assert_eq!(read.config.architecture().to_string(), "amd64");
    }
    let opened = sources().open(&source).unwrap();
    let error = opened.image(&"linux/s390x".parse().unwrap()).unwrap_err();
    assert!(error.hint().unwrap().contains("linux/arm64"), "{error}");
    layout::write_index(folder.path(), &[put("arm64", false), put("amd64", true)]);
    assert!(refusal(&source).0.contains("it holds 1"));
}
