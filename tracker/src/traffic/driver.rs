//! The recorder's task: carries the machine's actions out with tokio, Redis and the spool's disk, and tells
//! the machine how they ended. Nothing is decided here.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};

use super::machine::{Action, Call, Heritage, Input, RecorderMachine, Submission};
use super::notices::Notices;
use super::recorder::Recorded;
use super::sender::RedisSender;
use super::spool::{DiskRequest, DiskResult, Spool, Told};

/// Runs until nobody reports any more and the machine has ended. The spool is taken when the recorder before
/// has finished, because what that one holds is older.
pub(super) async fn run(mut sender: RedisSender, mut work: Work) {
    let spool = work.spool.clone();
    let _turn = match &spool {
        Some(spool) => spool.turn().await,
        None => None,
    };
    if let Some(told) = spool.as_ref().and_then(|spool| spool.told()) {
        work.machine.go_on_from(told, Instant::now());
    }
    work.machine.handle(Input::Begin, Instant::now());
    while let Some(call) = work.until_next_call().await
        && let Some(answer) = work.until(sender.send(&call)).await
    {
        work.machine.handle(Input::Answered { call: call.number, answer }, Instant::now());
    }
    work.leave().await;
    if let Some(spool) = spool {
        work.notices.ended(&spool);
    }
}

/// Where the next recorder waits for what this one leaves.
pub(super) type Heir = Arc<Mutex<Option<oneshot::Sender<Heritage>>>>;

/// The machine, and everything around it but the way to Redis.
pub(super) struct Work {
    pub(super) machine: RecorderMachine<Recorded>,
    pub(super) queue: mpsc::Receiver<Submission<Recorded>>,
    pub(super) spool: Option<Arc<Spool>>,
    pub(super) notices: Notices,
    /// Reports on their way from the queue to the machine; kept for its memory.
    pub(super) taken: Vec<Submission<Recorded>>,
    pub(super) disk: Option<Pin<Box<dyn Future<Output = DiskResult> + Send>>>,
    /// What the recorder before leaves when it ends.
    pub(super) heritage: Option<oneshot::Receiver<Heritage>>,
    pub(super) heir: Heir,
}

impl Work {
    /// Goes on until the machine calls Redis; `None` when it has ended.
    async fn until_next_call(&mut self) -> Option<Call> {
        loop {
            if let Some(call) = self.carry_out() {
                return Some(call);
            }
            if self.machine.has_ended() {
                return None;
            }
            self.wait().await;
        }
    }

    /// Goes on until Redis has answered; `None` when the machine has ended before.
    async fn until<T>(&mut self, answer: impl Future<Output = T>) -> Option<T> {
        let mut answer = pin!(answer);
        loop {
            let second = self.carry_out();
            debug_assert!(second.is_none(), "the machine makes one call at a time");
            if self.machine.has_ended() {
                return None;
            }
            tokio::select! {
                biased;
                answer = &mut answer => return Some(answer),
                () = self.wait() => {}
            }
        }
    }

    /// Leaves the tail to the next recorder, with what the one before leaves to this one.
    async fn leave(&mut self) {
        let Some(heir) = self.heir.lock().take() else { return };
        if self.heritage.is_some()
            && let Some(left) = received(&mut self.heritage).await
        {
            self.machine.handle(Input::Heritage(left), Instant::now());
        }
        // An heir that has ended already needs nothing.
        heir.send(self.machine.leave()).ok();
    }

    /// Does what the machine says, up to its next call.
    fn carry_out(&mut self) -> Option<Call> {
        while let Some(action) = self.machine.poll() {
            match action {
                Action::Send(call) => return Some(call),
                Action::Disk(request) => self.ask_disk(request),
                Action::Answer { tokens, verdict } => {
                    tokens.into_iter().for_each(|recorded| recorded(verdict));
                }
                Action::Notice(notice) => self.notices.publish(notice),
            }
        }
        None
    }

    fn ask_disk(&mut self, request: DiskRequest) {
        // Without a spool the machine asks nothing of it.
        let told = self.machine.site_clock(Instant::now()).and_then(Told::now);
        self.disk = self.spool.clone().map(|spool| Box::pin(spool.carry_out(request, told)) as _);
    }

    /// Waits for the disk, the machine's time or reports, and tells the machine. May be dropped at any time.
    async fn wait(&mut self) {
        let Self { machine, queue, taken, disk, heritage, .. } = self;
        let (room, deadline) = (machine.room(), machine.deadline());
        tokio::select! {
            biased;
            result = finished(disk) => machine.handle(Input::Disk(result), Instant::now()),
            left = received(heritage) => {
                *heritage = None;
                if let Some(left) = left {
                    machine.handle(Input::Heritage(left), Instant::now());
                }
            }
            () = time(deadline), if deadline.is_some() => machine.handle(Input::Time, Instant::now()),
            count = queue.recv_many(taken, room), if room > 0 => {
                if count == 0 {
                    machine.handle(Input::Closed, Instant::now());
                } else {
                    self.notices.show_waiting(queue.len());
                    machine.handle(Input::Reports(taken), Instant::now());
                }
            }
        }
    }
}

/// What the recorder before leaves; `None` when it leaves nothing.
async fn received(heritage: &mut Option<oneshot::Receiver<Heritage>>) -> Option<Heritage> {
    match heritage {
        Some(heritage) => heritage.await.ok(),
        None => std::future::pending().await,
    }
}

async fn finished(disk: &mut Option<Pin<Box<dyn Future<Output = DiskResult> + Send>>>) -> DiskResult {
    match disk {
        Some(work) => {
            let result = work.await;
            *disk = None;
            result
        }
        None => std::future::pending().await,
    }
}

async fn time(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}
