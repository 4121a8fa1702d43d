//! The books' rule where it is applied: from what is known of a session and a report to the event that is
//! appended and the snapshot that is kept (docs/contract.md).
//!
//! Redis books what is computed here only onto the snapshot that it was computed from. Where it has another
//! one (a second tracker was faster, this one has just started), it shows it, and the report is computed
//! again. Where it has none although one is known here (it expired, Redis lost it), counting goes on from
//! what is known: the claims lie on the same line as before.

use std::net::IpAddr;

use claims::{Announced, Booked, Report, Session, Snapshot, Word};
use contract::{Event, InfoHash, Passkey};
use hashbrown::HashMap;
use tracing::warn;

use super::booking::{Booking, NumberedBooking};
use super::reply::{Outcome, Present};
use super::script::Rules;
use super::sessions::{SessionKey, Sessions};

/// Sessions that one generation of knowledge holds.
const MOST_KNOWN: usize = 1 << 20;
/// Bytes in a field of a hash up to which Redis keeps the hash in its compact form.
pub(super) const FIELD_BYTES: usize = 64;

/// A report as it is to be booked.
#[derive(Debug, Clone)]
pub struct Computed {
    /// The report.
    pub(super) entry: NumberedBooking,
    /// The session's snapshot from which it was computed; empty: none.
    pub(super) before: Box<[u8]>,
    /// Redis must hold that; otherwise it must hold nothing.
    in_redis: bool,
    /// The session's snapshot behind it.
    pub(super) next: Box<[u8]>,
    pub(super) booked: Booked,
    pub(super) born_ms: u64,
    /// All uploaded bytes that the session has claimed.
    pub(super) tu: u64,
    /// All downloaded bytes that it has claimed.
    pub(super) td: u64,
    /// The event's word.
    pub(super) event: Event,
    /// The snapshot's lifetime in seconds, when it is set anew.
    pub(super) ttl: Option<u64>,
    /// The snapshot's address is another one.
    pub(super) has_moved: bool,
    /// Nothing changed, and such announces are left out of the stream.
    pub(super) is_idle: bool,
    /// The session's other name, whose snapshot is folded into this one.
    pub(super) fold: Option<Source>,
    session: SessionKey,
}

/// What of the snapshot before still matters behind the report.
#[derive(Debug, Clone, Copy)]
struct Earlier {
    ts: u64,
    left: u64,
    stopped: bool,
    endpoint: u16,
    /// It knows one report only.
    is_first: bool,
}

impl Earlier {
    fn of(snapshot: &Snapshot) -> Self {
        let Snapshot { ts, left, stopped, endpoint, newest_ms, born_ms, .. } = *snapshot;
        Self { ts, left, stopped, endpoint, is_first: newest_ms == born_ms }
    }
}

impl Computed {
    /// What Redis must hold for it, up to the first field; empty: nothing.
    pub(super) fn expected(&self) -> &[u8] {
        if self.in_redis { first_field(&self.before) } else { &[] }
    }

    /// The entry once Redis has it: booked again, its event keeps its second.
    pub(super) fn as_booked(&self) -> NumberedBooking {
        NumberedBooking { ts: self.booked.ts, ..self.entry.clone() }
    }
}

/// A snapshot under another name of the session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The passkey of that name.
    pub passkey: Passkey,
    /// The torrent of that name.
    pub info_hash: InfoHash,
    /// What Redis holds there.
    pub bytes: Box<[u8]>,
}

/// Computes claims, and remembers what came of them.
#[derive(Debug)]
pub struct Bookkeeper {
    rules: Rules,
    sessions: Sessions,
    /// Snapshots under other names that Redis showed, to be folded.
    folds: HashMap<SessionKey, Source>,
    /// Snapshots that Redis has not, although they were booked: a session goes on from there.
    vanished: HashMap<SessionKey, Box<[u8]>>,
}

/// What is known of a session.
#[derive(Debug, Clone, Copy)]
struct Known<'a> {
    bytes: &'a [u8],
    /// Redis is thought to hold it.
    in_redis: bool,
}

impl Bookkeeper {
    /// One that knows no session.
    #[must_use]
    pub fn new(rules: Rules) -> Self {
        let sessions = Sessions::new(MOST_KNOWN);
        Self { rules, sessions, folds: HashMap::new(), vanished: HashMap::new() }
    }

    /// Sessions that it knows something of.
    #[must_use]
    pub fn known(&self) -> usize {
        self.sessions.len()
    }

