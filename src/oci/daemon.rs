//! Images of a running engine, over its socket (Docker Engine API, `ImageGet`): it streams what
//! `docker save` would write. Podman's socket answers the same.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Deserialize;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout, Transport,
};

use super::archive::{Archive, Archives, Scratch};
use super::docker_archive::{Saved, WHAT, Wanted};
use super::{Digest, Environment, Error, Image, LayerDescriptor, Platform, Source, names};

/// An engine says nothing while it puts a large layer together.
const IDLE: Duration = Duration::from_secs(600);
/// Bytes of an error's answer that are read.
const MAX_MESSAGE: u64 = 64 << 10;

/// One image of an engine.
#[derive(Debug)]
pub struct DaemonSource {
    image: String,
    environment: Arc<Environment>,
    archives: Arc<Archives>,
    saved: Mutex<Option<Arc<Saved>>>,
}

impl DaemonSource {
    /// The image `reference`: a name or an ID. Nothing is asked yet.
    pub(super) fn new(
        reference: &str,
        environment: Arc<Environment>,
        archives: Arc<Archives>,
    ) -> Result<Self, Error> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/:@._-+".contains(&byte);
        let is_dots = |part: &str| matches!(part, "" | "." | "..");
        if !reference.bytes().all(is_plain) || reference.split('/').any(is_dots) {
            return Err(Error::Reference {
                reference: reference.to_owned(),
                reason: "neither an image's name nor its ID",
            });
        }
        let is_id = reference.parse::<Digest>().is_ok();
        Ok(Self {
            // An ID stays one; a name without a tag would ask for all of its tags.
            image: match is_id {
                true => reference.to_owned(),
                false => names::full(reference),
            },
            environment,
            archives,
            saved: Mutex::default(),
        })
    }

    fn saved(&self) -> Result<Arc<Saved>, Error> {
        let mut saved = self.saved.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(saved) = saved.as_ref() {
            return Ok(Arc::clone(saved));
        }
        let engine = Engine::of(&self.environment)?;
        let archive = engine.save(&self.image, self.archives.scratch())?;
        let read = Saved::read(Arc::new(archive), &engine.socket, &Wanted::Only)?;
        Ok(Arc::clone(saved.insert(Arc::new(read))))
    }
}

impl Source for DaemonSource {
    fn image(&self, platform: &Platform) -> Result<Image, Error> {
        self.saved()?.image(platform)
    }

    fn open(&self, layer: &LayerDescriptor) -> io::Result<Box<dyn Read + Send>> {
        self.saved().map_err(io::Error::other)?.open(layer)
    }
}

/// An engine and its socket.
struct Engine {
    socket: PathBuf,
    agent: ureq::Agent,
}

impl Engine {
    /// The engine that `DOCKER_HOST` names; else the system's, or the user's own.
    fn of(environment: &Environment) -> Result<Self, Error> {
        let socket = match environment.text("DOCKER_HOST") {
            Some(host) => match host.strip_prefix("unix://") {
                Some(path) => PathBuf::from(path),
                None => {
                    let reason = "only engines at a unix:// socket can be asked";
                    return Err(Error::Connect {
                        path: host.into(),
                        source: io::Error::new(io::ErrorKind::Unsupported, reason),
                    });
                }
            },
            None => usual_socket(environment),
        };
        let config = ureq::config::Config::builder()
            .http_status_as_error(false)
            .proxy(None)
            .max_redirects(0)
            .timeout_per_read(Some(IDLE))
            .timeout_per_write(Some(IDLE))
            .build();
        let connector = SocketConnector(socket.clone());
        let agent = ureq::Agent::with_parts(config, connector, NoResolver);
        Ok(Self { socket, agent })
    }

    /// What `docker save IMAGE` writes, kept in a file without a name.
    fn save(&self, image: &str, scratch: &Scratch) -> Result<Archive, Error> {
        // The engine is asked only once it is known to be there, so that a socket that may not be
        // used is told from a broken answer.
        UnixStream::connect(&self.socket).map_err(|source| Error::Connect {
            path: self.socket.clone(),
            source,
        })?;
        let answer = self
            .agent
            .get(format!("http://engine/images/{image}/get"))
            .call();
        let answer = answer.map_err(|error| self.failed(image, error.to_string()))?;
        let status = answer.status();
        let body = answer.into_body().into_with_config();
        if status != 200 {
            let text = read_message(body.limit(MAX_MESSAGE).reader());
            return Err(match status.as_u16() {
                404 => Error::NoSuchImage {
                    what: "the engine at",
                    path: self.socket.clone(),
                    wanted: image.to_owned(),
                    tags: Vec::new(),
                },
                _ => self.failed(image, format!("{status}: {text}")),
            });
        }
        scratch.tell(&format!(
            "saving {image} from the engine at {}",
            self.socket.display()
        ));
        self.keep(image, body.limit(u64::MAX).reader(), scratch)
    }

