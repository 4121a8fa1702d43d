//! What every long-running Seedbook program needs around its work: its beginning and end, logs, signals, the
//! admin listener, profiles, metrics, Redis links, open files, the provider of TLS.

pub mod admin;
pub mod logs;
pub mod metrics;
pub mod open_files;
pub mod profile;
pub mod program;
pub mod redis;
pub mod signals;
pub mod tls;
