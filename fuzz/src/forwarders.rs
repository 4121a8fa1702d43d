//! What other trackers answer, and the list of them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use tracker::forward::answer::{self, Answer, Failure, MAX_PEERS};
use tracker::forward::read_list;

/// An announce's reply over HTTP.
pub(crate) fn reply(input: &[u8]) {
    is_within_bounds(answer::read(input));
}

/// The same over UDP, from either family.
pub(crate) fn packet(input: &[u8]) {
    is_within_bounds(answer::read_packet(input, IpAddr::V4(Ipv4Addr::LOCALHOST)));
    is_within_bounds(answer::read_packet(input, IpAddr::V6(Ipv6Addr::LOCALHOST)));
}

/// The operator's list.
pub(crate) fn list(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    if let Err(problems) = read_list(text) {
        assert!(!problems.0.is_empty(), "refused without a reason");
    }
}

/// A stranger's list of peers takes no more room than we give it: that many of either family.
fn is_within_bounds(answer: Result<Answer, Failure>) {
    if let Ok(Answer::Peers(learned)) = answer {
        assert!(learned.peers.len() <= 2 * MAX_PEERS);
        assert!(learned.peers.iter().all(|peer| peer.port() != 0));
    }
}
