//! A registry in this process, over real sockets, that misbehaves by script.

pub mod http;
mod tokens;

use std::collections::BTreeMap;
use std::fs;
use std::io::BufReader;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustls::ServerConfig;
use serde_json::{Value, json};

use super::layout::sha256;
use http::{Request, Response, Sending, Wire};
pub use tokens::{Auth, TOKEN, Tokens, basic, pair};

/// What goes wrong with one answer.
#[derive(Clone, Debug)]
pub enum Fault {
    /// The connection ends after so many bytes of the body.
    Cut(usize),
    /// Nothing more comes after so many bytes.
    Stall(usize),
    /// The body comes byte by byte, with pauses.
    Trickle(Duration),
    /// The connection ends before any answer.
    Drop,
    /// There is no answer.
    Silent,
    /// What comes is no HTTP.
    Garbage,
    /// The body is so much longer or shorter than promised, or promised so.
    Length(i64),
    /// One byte is another.
    Corrupt(usize),
    /// No length is promised.
    Chunked,
    /// Nor does the end come: the connection ends within a chunk, after so many bytes.
    CutChunk(usize),
    /// Spaces without end, of the promised length or of none.
    Endless(Option<u64>),
    /// Another answer.
    Answer(Response),
    /// A header more, or another value of one.
    Header(&'static str, String),
    /// The whole where a part was asked for.
    IgnoreRange,
    /// `Range` is refused.
    RefuseRange,
    /// The part begins so many bytes earlier, and is called what was asked for.
    ShiftRange(u64),
}

/// When a fault happens.
#[derive(Clone, Debug)]
pub struct Rule {
    method: Option<&'static str>,
    path: String,
    skip: usize,
    times: usize,
    fault: Fault,
}

impl Rule {
    /// `fault` for every request whose path contains `path`.
    pub fn new(path: impl Into<String>, fault: Fault) -> Self {
        Self {
            method: None,
            path: path.into(),
            skip: 0,
            times: usize::MAX,
            fault,
        }
    }

    pub fn method(mut self, method: &'static str) -> Self {
        self.method = Some(method);
        self
    }

    /// Only so often.
    pub fn times(mut self, times: usize) -> Self {
        self.times = times;
        self
    }

    /// Not the first so many.
    pub fn skip(mut self, skip: usize) -> Self {
        self.skip = skip;
        self
    }

    fn applies(&mut self, request: &Request) -> bool {
        let is_method = self.method.is_none_or(|method| method == request.method);
        if !is_method || !request.path.contains(&self.path) || self.times == 0 {
            return false;
        }
        if self.skip > 0 {
            self.skip -= 1;
            return false;
        }
        self.times -= 1;
        true
    }
}

/// A request that came, and how much of the answer's body went out.
#[derive(Clone, Debug)]
pub struct Seen {
    pub method: String,
    pub path: String,
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
    pub status: u16,
    pub sent: u64,
}

#[derive(Default)]
struct Content {
    blobs: BTreeMap<String, Arc<Vec<u8>>>,
    /// By `REPOSITORY:TAG` and `REPOSITORY@DIGEST`.
    manifests: BTreeMap<String, (String, Arc<Vec<u8>>)>,
    uploads: BTreeMap<String, Vec<u8>>,
}

struct Shared {
    address: SocketAddr,
    tls: Option<Arc<ServerConfig>>,
    content: Mutex<Content>,
    rules: Mutex<Vec<Rule>>,
    seen: Mutex<Vec<Seen>>,
    auth: Mutex<Auth>,
    /// What every answer waits.
    latency: Mutex<Duration>,
    tokens: Arc<Tokens>,
    has_referrers: AtomicBool,
    active: AtomicUsize,
    peak: AtomicUsize,
    is_over: AtomicBool,
}

pub struct Registry {
    shared: Arc<Shared>,
}

impl Registry {
    pub fn start() -> Self {
        Self::with(None, Arc::default())
    }

    /// With tokens that another one may make or check.
    pub fn sharing(tokens: &Arc<Tokens>) -> Self {
        Self::with(None, Arc::clone(tokens))
    }

    pub fn with(tls: Option<Arc<ServerConfig>>, tokens: Arc<Tokens>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let shared = Arc::new(Shared {
            address: listener.local_addr().unwrap(),
            tls,
            content: Mutex::default(),
            rules: Mutex::default(),
            seen: Mutex::default(),
            auth: Mutex::default(),
            latency: Mutex::default(),
            tokens,
            has_referrers: AtomicBool::new(true),
            active: AtomicUsize::new(0),
            peak: AtomicUsize::new(0),
            is_over: AtomicBool::new(false),
        });
        let server = Arc::clone(&shared);
        std::thread::spawn(move || {
            for socket in listener.incoming().map_while(Result::ok) {
                if server.is_over() {
                    return;
                }
                let server = Arc::clone(&server);
                std::thread::spawn(move || server.serve(socket));
            }
        });
        Self { shared }
    }

