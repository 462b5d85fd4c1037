//! Progress on standard error: bars on a terminal, plain lines elsewhere, nothing when quiet.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::pipeline::Progress;

/// Watches the pipeline for the person.
pub struct Terminal {
    bars: Option<MultiProgress>,
    lines: bool,
    open: Mutex<BTreeMap<String, (ProgressBar, String)>>,
}

impl Terminal {
    pub fn new(quiet: bool) -> Self {
        let is_terminal = console_is_terminal();
        let bars = (is_terminal && !quiet)
            .then(|| MultiProgress::with_draw_target(ProgressDrawTarget::stderr()));
        Self {
            bars,
            lines: !is_terminal && !quiet,
            open: Mutex::default(),
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

fn console_is_terminal() -> bool {
    std::io::IsTerminal::is_terminal(&std::io::stderr())
}

fn short(id: &str) -> &str {
    let hex = id.strip_prefix("sha256:").unwrap_or(id);
    hex.get(..12).unwrap_or(hex)
}

impl Progress for Terminal {
    fn begin(&self, id: &str, what: &str, total: u64) {
        let what = format!("{what} {}", short(id));
        let bar = self.bar(what.clone(), total);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.insert(id.to_owned(), (bar, what));
    }

    fn advance(&self, id: &str, so_far: u64) {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((bar, _)) = open.get(id) {
            bar.set_position(so_far);
        }
    }

    fn finish(&self, id: &str, note: &str) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((bar, what)) = open.remove(id) {
            bar.finish_and_clear();
            if self.lines {
                super::say(&format!("{what}: {note}"));
            }
        }
    }
}
