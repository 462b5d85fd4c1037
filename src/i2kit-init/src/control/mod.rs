//! Answers a local host on the control channel ([`i2kit_contract::control`]), where the disk was
//! built with it.

use std::{
    cell::Cell,
    collections::HashMap,
    fs::File,
    io::{self, Read, Write},
    rc::Rc,
    sync::mpsc as blocking,
    thread,
    time::Duration,
};

use i2kit_contract::control::{
    CONTROL_PORT, Decoder, Frame, Kind, MAX_SESSIONS, PodState, Request, WINDOW,
};
use tokio::{
    sync::{Notify, mpsc},
    task::JoinHandle,
};

use crate::{
    console::Console,
    containerd::client::Client,
    fault::{Context, Fault},
    report,
};

mod exec;
mod logs;
pub mod registry;

use registry::Registry;

/// How often an absent host is looked for.
const HOST_PAUSE: Duration = Duration::from_millis(500);

/// What sessions need.
#[derive(Clone)]
pub struct Control {
    /// containerd.
    pub client: Client,
    /// What the containers are doing.
    pub registry: Registry,
    /// Where trouble is told.
    pub console: Console,
}

/// Answers until the VM ends. Must run inside a `LocalSet`.
///
/// # Errors
/// The port is there and cannot be opened. A machine without one is no error.
pub fn start(control: Control) -> Result<(), Fault> {
    let Some(port) = report::find_port(CONTROL_PORT) else {
        return Ok(());
    };
    // The kernel lets a port be opened once (`port_fops_open` of drivers/char/virtio_console.c).
    let opened = File::options().read(true).write(true).open(&port);
    let reader = opened.context("open", port.display())?;
    let writer = reader.try_clone().context("open", port.display())?;
    let frames = read_port(reader)?;
    let out = write_port(writer)?;
    tokio::task::spawn_local(serve(control, frames, out));
    Ok(())
}

/// A thread that reads frames. The channel is short: a host that sends without end waits.
fn read_port(mut port: File) -> Result<mpsc::Receiver<Result<Frame, String>>, Fault> {
    let (sender, receiver) = mpsc::channel(16);
    let read = move || {
        let mut decoder = Decoder::default();
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let bytes = match port.read(&mut buffer) {
                // Nobody is connected on the host's side.
                Ok(0) => {
                    thread::sleep(HOST_PAUSE);
                    continue;
                }
                Ok(length) => buffer.get(..length).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    let _ = sender.blocking_send(Err(format!("control channel: {error}")));
                    return;
                }
            };
            match decoder.push(bytes) {
                Ok(frames) => {
                    for frame in frames {
                        if sender.blocking_send(Ok(frame)).is_err() {
                            return;
                        }
                    }
                }
                Err(error) => {
                    let _ = sender.blocking_send(Err(error.to_string()));
                    return;
                }
            }
        }
    };
    spawn("control-in", read)?;
    Ok(receiver)
}

