//! The spool's folder, without Redis: what was accepted comes out again, at least once and in order, whatever
//! is killed when.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use contract::{Event, InfoHash, PeerId};
use proptest::prelude::*;
use tempfile::TempDir;
use tracker::traffic::{AppendError, Booking, NumberedBooking, OpenError, Store};

const MIB: u64 = 1024 * 1024;

fn entry(session: u8, sequence: u64, uploaded: u64, event: Event) -> NumberedBooking {
    let booking = Booking {
        passkey: format!("user{session}").parse().unwrap(),
        info_hash: InfoHash([session; 20]),
        peer_id: PeerId([session; 20]),
        ip: if session.is_multiple_of(2) { "192.0.2.7" } else { "2001:db8::7" }.parse().unwrap(),
        port: 6881,
        uploaded,
        downloaded: 3,
        left: u64::from(session % 3),
        event,
        at_ms: 1_700_000_000_000 + sequence * 10_000,
        path: claims::Path(1),
        interval: 1800,
        min_interval: 900,
        fd: session.is_multiple_of(2).then(|| "film é".to_owned()),
        pd: None,
        extras: contract::Extras::default(),
    };
    NumberedBooking::new(booking, sequence)
}

#[test]
fn the_newest_stamp_of_an_earlier_run_is_known() {
    let folder = TempDir::new().unwrap();
    let mut store = Store::open(folder.path(), MIB).unwrap();
    store.append("aaaa", &[plain(1, 2, 5), plain(1, 1, 5)]).unwrap();
    assert_eq!(store.newest_ms(), None, "it is this run's");
    drop(store);
    assert_eq!(Store::open(folder.path(), MIB).unwrap().newest_ms(), Some(1_700_000_020_000));
}

fn plain(session: u8, sequence: u64, uploaded: u64) -> NumberedBooking {
    entry(session, sequence, uploaded, Event::None)
}

fn drain(store: &mut Store, limit: usize) -> Vec<(String, NumberedBooking)> {
    let mut all = Vec::new();
    while let Some(batch) = store.oldest(limit).unwrap() {
        store.booked(&batch);
        all.extend(batch.entries.into_iter().map(|entry| (batch.tracker_id.clone(), entry)));
    }
    all
}

fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
    found.retain(|path| path.extension().is_some_and(|other| other == extension));
    found.sort();
    found
}

#[test]
fn what_goes_in_comes_out_unchanged_and_in_order_across_a_restart() {
    let folder = TempDir::new().unwrap();
    let mut store = Store::open(folder.path(), MIB).unwrap();
    let entries: Vec<NumberedBooking> = (1..=500)
        .map(|n| {
            let event = if n % 3 == 0 { Event::Completed } else { Event::None };
            entry(u8::try_from(n % 7).unwrap(), n, n * 10, event)
        })
        .collect();
    for batch in entries.chunks(13) {
        store.append("aaaa", batch).unwrap();
    }
    drop(store);
    let mut store = Store::open(folder.path(), MIB).unwrap();
    store.append("bbbb", &[plain(1, 1, 9)]).unwrap();
    assert_eq!(store.records(), 501);
    let mut expected: Vec<_> = entries.into_iter().map(|entry| ("aaaa".to_owned(), entry)).collect();
    expected.push(("bbbb".into(), plain(1, 1, 9)));
    assert_eq!(drain(&mut store, 100), expected);
    assert!(store.is_empty() && store.bytes() == 0 && files(folder.path(), "spool").is_empty());
}

#[test]
fn files_hold_passkeys_and_are_their_owners_only() {
    let folder = TempDir::new().unwrap();
    let inside = folder.path().join("deep/spool");
    let mut store = Store::open(&inside, MIB).unwrap();
    store.append("aaaa", &[plain(1, 1, 1)]).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&inside), mode(&files(&inside, "spool")[0])), (0o700, 0o600));
}

#[test]
fn two_trackers_never_share_a_folder() {
    let folder = TempDir::new().unwrap();
    let first = Store::open(folder.path(), MIB).unwrap();
    assert!(matches!(Store::open(folder.path(), MIB), Err(OpenError::InUse)));
    drop(first);
    assert!(Store::open(folder.path(), MIB).is_ok());
}

