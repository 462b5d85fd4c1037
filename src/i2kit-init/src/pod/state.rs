//! The Pod's state as supervisors change it and others read it.

use std::{
    cell::{Cell, Ref, RefCell},
    collections::BTreeMap,
    rc::Rc,
    time::SystemTime,
};

use i2kit_contract::{Contract, Level, Status};
use tokio::sync::watch;

use crate::{
    pod::{
        board::{Board, Ended, Member, Place},
        events::Events,
        probe::Kind,
    },
    uptime,
};

/// Shared by all that supervise and serve.
#[derive(Clone)]
pub struct State {
    shared: Rc<Shared>,
}

struct Shared {
    contract: Contract,
    board: RefCell<Board>,
    tries: RefCell<Tries>,
    ready: Cell<bool>,
    changes: watch::Sender<()>,
    events: Events,
}

/// How often each container's probes have succeeded and failed.
pub type Tries = BTreeMap<(String, Kind), [u64; 2]>;

impl State {
    /// Nothing has been started.
    pub fn new(contract: &Contract, events: Events) -> Self {
        let shared = Shared {
            contract: contract.clone(),
            board: RefCell::new(Board::new(contract, SystemTime::now())),
            tries: RefCell::default(),
            ready: Cell::new(false),
            changes: watch::Sender::new(()),
            events,
        };
        Self {
            shared: Rc::new(shared),
        }
    }

    /// The Pod.
    pub fn contract(&self) -> &Contract {
        &self.shared.contract
    }

    /// What is known now.
    pub fn board(&self) -> Ref<'_, Board> {
        self.shared.board.borrow()
    }

    /// Waits until the board is so.
    pub async fn until(&self, holds: impl Fn(&Board) -> bool) {
        let mut changes = self.shared.changes.subscribe();
        while !holds(&self.board()) {
            // The sender is this very object's.
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    /// The probes' counters.
    pub fn tries(&self) -> Ref<'_, Tries> {
        self.shared.tries.borrow()
    }

    /// Counts a try of a probe.
    pub fn tried(&self, container: &str, kind: Kind, success: bool) {
        let mut tries = self.shared.tries.borrow_mut();
        let [good, bad] = tries.entry((container.to_owned(), kind)).or_default();
        let count = if success { good } else { bad };
        *count = count.saturating_add(1);
    }

    /// A container waits for its start.
    pub fn waiting(&self, index: usize, reason: &'static str, message: String) {
        self.change_member(index, |member| {
            member.place = Place::Waiting { reason, message };
            (member.started, member.ready) = (false, false);
        });
    }

    /// A container's process was started, which counts however soon it ends.
    pub fn begun(&self, index: usize, id: &str, restart_count: u32) {
        self.change_member(index, |member| {
            member.restart_count = restart_count;
            id.clone_into(&mut member.id);
        });
    }

    /// A container that has begun is past its `postStart` hook.
    pub fn running(&self, index: usize) {
        self.change_member(index, |member| {
            let since = SystemTime::now();
            member.place = Place::Running { since };
        });
    }

    /// A container is past its startup probe.
    pub fn started(&self, index: usize) {
        self.change_member(index, |member| member.started = true);
    }

    /// Whether a container may be sent work.
    pub fn ready(&self, index: usize, ready: bool) {
        self.change_member(index, |member| member.ready = ready);
    }

    /// A container has ended; for good unless it waits for its next start in `back_off`.
    pub fn ended(&self, index: usize, ended: Ended, back_off: Option<String>) {
        self.change_member(index, |member| {
            (member.started, member.ready) = (false, false);
            member.place = match back_off {
                Some(message) => Place::Waiting {
                    reason: "CrashLoopBackOff",
                    message,
                },
                None => Place::Ended(ended.clone()),
            };
            member.last = Some(ended);
        });
    }

    /// The Pod's end was asked for.
    pub fn ending(&self) {
        self.change(|board| board.ending = true);
    }

    /// The Pod has failed, whatever its containers do.
    pub fn failed(&self, reason: &'static str, message: &str) {
        self.change(|board| board.failure = Some((reason, message.to_owned())));
    }

    fn change_member(&self, index: usize, change: impl FnOnce(&mut Member)) {
        self.change(|board| {
            if let Some(member) = board.members.get_mut(index) {
                change(member);
            }
        });
    }

    fn change(&self, change: impl FnOnce(&mut Board)) {
        let mut board = self.shared.board.borrow_mut();
        change(&mut board);
        board.settle(SystemTime::now());
        let ready = board.holds("Ready");
        if self.shared.ready.replace(ready) != ready {
            let message = match ready {
                true => "all containers are ready",
                false => board.message("Ready"),
            };
            self.tell_ready(ready, message);
        }
        drop(board);
        self.shared.changes.send_replace(());
    }

    fn tell_ready(&self, ready: bool, message: &str) {
        let status = Status::Ready {
            ready,
            at_ms: uptime::milliseconds(),
        };
        let reason = if ready { "Ready" } else { "NotReady" };
        self.shared
            .events
            .tell_as(&status, Level::Normal, reason, None, message);
    }
}
