//! Tests: imports point down only.

use std::path::{Path, PathBuf};

/// The floors of `src/`, top to bottom.
const FLOORS: [&str; 13] = [
    "cli", "push", "output", "run", "inspect", "assemble", "pipeline", "oci", "layer", "manifest",
    "disk", "cache", "sign",
];

fn sources(folder: &Path, out: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, out);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            out.push(path);
        }
    }
}

fn floor(name: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| *floor == name)
}

/// The modules that `crate::` paths of a source name, those in braces included.
fn imports(text: &str) -> Vec<String> {
    let mut out = Vec::new();
    for (at, _) in text.match_indices("crate::") {
        let rest = &text[at + "crate::".len()..];
        let list = match rest.strip_prefix('{') {
            Some(list) => list.split('}').next().unwrap(),
            None => rest
                .split(|c: char| !c.is_alphanumeric() && c != '_')
                .next()
                .unwrap(),
        };
        out.extend(
            list.split(',')
                .map(|one| one.trim().split("::").next().unwrap().to_owned()),
        );
    }
    out
}

#[test]
fn no_module_imports_one_above_it() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut seen = 0;
    for (own, name) in FLOORS.iter().enumerate() {
        let mut files = Vec::new();
        sources(&root.join(name), &mut files);
        for file in files {
            for import in imports(&std::fs::read_to_string(&file).unwrap()) {
                let Some(other) = floor(&import) else {
                    continue;
                };
                seen += 1;
                assert!(
                    other >= own,
                    "{} imports {import}, which is above {name}",
                    file.display()
                );
            }
        }
    }
    assert!(
        seen > 20,
        "only {seen} imports found: the test reads nothing"
    );
}

#[test]
fn the_packages_below_know_nothing_of_i2kit() {
    for package in [
        "i2kit-format",
        "i2kit-sbom",
        "i2kit-contract",
        "i2kit-sigv4",
        "i2kit-init",
    ] {
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("src")
            .join(package)
            .join("Cargo.toml");
        let text = std::fs::read_to_string(manifest).unwrap();
        let depends = |line: &str| {
            line.starts_with("i2kit ") || line.starts_with("i2kit=") || line.starts_with("i2kit.")
        };
        assert!(!text.lines().any(depends), "{package} depends on i2kit");
    }
}
