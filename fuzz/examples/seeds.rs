//! Writes the seeds into a folder, one subfolder for each target. An example of the package i2kit,
//! so that it needs no other build than the tests'.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::path::Path;

#[path = "../src/seeds.rs"]
mod seeds;
#[allow(dead_code)]
#[path = "../../tests/support/tarball.rs"]
mod tarball;
#[path = "../src/targets.rs"]
mod targets;

fn main() -> std::io::Result<()> {
    let folder = std::env::args().nth(1).expect("usage: fuzz-seeds FOLDER");
    for (target, _) in targets::ALL {
        let folder = Path::new(&folder).join(target);
        std::fs::create_dir_all(&folder)?;
        for (number, seed) in seeds::of(target).iter().enumerate() {
            std::fs::write(folder.join(format!("seed-{number}")), seed)?;
        }
    }
    Ok(())
}
