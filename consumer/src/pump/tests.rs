//! What the two halves do when; without a Redis, a ledger or a clock.

use std::time::Duration;

use books::dead_letters::BrokenEntry;
use books::entry::{Entry, EntryId};
use contract::{AddressFamily, Event, InfoHash, PeerId, TrafficEvent};

use super::*;

const FULL: usize = 3;

struct Scene {
    pump: Pump,
    now: Instant,
}

impl Scene {
    /// The ledger is not open yet.
    fn closed() -> Self {
        Self { pump: Pump::new(FULL, 1), now: Instant::now() }
    }

    fn open() -> Self {
        let mut scene = Self::closed();
        assert_eq!(scene.settles(), Some(vec![]));
        scene.pump.settled(Settled::Committed, scene.now);
        scene
    }

    fn reading(&mut self) -> Next<Reading> {
        self.pump.poll_reading(Entries::New, self.now)
    }

    fn settling(&mut self) -> Next<Settling> {
        self.pump.poll_settling(self.now)
    }

    fn reads(&mut self) -> bool {
        matches!(self.reading(), Next::Do(Reading::Read))
    }

    /// Reads and shows this batch.
    fn takes(&mut self, batch: Batch) {
        assert!(self.reads());
        self.pump.read(Some(batch), self.now);
        let Next::Do(Reading::Show(batch)) = self.reading() else { panic!("it shows what it read") };
        self.pump.shown(batch, Attempt::Done, self.now);
    }

    fn settles(&mut self) -> Option<Vec<u64>> {
        let Next::Do(Settling::Settle(entries)) = self.settling() else { return None };
        Some(entries.iter().map(|entry| entry.id.ms).collect())
    }

    fn acknowledges(&mut self) -> Option<Vec<u64>> {
        let Next::Do(Settling::Acknowledge(ids)) = self.settling() else { return None };
        Some(ids.iter().map(|id| id.ms).collect())
    }

    fn finishes(&mut self) {
        self.pump.settled(Settled::Committed, self.now);
        self.acknowledges().unwrap();
        self.pump.acknowledged(Attempt::Done, self.now);
    }
}

fn entry(ms: u64) -> Entry {
    let event = TrafficEvent {
        passkey: "alice".parse().unwrap(),
        info_hash: InfoHash([1; 20]),
        peer_id: PeerId([1; 20]),
        port: 6881,
        ip: [192, 0, 2, 1].into(),
        af: AddressFamily::V4,
        du: 1,
        dd: 0,
        left: 0,
        event: Event::None,
        ts: ms,
        dt: 1,
        interval: 1800,
        min_interval: 900,
        fd: None,
        pd: None,
        claim: None,
        extras: contract::Extras::default(),
    };
    Entry { id: EntryId::at_ms(ms), event }
}

fn batch(ids: &[u64]) -> Batch {
    Batch { entries: ids.iter().map(|ms| entry(*ms)).collect(), ..Batch::default() }
}

#[test]
fn nothing_is_read_before_the_ledger_is_open() {
    let mut scene = Scene::closed();
    assert!(matches!(scene.reading(), Next::Wait(None)));
    assert_eq!(scene.settles(), Some(vec![]), "settling nothing opens it");
    scene.pump.settled(Settled::Unavailable, scene.now);
    assert!(matches!(scene.settling(), Next::Wait(Some(_))));
    assert!(matches!(scene.reading(), Next::Wait(None)));
    scene.now += Duration::from_secs(3);
    scene.settles().unwrap();
    scene.pump.settled(Settled::Committed, scene.now);
    assert!(scene.reads());
}

#[test]
fn what_was_read_is_shown_then_committed_then_acknowledged() {
    let mut scene = Scene::open();
    scene.takes(Batch { gone: vec![EntryId::at_ms(9)], ..batch(&[1, 2]) });
    assert_eq!(scene.settles(), Some(vec![1, 2]));
    assert!(matches!(scene.settling(), Next::Wait(None)), "nothing is acknowledged before the commit");
    scene.pump.settled(Settled::Committed, scene.now);
    assert_eq!(scene.acknowledges(), Some(vec![1, 2, 9]), "with those that are gone");
    scene.pump.acknowledged(Attempt::Done, scene.now);
    assert_eq!(scene.pump.in_flight(), 0);
}

#[test]
fn behind_a_full_batch_the_next_is_read_at_once_and_otherwise_entries_gather() {
    let mut scene = Scene::open();
    scene.takes(batch(&[1, 2, 3]));
    scene.takes(batch(&[4]));
    let Next::Wait(Some(until)) = scene.reading() else { panic!("it waits for a moment") };
    scene.now = until;
    assert!(matches!(scene.reading(), Next::Wait(None)), "and until the other half has taken them");
    assert_eq!(scene.settles(), Some(vec![1, 2, 3, 4]), "all of them together");
    assert!(scene.reads());
}

#[test]
fn at_most_eight_batches_are_in_flight() {
    let mut scene = Scene::open();
    for i in 0..MOST_IN_FLIGHT as u64 {
        scene.takes(batch(&[3 * i, 3 * i + 1, 3 * i + 2]));
    }
    assert!(matches!(scene.reading(), Next::Wait(None)));
    assert_eq!(scene.settles().map(|ids| ids.len()), Some(FULL * MOST_IN_FLIGHT));
    assert!(!scene.reads(), "taken is not acknowledged");
    scene.finishes();
    assert!(scene.reads());
}

