//! What becomes of one datagram. Answered from memory it goes into the worker's outbox at once; a reply that has to wait, for a
//! look-up or until its announce is recorded, is handed over to the thread that sends late replies.

use std::sync::Arc;

use arc_swap::ArcSwap;
use contract::InfoHash;
use futures_util::FutureExt;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::connection_id::ConnectionIds;
use super::desk::{Call, Caller, Desk, UrlData};
use super::packet::{self, AnnounceForm, AnnounceRequest, MAX_SCRAPE, Request, ScrapeRequest};
use super::reading::{self, Policy};
use super::socket::Outbox;
use super::url_data;
use crate::announce::{Admitted, Refusal, Scrape};
use crate::metrics::{Action, Dropped};
use crate::pipeline::{Pipeline, Step, not_recorded};
use crate::rulebook::Rulebook;
use crate::traffic::RecordError;

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

impl Frontend {
    /// Answers one packet, into `replies` or later.
    pub(super) fn answer(
        self: &Arc<Self>,
        packet: &[u8],
        caller: Caller,
        policy: &Policy,
        replies: &mut Outbox,
    ) {
        let reply = match packet::parse(packet) {
            Ok(Request::Connect { transaction }) => {
                self.desk.metrics.connects.inc();
                let id = self.ids.issue(caller.ip, caller.unix_secs);
                return replies.add(caller.from, |out| packet::write_connect(out, transaction, id));
            }
            Ok(Request::Announce(request)) if self.knows(caller, request.connection) => {
                self.announce(&request, caller, policy)
            }
            Ok(Request::Scrape(request)) if self.knows(caller, request.connection) => {
                self.scrape(&request, caller, policy)
            }
            Ok(
                Request::Announce(AnnounceRequest { transaction, .. })
                | Request::Scrape(ScrapeRequest { transaction, .. }),
            ) => {
                self.desk.metrics.drop_packets(Dropped::BadConnectionId, 1);
                // Smaller than any announce or scrape: a forged sender's victim gets less than the forger spent.
                return replies
                    .add(caller.from, |out| packet::write_error(out, transaction, BAD_CONNECTION_ID));
            }
            Err(_malformed) => return self.desk.metrics.drop_packets(Dropped::Malformed, 1),
        };
        if let Some(reply) = reply {
            replies.add(caller.from, |out| out.extend_from_slice(&reply));
        }
    }

    fn knows(&self, caller: Caller, connection: u64) -> bool {
        self.ids.accepts(connection, caller.ip, caller.unix_secs)
    }

    /// The reply to an announce; `None` when it comes later or not at all.
    fn announce(
        self: &Arc<Self>,
        request: &AnnounceRequest<'_>,
        caller: Caller,
        policy: &Policy,
    ) -> Option<Vec<u8>> {
        let Ok(url) = url_data::collect(request.options) else {
            self.desk.metrics.drop_packets(Dropped::Malformed, 1);
            return None;
        };
        if reading::event(request.event).is_none() {
            self.desk.metrics.unknown_events.inc();
        }
        let call = Call {
            caller,
            transaction: request.transaction,
            form: request.form,
            action: Action::Announce,
            url_data: UrlData::of(url.as_deref()),
        };
        let step = match reading::announce(request, url.as_deref(), caller.ip, policy) {
            Ok(announce) => self.pipeline.admit(self.pipeline.applicant(announce)),
            Err(refusal) => Step::Refused(refusal),
        };
        match step {
            Step::Admitted(admitted, rules) => self.admitted(call, admitted, &rules),
            Step::Refused(refusal) => Some(self.desk.refused(&call, &refusal)),
            Step::Waiting(..) => self.wait(call, step),
        }
    }

    /// The reply to an admitted announce; `None` when it leaves once the announce is recorded.
    fn admitted(&self, call: Call, admitted: Admitted, rules: &Rulebook) -> Option<Vec<u8>> {
        let reply = self.pipeline.enter_swarm(&admitted, rules);
        let Some((recorder, report)) = rules.report(admitted) else {
            return Some(self.desk.announced(&call, &reply));
        };
        let desk = self.desk.clone();
        let recorded = move |recorded: Result<(), RecordError>| {
            let packet = match recorded {
                Ok(()) => desk.announced(&call, &reply),
                Err(error) => desk.refused(&call, &not_recorded(error)),
            };
            desk.send_later(call.caller.from, packet);
        };
        recorder.submit(report, Box::new(recorded));
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
                frontend.desk.send_later(call.caller.from, packet);
            }
            drop(permit);
        });
        None
    }

    /// The reply to a scrape; `None` when it comes later.
    fn scrape(
        self: &Arc<Self>,
        request: &ScrapeRequest<'_>,
        caller: Caller,
        policy: &Policy,
    ) -> Option<Vec<u8>> {
        let call = Call {
            caller,
            transaction: request.transaction,
            form: AnnounceForm::Standard,
            action: Action::Scrape,
            url_data: UrlData::Absent,
        };
        let most = policy.limits.max_scrape_infohashes.min(MAX_SCRAPE);
        let info_hashes = request.info_hashes.iter().take(most).map(|hash| InfoHash(*hash)).collect();
        let scrape = Scrape { info_hashes, ip: caller.ip, credential: None };
        let pipeline = self.pipeline.clone();
        let mut counting = async move { pipeline.scrape(&scrape).await }.boxed();
        // Almost always ready at once: only a hook that has to look something up makes it wait.
        if let Some(outcome) = (&mut counting).now_or_never() {
            return Some(self.desk.counted(&call, outcome));
        }
        let Some(permit) = self.may_wait() else { return Some(self.desk.refused(&call, &busy())) };
        let desk = self.desk.clone();
        self.runtime.spawn(async move {
            let packet = desk.counted(&call, counting.await);
            desk.send_later(caller.from, packet);
            drop(permit);
        });
        None
    }

    fn may_wait(&self) -> Option<OwnedSemaphorePermit> {
        self.look_ups.clone().try_acquire_owned().ok()
    }
}

fn busy() -> Refusal {
    Refusal::for_now(BUSY)
}
