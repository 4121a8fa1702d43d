//! A rotated passkey: everything moves, and what comes later under the old name finds its place.

use books::Entry;
use books::ledger::{EventQuery, Intent, Ledger, Rotated};
use books::settlement::{Promotion, Rules, Scope};
use contract::{Event, TrafficEvent};

use crate::on_every_dialect;
use crate::scene::{T0, entry, event, hash, passkey};

fn of(name: &str, torrent: u8, ts: u64, du: u64) -> TrafficEvent {
    TrafficEvent { passkey: passkey(name), info_hash: hash(torrent), du, ..event(ts) }
}

fn settle(ledger: &mut Ledger, entries: &[Entry]) -> u64 {
    ledger.settle(entries, &Rules::default()).unwrap().settled
}

fn rotate(ledger: &mut Ledger, old: &str, new: &str) -> Result<Rotated, String> {
    let (old, new) = (passkey(old), passkey(new));
    ledger.rotate((&old, &new), Intent::Act, &mut |_, _| {}).map_err(|error| error.to_string())
}

fn raw_up(ledger: &mut Ledger, name: &str) -> Option<i64> {
    ledger.user(&passkey(name)).unwrap().map(|user| user.sums.raw_up)
}

/// Old and new on one torrent and on torrents of their own; two of the events share second and client.
fn entries() -> Vec<Entry> {
    let mut entries: Vec<Entry> = vec![
        entry(of("old", 1, T0, 1)),
        entry(of("new", 1, T0, 20)),
        entry(TrafficEvent { event: Event::Completed, ..of("old", 1, T0 + 700, 300) }),
        entry(of("new", 1, T0 + 900, 4000)),
        entry(of("old", 2, T0 + 100, 50_000)),
        entry(of("new", 3, T0 + 100, 600_000)),
        entry(of("bob", 1, T0, 7)),
    ];
    entries[1].id.seq = 1;
    entries
}

#[test]
fn whenever_the_rotation_comes_the_books_are_the_same_and_balance() {
    on_every_dialect(|new| {
        let entries = entries();
        for before in 0..=entries.len() {
            let place = new();
            let mut ledger = place.open();
            settle(&mut ledger, &entries[..before]);
            rotate(&mut ledger, "old", "new").unwrap();
            settle(&mut ledger, &entries[before..]);
            assert_eq!(raw_up(&mut ledger, "new"), Some(654_321), "rotated after {before}");
            assert_eq!(raw_up(&mut ledger, "old"), None);
            assert_eq!(raw_up(&mut ledger, "bob"), Some(7));
            assert_eq!(ledger.verify(&mut |_, _| {}).unwrap(), [], "rotated after {before}");
            assert_eq!(ledger.are_settled(&entries).unwrap(), [true; 7]);
            let user = ledger.user(&passkey("new")).unwrap().unwrap();
            assert_eq!(user.completed, 1);
            // T0-600..T0 and T0+300..T0+900 of torrent 1; 600 each of torrents 2 and 3. Completing claims
            // leech time.
            assert_eq!((user.sums.seed_seconds, user.sums.leech_seconds), (2400, 600));
            let books = place.dump();
            assert_eq!(settle(&mut ledger, &entries), 0, "a replay of everything");
            assert_eq!(place.dump(), books);
        }
    });
}

#[test]
fn rotating_again_moves_nothing_and_keys_follow_a_chain() {
    on_every_dialect(|new| {
        let place = new();
        let mut ledger = place.open();
        let entries = entries();
        settle(&mut ledger, &entries);
        assert_eq!(rotate(&mut ledger, "old", "new").unwrap().events, 3);
        assert_eq!(rotate(&mut ledger, "old", "new").unwrap().events, 0);
        assert_eq!(rotate(&mut ledger, "new", "newer").unwrap().torrents, 3);
        assert_eq!(settle(&mut ledger, &entries), 0);
        assert_eq!(settle(&mut ledger, &[entry(of("old", 1, T0 + 5000, 1_000_000))]), 1);
        assert_eq!(raw_up(&mut ledger, "newer"), Some(1_654_321));
        assert_eq!(ledger.verify(&mut |_, _| {}).unwrap(), []);
    });
}

