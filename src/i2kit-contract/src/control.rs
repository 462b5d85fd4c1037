//! The control channel: how a local host asks a guest that was built with it. Frames on the
//! virtio-serial port [`CONTROL_PORT`], of several sessions at once.
//!
//! A frame is a length of its data (u32), a session (u32), a kind (u8), all big-endian, and the
//! data. A session begins with [`Kind::Open`], whose data is a [`Request`] as JSON, and ends with
//! the guest's [`Kind::Exit`] or [`Kind::Failed`], or the host's [`Kind::Close`]. Each side sends
//! at most [`WINDOW`] bytes of a session's data more than the other has given credit for, so
//! nobody holds more, and a session that stands still holds up no other.

use serde::{Deserialize, Serialize};

/// Name of the virtio-serial port.
pub const CONTROL_PORT: &str = "org.i2kit.control";
/// Most data of a frame, bytes.
pub const MAX_DATA: usize = 32 * 1024;
/// Data of a session that may be on its way in one direction, bytes.
pub const WINDOW: usize = 256 * 1024;
/// Most sessions at once.
pub const MAX_SESSIONS: usize = 16;
const HEADER: usize = 9;

/// What a frame is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Host: begins a session.
    Open = 1,
    /// Host: standard input; guest: standard output.
    Data = 2,
    /// Guest: standard error.
    Error = 3,
    /// Host: standard input has ended.
    End = 4,
    /// Guest: the exit code (u32); the session is over.
    Exit = 5,
    /// Guest: why the session is over, as text.
    Failed = 6,
    /// So many bytes (u32) have been taken.
    Credit = 7,
    /// Host: nobody wants the session any more.
    Close = 8,
}

impl Kind {
    fn from_number(number: u8) -> Option<Self> {
        [
            Self::Open,
            Self::Data,
            Self::Error,
            Self::End,
            Self::Exit,
            Self::Failed,
            Self::Credit,
            Self::Close,
        ]
        .into_iter()
        .find(|kind| *kind as u8 == number)
    }

    /// Whether the window counts it.
    #[must_use]
    pub fn is_counted(self) -> bool {
        matches!(self, Self::Data | Self::Error)
    }
}

/// One frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Whose.
    pub session: u32,
    /// What for.
    pub kind: Kind,
    /// At most [`MAX_DATA`] bytes.
    pub data: Vec<u8>,
}

impl Frame {
    /// A frame; data beyond [`MAX_DATA`] is cut off.
    #[must_use]
    pub fn new(session: u32, kind: Kind, data: impl Into<Vec<u8>>) -> Self {
        let mut data = data.into();
        data.truncate(MAX_DATA);
        Self {
            session,
            kind,
            data,
        }
    }

    /// A frame whose data is one number.
    #[must_use]
    pub fn number(session: u32, kind: Kind, number: u32) -> Self {
        Self::new(session, kind, number.to_be_bytes())
    }

    /// The number that is its data.
    #[must_use]
    pub fn as_number(&self) -> Option<u32> {
        Some(u32::from_be_bytes(self.data.as_slice().try_into().ok()?))
    }

    /// The frame's bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let length = u32::try_from(self.data.len()).unwrap_or(u32::MAX);
        let mut bytes = length.to_be_bytes().to_vec();
        bytes.extend(self.session.to_be_bytes());
        bytes.push(self.kind as u8);
        bytes.extend_from_slice(&self.data);
        bytes
    }
}

/// Bytes that are no frames. There is no way to find the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Longer than [`MAX_DATA`].
    #[error("control channel: a frame of {0} bytes, {MAX_DATA} at most")]
    TooLong(u32),
    /// Of no known kind.
    #[error("control channel: a frame of unknown kind {0}")]
    Kind(u8),
}

/// Makes frames of a stream of bytes; holds at most one.
#[derive(Debug, Default)]
pub struct Decoder {
    held: Vec<u8>,
}

