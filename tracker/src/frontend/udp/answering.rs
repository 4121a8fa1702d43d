//! What becomes of one datagram. Answered from memory it goes into the worker's outbox at once; a reply that has to wait, for a
//! look-up or until its announce is recorded, is handed over to the thread that sends late replies.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, TrySendError};
use std::time::Instant;

use arc_swap::ArcSwap;
use contract::{AddressFamily, InfoHash};
use futures_util::FutureExt;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::connection_id::ConnectionIds;
use super::packet::{self, AnnounceForm, AnnounceRequest, MAX_SCRAPE, Request, ScrapeRequest};
use super::reading::{self, Policy};
use super::socket::Outbox;
use super::url_data;
use crate::announce::{Admitted, Counts, Refusal, Scrape};
use crate::metrics::{Action, Dropped, UdpMetrics, Verdict};
use crate::pipeline::{Pipeline, Step, not_recorded};
use crate::rulebook::Rulebook;

const BAD_CONNECTION_ID: &str = "bad connection ID";
const BUSY: &str = "too many requests wait to be checked; your client will try again";

/// What the UDP frontend needs to answer.
#[derive(Debug)]
pub struct Frontend {
    /// The line that every announce travels.
    pub pipeline: Arc<Pipeline>,
    /// How requests are read. A reload swaps it.
    pub policy: ArcSwap<Policy>,
    pub(super) ids: ConnectionIds,
    pub(super) desk: Arc<Desk>,
    /// Where look-ups run.
    pub(super) runtime: Handle,
    /// Look-ups under way at most.
    pub(super) look_ups: Arc<Semaphore>,
}

/// Where answers are handed in: what outlives the worker's turn.
#[derive(Debug)]
pub(super) struct Desk {
    pub(super) late: SyncSender<LateReply>,
    pub(super) metrics: UdpMetrics,
}

/// A reply that is ready after its worker turned to others.
#[derive(Debug)]
pub(super) struct LateReply {
    pub(super) to: SocketAddr,
    pub(super) packet: Vec<u8>,
}

/// The moment a batch of datagrams came in.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    pub(super) received: Instant,
    pub(super) unix_secs: u64,
}

/// A request with a valid connection id, until it is answered.
#[derive(Debug, Clone, Copy)]
struct Call {
    from: SocketAddr,
    transaction: u32,
    form: AnnounceForm,
    action: Action,
    received: Instant,
    url_data: UrlData,
}

/// What became of the announce URL on its way here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum UrlData {
    Sent,
    /// The client does not know how, or has nothing to send.
    Absent,
    /// It has the very length at which some clients cut it.
    MaybeCut,
}

impl UrlData {
    fn of(url: Option<&[u8]>) -> Self {
        match url {
            None => Self::Absent,
            Some(url) if url.len() == url_data::CUT_AT => Self::MaybeCut,
            Some(_) => Self::Sent,
        }
    }
}

impl Frontend {
    /// Answers one packet, into `replies` or later.
    pub(super) fn answer(
        self: &Arc<Self>,
        from: SocketAddr,
        packet: &[u8],
        at: Moment,
        policy: &Policy,
        replies: &mut Outbox,
    ) {
        let ip = from.ip().to_canonical();
        match packet::parse(packet) {
            Ok(Request::Connect { transaction }) => {
                self.desk.metrics.connects.inc();
                let id = self.ids.issue(ip, at.unix_secs);
                replies.add(from, |out| packet::write_connect(out, transaction, id));
            }
            Ok(Request::Announce(request)) if self.ids.accepts(request.connection, ip, at.unix_secs) => {
                self.announce(&request, from, at, policy, replies);
            }
            Ok(Request::Scrape(request)) if self.ids.accepts(request.connection, ip, at.unix_secs) => {
                self.scrape(&request, from, at, policy, replies);
            }
            Ok(
                Request::Announce(AnnounceRequest { transaction, .. })
                | Request::Scrape(ScrapeRequest { transaction, .. }),
            ) => {
                self.desk.metrics.drop_packets(Dropped::BadConnectionId, 1);
                // Smaller than any announce or scrape: a forged sender's victim gets less than the forger spent.
                replies.add(from, |out| packet::write_error(out, transaction, BAD_CONNECTION_ID));
            }
            Err(_malformed) => self.desk.metrics.drop_packets(Dropped::Malformed, 1),
        }
    }

