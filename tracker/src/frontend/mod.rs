//! Where clients come in. Each frontend parses its protocol into an [`crate::announce::Announce`] and writes
//! the reply back.

pub mod credentials;
pub mod http;
pub mod limits;
pub mod metrics;
pub mod route;
pub mod udp;
