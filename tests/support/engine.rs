//! A container engine's HTTP socket, as far as saving an image needs it.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

/// What the engine answers for an image.
#[derive(Clone)]
pub enum Answer {
    /// 200 and these bytes, in chunks of growing sizes.
    Chunked(Vec<u8>),
    /// As [`Answer::Chunked`], but the connection ends after the last of these bytes.
    Cut(Vec<u8>),
    /// A status and a body.
    Status(u16, String),
    /// These bytes instead of an answer.
    Raw(Vec<u8>),
}

#[derive(Default)]
struct Shared {
    answers: Mutex<BTreeMap<String, Answer>>,
    requests: Mutex<Vec<String>>,
}

/// A running engine; its thread ends with the process.
pub struct Engine {
    folder: tempfile::TempDir,
    shared: Arc<Shared>,
}

impl Engine {
    pub fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join("engine.sock")).unwrap();
        let shared = Arc::new(Shared::default());
        let state = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                // A client that goes away is its own affair.
                let _ = stream.and_then(|stream| serve(&stream, &state));
            }
        });
        Self { folder, shared }
    }

    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("engine.sock")
    }

    /// What `DOCKER_HOST` is to be.
    pub fn host(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    pub fn answer(&self, image: &str, answer: Answer) {
        let mut answers = self.shared.answers.lock().unwrap();
        answers.insert(format!("/images/{image}/get"), answer);
    }

    /// Method and path of each request so far.
    pub fn requests(&self) -> Vec<String> {
        self.shared.requests.lock().unwrap().clone()
    }
}

fn serve(mut stream: &UnixStream, shared: &Shared) -> io::Result<()> {
    let mut lines = BufReader::new(stream).lines();
    let Some(first) = lines.next() else {
        return Ok(());
    };
    let first = first?;
    for line in lines {
        if line?.is_empty() {
            break;
        }
    }
    let request = first.strip_suffix(" HTTP/1.1").unwrap_or(&first);
    shared.requests.lock().unwrap().push(request.to_owned());
    let path = request.strip_prefix("GET ").unwrap_or_default();
    let answer = shared.answers.lock().unwrap().get(path).cloned();
    let missing = || Answer::Status(404, r#"{"message":"No such image"}"#.to_owned());
    match answer.unwrap_or_else(missing) {
        Answer::Chunked(bytes) => {
            chunks(stream, &bytes)?;
            stream.write_all(b"0\r\n\r\n")
        }
        Answer::Cut(bytes) => chunks(stream, &bytes),
        Answer::Status(status, body) => write!(
            stream,
            "HTTP/1.1 {status} x\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ),
        Answer::Raw(bytes) => stream.write_all(&bytes),
    }
}

fn chunks(mut stream: &UnixStream, mut bytes: &[u8]) -> io::Result<()> {
    let head =
        "HTTP/1.1 200 OK\r\nContent-Type: application/x-tar\r\nTransfer-Encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes())?;
    let mut size = 1;
    while !bytes.is_empty() {
        let (chunk, rest) = bytes.split_at(size.min(bytes.len()));
        write!(stream, "{:x}\r\n", chunk.len())?;
        stream.write_all(chunk)?;
        stream.write_all(b"\r\n")?;
        bytes = rest;
        size = (size * 3 + 1).min(100_000);
    }
    Ok(())
}
