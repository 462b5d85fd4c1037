//! Builds `i2kit-init`, so that builder and guest always match. It is a static program of another
//! profile than i2kit's, hence a cargo of its own with a target folder of its own.
//! `I2KIT_INIT` names one that is already built.

use std::env;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::Command;

const TARGET: &str = "x86_64-unknown-linux-gnu";
/// Between the flags in `CARGO_ENCODED_RUSTFLAGS`.
const ENCODED_SPACE: &str = "\x1f";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-env-changed=I2KIT_INIT");
    for path in [
        "src/i2kit-init",
        "src/i2kit-contract",
        "src/i2kit-sigv4",
        "Cargo.lock",
        "Cargo.toml",
    ] {
        println!("cargo::rerun-if-changed={path}");
    }
    let init = match env::var_os("I2KIT_INIT") {
        Some(path) => PathBuf::from(path).canonicalize()?,
        None => build()?,
    };
    println!("cargo::rustc-env=I2KIT_INIT={}", init.display());
    Ok(())
}

fn build() -> Result<PathBuf, Box<dyn Error>> {
    let out = PathBuf::from(env::var("OUT_DIR")?);
    // OUT_DIR is TARGET/PROFILE/build/i2kit-HASH/out.
    let target = out
        .ancestors()
        .nth(4)
        .ok_or("OUT_DIR is not in a target folder")?;
    let folder = target.join("i2kit-init");
    let mut cargo = Command::new(env::var("CARGO")?);
    let arguments = [
        "build",
        "--locked",
        "-p",
        "i2kit-init",
        "--profile",
        "init",
        "--target",
        TARGET,
    ];
    cargo.args(arguments).arg("--target-dir").arg(&folder);
    // What the outer cargo tells this script is not meant for another cargo.
    for (name, _) in env::vars().filter(|(name, _)| foreign(name)) {
        cargo.env_remove(name);
    }
    cargo.env("CARGO_ENCODED_RUSTFLAGS", flags().join(ENCODED_SPACE));
    let status = cargo.status()?;
    if !status.success() {
        return Err(format!(
            "building i2kit-init failed ({status}); hint: it needs protoc (protobuf-compiler)"
        )
        .into());
    }
    Ok(Path::new(&folder)
        .join(TARGET)
        .join("init")
        .join("i2kit-init"))
}

/// The flags of the inner cargo: of the outer one's, those that keep folders' names out of programs.
fn flags() -> Vec<String> {
    const REMAP: &str = "--remap-path-prefix";
    let outer = env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
    let mut outer = outer.split(ENCODED_SPACE);
    // A static program relocates itself; packed (RELR), what it needs for that is a thirtieth as large.
    let own = [
        "target-feature=+crt-static",
        "link-arg=-Wl,-z,pack-relative-relocs",
    ];
    let own = own.iter().flat_map(|flag| ["-C", *flag]);
    let mut flags: Vec<String> = own.map(str::to_owned).collect();
    while let Some(flag) = outer.next() {
        match flag.strip_prefix(REMAP) {
            Some("") => flags.extend(outer.next().map(|pair| format!("{REMAP}={pair}"))),
            Some(_) => flags.push(flag.to_owned()),
            None => {}
        }
    }
    flags
}

fn foreign(name: &str) -> bool {
    let kept = ["CARGO_HOME", "CARGO_NET_OFFLINE"];
    let cargos = name.starts_with("CARGO_") && !kept.contains(&name);
    cargos
        || matches!(
            name,
            "RUSTFLAGS"
                | "RUSTC_WORKSPACE_WRAPPER"
                | "RUSTC_WRAPPER"
                | "OUT_DIR"
                | "TARGET"
                | "PROFILE"
                | "OPT_LEVEL"
                | "DEBUG"
        )
}
