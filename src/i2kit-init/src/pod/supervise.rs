//! Supervision: one task per container on one thread.

use std::{
    cell::{Cell, RefCell},
    io,
    path::{Path, PathBuf},
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use i2kit_contract::{Container, ContainerExit, Contract, ProcessNamespace, RestartPolicy, Status};
use tokio::{
    net::unix::pipe,
    sync::{mpsc, oneshot, watch},
    task::{JoinHandle, LocalSet},
};

use crate::{
    cgroup,
    console::Console,
    containerd::{
        client::{Client, Exit, SIGKILL, Start},
        spec,
    },
    fault::{Chain, Context, Fault},
    paths,
    pod::{
        backoff::Backoff,
        folders,
        logs::{self, LogFile, Sink},
        values::Values,
    },
    power::Ending,
    report::Report,
    uptime,
};

/// What the kubelet reports for a container that could not be started.
const START_FAILED: u32 = 128;
/// How long containerd may take to report an exit after SIGKILL.
const KILL_PATIENCE: Duration = Duration::from_secs(10);

/// What supervision needs.
pub struct Pod {
    /// The containers and how to treat them.
    pub contract: Contract,
    /// containerd.
    pub client: Client,
    /// Where lines go.
    pub console: Console,
    /// Where status goes.
    pub report: Report,
    /// The VM's memory in bytes.
    pub memory: u64,
    /// What only the guest knows.
    pub values: Arc<Values>,
    /// Where the Pod's shared process namespace is.
    pub process_namespace: Option<String>,
    /// Size limit and number of old files of a container's log.
    pub logs: (u64, u8),
    /// Called once, when every container has been started or has failed to.
    pub on_started: Box<dyn Fn()>,
}

/// How a Pod ended.
pub struct Outcome {
    /// The last exit of each container, in the contract's order.
    pub exits: Vec<ContainerExit>,
    /// Power-off, unless somebody asked for a reboot.
    pub ending: Ending,
}

/// Runs the Pod until its containers have ended for good or somebody asks for an end.
pub async fn run(pod: Pod, mut requests: mpsc::UnboundedReceiver<Ending>) -> Outcome {
    let (stop, stopped) = watch::channel(false);
    let grace = Duration::from_secs(u64::from(pod.contract.termination_grace_period_seconds));
    let not_started = Cell::new(pod.contract.containers.len());
    let pod = Rc::new(Shared { pod, not_started });
    let local = LocalSet::new();
    let tasks: Vec<JoinHandle<ContainerExit>> = pod
        .pod
        .contract
        .containers
        .iter()
        .map(|container| {
            let supervisor = Supervisor {
                shared: Rc::clone(&pod),
                container: container.clone(),
                stopped: stopped.clone(),
                log: open_log(&pod.pod, &container.name),
            };
            local.spawn_local(supervisor.run())
        })
        .collect();
    let all = async {
        let mut exits = Vec::new();
        for (task, container) in tasks.into_iter().zip(&pod.pod.contract.containers) {
            exits.push(task.await.unwrap_or_else(|_| lost(&container.name)));
        }
        exits
    };
    local
        .run_until(async {
            tokio::pin!(all);
            tokio::select! {
                exits = &mut all => Outcome { exits, ending: Ending::PowerOff },
                request = requests.recv() => {
                    let ending = request.unwrap_or(Ending::PowerOff);
                    pod.pod.console.say("stopping the containers");
                    // Every supervisor holds a receiver, or has ended.
                    let _ = stop.send(true);
                    let patience = grace + KILL_PATIENCE * 2;
                    let exits = tokio::time::timeout(patience, all).await.unwrap_or_else(|_| {
                        pod.pod.contract.containers.iter().map(|container| lost(&container.name)).collect()
                    });
                    Outcome { exits, ending }
                }
            }
        })
        .await
}

/// The exit of a container of which nothing is known any more: killed with the VM.
fn lost(name: &str) -> ContainerExit {
    ContainerExit {
        name: name.to_owned(),
        exit_code: 128 + SIGKILL,
        oom_killed: false,
    }
}

fn open_log(pod: &Pod, name: &str) -> Option<Rc<RefCell<LogFile>>> {
    let path = Path::new(paths::LOGS).join(format!("{name}.log"));
    match LogFile::open(path.clone(), pod.logs.0, pod.logs.1) {
        Ok(log) => Some(Rc::new(RefCell::new(log))),
        Err(error) => {
            pod.console
                .say(format_args!("open {}: {error}", path.display()));
            None
        }
    }
}

struct Shared {
    pod: Pod,
    not_started: Cell<usize>,
}

struct Supervisor {
    shared: Rc<Shared>,
    container: Container,
    stopped: watch::Receiver<bool>,
    log: Option<Rc<RefCell<LogFile>>>,
}

/// One run of a container.
struct Run {
    exit_code: u32,
    oom_killed: bool,
    ran: Duration,
}

impl Supervisor {
    async fn run(mut self) -> ContainerExit {
        let mut backoff = Backoff::default();
        let mut restart_count = 0;
        loop {
            let run = self.run_once(restart_count).await;
            if restart_count == 0 {
                self.shared.one_started();
            }
            let again = !*self.stopped.borrow()
                && restarts(self.pod().contract.restart_policy, run.exit_code);
            let pause = again.then(|| backoff.pause_after(run.ran));
            self.report_exit(&run, pause);
            let last = ContainerExit {
                name: self.container.name.clone(),
                exit_code: run.exit_code,
                oom_killed: run.oom_killed,
            };
            let Some(pause) = pause else { return last };
            tokio::select! {
                () = tokio::time::sleep(pause) => restart_count += 1,
                _ = self.stopped.wait_for(|stopped| *stopped) => return last,
            }
        }
    }

    fn pod(&self) -> &Pod {
        &self.shared.pod
    }

    fn report_exit(&self, run: &Run, pause: Option<Duration>) {
        let Run {
            exit_code,
            oom_killed,
            ..
        } = *run;
        let name = &self.container.name;
        let memory = if oom_killed { ", out of memory" } else { "" };
        let next = match pause {
            Some(pause) => format!("; restart in {} s", pause.as_secs()),
            None => String::new(),
        };
        self.pod().console.say(format_args!(
            "container {name} ended with exit code {exit_code}{memory}{next}"
        ));
        self.pod().report.send(&Status::Exited {
            container: name.clone(),
            exit_code,
            oom_killed,
            restart_in_ms: pause.map(|pause| u64::try_from(pause.as_millis()).unwrap_or(u64::MAX)),
        });
    }

    async fn run_once(&mut self, restart_count: u32) -> Run {
        let begun = Instant::now();
        match self.start_and_wait(restart_count).await {
            Ok((exit_code, oom_killed)) => Run {
                exit_code,
                oom_killed,
                ran: begun.elapsed(),
            },
            Err(error) => {
                let name = &self.container.name;
                self.pod()
                    .console
                    .say(format_args!("container {name}: {}", Chain(&*error)));
                Run {
                    exit_code: START_FAILED,
                    oom_killed: false,
                    ran: begun.elapsed(),
                }
            }
        }
    }

    async fn start_and_wait(
        &mut self,
        restart_count: u32,
    ) -> Result<(u32, bool), Box<dyn std::error::Error>> {
        let container = self.container.clone();
        // Copying a volume's seed may take long; the others go on meanwhile.
        let volumes = self.pod().contract.volumes.clone();
        let values = Arc::clone(&self.pod().values);
        let prepared = tokio::task::spawn_blocking(move || {
            folders::prepare_container(&container, &volumes, &values)
        })
        .await??;
        let output = Output::open(&self.container.name, &self.pod().console, self.log.as_ref())?;
        let spec = spec::spec(
            &self.container,
            &prepared.process,
            &prepared.binds,
            &spec::Machine {
                memory: self.pod().memory,
                process_namespace: self.process_namespace(),
            },
        );
        let id = format!("{}.{restart_count}", self.container.name);
        let start = Start {
            id: &id,
            spec: serde_json::to_vec(&spec)?,
            rootfs: prepared.rootfs,
            stdout: output.stdout.path.display().to_string(),
            stderr: output.stderr.path.display().to_string(),
        };
        let client = self.pod().client.clone();
        let ended = match client.start(start).await {
            Ok(exit) => {
                self.report_start(restart_count);
                self.wait_or_stop(&id, exit).await
            }
            Err(error) => Err(error.into()),
        };
        // The cgroup goes with the task.
        let oom_kills = cgroup::oom_kills(&self.container.name);
        let removed = match &ended {
            Ok(_) => client.remove(&id).await,
            // Whatever there is of it must be gone when it is started again.
            Err(_) => client.destroy(&id, KILL_PATIENCE).await,
        };
        if let Err(error) = removed {
            self.pod().console.say(Chain(&error));
        }
        output.close().await;
        // At the VM's end the next boot does it.
        if !*self.stopped.borrow()
            && let Err(error) =
                folders::discard(&Path::new(paths::UPPERS).join(&self.container.name))
        {
            self.pod().console.say(Chain(&error));
        }
        let exit_code = ended?;
        Ok((exit_code, oom_kills > 0 && exit_code == 128 + SIGKILL))
    }

    /// Where the container's processes live, unless in a namespace of its own.
    fn process_namespace(&self) -> spec::Processes<'_> {
        match self.pod().contract.process_namespace {
            ProcessNamespace::Container => spec::Processes::Own,
            ProcessNamespace::Guest => spec::Processes::Guest,
            ProcessNamespace::Pod => match &self.pod().process_namespace {
                Some(path) => spec::Processes::At(path),
                None => spec::Processes::Own,
            },
        }
    }

    fn report_start(&self, restart_count: u32) {
        let at_ms = uptime::milliseconds();
        let name = &self.container.name;
        self.pod()
            .console
            .say(format_args!("container {name} started at {at_ms} ms"));
        self.pod().report.send(&Status::Started {
            container: name.clone(),
            restart_count,
            at_ms,
        });
        if restart_count == 0 {
            self.shared.one_started();
        }
    }

    /// The exit code; when the Pod is stopped, the stop signal is sent, and SIGKILL to all of the
    /// container's processes after the grace period.
    async fn wait_or_stop(
        &mut self,
        id: &str,
        mut exit: Exit,
    ) -> Result<u32, Box<dyn std::error::Error>> {
        tokio::select! {
            code = &mut exit => return Ok(code??),
            _ = self.stopped.wait_for(|stopped| *stopped) => {}
        }
        let client = self.pod().client.clone();
        let grace = Duration::from_secs(u64::from(
            self.pod().contract.termination_grace_period_seconds,
        ));
        client
            .kill(id, u32::from(self.container.stop_signal), false)
            .await?;
        if let Ok(code) = tokio::time::timeout(grace, &mut exit).await {
            return Ok(code??);
        }
        let name = &self.container.name;
        self.pod().console.say(format_args!(
            "container {name} still runs after {} s: killing it",
            grace.as_secs()
        ));
        client.kill(id, SIGKILL, true).await?;
        Ok(tokio::time::timeout(KILL_PATIENCE, exit).await???)
    }
}

