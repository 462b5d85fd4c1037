//! What is known of the Pod and its containers at a time, and the conditions that follow from it
//! (core/v1 `PodStatus`). Pure: the caller has the clock.

use std::time::SystemTime;

use i2kit_contract::{Contract, Life, RestartPolicy};

use crate::pod::lifecycle::{self, Role};

/// Where a container is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Not running, but it may yet.
    Waiting {
        /// One word: `PodInitializing`, `ContainerCreating`, `CrashLoopBackOff`.
        reason: &'static str,
        /// A line for people.
        message: String,
    },
    /// Its process runs.
    Running {
        /// Since when.
        since: SystemTime,
    },
    /// It has ended for good.
    Ended(Ended),
}

/// A container's exit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Exit code; 128 + signal when killed.
    pub exit_code: u32,
    /// `Completed`, `Error`, `OOMKilled`, `StartError`.
    pub reason: &'static str,
    /// The termination message; empty for none.
    pub message: String,
    /// When it was started, if it was.
    pub started: Option<SystemTime>,
    /// When it ended.
    pub finished: SystemTime,
    /// Its id in containerd.
    pub id: String,
}

/// One container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Container name.
    pub name: String,
    /// What it is in the Pod.
    pub role: Role,
    /// Its policy and rules.
    pub life: Life,
    /// Where it is.
    pub place: Place,
    /// The exit before this run.
    pub last: Option<Ended>,
    /// Starts after the first.
    pub restart_count: u32,
    /// It has no startup probe, or that has succeeded.
    pub started: bool,
    /// It may be sent work.
    pub ready: bool,
    /// Its id in containerd; empty before its first start.
    pub id: String,
}

/// A condition of the Pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// `Initialized`, `Ready`, ….
    pub kind: &'static str,
    /// Whether it holds.
    pub holds: bool,
    /// Since when it is as it is.
    pub since: SystemTime,
    /// Why it does not hold; empty when it does.
    pub message: String,
}

/// `status.phase`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Not all of its containers have been started yet.
    Pending,
    /// At least one runs or will run again.
    Running,
    /// All have ended with exit code 0 for good.
    Succeeded,
    /// All have ended for good, one with another code; or its time was up.
    Failed,
}

/// All that is known.
#[derive(Clone, Debug)]
pub struct Board {
    /// When supervision began.
    pub started: SystemTime,
    /// Why the Pod has failed whatever its containers did.
    pub failure: Option<(&'static str, String)>,
    /// Its end was asked for.
    pub ending: bool,
    /// Init containers and containers, in the manifest's order.
    pub members: Vec<Member>,
    /// In the API's order.
    pub conditions: Vec<Condition>,
    policy: RestartPolicy,
}

impl Board {
    /// Nothing has been started.
    pub fn new(contract: &Contract, now: SystemTime) -> Self {
        let roles = lifecycle::roles(contract);
        let members = contract.all_containers().zip(roles);
        let members = members.map(|(container, role)| Member {
            name: container.name.clone(),
            role,
            life: container.life.clone(),
            place: Place::Waiting {
                reason: "PodInitializing",
                message: String::new(),
            },
            last: None,
            restart_count: 0,
            started: false,
            ready: false,
            id: String::new(),
        });
        let mut board = Self {
            started: now,
            failure: None,
            ending: false,
            members: members.collect(),
            conditions: Vec::new(),
            policy: contract.restart_policy,
        };
        board.settle(now);
        board
    }

    /// Brings the conditions up to date after a change.
    pub fn settle(&mut self, now: SystemTime) {
        let unready = self.unready();
        let uninitialized = self.uninitialized();
        let unready_pod = match self.ending {
            true => "the Pod is ending".to_owned(),
            false => unready.clone(),
        };
        let conditions = [
            ("PodScheduled", String::new()),
            ("Initialized", uninitialized),
            ("ContainersReady", unready),
            ("Ready", unready_pod),
        ];
        let before = std::mem::take(&mut self.conditions);
        let conditions = conditions.into_iter().map(|(kind, message)| {
            let holds = message.is_empty();
            let old = before.iter().find(|old| old.kind == kind);
            let since = old.filter(|old| old.holds == holds).map(|old| old.since);
            Condition {
                kind,
                holds,
                since: since.unwrap_or(now),
                message,
            }
        });
        self.conditions = conditions.collect();
    }

