//! `run --timeline`: a boot drawn as bars over time, as `systemd-analyze plot` does.

use std::time::Duration;

use i2kit_contract::Status;

/// Pixels of a row, of the space left of the bars for names, and around all.
const ROW: u64 = 22;
const MARGIN: u64 = 16;
/// Width of all bars together, in pixels.
const WIDTH: u64 = 900;
/// Room for the words right of a bar.
const WORDS: u64 = 240;
/// The colour of what comes before the guest's first stage.
const BEFORE: &str = "#a0a0a0";
/// Most rows: a Pod with many containers that restart for hours is still a picture.
const MOST_ROWS: usize = 200;

/// What a boot's stages and containers have told, in order.
#[derive(Debug, Default)]
pub struct Timeline {
    rows: Vec<Row>,
    /// The kernel's start, in milliseconds after the machine's.
    kernel: u64,
    /// The last moment, in milliseconds after the kernel's start.
    end: u64,
}

#[derive(Debug)]
struct Row {
    name: String,
    kind: Kind,
    /// Milliseconds after the kernel's start.
    from: u64,
    /// None while it goes on.
    to: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Stage,
    Container,
    Mark,
}

impl Kind {
    /// The bar's colour.
    fn colour(self) -> &'static str {
        match self {
            Self::Stage => "#5b8dd6",
            Self::Container => "#5aa469",
            Self::Mark => "#c0504d",
        }
    }
}

impl Timeline {
    /// The guest tells, so long after the machine was started.
    pub fn hear(&mut self, status: &Status, since_start: Duration) {
        let now = u64::try_from(since_start.as_millis()).unwrap_or(u64::MAX);
        match status {
            Status::Stage { name, at_ms } => {
                self.at(*at_ms, now);
                self.end_stage(*at_ms);
                self.begin(name.clone(), Kind::Stage, *at_ms);
            }
            Status::Started {
                container,
                restart_count,
                at_ms,
            } => {
                self.at(*at_ms, now);
                let name = match restart_count {
                    0 => container.clone(),
                    count => format!("{container} ({count})"),
                };
                self.begin(name, Kind::Container, *at_ms);
            }
            Status::Exited { container, .. } => {
                let at = now.saturating_sub(self.kernel);
                self.end = self.end.max(at);
                self.end_container(container, at);
            }
            Status::Ready { ready: true, at_ms } => {
                self.at(*at_ms, now);
                self.begin("ready".into(), Kind::Mark, *at_ms);
            }
            Status::Ended { .. } | Status::Failed { .. } => {
                self.end = self.end.max(now.saturating_sub(self.kernel));
            }
            Status::Ready { .. } | Status::Event { .. } | Status::Learned(_) => {}
        }
    }

    fn at(&mut self, at_ms: u64, now: u64) {
        if self.rows.is_empty() {
            self.kernel = now.saturating_sub(at_ms);
        }
        self.end = self.end.max(at_ms);
    }

    fn begin(&mut self, name: String, kind: Kind, from: u64) {
        if self.rows.len() < MOST_ROWS {
            self.rows.push(Row {
                name,
                kind,
                from,
                to: None,
            });
        }
    }

    /// Stages follow one another.
    fn end_stage(&mut self, at: u64) {
        let mut rows = self.rows.iter_mut().rev();
        if let Some(row) = rows.find(|row| row.kind == Kind::Stage) {
            row.to = Some(at);
        }
    }

    fn end_container(&mut self, name: &str, at: u64) {
        let is_it = |row: &&mut Row| {
            let own = row.name.split(" (").next();
            row.kind == Kind::Container && row.to.is_none() && own == Some(name)
        };
        if let Some(row) = self.rows.iter_mut().rev().find(is_it) {
            row.to = Some(at);
        }
    }

    /// The picture.
    pub fn svg(&self) -> String {
        let scale = Scale(self.kernel.saturating_add(self.end).max(1));
        let height = (self.rows.len() as u64 + 3) * ROW + 2 * MARGIN;
        let mut out = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{}\" height=\"{height}\" \
             font-family=\"sans-serif\" font-size=\"13\">\n\
             <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n",
            WIDTH + WORDS + 2 * MARGIN,
        );
        out.extend(scale.ticks().map(|at| scale.line(at, height)));
        let bars = self.bars().into_iter().zip(0u64..);
        out.extend(bars.map(|(bar, row)| scale.bar(&bar, MARGIN + ROW / 2 + row * ROW)));
        out.push_str("</svg>\n");
        out
    }

    /// What comes before the first stage, then the rows, in milliseconds after the machine's start.
    fn bars(&self) -> Vec<Bar> {
        let shown = |at: u64| self.kernel.saturating_add(at);
        let first = self.rows.first().map_or(self.end, |row| row.from);
        let bar = |name: &str, colour, from, to| Bar {
            name: name.to_owned(),
            colour,
            from,
            to,
        };
        let before = [
            bar("firmware and loader", BEFORE, 0, self.kernel),
            bar("kernel", BEFORE, self.kernel, shown(first)),
        ];
        let rows = self.rows.iter().map(|row| {
            let to = match row.kind {
                Kind::Mark => row.from,
                _ => row.to.unwrap_or(self.end).max(row.from),
            };
            bar(&row.name, row.kind.colour(), shown(row.from), shown(to))
        });
        before.into_iter().chain(rows).collect()
    }
}