    /// `127.0.0.1:PORT`.
    pub fn host(&self) -> String {
        self.shared.address.to_string()
    }

    pub fn url(&self, path: &str) -> String {
        let scheme = if self.shared.tls.is_some() {
            "https"
        } else {
            "http"
        };
        format!("{scheme}://{}{path}", self.host())
    }

    pub fn script(&self, rules: impl IntoIterator<Item = Rule>) {
        *self.shared.rules.lock().unwrap() = rules.into_iter().collect();
    }

    pub fn set_auth(&self, auth: Auth) {
        *self.shared.auth.lock().unwrap() = auth;
    }

    /// As if it were so far away.
    pub fn set_latency(&self, latency: Duration) {
        *self.shared.latency.lock().unwrap() = latency;
    }

    pub fn without_referrers(&self) {
        self.shared.has_referrers.store(false, Ordering::Relaxed);
    }

    /// What came so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.shared.seen.lock().unwrap().clone()
    }

    pub fn forget(&self) {
        self.shared.seen.lock().unwrap().clear();
        self.shared.peak.store(0, Ordering::Relaxed);
    }

    /// The most requests at once that had no answer yet.
    pub fn peak(&self) -> usize {
        self.shared.peak.load(Ordering::Relaxed)
    }

    pub fn put_blob(&self, bytes: impl Into<Vec<u8>>) -> String {
        let bytes = bytes.into();
        let digest = sha256(&bytes);
        let mut content = self.shared.content.lock().unwrap();
        content.blobs.insert(digest.clone(), Arc::new(bytes));
        digest
    }

    pub fn remove_blob(&self, digest: &str) {
        self.shared.content.lock().unwrap().blobs.remove(digest);
    }

    pub fn blob(&self, digest: &str) -> Option<Arc<Vec<u8>>> {
        self.shared
            .content
            .lock()
            .unwrap()
            .blobs
            .get(digest)
            .cloned()
    }

    pub fn put_manifest(&self, name: &str, tag: &str, kind: &str, bytes: &[u8]) -> String {
        self.shared.put_manifest(name, tag, kind, bytes)
    }

    /// All blobs and the tagged manifests of a layout.
    pub fn load(&self, layout: &Path, name: &str) {
        for entry in fs::read_dir(layout.join("blobs/sha256")).unwrap() {
            self.put_blob(fs::read(entry.unwrap().path()).unwrap());
        }
        let index: Value =
            serde_json::from_slice(&fs::read(layout.join("index.json")).unwrap()).unwrap();
        for one in index["manifests"].as_array().unwrap() {
            let bytes = self.blob(one["digest"].as_str().unwrap()).unwrap();
            let tag = one["annotations"]["org.opencontainers.image.ref.name"].as_str();
            let kind = one["mediaType"].as_str().unwrap();
            self.put_manifest(name, tag.unwrap_or("latest"), kind, &bytes);
        }
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Relaxed);
        // Wakes who waits for a connection.
        let _ = TcpStream::connect(self.shared.address);
    }
}

impl Shared {
    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    fn serve(&self, socket: TcpStream) {
        socket.set_nodelay(true).unwrap();
        socket
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        let raw = socket.try_clone().unwrap();
        let wire: Box<dyn Wire> = match &self.tls {
            Some(config) => {
                let connection = rustls::ServerConnection::new(Arc::clone(config)).unwrap();
                Box::new(rustls::StreamOwned::new(connection, socket))
            }
            None => Box::new(socket),
        };
        let mut wire = BufReader::new(wire);
        while !self.is_over() {
            let Some(request) = http::read_request(&mut wire) else {
                return;
            };
            if self.one(&mut wire, &raw, request) != Some(true) {
                return;
            }
        }
    }