/// A thread that writes frames; the windows of sessions bound what waits for it.
fn write_port(mut port: File) -> Result<Out, Fault> {
    let (sender, receiver) = blocking::channel::<Frame>();
    let write = move || {
        for frame in receiver {
            if port.write_all(&frame.encode()).is_err() {
                return;
            }
        }
    };
    spawn("control-out", write)?;
    Ok(Out(sender))
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<(), Fault> {
    let spawned = thread::Builder::new().name(name.into()).spawn(work);
    spawned.map(|_| ()).context("start the thread", name)
}

/// Where frames go.
#[derive(Clone)]
struct Out(blocking::Sender<Frame>);

impl Out {
    fn send(&self, frame: Frame) {
        // The writer is gone only when the port is.
        let _ = self.0.send(frame);
    }
}

/// The guest's side of a session.
#[derive(Clone)]
struct Session {
    id: u32,
    out: Out,
    credit: Rc<Credit>,
}

/// What may still be sent.
struct Credit {
    left: Cell<usize>,
    more: Notify,
}

impl Session {
    fn new(id: u32, out: Out) -> Self {
        let credit = Credit {
            left: Cell::new(WINDOW),
            more: Notify::new(),
        };
        Self {
            id,
            out,
            credit: Rc::new(credit),
        }
    }

    /// Sends data as the host takes it.
    async fn send(&self, kind: Kind, mut data: &[u8]) {
        while !data.is_empty() {
            let left = self.credit.left.get();
            if left == 0 {
                self.credit.more.notified().await;
                continue;
            }
            let most = left.min(i2kit_contract::control::MAX_DATA).min(data.len());
            let (piece, rest) = data.split_at_checked(most).unwrap_or((data, &[]));
            self.credit.left.set(left - piece.len());
            self.out.send(Frame::new(self.id, kind, piece));
            data = rest;
        }
    }

    fn add_credit(&self, bytes: u32) {
        let bytes = usize::try_from(bytes).unwrap_or(WINDOW);
        // More than the window was never sent.
        let left = self.credit.left.get().saturating_add(bytes).min(WINDOW);
        self.credit.left.set(left);
        self.credit.more.notify_waiters();
        self.credit.more.notify_one();
    }

    /// Tells the host that standard input was taken.
    fn took(&self, bytes: usize) {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        self.out.send(Frame::number(self.id, Kind::Credit, bytes));
    }
}

/// What the host sends to an open session.
enum Input {
    Data(Vec<u8>),
    End,
}

struct Open {
    session: Session,
    input: mpsc::UnboundedSender<Input>,
    task: JoinHandle<()>,
}

async fn serve(control: Control, mut frames: mpsc::Receiver<Result<Frame, String>>, out: Out) {
    let mut open: HashMap<u32, Open> = HashMap::new();
    while let Some(frame) = frames.recv().await {
        open.retain(|_, one| !one.task.is_finished());
        let frame = match frame {
            Ok(frame) => frame,
            Err(error) => {
                control
                    .console
                    .say(format_args!("{error}: the channel is closed"));
                break;
            }
        };
        match frame.kind {
            Kind::Open if open.len() < MAX_SESSIONS && !open.contains_key(&frame.session) => {
                open.insert(frame.session, begin(&control, &out, &frame));
            }
            Kind::Open => {
                let why = format!("more than {MAX_SESSIONS} sessions at once");
                out.send(Frame::new(frame.session, Kind::Failed, why));
            }
            Kind::Close => {
                // Its guards clean up behind it.
                if let Some(one) = open.remove(&frame.session) {
                    one.task.abort();
                }
            }
            kind => {
                // Frames of a session that has just ended are of no use.
                let Some(one) = open.get(&frame.session) else {
                    continue;
                };
                // A session that no longer listens has ended.
                match kind {
                    Kind::Data => drop(one.input.send(Input::Data(frame.data))),
                    Kind::End => drop(one.input.send(Input::End)),
                    Kind::Credit => one.session.add_credit(frame.as_number().unwrap_or(0)),
                    _ => {}
                }
            }
        }
    }
    for one in open.into_values() {
        one.task.abort();
    }
}

fn begin(control: &Control, out: &Out, frame: &Frame) -> Open {
    let session = Session::new(frame.session, out.clone());
    let (input, received) = mpsc::unbounded_channel();
    let (request, control) = (serde_json::from_slice(&frame.data), control.clone());
    let own = session.clone();
    let task = tokio::task::spawn_local(async move {
        let result = match request {
            Ok(request) => answer(&control, &own, request, received).await,
            Err(error) => Err(format!("not a request: {error}")),
        };
        own.out.send(match result {
            Ok(code) => Frame::number(own.id, Kind::Exit, code),
            Err(why) => Frame::new(own.id, Kind::Failed, why),
        });
    });
    Open {
        session,
        input,
        task,
    }
}

async fn answer(
    control: &Control,
    session: &Session,
    request: Request,
    input: mpsc::UnboundedReceiver<Input>,
) -> Result<u32, String> {
    let known = |name: &str| {
        let found = control.registry.container(name);
        found.ok_or_else(|| format!("the Pod has no container {name:?}"))
    };
    match request {
        Request::State => {
            let state: PodState = control.registry.state();
            let json = serde_json::to_vec(&state).map_err(|error| error.to_string())?;
            session.send(Kind::Data, &json).await;
            Ok(0)
        }
        Request::Logs {
            container,
            follow,
            tail,
        } => logs::send(session, &known(&container)?, follow, tail).await,
        Request::Exec {
            container,
            args,
            stdin,
        } => {
            let container = known(&container)?;
            let input = stdin.then_some(input);
            exec::run(control, session, &container, args, input).await
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "current_thread")]
    async fn no_more_is_sent_than_there_is_credit_for() {
        let (sender, receiver) = blocking::channel();
        let session = Session::new(3, Out(sender));
        let data = vec![b'x'; WINDOW + 10];
        let sent = |receiver: &blocking::Receiver<Frame>| -> usize {
            receiver.try_iter().map(|frame| frame.data.len()).sum()
        };
        let sending = session.send(Kind::Data, &data);
        tokio::pin!(sending);
        let stuck = tokio::time::timeout(Duration::from_millis(20), &mut sending).await;
        assert!(stuck.is_err());
        assert_eq!(sent(&receiver), WINDOW);
        session.add_credit(4);
        let stuck = tokio::time::timeout(Duration::from_millis(20), &mut sending).await;
        assert!(stuck.is_err());
        assert_eq!(sent(&receiver), 4);
        session.add_credit(u32::MAX);
        sending.await;
        assert_eq!(sent(&receiver), 6);
        assert!(session.credit.left.get() <= WINDOW);
    }
}