/// A bar of the picture.
struct Bar {
    name: String,
    colour: &'static str,
    from: u64,
    to: u64,
}

/// So many milliseconds are the picture's width.
#[derive(Clone, Copy)]
struct Scale(u64);

impl Scale {
    fn x(self, at: u64) -> u64 {
        MARGIN + at.saturating_mul(WIDTH) / self.0
    }

    /// Some ten moments at round distances.
    fn ticks(self) -> impl Iterator<Item = u64> {
        let steps = [10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 60_000];
        let step = steps.into_iter().find(|step| self.0 / step <= 12);
        let step = step.unwrap_or(self.0 / 10).max(1);
        let at = (0..=12u64).map(move |count| count.saturating_mul(step));
        at.take_while(move |at| *at <= self.0)
    }

    fn line(self, at: u64, height: u64) -> String {
        let (x, end) = (self.x(at), height - MARGIN);
        format!(
            "<line x1=\"{x}\" x2=\"{x}\" y1=\"{MARGIN}\" y2=\"{end}\" stroke=\"#dddddd\"/>\n\
             <text x=\"{x}\" y=\"{MARGIN}\" fill=\"#777777\">{} s</text>\n",
            at as f64 / 1000.0,
        )
    }

    fn bar(self, bar: &Bar, y: u64) -> String {
        let Bar {
            name,
            colour,
            from,
            to,
        } = bar;
        let (x, width) = (
            self.x(*from),
            self.x(*to).saturating_sub(self.x(*from)).max(2),
        );
        let words = match to.saturating_sub(*from) {
            0 => format!("{name}, at {from} ms"),
            took => format!("{name}, {took} ms"),
        };
        format!(
            "<rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{}\" fill=\"{colour}\"/>\n\
             <text x=\"{}\" y=\"{}\">{}</text>\n",
            ROW - 6,
            x + width + 6,
            y + ROW - 9,
            escaped(&words),
        )
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timeline() -> Timeline {
        let mut timeline = Timeline::default();
        let stage = |name: &str, at_ms| Status::Stage {
            name: name.into(),
            at_ms,
        };
        let heard = [
            (stage("mounts", 400), 1400),
            (stage("pod", 900), 1900),
            (
                Status::Started {
                    container: "a<b".into(),
                    restart_count: 0,
                    at_ms: 1000,
                },
                2000,
            ),
            (
                Status::Ready {
                    ready: true,
                    at_ms: 1500,
                },
                2500,
            ),
            (
                Status::Exited {
                    container: "a<b".into(),
                    exit_code: 0,
                    oom_killed: false,
                    restart_in_ms: None,
                    message: None,
                },
                3000,
            ),
        ];
        for (status, at) in heard {
            timeline.hear(&status, Duration::from_millis(at));
        }
        timeline
    }

    #[test]
    fn every_stage_has_its_bar_and_its_time() {
        let svg = timeline().svg();
        for words in [
            "firmware and loader, 1000 ms",
            "kernel, 400 ms",
            "mounts, 500 ms",
            "pod, 1100 ms",
            "a&lt;b, 1000 ms",
            "ready, at 2500 ms",
            ">1 s</text>",
        ] {
            assert!(svg.contains(words), "no {words} in {svg}");
        }
        // The bar of `mounts`: 900 pixels are 3000 ms.
        assert!(
            svg.contains("<rect x=\"436\" y=\"71\" width=\"150\""),
            "{svg}"
        );
        assert_eq!(svg.matches("<rect").count(), 1 + 6);
    }

    #[test]
    fn a_boot_that_tells_nothing_or_without_end_is_still_a_picture() {
        assert!(Timeline::default().svg().ends_with("</svg>\n"));
        let mut long = Timeline::default();
        for restart_count in 0..1000 {
            let started = Status::Started {
                container: "c".into(),
                restart_count,
                at_ms: u64::MAX,
            };
            long.hear(&started, Duration::MAX);
        }
        assert!(long.svg().matches("<rect").count() < MOST_ROWS + 10);
    }
}
