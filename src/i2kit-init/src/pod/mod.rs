//! The Pod: its containers started, supervised, restarted and stopped.

pub mod backoff;
pub mod claims;
pub mod copy;
pub mod folders;
pub mod logs;
pub mod namespace;
pub mod sub_path;
pub mod supervise;
pub mod values;
pub mod volumes;
