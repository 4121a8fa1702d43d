//! Trackers that share their swarms through a real Redis: what one is told, all know.

#![allow(clippy::unwrap_used)]

#[allow(dead_code)] // Other tests use the rest.
#[path = "../udp_client/mod.rs"]
mod udp_client;

mod limits;
mod outage;
mod restart;
mod scene;
mod swarm;
