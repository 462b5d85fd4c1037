//! Tests: what a release publishes.

use crate::support::output_of;

#[test]
#[ignore = "slow: builds in release mode"]
fn the_package_holds_a_static_program_pages_and_completions() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/package.sh");
    output_of(script, &["--output", folder.path().to_str().unwrap()]);
    let version = env!("CARGO_PKG_VERSION");
    let program = path(&format!("i2kit-{version}-x86_64-linux"));
    assert_eq!(
        output_of(&program, &["--version"]),
        format!("i2kit {version}\n")
    );
    let text = output_of("readelf", &["-ld", &program]);
    assert!(
        !text.contains("(NEEDED)") && !text.contains("interpreter"),
        "{text}"
    );
    let list = output_of(
        "dpkg-deb",
        &["-c", &path(&format!("i2kit_{version}_amd64.deb"))],
    );
    for file in [
        "./usr/bin/i2kit",
        "./usr/share/man/man1/i2kit.1.gz",
        "./usr/share/man/man1/i2kit-build.1.gz",
        "./usr/share/man/man1/i2kit-cache-gc.1.gz",
        "./usr/share/bash-completion/completions/i2kit",
    ] {
        assert!(
            list.lines().any(|line| line.ends_with(file)),
            "no {file} in {list}"
        );
    }
    let base = path(&format!("i2kit-base-{version}.oci.tar"));
    output_of("skopeo", &["inspect", &format!("oci-archive:{base}")]);
    let check = format!(
        "cd {} && sha256sum --quiet -c SHA256SUMS",
        folder.path().display()
    );
    output_of("sh", &["-c", &check]);
}