#[test]
fn a_folder_that_cannot_be_used_says_so() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    assert!(matches!(Store::open(&file.join("spool"), MIB), Err(OpenError::Disk(_))));
}

#[test]
fn a_write_that_a_kill_cut_short_is_recognised_wherever_the_cut_is() {
    let folder = TempDir::new().unwrap();
    let mut store = Store::open(folder.path(), MIB).unwrap();
    store.append("aaaa", &[plain(1, 1, 1), plain(2, 2, 2)]).unwrap();
    let whole = store.bytes();
    store.append("aaaa", &[plain(3, 3, 3)]).unwrap();
    drop(store);
    let path = &files(folder.path(), "spool")[0];
    let bytes = fs::read(path).unwrap();
    for cut in usize::try_from(whole).unwrap()..bytes.len() {
        fs::write(path, &bytes[..cut]).unwrap();
        let mut store = Store::open(folder.path(), MIB).unwrap();
        assert_eq!(fs::metadata(path).unwrap().len(), whole, "cut at {cut}");
        let batch = store.oldest(10).unwrap().unwrap();
        assert_eq!(batch.entries, [plain(1, 1, 1), plain(2, 2, 2)], "cut at {cut}");
    }
    fs::write(path, &bytes[..10]).unwrap();
    let mut store = Store::open(folder.path(), MIB).unwrap();
    assert!(store.oldest(10).unwrap().is_none(), "a file without a whole header held nothing");
}

#[test]
fn a_damaged_older_file_gives_what_can_be_read_and_is_kept() {
    let folder = TempDir::new().unwrap();
    for (tracker, session) in [("aaaa", 1), ("bbbb", 2)] {
        let mut store = Store::open(folder.path(), MIB).unwrap();
        store.append(tracker, &[plain(session, 1, 1), plain(session, 2, 2)]).unwrap();
    }
    let path = &files(folder.path(), "spool")[0];
    let mut bytes = fs::read(path).unwrap();
    let last = bytes.len() - 5;
    bytes[last] ^= 1;
    fs::write(path, bytes).unwrap();
    let mut store = Store::open(folder.path(), MIB).unwrap();
    let got: Vec<NumberedBooking> = drain(&mut store, 10).into_iter().map(|(_, entry)| entry).collect();
    assert_eq!(got, [plain(1, 1, 1), plain(2, 1, 1), plain(2, 2, 2)]);
    assert_eq!(files(folder.path(), "damaged").len(), 1);
}

#[test]
fn under_pressure_plain_announces_between_others_of_their_session_are_dropped_and_nothing_else_is() {
    let folder = TempDir::new().unwrap();
    let mut store = Store::open(folder.path(), MIB).unwrap();
    let mut sequence = 0;
    let mut next = || {
        sequence += 1;
        sequence
    };
    let kept = [
        entry(1, next(), 100, Event::Started),
        plain(1, next(), 500), // what follows is lower
        plain(1, next(), 10),  // what came before is higher
        plain(1, next(), 20),  // an event follows
        entry(1, next(), 30, Event::Completed),
    ];
    store.append("aaaa", &kept).unwrap();
    let mut rounds = 0;
    while store.coalesced() == 0 {
        rounds += 1;
        store
            .append("aaaa", &(10..20).map(|session| plain(session, next(), rounds)).collect::<Vec<_>>())
            .unwrap();
    }
    assert!(store.bytes() < MIB / 2, "{} bytes", store.bytes());
    let left: Vec<NumberedBooking> = drain(&mut store, 100).into_iter().map(|(_, entry)| entry).collect();
    assert_eq!(left[..5], kept);
    let mut newest = HashMap::new();
    for entry in &left[5..] {
        newest.insert(entry.booking.peer_id, entry.booking.uploaded);
    }
    assert_eq!(newest.len(), 10);
    assert!(newest.values().all(|uploaded| *uploaded == rounds));
}

