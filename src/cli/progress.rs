//! Progress on standard error: bars on a terminal, plain lines elsewhere, events in JSON for a
//! program, nothing when quiet.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use serde_json::{Value, json};

use super::args::{ProgressArgs, ProgressMode};
use crate::pipeline::Progress;

/// Bytes between two progress events of one piece of work.
const EVENT_STEP: u64 = 4 << 20;

/// Watches the pipeline for the person, or for a program.
pub struct Terminal {
    bars: Option<MultiProgress>,
    shown: Shown,
    open: Mutex<BTreeMap<String, Open>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Shown {
    Bars,
    Lines,
    Events,
    Nothing,
}

/// A piece of work that goes on.
struct Open {
    bar: ProgressBar,
    what: String,
    total: u64,
    told: u64,
}

impl Terminal {
    pub fn new(arguments: ProgressArgs) -> Self {
        let is_terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
        let shown = match (arguments.quiet, arguments.progress) {
            (_, ProgressMode::Json) => Shown::Events,
            (true, _) | (_, ProgressMode::None) => Shown::Nothing,
            (_, ProgressMode::Auto) if is_terminal => Shown::Bars,
            _ => Shown::Lines,
        };
        let bars = (shown == Shown::Bars)
            .then(|| MultiProgress::with_draw_target(ProgressDrawTarget::stderr()));
        Self {
            bars,
            shown,
            open: Mutex::default(),
        }
    }

    fn event(&self, event: &Value) {
        if self.shown == Shown::Events {
            super::say(&event.to_string());
        }
    }

    fn bar(&self, what: String, total: u64) -> ProgressBar {
        let Some(bars) = &self.bars else {
            return ProgressBar::hidden();
        };
        let bar = bars.add(ProgressBar::new(total)).with_message(what);
        let template =
            "{msg:28} {bar:30} {binary_bytes:>11}/{binary_total_bytes:11} {binary_bytes_per_sec}";
        match ProgressStyle::with_template(template) {
            Ok(style) => bar.with_style(style),
            Err(_) => bar,
        }
    }

    /// A bar for the disk being written; what it answers takes bytes as they are done.
    pub fn writing(&self, path: &Path, total: u64) -> impl Fn(u64) + Sync + use<> {
        let bar = self.bar(format!("write {}", path.display()), total);
        move |bytes| bar.inc(bytes)
    }

    /// A bar for the cache being read; what it answers takes bytes as they are done.
    pub fn verifying(&self, total: u64) -> impl Fn(u64) + Sync + use<> {
        let bar = self.bar("verify the cache".to_owned(), total);
        move |bytes| bar.inc(bytes)
    }

    /// Removes all bars, so that the summary stands alone.
    pub fn clear(&self) {
        if let Some(bars) = &self.bars {
            // A terminal that is gone shows nothing anyway.
            let _ = bars.clear();
        }
    }
}

/// Watches bytes on their way to or from Amazon; of several regions together.
pub struct Transfer {
    terminal: Terminal,
    what: &'static str,
    moved: Mutex<(u64, u64)>,
    bar: Mutex<Option<ProgressBar>>,
}

impl Transfer {
    pub fn new(arguments: ProgressArgs, what: &'static str) -> Self {
        Self {
            terminal: Terminal::new(arguments),
            what,
            moved: Mutex::default(),
            bar: Mutex::default(),
        }
    }

    /// Removes the bar.
    pub fn clear(&self) {
        self.terminal.clear();
    }
}

impl crate::push::progress::Progress for Transfer {
    fn begin(&self, total_bytes: u64) {
        let mut moved = self.moved.lock().unwrap_or_else(PoisonError::into_inner);
        moved.1 += total_bytes;
        let (what, total) = (self.what, moved.1);
        self.terminal
            .event(&json!({"event": "begin", "what": what, "total": total}));
        let mut bar = self.bar.lock().unwrap_or_else(PoisonError::into_inner);
        match bar.as_ref() {
            Some(bar) => bar.set_length(total),
            None => *bar = Some(self.terminal.bar(what.to_owned(), total)),
        }
    }

    fn advance(&self, bytes: u64) {
        let mut moved = self.moved.lock().unwrap_or_else(PoisonError::into_inner);
        let before = moved.0;
        moved.0 += bytes;
        let (so_far, total) = *moved;
        if before / EVENT_STEP != so_far / EVENT_STEP {
            let event =
                json!({"event": "advance", "what": self.what, "bytes": so_far, "total": total});
            self.terminal.event(&event);
        }
        let bar = self.bar.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bar) = bar.as_ref() {
            bar.set_position(so_far);
        }
    }

    fn note(&self, text: &str) {
        if self.terminal.shown != Shown::Nothing {
            Progress::note(&self.terminal, text);
        }
    }
}

fn short(id: &str) -> &str {
    let hex = id.strip_prefix("sha256:").unwrap_or(id);
    hex.get(..12).unwrap_or(hex)
}

impl Progress for Terminal {
    fn begin(&self, id: &str, what: &str, total: u64) {
        self.event(&json!({"event": "begin", "what": what, "id": id, "total": total}));
        let what = format!("{what} {}", short(id));
        let bar = self.bar(what.clone(), total);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let begun = Open {
            bar,
            what,
            total,
            told: 0,
        };
        open.insert(id.to_owned(), begun);
    }

    fn advance(&self, id: &str, so_far: u64) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(one) = open.get_mut(id) else { return };
        one.bar.set_position(so_far);
        if so_far >= one.told + EVENT_STEP {
            one.told = so_far;
            let total = one.total;
            self.event(&json!({"event": "advance", "id": id, "bytes": so_far, "total": total}));
        }
    }

    fn note(&self, text: &str) {
        match (&self.bars, self.shown) {
            (_, Shown::Events) => self.event(&json!({"event": "note", "text": text})),
            (Some(bars), _) => bars.suspend(|| super::say(text)),
            (None, _) => super::say(text),
        }
    }

    fn finish(&self, id: &str, note: &str) {
        self.event(&json!({"event": "finish", "id": id, "how": note}));
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(one) = open.remove(id) {
            one.bar.finish_and_clear();
            if self.shown == Shown::Lines {
                super::say(&format!("{}: {note}", one.what));
            }
        }
    }
}
