//! Books what a tracker that is gone left in its spool's folder: a recorder to which nobody reports, until
//! tail and spool are booked. Machine, script and files are those of the tracker that would be started there.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use prometheus::Registry;
use redis::RedisError;
use service::redis::Link;
use thiserror::Error;

use super::failure::SendFailure;
use super::machine::{Action, Input, Notice, RecorderMachine};
use super::recorder::{Setup, first_clock};
use super::reply::Outcome;
use super::script::RecordScript;
use super::sender::RedisSender;
use super::spool::{DiskRequest, DiskResult, OpenError, Spool, SpoolMetrics, Told};

/// What became of a spool's announces.
#[derive(Debug, Default)]
pub struct Replayed {
    /// Redis booked them now.
    pub booked: u64,
    /// Redis had booked them before.
    pub known: u64,
    /// Redis refuses them.
    pub refused: u64,
    /// Where refused ones are kept.
    pub aside: Vec<PathBuf>,
    /// The tail could not be read, or cannot be kept.
    pub tail_failed: Option<io::Error>,
    /// Announces that still wait.
    pub left: u64,
}

/// Why a spool is not booked to its end. What is left is as it was.
#[derive(Debug, Error)]
pub enum ReplayError {
    /// The URL cannot be read.
    #[error("{0}")]
    Url(#[from] RedisError),
    /// There is no folder to replay, or a tracker uses it.
    #[error("{0}")]
    Folder(#[from] OpenError),
    /// Its files cannot be read or written.
    #[error("{0}")]
    Disk(#[from] io::Error),
    /// Redis takes nothing.
    #[error("{0}")]
    Redis(SendFailure),
}

struct Replay<'a> {
    machine: RecorderMachine<()>,
    sender: RedisSender,
    spool: Arc<Spool>,
    replayed: Replayed,
    seen_to: &'a mut dyn FnMut(u64),
}

/// Books what lies in the folder of the setup's spool. `seen_to` is told how many announces Redis has seen to
/// so far.
///
/// # Errors
/// [`ReplayError`]; it may be tried again, and books nothing twice.
pub async fn replay(setup: &Setup, seen_to: &mut dyn FnMut(u64)) -> Result<Replayed, ReplayError> {
    let no_spool = || io::Error::other("no folder is named");
    let options = setup.spool.as_ref().ok_or_else(no_spool)?;
    // Nobody reads these: what they count is in the result.
    let metrics = SpoolMetrics::new(&Registry::new()).map_err(io::Error::other)?;
    let link = Link::new(&setup.redis, setup.timeouts)?;
    let spool = Spool::open(&options.directory, options.max_bytes, metrics)?;
    let script = RecordScript::new(RecordScript::random_tracker_id(), setup.rules.clone());
    let (id, clock) = (script.tracker_id().to_owned(), first_clock(Some(&spool)));
    let machine = RecorderMachine::new(id, setup.limits(), setup.rules.clone(), (clock, Instant::now()));
    spool.set_tail_limits(setup.tail);
    let sender = RedisSender::new(link, script, setup.wait_replicas, setup.timeouts);
    Replay { machine, sender, spool, replayed: Replayed::default(), seen_to }.run().await
}

impl Replay<'_> {
    /// Without clients the machine does one thing after the other.
    async fn run(mut self) -> Result<Replayed, ReplayError> {
        if let Some(told) = self.spool.told() {
            self.machine.go_on_from(told, Instant::now());
        }
        self.machine.handle(Input::Begin, Instant::now());
        while let Some(action) = self.machine.poll() {
            match action {
                Action::Send(call) => {
                    let answer = self.sender.send(&call).await;
                    self.machine.handle(Input::Answered { call: call.number, answer }, Instant::now());
                }
                Action::Disk(request) => self.ask_disk(request).await?,
                Action::Notice(notice) => self.note(notice)?,
                Action::Answer { .. } => {}
            }
        }
        self.replayed.left = self.spool.records();
        Ok(self.replayed)
    }

    async fn ask_disk(&mut self, request: DiskRequest) -> Result<(), ReplayError> {
        let told = self.machine.site_clock(Instant::now()).and_then(Told::now);
        match self.spool.clone().carry_out(request, told).await {
            DiskResult::Read(Err(error)) => return Err(error.into()),
            result => self.machine.handle(Input::Disk(result), Instant::now()),
        }
        Ok(())
    }

    fn note(&mut self, notice: Notice) -> Result<(), ReplayError> {
        let replayed = &mut self.replayed;
        match notice {
            Notice::Replayed(outcomes) => {
                outcomes.iter().for_each(|outcome| replayed.count(outcome));
                (self.seen_to)(replayed.booked + replayed.known + replayed.refused);
            }
            Notice::LeftSpool { file, .. } => replayed.aside.extend(file),
            Notice::TailFails(error) => replayed.tail_failed = Some(error),
            Notice::CannotSetAside(error) => return Err(error.into()),
            Notice::OutageBegan(failure) => return Err(ReplayError::Redis(failure)),
            _ => {}
        }
        Ok(())
    }
}

impl Replayed {
    fn count(&mut self, outcome: &Outcome) {
        *match outcome {
            Outcome::Booked => &mut self.booked,
            Outcome::Repeated => &mut self.known,
            _ => &mut self.refused,
        } += 1;
    }
}
