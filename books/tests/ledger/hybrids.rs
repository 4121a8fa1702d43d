//! A hybrid torrent's v2 info hash: everything is booked on the v1 info hash, whenever the alias comes, and
//! what both names claimed counts once.

use books::Entry;
use books::ledger::{Aliased, Ledger};
use contract::{Claim, Event, TrafficEvent};

use crate::on_every_dialect;
use crate::scene::{T0, entry, event, hash, passkey, ts};
use crate::settling::settle;

/// Alice's client on torrent 1 (v1) or 2 (v2), so many seconds after T0; its line was born in the second
/// `born`.
fn report(torrent: u8, (born, second): (u64, u64), up: u64, tu: u64, du: u64) -> Entry {
    let (at_ms, born_ms) = ((T0 + second) * 1000, (T0 + born) * 1000);
    let claim = Claim { at_ms, up, down: 0, born_ms, tu, td: 0, n: 0 };
    let plain = TrafficEvent { info_hash: hash(torrent), du, claim: Some(claim), ..event(T0 + second) };
    entry(TrafficEvent { dt: if second == born { 0 } else { 60 }, ..plain })
}

fn alias(ledger: &mut Ledger) -> Aliased {
    ledger.alias_torrents(&[(hash(2), hash(1))]).unwrap()
}

fn credited(ledger: &mut Ledger) -> i64 {
    assert_eq!(ledger.verify(&mut |_, _| {}).unwrap(), []);
    let sums = ledger.user(&passkey("alice")).unwrap().unwrap().sums;
    assert_eq!(sums.raw_up, sums.credited_up);
    let torrents = ledger.torrents_of(&passkey("alice")).unwrap();
    assert_eq!(torrents.iter().map(|(_, torrent)| torrent.sums.raw_up).sum::<i64>(), sums.raw_up);
    sums.raw_up
}

#[test]
fn whenever_the_alias_comes_the_bytes_are_the_first_names() {
    on_every_dialect(|new| {
        let mut entries = [
            report(2, (0, 0), 0, 0, 0),
            report(2, (0, 60), 50, 50, 50),
            report(1, (0, 120), 60, 60, 10),
            report(2, (0, 130), 60, 60, 0),
        ];
        entries[1].event.event = Event::Completed;
        for before in 0..=entries.len() {
            let place = new();
            let mut ledger = place.open();
            settle(&mut ledger, &entries[..before]);
            assert_eq!(alias(&mut ledger).torrents, 1);
            settle(&mut ledger, &entries[before..]);
            assert_eq!(credited(&mut ledger), 60, "alias after {before}");
            let torrents = ledger.torrents_of(&passkey("alice")).unwrap();
            assert_eq!(torrents.iter().map(|(hash, _)| *hash).collect::<Vec<_>>(), [hash(1)]);
            assert_eq!(torrents[0].1.completed_at, Some(ts(60)));
            let books = place.dump();
            settle(&mut ledger, &entries);
            assert_eq!(alias(&mut ledger), Aliased::default());
            assert_eq!(place.dump(), books, "a replay of everything");
        }
    });
}

#[test]
fn what_both_names_claimed_is_given_back_and_the_rest_is_credited_as_it_comes() {
    on_every_dialect(|new| {
        let place = new();
        let mut ledger = place.open();
        settle(
            &mut ledger,
            &[
                report(1, (0, 0), 0, 0, 0),
                report(2, (1, 1), 0, 0, 0),
                report(1, (0, 60), 90, 90, 90),
                report(2, (1, 61), 89, 89, 89),
            ],
        );
        assert_eq!(credited(&mut ledger), 179);
        assert_eq!(alias(&mut ledger), Aliased { torrents: 1, accounts: 1, given_back: [89, 0] });
        assert_eq!(credited(&mut ledger), 90);
        // The recorder has claimed 179, and claims nothing more until that is true.
        settle(&mut ledger, &[report(1, (0, 120), 100, 179, 0)]);
        settle(&mut ledger, &[report(1, (0, 130), 100, 179, 0)]);
        assert_eq!(ledger.user(&passkey("alice")).unwrap().unwrap().sums.raw_up, 100);
        settle(&mut ledger, &[report(1, (0, 180), 200, 200, 21)]);
        assert_eq!(credited(&mut ledger), 200);
        settle(&mut ledger, &[report(1, (0, 240), 250, 250, 50)]);
        assert_eq!(credited(&mut ledger), 250);
    });
}

