//! Where answers are made and handed in, whoever has them ready: a worker, the recorder, a look-up.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::mpsc::{SyncSender, TrySendError};
use std::time::Instant;

use contract::AddressFamily;

use super::packet::{self, AnnounceForm};
use super::return_path::ReturnPath;
use super::url_data;
use crate::announce::{Counts, Refusal, Reply};
use crate::metrics::{Action, Dropped, UdpMetrics, Verdict};

/// Where answers are handed in: what outlives the worker's turn.
#[derive(Debug)]
pub(super) struct Desk {
    pub(super) late: SyncSender<LateReply>,
    pub(super) metrics: UdpMetrics,
}

/// A reply that is ready after its worker turned to others.
#[derive(Debug)]
pub(super) struct LateReply {
    pub(super) path: ReturnPath,
    pub(super) packet: Vec<u8>,
}

/// Who sent a packet, and when it came.
#[derive(Debug, Clone, Copy)]
pub(super) struct Caller {
    /// Where replies go.
    pub(super) from: ReturnPath,
    /// IPv4-mapped addresses mapped to IPv4.
    pub(super) ip: IpAddr,
    pub(super) received: Instant,
    pub(super) unix_secs: u64,
}

/// A request with a valid connection id, until it is answered.
#[derive(Debug, Clone, Copy)]
pub(super) struct Call {
    pub(super) caller: Caller,
    pub(super) transaction: u32,
    pub(super) form: AnnounceForm,
    pub(super) action: Action,
    pub(super) url_data: UrlData,
}

/// What became of the announce URL on its way here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum UrlData {
    Sent,
    /// The client does not know how, or has nothing to send.
    Absent,
    /// It has the very length at which some clients cut it.
    MaybeCut,
}

impl UrlData {
    pub(super) fn of(url: Option<&[u8]>) -> Self {
        match url {
            None => Self::Absent,
            Some(url) if url.len() == url_data::CUT_AT => Self::MaybeCut,
            Some(_) => Self::Sent,
        }
    }
}

impl Desk {
    /// Has a packet sent by the thread for late replies. Never waits.
    pub(super) fn send_later(&self, path: ReturnPath, packet: Vec<u8>) {
        match self.late.try_send(LateReply { path, packet }) {
            Ok(()) => {}
            // Disconnected only if that thread panicked.
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                self.metrics.drop_packets(Dropped::Overloaded, 1);
            }
        }
    }

    /// The reply to an accepted announce.
    pub(super) fn announced(&self, call: &Call, reply: &Reply) -> Vec<u8> {
        self.observe(call, Verdict::Accepted);
        let mut packet = Vec::with_capacity(512);
        packet::write_announce(&mut packet, call.form, call.transaction, reply);
        packet
    }

    /// The reply to a scrape.
    pub(super) fn counted(&self, call: &Call, outcome: Result<Vec<Counts>, Refusal>) -> Vec<u8> {
        let swarms = match outcome {
            Ok(swarms) => swarms,
            Err(refusal) => return self.refused(call, &refusal),
        };
        self.observe(call, Verdict::Accepted);
        let mut packet = Vec::with_capacity(8 + 12 * swarms.len());
        packet::write_scrape(&mut packet, call.transaction, &swarms);
        packet
    }

    /// The reply to a refused announce or scrape.
    pub(super) fn refused(&self, call: &Call, refusal: &Refusal) -> Vec<u8> {
        self.observe(call, Verdict::Refused);
        let mut packet = Vec::with_capacity(128);
        let text = match hint(call, refusal) {
            Some(hint) => Cow::Owned(format!("{}: {hint}", refusal.reason)),
            None => Cow::Borrowed(refusal.reason.as_ref()),
        };
        packet::write_error(&mut packet, call.transaction, &text);
        packet
    }

    fn observe(&self, call: &Call, verdict: Verdict) {
        let (family, took) = (AddressFamily::of(call.caller.ip), call.caller.received.elapsed());
        self.metrics.latency.observe(call.action, family, verdict, took);
    }
}

/// What a user can do whose client cannot send what a hook misses: no protocol error, but the client's own limit.
fn hint(call: &Call, refusal: &Refusal) -> Option<&'static str> {
    let misses = |word| refusal.reason.contains(word);
    match (call.action, call.url_data) {
        (Action::Announce, UrlData::Absent) if misses("missing") => {
            Some("use the http announce URL, or a client that sends URL data over udp (BEP 41)")
        }
        (Action::Announce, UrlData::MaybeCut) if misses("missing") || misses("invalid") => {
            Some("this client cuts long URLs over udp, use the http announce URL")
        }
        (Action::Scrape, _) if misses("missing") => Some("a scrape over udp cannot carry it, use http"),
        _ => None,
    }
}
