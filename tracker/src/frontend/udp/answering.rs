//! What becomes of one datagram. Answered from memory it leaves with the worker's turn; a reply that has to
//! wait, for a look-up or until its announce is recorded, is handed over to the thread that sends late
//! replies.

use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;
use contract::InfoHash;
use futures_util::FutureExt;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::connection_id::ConnectionIds;
use super::desk::{Call, Caller, Desk, UrlData};
use super::packet::{self, AnnounceForm, AnnounceRequest, MAX_SCRAPE, Request, ScrapeRequest};
use super::reading::{self, Policy};
use super::turn::Turn;
use super::url_data;
use crate::announce::{Admitted, Refusal, Reply, Scrape};
use crate::metrics::{Action, Dropped};
use crate::pipeline::{Applicant, Pipeline, Step, not_recorded};
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
    /// Answers one packet, in this turn or later.
    pub(super) fn answer(self: &Arc<Self>, packet: &[u8], caller: Caller, turn: &mut Turn<'_>) {
        match packet::parse(packet) {
            Ok(Request::Connect { transaction }) => {
                self.desk.metrics.connects.inc();
                let id = self.ids.issue(caller.ip, caller.unix_secs);
                turn.tools.replies.add(caller.from, |out| packet::write_connect(out, transaction, id));
            }
            Ok(Request::Announce(request)) if self.knows(caller, request.connection) => {
                self.announce(&request, caller, turn);
            }
            Ok(Request::Scrape(request)) if self.knows(caller, request.connection) => {
                self.scrape(&request, caller, turn);
            }
            Ok(
                Request::Announce(AnnounceRequest { transaction, .. })
                | Request::Scrape(ScrapeRequest { transaction, .. }),
            ) => {
                self.desk.metrics.drop_packets(Dropped::BadConnectionId, 1);
                // Smaller than any announce or scrape: a forged sender's victim gets less than the forger
                // spent.
                let write = |out: &mut Vec<u8>| packet::write_error(out, transaction, BAD_CONNECTION_ID);
                turn.tools.replies.add(caller.from, write);
            }
            Err(_malformed) => self.desk.metrics.drop_packets(Dropped::Malformed, 1),
        }
    }

    fn knows(&self, caller: Caller, connection: u64) -> bool {
        self.ids.accepts(connection, caller.ip, caller.unix_secs)
    }

    fn announce(self: &Arc<Self>, request: &AnnounceRequest<'_>, caller: Caller, turn: &mut Turn<'_>) {
        let Ok(url) = url_data::collect(request.options) else {
            return self.desk.metrics.drop_packets(Dropped::Malformed, 1);
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
        let step = match reading::announce(request, url.as_deref(), caller.ip, turn.policy) {
            Ok(announce) => Applicant::new(announce, turn.rules).admit(turn.rules),
            Err(refusal) => Step::Refused(refusal),
        };
        match step {
            Step::Admitted(admitted) => self.admitted(call, admitted, turn),
            Step::Refused(refusal) => turn.answer(&call, |out| call.write_refusal(out, &refusal)),
            Step::Waiting(..) => self.wait(call, step, turn),
        }
    }

    fn admitted(&self, call: Call, admitted: Admitted, turn: &mut Turn<'_>) {
        let Caller { received, .. } = call.caller;
        let reply = self.pipeline.enter_swarm(&admitted, turn.rules, received, &mut turn.tools.rng);
        if let Some(reply) = self.unrecorded(call, admitted, reply, turn.rules) {
            turn.answer(&call, |out| call.write_reply(out, &reply));
        }
    }

    /// Has an announce recorded that must be, and answered then. Gives the reply back when it may leave at
    /// once.
    fn unrecorded(&self, call: Call, admitted: Admitted, reply: Reply, rules: &Rulebook) -> Option<Reply> {
        let Some((recorder, report)) = rules.report(admitted) else { return Some(reply) };
        let desk = self.desk.clone();
        let recorded = move |recorded: Result<(), RecordError>| {
            desk.answer_later(&call, |out| match recorded {
                Ok(()) => call.write_reply(out, &reply),
                Err(error) => call.write_refusal(out, &not_recorded(error)),
            });
        };
        recorder.submit(report, Box::new(recorded));
        None
    }

    /// Takes a waiting announce through its look-ups on the main runtime.
    fn wait(self: &Arc<Self>, call: Call, step: Step, turn: &mut Turn<'_>) {
        let Some(permit) = self.may_wait() else {
            return turn.answer(&call, |out| call.write_refusal(out, &busy()));
        };
        let (frontend, rules) = (self.clone(), turn.rules.clone());
        self.runtime.spawn(async move {
            match step.passed(&rules).await {
                Ok(admitted) => frontend.admitted_late(call, admitted, &rules),
                Err(refusal) => {
                    frontend.desk.answer_later(&call, |out| call.write_refusal(out, &refusal));
                }
            }
            drop(permit);
        });
    }

    fn admitted_late(&self, call: Call, admitted: Admitted, rules: &Rulebook) {
        let reply = self.pipeline.enter_swarm(&admitted, rules, Instant::now(), &mut rand::rng());
        if let Some(reply) = self.unrecorded(call, admitted, reply, rules) {
            self.desk.answer_later(&call, |out| call.write_reply(out, &reply));
        }
    }

    fn scrape(self: &Arc<Self>, request: &ScrapeRequest<'_>, caller: Caller, turn: &mut Turn<'_>) {
        let call = Call {
            caller,
            transaction: request.transaction,
            form: AnnounceForm::Standard,
            action: Action::Scrape,
            url_data: UrlData::Absent,
        };
        let most = turn.policy.limits.max_scrape_infohashes.min(MAX_SCRAPE);
        let info_hashes = request.info_hashes.iter().take(most).map(|hash| InfoHash(*hash)).collect();
        let scrape = Scrape { info_hashes, ip: caller.ip, credential: None };
        let pipeline = self.pipeline.clone();
        let mut counting = async move { pipeline.scrape(&scrape).await }.boxed();
        // Almost always ready at once: only a hook that has to look something up makes it wait.
        if let Some(outcome) = (&mut counting).now_or_never() {
            return turn.answer(&call, |out| call.write_counts(out, &outcome));
        }
        let Some(permit) = self.may_wait() else {
            return turn.answer(&call, |out| call.write_refusal(out, &busy()));
        };
        let desk = self.desk.clone();
        self.runtime.spawn(async move {
            let outcome = counting.await;
            desk.answer_later(&call, |out| call.write_counts(out, &outcome));
            drop(permit);
        });
    }

    fn may_wait(&self) -> Option<OwnedSemaphorePermit> {
        self.look_ups.clone().try_acquire_owned().ok()
    }
}

fn busy() -> Refusal {
    Refusal::for_now(BUSY)
}