    /// Whether a condition holds.
    pub fn holds(&self, kind: &str) -> bool {
        let found = self.conditions.iter().find(|one| one.kind == kind);
        found.is_some_and(|one| one.holds)
    }

    /// Why a condition does not hold; empty when it does.
    pub fn message(&self, kind: &str) -> &str {
        let found = self.conditions.iter().find(|one| one.kind == kind);
        found.map_or("", |one| &one.message)
    }

    fn uninitialized(&self) -> String {
        let is_done = |member: &&Member| match (member.role, &member.place) {
            (Role::Init, Place::Ended(ended)) => ended.exit_code == 0,
            (Role::Init, _) => false,
            (Role::Sidecar, _) => member.started,
            (Role::Main, _) => true,
        };
        let names = names(self.members.iter().filter(|member| !is_done(member)));
        named("containers with incomplete status", &names)
    }

    fn unready(&self) -> String {
        let members = self.members.iter();
        let members = members.filter(|member| member.role != Role::Init && !member.ready);
        named("containers with unready status", &names(members))
    }

    /// The kubelet's `getPhase`.
    pub fn phase(&self) -> Phase {
        if self.failure.is_some() {
            return Phase::Failed;
        }
        let failed_init = self.members.iter().any(|member| {
            member.role == Role::Init
                && matches!(&member.place, Place::Ended(ended) if ended.exit_code != 0)
        });
        if failed_init {
            return Phase::Failed;
        }
        if !self.holds("Initialized") {
            return Phase::Pending;
        }
        let mains = || self.members.iter().filter(|one| one.role == Role::Main);
        let ended = |member: &Member| match &member.place {
            Place::Ended(ended) => Some(ended.exit_code),
            _ => None,
        };
        let fresh = |member: &Member| {
            matches!(member.place, Place::Waiting { .. }) && member.last.is_none()
        };
        if mains().any(fresh) {
            return Phase::Pending;
        }
        if mains().any(|member| ended(member).is_none()) {
            return Phase::Running;
        }
        match mains().all(|member| ended(member) == Some(0)) {
            true => Phase::Succeeded,
            false => Phase::Failed,
        }
    }

    /// Whether this member would start again after such an exit.
    pub fn restarts(&self, member: &Member, exit_code: u32) -> bool {
        !self.ending && lifecycle::restarts(self.policy, member.role, &member.life, exit_code)
    }
}

fn names<'a>(members: impl Iterator<Item = &'a Member>) -> Vec<&'a str> {
    members.map(|member| member.name.as_str()).collect()
}

fn named(what: &str, names: &[&str]) -> String {
    match names {
        [] => String::new(),
        names => format!("{what}: [{}]", names.join(" ")),
    }
}

