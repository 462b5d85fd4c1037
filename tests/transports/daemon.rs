//! Tests: `docker-daemon:`, against an engine of the tests' own that speaks HTTP over a socket.

use std::fs;
use std::path::PathBuf;

use i2kit::oci::{Environment, Error, LocalSources, Notice, Scratch};

use super::{Sample, amd64, assert_same, converted, image};
use crate::support::engine::{Answer, Engine};

/// Sources that ask the engine at `host`, and nothing else.
fn asking(host: &str) -> LocalSources {
    asking_with(host, Scratch::default())
}

fn asking_with(host: &str, scratch: Scratch) -> LocalSources {
    let variable = ("DOCKER_HOST".into(), host.into());
    LocalSources::new(scratch, Environment::new([variable], 0, "/nowhere"))
}

fn error(sources: &LocalSources, name: &str) -> Error {
    let source = sources.open(&format!("docker-daemon:{name}")).unwrap();
    source.image(&amd64()).expect_err(name)
}

/// An engine that has the sample's image as `docker.io/library/nginx:1`.
fn engine() -> (Sample, Engine, Vec<u8>) {
    let sample = Sample::of_docker();
    sample.copy_to(
        &format!("{}:nginx:1", sample.at("docker-archive", "x.tar")),
        &[],
    );
    let saved = fs::read(sample.path("x.tar")).unwrap();
    let engine = Engine::start();
    engine.answer("docker.io/library/nginx:1", Answer::Chunked(saved.clone()));
    (sample, engine, saved)
}

#[test]
fn an_image_of_an_engine() {
    let (sample, engine, saved) = engine();
    let sources = asking(&engine.host());
    let source = sources.open("docker-daemon:nginx:1").unwrap();
    let read = source.image(&amd64()).unwrap();
    // It was saved once, for the image and all its layers.
    assert_eq!(converted(&source, &read).len(), 3);
    assert_eq!(
        engine.requests(),
        ["GET /images/docker.io/library/nginx:1/get"]
    );
    let path = sample.path("saved.tar");
    fs::write(&path, &saved).unwrap();
    let archive = format!("docker-archive:{}", path.display());
    assert_eq!(image(&archive, &amd64()).1.manifest, read.manifest);
    assert_same(&sample.oci(), &archive, &amd64(), false);
    let id = read.config_document.digest.to_string();
    engine.answer(&id, Answer::Chunked(saved));
    let source = sources.open(&format!("docker-daemon:{id}")).unwrap();
    assert_eq!(source.image(&amd64()).unwrap().manifest, read.manifest);
}

#[test]
fn what_an_engine_says_against_it() {
    let (_sample, engine, saved) = engine();
    let sources = asking(&engine.host());
    let found = error(&sources, "other");
    assert!(matches!(found, Error::NoSuchImage { .. }));
    assert!(
        found
            .to_string()
            .contains("find docker.io/library/other:latest in the engine at")
    );
    let message = r#"{"message":"no space left on the engine\nmore"}"#;
    engine.answer(
        "docker.io/library/full:latest",
        Answer::Status(500, message.to_owned()),
    );
    let found = error(&sources, "full").to_string();
    assert!(
        found.ends_with("no space left on the engine") && found.contains("500"),
        "{found}"
    );
    let cut = saved[..saved.len() / 2].to_vec();
    engine.answer("docker.io/library/cut:latest", Answer::Cut(cut));
    let found = error(&sources, "cut");
    assert!(matches!(found, Error::Engine { .. }), "{found}");
    engine.answer(
        "docker.io/library/empty:latest",
        Answer::Chunked(Vec::new()),
    );
    let found = error(&sources, "empty").to_string();
    assert!(found.contains("no file \"manifest.json\""), "{found}");
    engine.answer(
        "docker.io/library/odd:latest",
        Answer::Raw(b"SSH-2.0-x\r\n\r\n".to_vec()),
    );
    let found = error(&sources, "odd");
    assert!(matches!(found, Error::Engine { .. }), "{found}");
    let small = Scratch {
        limit: 1000,
        notice: Notice::default(),
        ..Scratch::default()
    };
    let found = error(&asking_with(&engine.host(), small), "nginx:1");
    assert!(
        found.to_string().contains("more than 1000 bytes"),
        "{found}"
    );
}

#[test]
fn where_no_engine_is() {
    let found = error(&asking("unix:///nowhere/docker.sock"), "x");
    assert!(
        found
            .to_string()
            .contains("/nowhere/docker.sock: No such file"),
        "{found}"
    );
    assert!(found.hint().unwrap().contains("DOCKER_HOST"));
    let found = error(&asking("tcp://127.0.0.1:1"), "x");
    assert!(found.to_string().contains("tcp://127.0.0.1:1"), "{found}");
    assert!(found.hint().unwrap().contains("unix:///PATH"));
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("s");
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    let found = error(&asking(&format!("unix://{}", socket.display())), "x");
    assert!(found.to_string().contains("Connection refused"), "{found}");
    let denied = Error::Connect {
        path: PathBuf::from("/var/run/docker.sock"),
        source: std::io::ErrorKind::PermissionDenied.into(),
    };
    assert!(denied.hint().unwrap().contains("group"));
}

#[test]
fn the_engine_of_the_system_and_that_of_the_user() {
    let (_sample, engine, _) = engine();
    let folder = tempfile::tempdir().unwrap();
    let runtime = folder.path().join("run");
    fs::create_dir_all(&runtime).unwrap();
    std::os::unix::fs::symlink(engine.socket(), runtime.join("docker.sock")).unwrap();
    let variable = ("XDG_RUNTIME_DIR".into(), runtime.into());
    let environment = Environment::new([variable], 1000, folder.path());
    let sources = LocalSources::new(Scratch::default(), environment.clone());
    sources
        .open("docker-daemon:nginx:1")
        .unwrap()
        .image(&amd64())
        .unwrap();
    let system = folder.path().join("var/run");
    fs::create_dir_all(&system).unwrap();
    fs::write(system.join("docker.sock"), "no socket").unwrap();
    let sources = LocalSources::new(Scratch::default(), environment);
    let found = error(&sources, "nginx:1").to_string();
    assert!(found.contains("var/run/docker.sock"), "{found}");
}