    fn announce(
        self: &Arc<Self>,
        request: &AnnounceRequest<'_>,
        from: SocketAddr,
        at: Moment,
        policy: &Policy,
        replies: &mut Outbox,
    ) {
        let Ok(url) = url_data::collect(request.options) else {
            return self.desk.metrics.drop_packets(Dropped::Malformed, 1);
        };
        let call = Call {
            from,
            transaction: request.transaction,
            form: request.form,
            action: Action::Announce,
            received: at.received,
            url_data: UrlData::of(url.as_deref()),
        };
        if reading::event(request.event).is_none() {
            self.desk.metrics.unknown_events.inc();
        }
        let ip = from.ip().to_canonical();
        let step = match reading::announce(request, url.as_deref(), ip, policy) {
            Ok(announce) => self.pipeline.admit(self.pipeline.applicant(announce)),
            Err(refusal) => Step::Refused(refusal),
        };
        let packet = match step {
            Step::Admitted(admitted, rules) => self.admitted(call, admitted, &rules),
            Step::Refused(refusal) => Some(self.desk.refused(&call, &refusal)),
            Step::Waiting(..) => self.wait(call, step),
        };
        if let Some(packet) = packet {
            replies.add(from, |out| out.extend_from_slice(&packet));
        }
    }

    /// The reply to an admitted announce; `None` when it leaves once the announce is recorded.
    fn admitted(&self, call: Call, admitted: Admitted, rules: &Rulebook) -> Option<Vec<u8>> {
        let reply = self.pipeline.enter_swarm(&admitted);
        let mut packet = Vec::with_capacity(512);
        packet::write_announce(&mut packet, call.form, call.transaction, &reply);
        let Some((recorder, report)) = rules.report(admitted) else {
            self.desk.observe(&call, Verdict::Accepted);
            return Some(packet);
        };
        let desk = self.desk.clone();
        recorder.submit(
            report,
            Box::new(move |recorded| {
                let packet = match recorded {
                    Ok(()) => {
                        desk.observe(&call, Verdict::Accepted);
                        packet
                    }
                    Err(error) => desk.refused(&call, &not_recorded(error)),
                };
                desk.send_later(call.from, packet);
            }),
        );
        None
    }

    /// Takes a waiting announce through its look-ups on the main runtime.
    fn wait(self: &Arc<Self>, call: Call, step: Step) -> Option<Vec<u8>> {
        let Some(permit) = self.may_wait() else { return Some(self.desk.refused(&call, &busy())) };
        let frontend = self.clone();
        self.runtime.spawn(async move {
            let packet = match frontend.pipeline.passed(step).await {
                Ok((admitted, rules)) => frontend.admitted(call, admitted, &rules),
                Err(refusal) => Some(frontend.desk.refused(&call, &refusal)),
            };
            if let Some(packet) = packet {
                frontend.desk.send_later(call.from, packet);
            }
            drop(permit);
        });
        None
    }

    fn scrape(
        self: &Arc<Self>,
        request: &ScrapeRequest<'_>,
        from: SocketAddr,
        at: Moment,
        policy: &Policy,
        replies: &mut Outbox,
    ) {
        let most = policy.limits.max_scrape_infohashes.min(MAX_SCRAPE);
        let scrape = Scrape {
            info_hashes: request.info_hashes.iter().take(most).map(|hash| InfoHash(*hash)).collect(),
            ip: from.ip().to_canonical(),
            credential: None,
        };
        let call = Call {
            from,
            transaction: request.transaction,
            form: AnnounceForm::Standard,
            action: Action::Scrape,
            received: at.received,
            url_data: UrlData::Absent,
        };
        let pipeline = self.pipeline.clone();
        let mut counting = async move { pipeline.scrape(&scrape).await }.boxed();
        // Almost always ready at once: only a hook that has to look something up makes it wait.
        let packet = match (&mut counting).now_or_never() {
            Some(outcome) => self.desk.counted(&call, outcome),
            None => match self.may_wait() {
                None => self.desk.refused(&call, &busy()),
                Some(permit) => {
                    let desk = self.desk.clone();
                    self.runtime.spawn(async move {
                        let packet = desk.counted(&call, counting.await);
                        desk.send_later(call.from, packet);
                        drop(permit);
                    });
                    return;
                }
            },
        };
        replies.add(from, |out| out.extend_from_slice(&packet));
    }

    fn may_wait(&self) -> Option<OwnedSemaphorePermit> {
        self.look_ups.clone().try_acquire_owned().ok()
    }
}

impl Desk {
    fn send_later(&self, to: SocketAddr, packet: Vec<u8>) {
        match self.late.try_send(LateReply { to, packet }) {
            Ok(()) => {}
            // Gone when the grace period ended before the look-up did.
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                self.metrics.drop_packets(Dropped::Overloaded, 1);
            }
        }
    }

    fn counted(&self, call: &Call, outcome: Result<Vec<Counts>, Refusal>) -> Vec<u8> {
        let swarms = match outcome {
            Ok(swarms) => swarms,
            Err(refusal) => return self.refused(call, &refusal),
        };
        self.observe(call, Verdict::Accepted);
        let mut packet = Vec::with_capacity(8 + 12 * swarms.len());
        packet::write_scrape(&mut packet, call.transaction, &swarms);
        packet
    }

    fn refused(&self, call: &Call, refusal: &Refusal) -> Vec<u8> {
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
        let family = AddressFamily::of(call.from.ip().to_canonical());
        self.metrics.latency.observe(call.action, family, verdict, call.received.elapsed());
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

fn busy() -> Refusal {
    Refusal::for_now(BUSY)
}
