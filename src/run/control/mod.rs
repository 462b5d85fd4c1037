//! The control channel of a local machine: a socket that other processes of the same user ask on,
//! whose sessions share the guest's one port ([`i2kit_contract::control`]).

use std::collections::HashMap;
use std::fs::{self, DirBuilder};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use i2kit_contract::control::{Decoder, Frame, Kind, WINDOW};

mod client;

pub use client::Session;

/// A machine that cannot be asked.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// It would be a path of its own.
    #[error("name a machine {0:?}: letters, digits, \".\", \"-\" and \"_\" only, at most 63")]
    Name(String),
    /// The folder of the sockets cannot be used.
    #[error("use {}: {source}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another machine has the name.
    #[error("name a machine {0:?}: another one that runs has this name")]
    Taken(String),
    /// No machine has the name.
    #[error("ask machine {0:?}: no machine of this name runs here, or it cannot be asked")]
    NoMachine(String),
    /// A socket failed.
    #[error("{operation}: {source}")]
    Socket {
        /// What was done.
        operation: &'static str,
        /// Why it failed.
        source: io::Error,
    },
    /// The guest refused.
    #[error("{0}")]
    Refused(String),
    /// It ended before it answered.
    #[error("the machine ended before it answered")]
    Ended,
    /// What it sends is no answer.
    #[error(transparent)]
    Frame(#[from] i2kit_contract::control::FrameError),
}

impl ControlError {
    /// The cure, where it is known.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Taken(_) => Some("choose another with --vm NAME".into()),
            Self::NoMachine(_) => Some(
                "its disk must be built with --control, and i2kit run names it as its Pod, or as --vm says"
                    .into(),
            ),
            _ => None,
        }
    }
}

fn socket_error(operation: &'static str) -> impl FnOnce(io::Error) -> ControlError {
    move |source| ControlError::Socket { operation, source }
}

/// The folder of the sockets: the user's alone.
fn folder() -> Result<PathBuf, ControlError> {
    let own = rustix::process::getuid().as_raw();
    let path = match std::env::var_os("XDG_RUNTIME_DIR").filter(|path| !path.is_empty()) {
        Some(path) => Path::new(&path).join("i2kit"),
        None if own == 0 => PathBuf::from("/run/i2kit"),
        None => std::env::temp_dir().join(format!("i2kit-{own}")),
    };
    let made = DirBuilder::new().recursive(true).mode(0o700).create(&path);
    let checked = made.and_then(|()| {
        let found = fs::symlink_metadata(&path)?;
        // Below /tmp anybody could have made it.
        if found.is_dir() && found.uid() == own && found.mode() & 0o077 == 0 {
            Ok(())
        } else {
            Err(io::Error::other(
                "it is not a folder of this user alone (mode 0700)",
            ))
        }
    });
    match checked {
        Ok(()) => Ok(path),
        Err(source) => Err(ControlError::Folder { path, source }),
    }
}

fn socket(name: &str) -> Result<PathBuf, ControlError> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    let is_name =
        (1..=63).contains(&name.len()) && name.bytes().all(is_plain) && !name.starts_with('.');
    if !is_name {
        return Err(ControlError::Name(name.to_owned()));
    }
    Ok(folder()?.join(format!("{name}.sock")))
}

/// The machine's side: takes clients from when it is made, and is gone with its socket when
/// dropped.
pub(super) struct Control {
    path: PathBuf,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    /// To the guest's port. A lock of its own: who waits for the guest to read must not keep what
    /// the guest says from its clients.
    vm: Mutex<Option<UnixStream>>,
    clients: Mutex<Clients>,
}

#[derive(Default)]
struct Clients {
    by_session: HashMap<u32, Client>,
    last: u32,
}

struct Client {
    frames: Sender<Frame>,
    /// Bytes that wait for it.
    waiting: Arc<AtomicUsize>,
}