#[test]
fn a_full_spool_refuses_and_takes_again_once_something_is_booked() {
    let folder = TempDir::new().unwrap();
    let mut store = Store::open(folder.path(), MIB).unwrap();
    let mut accepted = 0;
    // Events of sessions are never dropped, so coalescing cannot help.
    let refused = loop {
        let batch: Vec<NumberedBooking> =
            (0..50).map(|n| entry(n, accepted * 50 + u64::from(n) + 1, accepted, Event::Completed)).collect();
        match store.append("aaaa", &batch) {
            Ok(()) => accepted += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, AppendError::Full));
    assert!(store.bytes() <= MIB, "{} bytes", store.bytes());
    assert_eq!(store.records(), accepted * 50);
    while let Some(batch) = store.oldest(500).unwrap() {
        store.booked(&batch);
        if store.append("aaaa", &[plain(0, accepted * 50 + 1, accepted)]).is_ok() {
            return;
        }
    }
    panic!("an emptying spool took nothing");
}

#[test]
fn what_redis_refuses_for_good_is_kept_and_tried_again_at_the_next_start() {
    let folder = TempDir::new().unwrap();
    let mut store = Store::open(folder.path(), MIB).unwrap();
    store.append("aaaa", &[plain(1, 1, 1), plain(2, 2, 2)]).unwrap();
    let batch = store.oldest(10).unwrap().unwrap();
    let file = store.keep_for_later(&batch, &batch.entries[1..]).unwrap();
    store.booked(&batch);
    assert!(store.is_empty() && store.bytes() > 0 && file.is_file());
    drop(store);
    let mut store = Store::open(folder.path(), MIB).unwrap();
    assert_eq!(drain(&mut store, 10), [("aaaa".to_owned(), plain(2, 2, 2))]);
    assert!(!file.exists());
}

/// What may happen to a spool.
#[derive(Debug, Clone)]
enum Step {
    /// Announces of these sessions: each with an event, or plain, its counter growing or beginning anew.
    Append(Vec<(u8, bool, bool)>),
    /// Redis takes a batch of so many; and the process may die before it knows.
    Replay { limit: usize, dies: bool },
    /// The process is killed, after so many bytes of a write.
    Kill { torn: usize },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let announces =
        prop::collection::vec((0..6u8, prop::bool::weighted(0.2), prop::bool::weighted(0.1)), 1..60);
    let step = prop_oneof![
        8 => announces.prop_map(Step::Append),
        2 => (1..400usize, prop::bool::weighted(0.2)).prop_map(|(limit, dies)| Step::Replay { limit, dies }),
        1 => (0..40usize).prop_map(|torn| Step::Kill { torn }),
    ];
    prop::collection::vec(step, 1..120)
}

/// Follows what was answered and what came out again.
struct Model {
    folder: TempDir,
    store: Option<Store>,
    process: u32,
    sequence: u64,
    counters: [u64; 6],
    answered: Vec<(String, NumberedBooking)>,
    booked: Vec<(String, NumberedBooking)>,
}

/// Small, so that coalescing and refusals happen.
const LIMIT: u64 = 48 * 1024;

impl Model {
    fn new() -> Self {
        // In memory where there is such a place: thousands of writes are waited for.
        let memory = Path::new("/dev/shm");
        let folder = if memory.is_dir() { TempDir::new_in(memory) } else { TempDir::new() }.unwrap();
        let store = Some(Store::open(folder.path(), LIMIT).unwrap());
        Self { folder, store, process: 1, sequence: 0, counters: [0; 6], answered: vec![], booked: vec![] }
    }

    fn id(&self) -> String {
        format!("{:04}", self.process)
    }

    fn take(&mut self, step: &Step) {
        match step {
            Step::Append(announces) => self.append(announces),
            Step::Replay { limit, dies } => self.replay(*limit, *dies),
            Step::Kill { torn } => self.kill(*torn),
        }
    }

