//! The fifos that carry what processes in containers print.

use std::{
    cell::RefCell,
    io,
    path::{Path, PathBuf},
    rc::Rc,
};

use tokio::{net::unix::pipe, sync::oneshot, task::JoinHandle};

use crate::{
    console::Console,
    fault::{Context, Fault},
    paths,
    pod::logs::{Lines, LogFile, Sink, Tail},
};

/// What becomes of a stream's bytes.
pub trait Consumer: 'static {
    /// The next bytes.
    fn take(&mut self, data: &[u8]);

    /// There are no more.
    fn finish(&mut self) {}
}

/// A fifo that is read to a consumer.
pub struct Stream<C> {
    path: PathBuf,
    done: oneshot::Sender<()>,
    pump: JoinHandle<C>,
}

impl<C: Consumer> Stream<C> {
    /// Makes the fifo and begins to read. Must run inside a tokio `LocalSet`.
    ///
    /// # Errors
    /// The fifo cannot be made.
    pub fn open(name: &str, consumer: C) -> Result<Self, Fault> {
        Self::open_at(Path::new(paths::STDIO).join(name), consumer)
    }

    fn open_at(path: PathBuf, consumer: C) -> Result<Self, Fault> {
        let fifo = open_fifo(&path)?;
        let (done, receiver) = oneshot::channel();
        Ok(Self {
            path,
            done,
            pump: tokio::task::spawn_local(pump(fifo, consumer, receiver)),
        })
    }

    /// For containerd.
    pub fn path(&self) -> String {
        self.path.display().to_string()
    }

    /// Reads what is still in it. `None` when the reader has failed.
    pub async fn close(self) -> Option<C> {
        // A pump that has ended has nothing left to read.
        let _ = self.done.send(());
        let consumer = self.pump.await.ok();
        // It may be gone with its folder; the next of this name is made anew in any case.
        let _ = std::fs::remove_file(&self.path);
        consumer
    }
}

/// A fifo, made anew. Open for writing too, so that it never ends before the other side has
/// opened it.
fn open_fifo(path: &Path) -> Result<pipe::Receiver, Fault> {
    make_fifo(path).context("create", path.display())?;
    pipe::OpenOptions::new()
        .read_write(true)
        .open_receiver(path)
        .context("open", path.display())
}

pub fn make_fifo(path: &Path) -> io::Result<()> {
    match rustix::fs::unlink(path) {
        Ok(()) | Err(rustix::io::Errno::NOENT) => {}
        Err(error) => return Err(error.into()),
    }
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    Ok(rustix::fs::mknodat(
        rustix::fs::CWD,
        path,
        rustix::fs::FileType::Fifo,
        mode,
        0,
    )?)
}

/// Reads a fifo until `done`, and then what is still in it.
async fn pump<C: Consumer>(
    fifo: pipe::Receiver,
    mut consumer: C,
    mut done: oneshot::Receiver<()>,
) -> C {
    let mut buffer = vec![0; 64 * 1024];
    let mut ending = false;
    loop {
        match fifo.try_read(&mut buffer) {
            Ok(length @ 1..) => {
                consumer.take(buffer.get(..length).unwrap_or_default());
                // Who never stops writing must not keep the others waiting.
                tokio::task::yield_now().await;
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && !ending => {
                tokio::select! {
                    ready = fifo.readable() => if ready.is_err() { break },
                    _ = &mut done => ending = true,
                }
            }
            _ => break,
        }
    }
    consumer.finish();
    consumer
}

/// The streams of one run of a container.
pub struct Output {
    stdin: Option<(PathBuf, pipe::Receiver)>,
    stdout: Stream<Lines>,
    /// With a terminal both streams are one.
    stderr: Option<Stream<Lines>>,
    tail: Rc<RefCell<Tail>>,
}

impl Output {
    /// Opens the streams of a container's next run.
    ///
    /// # Errors
    /// A fifo cannot be made.
    pub fn open(
        container: &i2kit_contract::Container,
        console: &Console,
        log: Option<&Rc<RefCell<LogFile>>>,
    ) -> Result<Self, Fault> {
        let (name, life) = (&container.name, &container.life);
        let tail = Rc::<RefCell<Tail>>::default();
        let open = |stream: &'static str| {
            let sink = Sink {
                container: name.clone(),
                stream,
                console: console.clone(),
                file: log.cloned(),
                tail: Rc::clone(&tail),
            };
            Stream::open(&format!("{name}-{stream}"), Lines::new(sink))
        };
        let stdout = open("stdout")?;
        let stderr = if life.tty {
            None
        } else {
            Some(open("stderr")?)
        };
        let stdin = if life.stdin {
            let path = Path::new(paths::STDIO).join(format!("{name}-stdin"));
            let held = open_fifo(&path)?;
            Some((path, held))
        } else {
            None
        };
        Ok(Self {
            stdin,
            stdout,
            stderr,
            tail,
        })
    }

    /// Paths of standard input, output and error for containerd; empty for what there is not.
    pub fn paths(&self) -> [String; 3] {
        let stdin = self.stdin.as_ref();
        let stderr = self.stderr.as_ref();
        [
            stdin.map_or_else(String::new, |(path, _)| path.display().to_string()),
            self.stdout.path(),
            stderr.map_or_else(String::new, Stream::path),
        ]
    }

    /// Reads what is left; answers the end of it.
    pub async fn close(self) -> String {
        for stream in [Some(self.stdout), self.stderr].into_iter().flatten() {
            stream.close().await;
        }
        let tail = self.tail.borrow();
        tail.text()
    }
}

