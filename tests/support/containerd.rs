//! Debian's containerd as an oracle: a daemon of the test's own, on the native snapshotter.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::{layout, output_of};

/// A running daemon, stopped when dropped.
pub struct Containerd {
    folder: tempfile::TempDir,
    child: Child,
}

impl Containerd {
    pub fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).display().to_string();
        let config = format!(
            "version = 2\nroot = {:?}\nstate = {:?}\n\
             disabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n\
             [grpc]\naddress = {:?}\n[ttrpc]\naddress = {:?}\n",
            path("root"),
            path("state"),
            path("socket"),
            path("ttrpc"),
        );
        fs::write(path("config.toml"), config).unwrap();
        let log = fs::File::create(path("log")).unwrap();
        let child = Command::new("containerd")
            .args(["--config", &path("config.toml")])
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("containerd runs; scripts/setup.sh --test installs it");
        let daemon = Self { folder, child };
        daemon.wait();
        daemon
    }

    fn wait(&self) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !self.ctr(&["version"]).status().unwrap().success() {
            let log = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            assert!(
                Instant::now() < deadline,
                "containerd does not answer: {log}"
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn ctr(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("ctr");
        command
            .arg("--address")
            .arg(self.folder.path().join("socket"))
            .args(arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command
    }

    /// Imports and unpacks the image in the layout at `folder`; answers its mounted root, or
    /// what containerd says against it.
    pub fn unpack(&self, layout: &Path) -> Result<Unpacked, String> {
        let archive = tempfile::NamedTempFile::new().unwrap();
        let archive_path = archive.path().display().to_string();
        let layout_path = layout.display().to_string();
        output_of("tar", &["-C", &layout_path, "-cf", &archive_path, "."]);
        let import = ["images", "import", "--snapshotter", "native", &archive_path];
        // The image keeps its snapshots alive: the one before goes only now.
        let _ = self.run(&["images", "remove", "--sync", layout::CONTAINERD_NAME]);
        self.run(&import).map(|_| self.mount(&chain_id(layout)))
    }

    /// Mounts the snapshot of that chain. `ctr images mount` would not do: it unpacks with the
    /// default snapshotter, whatever its flag says.
    fn mount(&self, chain: &str) -> Unpacked {
        let target = tempfile::tempdir().unwrap();
        let path = target.path().display().to_string();
        let view = [
            "snapshots",
            "--snapshotter",
            "native",
            "view",
            "--target",
            &path,
        ];
        let key = format!("view{}", path.replace('/', "-"));
        let command = self.run(&[&view[..], &[&key, chain]].concat()).unwrap();
        output_of("sh", &["-c", &command]);
        Unpacked { target }
    }

    fn run(&self, arguments: &[&str]) -> Result<String, String> {
        let output = self
            .ctr(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .output()
            .unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        match output.status.success() {
            true => Ok(text(&output.stdout)),
            false => Err(text(&output.stderr)),
        }
    }
}

/// The name of the snapshot that holds all layers (image-spec `config.md`, Layer ChainID).
fn chain_id(layout: &Path) -> String {
    let diff_ids = layout::diff_ids(layout).into_iter();
    let chain = diff_ids.reduce(|chain, one| layout::sha256(format!("{chain} {one}").as_bytes()));
    chain.unwrap()
}

impl Drop for Containerd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An image's root as containerd made it, unmounted when dropped.
pub struct Unpacked {
    target: tempfile::TempDir,
}

impl Unpacked {
    pub fn path(&self) -> PathBuf {
        self.target.path().to_owned()
    }
}

impl Drop for Unpacked {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.target.path()).status();
    }
}
