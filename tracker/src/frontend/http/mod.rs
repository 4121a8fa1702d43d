//! Announce and scrape over HTTP (BEP 3, 7, 23, 24, 31, 48).

mod origin;
pub mod query;
pub mod reply;
mod server;

pub use origin::{ProxyRules, TrustedNetwork};
pub use server::{Frontend, Keepalive, Policy, Settings, serve};