/// Keeps the first bytes and forgets the rest.
#[derive(Debug, Default)]
pub struct First {
    bytes: Vec<u8>,
}

impl First {
    /// The kubelet's bound for what a probe or hook prints.
    const MOST: usize = 10 * 1024;

    /// What was kept, as text without white space around it.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).trim().to_owned()
    }
}

impl Consumer for First {
    fn take(&mut self, data: &[u8]) {
        let room = Self::MOST.saturating_sub(self.bytes.len());
        let piece = data.get(..room).unwrap_or(data);
        self.bytes.extend_from_slice(piece);
    }
}

#[cfg(test)]
mod tests {
    use tokio::task::LocalSet;

    use super::*;

    fn folder(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("i2kit-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        path
    }

    /// Writes to the fifo in a thread, from opening to closing it.
    async fn write(path: PathBuf, lines: usize) {
        let writer = tokio::task::spawn_blocking(move || {
            use std::io::Write;
            let mut fifo = std::fs::File::options().write(true).open(path).unwrap();
            for number in 0..lines {
                writeln!(fifo, "line {number}").unwrap();
            }
        });
        writer.await.unwrap();
    }

    #[tokio::test(flavor = "current_thread")]
    async fn all_that_was_written_before_the_end_is_read() {
        let folder = folder("fifo");
        let path = folder.join("web-stdout");
        let log = LogFile::open(folder.join("web.log"), 1 << 30, 1).unwrap();
        let log = Rc::new(RefCell::new(log));
        let lines = 2000;
        let tail = Rc::<RefCell<Tail>>::default();
        let sink = Sink {
            container: "web".into(),
            stream: "stdout",
            console: Console::start(),
            file: Some(Rc::clone(&log)),
            tail: Rc::clone(&tail),
        };
        let null = std::fs::File::options().write(true).open("/dev/null");
        sink.console.attach(vec![null.unwrap()]);
        LocalSet::new()
            .run_until(async {
                let stream = Stream::open_at(path.clone(), Lines::new(sink)).unwrap();
                write(path.clone(), lines).await;
                stream.close().await.unwrap();
            })
            .await;
        let text = std::fs::read_to_string(folder.join("web.log")).unwrap();
        assert_eq!(text.lines().count(), lines);
        assert!(text.ends_with("line 1999\n"));
        assert!(tail.borrow().text().ends_with("line 1998\nline 1999\n"));
        assert!(!path.exists());
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[tokio::test(flavor = "current_thread")]
    async fn of_an_endless_answer_only_the_start_is_kept() {
        let folder = folder("first");
        let path = folder.join("probe");
        let local = LocalSet::new();
        let first = local.run_until(async {
            let stream = Stream::open_at(path.clone(), First::default()).unwrap();
            write(path.clone(), 100_000).await;
            stream.close().await.unwrap()
        });
        let first = first.await;
        assert_eq!(first.bytes.len(), First::MOST);
        assert!(first.text().starts_with("line 0\nline 1\n"));
        std::fs::remove_dir_all(folder).unwrap();
    }
}