#[test]
fn entries_that_were_given_before_are_asked_for_with_nothing_in_flight() {
    let mut scene = Scene::open();
    scene.takes(batch(&[1, 2, 3]));
    let before = |scene: &mut Scene| scene.pump.poll_reading(Entries::GivenBefore, scene.now);
    assert!(matches!(before(&mut scene), Next::Wait(None)));
    scene.settles().unwrap();
    scene.finishes();
    assert!(matches!(before(&mut scene), Next::Do(Reading::Read)));
}

#[test]
fn a_read_or_a_showing_that_failed_is_repeated_after_a_while() {
    let mut scene = Scene::open();
    assert!(scene.reads());
    scene.pump.read(None, scene.now);
    assert_eq!(scene.pump.in_flight(), 0);
    let Next::Wait(Some(until)) = scene.reading() else { panic!("not at once") };
    scene.now = until;
    assert!(scene.reads());
    scene.pump.read(Some(batch(&[1])), scene.now);
    let Next::Do(Reading::Show(shown)) = scene.reading() else { panic!("it shows what it read") };
    scene.pump.shown(shown, Attempt::Failed, scene.now);
    let Next::Wait(Some(until)) = scene.reading() else { panic!("not at once") };
    assert_eq!(scene.settles(), None, "nothing is settled that is not shown");
    scene.now = until;
    assert!(matches!(scene.reading(), Next::Do(Reading::Show(_))));
}

#[test]
fn a_refused_entry_stands_alone_in_the_end_and_the_others_are_committed() {
    let mut scene = Scene::open();
    scene.takes(batch(&[1, 2, 3]));
    let refused = |scene: &mut Scene| scene.pump.settled(Settled::Refused("no".into()), scene.now);
    assert_eq!(scene.settles(), Some(vec![1, 2, 3]));
    refused(&mut scene);
    assert_eq!(scene.settles(), Some(vec![1]));
    scene.pump.settled(Settled::Committed, scene.now);
    assert_eq!(scene.settles(), Some(vec![2, 3]));
    refused(&mut scene);
    assert_eq!(scene.settles(), Some(vec![2]));
    refused(&mut scene);
    assert_eq!(scene.settles(), Some(vec![3]));
    scene.pump.settled(Settled::Committed, scene.now);
    let Next::Do(Settling::Bury(broken)) = scene.settling() else { panic!("the guilty one is put aside") };
    assert_eq!((broken.id, broken.error.as_str()), (EntryId::at_ms(2), "no"));
    scene.pump.buried(Attempt::Done, scene.now);
    assert_eq!(scene.acknowledges(), Some(vec![1, 2, 3]));
}

#[test]
fn what_is_no_event_goes_to_the_dead_letters_even_if_nothing_else_came() {
    let mut scene = Scene::open();
    let broken = BrokenEntry { id: EntryId::at_ms(7), fields: Vec::new(), error: "no event".into() };
    scene.takes(Batch { broken: vec![broken.clone()], ..Batch::default() });
    assert_eq!(scene.settles(), Some(vec![]));
    scene.pump.settled(Settled::Committed, scene.now);
    for attempt in [Attempt::Failed, Attempt::Done] {
        scene.now += Duration::from_secs(3);
        let Next::Do(Settling::Bury(again)) = scene.settling() else { panic!("it is put aside") };
        assert_eq!(again, broken);
        scene.pump.buried(attempt, scene.now);
    }
    assert_eq!(scene.pump.in_flight(), 0, "moving it acknowledged it");
}

#[test]
fn a_commit_that_failed_is_repeated_and_nothing_is_acknowledged_meanwhile() {
    let mut scene = Scene::open();
    scene.takes(batch(&[1, 2, 3]));
    scene.settles().unwrap();
    scene.pump.settled(Settled::Unavailable, scene.now);
    let Next::Wait(Some(until)) = scene.settling() else { panic!("not at once") };
    scene.takes(batch(&[4, 5, 6]));
    scene.now = until;
    assert_eq!(scene.settles(), Some(vec![1, 2, 3]), "in the same transaction as before");
    scene.finishes();
    assert_eq!(scene.settles(), Some(vec![4, 5, 6]));
}

#[test]
fn a_wish_to_stop_ends_reading_and_what_was_read_is_finished() {
    let mut scene = Scene::open();
    scene.takes(batch(&[1, 2, 3]));
    assert!(scene.reads());
    scene.pump.stop();
    assert!(matches!(scene.reading(), Next::Wait(None)), "the read is not given up");
    scene.pump.read(Some(batch(&[4])), scene.now);
    let Next::Do(Reading::Show(last)) = scene.reading() else { panic!("nor is what it brought") };
    scene.pump.shown(last, Attempt::Done, scene.now);
    assert!(matches!(scene.reading(), Next::End));
    assert_eq!(scene.settles(), Some(vec![1, 2, 3, 4]));
    scene.finishes();
    assert!(matches!(scene.settling(), Next::End));
}

#[test]
fn a_line_that_stops_waits_for_nobody() {
    let mut scene = Scene::open();
    scene.takes(batch(&[1, 2, 3]));
    scene.settles().unwrap();
    scene.pump.stop();
    scene.pump.settled(Settled::Unavailable, scene.now);
    assert!(matches!(scene.reading(), Next::End));
    assert!(matches!(scene.settling(), Next::End), "its entries stay pending for the next consumer");
}
