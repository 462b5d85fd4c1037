//! Tests: `containers-storage:`, in stores that skopeo filled.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use i2kit::oci::{Environment, Error, LocalSources, Scratch};

use super::{Sample, amd64, assert_same, converted, image, refusal};

/// A store with the sample's image.
struct Stored {
    sample: Sample,
    driver: &'static str,
}

impl Stored {
    fn new(driver: &'static str, name: &str) -> Self {
        let sample = Sample::new();
        let stored = Self { sample, driver };
        stored.sample.copy_to(&stored.at(name), &[]);
        stored
    }

    fn root(&self) -> PathBuf {
        self.sample.path("store")
    }

    /// `containers-storage:[…]NAME`.
    fn at(&self, name: &str) -> String {
        let (root, run) = (self.root(), self.sample.path("run"));
        format!(
            "containers-storage:[{}@{}+{}]{name}",
            self.driver,
            root.display(),
            run.display()
        )
    }

    fn list(&self, kind: &str) -> PathBuf {
        let (driver, root) = (self.driver, self.root());
        root.join(format!("{driver}-{kind}/{kind}.json"))
    }

    /// The layers of `layers.json`.
    fn layers(&self) -> Vec<serde_json::Value> {
        serde_json::from_slice(&fs::read(self.list("layers")).unwrap()).unwrap()
    }
}

impl Drop for Stored {
    fn drop(&mut self) {
        // The overlay driver mounts its own folder onto itself.
        let _ = Command::new("umount")
            .arg(self.root().join("overlay"))
            .output();
    }
}

#[test]
fn an_overlay_store() {
    let stored = Stored::new("overlay", "quay.io/a/b:c");
    let oci = stored.sample.oci();
    assert_same(&oci, &stored.at("quay.io/a/b:c"), &amd64(), true);
    let plain = format!(
        "containers-storage:[{}]quay.io/a/b:c",
        stored.root().display()
    );
    assert_same(&oci, &plain, &amd64(), true);
    let (_, read) = image(&plain, &amd64());
    let id = read.config_document.digest.hex();
    let manifest = read.manifest.digest;
    for name in [
        format!("@{id}"),
        id[..12].to_owned(),
        format!("quay.io/a/b@{manifest}"),
        format!("quay.io/a/b:c@{id}"),
    ] {
        assert_eq!(
            image(&stored.at(&name), &amd64()).1.manifest,
            read.manifest,
            "{name}"
        );
    }
    for layer in &read.layers {
        assert_eq!(layer.digest, layer.diff_id);
    }
}

#[test]
fn a_vfs_store() {
    let stored = Stored::new("vfs", "docker.io/library/tiny:latest");
    for name in ["tiny", "tiny:latest", "docker.io/library/tiny"] {
        assert_same(&stored.sample.oci(), &stored.at(name), &amd64(), true);
    }
}

#[test]
fn an_image_that_was_built_here_is_found_by_its_short_name() {
    let stored = Stored::new("vfs", "localhost/mine:1");
    let (_, read) = image(&stored.at("mine:1"), &amd64());
    image(
        &stored.at(&format!("mine@{}", read.manifest.digest)),
        &amd64(),
    );
    let (error, hint) = refusal(&stored.at("mine:2"));
    assert!(error.contains("find docker.io/library/mine:2"), "{error}");
    assert_eq!(hint, "it has localhost/mine:1");
    let other = format!("other/mine@{}", read.manifest.digest);
    assert!(refusal(&stored.at(&other)).0.contains("not there"));
}

#[test]
fn where_no_store_is() {
    let folder = tempfile::tempdir().unwrap();
    let (error, hint) = refusal(&format!(
        "containers-storage:[{}]x",
        folder.path().display()
    ));
    assert!(
        error.contains("no overlay-images and no vfs-images in it"),
        "{error}"
    );
    assert!(hint.contains("podman save"), "{hint}");
    // The user's own, when none is named.
    let (error, _) = refusal("containers-storage:x");
    assert!(
        error.contains("/nowhere/var/lib/containers/storage"),
        "{error}"
    );
    fs::create_dir(folder.path().join("btrfs-images")).unwrap();
    let (error, _) = refusal(&format!(
        "containers-storage:[btrfs@{}]x",
        folder.path().display()
    ));
    assert!(error.contains("its driver is btrfs"), "{error}");
}

