//! Follows one VM from its start to its end: what is shown, what is too late, what is known.

use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use i2kit_contract::Status;

use super::vm::{self, Message, Reader, Vm};
use super::{Accelerator, Ending, Error, Event, console, qmp};

/// How long a VM may take to show that it lives.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// From the start to the firmware's first byte on the serial console.
    pub(super) firmware: Duration,
    /// From there to the guest's first word.
    pub(super) guest: Duration,
}

impl Patience {
    /// Under KVM, firmware writes within a second, and a kernel gets to PID 1 within a few.
    pub(super) const KVM: Self = Self {
        firmware: Duration::from_secs(5),
        guest: Duration::from_secs(30),
    };
}

/// How long the start of a line waits for its end.
const LINE_PATIENCE: Duration = Duration::from_secs(1);

/// What EDK II's firmware writes about a boot option that it must not start, and when no option is
/// left. It then waits for a key that nobody presses.
const DENIED: [&str; 2] = ["Access Denied", "Security Violation"];
const NOTHING_BOOTS: &str = "BdsDxe: No bootable option or device was found.";

/// What a watch tells.
pub(super) enum Told<'a> {
    /// The first sign of life.
    Alive,
    Event(Event<'a>),
}

/// Follows one VM to its end.
pub(super) struct Watch {
    pub(super) vm: Vm,
    pub(super) seen: Seen,
    deadline: Option<Instant>,
    /// None trusts the VM.
    patience: Option<Patience>,
    /// Until when the next sign of life must be seen.
    probation: Option<Instant>,
    /// When the start of a line is shown without its end.
    unfinished: Option<Instant>,
    open: usize,
    filter: console::Filter,
    lines: console::Lines,
}

/// What is known of a VM.
#[derive(Debug, Default)]
pub(super) struct Seen {
    alive: bool,
    hung: bool,
    timed_out: bool,
    /// The signal that asked for an end.
    signal: Option<i32>,
    /// QMP's `ShutdownCause`.
    cause: Option<String>,
    any_status: bool,
    /// The firmware refused to start something.
    denied: bool,
    ending: Option<Ending>,
}

/// A VM whose guest has not said a word.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Lifeless {
    /// It had to be killed.
    pub(super) hung: bool,
    pub(super) reason: String,
}

impl Seen {
    /// Why KVM is taken not to work. Only a VM that nobody asked to stop and whose guest has not
    /// said a word can be lifeless: another one may have done something that must not be done twice.
    pub(super) fn lifeless(
        &self,
        accelerator: Accelerator,
        how: &str,
        words: &str,
    ) -> Option<Lifeless> {
        let is_trusted = accelerator == Accelerator::Tcg || self.any_status;
        // A guest that ends in order (a kernel that panics, say) would do so under TCG too.
        let has_ended = self.alive && self.cause.is_some();
        let is_over = self.timed_out || self.signal.is_some() || self.ending.is_some();
        if is_trusted || has_ended || is_over {
            return None;
        }
        let line = words.lines().next_back().map_or(how, str::trim);
        Some(Lifeless {
            hung: self.hung,
            reason: if self.hung {
                "the VM hangs before its guest says a word".into()
            } else {
                format!("QEMU ended: {line}")
            },
        })
    }

    /// QEMU was told not to reset the machine, and ends instead.
    pub(super) fn rebooted(&self) -> bool {
        self.cause.as_deref() == Some(qmp::GUEST_RESET)
    }

    pub(super) fn ending(self, how: String, words: String) -> Result<Ending, Error> {
        if self.timed_out {
            return Ok(Ending::TimedOut);
        }
        match (self.ending, self.signal, self.cause) {
            (Some(ending), _, _) => Ok(ending),
            (None, Some(signal), _) => Ok(Ending::Stopped(signal)),
            (None, None, Some(cause)) => Err(Error::NoStatus { cause }),
            (None, None, None) => Err(Error::Qemu { how, words }),
        }
    }
}

impl Watch {
    pub(super) fn new(
        vm: Vm,
        started: Instant,
        timeout: Option<Duration>,
        patience: Option<Patience>,
    ) -> Self {
        let after = |duration| started.checked_add(duration);
        Self {
            vm,
            deadline: timeout.and_then(after),
            probation: patience.and_then(|patience| after(patience.firmware)),
            patience,
            unfinished: None,
            open: vm::SOURCES,
            filter: console::Filter::default(),
            lines: console::Lines::default(),
            seen: Seen {
                alive: patience.is_none(),
                ..Seen::default()
            },
        }
    }

