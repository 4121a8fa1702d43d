//! One datagram becomes a reply. A reply from memory leaves with the batch. One that has to wait, for a
//! look-up on the main runtime or until the recorder has its announce, is a late reply: no worker ever waits,
//! and a recorded announce takes no task.

use std::sync::Arc;

use arc_swap::ArcSwap;
use contract::InfoHash;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use super::batch::Batch;
use super::connection_id::ConnectionIds;
use super::late_replies::LateReplies;
use super::packet::{self, AnnounceRequest, MAX_SCRAPE, Request, ScrapeRequest};
use super::reading::{self, Policy};
use super::unanswered::{Sender, Unanswered};
use super::url_data;
use crate::announce::{Refusal, Scrape};
use crate::frontend::metrics::{Dropped, UdpMetrics};
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
    pub(super) late: Arc<LateReplies>,
    pub(super) metrics: UdpMetrics,
    /// Where look-ups run.
    pub(super) runtime: Handle,
    /// Look-ups under way at most.
    pub(super) look_ups: Arc<Semaphore>,
}

impl Frontend {
    /// Answers one packet, with this batch or later.
    pub(super) fn answer(self: &Arc<Self>, packet: &[u8], sender: Sender, batch: &mut Batch<'_>) {
        match packet::parse(packet) {
            Ok(Request::Connect { transaction }) => {
                self.metrics.connects.inc();
                let id = self.ids.issue(sender.ip, sender.unix_secs);
                batch.workspace.replies.add(sender.path, |out| packet::write_connect(out, transaction, id));
            }
            Ok(Request::Announce(request)) if self.knows(sender, request.connection) => {
                self.announce(&request, sender, batch);
            }
            Ok(Request::Scrape(request)) if self.knows(sender, request.connection) => {
                self.scrape(&request, sender, batch);
            }
            Ok(
                Request::Announce(AnnounceRequest { transaction, .. })
                | Request::Scrape(ScrapeRequest { transaction, .. }),
            ) => {
                self.metrics.drop_packets(Dropped::BadConnectionId, 1);
                // Smaller than any announce or scrape: a forged sender's victim gets less than the forger
                // spent.
                let write = |out: &mut Vec<u8>| packet::write_error(out, transaction, BAD_CONNECTION_ID);
                batch.workspace.replies.add(sender.path, write);
            }
            Err(_malformed) => self.metrics.drop_packets(Dropped::Malformed, 1),
        }
    }

    fn knows(&self, sender: Sender, connection: u64) -> bool {
        self.ids.accepts(connection, sender.ip, sender.unix_secs)
    }

    fn announce(self: &Arc<Self>, request: &AnnounceRequest<'_>, sender: Sender, batch: &mut Batch<'_>) {
        let Ok(url) = url_data::collect(request.options) else {
            return self.metrics.drop_packets(Dropped::Malformed, 1);
        };
        if reading::event(request.event).is_none() {
            self.metrics.unknown_events.inc();
        }
        let unanswered = Unanswered::announce(request, sender, url.as_deref());
        let outcome = match reading::announce(request, url.as_deref(), sender.arrival(), batch.policy) {
            Ok(announce) => {
                match self.pipeline.start(announce, batch.rules, sender.received, &mut batch.workspace.rng) {
                    Progress::Done(outcome) => outcome,
                    Progress::Pending(pending) => return self.finish(unanswered, pending, batch),
                }
            }
            Err(refusal) => Err(refusal),
        };
        batch.answer(&unanswered, |out| unanswered.write_announce(out, &outcome));
    }

    fn finish(self: &Arc<Self>, unanswered: Unanswered, pending: Pending, batch: &mut Batch<'_>) {
        match pending {
            Pending::Record(unrecorded) => self.record(unanswered, unrecorded, batch.rules),
            Pending::LookUp(undecided) => {
                let (frontend, rules) = (self.clone(), batch.rules.clone());
                let look_up = async move {
                    match frontend.pipeline.look_up(undecided, &rules).await {
                        Progress::Done(outcome) => {
                            frontend.late.answer(&unanswered, |out| unanswered.write_announce(out, &outcome));
                        }
                        Progress::Pending(unrecorded) => frontend.record(unanswered, unrecorded, &rules),
                    }
                };
                self.look_up(unanswered, look_up, batch);
            }
        }
    }

    /// Leaves a reply with the recorder, which has it sent once its announce is recorded.
    fn record(&self, unanswered: Unanswered, unrecorded: Unrecorded, rules: &Rulebook) {
        let late = self.late.clone();
        unrecorded.submit(rules, move |outcome| {
            late.answer(&unanswered, |out| unanswered.write_announce(out, &outcome));
        });
    }

    fn scrape(self: &Arc<Self>, request: &ScrapeRequest<'_>, sender: Sender, batch: &mut Batch<'_>) {
        let unanswered = Unanswered::scrape(request, sender);
        let most = batch.policy.limits.max_scrape_infohashes.min(MAX_SCRAPE);
        let info_hashes = request.info_hashes.iter().take(most).map(|hash| InfoHash(*hash)).collect();
        let scrape = Scrape { info_hashes, ip: sender.ip, credential: None };
        match self.pipeline.start_scrape(scrape, batch.rules) {
            Progress::Done(outcome) => {
                batch.answer(&unanswered, |out| unanswered.write_scrape(out, &outcome));
            }
            Progress::Pending(undecided) => {
                let (frontend, rules) = (self.clone(), batch.rules.clone());
                let look_up = async move {
                    let outcome = frontend.pipeline.finish_scrape(undecided, &rules).await;
                    frontend.late.answer(&unanswered, |out| unanswered.write_scrape(out, &outcome));
                };
                self.look_up(unanswered, look_up, batch);
            }
        }
    }

    /// Has something looked up and the request answered then, on the main runtime, if it is not too much at
    /// a time.
    fn look_up(
        &self,
        unanswered: Unanswered,
        look_up: impl Future<Output = ()> + Send + 'static,
        batch: &mut Batch<'_>,
    ) {
        let Ok(permit) = self.look_ups.clone().try_acquire_owned() else {
            return batch.answer(&unanswered, |out| unanswered.write_refusal(out, &Refusal::for_now(BUSY)));
        };
        self.runtime.spawn(async move {
            look_up.await;
            drop(permit);
        });
    }
}
