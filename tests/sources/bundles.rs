//! Bundles: one file for a machine without a network.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::fleet::{Fleet, refused, without_network};
use crate::support::shop::Shop;
use crate::support::small::succeeded;
use crate::support::{i2kit, layout::sha256, output_of};

#[test]
fn a_machine_with_nothing_but_the_bundle_builds_the_same_disk() {
    let fleet = Fleet::new();
    let manifest = fleet.manifest(&[fleet.image()]);
    let bundle = fleet.path("app.bundle.tar");
    let write = |machine: &str| {
        let mut command = fleet.with_base(machine, "bundle");
        let output = command
            .arg("-f")
            .arg(&manifest)
            .arg("-o")
            .arg(&bundle)
            .output();
        succeeded(&output.unwrap());
        sha256(&fs::read(&bundle).unwrap())
    };
    let first = write("one");
    assert_eq!(write("two"), first, "the same images make the same bundle");
    let mut build = fleet.with_base("one", "build");
    build.arg("-f").arg(&manifest);
    let (expected, _) = fleet.built(build);

    let seen = fleet.registry.seen().len();
    let mut build = fleet.machine("air-gapped", "build");
    build.arg("--bundle").arg(&bundle);
    let (disk, _) = fleet.built(without_network(&build));
    assert_eq!(disk, expected);
    assert_eq!(fleet.registry.seen().len(), seen);
    // Nothing of the bundle was unpacked but what a cache keeps anyway.
    let kept = fs::read_dir(fleet.path("air-gapped/cache/v1/blobs/sha256"));
    assert_eq!(kept.map_or(0, Iterator::count), 0);
}

#[test]
fn other_tools_read_a_bundle() {
    let fleet = Fleet::new();
    let image = format!("oci:{}", fleet.path("image").display());
    let manifest = fleet.manifest(&["web".to_owned()]);
    let bundle = fleet.path("app.bundle.tar");
    let mut command = fleet.with_base("one", "bundle");
    command
        .arg("-f")
        .arg(manifest)
        .arg("--image")
        .arg(format!("web={image}"));
    succeeded(&command.arg("-o").arg(&bundle).output().unwrap());
    let copy = fleet.path("copy");
    for name in ["web", "i2kit-base"] {
        let from = format!("oci-archive:{}:{name}", bundle.display());
        output_of(
            "skopeo",
            &["copy", "-q", &from, &format!("dir:{}", copy.display())],
        );
    }
}

#[test]
fn a_bundle_that_was_altered_or_is_none_is_refused() {
    let fleet = Fleet::new();
    let manifest = fleet.manifest(&[fleet.image()]);
    let bundle = fleet.path("app.bundle.tar");
    let mut command = fleet.with_base("one", "bundle");
    succeeded(
        &command
            .arg("-f")
            .arg(&manifest)
            .arg("-o")
            .arg(&bundle)
            .output()
            .unwrap(),
    );
    let disk = fleet.path("disk.raw");
    let build = || {
        let mut build = fleet.machine("two", "build");
        build.arg("--bundle").arg(&bundle).arg("-o").arg(&disk);
        build
    };
    let good = fs::read(&bundle).unwrap();
    // In the middle of the largest layer.
    let middle = u64::try_from(good.len() / 2).unwrap();
    let file = fs::OpenOptions::new().write(true).open(&bundle).unwrap();
    let byte = good[good.len() / 2] ^ 1;
    file.write_all_at(&[byte], middle).unwrap();
    refused(&mut build(), &["sha256:"]);
    file.set_len(middle).unwrap();
    refused(&mut build(), &["app.bundle.tar"]);
    fs::write(&bundle, "no archive").unwrap();
    refused(&mut build(), &["app.bundle.tar"]);
    assert!(!disk.exists());
    // An image that the bundle's lock does not hold.
    fs::write(&bundle, &good).unwrap();
    let other = fleet.manifest(&["other".to_owned()]);
    refused(
        build().arg("-f").arg(other),
        &["\"other\" in ", "it is not there"],
    );
}

