//! Everything that reads what strangers (or operators) write, as functions of bytes. None may panic, whatever
//! comes; and what can be written again must come out as it was read.
//!
//! `scripts/fuzz` drives them with libFuzzer, `tests/corpus.rs` with the kept inputs and a few thousand
//! changes of those.

mod configuration;
mod credentials;
mod forwarders;
mod http;
mod messages;
mod sharing;
mod snapshots;
mod stream;
mod udp;

/// One thing that is fuzzed.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Also the name of its folder in `fuzz/corpus`.
    pub name: &'static str,
    /// Panics when something is wrong.
    pub run: fn(&[u8]),
}

/// All of them.
pub const TARGETS: &[Target] = &[
    Target { name: "announce_query", run: http::announce_query },
    Target { name: "bencode", run: messages::bencode },
    Target { name: "consumer_config", run: configuration::consumer },
    Target { name: "forwarder_list", run: forwarders::list },
    Target { name: "forwarder_packet", run: forwarders::packet },
    Target { name: "forwarder_reply", run: forwarders::reply },
    Target { name: "http_path", run: http::path },
    Target { name: "jwt", run: credentials::jwt },
    Target { name: "scrape_query", run: http::scrape_query },
    Target { name: "sealed_credential", run: credentials::sealed },
    Target { name: "tracker_config", run: configuration::tracker },
    Target { name: "shared_visits", run: sharing::visits },
    Target { name: "session_claims", run: snapshots::session },
    Target { name: "session_snapshot", run: snapshots::snapshot },
    Target { name: "stream_reply", run: stream::reply },
    Target { name: "traffic_event", run: messages::traffic_event },
    Target { name: "udp_request", run: udp::request },
    Target { name: "udp_response", run: udp::response },
];

/// The target of that name.
#[must_use]
pub fn target(name: &str) -> Option<Target> {
    TARGETS.iter().find(|target| target.name == name).copied()
}