#[test]
fn circles_and_forks_are_refused_and_change_nothing() {
    on_every_dialect(|new| {
        let place = new();
        let mut ledger = place.open();
        settle(&mut ledger, &entries());
        rotate(&mut ledger, "old", "new").unwrap();
        let books = place.dump();
        assert!(rotate(&mut ledger, "new", "old").unwrap_err().contains("was itself rotated"));
        assert!(rotate(&mut ledger, "old", "other").unwrap_err().contains("already"));
        assert!(rotate(&mut ledger, "new", "new").unwrap_err().contains("the same"));
        assert_eq!(place.dump(), books);
    });
}

#[test]
fn promotions_flags_and_pruned_sums_move_too() {
    on_every_dialect(|new| {
        let place = new();
        let mut ledger = place.open();
        let scope = Scope::User(passkey("old"));
        let double =
            Promotion { id: 0, scope, up_milli: 2000, down_milli: 1000, starts_at: 0, ends_at: None };
        ledger.add_promotion(&double).unwrap();
        let rules = Rules { max_rate_bytes_per_s: 1000 };
        let flagged = entry(of("old", 1, T0 + 1, 10_000_000));
        let entries = [entry(of("old", 1, T0, 5)), flagged, entry(of("old", 1, T0 + 5000, 6))];
        ledger.settle(&entries, &rules).unwrap();
        ledger.prune(entries[2].id, Intent::Act, &mut |_, _| {}).unwrap();
        rotate(&mut ledger, "old", "new").unwrap();
        assert_eq!(ledger.verify(&mut |_, _| {}).unwrap(), []);
        ledger.settle(&[entry(of("old", 1, T0 + 9000, 7))], &rules).unwrap();
        let user = ledger.user(&passkey("new")).unwrap().unwrap();
        assert_eq!((user.sums.raw_up, user.sums.credited_up), (10_000_018, 36));
        let query = EventQuery { passkey: passkey("new"), info_hash: None, since: None, newest: 10 };
        let flags = ledger.events(&query).unwrap().iter().filter(|row| row.flag.is_some()).count();
        assert_eq!(flags, 1);
    });
}

#[test]
fn keys_follow_an_alias_that_comes_after_the_rotation() {
    on_every_dialect(|new| {
        let entries: Vec<Entry> = [
            of("old", 2, T0, 1),
            of("new", 2, T0, 20),
            of("new", 1, T0 + 300, 300),
            of("old", 2, T0 + 300, 4000),
            of("old", 1, T0 + 600, 50_000),
            of("new", 2, T0 + 600, 600_000),
        ]
        .into_iter()
        .map(entry)
        .collect();
        for before in 0..=entries.len() {
            for between in before..=entries.len() {
                let place = new();
                let mut ledger = place.open();
                settle(&mut ledger, &entries[..before]);
                rotate(&mut ledger, "old", "new").unwrap();
                settle(&mut ledger, &entries[before..between]);
                assert_eq!(ledger.alias_torrents(&[(hash(2), hash(1))]).unwrap().torrents, 1);
                settle(&mut ledger, &entries[between..]);
                let case = format!("rotated after {before}, aliased after {between}");
                assert_eq!(ledger.are_settled(&entries).unwrap(), [true; 6], "{case}");
                assert_eq!(raw_up(&mut ledger, "new"), Some(654_321), "{case}");
                assert_eq!(ledger.verify(&mut |_, _| {}).unwrap(), [], "{case}");
                assert_eq!(settle(&mut ledger, &entries), 0, "a replay of everything: {case}");
            }
        }
    });
}