    fn append(&mut self, announces: &[(u8, bool, bool)]) {
        let id = self.id();
        let batch: Vec<NumberedBooking> = announces
            .iter()
            .map(|&(session, event, anew)| {
                self.sequence += 1;
                let counter = &mut self.counters[usize::from(session)];
                *counter = if anew { 1 } else { *counter + 10 };
                entry(session, self.sequence, *counter, if event { Event::Started } else { Event::None })
            })
            .collect();
        if self.store.as_mut().unwrap().append(&id, &batch).is_ok() {
            self.answered.extend(batch.into_iter().map(|entry| (id.clone(), entry)));
        }
    }

    fn replay(&mut self, limit: usize, dies: bool) {
        let store = self.store.as_mut().unwrap();
        let Some(batch) = store.oldest(limit).unwrap() else { return };
        self.booked.extend(batch.entries.iter().map(|entry| (batch.tracker_id.clone(), entry.clone())));
        if dies { self.kill(0) } else { store.booked(&batch) }
    }

    fn kill(&mut self, torn: usize) {
        self.store = None;
        if let Some(newest) = files(self.folder.path(), "spool").last().filter(|_| torn > 0) {
            let mut file = OpenOptions::new().append(true).open(newest).unwrap();
            file.write_all(&vec![7; torn]).unwrap();
        }
        self.process += 1;
        self.sequence = 0;
        self.store = Some(Store::open(self.folder.path(), LIMIT).unwrap());
    }
}

impl Model {
    /// Plain, and with counters between those of the session's announces before and after it.
    fn lies_between_its_neighbours(&self, at: usize) -> bool {
        let this = &self.answered[at].1.booking;
        let same = |(_, other): &&(String, NumberedBooking)| other.booking.peer_id == this.peer_id;
        let before = self.answered[..at].iter().rfind(same).map(|(_, entry)| &entry.booking);
        let after = self.answered[at + 1..].iter().find(same).map(|(_, entry)| &entry.booking);
        let (Some(before), Some(after)) = (before, after) else { return false };
        let plain = this.event == Event::None && after.event == Event::None && this.path == after.path;
        plain && before.uploaded <= this.uploaded && this.uploaded <= after.uploaded
    }

    fn first_bookings(&self) -> impl Iterator<Item = &(String, NumberedBooking)> {
        let mut seen = HashSet::new();
        self.booked.iter().filter(move |(process, entry)| seen.insert((process, entry.sequence)))
    }
}

/// What each session gained: a counter that fell begins anew, at its own value after a `started`, else at
/// nothing.
fn deltas<'a>(entries: impl Iterator<Item = &'a (String, NumberedBooking)>) -> BTreeMap<PeerId, u64> {
    let mut marks: HashMap<PeerId, u64> = HashMap::new();
    let mut gained = BTreeMap::new();
    for (_, NumberedBooking { booking, .. }) in entries {
        let counter = booking.uploaded;
        let delta = match marks.insert(booking.peer_id, counter) {
            Some(mark) if counter >= mark => counter - mark,
            Some(_) if booking.event == Event::Started => counter,
            _ => 0,
        };
        *gained.entry(booking.peer_id).or_insert(0) += delta;
    }
    gained
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn every_answered_announce_is_replayed_in_order_or_adds_nothing_to_its_neighbours(steps in steps()) {
        let mut model = Model::new();
        for step in &steps {
            model.take(step);
        }
        while !model.store.as_ref().unwrap().is_empty() {
            model.replay(100, false);
        }
        // What Redis keeps: each (process, number) once, in the order in which it first came.
        let mut seen = HashMap::new();
        for (place, (process, entry)) in model.booked.iter().enumerate() {
            seen.entry((process.clone(), entry.sequence)).or_insert(place);
        }
        let mut last = None;
        for (at, (process, entry)) in model.answered.iter().enumerate() {
            match seen.get(&(process.clone(), entry.sequence)) {
                Some(place) => {
                    prop_assert!(last < Some(*place), "announce {at} came out of order");
                    last = Some(*place);
                }
                None => prop_assert!(model.lies_between_its_neighbours(at), "announce {at} is missing: {entry:?}"),
            }
        }
        prop_assert_eq!(deltas(model.answered.iter()), deltas(model.first_bookings()));
    }
}
