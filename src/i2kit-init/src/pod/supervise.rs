//! The Pod from its first container's start to its last one's end: who starts when, and when all
//! is over.

use std::{
    cell::{Cell, RefCell},
    fs,
    path::Path,
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use i2kit_contract::{
    Container, ContainerExit, Contract, INPUTS_JSON, Level, Status, runtime::RuntimeConfig,
};
use tokio::{
    sync::{mpsc, watch},
    task::LocalSet,
};

use crate::{
    console::Console,
    containerd::client::{Client, SIGKILL},
    control::{self, Control, registry::Registry},
    fault::Chain,
    learn::Learner,
    paths,
    pod::{
        board::{Board, Place},
        events::Events,
        evict,
        lifecycle::{self, LEAST_GRACE, Role},
        logs::LogFile,
        serve,
        state::State,
        status::Images,
        values::Values,
        worker::Worker,
    },
    power::Ending,
    report::Report,
};

/// How long containerd may take to report an exit after SIGKILL.
pub const KILL_PATIENCE: Duration = Duration::from_secs(10);

/// How often it is told what a container that runs has used.
const LEARNED_PERIOD: Duration = Duration::from_secs(5);

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
    /// What the VM was told at boot.
    pub config: Option<RuntimeConfig>,
    /// Where the Pod's shared process namespace is.
    pub process_namespace: Option<String>,
    /// Size limit and number of old files of a container's log.
    pub logs: (u64, u8),
    /// Where it is told what runs.
    pub registry: Registry,
    /// Sees what the containers use, if that was asked for.
    pub learner: Option<Learner>,
    /// Called once, when every main container has been started or has failed to.
    pub on_started: Box<dyn Fn()>,
}

/// How a Pod ended.
pub struct Outcome {
    /// The last exit of each container that decides, in the contract's order.
    pub exits: Vec<ContainerExit>,
    /// Why it has failed, if the exits do not say.
    pub reason: Option<String>,
    /// Power-off, unless somebody asked for a reboot.
    pub ending: Ending,
}

/// Runs the Pod until its containers have ended for good, its time is up, or somebody asks for an
/// end.
pub async fn run(pod: Pod, requests: mpsc::UnboundedReceiver<Ending>) -> Outcome {
    LocalSet::new().run_until(conduct(pod, requests)).await
}

async fn conduct(pod: Pod, mut requests: mpsc::UnboundedReceiver<Ending>) -> Outcome {
    let (stop, stopped) = watch::channel(false);
    let deadline = pod.contract.active_deadline_seconds;
    let patience = patience(&pod.contract);
    let shared = Rc::new(Shared::new(pod));
    serve_state(&shared).await;
    start_control(&shared.pod);
    if shared.pod.learner.is_some() {
        tokio::task::spawn_local(keep_telling(Rc::clone(&shared)));
    }
    let crew = Crew {
        shared: Rc::clone(&shared),
        roles: lifecycle::roles(&shared.pod.contract),
        stopped,
    };
    let ending = tokio::select! {
        () = crew.work() => Ending::PowerOff,
        () = time_is_up(deadline) => {
            let message = "the Pod was active longer than its deadline";
            shared.state.failed("DeadlineExceeded", message);
            shared.events.tell_pod(Level::Warning, "DeadlineExceeded", message);
            Ending::PowerOff
        }
        message = evict::over_limit(&shared.pod.contract) => {
            shared.state.failed("Evicted", &message);
            shared.events.tell_pod(Level::Warning, "Evicted", &message);
            Ending::PowerOff
        }
        request = requests.recv() => request.unwrap_or(Ending::PowerOff),
    };
    if shared.any_alive() {
        shared.pod.console.say("stopping the containers");
    }
    shared.state.ending();
    // Every worker holds a receiver, or has ended.
    let _ = stop.send(true);
    let mut alive = shared.alive.subscribe();
    let all = alive.wait_for(|alive| !alive.contains(&true));
    // Those that are still alive then are counted as killed with the VM.
    let _ = tokio::time::timeout(patience, all).await;
    Outcome {
        exits: exits(&shared.state.board(), &shared.alive.borrow()),
        reason: shared
            .state
            .board()
            .failure
            .as_ref()
            .map(|(reason, _)| (*reason).to_owned()),
        ending,
    }
}

/// A host that cannot ask is no reason to run no Pod.
fn start_control(pod: &Pod) {
    if !pod.contract.control {
        return;
    }
    let started = control::start(Control {
        client: pod.client.clone(),
        registry: pod.registry.clone(),
        console: pod.console.clone(),
    });
    if let Err(error) = started {
        pod.console.say(Chain(&error));
    }
}

