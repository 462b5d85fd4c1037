//! containerd is started again when it ends: its containers live on in their shims.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use i2kit_contract::Level;

use crate::{console::Console, containerd::daemon, fault::Chain, pod::events::Events, power::Fuse};

/// So many ends within [`WINDOW`] say that it cannot run.
const MOST_ENDS: usize = 5;
const WINDOW: Duration = Duration::from_secs(60);

/// Looks after the process.
pub struct Keeper {
    pid: u32,
    ends: Ends,
    console: Console,
    events: Events,
    fuse: Fuse,
}

impl Keeper {
    /// Looks after the process that [`daemon::spawn`] has started.
    pub fn new(pid: u32, console: Console, events: Events, fuse: Fuse) -> Self {
        Self {
            pid,
            ends: Ends::default(),
            console,
            events,
            fuse,
        }
    }

    /// A child of PID 1 has ended. If it was containerd, it is started again; after too many ends
    /// the fuse blows.
    pub fn child_ended(&mut self, pid: u32, how: &str) {
        if pid != self.pid {
            return;
        }
        let what = format!("containerd ended with {how}");
        if self.ends.are_too_many(Instant::now()) {
            self.fuse.blow(&what);
        }
        let message = format!("{what}; starting it again");
        self.events
            .tell_pod(Level::Warning, "ContainerdEnded", message);
        match daemon::spawn(&self.console) {
            Ok(pid) => self.pid = pid,
            Err(error) => self.fuse.blow(&Chain(&error).to_string()),
        }
    }
}

/// When containerd has ended lately. Pure.
#[derive(Debug, Default)]
struct Ends(VecDeque<Instant>);

impl Ends {
    /// Counts one more.
    fn are_too_many(&mut self, now: Instant) -> bool {
        self.0.push_back(now);
        while self
            .0
            .front()
            .is_some_and(|end| now.duration_since(*end) > WINDOW)
        {
            self.0.pop_front();
        }
        self.0.len() > MOST_ENDS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_count_within_a_minute() {
        let start = Instant::now();
        let mut ends = Ends::default();
        let mut at = |seconds| ends.are_too_many(start + Duration::from_secs(seconds));
        assert_eq!([0, 1, 2, 3, 4].map(&mut at), [false; 5]);
        assert!(!at(61), "the first is forgotten");
        assert!(at(62) || at(62));
    }
}
