//! The images that scripts/build-base.sh and scripts/build-sample.sh make, and the programs that
//! scripts/build-oracles.sh unpacks.

use std::path::PathBuf;

fn cache() -> PathBuf {
    let xdg = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = || PathBuf::from(std::env::var_os("HOME").expect("HOME is set")).join(".cache");
    xdg.unwrap_or_else(home).join("i2kit")
}

fn layout(path: &str, script: &str) -> String {
    let path = cache().join(path);
    assert!(
        path.join("index.json").exists(),
        "no {}: run {script}",
        path.display()
    );
    format!("oci:{}", path.display())
}

/// The base image.
pub fn base() -> String {
    layout("base", "scripts/build-base.sh")
}

/// A sample: `nginx` or `tiny`.
pub fn sample(name: &str) -> String {
    layout(&format!("samples/{name}"), "scripts/build-sample.sh")
}

/// A program to compare with: `cosign` or `skopeo`.
pub fn oracle(name: &str) -> String {
    let path = cache().join("oracles/bin").join(name);
    assert!(
        path.exists(),
        "no {}: run scripts/build-oracles.sh",
        path.display()
    );
    path.display().to_string()
}

/// The folder of the Python packages to compare with.
pub fn python_oracles() -> String {
    let path = cache().join("oracles/python");
    assert!(
        path.exists(),
        "no {}: run scripts/build-oracles.sh",
        path.display()
    );
    path.display().to_string()
}
