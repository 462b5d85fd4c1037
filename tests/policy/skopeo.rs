//! docker-registry and skopeo as oracles: containers/image reads the same policy and the same
//! signatures.

use std::cell::RefCell;
use std::collections::HashSet;
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::contents::Contents;
use crate::support::layout::sha256;
use crate::support::{samples, tool};

/// A registry in a folder, stopped when dropped.
pub struct Registry {
    folder: tempfile::TempDir,
    child: Child,
    /// `127.0.0.1:PORT`.
    pub host: String,
    /// Blobs that are there, with their repositories.
    pushed: RefCell<HashSet<(String, String)>>,
}

/// What the registry answered.
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Registry {
    pub fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let host = free.local_addr().unwrap().to_string();
        drop(free);
        let config = format!(
            "version: 0.1\nlog: {{level: error}}\n\
             storage: {{filesystem: {{rootdirectory: {:?}}}}}\nhttp: {{addr: {host:?}}}\n",
            folder.path().join("data"),
        );
        fs::write(folder.path().join("config.yml"), config).unwrap();
        fs::create_dir(folder.path().join("registries.d")).unwrap();
        let attachments = "default-docker: {use-sigstore-attachments: true}\n";
        fs::write(folder.path().join("registries.d/default.yaml"), attachments).unwrap();
        let log = fs::File::create(folder.path().join("log")).unwrap();
        let child = Command::new("docker-registry")
            .arg("serve")
            .arg(folder.path().join("config.yml"))
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("docker-registry runs; scripts/setup.sh --test installs it");
        let registry = Self {
            folder,
            child,
            host,
            pushed: RefCell::default(),
        };
        registry.wait();
        registry
    }

    fn wait(&self) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while TcpStream::connect(&self.host).is_err() {
            let log = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            assert!(
                Instant::now() < deadline,
                "docker-registry is silent: {log}"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// One request, `path` after `/v2/`.
    pub fn request(&self, method: &str, path: &str, media_type: &str, body: &[u8]) -> Answer {
        let mut stream = TcpStream::connect(&self.host).unwrap();
        let (host, length) = (&self.host, body.len());
        let head = format!(
            "{method} /v2/{path} HTTP/1.0\r\nHost: {host}\r\nContent-Type: {media_type}\r\n\
             Accept: {}, {}, */*\r\nContent-Length: {length}\r\n\r\n",
            super::contents::MANIFEST,
            super::contents::INDEX,
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(body).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let end = answer.windows(4).position(|at| at == b"\r\n\r\n").unwrap();
        let head = String::from_utf8(answer[..end].to_vec()).unwrap();
        Answer {
            status: head.split(' ').nth(1).unwrap().parse().unwrap(),
            head,
            body: answer[end + 4..].to_vec(),
        }
    }

    /// Pushes all of `contents`, blobs first.
    pub fn push(&self, repository: &str, contents: &Contents) {
        for (digest, bytes) in &contents.blobs {
            let this = (repository.to_owned(), digest.clone());
            if !self.pushed.borrow_mut().insert(this) {
                continue;
            }
            let uploads = format!("{repository}/blobs/uploads/");
            let answer = self.request("POST", &uploads, "text/plain", b"");
            let mut lines = answer.head.lines();
            let location = lines
                .find_map(|line| line.strip_prefix("Location: "))
                .unwrap();
            let (_, path) = location.split_once("/v2/").unwrap();
            self.put(
                &format!("{path}&digest={digest}"),
                "application/octet-stream",
                bytes,
            );
        }
        for stored in &contents.manifests {
            let digest = sha256(&stored.bytes);
            let name = stored.tag.as_ref().unwrap_or(&digest);
            let path = format!("{repository}/manifests/{name}");
            self.put(&path, &stored.media_type, &stored.bytes);
        }
    }

    fn put(&self, path: &str, media_type: &str, bytes: &[u8]) {
        let answer = self.request("PUT", path, media_type, bytes);
        let text = String::from_utf8_lossy(&answer.body);
        assert_eq!(answer.status, 201, "PUT {path}: {text}");
    }

    /// What skopeo says to copying the image under that policy: nothing when it does.
    pub fn copy(&self, reference: &str, policy: &str) -> Result<(), String> {
        let path = |name: &str| self.folder.path().join(name).display().to_string();
        fs::write(path("policy.json"), policy).unwrap();
        let _ = fs::remove_dir_all(path("out"));
        let output = tool(
            &samples::oracle("skopeo"),
            &[
                "--policy",
                &path("policy.json"),
                "--registries.d",
                &path("registries.d"),
                "--override-arch=amd64",
                "copy",
                "--quiet",
                "--remove-signatures",
                "--src-tls-verify=false",
                &format!("docker://{reference}"),
                &format!("dir:{}", path("out")),
            ],
        );
        match output.status.success() {
            true => Ok(()),
            false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        }
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
