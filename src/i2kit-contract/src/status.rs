//! What the guest reports to a local host: one JSON object per line on the virtio-serial port.

use serde::{Deserialize, Serialize};

/// One status line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Status {
    /// A boot stage was reached.
    Stage {
        /// Stage name, as the guest's step table has it.
        name: String,
        /// Milliseconds since the kernel started (CLOCK_BOOTTIME).
        at_ms: u64,
    },
    /// A container's process was started.
    Started {
        /// Container name.
        container: String,
        /// 0 for the first start.
        restart_count: u32,
        /// Milliseconds since the kernel started.
        at_ms: u64,
    },
    /// A container's process ended.
    Exited {
        /// Container name.
        container: String,
        /// Exit code; 128 + signal when killed.
        exit_code: u32,
        /// True when the kernel killed it for its memory limit.
        oom_killed: bool,
        /// Milliseconds until the next start, if there is one.
        restart_in_ms: Option<u64>,
        /// The container's termination message.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        message: Option<String>,
    },
    /// The Pod has become ready, or is no longer.
    Ready {
        /// Every container is ready.
        ready: bool,
        /// Milliseconds since the kernel started.
        at_ms: u64,
    },
    /// Something worth telling happened, as in a cluster's events.
    Event {
        /// How bad it is.
        level: Level,
        /// One word for programs, as the kubelet has it: `Unhealthy`, `Killing`, ….
        reason: String,
        /// The container it is about; the Pod when there is none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        container: Option<String>,
        /// A line for people.
        message: String,
    },
    /// What a container has used so far, in a VM that learns.
    Learned(Learned),
    /// The Pod has ended and the VM powers off. Always the last line.
    Ended {
        /// The last exit code of each container that decides how the Pod ended, in the contract's
        /// order: an init container that failed, and the containers that were started. Sidecars
        /// do not count.
        containers: Vec<ContainerExit>,
        /// Why the Pod failed whatever the exit codes: `DeadlineExceeded`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// PID 1 cannot go on. Always the last line.
    Failed {
        /// One-line reason.
        reason: String,
    },
}

/// The two levels of Kubernetes' events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Level {
    /// As it should be.
    Normal,
    /// Somebody should look.
    Warning,
}

/// What a container has used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Learned {
    /// Container name.
    pub container: String,
    /// Numbers of the system calls it has made, ascending.
    pub system_calls: Vec<u32>,
    /// Capabilities such as `CAP_CHOWN` that the kernel has looked for, whether it had them or not.
    pub capabilities: Vec<String>,
    /// A 32-bit program has made system calls, whose numbers are not told.
    pub has_foreign_calls: bool,
    /// False when there was no room for all that was seen.
    pub is_complete: bool,
}

/// A container's last exit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ContainerExit {
    /// Container name.
    pub name: String,
    /// Exit code; 128 + signal when killed.
    pub exit_code: u32,
    /// The kernel killed it for its memory limit.
    pub oom_killed: bool,
}