#[test]
fn lines_of_two_names_that_were_born_together_are_two_lines() {
    on_every_dialect(|new| {
        let place = new();
        let mut ledger = place.open();
        let entries = [
            report(1, (0, 0), 0, 0, 0),
            report(2, (0, 0), 0, 0, 0),
            report(1, (0, 60), 50, 50, 50),
            report(2, (0, 61), 49, 49, 49),
        ];
        settle(&mut ledger, &entries);
        assert_eq!(alias(&mut ledger).given_back, [49, 0]);
        for (second, counter, credited_then) in [(120, 50, 50), (180, 80, 80), (181, 80, 80)] {
            settle(&mut ledger, &[report(1, (0, second), counter, 99, 0)]);
            assert_eq!(credited(&mut ledger), credited_then);
        }
        settle(&mut ledger, &[report(1, (0, 240), 120, 120, 21)]);
        assert_eq!(credited(&mut ledger), 120);
        settle(&mut ledger, &entries);
        assert_eq!(credited(&mut ledger), 120, "a replay");
    });
}

#[test]
fn entries_from_before_the_alias_that_are_settled_behind_it_count_at_most_once() {
    on_every_dialect(|new| {
        let entries = [
            report(1, (0, 0), 0, 0, 0),
            report(2, (1, 1), 0, 0, 0),
            report(1, (0, 60), 90, 90, 90),
            report(2, (1, 61), 89, 89, 89),
        ];
        for before in 0..=entries.len() {
            let place = new();
            let mut ledger = place.open();
            settle(&mut ledger, &entries[..before]);
            alias(&mut ledger);
            settle(&mut ledger, &entries[before..]);
            assert_eq!(credited(&mut ledger), 90, "alias after {before}");
        }
    });
}

#[test]
fn what_goes_on_under_the_first_name_before_the_ledger_hears_of_the_alias_counts_once() {
    on_every_dialect(|new| {
        let place = new();
        let mut ledger = place.open();
        settle(
            &mut ledger,
            &[
                report(2, (0, 0), 0, 0, 0),
                report(1, (1, 1), 0, 0, 0),
                report(2, (0, 60), 50, 50, 50),
                report(1, (1, 61), 49, 49, 49),
                // Redis has made one session of the two.
                report(1, (0, 120), 60, 99, 0),
                report(1, (0, 180), 110, 110, 11),
            ],
        );
        alias(&mut ledger);
        assert_eq!(credited(&mut ledger), 110);
        settle(&mut ledger, &[report(1, (0, 240), 130, 130, 20)]);
        assert_eq!(credited(&mut ledger), 130);
    });
}

#[test]
fn names_that_were_announced_one_after_the_other_claimed_nothing_twice() {
    on_every_dialect(|new| {
        let place = new();
        let mut ledger = place.open();
        settle(&mut ledger, &[report(2, (0, 0), 0, 0, 0), report(2, (0, 60), 50, 50, 50)]);
        settle(&mut ledger, &[report(1, (100, 100), 50, 0, 0), report(1, (100, 160), 80, 30, 30)]);
        assert_eq!(alias(&mut ledger).given_back, [0, 0]);
        assert_eq!(credited(&mut ledger), 80);
    });
}

#[test]
fn a_chain_of_names_is_refused() {
    on_every_dialect(|new| {
        let place = new();
        let mut ledger = place.open();
        alias(&mut ledger);
        assert_eq!(
            ledger.alias_torrents(&[(hash(3), hash(2)), (hash(4), hash(4))]).unwrap(),
            Aliased::default()
        );
    });
}
