//! The client's side of a session.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;

use i2kit_contract::control::{Decoder, Frame, Kind, MAX_DATA, Request, WINDOW};

use super::{ControlError, socket, socket_error};

/// A session with a machine that runs here.
#[derive(Debug)]
pub struct Session {
    stream: UnixStream,
    /// Two threads write: a frame must not begin within another.
    writer: Arc<Mutex<UnixStream>>,
}

/// What may still be sent.
struct Credit {
    left: Mutex<usize>,
    more: Condvar,
}

impl Session {
    /// Asks the machine of this name.
    ///
    /// # Errors
    /// [`ControlError`]: there is none, above all.
    pub fn open(name: &str, request: &Request) -> Result<Self, ControlError> {
        let path = socket(name)?;
        let mut stream = match UnixStream::connect(&path) {
            Ok(stream) => stream,
            Err(error) if is_nobody(&error) => {
                return Err(ControlError::NoMachine(name.to_owned()));
            }
            Err(error) => return Err(socket_error("connect to the machine")(error)),
        };
        let json = serde_json::to_vec(request).unwrap_or_default();
        if json.len() > MAX_DATA {
            return Err(ControlError::Refused(format!(
                "the request has more than {MAX_DATA} bytes"
            )));
        }
        let open = Frame::new(0, Kind::Open, json).encode();
        let sent = stream.write_all(&open);
        sent.map_err(socket_error("ask the machine"))?;
        let clone = stream.try_clone();
        let writer = clone.map_err(socket_error("ask the machine"))?;
        Ok(Self {
            stream,
            writer: Arc::new(Mutex::new(writer)),
        })
    }

    /// Hands on standard input, and writes what comes until the session's end; answers the exit
    /// code.
    ///
    /// # Errors
    /// [`ControlError`]: the guest refuses, or is gone.
    pub fn run(
        mut self,
        input: Option<impl Read + Send + 'static>,
        out: &mut dyn Write,
        err: &mut dyn Write,
    ) -> Result<u32, ControlError> {
        let credit = Arc::new(Credit {
            left: Mutex::new(WINDOW),
            more: Condvar::new(),
        });
        if let Some(input) = input {
            let (writer, credit) = (Arc::clone(&self.writer), Arc::clone(&credit));
            // It may wait for a terminal for ever: nobody waits for it.
            thread::spawn(move || send_input(input, &writer, &credit));
        }
        let mut decoder = Decoder::default();
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let read = self.stream.read(&mut buffer);
            let length = read.map_err(socket_error("read the machine's answer"))?;
            if length == 0 {
                return Err(ControlError::Ended);
            }
            for frame in decoder.push(buffer.get(..length).unwrap_or_default())? {
                if let Some(code) = self.handle(&frame, &credit, out, err)? {
                    return Ok(code);
                }
            }
        }
    }

    fn handle(
        &self,
        frame: &Frame,
        credit: &Credit,
        out: &mut dyn Write,
        err: &mut dyn Write,
    ) -> Result<Option<u32>, ControlError> {
        match frame.kind {
            Kind::Exit => return Ok(Some(frame.as_number().unwrap_or(u32::MAX))),
            Kind::Failed => {
                let why = String::from_utf8_lossy(&frame.data)
                    .escape_debug()
                    .to_string();
                return Err(ControlError::Refused(why.replace("\\\"", "\"")));
            }
            Kind::Credit => credit.add(frame.as_number().unwrap_or(0)),
            Kind::Data | Kind::Error => {
                let to: &mut dyn Write = if frame.kind == Kind::Data { out } else { err };
                let written = to.write_all(&frame.data).and_then(|()| to.flush());
                written.map_err(socket_error("print the answer"))?;
                let taken = u32::try_from(frame.data.len()).unwrap_or(u32::MAX);
                // A machine that has gone shows at the next read.
                let _ = send(&self.writer, &Frame::number(0, Kind::Credit, taken));
            }
            Kind::Open | Kind::End | Kind::Close => {}
        }
        Ok(None)
    }
}

fn is_nobody(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
    )
}

fn send(writer: &Mutex<UnixStream>, frame: &Frame) -> io::Result<()> {
    let mut writer = writer.lock().unwrap_or_else(PoisonError::into_inner);
    writer.write_all(&frame.encode())
}

fn send_input(mut input: impl Read, writer: &Mutex<UnixStream>, credit: &Credit) {
    let mut buffer = vec![0; MAX_DATA];
    loop {
        let room = credit.take();
        let length = match input.read(buffer.get_mut(..room).unwrap_or_default()) {
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                credit.give_back(room);
                continue;
            }
            // What cannot be read has ended.
            Err(_) => 0,
        };
        let data = buffer.get(..length).unwrap_or_default();
        let kind = if data.is_empty() {
            Kind::End
        } else {
            Kind::Data
        };
        credit.give_back(room - length);
        if send(writer, &Frame::new(0, kind, data)).is_err() || kind == Kind::End {
            return;
        }
    }
}

impl Credit {
    /// Waits for some, at most a frame's.
    fn take(&self) -> usize {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        while *left == 0 {
            left = self.more.wait(left).unwrap_or_else(PoisonError::into_inner);
        }
        let taken = (*left).min(MAX_DATA);
        *left -= taken;
        taken
    }

    fn give_back(&self, bytes: usize) {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        *left = left.saturating_add(bytes).min(WINDOW);
        self.more.notify_all();
    }

    fn add(&self, bytes: u32) {
        self.give_back(usize::try_from(bytes).unwrap_or(WINDOW));
    }
}
