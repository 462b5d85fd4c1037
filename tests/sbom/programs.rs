//! Tests: what Go's and Rust's compilers leave in programs.

use std::fs;
use std::path::Path;
use std::process::Command;

use i2kit_sbom::{Binary, Package};

use super::names;
use crate::seeds;
use crate::support::output_of;

fn packages(bytes: &[u8]) -> Vec<Package> {
    let bytes = bytes.to_vec();
    let binary = Binary::open(&bytes).unwrap().expect("a program");
    binary.packages("x").unwrap()
}

/// `NAME VERSION` of each module, as `go version -m` prints them.
fn by_go(path: &Path) -> Vec<String> {
    let text = output_of("go", &["version", "-m", path.to_str().unwrap()]);
    let mut out = Vec::new();
    let mut main = String::new();
    for line in text.lines() {
        if let Some((_, version)) = line.split_once(": go") {
            out.push(format!("stdlib {version}"));
        }
        let words: Vec<&str> = line.trim().split('\t').collect();
        match *words {
            ["path", path] => main = format!("{path} "),
            ["mod" | "dep", name, version, ..] => out.push(format!("{name} {version}")),
            ["=>", name, version, ..] => {
                out.pop();
                out.push(format!("{name} {version}"));
            }
            _ => {}
        }
    }
    if out.len() == 1 {
        out.push(main);
    }
    let mut out: Vec<String> = out.iter().map(|one| one.replace("(devel)", "")).collect();
    out.sort();
    out
}

/// Debian's programs, which know no modules, and one of ours, which has two, one of them replaced.
#[test]
fn go_programs_agree_with_go() {
    let folder = tempfile::tempdir().unwrap();
    let put = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    put(
        "go.mod",
        "module example.com/Main\ngo 1.19\nrequire (\n\texample.com/one v1.2.3\n\texample.com/two v0.0.0\n)\nreplace example.com/one => ./one\nreplace example.com/two => ./two\n",
    );
    put(
        "main.go",
        "package main\nimport (\"example.com/one\"; \"example.com/two\")\nfunc main() { one.F(); two.F() }\n",
    );
    for name in ["one", "two"] {
        put(
            &format!("{name}/go.mod"),
            &format!("module example.com/{name}\ngo 1.19\n"),
        );
        put(
            &format!("{name}/{name}.go"),
            &format!("package {name}\nfunc F() {{}}\n"),
        );
    }
    let program = folder.path().join("main");
    let built = Command::new("go")
        .args(["build", "-o"])
        .arg(&program)
        .current_dir(folder.path())
        .env("GOFLAGS", "-mod=mod")
        .env("GOPROXY", "off")
        .env("CGO_ENABLED", "0")
        .output()
        .unwrap();
    assert!(
        built.status.success(),
        "{}",
        String::from_utf8_lossy(&built.stderr)
    );
    let found = packages(&fs::read(&program).unwrap());
    assert_eq!(names(&found), by_go(&program));
    assert!(found.len() == 4, "{found:?}");
    let named = |name: &str| found.iter().find(|one| one.name == name).unwrap();
    assert_eq!(
        named("example.com/Main").purl.as_str(),
        "pkg:golang/example.com/main"
    );
    for tool in ["/usr/bin/containerd", "/usr/sbin/runc", "/usr/bin/skopeo"] {
        let found = packages(&fs::read(tool).unwrap());
        assert_eq!(names(&found), by_go(Path::new(tool)), "{tool}");
    }
}

/// The form of before Go 1.18, by section and by segment.
#[test]
fn pointers_to_gos_strings_are_followed() {
    let modules = "path\tx.example/a\nmod\tx.example/a\tv1.0.0\th1:x=\ndep\tx.example/B\tv1.0.0+incompatible\n=>\tx.example/c\tv2.0.0\t\n";
    let data = seeds::go_data("go1.12.5", modules, false);
    let expected = ["stdlib 1.12.5", "x.example/a v1.0.0", "x.example/c v2.0.0"];
    let by_segment = seeds::elf(&data, &[]);
    let by_section = seeds::elf(&data, &[(".go.buildinfo", 0x1000, b"")]);
    for bytes in [by_segment, by_section] {
        assert_eq!(names(&packages(&bytes)), expected);
    }
    let pointer = u64::MAX.to_le_bytes();
    let mut wild = seeds::elf(&data, &[]);
    wild[120 + 16..120 + 24].copy_from_slice(&pointer);
    let binary = Binary::open(&wild).unwrap().unwrap();
    assert!(
        binary
            .packages("x")
            .unwrap_err()
            .to_string()
            .contains("pointer")
    );
}

/// A section as cargo-auditable links it, put in by binutils and compressed by Python.
#[test]
fn crates_in_a_rust_program() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let json = r#"{"packages":[{"name":"adler","version":"1.0.2","source":"registry"},{"name":"cc","version":"1.0.0","source":"registry","kind":"build"},{"name":"me","version":"0.1.0","source":"local","dependencies":[0],"root":true}]}"#;
    let section = path("section");
    let script =
        "import sys, zlib; open(sys.argv[1], 'wb').write(zlib.compress(sys.argv[2].encode(), 7))";
    output_of("/usr/bin/python3", &["-c", script, &section, json]);
    let add = format!(".dep-v0={section}");
    output_of(
        "objcopy",
        &["--add-section", &add, "/bin/true", &path("program")],
    );
    let found = packages(&fs::read(path("program")).unwrap());
    assert_eq!(names(&found), ["adler 1.0.2", "me 0.1.0"]);
    assert_eq!(found[0].purl.as_str(), "pkg:cargo/adler@1.0.2");
    assert_eq!(packages(&fs::read("/bin/true").unwrap()), []);
}

#[test]
fn programs_that_make_no_sense_are_refused() {
    assert!(Binary::open(&b"#!/bin/sh\n".repeat(10)).unwrap().is_none());
    let program = seeds::elf(b"data", &[(".dep-v0", 0, b"no zlib")]);
    let binary = Binary::open(&program).unwrap().unwrap();
    assert!(
        binary
            .packages("x")
            .unwrap_err()
            .to_string()
            .contains("zlib")
    );
    let mut cut = program.clone();
    cut.truncate(program.len() - 10);
    assert!(Binary::open(&cut).is_err());
}
