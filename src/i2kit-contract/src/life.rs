//! A container's life: when it starts again, what watches it, what is called at its start and end.

use serde::{Deserialize, Serialize};

use crate::{Exec, HttpGet, Probe, RestartPolicy};

/// What happens to a container from its start to its end. The default is a container without
/// probes, hooks or terminal that restarts as its Pod says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Life {
    /// The container's own `restartPolicy`. [`RestartPolicy::Always`] makes an init container a
    /// sidecar.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restart_policy: Option<RestartPolicy>,
    /// `restartPolicyRules`; the first that matches comes before `restart_policy`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub restart_rules: Vec<RestartRule>,
    /// Ends the container when it fails.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub liveness_probe: Option<Probe>,
    /// Decides whether the container is ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub readiness_probe: Option<Probe>,
    /// Comes before the other two; ends the container when it fails.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub startup_probe: Option<Probe>,
    /// Called once the container's process was started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub post_start: Option<Hook>,
    /// Called before the stop signal is sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pre_stop: Option<Hook>,
    /// What the container leaves behind as its last words.
    #[serde(default)]
    pub termination_message: TerminationMessage,
    /// Standard input stays open instead of being empty. Nobody writes to it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stdin: bool,
    /// The process gets a terminal; both output streams are one then.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub tty: bool,
}

/// `restartPolicyRules`: a container that exits so is started again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RestartRule {
    /// Whether the exit code must be among `exit_codes` or must not.
    pub operator: ExitCodeOperator,
    /// At most 255 codes.
    pub exit_codes: Vec<u32>,
}

impl RestartRule {
    /// True when the rule is about this exit code.
    #[must_use]
    pub fn matches(&self, exit_code: u32) -> bool {
        let listed = self.exit_codes.contains(&exit_code);
        listed == (self.operator == ExitCodeOperator::In)
    }
}

/// How exit codes are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ExitCodeOperator {
    /// The code is in the list.
    In,
    /// The code is not in the list.
    NotIn,
}

/// What is called at a container's start or before its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Hook {
    /// A command in the container; it must exit with 0.
    Exec(Exec),
    /// A GET request; any answer is good, as for the kubelet.
    HttpGet(HttpGet),
    /// A pause.
    Sleep {
        /// Its length; 0 is none.
        seconds: u32,
    },
}

/// `terminationMessagePath` and `terminationMessagePolicy`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TerminationMessage {
    /// Absolute path in the container of the file that is read.
    pub path: String,
    /// What is taken when that file is empty.
    pub policy: MessagePolicy,
}

impl Default for TerminationMessage {
    fn default() -> Self {
        Self {
            path: "/dev/termination-log".into(),
            policy: MessagePolicy::File,
        }
    }
}

/// `terminationMessagePolicy`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum MessagePolicy {
    /// Only the file.
    #[default]
    File,
    /// The end of the container's log when the file is empty and the exit code not 0.
    FallbackToLogsOnError,
}
