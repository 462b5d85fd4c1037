//! The Pod: its containers started, supervised, restarted and stopped.

pub mod backoff;
pub mod copy;
pub mod folders;
pub mod logs;
pub mod supervise;