#[test]
fn a_failed_bundle_leaves_the_one_that_was_there() {
    let fleet = Fleet::new();
    let manifest = fleet.manifest(&[fleet.image()]);
    let bundle = fleet.path("app.bundle.tar");
    fs::write(&bundle, "old").unwrap();
    let layer = fleet.registry.seen().len();
    assert_eq!(layer, 0);
    for blob in fs::read_dir(fleet.path("image/blobs/sha256")).unwrap() {
        let blob = blob.unwrap();
        if blob.metadata().unwrap().len() > 100_000 {
            let name = blob.file_name().into_string().unwrap();
            fleet.registry.remove_blob(&format!("sha256:{name}"));
        }
    }
    let mut command = fleet.with_base("one", "bundle");
    command.arg("-f").arg(&manifest).arg("-o").arg(&bundle);
    refused(&mut command, &["read layer sha256:", "404"]);
    assert_eq!(fs::read(&bundle).unwrap(), b"old");
    let left = fs::read_dir(bundle.parent().unwrap()).unwrap();
    assert!(
        left.filter_map(Result::ok)
            .all(|one| !one.file_name().to_string_lossy().contains(".tmp"))
    );
}

/// A Secret's values are on no disk and in no bundle unless asked for, nor do their digests tell
/// them apart.
#[test]
fn secrets_stay_with_whoever_has_the_manifest() {
    let shop = Shop::new();
    let image = shop.small.path("app");
    let with_password = |password: &str| {
        let text = format!(
            "kind: Secret\napiVersion: v1\nmetadata: {{name: db}}\nstringData: {{password: {password}}}\n---\nkind: Pod\napiVersion: v1\nmetadata: {{name: app}}\nspec:\n  containers:\n  - name: app\n    image: oci:{}\n    envFrom: [{{secretRef: {{name: db}}}}]\n",
            image.display()
        );
        fs::write(shop.small.path("pod.yaml"), text).unwrap();
    };
    let has = |path: &Path, text: &str| {
        let bytes = fs::read(path).unwrap();
        bytes.windows(text.len()).any(|one| one == text.as_bytes())
    };
    with_password("swordfish");
    let other = shop.build("other.raw", &[]);
    with_password("hunter2");
    let disk = shop.build("app.raw", &[]);
    assert!(fs::read(&disk).unwrap() == fs::read(&other).unwrap());
    let hex = hex::encode("hunter2");
    assert!(!has(&disk, "hunter2") && !has(&disk, &hex));

    let bundle = shop.small.path("app.tar");
    let mut write = shop.command("bundle");
    succeeded(&write.arg("-q").arg("-o").arg(&bundle).output().unwrap());
    assert!(has(&bundle, "omitted") && !has(&bundle, "hunter2"));
    let from_bundle = |name: &str| {
        let mut build = i2kit();
        build.args(["build", "-q", "--bundle"]).arg(&bundle);
        build.arg("--cache-dir").arg(shop.small.path("elsewhere"));
        build.arg("-o").arg(shop.small.path(name));
        build
    };
    succeeded(&from_bundle("bundled.raw").output().unwrap());
    assert!(fs::read(shop.small.path("bundled.raw")).unwrap() == fs::read(&disk).unwrap());
    let output = from_bundle("none.raw")
        .arg("--bake-secrets")
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(told.contains("values of Secret db were left out"), "{told}");

    // What was built without them is not up to date with them.
    let baked = shop.build("app.raw", &["--bake-secrets"]);
    assert!(has(&baked, &hex));
    let output = i2kit().args(["inspect", "--json"]).arg(&baked).output();
    let told = String::from_utf8(output.unwrap().stdout).unwrap();
    assert!(told.contains("\"db\"") && !told.contains(&hex), "{told}");
}
