//! What happens, told once to people and to programs: a line on the console and one on the status
//! port. The words are those of Kubernetes' events.

use std::fmt::{self, Write};

use i2kit_contract::{Level, Status};

use crate::{console::Console, report::Report};

/// Longer messages are cut: parts of them are what containers say.
const LONGEST: usize = 1024;

/// Where events go; clones share the ways.
#[derive(Clone)]
pub struct Events {
    console: Console,
    report: Report,
}

impl Events {
    /// Events go to both.
    pub fn new(console: Console, report: Report) -> Self {
        Self { console, report }
    }

    /// Tells of a container.
    pub fn tell(&self, level: Level, reason: &str, container: &str, message: impl fmt::Display) {
        self.send(level, reason, Some(container), &one_line(message));
    }

    /// Tells of the Pod.
    pub fn tell_pod(&self, level: Level, reason: &str, message: impl fmt::Display) {
        self.send(level, reason, None, &one_line(message));
    }

    fn send(&self, level: Level, reason: &str, container: Option<&str>, message: &str) {
        self.show(level, reason, container, message);
        self.report.send(&Status::Event {
            level,
            reason: reason.to_owned(),
            container: container.map(str::to_owned),
            message: message.to_owned(),
        });
    }

    /// Shows an event on the console whose status line has a form of its own, and sends that.
    pub fn tell_as(
        &self,
        status: &Status,
        level: Level,
        reason: &str,
        container: Option<&str>,
        message: impl fmt::Display,
    ) {
        self.show(level, reason, container, &one_line(message));
        self.report.send(status);
    }

    fn show(&self, level: Level, reason: &str, container: Option<&str>, message: &str) {
        let mut about = String::from("pod");
        if let Some(name) = container {
            about = format!("container {name}");
        }
        self.console
            .say(format_args!("{level:?} {reason} {about}: {message}"));
    }
}

/// Without line breaks and other control characters, so that nobody forges lines, and bounded.
fn one_line(message: impl fmt::Display) -> String {
    let text = message.to_string();
    let mut line = String::new();
    for character in text.trim().chars() {
        if line.len() > LONGEST {
            line.push('…');
            break;
        }
        if character.is_control() {
            // Writing to a string cannot fail.
            let _ = write!(line, "{}", character.escape_default());
        } else {
            line.push(character);
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_one_line_whatever_a_container_says() {
        let forged = "oops\ni2kit: Normal Ready pod\r\u{1b}[2J";
        let line = one_line(forged);
        assert_eq!(line, "oops\\ni2kit: Normal Ready pod\\r\\u{1b}[2J");
        assert!(one_line("ä".repeat(1 << 20)).len() < LONGEST + 8);
    }
}
