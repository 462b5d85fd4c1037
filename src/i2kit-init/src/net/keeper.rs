//! The life of a lease (RFC 2131, 4.4): found, renewed, lost, found anew. Pure: the caller has the
//! clock and the network, does what [`Keeper::next`] says and comes back with what was answered.
//! Times are those of the caller's clock, from any start.

use std::{net::Ipv4Addr, time::Duration};

use crate::net::dhcp::{Kind, Lease, Query, Reply};

/// Pauses between tries: RFC 2131, 4.1 doubles them up to 64 s; it begins with 4 s, which is an
/// age in a VM's boot.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(64);
/// RFC 2131, 4.4.5: tries to renew are at least this far apart.
const LEAST_RENEWAL_PAUSE: Duration = Duration::from_secs(60);

/// What is to be done next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send this to all, from no address, and wait for the answer.
    Broadcast {
        /// What is asked.
        query: Query,
        /// Until when an answer is waited for.
        until: Duration,
    },
    /// Send this from the lease's address, and wait for the answer.
    Send {
        /// What is asked.
        query: Query,
        /// The lease's server, or the broadcast address.
        to: Ipv4Addr,
        /// Until when an answer is waited for.
        until: Duration,
    },
    /// Wait; none is for ever.
    Wait(Option<Duration>),
    /// Use this lease.
    Apply(Lease),
    /// The lease in use is none any more.
    Lose,
}

/// A lease and who gave it, since when.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Held {
    lease: Lease,
    server: Ipv4Addr,
    since: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    /// Nothing is held; the next try is not before this.
    Idle { not_before: Duration },
    /// A DISCOVER is out.
    Discovering { until: Duration },
    /// A REQUEST is out for what this server offers.
    Requesting {
        server: Ipv4Addr,
        sent: Duration,
        until: Duration,
    },
    /// A lease is held; no renewal is tried before this.
    Bound { held: Held, not_before: Duration },
    /// A REQUEST is out that renews it.
    Renewing {
        held: Held,
        sent: Duration,
        until: Duration,
    },
}

/// Finds a lease and keeps it.
#[derive(Clone, Debug)]
pub struct Keeper {
    mac: [u8; 6],
    hostname: String,
    xid: u32,
    begun: Duration,
    pause: Duration,
    state: State,
}

impl Keeper {
    /// Nothing held. `xid` is a random number: the first transaction's.
    pub fn new(mac: [u8; 6], hostname: String, xid: u32, now: Duration) -> Self {
        Self {
            mac,
            hostname,
            xid,
            begun: now,
            pause: FIRST_PAUSE,
            state: State::Idle { not_before: now },
        }
    }

    /// What to do at `now`. `reply` is the answer to the query of the last action, if there was
    /// one in time: of the query's transaction and of a kind that [`Keeper::awaits`] names.
    pub fn next(&mut self, now: Duration, reply: Option<Reply>) -> Action {
        match self.state.clone() {
            State::Idle { not_before } if now < not_before => Action::Wait(Some(not_before)),
            State::Idle { .. } => self.discover(now),
            State::Discovering { until } => match reply.as_ref().and_then(offer) {
                Some((address, server)) => self.request(now, address, server),
                None => self.try_later(now, until),
            },
            State::Requesting {
                server,
                sent,
                until,
            } => match reply.filter(|reply| reply.kind == Kind::Ack) {
                Some(ack) => self.bind(ack, server, sent),
                None => self.try_later(now, until),
            },
            State::Bound { held, not_before } => self.keep(now, held, not_before),
            State::Renewing { held, sent, until } => match reply {
                Some(ack) if ack.kind == Kind::Ack => self.renewed(now, &held, ack, sent),
                Some(_) => self.lose(now),
                None => self.keep(now, held, until),
            },
        }
    }

    /// Whether an answer of this kind ends the wait for one.
    pub fn awaits(&self, reply: &Reply) -> bool {
        match self.state {
            State::Discovering { .. } => reply.kind == Kind::Offer && reply.server.is_some(),
            State::Requesting { .. } | State::Renewing { .. } => reply.kind != Kind::Offer,
            State::Idle { .. } | State::Bound { .. } => false,
        }
    }

