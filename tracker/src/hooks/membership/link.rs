//! The task that asks Redis about members and hears when the list changes.
//!
//! One RESP3 connection carries both: questions, many in one `SMISMEMBER`, and the server's invalidation
//! messages (`CLIENT TRACKING ... BCAST`). A heartbeat finds out within a second when that connection is
//! dead, because a dead connection would otherwise look like a list that never changes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use contract::config::ServiceUrl;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, PushInfo, PushKind, RedisResult};
use service::redis::{Backoff, Timeouts};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};
use tracing::{info, warn};

use super::{Known, Member, Membership, Question, Unavailable, Verdicts};

/// The Redis and the keys of a list.
#[derive(Debug, Clone)]
pub struct Options {
    /// The Redis that holds it.
    pub redis: ServiceUrl,
    /// The set of members, prefix included.
    pub set_key: String,
    /// The hash of aliases, prefix included.
    pub alias_key: String,
    /// How long to wait for Redis.
    pub timeouts: Timeouts,
    /// What the log calls the members, for example `passkeys`.
    pub subject: &'static str,
}

/// Requests that may wait for an answer at one time; the rest are told to come back.
const MAX_WAITING: usize = 65_536;
/// Questions in one round trip.
const MAX_BATCH: usize = 1024;
/// A revocation must be obeyed within a second: a dead connection is noticed after at most this plus
/// [`HEARTBEAT_TIMEOUT`].
const HEARTBEAT: Duration = Duration::from_millis(250);
const HEARTBEAT_TIMEOUT: Duration = Duration::from_millis(500);

/// Starts the task and returns the way to ask it. The task ends when every [`Membership`] is dropped.
///
/// # Errors
/// When the Redis URL cannot be read. Redis need not be there yet.
pub fn spawn<M: Member>(options: Options) -> RedisResult<Membership<M>> {
    let verdicts = Arc::new(Verdicts::default());
    let (questions, waiting) = mpsc::channel(MAX_WAITING);
    let client = service::redis::client(&options.redis)?;
    let task = Asker { client, options, verdicts: verdicts.clone(), waiting };
    tokio::spawn(task.run());
    Ok(Membership { verdicts, questions })
}

struct Asker<M: Member> {
    client: redis::Client,
    options: Options,
    verdicts: Arc<Verdicts<M>>,
    waiting: mpsc::Receiver<Question<M>>,
}

enum Ended {
    /// Nobody can ask any more.
    NobodyAsks,
    ConnectionLost,
}

impl<M: Member> Asker<M> {
    async fn run(mut self) {
        let mut backoff = Backoff::default();
        let mut complained = false;
        loop {
            match self.connect().await {
                Ok((connection, changes)) => {
                    if complained {
                        info!(url = %self.options.redis, "Redis is back: {} are checked again", self.options.subject);
                    }
                    complained = false;
                    backoff.reset();
                    self.verdicts.thaw();
                    if let Ended::NobodyAsks = self.serve(connection, changes).await {
                        return;
                    }
                    self.verdicts.freeze();
                }
                Err(error) => {
                    self.verdicts.freeze();
                    if !complained {
                        let subject = self.options.subject;
                        warn!(url = %self.options.redis, %error, "{subject} cannot be checked; known ones stay in force");
                    }
                    complained = true;
                }
            }
            if self.turn_away_for(backoff.next_delay()).await.is_none() {
                return;
            }
        }
    }