/// How long an end may take: the grace period, and for each turn what comes after it.
fn patience(contract: &Contract) -> Duration {
    let grace = Duration::from_secs(u64::from(contract.termination_grace_period_seconds));
    let turns = contract.init_containers.len().saturating_add(1);
    let turns = u32::try_from(turns).unwrap_or(u32::MAX);
    grace.saturating_add((KILL_PATIENCE * 2 + LEAST_GRACE).saturating_mul(turns))
}

async fn time_is_up(deadline: Option<u32>) {
    match deadline {
        Some(seconds) => tokio::time::sleep(Duration::from_secs(u64::from(seconds))).await,
        None => std::future::pending().await,
    }
}

/// A VM that is killed has told what was learned until a moment ago.
async fn keep_telling(shared: Rc<Shared>) {
    loop {
        tokio::time::sleep(LEARNED_PERIOD).await;
        for container in shared.pod.contract.all_containers() {
            shared.tell_learned(&container.name);
        }
    }
}

async fn serve_state(shared: &Rc<Shared>) {
    let inputs = fs::read(Path::new(paths::STORE).join(INPUTS_JSON)).unwrap_or_default();
    let images = Images::from_inputs(&inputs);
    match serve::listen().await {
        Ok(listener) => {
            let server = serve::serve(listener, shared.state.clone(), images);
            tokio::task::spawn_local(server);
        }
        Err(error) => {
            let message = format!("serve the Pod's state: {error}");
            shared.events.tell_pod(Level::Warning, "NoState", message);
        }
    }
}

/// What decides how the Pod has ended: an init container that has failed, and the main containers
/// that were started. One that is still alive goes with the VM.
fn exits(board: &Board, alive: &[bool]) -> Vec<ContainerExit> {
    let members = board.members.iter().zip(alive);
    let exits = members.filter_map(|(member, alive)| {
        let exit = |exit_code, oom_killed| ContainerExit {
            name: member.name.clone(),
            exit_code,
            oom_killed,
        };
        let ended = match (&member.place, &member.last) {
            (Place::Ended(ended), _) | (_, Some(ended)) if !alive => {
                Some(exit(ended.exit_code, ended.reason == "OOMKilled"))
            }
            _ => alive.then(|| exit(128 + SIGKILL, false)),
        };
        match member.role {
            Role::Main => ended,
            Role::Init => ended.filter(|ended| ended.exit_code != 0),
            Role::Sidecar => None,
        }
    });
    exits.collect()
}

/// What the workers share.
pub struct Shared {
    /// The Pod.
    pub pod: Pod,
    /// Its state.
    pub state: State,
    /// Where events go.
    pub events: Events,
    /// Which containers have a worker, in the contract's order.
    alive: watch::Sender<Vec<bool>>,
    not_started: Cell<usize>,
}

impl Shared {
    fn new(pod: Pod) -> Self {
        let events = Events::new(pod.console.clone(), pod.report.clone());
        let count = pod.contract.all_containers().count();
        Self {
            state: State::new(&pod.contract, events.clone()),
            events,
            alive: watch::Sender::new(vec![false; count]),
            not_started: Cell::new(pod.contract.containers.len()),
            pod,
        }
    }

    /// A container has been started for the first time, or has failed to.
    pub fn one_started(&self, role: Role) {
        if role == Role::Main
            && let Some(left) = self.not_started.get().checked_sub(1)
        {
            self.not_started.set(left);
            if left == 0 {
                (self.pod.on_started)();
            }
        }
    }

    /// What the runtime did in a container before its program began is not the program's.
    pub fn forget_preparation(&self, container: &str) {
        let forgotten = self.pod.learner.as_ref().map(|one| one.forget(container));
        if let Some(Err(error)) = forgotten {
            let chain = Chain(&error);
            self.events
                .tell(Level::Warning, "NotLearned", container, chain);
        }
    }

    /// Tells the host what a container has used so far.
    pub fn tell_learned(&self, container: &str) {
        let Some(learner) = &self.pod.learner else {
            return;
        };
        match learner.learned(container) {
            Ok(None) => {}
            Ok(Some(learned)) => self.pod.report.send(&Status::Learned(learned)),
            Err(error) => self
                .events
                .tell(Level::Warning, "NotLearned", container, Chain(&error)),
        }
    }

    /// A container has ended for good.
    pub fn one_ended(&self, index: usize) {
        self.set_alive(index, false);
    }

    /// Waits until a sidecar of a Pod that ends may be sent its stop signal.
    pub async fn turn_of(&self, index: usize) {
        let mut alive = self.alive.subscribe();
        // The sender is this very object's.
        let _ = alive
            .wait_for(|alive| lifecycle::is_turn(alive, index))
            .await;
    }