    /// Computes a batch, in order. Entries that were booked before and are sent again keep their second.
    pub fn compute(&mut self, entries: Vec<NumberedBooking>) -> Vec<Computed> {
        let mut batch: Vec<Computed> = Vec::with_capacity(entries.len());
        let mut newest: HashMap<SessionKey, usize> = HashMap::with_capacity(entries.len());
        for entry in entries {
            let session = self.sessions.key_of(&entry.booking);
            let in_batch = newest.insert(session, batch.len()).map(|place| &*batch[place].next);
            let computed = match in_batch {
                Some(bytes) => self.book(entry, session, Some(Known { bytes, in_redis: true }), None),
                None => self.book(entry, session, self.known_of(session), self.folds.get(&session)),
            };
            batch.push(computed);
        }
        batch
    }

    fn known_of(&self, session: SessionKey) -> Option<Known<'_>> {
        let held = self.sessions.get(session).map(|bytes| Known { bytes, in_redis: true });
        held.or_else(|| self.vanished.get(&session).map(|bytes| Known { bytes, in_redis: false }))
    }

    fn book(
        &self,
        entry: NumberedBooking,
        session: SessionKey,
        known: Option<Known<'_>>,
        fold: Option<&Source>,
    ) -> Computed {
        let rules = &self.rules;
        let before = self.folded(known.and_then(|known| snapshot_of(known.bytes)), fold);
        let earlier = before.as_ref().map(Earlier::of);
        let announced = announced(&entry);
        let (snapshot, booked) = match before {
            Some(mut snapshot) => {
                let booked = snapshot.book(&announced, rules.path_skew_ms);
                (snapshot, booked)
            }
            None => Snapshot::first(&announced, self.new_session(&entry.booking), rules.path_skew_ms),
        };
        let event = word_of(entry.booking.event, &booked);
        let next = snapshot.encode().into_boxed_slice();
        let claims::Counters { up: tu, down: td } = snapshot.claimed();
        Computed {
            before: known.map(|known| known.bytes.into()).unwrap_or_default(),
            in_redis: known.is_some_and(|known| known.in_redis),
            next,
            born_ms: snapshot.born_ms,
            tu,
            td,
            ttl: self.lifetime(&entry.booking, &snapshot, earlier),
            has_moved: earlier.is_none_or(|earlier| earlier.endpoint != snapshot.endpoint),
            is_idle: rules.skip_idle && event == Event::None && changes_nothing(&booked, earlier),
            event,
            entry,
            booked,
            fold: fold.cloned(),
            session,
        }
    }

    fn folded(&self, own: Option<Snapshot>, fold: Option<&Source>) -> Option<Snapshot> {
        match (own, fold.and_then(|source| snapshot_of(&source.bytes))) {
            (Some(own), Some(other)) => Some(own.fold(other, self.rules.path_skew_ms)),
            (own, other) => own.or(other),
        }
    }

    fn new_session(&self, booking: &Booking) -> Session {
        if self.rules.credit_first_started && booking.event == Event::Started {
            Session::with_known_beginning()
        } else {
            Session::default()
        }
    }

    /// When the snapshot expires, in seconds; `None` while its lifetime was set lately. Each renewal costs
    /// Redis as much as a third of the rest, so it is longer by as much as it is late.
    fn lifetime(&self, booking: &Booking, snapshot: &Snapshot, earlier: Option<Earlier>) -> Option<u64> {
        let renewal = (self.rules.snapshot_ttl_secs / 16).max(1);
        let ttl = self.rules.snapshot_ttl_secs + renewal;
        match earlier {
            _ if snapshot.stopped => Some(self.rules.stopped_ttl_secs),
            // Seen once, and moved nothing: it may be anybody's.
            None => Some((2 * u64::from(booking.interval) + self.rules.path_skew_ms / 1000).min(ttl)),
            Some(earlier) => {
                let is_due =
                    earlier.is_first || earlier.stopped || earlier.ts / renewal != snapshot.ts / renewal;
                is_due.then_some(ttl)
            }
        }
    }

    /// Takes what Redis said of a batch; what must be computed again, with its place.
    pub fn settle(&mut self, batch: &[Computed], outcomes: &[Outcome]) -> Vec<(usize, NumberedBooking)> {
        let again = batch.iter().zip(outcomes).enumerate().filter_map(|(place, (computed, outcome))| {
            let again = self.settle_one(computed, outcome)?;
            Some((place, again))
        });
        again.collect()
    }

    fn settle_one(&mut self, computed: &Computed, outcome: &Outcome) -> Option<NumberedBooking> {
        let session = computed.session;
        match outcome {
            Outcome::Booked => {
                self.sessions.keep(session, &computed.next);
                if !self.vanished.is_empty() {
                    self.vanished.remove(&session);
                }
                if computed.fold.is_some() {
                    self.folds.remove(&session);
                }
                None
            }
            // What was booked then need not be what was computed now.
            Outcome::Repeated | Outcome::Failed(_) | Outcome::Unwritable(_) => {
                self.forget(session);
                None
            }
            Outcome::Stale(present) => {
                self.learn(session, present);
                Some(computed.entry.clone())
            }
            Outcome::Renamed { passkey, info_hash } => {
                self.forget(session);
                let mut again = computed.entry.clone();
                (again.booking.passkey, again.booking.info_hash) = (*passkey, *info_hash);
                Some(again)
            }
            Outcome::Folding { present, source } => {
                self.learn(session, present);
                self.folds.insert(session, source.clone());
                Some(computed.entry.clone())
            }
        }
    }

    /// Redis went back in time, and the tail is booked again from here on: the sessions in it go on from what
    /// they were then.
    pub fn go_back<'a>(&mut self, tail: impl Iterator<Item = &'a Computed>) {
        self.vanished.clear();
        for computed in tail {
            // Another bookkeeper, whose keys are others, may have computed it.
            let session = self.sessions.key_of(&computed.entry.booking);
            self.sessions.forget(session);
            if !computed.before.is_empty() {
                self.vanished.entry(session).or_insert_with(|| computed.before.clone());
            }
        }
    }

    fn learn(&mut self, session: SessionKey, present: &Present) {
        match present {
            Present::Snapshot(bytes) => {
                self.vanished.remove(&session);
                self.sessions.keep(session, bytes);
            }
            Present::Nothing => {
                if let Some(known) = self.sessions.get(session) {
                    self.vanished.insert(session, known.into());
                }
                self.sessions.forget(session);
            }
        }
    }

    fn forget(&mut self, session: SessionKey) {
        self.sessions.forget(session);
        self.vanished.remove(&session);
        self.folds.remove(&session);
    }
}