impl Decoder {
    /// Takes bytes and answers the frames that are whole now.
    ///
    /// # Errors
    /// [`FrameError`]; the frames before it are lost with the stream.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Vec<Frame>, FrameError> {
        self.held.extend_from_slice(bytes);
        let mut frames = Vec::new();
        let mut used = 0;
        while let Some((frame, length)) = decode(self.held.get(used..).unwrap_or_default())? {
            frames.push(frame);
            used += length;
        }
        self.held.drain(..used);
        Ok(frames)
    }
}

fn decode(bytes: &[u8]) -> Result<Option<(Frame, usize)>, FrameError> {
    let Some((header, rest)) = bytes.split_first_chunk::<HEADER>() else {
        return Ok(None);
    };
    let [a, b, c, d, e, f, g, h, kind] = *header;
    let length = u32::from_be_bytes([a, b, c, d]);
    let session = u32::from_be_bytes([e, f, g, h]);
    let wanted = usize::try_from(length).unwrap_or(usize::MAX);
    if wanted > MAX_DATA {
        return Err(FrameError::TooLong(length));
    }
    let kind = Kind::from_number(kind).ok_or(FrameError::Kind(kind))?;
    Ok(rest.get(..wanted).map(|data| {
        let data = data.to_vec();
        let frame = Frame {
            session,
            kind,
            data,
        };
        (frame, HEADER + wanted)
    }))
}

/// What a session is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// Run a program in a container, as the container's own user, with its variables.
    Exec {
        /// The container; the Pod's first when empty.
        container: String,
        /// The program and its arguments.
        args: Vec<String>,
        /// Whether there is standard input.
        stdin: bool,
    },
    /// What a container has printed.
    Logs {
        /// The container; the Pod's first when empty.
        container: String,
        /// Go on as it prints.
        follow: bool,
        /// Only so many lines of the end.
        tail: Option<usize>,
    },
    /// A [`PodState`] as JSON on standard output.
    State,
}

/// What [`Request::State`] answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodState {
    /// The Pod's name.
    pub pod: String,
    /// Milliseconds since the kernel started.
    pub uptime_ms: u64,
    /// In the contract's order.
    pub containers: Vec<ContainerState>,
}

/// A container at this moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerState {
    /// Its name.
    pub name: String,
    /// A process of it runs.
    pub running: bool,
    /// Since when, milliseconds since the kernel started.
    pub started_at_ms: Option<u64>,
    /// How often it was started again.
    pub restart_count: u32,
    /// Its last exit code, if it has ended once.
    pub last_exit_code: Option<u32>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_read_however_they_are_cut() {
        let frames = [
            Frame::new(1, Kind::Open, *b"{}"),
            Frame::new(7, Kind::Data, vec![b'x'; MAX_DATA]),
            Frame::number(u32::MAX, Kind::Exit, 137),
        ];
        let bytes: Vec<u8> = frames.iter().flat_map(Frame::encode).collect();
        for size in [1, 8, 9, 1000, bytes.len()] {
            let mut decoder = Decoder::default();
            let pieces = bytes.chunks(size);
            let read: Vec<Frame> = pieces
                .flat_map(|piece| decoder.push(piece).unwrap())
                .collect();
            assert_eq!(read, frames);
            assert!(decoder.held.is_empty());
        }
        assert_eq!(frames[2].as_number(), Some(137));
        assert_eq!(frames[0].as_number(), None);
    }

    #[test]
    fn what_is_no_frame_is_refused_at_once() {
        let mut decoder = Decoder::default();
        let long = [0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 1];
        assert_eq!(decoder.push(&long), Err(FrameError::TooLong(u32::MAX)));
        let mut decoder = Decoder::default();
        assert_eq!(decoder.push(&[0; 9]), Err(FrameError::Kind(0)));
    }

    #[test]
    fn requests_are_plain_json() {
        let request = Request::Exec {
            container: "web".into(),
            args: vec!["id".into()],
            stdin: false,
        };
        let json = r#"{"exec":{"container":"web","args":["id"],"stdin":false}}"#;
        assert_eq!(serde_json::to_string(&request).unwrap(), json);
        assert_eq!(
            serde_json::from_str::<Request>("\"state\"").unwrap(),
            Request::State
        );
    }
}