#[test]
fn the_store_that_storage_conf_names_and_those_below_it() {
    let stored = Stored::new("vfs", "localhost/mine:1");
    let folder = tempfile::tempdir().unwrap();
    let own = folder.path().join("own");
    let conf = folder.path().join("storage.conf");
    let text = format!(
        "[storage]\ndriver = 'vfs'\ngraphroot = {own:?}\n[storage.options]\n\
         additionalimagestores = [{:?}]\n",
        stored.root()
    );
    fs::write(&conf, text).unwrap();
    let open = || {
        let variable = ("CONTAINERS_STORAGE_CONF".into(), conf.clone().into());
        let environment = Environment::new([variable], 1000, "/");
        let sources = LocalSources::new(Scratch::default(), environment);
        let source = sources.open("containers-storage:mine:1").unwrap();
        let image = source.image(&amd64()).unwrap();
        (source, image)
    };
    let (source, read) = open();
    assert_eq!(converted(&source, &read).len(), 3);
    // An image's lower layers may lie in the store below: here all but the list of images.
    fs::create_dir_all(own.join("vfs-images")).unwrap();
    let (from, to) = (stored.root().join("vfs-images"), own.join("vfs-images"));
    let paths = [from, to].map(|path| path.display().to_string());
    crate::support::output_of("cp", &["-r", &format!("{}/.", paths[0]), &paths[1]]);
    let (source, read) = open();
    assert_eq!(converted(&source, &read).len(), 3);
}

/// What converting the first layer ends in.
fn conversion(stored: &Stored) -> String {
    let folder = tempfile::tempdir().unwrap();
    let (source, read) = image(&stored.at("localhost/mine:1"), &amd64());
    let cache = i2kit::cache::Cache::open(folder.path()).unwrap();
    let request = i2kit::pipeline::Request {
        layer: read.layers[0].clone(),
        source,
    };
    let options = i2kit::layer::ConvertOptions::default();
    let done = i2kit::pipeline::convert(
        &cache,
        &[request],
        &options,
        1,
        None,
        &i2kit::pipeline::Silent,
    );
    match done {
        Ok(_) => "converted".to_owned(),
        Err(error) => error.to_string(),
    }
}

/// `big` of the first layer, in every folder that has it.
fn files(root: &Path) -> Vec<PathBuf> {
    let folders = fs::read_dir(root.join("vfs/dir")).unwrap();
    let files = folders.map(|folder| folder.unwrap().path().join("big"));
    files.filter(|path| path.exists()).collect()
}

#[test]
fn files_that_were_changed_in_the_store_are_found() {
    let stored = Stored::new("vfs", "localhost/mine:1");
    assert_eq!(conversion(&stored), "converted");
    let before = fs::read(&files(&stored.root())[0]).unwrap();
    let write = |bytes: &[u8]| {
        for file in files(&stored.root()) {
            fs::write(file, bytes).unwrap();
        }
    };
    // As long as before: only the digest tells.
    write(&vec![8; before.len()]);
    assert!(
        conversion(&stored).starts_with("check layer"),
        "{}",
        conversion(&stored)
    );
    write(b"short");
    assert!(
        conversion(&stored).contains("file \"big\": it was changed"),
        "{}",
        conversion(&stored)
    );
    for file in files(&stored.root()) {
        fs::remove_file(&file).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", &file).unwrap();
    }
    assert!(
        conversion(&stored).contains("file \"big\":"),
        "{}",
        conversion(&stored)
    );
    for file in files(&stored.root()) {
        fs::remove_file(&file).unwrap();
    }
    assert!(
        conversion(&stored).contains("No such file"),
        "{}",
        conversion(&stored)
    );
}