impl Shared {
    fn one_started(&self) {
        if let Some(left) = self.not_started.get().checked_sub(1) {
            self.not_started.set(left);
            if left == 0 {
                (self.pod.on_started)();
            }
        }
    }
}

fn restarts(policy: RestartPolicy, exit_code: u32) -> bool {
    match policy {
        RestartPolicy::Always => true,
        RestartPolicy::OnFailure => exit_code != 0,
        RestartPolicy::Never => false,
    }
}

/// The two streams of one run.
struct Output {
    stdout: Stream,
    stderr: Stream,
}

struct Stream {
    path: PathBuf,
    done: oneshot::Sender<()>,
    pump: JoinHandle<()>,
}

impl Output {
    fn open(
        name: &str,
        console: &Console,
        log: Option<&Rc<RefCell<LogFile>>>,
    ) -> Result<Self, Fault> {
        let open = |stream: &'static str| {
            let sink = Sink {
                container: name.to_owned(),
                stream,
                console: console.clone(),
                file: log.cloned(),
            };
            Stream::open(
                &Path::new(paths::STDIO).join(format!("{name}-{stream}")),
                sink,
            )
        };
        Ok(Self {
            stdout: open("stdout")?,
            stderr: open("stderr")?,
        })
    }

    async fn close(self) {
        for Stream { done, pump, .. } in [self.stdout, self.stderr] {
            // A pump that has ended has nothing left to read.
            let _ = done.send(());
            let _ = pump.await;
        }
    }
}

