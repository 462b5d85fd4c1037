//! Keeps the time: by the hypervisor's clock where it has one, else by NTP, from the configured
//! servers, those of DHCP, or EC2's. Without any of them the hardware's clock is left alone.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use crate::{
    config::imds,
    console::Console,
    fault::{Context, Fault},
    net::{dns, settings::Settings},
};

mod ntp;
mod ptp;

/// Amazon Time Sync, on every instance.
const EC2: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 123);
/// Between questions: short at first and after trouble, then longer.
const SHORTEST_POLL: Duration = Duration::from_secs(32);
const LONGEST_POLL: Duration = Duration::from_secs(1024);
/// Between tries that fail; doubled each time.
const FIRST_RETRY: Duration = Duration::from_secs(2);
/// RFC 5905: offsets beyond STEPT are stepped, others slewed, so that no clock runs backwards.
const STEP: f64 = 0.128;
/// RFC 5905: an offset beyond PANICT is an error of the server's, unless another answer agrees.
const PANIC: f64 = 1000.0;
/// 2026-01-01: it is later than that.
const LEAST: f64 = 1_767_225_600.0;
/// How many answers are asked for before a step; the quickest counts.
const BURST: usize = 4;

/// One reading of another clock.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// Seconds that our clock is behind.
    pub offset: f64,
    /// Seconds that the reading took.
    pub delay: f64,
}

/// Where the time comes from.
enum Source {
    Ptp(PathBuf),
    Ntp(Vec<String>),
}

/// Keeps the time from now on, in a thread. `configured` servers win over all others.
///
/// # Errors
/// No thread can be started.
pub fn start(configured: Vec<String>, settings: &Settings, console: &Console) -> Result<(), Fault> {
    let (settings, console) = (settings.clone(), console.clone());
    thread::Builder::new()
        .name("time".into())
        .spawn(move || keep(&configured, &settings, &console))
        .context("start", "the clock's thread")?;
    Ok(())
}

fn keep(configured: &[String], settings: &Settings, console: &Console) {
    let mut discipline = Discipline::default();
    let (mut poll, mut retry) = (SHORTEST_POLL, FIRST_RETRY);
    let mut told = Told::default();
    loop {
        let Some(source) = source(configured, settings) else {
            // A lease may bring servers later.
            thread::sleep(SHORTEST_POLL);
            continue;
        };
        let outcome = read(&source, discipline.needs_burst()).and_then(|(sample, name)| {
            let now = now();
            let action = discipline.decide(sample.offset, now);
            set(action, poll)?;
            told.action(console, action, &name);
            Ok(action)
        });
        if let Err(error) = outcome {
            told.error(console, &error);
            thread::sleep(retry);
            retry = (retry * 2).min(LONGEST_POLL);
            continue;
        }
        retry = FIRST_RETRY;
        poll = match outcome {
            Ok(Action::Slew(_)) => (poll * 2).min(LONGEST_POLL),
            _ => SHORTEST_POLL,
        };
        // A second answer decides about what one alone may not.
        thread::sleep(if discipline.waits() {
            FIRST_RETRY
        } else {
            poll
        });
    }
}

fn source(configured: &[String], settings: &Settings) -> Option<Source> {
    if !configured.is_empty() {
        return Some(Source::Ntp(configured.to_vec()));
    }
    if let Some(device) = ptp::find() {
        return Some(Source::Ptp(device));
    }
    let mut servers: Vec<String> = settings
        .time_servers()
        .iter()
        .map(ToString::to_string)
        .collect();
    if servers.is_empty() && imds::is_ec2() {
        servers.push(EC2.to_string());
    }
    (!servers.is_empty()).then_some(Source::Ntp(servers))
}

fn read(source: &Source, burst: bool) -> io::Result<(Sample, String)> {
    let servers = match source {
        Source::Ptp(device) => {
            return Ok((ptp::read(device)?, device.display().to_string()));
        }
        Source::Ntp(servers) => servers,
    };
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for name in servers {
        let addresses = match dns::resolve(name) {
            Ok(addresses) => addresses,
            Err(error) => {
                last = io::Error::other(format!("{name}: {error}"));
                continue;
            }
        };
        for address in addresses {
            match best(address, if burst { BURST } else { 1 }) {
                Ok(sample) => return Ok((sample, format!("NTP server {name}"))),
                Err(error) => last = io::Error::other(format!("NTP server {name}: {error}")),
            }
        }
    }
    Err(last)
}

/// The quickest of so many answers.
fn best(address: IpAddr, count: usize) -> Result<Sample, ntp::Error> {
    let server = SocketAddr::new(address, ntp::PORT);
    let mut best = ntp::ask(server)?;
    for _ in 1..count {
        match ntp::ask(server) {
            Ok(sample) if sample.delay < best.delay => best = sample,
            Ok(_) => {}
            // One good answer is enough.
            Err(_) => break,
        }
    }
    Ok(best)
}

fn now() -> f64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0.0, |since| since.as_secs_f64())
}

