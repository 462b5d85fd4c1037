//! The Pod: its containers' folders, output, probes and lives, and its state for others.

pub mod backoff;
pub mod board;
pub mod claims;
pub mod copy;
pub mod events;
pub mod evict;
pub mod exec;
pub mod folders;
pub mod hooks;
pub mod lifecycle;
pub mod logs;
pub mod message;
pub mod metrics;
pub mod namespace;
pub mod output;
pub mod probe;
pub mod serve;
pub mod state;
pub mod status;
pub mod sub_path;
pub mod supervise;
pub mod timestamp;
pub mod values;
pub mod volumes;
pub mod worker;