impl Stream {
    fn open(path: &Path, sink: Sink) -> Result<Self, Fault> {
        make_fifo(path).context("create", path.display())?;
        // Open for writing too, so that the fifo never ends before the shim has opened it.
        let fifo = pipe::OpenOptions::new()
            .read_write(true)
            .open_receiver(path)
            .context("open", path.display())?;
        let (done, receiver) = oneshot::channel();
        Ok(Self {
            path: path.to_owned(),
            done,
            pump: tokio::task::spawn_local(logs::pump(fifo, sink, receiver)),
        })
    }
}

fn make_fifo(path: &Path) -> io::Result<()> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_decide_by_the_exit_code() {
        use RestartPolicy::{Always, Never, OnFailure};
        let decisions =
            [Always, OnFailure, Never].map(|policy| [0, 1, 137].map(|code| restarts(policy, code)));
        assert_eq!(decisions, [[true; 3], [false, true, true], [false; 3]]);
    }

    #[tokio::test(flavor = "current_thread")]
    async fn all_that_was_written_before_the_end_is_read() {
        let folder = std::env::temp_dir().join(format!("i2kit-fifo-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("web-stdout");
        let log = LogFile::open(folder.join("web.log"), 1 << 30, 1).unwrap();
        let log = Rc::new(RefCell::new(log));
        let lines = 2000;
        LocalSet::new()
            .run_until(async {
                let sink = Sink {
                    container: "web".into(),
                    stream: "stdout",
                    console: Console::start(),
                    file: Some(Rc::clone(&log)),
                };
                sink.console.attach(vec![
                    std::fs::File::options()
                        .write(true)
                        .open("/dev/null")
                        .unwrap(),
                ]);
                let stream = Stream::open(&path, sink).unwrap();
                let writer = tokio::task::spawn_blocking(move || {
                    use std::io::Write;
                    let mut fifo = std::fs::File::options().write(true).open(path).unwrap();
                    for number in 0..lines {
                        writeln!(fifo, "line {number}").unwrap();
                    }
                });
                writer.await.unwrap();
                let _ = stream.done.send(());
                stream.pump.await.unwrap();
            })
            .await;
        let text = std::fs::read_to_string(folder.join("web.log")).unwrap();
        assert_eq!(text.lines().count(), lines);
        assert!(text.ends_with("line 1999\n"));
        std::fs::remove_dir_all(folder).unwrap();
    }
}