/// What is to be done with the clock.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Action {
    /// Set it forwards or backwards by so many seconds.
    Step(f64),
    /// Let it run faster or slower until it has made up for so many.
    Slew(f64),
    /// Ask again before anything is done.
    Wait,
}

/// What is believed.
#[derive(Default)]
struct Discipline {
    is_set: bool,
    /// An offset that waits for another one to agree with it.
    doubtful: Option<f64>,
}

impl Discipline {
    fn needs_burst(&self) -> bool {
        !self.is_set
    }

    fn waits(&self) -> bool {
        self.doubtful.is_some()
    }

    /// A clock that was never set may be off by years; later one answer alone makes no large step.
    fn decide(&mut self, offset: f64, now: f64) -> Action {
        let doubtful = self.doubtful.take();
        if now + offset < LEAST {
            self.doubtful = None;
            return Action::Wait;
        }
        let agrees = doubtful.is_some_and(|other| (other - offset).abs() < STEP);
        if self.is_set && offset.abs() > PANIC && !agrees {
            self.doubtful = Some(offset);
            return Action::Wait;
        }
        self.is_set = true;
        if offset.abs() > STEP {
            Action::Step(offset)
        } else {
            Action::Slew(offset)
        }
    }
}

fn set(action: Action, poll: Duration) -> io::Result<()> {
    // SAFETY: timex is plain data for which zeros are a valid value.
    let mut change: libc::timex = unsafe { std::mem::zeroed() };
    match action {
        Action::Wait => return Ok(()),
        Action::Step(offset) => {
            let whole = offset.floor();
            change.modes = libc::ADJ_SETOFFSET | libc::ADJ_NANO;
            change.time.tv_sec = integer(whole);
            // With ADJ_NANO, nanoseconds stand where microseconds did.
            change.time.tv_usec = integer((offset - whole) * 1e9);
        }
        Action::Slew(offset) => {
            // The kernel's loop learns the frequency, too (RFC 5905, appendix; adjtimex(2)), and
            // a clock that is synchronised is written to the hardware's.
            change.modes = libc::ADJ_OFFSET
                | libc::ADJ_STATUS
                | libc::ADJ_NANO
                | libc::ADJ_TIMECONST
                | libc::ADJ_MAXERROR
                | libc::ADJ_ESTERROR;
            change.status = libc::STA_PLL;
            change.offset = integer(offset * 1e9);
            change.constant = i64::from(poll.as_secs().max(16).ilog2()) - 4;
        }
    }
    // SAFETY: the call reads and writes one timex.
    if unsafe { libc::adjtimex(&raw mut change) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "it saturates; offsets are far smaller"
)]
fn integer(value: f64) -> i64 {
    value as i64
}

/// Keeps the console quiet: what is as before is not said again.
#[derive(Default)]
struct Told {
    source: Option<String>,
    error: Option<String>,
}

impl Told {
    fn action(&mut self, console: &Console, action: Action, name: &str) {
        self.error = None;
        match action {
            Action::Step(offset) => {
                console.say(format_args!("time: stepped by {offset:+.3} s, by {name}"));
            }
            Action::Slew(offset) if self.source.as_deref() != Some(name) => {
                console.say(format_args!("time: {offset:+.6} s off, kept by {name}"));
            }
            Action::Wait => {
                console.say(format_args!("time: {name} is far off: not believed yet"));
            }
            Action::Slew(_) => {}
        }
        self.source = Some(name.to_owned());
    }

    fn error(&mut self, console: &Console, error: &io::Error) {
        let text = error.to_string();
        if self.error.as_ref() != Some(&text) {
            console.say(format_args!("time: {text}"));
            self.error = Some(text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: f64 = 1_800_000_000.0;

    #[test]
    fn small_offsets_are_slewed_and_large_ones_stepped() {
        let mut clock = Discipline::default();
        assert!(clock.needs_burst());
        assert_eq!(clock.decide(0.1, NOW), Action::Slew(0.1));
        assert!(!clock.needs_burst());
        assert_eq!(clock.decide(-0.2, NOW), Action::Step(-0.2));
        // A clock that begins in 1970 is set at once.
        assert_eq!(Discipline::default().decide(NOW, 0.0), Action::Step(NOW));
    }

    #[test]
    fn one_answer_alone_makes_no_clock_jump_once_it_is_set() {
        let mut clock = Discipline::default();
        clock.decide(0.0, NOW);
        assert_eq!(clock.decide(5000.0, NOW), Action::Wait);
        assert!(clock.waits());
        assert_eq!(clock.decide(9000.0, NOW), Action::Wait);
        assert_eq!(clock.decide(9000.05, NOW), Action::Step(9000.05));
        assert!(!clock.waits());
        assert_eq!(clock.decide(5000.0, NOW), Action::Wait);
        assert_eq!(clock.decide(0.01, NOW), Action::Slew(0.01));
    }

    #[test]
    fn nobody_can_set_the_clock_to_the_past() {
        assert_eq!(
            Discipline::default().decide(LEAST - NOW - 1.0, NOW),
            Action::Wait
        );
        assert_eq!(Discipline::default().decide(-NOW * 2.0, NOW), Action::Wait);
    }
}