    fn query(&self, kind: Kind, now: Duration) -> Query {
        Query {
            kind,
            xid: self.xid,
            secs: u16::try_from(now.saturating_sub(self.begun).as_secs()).unwrap_or(u16::MAX),
            mac: self.mac,
            ciaddr: Ipv4Addr::UNSPECIFIED,
            requested: None,
            server: None,
            hostname: self.hostname.clone(),
        }
    }

    fn discover(&mut self, now: Duration) -> Action {
        self.xid = self.xid.wrapping_add(1);
        let until = now + self.pause;
        self.state = State::Discovering { until };
        Action::Broadcast {
            query: self.query(Kind::Discover, now),
            until,
        }
    }

    fn request(&mut self, now: Duration, address: Ipv4Addr, server: Ipv4Addr) -> Action {
        let until = now + self.pause;
        self.state = State::Requesting {
            server,
            sent: now,
            until,
        };
        Action::Broadcast {
            query: Query {
                requested: Some(address),
                server: Some(server),
                ..self.query(Kind::Request, now)
            },
            until,
        }
    }

    /// A refusal may come at once: the pause is kept all the same, or a server that always refuses
    /// would be asked without end.
    fn try_later(&mut self, now: Duration, not_before: Duration) -> Action {
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        self.state = State::Idle { not_before };
        self.next(now, None)
    }

    /// A lease counts from when it was asked for (RFC 2131, 4.4.1).
    fn bind(&mut self, ack: Reply, server: Ipv4Addr, sent: Duration) -> Action {
        let held = Held {
            server: ack.server.unwrap_or(server),
            lease: ack.lease,
            since: sent,
        };
        let lease = held.lease.clone();
        self.state = State::Bound {
            held,
            not_before: sent,
        };
        Action::Apply(lease)
    }

    fn renewed(&mut self, now: Duration, held: &Held, ack: Reply, sent: Duration) -> Action {
        let is_same = ack.lease == held.lease;
        let apply = self.bind(ack, held.server, sent);
        if is_same { self.next(now, None) } else { apply }
    }

    fn lose(&mut self, now: Duration) -> Action {
        self.pause = FIRST_PAUSE;
        self.begun = now;
        self.state = State::Idle { not_before: now };
        Action::Lose
    }

    /// Asks the lease's server from T1 on, any server from T2 on; waits half of what is left
    /// between tries, but a minute at least (RFC 2131, 4.4.5).
    fn keep(&mut self, now: Duration, held: Held, not_before: Duration) -> Action {
        if held.lease.seconds == u32::MAX {
            self.state = State::Bound { held, not_before };
            return Action::Wait(None);
        }
        let at = |seconds: u32| held.since + Duration::from_secs(u64::from(seconds));
        let (renew, rebind, end) = (
            at(held.lease.renew),
            at(held.lease.rebind),
            at(held.lease.seconds),
        );
        if now >= end {
            return self.lose(now);
        }
        let due = renew.max(not_before);
        if now < due {
            self.state = State::Bound { held, not_before };
            return Action::Wait(Some(due));
        }
        let (to, phase_end) = if now < rebind {
            (held.server, rebind)
        } else {
            (Ipv4Addr::BROADCAST, end)
        };
        let half = phase_end.saturating_sub(now) / 2;
        let until = (now + half.max(LEAST_RENEWAL_PAUSE)).min(phase_end);
        self.renew(now, held, to, until)
    }

    fn renew(&mut self, now: Duration, held: Held, to: Ipv4Addr, until: Duration) -> Action {
        self.xid = self.xid.wrapping_add(1);
        let query = Query {
            ciaddr: held.lease.address,
            ..self.query(Kind::Request, now)
        };
        self.state = State::Renewing {
            held,
            sent: now,
            until,
        };
        Action::Send { query, to, until }
    }
}

