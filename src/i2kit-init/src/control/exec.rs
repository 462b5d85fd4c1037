//! A program in a container that runs, with its streams in a session.

use std::{
    io,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use i2kit_contract::control::{Kind, WINDOW};
use tokio::{
    net::unix::pipe,
    sync::{mpsc, watch},
};

use super::{Control, Input, Session};
use crate::{
    containerd::client::{Client, Exec},
    fault::Chain,
    paths,
    pod::output::make_fifo,
};

/// How long containerd may take to report the end after SIGKILL.
const KILL_PATIENCE: Duration = Duration::from_secs(10);

/// Runs it; answers its exit code.
pub async fn run(
    control: &Control,
    session: &Session,
    container: &str,
    args: Vec<String>,
    input: Option<mpsc::UnboundedReceiver<Input>>,
) -> Result<u32, String> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    if args.is_empty() {
        return Err("no program to run".into());
    }
    let running = control.registry.running(container);
    let mut running = running.ok_or_else(|| format!("container {container} does not run"))?;
    if let Some(process) = running.process.as_object_mut() {
        process.insert("args".into(), args.into());
    }
    let process = serde_json::to_vec(&running.process).map_err(|error| error.to_string())?;
    let exec_id = format!("exec-{}", NEXT.fetch_add(1, Ordering::Relaxed));
    let mut streams = Streams::new(&exec_id, input.is_some())?;
    // From here on it is removed, however this ends.
    let guard = Guard {
        control: control.clone(),
        id: running.id.clone(),
        exec_id: exec_id.clone(),
    };
    let path = |name: &str| streams.folder.join(name).display().to_string();
    let exec = Exec {
        id: &running.id,
        exec_id: &exec_id,
        process,
        stdin: input.as_ref().map(|_| path("stdin")).unwrap_or_default(),
        stdout: path("stdout"),
        stderr: path("stderr"),
    };
    let started = control.client.exec(exec).await;
    let exit = started.map_err(|error| Chain(&error).to_string())?;
    let (ended, end) = watch::channel(false);
    let stdin = streams.stdin.take();
    let pumps = async {
        tokio::join!(
            pump(&streams.stdout, Kind::Data, session, end.clone()),
            pump(&streams.stderr, Kind::Error, session, end.clone())
        )
    };
    let waiting = async {
        let code = exit.await;
        // Both pumps hold a receiver.
        let _ = ended.send(true);
        code
    };
    let feeding = feed(&control.client, &guard, stdin, input, session);
    let all = async { tokio::join!(pumps, waiting).1 };
    tokio::pin!(all);
    let code = tokio::select! {
        code = &mut all => code,
        () = feeding => all.await,
    };
    code.map_err(|error| error.to_string())?
        .map_err(|error| Chain(&error).to_string())
}

/// The fifos of one program, in a folder of their own.
struct Streams {
    folder: PathBuf,
    stdin: Option<pipe::Sender>,
    stdout: pipe::Receiver,
    stderr: pipe::Receiver,
}

impl Streams {
    fn new(exec_id: &str, stdin: bool) -> Result<Self, String> {
        let folder = Path::new(paths::STDIO).join(exec_id);
        let make = || -> io::Result<Self> {
            std::fs::create_dir_all(&folder)?;
            let fifo = |name: &str| {
                let path = folder.join(name);
                make_fifo(&path).map(|()| path)
            };
            // Open for both, so that none ends before the shim has opened it.
            let mut both = pipe::OpenOptions::new();
            both.read_write(true);
            Ok(Self {
                stdin: match stdin {
                    true => Some(both.open_sender(fifo("stdin")?)?),
                    false => None,
                },
                stdout: both.open_receiver(fifo("stdout")?)?,
                stderr: both.open_receiver(fifo("stderr")?)?,
                folder: folder.clone(),
            })
        };
        make().map_err(|error| format!("make {}: {error}", folder.display()))
    }
}

impl Drop for Streams {
    fn drop(&mut self) {
        // It lies on a tmpfs, and the next boot has none of it.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Removes the program when its session is over or given up.
struct Guard {
    control: Control,
    id: String,
    exec_id: String,
}

impl Drop for Guard {
    fn drop(&mut self) {
        let Self {
            control: Control {
                client, console, ..
            },
            id,
            exec_id,
        } = self;
        let (client, console) = (client.clone(), console.clone());
        let (id, exec_id) = (id.clone(), exec_id.clone());
        tokio::task::spawn_local(async move {
            if let Err(error) = client.remove_process(&id, &exec_id, KILL_PATIENCE).await {
                console.say(Chain(&error));
            }
        });
    }
}

/// Sends what comes out until the program has ended, and then what is still there.
async fn pump(
    fifo: &pipe::Receiver,
    kind: Kind,
    session: &Session,
    mut end: watch::Receiver<bool>,
) {
    let mut buffer = vec![0; 32 * 1024];
    let mut ending = false;
    loop {
        match fifo.try_read(&mut buffer) {
            Ok(length @ 1..) => {
                session
                    .send(kind, buffer.get(..length).unwrap_or_default())
                    .await;
                tokio::task::yield_now().await;
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && !ending => {
                tokio::select! {
                    ready = fifo.readable() => if ready.is_err() { return },
                    _ = end.wait_for(|ended| *ended) => ending = true,
                }
            }
            _ => return,
        }
    }
}

async fn write_all(fifo: &pipe::Sender, mut data: &[u8]) -> io::Result<()> {
    while !data.is_empty() {
        fifo.writable().await?;
        match fifo.try_write(data) {
            Ok(written) => data = data.get(written..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Hands on standard input until its end, and then stays: what else the host may send is of no
/// use.
async fn feed(
    client: &Client,
    guard: &Guard,
    stdin: Option<pipe::Sender>,
    input: Option<mpsc::UnboundedReceiver<Input>>,
    session: &Session,
) {
    if let (Some(stdin), Some(mut input)) = (stdin, input) {
        let mut waiting = 0usize;
        while let Some(Input::Data(data)) = input.recv().await {
            waiting = waiting.saturating_add(data.len());
            if waiting > WINDOW {
                // A host that keeps to no window.
                return;
            }
            if write_all(&stdin, &data).await.is_err() {
                break;
            }
            waiting = waiting.saturating_sub(data.len());
            session.took(data.len());
        }
        drop(stdin);
        // A program that has ended needs no word.
        let _ = client.close_stdin(&guard.id, &guard.exec_id).await;
    }
    std::future::pending::<()>().await;
}