impl Control {
    /// Listens under a name.
    pub(super) fn listen(name: &str) -> Result<Self, ControlError> {
        let path = socket(name)?;
        if UnixStream::connect(&path).is_ok() {
            return Err(ControlError::Taken(name.to_owned()));
        }
        // What a machine that was killed has left.
        let _ = fs::remove_file(&path);
        let listener = UnixListener::bind(&path).map_err(socket_error("listen for clients"))?;
        let shared = Arc::new(Shared::default());
        let own = Arc::clone(&shared);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                own.take(client);
            }
        });
        Ok(Self { path, shared })
    }

    /// From now on the guest is at the other end of this.
    pub(super) fn attach(&self, vm: UnixStream) -> io::Result<()> {
        let reader = vm.try_clone()?;
        *lock(&self.shared.vm) = Some(vm);
        let shared = Arc::clone(&self.shared);
        thread::spawn(move || shared.read_vm(reader));
        Ok(())
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// Each change is whole even when another thread has panicked.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    fn take(self: &Arc<Self>, client: UnixStream) {
        let Ok(writer) = client.try_clone() else {
            return;
        };
        let (frames, received) = mpsc::channel::<Frame>();
        let waiting = Arc::new(AtomicUsize::new(0));
        let session = {
            let mut clients = lock(&self.clients);
            clients.last = clients.last.wrapping_add(1);
            let kept = Client {
                frames,
                waiting: Arc::clone(&waiting),
            };
            let session = clients.last;
            clients.by_session.insert(session, kept);
            session
        };
        thread::spawn(move || write_client(writer, received, &waiting));
        let shared = Arc::clone(self);
        thread::spawn(move || {
            shared.read_client(client, session);
            lock(&shared.clients).by_session.remove(&session);
            shared.to_vm(&Frame::new(session, Kind::Close, Vec::new()));
        });
    }

    /// Hands on a client's frames as those of its session, until it goes or talks nonsense.
    fn read_client(&self, mut client: UnixStream, session: u32) {
        let mut decoder = Decoder::default();
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(length @ 1..) = client.read(&mut buffer) {
            let Ok(frames) = decoder.push(buffer.get(..length).unwrap_or_default()) else {
                return;
            };
            for frame in frames {
                if !self.to_vm(&Frame { session, ..frame }) {
                    self.to_client(Frame::new(
                        session,
                        Kind::Failed,
                        *b"the machine does not answer",
                    ));
                    return;
                }
            }
        }
    }

    fn to_vm(&self, frame: &Frame) -> bool {
        let vm = lock(&self.vm);
        vm.as_ref()
            .is_some_and(|mut vm| vm.write_all(&frame.encode()).is_ok())
    }

    fn read_vm(&self, mut vm: UnixStream) {
        let mut decoder = Decoder::default();
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(length @ 1..) = vm.read(&mut buffer) {
            let Ok(frames) = decoder.push(buffer.get(..length).unwrap_or_default()) else {
                break;
            };
            frames.into_iter().for_each(|frame| self.to_client(frame));
        }
        // Whoever still waits for it to read need not.
        let _ = vm.shutdown(std::net::Shutdown::Both);
        *lock(&self.vm) = None;
        // Their writers end, and with them their connections.
        lock(&self.clients).by_session.clear();
    }

    /// A client that does not keep up has broken its window, or the guest has: it goes.
    fn to_client(&self, frame: Frame) {
        let mut clients = lock(&self.clients);
        let Some(client) = clients.by_session.get(&frame.session) else {
            return;
        };
        let waiting = client.waiting.fetch_add(frame.data.len(), Ordering::SeqCst);
        let session = frame.session;
        if waiting > 2 * WINDOW || client.frames.send(frame).is_err() {
            clients.by_session.remove(&session);
        }
    }
}

fn write_client(mut client: UnixStream, frames: mpsc::Receiver<Frame>, waiting: &AtomicUsize) {
    for frame in frames {
        if client.write_all(&frame.encode()).is_err() {
            break;
        }
        waiting.fetch_sub(frame.data.len(), Ordering::SeqCst);
    }
    // The reader ends too.
    let _ = client.shutdown(std::net::Shutdown::Both);
}

#[cfg(test)]
mod tests {
    use i2kit_contract::control::Request;

    use super::*;

    #[test]
    fn names_are_no_paths() {
        for bad in ["", ".", "../x", "a/b", "a b", &"x".repeat(64)] {
            assert!(matches!(socket(bad), Err(ControlError::Name(_))), "{bad:?}");
        }
    }

    /// A guest that answers each session with what it was asked, and with its input.
    fn guest(mut port: UnixStream) {
        let mut decoder = Decoder::default();
        let mut buffer = [0; 4096];
        while let Ok(length @ 1..) = port.read(&mut buffer) {
            for frame in decoder.push(&buffer[..length]).unwrap() {
                let Frame {
                    session,
                    kind,
                    data,
                } = frame;
                let answers = match kind {
                    Kind::Open => vec![Frame::new(session, Kind::Error, data)],
                    Kind::Data => vec![
                        Frame::number(session, Kind::Credit, u32::try_from(data.len()).unwrap()),
                        Frame::new(session, Kind::Data, data),
                    ],
                    Kind::End => vec![Frame::number(session, Kind::Exit, 7)],
                    _ => Vec::new(),
                };
                for answer in answers {
                    // The machine may be ended while it answers, which its clients notice.
                    if port.write_all(&answer.encode()).is_err() {
                        return;
                    }
                }
            }
        }
    }

    #[test]
    fn sessions_share_one_guest_and_each_has_its_own_answers() {
        let name = format!("test-{}", std::process::id());
        let control = Control::listen(&name).unwrap();
        assert!(matches!(
            Control::listen(&name),
            Err(ControlError::Taken(_))
        ));
        let (host, port) = UnixStream::pair().unwrap();
        control.attach(host).unwrap();
        let guest = thread::spawn(|| guest(port));
        let ask = |text: String, name: String| {
            move || {
                let request = Request::Logs {
                    container: text.clone(),
                    follow: false,
                    tail: None,
                };
                let (mut out, mut err) = (Vec::new(), Vec::new());
                let session = Session::open(&name, &request).unwrap();
                // More than the window has room for.
                let input = text.repeat(WINDOW);
                let code = session
                    .run(Some(io::Cursor::new(input.clone())), &mut out, &mut err)
                    .unwrap();
                assert_eq!((code, out.len()), (7, input.len()));
                assert!(out == input.as_bytes());
                assert_eq!(err, serde_json::to_vec(&request).unwrap());
            }
        };
        let both: Vec<_> = ["one", "two"]
            .map(|text| thread::spawn(ask(text.into(), name.clone())))
            .into();
        both.into_iter().for_each(|client| client.join().unwrap());
        let waiting = Session::open(&name, &Request::State).unwrap();
        lock(&control.shared.vm)
            .as_ref()
            .unwrap()
            .shutdown(std::net::Shutdown::Both)
            .unwrap();
        let input: Option<io::Empty> = None;
        let ended = waiting.run(input, &mut Vec::new(), &mut Vec::new());
        // Its request may come after the machine's end.
        let has_ended = matches!(ended, Err(ControlError::Ended | ControlError::Refused(_)));
        assert!(has_ended, "{ended:?}");
        guest.join().unwrap();
        drop(control);
        assert!(matches!(
            Session::open(&name, &Request::State),
            Err(ControlError::NoMachine(_))
        ));
    }
}