    fn keep(&self, image: &str, body: impl Read, scratch: &Scratch) -> Result<Archive, Error> {
        let mut body = Watched {
            body,
            broken: false,
        };
        let mut reader = BufReader::with_capacity(1 << 16, &mut body);
        let kept = match reader.fill_buf() {
            Ok(_) => scratch.keep(&mut reader),
            Err(error) => Err(error),
        };
        let file = match kept {
            Ok(file) => file,
            Err(error) if body.broken => return Err(self.failed(image, error.to_string())),
            Err(source) => {
                return Err(Error::Unpack {
                    path: self.socket.clone(),
                    folder: scratch.folder.clone(),
                    source,
                });
            }
        };
        Archive::new(file).map_err(|refused| refused.of(WHAT, &self.socket))
    }

    fn failed(&self, image: &str, reason: String) -> Error {
        Error::Engine {
            image: image.to_owned(),
            path: self.socket.clone(),
            reason,
        }
    }
}

fn usual_socket(environment: &Environment) -> PathBuf {
    let system = environment.system("/var/run/docker.sock");
    let own = environment.path("XDG_RUNTIME_DIR");
    match own.map(|folder| folder.join("docker.sock")) {
        // A rootless engine's.
        Some(own) if !system.exists() && own.exists() => own,
        _ => system,
    }
}

/// The engine's own words, or its answer's first line.
fn read_message(mut body: impl Read) -> String {
    #[derive(Deserialize)]
    struct Answer {
        message: String,
    }
    let mut bytes = Vec::new();
    // What was said before the connection broke is worth telling.
    let _ = body.read_to_end(&mut bytes);
    let text = match serde_json::from_slice::<Answer>(&bytes) {
        Ok(answer) => answer.message,
        Err(_) => String::from_utf8_lossy(&bytes).into_owned(),
    };
    let line = text.lines().next().unwrap_or_default();
    line.chars().take(300).collect()
}

/// Remembers whether it was the body that failed.
struct Watched<R> {
    body: R,
    broken: bool,
}

impl<R: Read> Read for Watched<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let result = self.body.read(buf);
        self.broken |= result.is_err();
        result
    }
}

/// There is nothing to resolve: the connector knows where the engine is.
#[derive(Debug)]
struct NoResolver;

impl Resolver for NoResolver {
    fn resolve(
        &self,
        _: &Uri,
        _: &ureq::config::Config,
        _: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let mut one = self.empty();
        one.push(([127, 0, 0, 1], 0).into());
        Ok(one)
    }
}

/// Connects to a socket in the file system; `ureq` itself knows TCP only.
#[derive(Debug)]
struct SocketConnector(PathBuf);

impl Connector for SocketConnector {
    type Out = Socket;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        _: Option<()>,
    ) -> Result<Option<Socket>, ureq::Error> {
        let stream = UnixStream::connect(&self.0)?;
        stream.set_read_timeout(Some(IDLE))?;
        stream.set_write_timeout(Some(IDLE))?;
        let config = details.config;
        let buffers = LazyBuffers::new(config.input_buffer_size(), config.output_buffer_size());
        Ok(Some(Socket { stream, buffers }))
    }
}

struct Socket {
    stream: UnixStream,
    buffers: LazyBuffers,
}

impl std::fmt::Debug for Socket {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_tuple("Socket").field(&self.stream).finish()
    }
}

impl Transport for Socket {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, _: NextTimeout) -> Result<(), ureq::Error> {
        let output = self.buffers.output();
        let output = output.get(..amount).unwrap_or_default();
        Ok(self.stream.write_all(output)?)
    }

    fn await_input(&mut self, _: NextTimeout) -> Result<bool, ureq::Error> {
        let input = self.buffers.input_append_buf();
        let got = loop {
            match self.stream.read(input) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => break result?,
            }
        };
        self.buffers.input_appended(got);
        Ok(got > 0)
    }

    fn is_open(&mut self) -> bool {
        // A connection is used for one request.
        false
    }
}
