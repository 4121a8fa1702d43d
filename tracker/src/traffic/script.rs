//! The call of `record.lua`: one atomic step for a whole batch, safe to repeat after an unknown outcome.

use contract::{AddressFamily, Keys};
use redis::aio::MultiplexedConnection;
use redis::{Cmd, ErrorKind, RedisError, RedisResult, Script, ServerErrorKind, Value};

use crate::announce::Report;

/// How deltas are computed; the operator's choices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// The stream, prefix included.
    pub stream_key: String,
    /// What snapshot keys begin with, prefix included; `<passkey>:<infohash>:<peer_id>` follows.
    pub snapshot_prefix: String,
    /// Seconds a snapshot outlives its last announce.
    pub snapshot_ttl_secs: u64,
    /// Seconds it outlives a `stopped`.
    pub stopped_ttl_secs: u64,
    /// Leave out announces that change nothing.
    pub skip_idle: bool,
    /// Trust the counters of a session's first `started`.
    pub credit_first_started: bool,
}

impl Rules {
    /// The defaults under one site's keys.
    #[must_use]
    pub fn new(keys: &Keys) -> Self {
        Self {
            stream_key: keys.traffic(),
            snapshot_prefix: keys.snapshot_prefix(),
            snapshot_ttl_secs: 21 * 86_400,
            stopped_ttl_secs: 86_400,
            skip_idle: false,
            credit_first_started: false,
        }
    }
}

/// A report with its number: (tracker id, number) names it for ever, so that it is booked once.
#[derive(Debug, Clone)]
pub struct Entry {
    /// What to book.
    pub report: Report,
    /// Rising within one tracker process.
    pub sequence: u64,
}

/// What became of one entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Snapshot and stream entry are written.
    Booked,
    /// Snapshot written; nothing changed and idle announces are left out of the stream.
    Idle,
    /// It was booked before.
    Repeated,
    /// Something newer is booked, and this added no bytes.
    Late,
    /// Redis refused this one (for example a foreign value under the snapshot's key).
    Failed(String),
}

/// The script, as one tracker process calls it.
#[derive(Debug)]
pub struct RecordScript {
    script: Script,
    tracker_id: String,
    rules: Rules,
}

impl RecordScript {
    /// `tracker_id`: up to 8 characters, different for every process that ever writes to this Redis.
    #[must_use]
    pub fn new(tracker_id: impl Into<String>, rules: Rules) -> Self {
        Self { script: Script::new(Self::text()), tracker_id: tracker_id.into(), rules }
    }

    /// The script itself.
    #[must_use]
    pub const fn text() -> &'static str {
        include_str!("record.lua")
    }

    /// An id for this process.
    #[must_use]
    pub fn random_tracker_id() -> String {
        format!("{:08x}", rand::random::<u32>())
    }

    /// Books a batch. The outcomes are in the batch's order.
    ///
    /// # Errors
    /// Whatever Redis or the connection says. The batch may be booked nevertheless: send it again unchanged.
    pub async fn run(
        &self,
        connection: &mut MultiplexedConnection,
        batch: &[Entry],
    ) -> RedisResult<Vec<Outcome>> {
        let call = self.call(batch);
        let reply = match call.query_async::<Value>(connection).await {
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                // A restart, a failover or SCRIPT FLUSH: teach it again, then go on as if nothing had been.
                self.script.prepare_invoke().load_async(connection).await?;
                call.query_async::<Value>(connection).await?
            }
            other => other?,
        };
        outcomes(reply, batch.len())
    }

    /// The command that books a batch: `EVALSHA` of [`RecordScript::text`]. For whoever runs the script on a Redis of
    /// its own, as the simulation does.
    #[must_use]
    pub fn call(&self, batch: &[Entry]) -> Cmd {
        let rules = &self.rules;
        let mut call = redis::cmd("EVALSHA");
        call.arg(self.script.get_hash()).arg(batch.len() + 1).arg(&rules.stream_key);
        for entry in batch {
            let Report { admitted, account, .. } = &entry.report;
            call.arg(format!(
                "{}{}:{}:{}",
                rules.snapshot_prefix,
                account.passkey.reveal(),
                admitted.booked_on().hex(),
                admitted.announce.peer_id.hex()
            ));
        }
        call.arg(&self.tracker_id).arg(rules.snapshot_ttl_secs).arg(rules.stopped_ttl_secs);
        call.arg(i32::from(rules.skip_idle)).arg(i32::from(rules.credit_first_started));
        for entry in batch {
            add_entry(&mut call, entry);
        }
        call
    }
}

/// The sixteen arguments of one entry, in the order of `names` in the script.
fn add_entry(call: &mut Cmd, entry: &Entry) {
    let Report { admitted, account, observed_ms } = &entry.report;
    let (announce, admission) = (&admitted.announce, &admitted.admission);
    call.arg(account.passkey.reveal())
        .arg(admitted.booked_on().hex().as_str())
        .arg(announce.peer_id.hex().as_str())
        .arg(announce.port)
        .arg(announce.ip.to_string())
        .arg(AddressFamily::of(announce.ip).as_str())
        .arg(announce.uploaded)
        .arg(announce.downloaded)
        .arg(announce.left)
        .arg(announce.event.as_str())
        .arg(observed_ms)
        .arg(entry.sequence)
        .arg(admission.interval)
        .arg(admission.min_interval)
        .arg(account.fd.as_deref().unwrap_or_default())
        .arg(account.pd.as_deref().unwrap_or_default());
}

fn outcomes(reply: Value, expected: usize) -> RedisResult<Vec<Outcome>> {
    let Value::Array(items) = reply else { return Err(unexpected()) };
    if items.len() != expected {
        return Err(unexpected());
    }
    items.into_iter().map(outcome).collect()
}

fn outcome(item: Value) -> RedisResult<Outcome> {
    let word = match item {
        Value::BulkString(bytes) => bytes,
        Value::SimpleString(text) => text.into_bytes(),
        _ => return Err(unexpected()),
    };
    Ok(match word.as_slice() {
        b"booked" => Outcome::Booked,
        b"idle" => Outcome::Idle,
        b"repeated" => Outcome::Repeated,
        b"late" => Outcome::Late,
        other => Outcome::Failed(String::from_utf8_lossy(other).into_owned()),
    })
}

fn unexpected() -> RedisError {
    RedisError::from((ErrorKind::UnexpectedReturnType, "the record script answered something else"))
}
