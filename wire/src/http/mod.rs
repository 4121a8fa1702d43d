//! Announce and scrape over HTTP (BEP 3, 7, 23, 24, 31, 48): [`request`] writes the queries of clients and
//! [`query`] reads them; [`reply`] writes the bodies of trackers and [`answer`] reads them. Heads and
//! connections are not its matter.

pub mod answer;
pub mod query;
pub mod reply;
pub mod request;

/// How the client wants its peers written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PeerForm {
    /// 6- and 18-byte strings (BEP 23, BEP 7).
    Compact,
    /// A list of dictionaries with `peer id`, `ip`, `port` (BEP 3).
    List,
    /// The same without `peer id`.
    ListWithoutIds,
}

/// When a refused client should try again (BEP 31).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryIn {
    /// The client may come back after so many minutes.
    Minutes(u64),
    /// The client must not come back.
    Never,
}
