//! One container from its first start to its last end.

use std::{
    cell::{Cell, RefCell},
    path::Path,
    rc::Rc,
    sync::Arc,
    time::{Duration, SystemTime},
};

use i2kit_contract::{Container, Level, ProcessNamespace, Status};
use tokio::{sync::watch, time::Instant};

use crate::{
    cgroup,
    containerd::{
        client::{self, Exit, SIGKILL, Start},
        spec,
    },
    control::registry::Running,
    fault::Chain,
    paths,
    pod::{
        backoff::Backoff,
        board::Ended,
        exec::Inside,
        folders::{self, Prepared},
        hooks,
        lifecycle::{self, Role},
        logs::LogFile,
        message,
        output::Output,
        probe::Probes,
        supervise::{KILL_PATIENCE, Shared},
    },
    uptime,
};

/// What the kubelet reports for a container that could not be started.
const START_FAILED: u32 = 128;
const START_ERROR: &str = "StartError";
/// How often a start is tried anew when containerd goes away in its middle.
const MOST_STARTS: u32 = 5;

type AnyError = Box<dyn std::error::Error>;

/// Runs a container again and again, as its policy says.
pub struct Worker {
    /// The Pod.
    pub shared: Rc<Shared>,
    /// The container's place in the Pod.
    pub index: usize,
    /// What it is there.
    pub role: Role,
    /// Itself.
    pub container: Container,
    /// Becomes true when the Pod ends.
    pub stopped: watch::Receiver<bool>,
    /// Where its output is kept.
    pub log: Option<Rc<RefCell<LogFile>>>,
    /// It was started once, or has failed to.
    pub counted: Cell<bool>,
}

/// One run of a container.
struct Run {
    ended: Ended,
    ran: Duration,
}

/// How a run ended.
struct Exited {
    code: u32,
    oom_killed: bool,
    message: String,
}

