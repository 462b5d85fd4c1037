//! Probes of a running container (the kubelet's `prober`): when they are tried, and what becomes of
//! the results.

mod grpc;
pub mod http;
mod location;
mod tally;
mod tcp;
mod trust;

use std::{fmt, net::SocketAddr, time::Duration};

use i2kit_contract::{Check, Level, Life, Probe};
use tokio::time::{Instant, MissedTickBehavior};

use crate::{
    net::own,
    pod::{events::Events, exec::Inside, state::State},
};
use tally::Tally;

/// Which of a container's probes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Ends the container.
    Liveness,
    /// Decides whether it is ready.
    Readiness,
    /// Comes before the others; ends the container.
    Startup,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Liveness => "Liveness",
            Self::Readiness => "Readiness",
            Self::Startup => "Startup",
        })
    }
}

/// Why a container must end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unhealthy {
    /// The probe that has failed.
    pub kind: Kind,
    /// Its own grace period in seconds.
    pub grace: Option<u32>,
}

/// Tries one probe once.
pub trait Try {
    /// `Ok` is success, the error a line for people. `None` when nothing can be said: the try does
    /// not count.
    fn once(&self, probe: &Probe) -> impl Future<Output = Option<Result<(), String>>>;
}

impl Try for Inside {
    async fn once(&self, probe: &Probe) -> Option<Result<(), String>> {
        let timeout = Duration::from_secs(u64::from(probe.timeout_seconds));
        if let Check::Exec(exec) = &probe.check {
            // What containerd cannot do says nothing of the container.
            let ended = self.run(&exec.command, Some(timeout)).await.ok()?;
            return Some(ended.must_succeed());
        }
        let result = tokio::time::timeout(timeout, over_network(&probe.check, timeout)).await;
        let seconds = timeout.as_secs();
        Some(result.unwrap_or_else(|_| Err(format!("no answer within {seconds} s"))))
    }
}

async fn over_network(check: &Check, timeout: Duration) -> Result<(), String> {
    let host = |given: Option<std::net::IpAddr>| given.unwrap_or_else(own::address_or_loopback);
    match check {
        Check::Exec(_) => Ok(()),
        Check::TcpSocket(socket) => {
            tcp::connect(SocketAddr::new(host(socket.host), socket.port)).await
        }
        Check::Grpc(grpc) => {
            grpc::check(SocketAddr::new(host(None), grpc.port), &grpc.service).await
        }
        Check::HttpGet(get) => {
            let (get, address) = (get.clone(), host(get.host));
            let deadline = std::time::Instant::now() + timeout;
            let ask = move || http::get(&get, address, deadline);
            let status = tokio::task::spawn_blocking(ask).await;
            match status.map_err(|error| error.to_string())?? {
                200..=399 => Ok(()),
                status => Err(format!("HTTP status {status}")),
            }
        }
    }
}

/// The probes of one run of a container.
pub struct Probes<'a, T> {
    /// How they are tried.
    pub trying: &'a T,
    /// Whose they are.
    pub name: &'a str,
    /// The container's place in the Pod.
    pub index: usize,
    /// Which there are.
    pub life: &'a Life,
    /// When the container's process was started.
    pub begun: Instant,
    /// Where the results go.
    pub state: &'a State,
    /// Where failures are told.
    pub events: &'a Events,
}

