//! What becomes of one datagram. Answered from memory it leaves with the worker's turn; a reply that has to
//! wait, for a look-up or until its announce is recorded, is handed over to the thread that sends late
//! replies.

use std::sync::Arc;

use arc_swap::ArcSwap;
use contract::InfoHash;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use super::batch::Turn;
use super::connection_id::ConnectionIds;
use super::packet::{self, AnnounceForm, AnnounceRequest, MAX_SCRAPE, Request, ScrapeRequest};
use super::reading::{self, Policy};
use super::unanswered::{Call, Caller, Desk, UrlData};
use super::url_data;
use crate::announce::{Refusal, Scrape};
use crate::frontend::metrics::{Action, Dropped};
use crate::pipeline::{Pending, Pipeline, Progress, Unrecorded};
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
        let outcome = match reading::announce(request, url.as_deref(), caller.ip, turn.policy) {
            Ok(announce) => {
                match self.pipeline.start(announce, turn.rules, caller.received, &mut turn.tools.rng) {
                    Progress::Done(outcome) => outcome,
                    Progress::Pending(pending) => return self.finish(call, pending, turn),
                }
            }
            Err(refusal) => Err(refusal),
        };
        turn.answer(&call, |out| call.write_announce(out, &outcome));
    }

    fn finish(self: &Arc<Self>, call: Call, pending: Pending, turn: &mut Turn<'_>) {
        match pending {
            Pending::Record(unrecorded) => self.record(call, unrecorded, turn.rules),
            Pending::LookUp(undecided) => {
                let (frontend, rules) = (self.clone(), turn.rules.clone());
                let look_up = async move {
                    match frontend.pipeline.look_up(undecided, &rules).await {
                        Progress::Done(outcome) => {
                            frontend.desk.answer_later(&call, |out| call.write_announce(out, &outcome));
                        }
                        Progress::Pending(unrecorded) => frontend.record(call, unrecorded, &rules),
                    }
                };
                self.look_up(call, look_up, turn);
            }
        }
    }

    /// Leaves a reply with the recorder, which has it sent once its announce is recorded.
    fn record(&self, call: Call, unrecorded: Unrecorded, rules: &Rulebook) {
        let desk = self.desk.clone();
        unrecorded.submit(rules, move |outcome| {
            desk.answer_later(&call, |out| call.write_announce(out, &outcome));
        });
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
        match self.pipeline.start_scrape(scrape, turn.rules) {
            Progress::Done(outcome) => turn.answer(&call, |out| call.write_scrape(out, &outcome)),
            Progress::Pending(undecided) => {
                let (frontend, rules) = (self.clone(), turn.rules.clone());
                let look_up = async move {
                    let outcome = frontend.pipeline.finish_scrape(undecided, &rules).await;
                    frontend.desk.answer_later(&call, |out| call.write_scrape(out, &outcome));
                };
                self.look_up(call, look_up, turn);
            }
        }
    }

    /// Has something looked up and the request answered then, on the main runtime, if it is not too much at
    /// a time.
    fn look_up(&self, call: Call, look_up: impl Future<Output = ()> + Send + 'static, turn: &mut Turn<'_>) {
        let Ok(permit) = self.look_ups.clone().try_acquire_owned() else {
            return turn.answer(&call, |out| call.write_refusal(out, &Refusal::for_now(BUSY)));
        };
        self.runtime.spawn(async move {
            look_up.await;
            drop(permit);
        });
    }
}
