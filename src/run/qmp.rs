//! The little of QMP (QEMU's docs/interop/qmp-spec.rst) that a run needs.

use serde::Deserialize;

/// Leaves negotiation mode; no other command is taken before.
pub const CAPABILITIES: &[u8] = b"{\"execute\":\"qmp_capabilities\"}\n";
/// Presses the ACPI power button.
pub const POWER_DOWN: &[u8] = b"{\"execute\":\"system_powerdown\"}\n";

/// The `ShutdownCause` of a guest that reboots.
pub const GUEST_RESET: &str = "guest-reset";

/// What QEMU reports and a run acts on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    /// The machine ends; the word is QMP's `ShutdownCause`: `guest-shutdown`, `guest-reset`, …
    Shutdown(String),
    /// The virtual CPUs stand still. Nobody here asks for that: the accelerator failed.
    Stopped,
}

/// Reads one line of QMP; none when it says nothing to us.
#[must_use]
pub fn parse(line: &[u8]) -> Option<Report> {
    #[derive(Deserialize)]
    struct Line {
        event: String,
        #[serde(default)]
        data: Data,
    }
    #[derive(Default, Deserialize)]
    struct Data {
        reason: Option<String>,
    }
    let line: Line = serde_json::from_slice(line).ok()?;
    match line.event.as_str() {
        "SHUTDOWN" => Some(Report::Shutdown(
            line.data.reason.unwrap_or_else(|| "unknown".into()),
        )),
        "STOP" => Some(Report::Stopped),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_read_and_the_rest_is_passed_over() {
        let shutdown = br#"{"timestamp": {"seconds": 1, "microseconds": 2}, "event": "SHUTDOWN", "data": {"guest": true, "reason": "guest-reset"}}"#;
        assert_eq!(
            parse(shutdown),
            Some(Report::Shutdown("guest-reset".into()))
        );
        assert_eq!(parse(br#"{"event": "STOP"}"#), Some(Report::Stopped));
        assert_eq!(parse(br#"{"return": {}}"#), None);
        assert_eq!(
            parse(br#"{"QMP": {"version": {}, "capabilities": []}}"#),
            None
        );
        assert_eq!(parse(b"\xff{"), None);
    }
}