    fn one(
        &self,
        wire: &mut BufReader<Box<dyn Wire>>,
        socket: &TcpStream,
        mut request: Request,
    ) -> Option<bool> {
        let refusal = self
            .auth
            .lock()
            .unwrap()
            .refuse(&self.tokens, &request, &self.base());
        let fault = match refusal {
            Some(_) => None,
            None => self.fault(&request),
        };
        let early = match &fault {
            Some(Fault::Answer(response)) => Some(response.clone()),
            _ => refusal,
        };
        let expects = request.headers.contains_key("expect");
        if early.is_none() || !expects {
            http::read_body(wire, &mut request)?;
        }
        let response = match early {
            Some(early) if expects => early.with("Connection", "close"),
            Some(early) => early,
            None => self.answer(&request, fault.as_ref()),
        };
        // Before the answer, since the client may look at once when it has that.
        let index = self.remember(&request, response.status);
        let active = self.active.fetch_add(1, Ordering::SeqCst) + 1;
        self.peak.fetch_max(active, Ordering::SeqCst);
        let latency = *self.latency.lock().unwrap();
        std::thread::sleep(latency);
        self.active.fetch_sub(1, Ordering::SeqCst);
        let mut sending = Sending {
            is_head: request.method == "HEAD",
            is_over: &|| self.is_over(),
            socket,
            wire: wire.get_mut(),
        };
        let sent = sending.send(&response, fault.as_ref());
        if let Some(seen) = self.seen.lock().unwrap().get_mut(index) {
            seen.sent = sent.bytes;
        }
        let closes = response
            .headers
            .iter()
            .any(|(name, _)| name == "Connection");
        Some(sent.is_open && !closes)
    }

