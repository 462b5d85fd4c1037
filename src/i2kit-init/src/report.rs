//! Status lines for a local host: JSON, one object per line, on the virtio-serial port
//! [`i2kit_contract::STATUS_PORT`]; the last one on the console too.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use i2kit_contract::{STATUS_PORT, Status};

use crate::console::{Console, write_patiently};

/// Status lines wait here while the port is missing or its reader absent; more are given up.
const PENDING_BYTES: usize = 64 * 1024;
/// How long the last line waits for a reader.
const LAST_LINE_PATIENCE: Duration = Duration::from_secs(1);

/// Where status lines go; clones share one port.
#[derive(Clone)]
pub struct Report {
    port: Arc<Mutex<Port>>,
    console: Console,
}

#[derive(Default)]
struct Port {
    file: Option<File>,
    pending: Vec<u8>,
}

impl Report {
    /// A report whose port is looked for with each line until it is there.
    pub fn new(console: Console) -> Self {
        Self {
            port: Arc::default(),
            console,
        }
    }

    /// Sends a line if the reader takes it, keeps it for later otherwise. Never blocks.
    pub fn send(&self, status: &Status) {
        let Ok(line) = serde_json::to_string(status) else {
            return;
        };
        let mut port = self.port.lock().unwrap_or_else(PoisonError::into_inner);
        if port.pending.len().saturating_add(line.len()) < PENDING_BYTES {
            port.queue(&line);
        }
        port.find();
        port.drain();
    }

    /// Sends the last line, on the console too; waits a moment for a slow reader.
    pub fn send_last(&self, status: &Status) {
        let Ok(line) = serde_json::to_string(status) else {
            return;
        };
        self.console.raw_line(&line);
        let mut port = self.port.lock().unwrap_or_else(PoisonError::into_inner);
        port.queue(&line);
        port.find();
        if let Port {
            file: Some(file),
            pending,
        } = &*port
        {
            // The VM is about to end: nothing could be done about a reader that went away.
            let _given_up = write_patiently(file, pending, LAST_LINE_PATIENCE);
        }
    }
}

impl Port {
    fn queue(&mut self, line: &str) {
        self.pending.extend_from_slice(line.as_bytes());
        self.pending.push(b'\n');
    }

    fn find(&mut self) {
        if self.file.is_none() {
            self.file = find_port(STATUS_PORT).and_then(|device| {
                OpenOptions::new()
                    .write(true)
                    .custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC)
                    .open(device)
                    .ok()
            });
        }
    }

    /// Writes what the port takes at once. A line cut here goes on with the next call.
    fn drain(&mut self) {
        while let (Some(file), false) = (&mut self.file, self.pending.is_empty()) {
            match file.write(&self.pending) {
                Ok(count) if count > 0 => {
                    self.pending.drain(..count.min(self.pending.len()));
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                _ => return,
            }
        }
    }
}

/// The device node of the virtio-serial port with this name, if the machine has one.
pub fn find_port(name: &str) -> Option<PathBuf> {
    port_device(Path::new("/sys/class/virtio-ports"), name)
}

fn port_device(class: &Path, name: &str) -> Option<PathBuf> {
    fs::read_dir(class).ok()?.flatten().find_map(|entry| {
        let found = fs::read_to_string(entry.path().join("name")).ok()?;
        (found.trim_end() == name).then(|| Path::new("/dev").join(entry.file_name()))
    })
}
