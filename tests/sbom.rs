//! Tests: which packages are found, and the papers that say so, against other projects' tools.

mod base;
mod databases;
mod disks;
mod papers;
mod programs;

use i2kit_sbom::Package;

/// `NAME VERSION`, sorted.
fn names(packages: &[Package]) -> Vec<String> {
    let mut out: Vec<String> = packages
        .iter()
        .map(|one| format!("{} {}", one.name, one.version))
        .collect();
    out.sort();
    out
}
