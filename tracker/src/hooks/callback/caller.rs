//! The task that calls the site: one call per passkey at a time, so many calls at once, a bounded queue
//! behind them.

use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Instant;

use contract::Passkey;
use contract::config::ServiceUrl;
use hashbrown::HashMap;
use redis::RedisResult;
use service::redis::{Link, Timeouts};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinError, JoinSet};
use tracing::{info, warn};

use super::page::Failure;
use super::{Answers, ApprovalPage, Callback, Lifetimes, OnError, Opinion, Question, Unavailable};
use crate::hooks::metrics::SiteMetrics;

/// Questions on their way to the task.
const MAX_ASKING: usize = 4096;
/// Announces that wait for one passkey; a client that floods us with one is turned away.
const MAX_WAITING_PER_PASSKEY: usize = 256;
/// Passkeys that wait for their call, for each call that may run: with a site that takes a second for each,
/// the last waits eight.
const MAX_QUEUE_PER_CALL: usize = 8;

/// The site's page and the limits of calling it.
#[derive(Debug)]
pub struct Options {
    pub(crate) page: ApprovalPage,
    /// Calls in flight at one time, each about another passkey.
    pub max_calls: NonZeroUsize,
    /// How long the site's answers are remembered.
    pub lifetimes: Lifetimes,
    /// What counts while the site cannot be asked.
    pub on_error: OnError,
    pub(crate) metrics: SiteMetrics,
    /// The compatibility mode: approvals are written to the whitelist, which then expires as a whole.
    pub whitelist: Option<Whitelist>,
}

/// The set in Redis that approvals are written to, as the integration guide describes it.
#[derive(Debug, Clone)]
pub struct Whitelist {
    /// The Redis that holds it.
    pub redis: ServiceUrl,
    /// How long to wait for it.
    pub timeouts: Timeouts,
    /// The set, prefix included.
    pub set_key: String,
    /// Seconds after the last approval until the whole set is gone; 0: never.
    pub expire_secs: u64,
}

/// Starts the task. It ends when the [`Callback`] is dropped.
///
/// # Errors
/// When the whitelist's Redis URL cannot be read.
pub fn spawn(options: Options) -> RedisResult<Callback> {
    let answers = Arc::new(Answers::new(options.lifetimes));
    let (questions, asked) = mpsc::channel(MAX_ASKING);
    let link = options.whitelist.as_ref().map(|list| Link::new(&list.redis, list.timeouts)).transpose()?;
    let caller = Caller {
        page: Arc::new(options.page),
        max_calls: options.max_calls.get(),
        on_error: options.on_error,
        metrics: options.metrics,
        whitelist: options.whitelist.zip(link),
        answers: answers.clone(),
        calls: JoinSet::new(),
        queue: VecDeque::new(),
        waiting: HashMap::new(),
        complained: false,
    };
    tokio::spawn(caller.run(asked));
    Ok(Callback { answers, questions })
}

type Waiters = Vec<oneshot::Sender<Result<(), Unavailable>>>;
type Called = (Passkey, Result<Opinion, Failure>);

struct Caller {
    page: Arc<ApprovalPage>,
    max_calls: usize,
    on_error: OnError,
    metrics: SiteMetrics,
    whitelist: Option<(Whitelist, Link)>,
    answers: Arc<Answers>,
    calls: JoinSet<Called>,
    queue: VecDeque<Passkey>,
    /// Everybody who waits, by passkey: those in the queue and those being asked about.
    waiting: HashMap<Passkey, Waiters>,
    complained: bool,
}

impl Caller {
    async fn run(mut self, mut asked: mpsc::Receiver<Question>) {
        loop {
            tokio::select! {
                Some(called) = self.calls.join_next() => match called {
                    Ok(called) => self.finish(called).await,
                    Err(error) => self.give_up(&error),
                },
                question = asked.recv() => match question {
                    Some(question) => self.enqueue(question),
                    None => return,
                },
            }
            self.start_calls();
        }
    }

    fn enqueue(&mut self, Question { passkey, answered }: Question) {
        let is_full = self.queue.len() >= self.max_calls * MAX_QUEUE_PER_CALL;
        let refused = match self.waiting.get_mut(&passkey) {
            Some(waiters) if waiters.len() < MAX_WAITING_PER_PASSKEY => {
                waiters.push(answered);
                return;
            }
            // Somebody may have been answered while this question was on its way.
            None if self.answers.look(&passkey, Instant::now()).is_some() => Ok(()),
            None if !is_full => {
                self.waiting.insert(passkey, vec![answered]);
                self.queue.push_back(passkey);
                return;
            }
            _ => {
                self.metrics.overflowed.inc();
                self.without_the_site(&passkey)
            }
        };
        // Whoever hung up meanwhile needs no answer.
        answered.send(refused).ok();
    }

    fn start_calls(&mut self) {
        while self.calls.len() < self.max_calls
            && let Some(passkey) = self.queue.pop_front()
        {
            let (page, metrics) = (self.page.clone(), self.metrics.clone());
            self.calls.spawn(async move {
                let started = Instant::now();
                let answer = page.ask(&passkey).await;
                metrics.called(started.elapsed());
                (passkey, answer)
            });
        }
    }

    async fn finish(&mut self, (passkey, outcome): Called) {
        let known = match outcome {
            Ok(opinion) => {
                self.site_answers();
                match opinion {
                    Opinion::Approved(_) => {
                        self.metrics.approved.inc();
                        self.write_down(&passkey).await;
                    }
                    Opinion::Refused => self.metrics.refused.inc(),
                }
                self.answers.learn(passkey, opinion, Instant::now());
                Ok(())
            }
            Err(failure) => {
                self.metrics.failed.inc();
                self.complain(&failure);
                self.without_the_site(&passkey)
            }
        };
        for waiter in self.waiting.remove(&passkey).unwrap_or_default() {
            waiter.send(known).ok();
        }
    }

    fn without_the_site(&self, passkey: &Passkey) -> Result<(), Unavailable> {
        let stands = self.on_error == OnError::AllowKnown && self.answers.prolong(passkey, Instant::now());
        if stands { Ok(()) } else { Err(Unavailable) }
    }

    /// A call that panicked does not say whom it was about: everybody is told to come back.
    fn give_up(&mut self, error: &JoinError) {
        warn!(%error, "a call to the site ended without an answer");
        self.queue.clear();
        self.waiting.clear();
    }

    /// The compatibility mode's SADD and EXPIRE. An approval that cannot be written counts all the same.
    async fn write_down(&mut self, passkey: &Passkey) {
        let Some((list, link)) = &mut self.whitelist else { return };
        let mut pipeline = redis::pipe();
        pipeline.cmd("SADD").arg(&list.set_key).arg(passkey.reveal()).ignore();
        if list.expire_secs > 0 {
            pipeline.cmd("EXPIRE").arg(&list.set_key).arg(list.expire_secs).ignore();
        }
        // The link itself logs a Redis that is away, once per outage.
        let Ok(mut connection) = link.connection().await else { return };
        if let Err(error) = pipeline.exec_async(&mut connection).await {
            link.lost(&error);
        }
    }

    fn site_answers(&mut self) {
        if self.complained {
            info!("the site answers again: new users are approved");
        }
        self.complained = false;
    }

    /// Once per outage. The address is left out: operators put tokens in its query.
    fn complain(&mut self, failure: &Failure) {
        if !self.complained {
            warn!(error = %failure, "the site's approval page cannot be asked; users outside the whitelist wait");
        }
        self.complained = true;
    }
}