    fn base(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    fn remember(&self, request: &Request, status: u16) -> usize {
        let mut seen = self.seen.lock().unwrap();
        seen.push(Seen {
            method: request.method.clone(),
            path: request.path.clone(),
            headers: request.headers.clone(),
            body: request.body.clone(),
            status,
            sent: 0,
        });
        seen.len() - 1
    }

    fn fault(&self, request: &Request) -> Option<Fault> {
        let mut rules = self.rules.lock().unwrap();
        let mut applying = rules.iter_mut();
        applying.find_map(|rule| rule.applies(request).then(|| rule.fault.clone()))
    }

    fn answer(&self, request: &Request, fault: Option<&Fault>) -> Response {
        let response = self.honest(request, fault);
        match fault {
            Some(Fault::Header(name, value)) => response.with(name, value),
            _ => response,
        }
    }

    fn honest(&self, request: &Request, fault: Option<&Fault>) -> Response {
        let path = request.path.split('?').next().unwrap();
        if path == "/token" {
            return self.tokens.answer(request);
        }
        if let Some(digest) = path.strip_prefix("/elsewhere/") {
            return self.blob_response(digest, request, fault);
        }
        let Some(rest) = path.strip_prefix("/v2/") else {
            return Response::new(404)
                .with("Content-Type", "text/plain")
                .body(b"404 page not found".to_vec());
        };
        if rest.is_empty() {
            return Response::new(200).body(b"{}".to_vec());
        }
        let parts = ["/manifests/", "/blobs/uploads/", "/blobs/", "/referrers/"];
        let found = parts
            .iter()
            .find_map(|part| Some((*part, rest.split_once(part)?)));
        match found {
            Some(("/manifests/", (name, reference))) => self.manifest(name, reference, request),
            Some(("/blobs/uploads/", (name, id))) => self.upload(name, id, request),
            Some(("/blobs/", (_, digest))) => self.blob_response(digest, request, fault),
            Some(("/referrers/", (name, digest))) => self.referrers(name, digest, request),
            _ => Response::error(404, "NAME_UNKNOWN", "repository name not known to registry"),
        }
    }

    fn manifest(&self, name: &str, reference: &str, request: &Request) -> Response {
        if request.method == "PUT" {
            let kind = request
                .headers
                .get("content-type")
                .cloned()
                .unwrap_or_default();
            let digest = self.put_manifest(name, reference, &kind, &request.body);
            return Response::new(201).with("Docker-Content-Digest", digest);
        }
        let separator = if reference.contains(':') { '@' } else { ':' };
        let content = self.content.lock().unwrap();
        match content
            .manifests
            .get(&format!("{name}{separator}{reference}"))
        {
            Some((kind, bytes)) => Response::new(200)
                .with("Content-Type", kind)
                .with("Docker-Content-Digest", sha256(bytes))
                .body(Arc::clone(bytes)),
            None => Response::error(404, "MANIFEST_UNKNOWN", "manifest unknown"),
        }
    }

    fn put_manifest(&self, name: &str, reference: &str, kind: &str, bytes: &[u8]) -> String {
        let digest = sha256(bytes);
        let value = (kind.to_owned(), Arc::new(bytes.to_vec()));
        let mut content = self.content.lock().unwrap();
        let keys = [format!("{name}@{digest}"), format!("{name}:{reference}")];
        for key in keys {
            content.manifests.insert(key, value.clone());
        }
        digest
    }

    fn blob_response(&self, digest: &str, request: &Request, fault: Option<&Fault>) -> Response {
        let Some(bytes) = self.content.lock().unwrap().blobs.get(digest).cloned() else {
            return Response::error(404, "BLOB_UNKNOWN", "blob unknown to registry");
        };
        let etag = format!("\"{digest}\"");
        let whole = Response::new(200)
            .with("Content-Type", "application/octet-stream")
            .with("Docker-Content-Digest", digest)
            .with("ETag", &etag)
            .with("Accept-Ranges", "bytes");
        let is_same = request
            .headers
            .get("if-range")
            .is_none_or(|given| *given == etag);
        let range = request.headers.get("range").filter(|_| is_same);
        match (range, fault) {
            (Some(_), Some(Fault::RefuseRange)) => Response::new(416),
            (Some(range), fault) if !matches!(fault, Some(Fault::IgnoreRange)) => {
                part(whole, range, &bytes, fault)
            }
            _ => whole.body(bytes),
        }
    }

    fn upload(&self, name: &str, id: &str, request: &Request) -> Response {
        let mut content = self.content.lock().unwrap();
        let id = if id.is_empty() {
            format!("upload-{}", content.uploads.len())
        } else {
            id.to_owned()
        };
        let bytes = content.uploads.entry(id.clone()).or_default();
        if let Some(range) = request.headers.get("content-range") {
            let first = range.split('-').next().unwrap();
            if first != bytes.len().to_string() {
                return Response::new(416);
            }
        }
        bytes.extend(&request.body);
        if request.method != "PUT" {
            return Response::new(202).with(
                "Location",
                format!("/v2/{name}/blobs/uploads/{id}?_state=x"),
            );
        }
        let bytes = std::mem::take(bytes);
        let digest = sha256(&bytes);
        let wanted = request.path.split("digest=").nth(1).unwrap_or_default();
        if digest != wanted {
            return Response::error(400, "DIGEST_INVALID", "provided digest did not match");
        }
        content.blobs.insert(digest.clone(), Arc::new(bytes));
        Response::new(201).with("Docker-Content-Digest", digest)
    }

    /// Two a page.
    fn referrers(&self, name: &str, digest: &str, request: &Request) -> Response {
        if !self.has_referrers.load(Ordering::Relaxed) {
            return Response::new(404);
        }
        let content = self.content.lock().unwrap();
        let prefix = format!("{name}@");
        let manifests = content
            .manifests
            .iter()
            .filter(|(key, _)| key.starts_with(&prefix));
        let all: Vec<Value> = manifests
            .filter_map(|(_, (kind, bytes))| referrer(kind, bytes, digest))
            .collect();
        let page: usize = match request.path.split("page=").nth(1) {
            Some(page) => page.parse().unwrap(),
            None => 0,
        };
        let list: Vec<_> = all.iter().skip(2 * page).take(2).collect();
        let index = json!({"schemaVersion": 2, "manifests": list});
        let response = Response::new(200)
            .with("Content-Type", "application/vnd.oci.image.index.v1+json")
            .body(index.to_string().into_bytes());
        if all.len() > 2 * (page + 1) {
            let next = format!(
                "</v2/{name}/referrers/{digest}?page={}>; rel=\"next\"",
                page + 1
            );
            return response.with("Link", next);
        }
        response
    }
}

fn referrer(kind: &str, bytes: &[u8], subject: &str) -> Option<Value> {
    let manifest: Value = serde_json::from_slice(bytes).ok()?;
    (manifest["subject"]["digest"] == subject).then(|| {
        json!({
            "mediaType": kind,
            "digest": sha256(bytes),
            "size": bytes.len(),
            "artifactType": manifest["artifactType"],
        })
    })
}

fn part(whole: Response, range: &str, bytes: &[u8], fault: Option<&Fault>) -> Response {
    let (first, last) = range
        .strip_prefix("bytes=")
        .unwrap()
        .split_once('-')
        .unwrap();
    let first: usize = first.parse().unwrap();
    let total = bytes.len();
    if first >= total {
        return Response::new(416).with("Content-Range", format!("bytes */{total}"));
    }
    let last = last.parse().unwrap_or(usize::MAX).min(total - 1);
    let shift = match fault {
        Some(Fault::ShiftRange(shift)) => usize::try_from(*shift).unwrap().min(first),
        _ => 0,
    };
    let mut response = whole
        .with("Content-Range", format!("bytes {first}-{last}/{total}"))
        .body(bytes[first - shift..=last - shift].to_vec());
    response.status = 206;
    response
}