#[test]
fn a_tar_split_that_is_broken() {
    let stored = Stored::new("vfs", "localhost/mine:1");
    // The first layer is there twice, upon others.
    let layers = stored.layers();
    let bottom = layers.iter().find(|layer| layer["parent"].is_null());
    let diff_id = &bottom.unwrap()["diff-digest"];
    let same = layers
        .iter()
        .filter(|layer| layer["diff-digest"] == *diff_id);
    let paths: Vec<_> = same
        .map(|layer| format!("vfs-layers/{}.tar-split.gz", layer["id"].as_str().unwrap()))
        .map(|name| stored.root().join(name))
        .collect();
    assert_eq!(paths.len(), 2);
    let write = |bytes: &[u8]| {
        paths
            .iter()
            .for_each(|path| fs::write(path, bytes).unwrap())
    };
    let whole = fs::read(&paths[0]).unwrap();
    for (bytes, expected) in [
        (whole[..whole.len() / 2].to_vec(), "read layer"),
        (b"no gzip".to_vec(), "read layer"),
        (super::layout::gzip(b"{\"type\":7}\n"), "entry of type 7"),
        (super::layout::gzip(b"[]\n"), "invalid length"),
        (
            super::layout::gzip(b"{\"type\":2,\"payload\":\"*\"}\n"),
            "Invalid symbol",
        ),
        (
            super::layout::gzip(
                b"{\"type\":1,\"name\":\"../../../../../etc/passwd\",\"size\":5}\n",
            ),
            "file \"../../../../../etc/passwd\": No such file",
        ),
        (super::layout::gzip(b""), "0 bytes where the manifest says"),
    ] {
        write(&bytes);
        let error = conversion(&stored);
        assert!(error.contains(expected), "{expected}: {error}");
    }
    // A line without end takes no more memory than a line may.
    let endless = [b"{\"type\":2,\"payload\":\"".to_vec(), vec![b'A'; 40 << 20]].concat();
    write(&super::layout::gzip(&endless));
    assert!(
        conversion(&stored).contains("EOF while parsing"),
        "{}",
        conversion(&stored)
    );
    // Layers of other kinds of pulls have none; the hint knows a way.
    fs::remove_file(&paths[0]).unwrap();
    fs::write(&paths[1], &whole).unwrap();
    assert_eq!(conversion(&stored), "converted");
    fs::remove_file(&paths[1]).unwrap();
    let (source, read) = image(&stored.at("localhost/mine:1"), &amd64());
    let Err(error) = source.open(&read.layers[0]) else {
        panic!("there is no tar-split");
    };
    let error = error.get_ref().unwrap().downcast_ref::<Error>().unwrap();
    assert!(
        error.to_string().contains("tar-split.gz: No such file"),
        "{error}"
    );
    assert!(error.hint().unwrap().contains("podman save"));
}

#[test]
fn lists_that_make_no_sense() {
    let stored = Stored::new("vfs", "localhost/mine:1");
    let source = stored.at("localhost/mine:1");
    let layers = stored.layers();
    let list = |layers: &[serde_json::Value]| {
        fs::write(stored.list("layers"), serde_json::to_vec(layers).unwrap()).unwrap();
    };
    let bottom = layers
        .iter()
        .position(|layer| layer["parent"].is_null())
        .unwrap();
    let mut changed = layers.clone();
    changed[bottom]["parent"] = layers[(bottom + 1) % layers.len()]["id"].clone();
    list(&changed);
    assert!(
        refusal(&source).0.contains("is its own parent"),
        "{}",
        refusal(&source).0
    );
    let mut changed = layers.clone();
    changed.remove(bottom);
    list(&changed);
    assert!(
        refusal(&source).0.contains("is not there"),
        "{}",
        refusal(&source).0
    );
    let mut changed = layers.clone();
    changed[bottom]["diff-digest"] = super::layout::sha256(b"other").into();
    list(&changed);
    assert!(
        refusal(&source).0.contains("the diffID of layer"),
        "{}",
        refusal(&source).0
    );
    let mut changed = layers.clone();
    changed[bottom]["diff-size"] = (-1).into();
    list(&changed);
    assert!(
        refusal(&source).0.contains("the size of layer"),
        "{}",
        refusal(&source).0
    );
    list(&layers);
    fs::write(stored.list("images"), "[{}").unwrap();
    assert!(
        refusal(&source).0.contains("images.json"),
        "{}",
        refusal(&source).0
    );
    fs::remove_file(stored.list("images")).unwrap();
    assert!(
        refusal(&source).0.contains("not there"),
        "{}",
        refusal(&source).0
    );
}

#[test]
fn a_file_of_another_user_of_the_container_has_a_cure() {
    let denied = Error::Stored {
        path: "x".into(),
        source: std::io::ErrorKind::PermissionDenied.into(),
    };
    assert!(denied.hint().unwrap().contains("podman unshare"));
}