fn offer(reply: &Reply) -> Option<(Ipv4Addr, Ipv4Addr)> {
    (reply.kind == Kind::Offer).then_some((reply.lease.address, reply.server?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: [u8; 6] = [0x52, 0x54, 0, 0x12, 0x34, 0x56];
    const SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 2);
    const OTHER: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 9);
    const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 15);

    fn lease(seconds: u32) -> Lease {
        Lease {
            address: ADDRESS,
            prefix: 24,
            routes: Vec::new(),
            dns: Vec::new(),
            domain: None,
            mtu: None,
            ntp: Vec::new(),
            seconds,
            renew: seconds / 2,
            rebind: seconds - seconds / 8,
        }
    }

    fn reply(kind: Kind, server: Ipv4Addr, seconds: u32) -> Option<Reply> {
        Some(Reply {
            kind,
            server: Some(server),
            lease: lease(seconds),
            ignored: Vec::new(),
        })
    }

    /// Answers offers and grants leases of so many seconds.
    fn grant(query: &Query, seconds: u32) -> Option<Reply> {
        let kind = match query.kind {
            Kind::Discover => Kind::Offer,
            _ => Kind::Ack,
        };
        reply(kind, SERVER, seconds)
    }

    /// Runs a keeper for so many actions on a clock that only this test moves: a wait ends in
    /// time, an answer comes at once. Answers a line `SECOND: ACTION` for each.
    fn run(
        actions: usize,
        mut network: impl FnMut(u64, &Query, Ipv4Addr) -> Option<Reply>,
    ) -> Vec<String> {
        let mut now = Duration::from_secs(1000);
        let mut keeper = Keeper::new(MAC, "web".into(), 7, now);
        let mut answer = None;
        let mut lines = Vec::new();
        for _ in 0..actions {
            let second = now.as_secs() - 1000;
            let action = keeper.next(now, answer.take());
            let (text, until) = match action {
                Action::Broadcast { query, until } => {
                    answer = network(second, &query, Ipv4Addr::BROADCAST)
                        .filter(|reply| keeper.awaits(reply));
                    (format!("{:?} to all", query.kind), Some(until))
                }
                Action::Send { query, to, until } => {
                    assert_eq!(
                        (query.ciaddr, query.requested, query.server),
                        (ADDRESS, None, None)
                    );
                    answer = network(second, &query, to).filter(|reply| keeper.awaits(reply));
                    (format!("{:?} to {to}", query.kind), Some(until))
                }
                Action::Wait(until) => {
                    assert!(until.is_none_or(|until| until > now), "a wait for the past");
                    (
                        format!("wait {:?}", until.map(|until| until.as_secs() - 1000)),
                        until,
                    )
                }
                Action::Apply(lease) => (format!("apply {}", lease.address), None),
                Action::Lose => ("lose".into(), None),
            };
            lines.push(format!("{second}: {text}"));
            if let (None, Some(until)) = (&answer, until) {
                now = until;
            }
        }
        lines
    }

    #[test]
    fn a_lease_is_found_and_renewed_at_half_its_time() {
        let lines = run(8, |_, query, _| grant(query, 1000));
        assert_eq!(
            lines,
            [
                "0: Discover to all",
                "0: Request to all",
                "0: apply 10.0.2.15",
                "0: wait Some(500)",
                "500: Request to 10.0.2.2",
                "500: wait Some(1000)",
                "1000: Request to 10.0.2.2",
                "1000: wait Some(1500)",
            ]
        );
    }

    #[test]
    fn silence_is_asked_again_after_doubling_pauses() {
        let lines = run(9, |_, _, _| None);
        let seconds: Vec<&str> = lines
            .iter()
            .map(|line| line.split(':').next().unwrap())
            .collect();
        assert_eq!(
            seconds,
            ["0", "1", "3", "7", "15", "31", "63", "127", "191"]
        );
        assert!(
            lines.iter().all(|line| line.ends_with("Discover to all")),
            "{lines:?}"
        );
    }

    #[test]
    fn a_server_that_always_refuses_is_not_asked_without_end() {
        let mut queries = 0;
        run(1000, |second, query, _| {
            queries += usize::from(second < 600);
            match query.kind {
                Kind::Discover => reply(Kind::Offer, SERVER, 1000),
                _ => reply(Kind::Nak, SERVER, 1000),
            }
        });
        assert!(queries < 40, "{queries} queries in 10 minutes");
    }

    /// A query that cannot even be sent comes back at once: the clock moves in waits alone.
    #[test]
    fn a_network_that_is_down_is_not_tried_without_end() {
        let mut now = Duration::ZERO;
        let mut keeper = Keeper::new(MAC, "web".into(), 7, now);
        let (mut answer, mut queries) = (None, 0);
        while now < Duration::from_secs(1100) {
            match keeper.next(now, answer.take()) {
                Action::Broadcast { query, .. } | Action::Send { query, .. } => {
                    answer = (now < Duration::from_secs(1))
                        .then(|| grant(&query, 1000))
                        .flatten();
                    queries += 1;
                }
                Action::Wait(until) => now = until.unwrap(),
                Action::Apply(_) | Action::Lose => {}
            }
            assert!(queries < 40, "{queries} queries in {now:?}");
        }
        assert!(queries > 10, "{queries}");
    }

    #[test]
    fn another_server_is_asked_from_t2_on_and_takes_over() {
        let answers = |second: u64, query: &Query, to: Ipv4Addr| {
            if second == 0 {
                return grant(query, 1000);
            }
            (to != SERVER).then(|| reply(Kind::Ack, OTHER, 1000).unwrap())
        };
        let lines = run(10, answers);
        assert_eq!(
            lines[3..],
            [
                "0: wait Some(500)",
                "500: Request to 10.0.2.2",
                // Half of the 375 s to T2, and so on, but a minute at least.
                "687: Request to 10.0.2.2",
                "781: Request to 10.0.2.2",
                "841: Request to 10.0.2.2",
                "875: Request to 255.255.255.255",
                "875: wait Some(1375)",
            ]
        );
        let lines = run(11, answers);
        assert_eq!(lines[10], "1375: Request to 10.0.2.9");
    }

    #[test]
    fn a_lease_that_nobody_renews_is_lost_at_its_end_and_sought_anew() {
        let lines = run(14, |second, query, _| {
            if second == 0 {
                grant(query, 1000)
            } else {
                None
            }
        });
        assert_eq!(
            lines[8..],
            [
                "875: Request to 255.255.255.255",
                "937: Request to 255.255.255.255",
                "997: Request to 255.255.255.255",
                "1000: lose",
                "1000: Discover to all",
                "1001: Discover to all",
            ]
        );
    }

    #[test]
    fn a_refused_renewal_loses_the_lease_at_once() {
        let lines = run(7, |second, query, _| match second {
            500 => reply(Kind::Nak, SERVER, 1000),
            _ => grant(query, 1000),
        });
        assert_eq!(
            lines[4..],
            [
                "500: Request to 10.0.2.2",
                "500: lose",
                "500: Discover to all"
            ]
        );
    }

    #[test]
    fn a_renewal_that_changes_something_is_applied() {
        let lines = run(6, |second, query, _| {
            grant(query, if second == 0 { 1000 } else { 2000 })
        });
        assert_eq!(
            lines[4..],
            ["500: Request to 10.0.2.2", "500: apply 10.0.2.15"]
        );
    }

    #[test]
    fn an_endless_lease_is_never_renewed() {
        let lines = run(4, |_, query, _| grant(query, u32::MAX));
        assert_eq!(lines[3], "0: wait None");
    }

    /// A transaction has one number, the next one another, and each says how long it has lasted.
    #[test]
    fn transactions_are_numbered_and_timed() {
        let mut seen = Vec::new();
        run(5, |second, query, _| {
            seen.push((query.kind, query.xid, query.secs));
            if second < 3 { None } else { grant(query, 1000) }
        });
        assert_eq!(
            seen,
            [
                (Kind::Discover, 8, 0),
                (Kind::Discover, 9, 1),
                (Kind::Discover, 10, 3),
                (Kind::Request, 10, 3),
            ]
        );
    }

    #[test]
    fn an_offer_without_a_server_and_an_offer_for_a_renewal_are_passed_over() {
        let now = Duration::ZERO;
        let mut keeper = Keeper::new(MAC, String::new(), 0, now);
        let Action::Broadcast { query, .. } = keeper.next(now, None) else {
            panic!()
        };
        let mut offer = reply(Kind::Offer, SERVER, 1000).unwrap();
        assert!(keeper.awaits(&offer));
        offer.server = None;
        assert!(!keeper.awaits(&offer));
        let Action::Broadcast { .. } = keeper.next(now, grant(&query, 1000)) else {
            panic!()
        };
        assert!(!keeper.awaits(&reply(Kind::Offer, SERVER, 1000).unwrap()));
        assert!(keeper.awaits(&reply(Kind::Nak, SERVER, 1000).unwrap()));
    }
}
