//! The tracker: one announce travels from a socket through the hooks and the swarm to the recorder, and its
//! reply back.
//!
//! [`pipeline`] holds that line on one screen. See `ARCHITECTURE.md` for the rooms and the arrows between
//! them.

pub mod announce;
pub mod app;
pub mod arrival;
pub mod config;
pub mod fetch;
pub mod forward;
pub mod frontend;
pub mod hooks;
pub mod pipeline;
pub mod rulebook;
pub mod sharing;
pub mod swarm;
pub mod traffic;
