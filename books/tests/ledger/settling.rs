//! Totals, time earned once, flags, reads.

use books::ledger::{EventQuery, Ledger, Outcome};
use books::settlement::{FlagReason, Rules, Sums, UserAccount};
use books::{Entry, EntryId};
use contract::{Event, TrafficEvent};

use crate::on_every_dialect;
use crate::scene::{T0, entry, event, hash, passkey, peer, ts};

pub(crate) fn settle(ledger: &mut Ledger, entries: &[Entry]) -> Outcome {
    ledger.settle(entries, &Rules::default()).unwrap()
}

/// The times of alice's newest events.
pub(crate) fn explain(ledger: &mut Ledger, newest: u32) -> Vec<i64> {
    let query = EventQuery { passkey: passkey("alice"), info_hash: None, since: None, newest };
    ledger.events(&query).unwrap().into_iter().map(|row| row.ts).collect()
}

#[test]
fn totals_add_up_over_torrents_and_a_replay_changes_nothing() {
    on_every_dialect(|new| {
        let place = new();
        let mut ledger = place.open();
        let entries = [
            entry(event(T0)),
            entry(TrafficEvent { info_hash: hash(2), du: 50, dd: 70, left: 9, ..event(T0 + 5) }),
            entry(event(T0 + 600)),
        ];
        assert_eq!(settle(&mut ledger, &entries), Outcome { settled: 3, duplicates: 0, flagged: 0 });
        assert_eq!(settle(&mut ledger, &entries), Outcome { settled: 0, duplicates: 3, flagged: 0 });
        let user = ledger.user(&passkey("alice")).unwrap().unwrap();
        assert_eq!((user.sums.raw_up, user.sums.raw_down), (2050, 70));
        assert_eq!((user.sums.seed_seconds, user.sums.leech_seconds), (1200, 600));
        assert_eq!((user.sums.first_seen, user.sums.last_seen), (ts(0), ts(600)));
        let torrents = ledger.torrents_of(&passkey("alice")).unwrap();
        assert_eq!(torrents.iter().map(|(hash, _)| *hash).collect::<Vec<_>>(), [hash(1), hash(2)]);
        assert_eq!(torrents[1].1.left_bytes, 9);
        assert!(ledger.user(&passkey("bob")).unwrap().is_none());
    });
}

#[test]
fn two_clients_of_one_user_earn_each_second_once() {
    on_every_dialect(|new| {
        let place = new();
        let mut ledger = place.open();
        let second = |ts| entry(TrafficEvent { peer_id: peer(2), ..event(ts) });
        settle(&mut ledger, &[entry(event(T0 + 600)), second(T0 + 900)]);
        settle(&mut ledger, &[second(T0 + 1500), entry(event(T0 + 1200))]);
        let user = ledger.user(&passkey("alice")).unwrap().unwrap();
        assert_eq!(user.sums.seed_seconds, 1500, "from T0 to T0 + 1500 without a gap");
        let query =
            EventQuery { passkey: passkey("alice"), info_hash: Some(hash(1)), since: None, newest: 10 };
        let claims: Vec<i64> = ledger.events(&query).unwrap().iter().map(|row| row.seed_seconds).collect();
        assert_eq!(claims, [600; 4], "each row keeps its own claim");
    });
}

#[test]
fn a_completion_counts_once_and_at_its_earliest_time() {
    on_every_dialect(|new| {
        let place = new();
        let mut ledger = place.open();
        let completed = |ts| entry(TrafficEvent { event: Event::Completed, ..event(ts) });
        settle(&mut ledger, &[completed(T0 + 50)]);
        settle(&mut ledger, &[completed(T0 + 20), completed(T0 + 90)]);
        assert_eq!(ledger.user(&passkey("alice")).unwrap().unwrap().completed, 1);
        assert_eq!(ledger.torrents_of(&passkey("alice")).unwrap()[0].1.completed_at, Some(ts(20)));
    });
}

#[test]
fn what_is_left_comes_from_the_newest_announce_and_ties_from_the_newest_entry() {
    on_every_dialect(|new| {
        let place = new();
        let mut ledger = place.open();
        let at = |ts: u64, seq, who, left| Entry {
            id: EntryId { ms: T0 * 1000, seq },
            event: TrafficEvent { left, peer_id: peer(who), ..event(ts) },
        };
        settle(&mut ledger, &[at(T0 + 10, 10, 1, 111)]);
        settle(&mut ledger, &[at(T0 + 10, 9, 2, 222), at(T0 + 5, 99, 3, 333)]);
        assert_eq!(ledger.torrents_of(&passkey("alice")).unwrap()[0].1.left_bytes, 111);
    });
}

#[test]
fn a_flagged_event_is_recorded_with_its_reason() {
    on_every_dialect(|new| {
        let place = new();
        let mut ledger = place.open();
        let fast = entry(TrafficEvent { du: 1 << 50, dt: 1, ..event(T0) });
        let absurd = entry(TrafficEvent { du: u64::MAX, ..event(T0 + 1) });
        assert_eq!(settle(&mut ledger, &[fast, absurd]).flagged, 2);
        let query = EventQuery { passkey: passkey("alice"), info_hash: None, since: None, newest: 10 };
        let rows = ledger.events(&query).unwrap();
        let reasons: Vec<_> = rows.iter().map(|row| row.flag.as_ref().map(|flag| flag.reason)).collect();
        assert_eq!(reasons, [Some(FlagReason::Speed), Some(FlagReason::Overflow)]);
        assert_eq!((rows[0].raw_up, rows[0].credited_up, rows[1].raw_up), (1 << 50, 0, 0));
    });
}

#[test]
fn totals_stop_at_the_largest_number_instead_of_wrapping() {
    on_every_dialect(|new| {
        let place = new();
        let mut ledger = place.open();
        settle(&mut ledger, &[entry(event(T0))]);
        place.spoil(|dialect| {
            let sums = Sums { raw_up: i64::MAX - 1000, ..Sums::default() };
            dialect.add_to_users(&[(passkey("alice"), UserAccount { sums, completed: 0 })])
        });
        settle(&mut ledger, &[entry(event(T0 + 1))]);
        assert_eq!(ledger.user(&passkey("alice")).unwrap().unwrap().sums.raw_up, i64::MAX);
    });
}

#[test]
fn events_are_read_in_time_order_and_the_newest_are_kept() {
    on_every_dialect(|new| {
        let place = new();
        let mut ledger = place.open();
        settle(&mut ledger, &[entry(event(T0 + 2)), entry(event(T0)), entry(event(T0 + 1))]);
        assert_eq!(explain(&mut ledger, 10), [ts(0), ts(1), ts(2)]);
        assert_eq!(explain(&mut ledger, 2), [ts(1), ts(2)]);
        let since = EventQuery { passkey: passkey("alice"), info_hash: None, since: Some(ts(2)), newest: 9 };
        assert_eq!(ledger.events(&since).unwrap().len(), 1);
    });
}