    fn any_alive(&self) -> bool {
        self.alive.borrow().contains(&true)
    }

    fn set_alive(&self, index: usize, is: bool) {
        self.alive.send_modify(|alive| {
            if let Some(one) = alive.get_mut(index) {
                *one = is;
            }
        });
    }
}

/// Starts the workers in their order.
struct Crew {
    shared: Rc<Shared>,
    roles: Vec<Role>,
    stopped: watch::Receiver<bool>,
}

impl Crew {
    /// Ends when no main container runs any more and none will, or when an init container has
    /// failed for good.
    async fn work(&self) {
        let contract = &self.shared.pod.contract;
        let containers: Vec<(usize, &Container)> = contract.all_containers().enumerate().collect();
        for (index, container) in containers {
            let role = self.roles.get(index).copied().unwrap_or(Role::Main);
            self.spawn(index, role, container);
            match role {
                Role::Init => {
                    self.ended(index).await;
                    if !self.has_succeeded(index) {
                        return;
                    }
                }
                Role::Sidecar => self.until(index, |member| member.started).await,
                // As the kubelet does: who comes later waits for the hook.
                Role::Main if container.life.post_start.is_some() => {
                    let is_past = |place: &Place| match place {
                        Place::Waiting { reason, .. } => *reason == "CrashLoopBackOff",
                        _ => true,
                    };
                    self.until(index, |member| is_past(&member.place)).await;
                }
                Role::Main => {}
            }
        }
        let mut alive = self.shared.alive.subscribe();
        let roles = &self.roles;
        let mains_ended = |alive: &Vec<bool>| {
            let mut both = alive.iter().zip(roles);
            !both.any(|(alive, role)| *alive && *role == Role::Main)
        };
        // The sender outlives this.
        let _ = alive.wait_for(mains_ended).await;
    }

    fn spawn(&self, index: usize, role: Role, container: &Container) {
        let worker = Worker {
            shared: Rc::clone(&self.shared),
            index,
            role,
            container: container.clone(),
            stopped: self.stopped.clone(),
            log: open_log(&self.shared, &container.name),
            counted: Cell::new(false),
        };
        self.shared.set_alive(index, true);
        tokio::task::spawn_local(worker.run());
    }

    async fn ended(&self, index: usize) {
        let mut alive = self.shared.alive.subscribe();
        let has_ended = |alive: &Vec<bool>| alive.get(index) != Some(&true);
        // The sender outlives this.
        let _ = alive.wait_for(has_ended).await;
    }

    fn has_succeeded(&self, index: usize) -> bool {
        let board = self.shared.state.board();
        let member = board.members.get(index);
        let place = member.map(|member| &member.place);
        matches!(place, Some(Place::Ended(ended)) if ended.exit_code == 0)
    }

    async fn until(&self, index: usize, holds: impl Fn(&crate::pod::board::Member) -> bool) {
        let holds = |board: &Board| board.members.get(index).is_none_or(&holds);
        self.shared.state.until(holds).await;
    }
}

fn open_log(shared: &Shared, name: &str) -> Option<Rc<RefCell<LogFile>>> {
    let path = Path::new(paths::LOGS).join(format!("{name}.log"));
    let (limit, keep) = shared.pod.logs;
    match LogFile::open(path.clone(), limit, keep) {
        Ok(log) => Some(Rc::new(RefCell::new(log))),
        Err(error) => {
            let message = format!("open {}: {error}", path.display());
            shared.events.tell(Level::Warning, "NoLog", name, message);
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use i2kit_contract::RestartPolicy;

    use super::*;
    use crate::pod::board::tests::{contract, ended};

    #[test]
    fn main_containers_and_failed_init_containers_decide() {
        let mut board = Board::new(&contract(RestartPolicy::Never), SystemTime::now());
        let codes = |board: &Board, alive: &[bool]| -> Vec<(String, u32)> {
            let exits = exits(board, alive).into_iter();
            exits.map(|exit| (exit.name, exit.exit_code)).collect()
        };
        let none = [false; 4];
        assert_eq!(codes(&board, &none), []);
        board.members[0].place = Place::Ended(ended(5));
        assert_eq!(codes(&board, &none), [("setup".into(), 5)]);
        board.members[0].place = Place::Ended(ended(0));
        board.members[1].place = Place::Ended(ended(143));
        board.members[2].last = Some(ended(4));
        board.members[3].place = Place::Ended(ended(0));
        let expected = [("web".to_owned(), 4), ("db".to_owned(), 0)];
        assert_eq!(codes(&board, &none), expected);
        let alive = [false, true, true, false];
        assert_eq!(codes(&board, &alive)[0], ("web".into(), 137));
    }
}
