//! The call of `record.lua`: one atomic step for a whole batch, safe to repeat after an unknown outcome.
//!
//! Each entry goes under (tracker id, number), and `tracker:recorder:<id>` holds the highest number booked
//! for each tracker process. The script writes it first: a Redis that takes no writes fails there, before
//! anything is booked, and one that lost what it had confirmed is found out. An announce with a number beyond
//! it is new, which the script need not find out from its session's snapshot.
//!
//! A batch touches the keys of many sessions and the stream in one step, which needs one node: Redis Cluster
//! is not supported.

use std::sync::LazyLock;

use contract::Keys;
use redis::aio::MultiplexedConnection;
use redis::{Cmd, ErrorKind, RedisResult, RedisWrite, Script, ServerErrorKind, Value};

use super::booking::NumberedBooking;
use super::encode::encode;
use super::reply::Receipt;

/// Bytes of a snapshot's key, roughly.
const KEY_ROOM: usize = 160;

/// How deltas are computed; the operator's choices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// The stream, prefix included.
    pub stream_key: String,
    /// What snapshot keys begin with, prefix included; `<passkey>:<infohash>:<peer_id>` follows.
    pub snapshot_prefix: String,
    /// What the keys begin with in which Redis remembers how far it booked each tracker, prefix included.
    pub recorder_prefix: String,
    /// Hash old passkey -> the one that its traffic is booked on, prefix included.
    pub alias_key: String,
    /// Hash new passkey -> the old one whose snapshots are being folded into it, prefix included.
    pub rotating_key: String,
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
            recorder_prefix: keys.recorder_prefix(),
            alias_key: keys.passkey_alias(),
            rotating_key: keys.rotating(),
            snapshot_ttl_secs: 21 * 86_400,
            stopped_ttl_secs: 86_400,
            skip_idle: false,
            credit_first_started: false,
        }
    }
}

/// The script, as one tracker process calls it.
#[derive(Debug, Clone)]
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
    pub fn text() -> &'static str {
        static TEXT: LazyLock<String> =
            LazyLock::new(|| [contract::FOLD_SNAPSHOT, include_str!("record.lua")].concat());
        &TEXT
    }

    /// An id for this process.
    #[must_use]
    pub fn random_tracker_id() -> String {
        format!("{:08x}", rand::random::<u32>())
    }

    /// The id under which it books.
    #[must_use]
    pub fn tracker_id(&self) -> &str {
        &self.tracker_id
    }

    /// The same script for what another process left behind.
    #[must_use]
    pub fn on_behalf_of(&self, tracker_id: &str) -> Self {
        Self { tracker_id: tracker_id.to_owned(), ..self.clone() }
    }

    /// Books a batch. An empty one books nothing and finds out whether Redis takes writes. `confirmed`: the
    /// highest number that Redis is known to have booked, 0 for none.
    ///
    /// # Errors
    /// Whatever Redis or the connection says. The batch may be booked nevertheless: send it again unchanged.
    pub async fn run(
        &self,
        connection: &mut MultiplexedConnection,
        batch: &[NumberedBooking],
        confirmed: u64,
    ) -> RedisResult<Receipt> {
        let call = self.call(batch, confirmed);
        let reply = match call.query_async::<Value>(connection).await {
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                // A restart, a failover or SCRIPT FLUSH: teach it again, then go on as if nothing had been.
                self.script.prepare_invoke().load_async(connection).await?;
                call.query_async::<Value>(connection).await?
            }
            other => other?,
        };
        Receipt::read(reply, batch.len())
    }

    /// The command that books a batch: `EVALSHA` of [`RecordScript::text`]. For whoever runs the script on a
    /// Redis of its own, as the simulation does.
    #[must_use]
    pub fn call(&self, batch: &[NumberedBooking], confirmed: u64) -> Cmd {
        let rules = &self.rules;
        let announces = encode(&self.tracker_id, batch);
        let room = announces.len() + (batch.len() + 4) * KEY_ROOM;
        let mut call = Cmd::with_capacity(batch.len() + 16, room);
        call.arg("EVALSHA").arg(self.script.get_hash()).arg(batch.len() + 2).arg(&rules.stream_key);
        call.arg(format!("{}{}", rules.recorder_prefix, self.tracker_id));
        let mut key = Vec::with_capacity(KEY_ROOM);
        for entry in batch {
            self.name_snapshot(&mut key, entry);
            call.write_arg(&key);
        }
        call.arg(&self.tracker_id).arg(rules.snapshot_ttl_secs).arg(rules.stopped_ttl_secs);
        call.arg(i32::from(rules.skip_idle)).arg(i32::from(rules.credit_first_started)).arg(confirmed);
        call.arg(&rules.alias_key).arg(&rules.rotating_key);
        call.arg(batch.iter().map(|entry| entry.sequence).max().unwrap_or(0));
        call.write_arg(&announces);
        call
    }

    fn name_snapshot(&self, key: &mut Vec<u8>, NumberedBooking { booking, .. }: &NumberedBooking) {
        key.clear();
        key.extend_from_slice(self.rules.snapshot_prefix.as_bytes());
        key.extend_from_slice(booking.passkey.reveal().as_bytes());
        key.push(b':');
        key.extend_from_slice(&booking.info_hash.hex_bytes());
        key.push(b':');
        key.extend_from_slice(&booking.peer_id.hex_bytes());
    }
}