#[cfg(test)]
pub mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use i2kit_contract::{Container, FailurePolicy, TerminationMessage, User, VERSION};

    use super::*;

    /// A container of this name.
    pub fn container(name: &str) -> Container {
        Container {
            name: name.into(),
            args: vec!["true".into()],
            env: Vec::new(),
            working_dir: "/".into(),
            user: User::default(),
            security: i2kit_contract::Security::default(),
            mounts: Vec::new(),
            devices: Vec::new(),
            image_volumes: Vec::new(),
            ports: Vec::new(),
            resources: i2kit_contract::Resources::default(),
            stop_signal: 15,
            life: Life {
                termination_message: TerminationMessage::default(),
                ..Life::default()
            },
        }
    }

    /// A Pod with an init container, a sidecar and two containers.
    pub fn contract(policy: RestartPolicy) -> Contract {
        let mut sidecar = container("proxy");
        sidecar.life.restart_policy = Some(RestartPolicy::Always);
        Contract {
            version: VERSION,
            name: "shop".into(),
            labels: std::collections::BTreeMap::new(),
            annotations: std::collections::BTreeMap::new(),
            hostname: "shop".into(),
            names: i2kit_contract::Names::default(),
            sysctls: Vec::new(),
            resources: i2kit_contract::Resources::default(),
            huge_pages: Vec::new(),
            process_namespace: i2kit_contract::ProcessNamespace::Container,
            fs_group: None,
            restart_policy: policy,
            termination_grace_period_seconds: 30,
            active_deadline_seconds: None,
            on_failure: FailurePolicy::PowerOff,
            control: false,
            baked_secrets: std::collections::BTreeMap::new(),
            volumes: Vec::new(),
            init_containers: vec![container("setup"), sidecar],
            containers: vec![container("web"), container("db")],
        }
    }

    /// The exit of a container that ran.
    pub fn ended(exit_code: u32) -> Ended {
        Ended {
            exit_code,
            reason: if exit_code == 0 { "Completed" } else { "Error" },
            message: String::new(),
            started: Some(UNIX_EPOCH),
            finished: UNIX_EPOCH + Duration::from_secs(60),
            id: "x.0".into(),
        }
    }

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn run(board: &mut Board, index: usize, seconds: u64) {
        let member = &mut board.members[index];
        member.place = Place::Running { since: at(seconds) };
        (member.started, member.ready) = (true, true);
        board.settle(at(seconds));
    }

    #[test]
    fn conditions_follow_the_containers_and_know_since_when() {
        let mut board = Board::new(&contract(RestartPolicy::Always), at(1));
        assert_eq!(
            board.message("Initialized"),
            "containers with incomplete status: [setup proxy]"
        );
        assert_eq!(board.phase(), Phase::Pending);
        board.members[0].place = Place::Ended(ended(0));
        run(&mut board, 1, 5);
        assert!(board.holds("Initialized") && !board.holds("Ready"));
        assert_eq!(
            board.message("Ready"),
            "containers with unready status: [web db]"
        );
        run(&mut board, 2, 6);
        assert_eq!(board.phase(), Phase::Pending);
        run(&mut board, 3, 7);
        assert!(board.holds("Ready"));
        assert_eq!(board.phase(), Phase::Running);
        board.settle(at(9));
        assert_eq!(board.conditions[3].since, at(7));
        board.ending = true;
        board.settle(at(10));
        assert_eq!(board.message("Ready"), "the Pod is ending");
        assert!(board.holds("ContainersReady"));
        assert_eq!(board.conditions[3].since, at(10));
    }

    #[test]
    fn the_phase_is_what_the_main_containers_make_it() {
        let mut board = Board::new(&contract(RestartPolicy::Never), at(1));
        board.members[0].place = Place::Ended(ended(0));
        for index in 1..4 {
            run(&mut board, index, 2);
        }
        board.members[2].place = Place::Ended(ended(0));
        assert_eq!(board.phase(), Phase::Running);
        board.members[3].place = Place::Ended(ended(0));
        assert_eq!(board.phase(), Phase::Succeeded);
        board.members[2].place = Place::Ended(ended(3));
        assert_eq!(board.phase(), Phase::Failed);
        board.members[2].place = Place::Waiting {
            reason: "CrashLoopBackOff",
            message: String::new(),
        };
        board.members[2].last = Some(ended(3));
        assert_eq!(board.phase(), Phase::Running);
        board.failure = Some(("DeadlineExceeded", String::new()));
        assert_eq!(board.phase(), Phase::Failed);
    }

    #[test]
    fn an_init_container_that_has_failed_for_good_is_the_pods_failure() {
        let mut board = Board::new(&contract(RestartPolicy::Never), at(1));
        board.members[0].place = Place::Ended(ended(1));
        board.settle(at(2));
        assert_eq!(board.phase(), Phase::Failed);
    }
}
