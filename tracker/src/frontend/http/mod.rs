//! Announce and scrape over HTTP (BEP 3, 7, 23, 24, 31, 48): plain, over TLS, or from a proxy through a Unix
//! socket.

mod connection;
mod deadline;
mod listener;
mod origin;
mod pulse;
pub mod query;
pub mod reply;
mod respond;
mod server;
mod stream;
mod tls;

pub use connection::Keepalive;
pub use deadline::Timeouts;
pub use origin::{Origin, ProxyRules, network};
pub use respond::{Frontend, Policy, Scheme};
pub use server::{Endpoint, Server, Settings};
pub use tls::CertificateSource;