/// The part that the comparison sees.
fn first_field(bytes: &[u8]) -> &[u8] {
    &bytes[..bytes.len().min(FIELD_BYTES)]
}

/// A snapshot that cannot be read is none: the session begins anew, which claims nothing.
fn snapshot_of(bytes: &[u8]) -> Option<Snapshot> {
    let snapshot = Snapshot::read(bytes).ok();
    if snapshot.is_none() {
        warn!("a session's snapshot cannot be read: it begins anew with this announce");
    }
    snapshot
}

/// Whether an announce shows only that its client is still there.
fn changes_nothing(booked: &Booked, earlier: Option<Earlier>) -> bool {
    booked.claims == claims::Counters::default() && earlier.is_some_and(|earlier| earlier.left == booked.left)
}

fn announced(NumberedBooking { booking, ts, .. }: &NumberedBooking) -> Announced {
    let counters = claims::Counters { up: booking.uploaded, down: booking.downloaded };
    let started = booking.event == Event::Started;
    Announced {
        report: Report { path: booking.path, at_ms: booking.at_ms, counters, started },
        left: booking.left,
        word: match booking.event {
            Event::None | Event::Started => Word::Present,
            Event::Completed => Word::Completed,
            Event::Stopped => Word::Stopped,
        },
        endpoint: endpoint(booking.ip, booking.port),
        ts: *ts,
    }
}

/// An outdated word must not change who seeds and leeches; a completion stays one.
fn word_of(event: Event, booked: &Booked) -> Event {
    match event {
        Event::Started | Event::Stopped if booked.is_outdated => Event::None,
        event => event,
    }
}

/// A digest by which a moved client is told: were two the same, its snapshot would keep the old address for a
/// while.
fn endpoint(ip: IpAddr, port: u16) -> u16 {
    let mut hasher = crc32fast::Hasher::new();
    match ip {
        IpAddr::V4(ip) => hasher.update(&ip.octets()),
        IpAddr::V6(ip) => hasher.update(&ip.octets()),
    }
    hasher.update(&port.to_be_bytes());
    (hasher.finalize() & 0xffff) as u16
}
