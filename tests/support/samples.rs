//! The images that scripts/build-base.sh and scripts/build-sample.sh make, and the programs that
//! scripts/build-oracles.sh and scripts/build-python-oracles.sh install.

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

/// A program to compare with: `cosign`, `skopeo`, `fsck.erofs`, …
pub fn oracle(name: &str) -> String {
    program("oracles", name, "scripts/build-oracles.sh")
}

/// A Python program to compare with (`virt-fw-vars`, `uefivars`), or `python` itself with the packages
/// to compare with.
pub fn python_oracle(name: &str) -> String {
    program("python-oracles", name, "scripts/build-python-oracles.sh")
}

fn program(folder: &str, name: &str, script: &str) -> String {
    let path = cache().join(folder).join("bin").join(name);
    assert!(path.exists(), "no {}: run {script}", path.display());
    path.display().to_string()
}