impl Worker {
    /// Ends when the container has ended for good.
    pub async fn run(mut self) {
        let mut backoff = Backoff::default();
        for restart_count in 0.. {
            let run = self.run_once(restart_count).await;
            self.count();
            let code = run.ended.exit_code;
            let again = !*self.stopped.borrow() && self.restarts(code);
            let pause = again.then(|| backoff.pause_after(run.ran));
            self.tell_exit(&run.ended, pause);
            let waits = pause.map(|pause| format!("back-off {} s", pause.as_secs()));
            self.shared.state.ended(self.index, run.ended, waits);
            let Some(pause) = pause else { break };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                _ = self.stopped.wait_for(|stopped| *stopped) => break,
            }
        }
        self.shared.one_ended(self.index);
    }

    fn restarts(&self, exit_code: u32) -> bool {
        let board = self.shared.state.board();
        let member = board.members.get(self.index);
        member.is_some_and(|member| board.restarts(member, exit_code))
    }

    fn tell_exit(&self, ended: &Ended, pause: Option<Duration>) {
        let code = ended.exit_code;
        let oom_killed = ended.reason == "OOMKilled";
        self.shared.pod.registry.ended(&self.container.name, code);
        let memory = if oom_killed { ", out of memory" } else { "" };
        let next = match pause {
            Some(pause) => format!("; restart in {} s", pause.as_secs()),
            None => String::new(),
        };
        let said = match ended.message.as_str() {
            // Why it was not started has been told.
            _ if ended.reason == START_ERROR => String::new(),
            "" => String::new(),
            message => format!("; {message}"),
        };
        let level = match code == 0 || *self.stopped.borrow() {
            true => Level::Normal,
            false => Level::Warning,
        };
        let status = Status::Exited {
            container: self.container.name.clone(),
            exit_code: code,
            oom_killed,
            restart_in_ms: pause.map(|pause| u64::try_from(pause.as_millis()).unwrap_or(u64::MAX)),
            message: (!ended.message.is_empty()).then(|| ended.message.clone()),
        };
        let text = format!("ended with exit code {code}{memory}{next}{said}");
        self.shared
            .events
            .tell_as(&status, level, "Exited", Some(&self.container.name), text);
    }

    async fn run_once(&mut self, restart_count: u32) -> Run {
        let state = self.shared.state.clone();
        state.waiting(self.index, "ContainerCreating", String::new());
        let id = format!("{}.{restart_count}", self.container.name);
        let begun = Instant::now();
        let started = Cell::new(None);
        let result = self.start_and_wait(&id, restart_count, &started).await;
        let (code, reason, message) = match result {
            Ok(exited) => (exited.code, reason(&exited), exited.message),
            Err(error) => {
                let message = Chain(&*error).to_string();
                self.tell(Level::Warning, "Failed", &message);
                (START_FAILED, START_ERROR, message)
            }
        };
        Run {
            ended: Ended {
                exit_code: code,
                reason,
                message,
                started: started.get(),
                finished: SystemTime::now(),
                id,
            },
            ran: begun.elapsed(),
        }
    }

    fn tell(&self, level: Level, reason: &str, message: impl std::fmt::Display) {
        let name = &self.container.name;
        self.shared.events.tell(level, reason, name, message);
    }

    async fn start_and_wait(
        &mut self,
        id: &str,
        restart_count: u32,
        started: &Cell<Option<SystemTime>>,
    ) -> Result<Exited, AnyError> {
        let Prepared {
            rootfs,
            views,
            process,
        } = self.prepare().await?;
        let pod = &self.shared.pod;
        let output = Output::open(&self.container, &pod.console, self.log.as_ref())?;
        let machine = spec::Machine {
            memory: pod.memory,
            process_namespace: self.process_namespace(),
        };
        let spec = spec::spec(&self.container, &process, &views, &machine);
        let inside = Inside {
            client: pod.client.clone(),
            id: id.to_owned(),
            process: spec.get("process").cloned().unwrap_or_default(),
            count: Cell::new(0),
        };
        let ended = match self.start(&inside, &spec, rootfs, &output).await {
            Ok(exit) => {
                started.set(Some(SystemTime::now()));
                self.tell_start(restart_count);
                let running = Running {
                    id: id.to_owned(),
                    process: inside.process.clone(),
                };
                let name = &self.container.name;
                pod.registry.started(name, restart_count, running);
                // Not left to `live`, which may see the exit first.
                self.shared.state.begun(self.index, id, restart_count);
                self.live(&inside, exit).await
            }
            Err(error) => Err(error),
        };
        // The cgroup goes with the task.
        self.shared.tell_learned(&self.container.name);
        let oom_kills = cgroup::oom_kills(&self.container.name);
        self.remove(&inside, ended.is_ok()).await;
        let tail = output.close().await;
        let exited = ended.map(|code| Exited {
            code,
            oom_killed: oom_kills > 0 && code == 128 + SIGKILL,
            message: self.message(code, &tail),
        });
        self.discard();
        exited
    }

    /// The container's folders and process, with the run-time configuration's variables.
    async fn prepare(&self) -> Result<Prepared, AnyError> {
        let pod = &self.shared.pod;
        let container = self.container.clone();
        let volumes = pod.contract.volumes.clone();
        let values = Arc::clone(&pod.values);
        // Copying a volume's seed may take long; the others go on meanwhile.
        let mut prepared = tokio::task::spawn_blocking(move || {
            folders::prepare_container(&container, &volumes, &values)
        })
        .await??;
        if let Some(config) = &pod.config {
            let env = &mut prepared.process.env;
            *env = config.environment(&self.container.name, env);
        }
        Ok(prepared)
    }

    /// Where the container's processes live.
    fn process_namespace(&self) -> spec::Processes<'_> {
        let pod = &self.shared.pod;
        match pod.contract.process_namespace {
            ProcessNamespace::Container => spec::Processes::Own,
            ProcessNamespace::Guest => spec::Processes::Guest,
            ProcessNamespace::Pod => match &pod.process_namespace {
                Some(path) => spec::Processes::At(path),
                None => spec::Processes::Own,
            },
        }
    }

    fn message(&self, exit_code: u32, tail: &str) -> String {
        let Container { name, life, .. } = &self.container;
        message::read(name, &life.termination_message, exit_code, tail)
    }

    async fn remove(&self, inside: &Inside, has_ended: bool) {
        let removed = match has_ended {
            true => inside.client.remove(&inside.id).await,
            // Whatever there is of it must be gone when it is started again.
            false => inside.client.destroy(&inside.id, KILL_PATIENCE).await,
        };
        if let Err(error) = removed {
            self.tell(Level::Warning, "FailedRemove", Chain(&error));
        }
    }

    /// At the VM's end the next boot does it.
    fn discard(&self) {
        if *self.stopped.borrow() {
            return;
        }
        let folder = Path::new(paths::UPPERS).join(&self.container.name);
        if let Err(error) = folders::discard(&folder) {
            self.tell(Level::Warning, "FailedRemove", Chain(&error));
        }
    }

    async fn start(
        &self,
        inside: &Inside,
        spec: &serde_json::Value,
        rootfs: containerd_client::types::Mount,
        output: &Output,
    ) -> Result<Exit, AnyError> {
        let spec = serde_json::to_vec(spec)?;
        let mut starts = 0;
        loop {
            let [stdin, stdout, stderr] = output.paths();
            let start = Start {
                id: &inside.id,
                spec: spec.clone(),
                rootfs: rootfs.clone(),
                stdin,
                stdout,
                stderr,
                terminal: self.container.life.tty,
                prepared: &|| self.shared.forget_preparation(&self.container.name),
            };
            starts += 1;
            match inside.client.start(start).await {
                Err(client::Error::Lost { .. }) if starts < MOST_STARTS => {
                    inside.client.destroy(&inside.id, KILL_PATIENCE).await?;
                }
                result => return Ok(result?),
            }
        }
    }

    fn tell_start(&self, restart_count: u32) {
        let at_ms = uptime::milliseconds();
        let status = Status::Started {
            container: self.container.name.clone(),
            restart_count,
            at_ms,
        };
        let (name, text) = (&self.container.name, format!("started at {at_ms} ms"));
        self.shared
            .events
            .tell_as(&status, Level::Normal, "Started", Some(name), text);
        self.count();
    }

    /// The first start counts, and nothing after it.
    fn count(&self) {
        if !self.counted.replace(true) {
            self.shared.one_started(self.role);
        }
    }

    /// The exit code of a container that was started, whatever ends it.
    async fn live(&mut self, inside: &Inside, mut exit: Exit) -> Result<u32, AnyError> {
        let mut stopped = self.stopped.clone();
        let grace = tokio::select! {
            code = &mut exit => return Ok(code??),
            _ = stopped.wait_for(|stopped| *stopped) => self.grace(None),
            grace = self.until_unfit(inside) => grace,
        };
        self.end(inside, exit, grace).await
    }

    fn grace(&self, own: Option<u32>) -> Duration {
        let pod = self.shared.pod.contract.termination_grace_period_seconds;
        Duration::from_secs(u64::from(own.unwrap_or(pod)))
    }

    /// Calls the hook and watches the probes until the container has to end; answers its grace
    /// period.
    async fn until_unfit(&self, inside: &Inside) -> Duration {
        let (life, name) = (&self.container.life, &self.container.name);
        let begun = Instant::now();
        if let Some(hook) = &life.post_start
            && let Err(message) = hooks::call(hook, inside, None).await
        {
            self.tell(Level::Warning, "FailedPostStartHook", message);
            return self.grace(None);
        }
        let Shared { state, events, .. } = &*self.shared;
        state.running(self.index);
        if self.role == Role::Init {
            return std::future::pending().await;
        }
        let probes = Probes {
            trying: inside,
            name,
            index: self.index,
            life,
            begun,
            state,
            events,
        };
        let unhealthy = probes.run().await;
        let message = format!("{} probe failed: ending the container", unhealthy.kind);
        self.tell(Level::Warning, "Killing", message);
        self.grace(unhealthy.grace)
    }

    /// Hook, stop signal, SIGKILL: the exit code. It may come at any time in between.
    async fn end(&self, inside: &Inside, mut exit: Exit, grace: Duration) -> Result<u32, AnyError> {
        let begun = Instant::now();
        tokio::select! {
            code = &mut exit => return Ok(code??),
            () = self.before_signal(inside, grace) => {}
        }
        let client = &inside.client;
        let signal = u32::from(self.container.stop_signal);
        client.kill(&inside.id, signal, false).await?;
        let rest = lifecycle::rest(grace, begun.elapsed());
        if let Ok(code) = tokio::time::timeout(rest, &mut exit).await {
            return Ok(code??);
        }
        let seconds = begun.elapsed().as_secs();
        let message = format!("still runs after {seconds} s: killing it");
        self.tell(Level::Warning, "Killing", message);
        client.kill(&inside.id, SIGKILL, true).await?;
        Ok(tokio::time::timeout(KILL_PATIENCE, exit).await???)
    }

    /// The hook, and for a sidecar of a Pod that ends its turn; within the grace period.
    async fn before_signal(&self, inside: &Inside, grace: Duration) {
        let end = Instant::now() + grace;
        if let Some(hook) = &self.container.life.pre_stop
            && !grace.is_zero()
        {
            let called = hooks::call(hook, inside, Some(grace));
            let result = tokio::time::timeout(grace, called).await;
            let late = || Err(format!("not done within {} s", grace.as_secs()));
            if let Err(message) = result.unwrap_or_else(|_| late()) {
                self.tell(Level::Warning, "FailedPreStopHook", message);
            }
        }
        if self.role == Role::Sidecar && *self.stopped.borrow() {
            // Whoever it waits for may take longer than there is time.
            let _ = tokio::time::timeout_at(end, self.shared.turn_of(self.index)).await;
        }
    }
}

fn reason(exited: &Exited) -> &'static str {
    match exited {
        Exited {
            oom_killed: true, ..
        } => "OOMKilled",
        Exited { code: 0, .. } => "Completed",
        _ => "Error",
    }
}