    async fn connect(&self) -> RedisResult<(MultiplexedConnection, mpsc::UnboundedReceiver<PushInfo>)> {
        let (sender, changes) = mpsc::unbounded_channel();
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.options.timeouts.connect))
            .set_response_timeout(self.options.timeouts.response)
            .set_push_sender(sender);
        let info = self.client.get_connection_info().clone();
        let resp3 = info.redis_settings().clone().set_protocol(redis::ProtocolVersion::RESP3);
        let client = redis::Client::open(info.set_redis_settings(resp3))?;
        let mut connection = client.get_multiplexed_async_connection_with_config(&config).await?;
        let mut tracking = redis::cmd("CLIENT");
        tracking.arg("TRACKING").arg("ON").arg("BCAST");
        for prefix in apart(&self.options.set_key, &self.options.alias_key) {
            tracking.arg("PREFIX").arg(prefix);
        }
        tracking.query_async::<()>(&mut connection).await?;
        Ok((connection, changes))
    }

    async fn serve(
        &mut self,
        mut connection: MultiplexedConnection,
        mut changes: mpsc::UnboundedReceiver<PushInfo>,
    ) -> Ended {
        let mut heartbeat = interval(HEARTBEAT);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut batch = Vec::new();
        loop {
            tokio::select! {
                biased;
                change = changes.recv() => match change.map(|push| push.kind) {
                    Some(PushKind::Invalidate) => self.verdicts.invalidate(),
                    Some(PushKind::Disconnection) | None => return Ended::ConnectionLost,
                    Some(_) => {}
                },
                count = self.waiting.recv_many(&mut batch, MAX_BATCH) => {
                    if count == 0 {
                        return Ended::NobodyAsks;
                    }
                    if !self.answer(&mut connection, &mut batch).await {
                        return Ended::ConnectionLost;
                    }
                }
                _ = heartbeat.tick() => {
                    let ping = redis::cmd("PING");
                    let pong = tokio::time::timeout(HEARTBEAT_TIMEOUT, ping.query_async::<String>(&mut connection));
                    if !matches!(pong.await, Ok(Ok(_))) {
                        return Ended::ConnectionLost;
                    }
                }
            }
        }
    }

    /// Answers everybody in the batch; `false` when Redis did not.
    async fn answer(&self, connection: &mut MultiplexedConnection, batch: &mut Vec<Question<M>>) -> bool {
        let names: Vec<_> = batch.iter().map(|question| question.member.name()).collect();
        let names: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
        let asked = self.verdicts.asking(Instant::now());
        let outcome: RedisResult<(Vec<bool>, Vec<Option<String>>)> = redis::pipe()
            .cmd("SMISMEMBER")
            .arg(&self.options.set_key)
            .arg(&names)
            .cmd("HMGET")
            .arg(&self.options.alias_key)
            .arg(&names)
            .query_async(connection)
            .await;
        match outcome {
            Ok((members, aliases)) => {
                for ((question, member), alias) in batch.drain(..).zip(members).zip(aliases) {
                    let alias = alias.and_then(|text| text.parse().ok());
                    self.verdicts.learn(&question.member, member, alias, asked);
                    // Whoever hung up meanwhile needs no answer.
                    question.answered.send(Ok(())).ok();
                }
                true
            }
            Err(error) => {
                warn!(url = %self.options.redis, %error, "{} cannot be checked", self.options.subject);
                self.verdicts.freeze();
                self.answer_without_redis(batch);
                false
            }
        }
    }

    /// Tells those who are not known and ask in the meantime to come back. `None` when nobody can ask any
    /// more.
    async fn turn_away_for(&mut self, delay: Duration) -> Option<()> {
        let wait = tokio::time::sleep(delay);
        tokio::pin!(wait);
        let mut batch = Vec::new();
        loop {
            tokio::select! {
                () = &mut wait => return Some(()),
                count = self.waiting.recv_many(&mut batch, MAX_BATCH) => {
                    if count == 0 {
                        return None;
                    }
                    self.answer_without_redis(&mut batch);
                }
            }
        }
    }

    /// What was known when Redis went away stays in force, also for those who asked because it had just
    /// become stale.
    fn answer_without_redis(&self, batch: &mut Vec<Question<M>>) {
        let now = Instant::now();
        for Question { member, answered } in batch.drain(..) {
            let is_known = self.verdicts.look(&member, || now) != Known::Unknown;
            answered.send(if is_known { Ok(()) } else { Err(Unavailable) }).ok();
        }
    }
}

/// Redis refuses prefixes that overlap, and one that covers both keys is enough.
fn apart<'a>(set_key: &'a str, alias_key: &'a str) -> Vec<&'a str> {
    if alias_key.starts_with(set_key) {
        vec![set_key]
    } else if set_key.starts_with(alias_key) {
        vec![alias_key]
    } else {
        vec![set_key, alias_key]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use contract::{Keys, Passkey};
    use harness::{RedisServer, eventually_async};
    use redis::Commands;

    fn list(redis: &RedisServer) -> Membership<Passkey> {
        let keys = Keys::default();
        let wait = Duration::from_secs(5);
        spawn(Options {
            redis: redis.url().parse().unwrap(),
            set_key: keys.passkeys(),
            alias_key: keys.passkey_alias(),
            timeouts: Timeouts { connect: wait, response: Some(wait) },
            subject: "passkeys",
        })
        .unwrap()
    }

    #[tokio::test]
    async fn who_became_stale_just_before_redis_went_away_is_still_known() {
        let mut redis = RedisServer::start();
        let mut site = redis.connection();
        let [alice, mallory] = ["alice", "mallory"].map(|name| name.parse::<Passkey>().unwrap());
        let _: () = site.sadd("pt:passkeys", "alice").unwrap();
        let list = list(&redis);
        eventually_async("alice is known", async || {
            list.ask(alice).await.ok();
            (list.look(&alice) == Known::Listed(alice)).then_some(())
        })
        .await;
        let _: () = site.sadd("pt:passkeys", "bob").unwrap();
        eventually_async("the verdict is stale", async || {
            (list.look(&alice) == Known::Unknown).then_some(())
        })
        .await;
        redis.kill();
        assert_eq!(list.ask(alice).await, Ok(()));
        assert_eq!(list.look(&alice), Known::Listed(alice));
        assert_eq!(list.ask(mallory).await, Err(Unavailable));
    }
}
