//! Answers as they are written, and where they are handed in by whoever has them ready after the worker's
//! turn: the recorder, a look-up.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::mpsc::{SyncSender, TrySendError};
use std::time::Instant;

use contract::AddressFamily;

use super::packet::{self, AnnounceForm};
use super::return_path::ReturnPath;
use super::url_data;
use crate::announce::{Refusal, Reply, ScrapeReply};
use crate::frontend::metrics::{Action, Dropped, UdpMetrics, Verdict};

/// Bytes of most replies: a header and 50 IPv4 peers.
const LATE_REPLY: usize = 320;

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

impl Call {
    /// The reply to an announce.
    pub(super) fn write_announce(&self, out: &mut Vec<u8>, outcome: &Result<Reply, Refusal>) -> Verdict {
        match outcome {
            Ok(reply) => {
                packet::write_announce(out, self.form, self.transaction, reply);
                Verdict::Accepted
            }
            Err(refusal) => self.write_refusal(out, refusal),
        }
    }

    /// The reply to a scrape.
    pub(super) fn write_scrape(&self, out: &mut Vec<u8>, outcome: &Result<ScrapeReply, Refusal>) -> Verdict {
        match outcome {
            Ok(reply) => {
                packet::write_scrape(out, self.transaction, &reply.counts);
                Verdict::Accepted
            }
            Err(refusal) => self.write_refusal(out, refusal),
        }
    }

    /// The reply to a refused announce or scrape.
    pub(super) fn write_refusal(&self, out: &mut Vec<u8>, refusal: &Refusal) -> Verdict {
        let text = match hint(self, refusal) {
            Some(hint) => Cow::Owned(format!("{}: {hint}", refusal.reason)),
            None => Cow::Borrowed(refusal.reason.as_ref()),
        };
        packet::write_error(out, self.transaction, &text);
        Verdict::Refused
    }
}

impl Desk {
    /// Has a reply sent, which `write` makes, by the thread for late replies. Never waits.
    pub(super) fn answer_later(&self, call: &Call, write: impl FnOnce(&mut Vec<u8>) -> Verdict) {
        let mut packet = Vec::with_capacity(LATE_REPLY);
        let verdict = write(&mut packet);
        let (family, took) = (AddressFamily::of(call.caller.ip), call.caller.received.elapsed());
        self.metrics.latency.observe(call.action, family, verdict, took);
        match self.late.try_send(LateReply { path: call.caller.from, packet }) {
            Ok(()) => {}
            // Disconnected only if that thread panicked.
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                self.metrics.drop_packets(Dropped::Overloaded, 1);
            }
        }
    }
}

/// What a user can do whose client cannot send what a hook misses: no protocol error, but the client's own
/// limit.
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
