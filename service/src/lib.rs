//! What every long-running Seedbook program needs around its work: logs, signals, the admin listener, Redis links.

pub mod admin;
pub mod logs;
pub mod redis;
pub mod signals;