impl<T: Try> Probes<'_, T> {
    /// Tries them until one says that the container must end; for ever, if none does.
    pub async fn run(&self) -> Unhealthy {
        if let Some(probe) = &self.life.startup_probe
            && let Err(unhealthy) = self.until_verdict(Kind::Startup, probe).await
        {
            return unhealthy;
        }
        self.state.started(self.index);
        let readiness = self.life.readiness_probe.as_ref();
        if readiness.is_none() {
            self.state.ready(self.index, true);
        }
        let liveness = self.life.liveness_probe.as_ref();
        tokio::select! {
            unhealthy = self.watch(Kind::Liveness, liveness) => unhealthy,
            unhealthy = self.watch(Kind::Readiness, readiness) => unhealthy,
        }
    }

    async fn until_verdict(&self, kind: Kind, probe: &Probe) -> Result<(), Unhealthy> {
        let mut tries = self.tries(kind, probe);
        loop {
            match tries.next().await {
                Some(true) => return Ok(()),
                Some(false) => return Err(unhealthy(kind, probe)),
                None => {}
            }
        }
    }

    async fn watch(&self, kind: Kind, probe: Option<&Probe>) -> Unhealthy {
        let Some(probe) = probe else {
            return std::future::pending().await;
        };
        let mut tries = self.tries(kind, probe);
        loop {
            match (tries.next().await, kind) {
                (Some(ready), Kind::Readiness) => self.state.ready(self.index, ready),
                (Some(false), _) => return unhealthy(kind, probe),
                _ => {}
            }
        }
    }

    fn tries<'a>(&'a self, kind: Kind, probe: &'a Probe) -> Tries<'a, T> {
        let delay = Duration::from_secs(u64::from(probe.initial_delay_seconds));
        let period = Duration::from_secs(u64::from(probe.period_seconds.max(1)));
        let first = (self.begun + delay).max(Instant::now());
        let mut ticks = tokio::time::interval_at(first, period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        Tries {
            probes: self,
            kind,
            probe,
            tally: Tally::new(probe.success_threshold, probe.failure_threshold),
            ticks,
        }
    }
}

fn unhealthy(kind: Kind, probe: &Probe) -> Unhealthy {
    Unhealthy {
        kind,
        grace: probe.termination_grace_period_seconds,
    }
}

/// One probe's tries, one a period.
struct Tries<'a, T> {
    probes: &'a Probes<'a, T>,
    kind: Kind,
    probe: &'a Probe,
    tally: Tally,
    ticks: tokio::time::Interval,
}