    pub(super) fn watch(&mut self, messages: &Receiver<Message>, tell: &mut dyn FnMut(Told<'_>)) {
        while self.open > 0 {
            match self.receive(messages) {
                Ok(message) => self.handle(message, tell),
                Err(RecvTimeoutError::Timeout) => self.overdue(tell),
                // Cannot be: the session holds a sender.
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        self.show_unfinished(tell);
    }

    fn receive(&self, messages: &Receiver<Message>) -> Result<Message, RecvTimeoutError> {
        let due = [self.deadline, self.probation, self.unfinished];
        match due.into_iter().flatten().min() {
            Some(instant) => {
                messages.recv_timeout(instant.saturating_duration_since(Instant::now()))
            }
            None => messages.recv().map_err(|_| RecvTimeoutError::Disconnected),
        }
    }

    fn overdue(&mut self, tell: &mut dyn FnMut(Told<'_>)) {
        let now = Instant::now();
        if self.unfinished.is_some_and(|instant| instant <= now) {
            self.show_unfinished(tell);
        }
        if self.deadline.is_some_and(|instant| instant <= now) {
            self.seen.timed_out = true;
            self.deadline = None;
        } else if self.probation.is_some_and(|instant| instant <= now) {
            self.seen.hung = true;
        } else {
            return;
        }
        self.probation = None;
        self.vm.kill();
    }

    fn handle(&mut self, message: Message, tell: &mut dyn FnMut(Told<'_>)) {
        match message {
            Message::Console(bytes) => {
                self.console(&bytes, tell);
                self.vm.handled(Reader::Console);
            }
            Message::Status(line) => {
                match line {
                    Ok(status) => self.status(status, tell),
                    Err(warning) => tell(Told::Event(Event::Warning(&format!(
                        "status port: {warning}"
                    )))),
                }
                self.vm.handled(Reader::Status);
            }
            Message::Monitor(report) => self.monitor(report),
            Message::Signal(signal) => self.signal(signal, tell),
            Message::Closed => self.open = self.open.saturating_sub(1),
        }
    }

    fn console(&mut self, bytes: &[u8], tell: &mut dyn FnMut(Told<'_>)) {
        if !self.seen.alive {
            self.seen.alive = true;
            self.probation = self
                .patience
                .map(|patience| Instant::now() + patience.guest);
            tell(Told::Alive);
        }
        let mut text = Vec::with_capacity(bytes.len());
        self.filter.push(bytes, &mut text);
        let whole = self.lines.push(&text);
        if !whole.is_empty() {
            self.unfinished = None;
            tell(Told::Event(Event::Console(&whole)));
            if !self.seen.any_status {
                self.firmware(&String::from_utf8_lossy(&whole));
            }
        }
        if self.lines.holds() && self.unfinished.is_none() {
            self.unfinished = Some(Instant::now() + LINE_PATIENCE);
        }
    }

    /// Ends a machine whose firmware boots nothing.
    fn firmware(&mut self, text: &str) {
        for line in text.lines().filter(|line| line.starts_with("BdsDxe: ")) {
            self.seen.denied |= DENIED.iter().any(|word| line.ends_with(word));
            if line.trim_end() == NOTHING_BOOTS && self.seen.ending.is_none() {
                let reason = if self.seen.denied {
                    "the firmware refuses the disk's UKI: it is not signed, was altered, or its \
                     variable store does not trust the key or forbids the UKI"
                } else {
                    "the firmware finds nothing to boot"
                };
                self.seen.ending = Some(Ending::Failed(reason.to_owned()));
                self.vm.kill();
            }
        }
    }

    fn show_unfinished(&mut self, tell: &mut dyn FnMut(Told<'_>)) {
        self.unfinished = None;
        let rest = self.lines.take_rest();
        if !rest.is_empty() {
            tell(Told::Event(Event::Console(&rest)));
        }
    }

    fn status(&mut self, status: Status, tell: &mut dyn FnMut(Told<'_>)) {
        self.seen.any_status = true;
        self.probation = None;
        tell(Told::Event(Event::Status(&status)));
        match status {
            Status::Ended { containers, reason } => {
                self.seen.ending = Some(Ending::Ended { containers, reason });
            }
            Status::Failed { reason } => self.seen.ending = Some(Ending::Failed(reason)),
            // A guest that still boots may have missed the button.
            Status::Stage { .. } | Status::Started { .. } if self.seen.signal.is_some() => {
                self.press_button()
            }
            Status::Stage { .. }
            | Status::Started { .. }
            | Status::Exited { .. }
            | Status::Ready { .. }
            | Status::Learned(_)
            | Status::Event { .. } => {}
        }
    }

    fn monitor(&mut self, report: qmp::Report) {
        match report {
            qmp::Report::Shutdown(cause) => self.seen.cause = Some(cause),
            qmp::Report::Stopped if self.seen.cause.is_none() => {
                // The accelerator failed: such a machine never runs again.
                self.seen.hung = true;
                if self.seen.any_status {
                    self.seen.cause = Some("its accelerator failed".into());
                }
                self.vm.kill();
            }
            qmp::Report::Stopped => {}
        }
    }

    /// The first signal presses the button, the second pulls the plug. Before the guest's first
    /// status there is nothing to end in order: no container runs.
    fn signal(&mut self, signal: i32, tell: &mut dyn FnMut(Told<'_>)) {
        let first = self.seen.signal.is_none();
        self.seen.signal = Some(signal);
        if first && self.seen.any_status {
            tell(Told::Event(Event::Stopping));
            self.press_button();
        } else {
            self.vm.kill();
        }
    }

    fn press_button(&mut self) {
        // Fails only when QEMU is gone, which its own message tells.
        let _ = self.vm.power_down();
    }
}
