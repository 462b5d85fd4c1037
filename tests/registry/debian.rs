//! Debian's `docker-registry` as a real server, filled by `skopeo`.

use std::fmt::Write as _;
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use i2kit::oci::registry::Upload;

use super::*;
use crate::support::authority::{Authority, Issued};
use crate::support::output_of;
use crate::support::proxy::{breaking_wire, narrow_proxy};
use crate::support::registry::Tokens;
use crate::support::vm::free_port;

/// A registry of this test's own; the package's service is left alone.
struct Debian {
    child: Child,
    host: String,
    folder: tempfile::TempDir,
}

impl Debian {
    /// `more` are further sections of its settings; `http` further lines of its `http` section.
    fn start(more: &str, http: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let host = format!("127.0.0.1:{}", free_port());
        let settings = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage:\n  filesystem: {{rootdirectory: {}}}\n\
             http:\n  addr: {host}\n{http}{more}",
            folder.path().join("store").display()
        );
        let path = folder.path().join("config.yml");
        std::fs::write(&path, settings).unwrap();
        let mut command = Command::new("docker-registry");
        command.arg("serve").arg(&path).stdout(Stdio::null());
        let child = command.spawn().unwrap_or_else(|error| {
            panic!("docker-registry: {error}; scripts/setup.sh --test installs it")
        });
        let mut server = Self {
            child,
            host,
            folder,
        };
        let begin = Instant::now();
        while TcpStream::connect(&server.host).is_err() {
            let ended = server.child.try_wait().unwrap();
            assert!(
                ended.is_none() && begin.elapsed() < Duration::from_secs(20),
                "{ended:?}"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        server
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn endpoint(&self) -> Endpoint {
        Endpoint {
            scheme: Scheme::Http,
            host: self.host.clone(),
            prefix: String::new(),
            repository: NAME.to_owned(),
            tls: Tls::default(),
            by_tag: true,
            is_mirror: false,
        }
    }

    /// A layout's image becomes `team/app:latest`.
    fn fill(&self, layout: &Path, arguments: &[&str]) {
        let from = format!("oci:{}:latest", layout.display());
        let to = format!("docker://{}/{NAME}:latest", self.host);
        skopeo("copy", &[arguments, &[&from, &to]].concat());
    }
}

impl Drop for Debian {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn skopeo(command: &str, arguments: &[&str]) -> String {
    // The package that brings a policy is only recommended.
    output_of(
        "skopeo",
        &[&["--insecure-policy", command], arguments].concat(),
    )
}

/// Patient enough for a busy machine.
fn calm() -> Options {
    Options {
        timeouts: Timeouts::default(),
        ..options()
    }
}

fn pull(desk: &Desk, places: Repository) -> Result<Vec<(String, String, usize)>, String> {
    let cache = tempfile::tempdir().unwrap();
    convert(Arc::new(desk.source(places)), cache.path()).map(|layers| contents(&layers))
}

fn sample() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    // Gzip and plain ones: Docker's own format knows no others.
    let layout = image(folder.path(), &[300_000, 50_000]);
    (folder, layout)
}

#[test]
fn plain_in_both_formats() {
    let (_folder, layout) = sample();
    let server = Debian::start("", "");
    for format in ["oci", "v2s2"] {
        server.fill(&layout, &["--dest-tls-verify=false", "--format", format]);
        let desk = Desk::with(calm(), Anonymous);
        let found = pull(&desk, of([server.endpoint()])).unwrap();
        assert_eq!(found, expected(&layout), "{format}");
        assert!(desk.notes().is_empty() && desk.clock.slept().is_empty());
    }
    let desk = Desk::with(calm(), Anonymous);
    let places = of([server.endpoint()]);
    let error = desk.client.manifest(&places, &tag("none")).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("404 Not Found: MANIFEST_UNKNOWN"),
        "{error}"
    );
    let subject = Digest::of(b"subject");
    let found = desk.client.referrers(&places, &subject, None).unwrap();
    assert!(found.is_empty());
    let secure = Endpoint {
        scheme: Scheme::Https,
        ..server.endpoint()
    };
    let error = desk
        .client
        .manifest(&of([secure]), &tag("latest"))
        .unwrap_err();
    assert!(
        error.hint().unwrap().contains("does not speak TLS"),
        "{error}"
    );
}

#[test]
fn cut_wires_and_ranges() {
    let (_folder, layout) = sample();
    let server = Debian::start("", "");
    server.fill(&layout, &["--dest-tls-verify=false"]);
    let wire = breaking_wire(&server.host, &[100_000, 150_000, 60_000]);
    let cut = Endpoint {
        host: wire,
        ..server.endpoint()
    };
    let desk = Desk::with(calm(), Anonymous);
    assert_eq!(pull(&desk, of([cut])).unwrap(), expected(&layout));
    assert!(!desk.clock.slept().is_empty());
    let ranges = Ranges {
        threshold: 100_000,
        chunk: 40_000,
        streams: 3,
    };
    let desk = Desk::with(Options { ranges, ..calm() }, Anonymous);
    assert_eq!(
        pull(&desk, of([server.endpoint()])).unwrap(),
        expected(&layout)
    );
    assert!(desk.notes().is_empty(), "{:?}", desk.notes());
}

#[test]
fn htpasswd() {
    let (_folder, layout) = sample();
    let passwords = tempfile::tempdir().unwrap();
    let path = passwords.path().join("htpasswd");
    // As `htpasswd -Bbn -C 4 me secret` writes it.
    let line = "me:$2b$04$rf9P/nQEx5KNmLGsRJKZsOELPoJP13vqF1Y9oQSPwg.AjdyHg8f2y\n";
    std::fs::write(&path, line).unwrap();
    let auth = format!(
        "auth:\n  htpasswd: {{realm: here, path: {}}}\n",
        path.display()
    );
    let server = Debian::start(&auth, "");
    server.fill(
        &layout,
        &["--dest-tls-verify=false", "--dest-creds", "me:secret"],
    );
    let known = |secret| Desk::with(calm(), password("me", secret));
    let places = || of([server.endpoint()]);
    assert_eq!(pull(&known("secret"), places()).unwrap(), expected(&layout));
    let error = pull(&known("wrong"), places()).unwrap_err();
    assert!(
        error.contains("401 Unauthorized: UNAUTHORIZED: authentication required"),
        "{error}"
    );
    assert!(error.contains("log in to it again"), "{error}");
    let error = pull(&Desk::with(calm(), Anonymous), places()).unwrap_err();
    assert!(error.contains("log in to the registry first"), "{error}");
}

#[test]
fn tls_with_its_own_authority() {
    let (_folder, layout) = sample();
    let files = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let file = authority.write(files.path());
    std::fs::copy(&file, files.path().join("ca.crt")).unwrap();
    let issued = authority.issue(&["127.0.0.1"], 2100);
    let (certificate, key) = issued.write(files.path(), "server");
    let http = format!(
        "  tls: {{certificate: {}, key: {}}}\n",
        certificate.display(),
        key.display()
    );
    let server = Debian::start("", &http);
    // skopeo takes `server.cert` and `server.key` for its own otherwise.
    let trust = tempfile::tempdir().unwrap();
    std::fs::copy(&file, trust.path().join("ca.crt")).unwrap();
    server.fill(
        &layout,
        &["--dest-cert-dir", trust.path().to_str().unwrap()],
    );
    let with = |authorities: &[PathBuf]| {
        of([Endpoint {
            scheme: Scheme::Https,
            tls: Tls {
                authorities: authorities.to_vec(),
                ..Tls::default()
            },
            ..server.endpoint()
        }])
    };
    let desk = Desk::with(calm(), Anonymous);
    assert_eq!(pull(&desk, with(&[file])).unwrap(), expected(&layout));
    let error = pull(&desk, with(&[])).unwrap_err();
    assert!(
        error.contains("TLS: invalid peer certificate: UnknownIssuer"),
        "{error}"
    );
}

/// A token as Debian's registry checks it (distribution `docs/spec/auth/jwt.md`).
fn token(issued: &Issued, scope: &str) -> String {
    let part = |value: serde_json::Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap()
        .as_secs();
    let [kind, name, actions] = scope.split(':').collect::<Vec<_>>()[..] else {
        panic!("{scope}")
    };
    let actions: Vec<_> = actions.split(',').collect();
    let mut token = part(json!({"typ": "JWT", "alg": "ES256", "x5c": [issued.x5c()]}));
    let claims = json!({"iss": "us", "sub": "me", "aud": "test", "jti": "1",
        "iat": now, "nbf": now - 60, "exp": now + 60,
        "access": [{"type": kind, "name": name, "actions": actions}]});
    write!(token, ".{}", part(claims)).unwrap();
    let signature = BASE64_URL_SAFE_NO_PAD.encode(issued.sign(token.as_bytes()));
    write!(token, ".{signature}").unwrap();
    token
}

#[test]
fn a_token_server_of_ours() {
    let (_folder, layout) = sample();
    let files = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let bundle = authority.write(files.path());
    let issued = authority.issue(&["tokens.test"], 2100);
    let tokens = Arc::new(Tokens::signed(move |scope| token(&issued, scope)));
    tokens.user("me", "secret");
    let front = Registry::sharing(&tokens);
    let auth = format!(
        "auth:\n  token: {{realm: '{}', service: test, issuer: us, rootcertbundle: {}}}\n",
        front.url("/token"),
        bundle.display()
    );
    let server = Debian::start(&auth, "");
    let desk = Desk::with(calm(), password("me", "secret"));
    let places = of([server.endpoint()]);
    copy(&desk, &layout, &places);
    assert_eq!(tokens.made(), 1, "one for pushing, all of it");
    assert_eq!(pull(&desk, places.clone()).unwrap(), expected(&layout));
    assert_eq!(tokens.made(), 2);
    let wrong = Desk::with(calm(), password("me", "wrong"));
    let error = pull(&wrong, places).unwrap_err();
    assert!(error.contains("incorrect login"), "{error}");
}

/// Pushes a layout's image with our client.
fn copy(desk: &Desk, layout: &Path, places: &Repository) {
    let source = LayoutSource::new(layout.display().to_string().parse().unwrap());
    let image = source.image(&Platform::default()).unwrap();
    for layer in &image.layers {
        let open = || source.open(layer);
        let upload = Upload {
            digest: layer.digest,
            size: layer.size,
            open: &open,
        };
        assert!(desk.client.push_blob(places, &upload).unwrap());
        assert!(!desk.client.push_blob(places, &upload).unwrap());
    }
    let config = image.config_document.bytes.clone();
    let open = || -> std::io::Result<Box<dyn Read + Send>> {
        Ok(Box::new(std::io::Cursor::new(config.clone())))
    };
    let upload = Upload {
        digest: image.config_document.digest,
        size: config.len() as u64,
        open: &open,
    };
    desk.client.push_blob(places, &upload).unwrap();
    let manifest = &image.manifest;
    let pushed = desk.client.push_manifest(
        places,
        &tag("latest"),
        &manifest.media_type,
        &manifest.bytes,
    );
    assert_eq!(pushed.unwrap(), manifest.digest);
}

#[test]
fn what_we_push_skopeo_reads() {
    let (_folder, layout) = sample();
    let server = Debian::start("", "");
    let desk = Desk::with(calm(), Anonymous);
    copy(&desk, &layout, &of([server.endpoint()]));
    let back = server.path("back");
    let from = format!("docker://{}/{NAME}:latest", server.host);
    let to = format!("oci:{}:latest", back.display());
    skopeo("copy", &["--src-tls-verify=false", &from, &to]);
    assert_eq!(expected(&back), expected(&layout));
    // In chunks, where a proxy before it lets nothing else through.
    let bytes = noise(9, 25_000);
    let open = || -> std::io::Result<Box<dyn Read + Send>> {
        Ok(Box::new(std::io::Cursor::new(bytes.clone())))
    };
    let upload = Upload {
        digest: Digest::of(&bytes),
        size: 25_000,
        open: &open,
    };
    let places = of([Endpoint {
        host: narrow_proxy(&server.host),
        ..server.endpoint()
    }]);
    assert!(desk.client.push_blob(&places, &upload).unwrap());
    let places = of([server.endpoint()]);
    let found = desk.read(&places, &upload.digest.to_string(), bytes.len());
    assert!(found.unwrap() == bytes);
}