impl<T: Try> Tries<'_, T> {
    /// The verdict after the next try, if there is one.
    async fn next(&mut self) -> Option<bool> {
        self.ticks.tick().await;
        let result = self.probes.trying.once(self.probe).await?;
        let Probes { name, state, .. } = self.probes;
        state.tried(name, self.kind, result.is_ok());
        let verdict = self.tally.record(result.is_ok());
        if let Err(message) = &result {
            self.tell(message);
        }
        verdict
    }

    /// The first failure in a row is told, and the one that decides; the others say the same.
    fn tell(&self, message: &str) {
        let (row, threshold) = (self.tally.row(), self.probe.failure_threshold);
        if row == 1 || row == threshold {
            let message = format!(
                "{} probe failed ({row} of {threshold}): {message}",
                self.kind
            );
            let Probes { name, events, .. } = self.probes;
            events.tell(Level::Warning, "Unhealthy", name, message);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};

    use i2kit_contract::{RestartPolicy, TcpSocket};

    use super::*;
    use crate::{console::Console, pod::board::tests::contract, report::Report};

    /// Answers by the second since its start, and writes down when it was asked.
    struct Script<F> {
        begun: Instant,
        answer: F,
        asked: RefCell<Vec<(u16, u64)>>,
        takes: Cell<u64>,
    }

    impl<F: Fn(u16, u64) -> Option<bool>> Try for Script<F> {
        async fn once(&self, probe: &Probe) -> Option<Result<(), String>> {
            let Check::TcpSocket(TcpSocket { port, .. }) = probe.check else {
                return None;
            };
            let second = self.begun.elapsed().as_secs();
            self.asked.borrow_mut().push((port, second));
            tokio::time::sleep(Duration::from_secs(self.takes.get())).await;
            let success = (self.answer)(port, second)?;
            Some(success.then_some(()).ok_or_else(|| "no".to_owned()))
        }
    }

    fn probe(port: u16, delay: u32, period: u32, failures: u32) -> Probe {
        Probe {
            check: Check::TcpSocket(TcpSocket { host: None, port }),
            initial_delay_seconds: delay,
            timeout_seconds: 1,
            period_seconds: period,
            success_threshold: 1,
            failure_threshold: failures,
            termination_grace_period_seconds: Some(7),
        }
    }

    const STARTUP: u16 = 1;
    const LIVENESS: u16 = 2;
    const READINESS: u16 = 3;
    const WEB: usize = 2;

    /// Runs probes on a clock that only sleeping moves, for at most `seconds`. Answers the verdict
    /// and its second, and the tries.
    async fn run<F: Fn(u16, u64) -> Option<bool>>(
        life: Life,
        seconds: u64,
        answer: F,
        state: &State,
    ) -> (Option<(Unhealthy, u64)>, Vec<(u16, u64)>) {
        let console = Console::start();
        let begun = Instant::now();
        let trying = Script {
            begun,
            answer,
            asked: RefCell::default(),
            takes: Cell::new(0),
        };
        let probes = Probes {
            trying: &trying,
            name: "web",
            index: WEB,
            life: &life,
            begun,
            state,
            events: &Events::new(console.clone(), Report::new(console)),
        };
        let limit = Duration::from_secs(seconds);
        let verdict = tokio::time::timeout(limit, probes.run()).await.ok();
        let verdict = verdict.map(|verdict| (verdict, begun.elapsed().as_secs()));
        (verdict, trying.asked.into_inner())
    }

    fn state() -> State {
        let console = Console::start();
        let events = Events::new(console.clone(), Report::new(console));
        State::new(&contract(RestartPolicy::Always), events)
    }

    #[tokio::test(start_paused = true)]
    async fn liveness_fails_after_its_threshold_in_a_row() {
        let life = Life {
            liveness_probe: Some(probe(LIVENESS, 5, 10, 3)),
            ..Life::default()
        };
        // Two failures, a success, three failures.
        let answer = |_, second| Some(second == 25);
        let (verdict, asked) = run(life, 1000, answer, &state()).await;
        let expected = Unhealthy {
            kind: Kind::Liveness,
            grace: Some(7),
        };
        assert_eq!(verdict, Some((expected, 55)));
        let seconds: Vec<u64> = asked.iter().map(|(_, second)| *second).collect();
        assert_eq!(seconds, [5, 15, 25, 35, 45, 55]);
    }

    #[tokio::test(start_paused = true)]
    async fn the_others_wait_for_startup_and_keep_their_own_delay() {
        let life = Life {
            startup_probe: Some(probe(STARTUP, 0, 2, 10)),
            liveness_probe: Some(probe(LIVENESS, 30, 10, 1)),
            readiness_probe: Some(probe(READINESS, 0, 5, 1)),
            ..Life::default()
        };
        let state = state();
        let answer = |port, second| Some(port != STARTUP || second >= 6);
        let (verdict, asked) = run(life, 31, answer, &state).await;
        assert_eq!(verdict, None);
        let of = |port| -> Vec<u64> {
            let asked = asked.iter().filter(|(one, _)| *one == port);
            asked.map(|(_, second)| *second).collect()
        };
        assert_eq!(of(STARTUP), [0, 2, 4, 6]);
        assert_eq!(of(READINESS), [6, 11, 16, 21, 26, 31]);
        assert_eq!(of(LIVENESS), [30]);
        let board = state.board();
        assert!(board.members[WEB].started && board.members[WEB].ready);
    }

    #[tokio::test(start_paused = true)]
    async fn a_startup_probe_that_never_succeeds_ends_the_container() {
        let life = Life {
            startup_probe: Some(probe(STARTUP, 0, 10, 30)),
            ..Life::default()
        };
        let state = state();
        let (verdict, _) = run(life, 1000, |_, _| Some(false), &state).await;
        assert_eq!(verdict.map(|(_, second)| second), Some(290));
        assert!(!state.board().members[WEB].started);
    }

    #[tokio::test(start_paused = true)]
    async fn readiness_comes_and_goes_and_ends_nothing() {
        let life = Life {
            readiness_probe: Some(probe(READINESS, 0, 10, 2)),
            ..Life::default()
        };
        for (limit, ready) in [(5, true), (25, true), (35, false), (75, true)] {
            let state = state();
            let answer = |_, second| Some(!(20..60).contains(&second));
            let (verdict, _) = run(life.clone(), limit, answer, &state).await;
            assert_eq!(verdict, None);
            assert_eq!(state.board().members[WEB].ready, ready, "{limit}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_try_of_which_nothing_is_known_does_not_count() {
        let life = Life {
            liveness_probe: Some(probe(LIVENESS, 0, 10, 1)),
            ..Life::default()
        };
        let state = state();
        let answer = |_, second| (second >= 40).then_some(false);
        let (verdict, _) = run(life, 1000, answer, &state).await;
        assert_eq!(verdict.map(|(_, second)| second), Some(40));
        let tries = state.tries();
        assert_eq!(tries.get(&("web".into(), Kind::Liveness)), Some(&[0, 1]));
    }
}
