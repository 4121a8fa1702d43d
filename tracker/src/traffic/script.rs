//! The call of `record.lua`: one atomic step for a whole batch, safe to repeat after an unknown outcome.
//!
//! Each entry goes under (tracker id, number), and `tracker:recorder:<id>` holds for each tracker process the
//! highest number that was seen to, and those below it that were not booked. So a batch that is sent again is
//! booked once, and a Redis that has less than it confirmed is found out.
//!
//! A batch touches the keys of many sessions and the stream in one step, which needs one node: Redis Cluster
//! is not supported.

use std::sync::LazyLock;

use contract::{InfoHash, Keys, Passkey, PeerId};
use redis::aio::MultiplexedConnection;
use redis::{Cmd, ErrorKind, RedisResult, RedisWrite, Script, ServerErrorKind, Value};

use super::booking::NumberedBooking;
use super::bookkeeper::{Bookkeeper, Computed};
use super::encode::{encode, encode_folds};
use super::reply::{Outcome, Receipt, Verdict};

/// Bytes of a snapshot's key, roughly.
const KEY_ROOM: usize = 160;

static TEXT: LazyLock<String> =
    LazyLock::new(|| [contract::WHOLE_SNAPSHOT, include_str!("record.lua")].concat());

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
    /// Hash v2 info hash -> the v1 one that its traffic is booked on, prefix included.
    pub torrent_alias_key: String,
    /// Hash v1 info hash -> the v2 one that is being folded into it, prefix included.
    pub folding_key: String,
    /// The stream's last number and the site's clock, prefix included.
    pub head_key: String,
    /// How far two paths of one client may differ, in milliseconds.
    pub path_skew_ms: u64,
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
            torrent_alias_key: keys.torrent_alias(),
            folding_key: keys.folding(),
            head_key: keys.head(),
            path_skew_ms: claims::DEFAULT_SKEW_MS,
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
    /// The process that calls.
    caller: String,
    /// The process that numbered what it books.
    tracker_id: String,
    rules: Rules,
}

impl RecordScript {
    /// `tracker_id`: up to 8 characters, different for every process that ever writes to this Redis.
    #[must_use]
    pub fn new(tracker_id: impl Into<String>, rules: Rules) -> Self {
        let tracker_id = tracker_id.into();
        Self { script: Script::new(Self::text()), caller: tracker_id.clone(), tracker_id, rules }
    }

    /// The script itself.
    #[must_use]
    pub fn text() -> &'static str {
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

    /// Books entries, and computes again what must be until all are booked or refused: for tests and tools
    /// that need no queue, no retries and no spool.
    ///
    /// # Errors
    /// Whatever Redis or the connection says.
    pub async fn book(
        &self,
        connection: &mut MultiplexedConnection,
        bookkeeper: &mut Bookkeeper,
        entries: Vec<NumberedBooking>,
    ) -> RedisResult<Vec<Outcome>> {
        let mut outcomes = vec![Outcome::Booked; entries.len()];
        let mut places: Vec<usize> = (0..entries.len()).collect();
        let mut batch = bookkeeper.compute(entries);
        while !batch.is_empty() {
            let Verdict::SeenTo(answer) = self.run(connection, &batch, &Progress::default()).await?.verdict
            else {
                break;
            };
            let again = bookkeeper.settle(&batch, &answer);
            for (place, outcome) in places.iter().zip(answer) {
                outcomes[*place] = outcome;
            }
            places = again.iter().map(|(place, _)| places[*place]).collect();
            batch = bookkeeper.compute(again.into_iter().map(|(_, entry)| entry).collect());
        }
        Ok(outcomes)
    }

    /// Books a batch. An empty one books nothing and finds out whether Redis takes writes.
    ///
    /// # Errors
    /// Whatever Redis or the connection says. The batch may be booked nevertheless: send it again unchanged.
    pub async fn run(
        &self,
        connection: &mut MultiplexedConnection,
        batch: &[Computed],
        said: &Progress,
    ) -> RedisResult<Receipt> {
        let call = self.call(batch, said);
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
    pub fn call(&self, batch: &[Computed], said: &Progress) -> Cmd {
        let rules = &self.rules;
        let announces = encode(batch);
        let room = announces.len() + (batch.len() + 8) * KEY_ROOM;
        let mut call = Cmd::with_capacity(batch.len() + 20, room);
        call.arg("EVALSHA").arg(self.script.get_hash()).arg(batch.len() + 3).arg(&rules.stream_key);
        call.arg(format!("{}{}", rules.recorder_prefix, self.tracker_id)).arg(&rules.head_key);
        let mut key = Vec::with_capacity(KEY_ROOM);
        for Computed { entry: NumberedBooking { booking, .. }, .. } in batch {
            self.name_snapshot(&mut key, &booking.passkey, &booking.info_hash, &booking.peer_id);
            call.write_arg(&key);
        }
        call.arg(rules.snapshot_ttl_secs).arg(said.known_call);
        call.arg(batch.iter().map(|computed| computed.entry.sequence).max().unwrap_or(0));
        call.arg(said.expected_ms.unwrap_or(0));
        call.arg(&rules.alias_key).arg(&rules.rotating_key);
        call.arg(&rules.torrent_alias_key).arg(&rules.folding_key).arg(&rules.snapshot_prefix);
        call.write_arg(&announces);
        call.write_arg(&encode_folds(batch, |computed| self.name_of_source(computed)));
        call.arg(format!("{}{}", rules.recorder_prefix, self.caller)).arg(said.call).arg(&said.to_come);
        call.arg(said.guessed_ms).arg(said.ahead_ms);
        call
    }

    fn name_of_source(&self, computed: &Computed) -> Option<Vec<u8>> {
        let source = computed.fold.as_ref()?;
        let mut name = Vec::with_capacity(KEY_ROOM);
        let peer_id = &computed.entry.booking.peer_id;
        self.name_snapshot(&mut name, &source.passkey, &source.info_hash, peer_id);
        Some(name)
    }

    fn name_snapshot(&self, key: &mut Vec<u8>, passkey: &Passkey, info_hash: &InfoHash, peer_id: &PeerId) {
        key.clear();
        key.extend_from_slice(self.rules.snapshot_prefix.as_bytes());
        key.extend_from_slice(passkey.reveal().as_bytes());
        key.push(b':');
        key.extend_from_slice(&info_hash.hex_bytes());
        key.push(b':');
        key.extend_from_slice(&peer_id.hex_bytes());
    }
}

/// What a tracker tells Redis beside what it wants booked.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Progress {
    /// The last of its calls that it knows to be carried out; 0 for none.
    pub known_call: u64,
    /// The number of this one; 0 when Redis need not remember it.
    pub call: u64,
    /// What the site's clock should be; `None` before Redis told it.
    pub expected_ms: Option<u64>,
    /// What it is by the tracker's own clock.
    pub guessed_ms: u64,
    /// By how much Redis' own clock is ahead of the site's, as far as the tracker knows.
    pub ahead_ms: i64,
    /// Numbers, with blanks between, that are still to come although the batch has higher ones.
    pub to_come: String,
}
