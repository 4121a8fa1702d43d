//! Pruning: events lose their rows, totals stay and can still be added up, and nothing pruned is ever settled
//! again.

#![allow(clippy::unwrap_used)] // In functions that tests share, too.

mod scene;

use books::Entry;
use books::entry::EntryId;
use books::ledger::{EventQuery, Intent, Ledger, Outcome, Pruned};
use books::settlement::Rules;
use contract::{Event, TrafficEvent};
use scene::{LedgerFile, T0, entry, event, hash, passkey, peer};

fn settle(ledger: &mut dyn Ledger, entries: &[Entry]) -> Outcome {
    ledger.settle(entries, &Rules::default()).unwrap()
}

fn ts(offset: u64) -> i64 {
    i64::try_from(T0 + offset).unwrap()
}

/// The times of alice's newest events.
fn explain(ledger: &mut dyn Ledger, newest: u32) -> Vec<i64> {
    let query = EventQuery { passkey: passkey("alice"), info_hash: None, since: None, newest };
    ledger.events(&query).unwrap().into_iter().map(|row| row.ts).collect()
}

/// Everything before this many seconds after T0 may be pruned.
fn prune(ledger: &mut dyn Ledger, offset: u64, intent: Intent) -> Pruned {
    ledger.prune(EntryId::at_ms((T0 + offset) * 1000), intent, &mut |_, _| {}).unwrap()
}

#[test]
fn pruned_events_leave_totals_that_still_balance_whatever_comes_later() {
    let (file, whole) = (LedgerFile::new(), LedgerFile::new());
    let (mut ledger, mut unpruned) = (file.open(), whole.open());
    let twin = |ts| entry(TrafficEvent { peer_id: peer(2), ..event(ts) });
    let bob = |ts| entry(TrafficEvent { passkey: passkey("bob"), event: Event::Completed, ..event(ts) });
    let old = [entry(event(T0)), twin(T0 + 300), bob(T0 + 5), entry(event(T0 + 600))];
    // Seconds that the pruned events have earned already must not be earned again.
    let new = [
        entry(event(T0 + 1000)),
        twin(T0 + 700),
        entry(TrafficEvent { info_hash: hash(2), ..event(T0 + 900) }),
    ];
    for ledger in [&mut ledger, &mut unpruned] {
        settle(ledger.as_mut(), &old);
    }
    assert_eq!(prune(ledger.as_mut(), 601, Intent::Look), Pruned { events: 4, flagged: 0 });
    assert_eq!(explain(ledger.as_mut(), 10).len(), 3, "looking removes nothing");
    assert_eq!(prune(ledger.as_mut(), 601, Intent::Act), Pruned { events: 4, flagged: 0 });
    assert_eq!(explain(ledger.as_mut(), 10).len(), 0);
    assert_eq!(ledger.verify(&mut |_, _| {}).unwrap(), []);
    for ledger in [&mut ledger, &mut unpruned] {
        settle(ledger.as_mut(), &new);
    }
    assert_eq!(ledger.verify(&mut |_, _| {}).unwrap(), []);
    assert_eq!(prune(ledger.as_mut(), 901, Intent::Act).events, 2);
    assert_eq!(ledger.verify(&mut |_, _| {}).unwrap(), []);
    for name in ["alice", "bob"] {
        assert_eq!(ledger.user(&passkey(name)).unwrap(), unpruned.user(&passkey(name)).unwrap());
        assert_eq!(
            ledger.torrents_of(&passkey(name)).unwrap(),
            unpruned.torrents_of(&passkey(name)).unwrap()
        );
    }
    let spoil = "UPDATE carried_forward SET raw_up = raw_up - 1 WHERE passkey = 'bob'";
    file.sql().execute(spoil, []).unwrap();
    let drifts = ledger.verify(&mut |_, _| {}).unwrap();
    assert_eq!(
        drifts.iter().map(|d| (d.table, d.column)).collect::<Vec<_>>(),
        [("torrent_traffic", "raw_up"), ("user_traffic", "raw_up")]
    );
}

#[test]
fn an_entry_that_was_pruned_is_never_settled_again() {
    let file = LedgerFile::new();
    let mut ledger = file.open();
    let entries = [entry(event(T0)), entry(event(T0 + 600)), entry(event(T0 + 1200))];
    settle(ledger.as_mut(), &entries);
    prune(ledger.as_mut(), 700, Intent::Act);
    assert_eq!(ledger.are_settled(&entries).unwrap(), [true; 3]);
    assert_eq!(ledger.are_settled(&[entry(event(T0 + 1201))]).unwrap(), [false]);
    assert_eq!(settle(ledger.as_mut(), &entries), Outcome { duplicates: 3, ..Outcome::default() });
    assert_eq!(ledger.user(&passkey("alice")).unwrap().unwrap().sums.raw_up, 3000);
    prune(ledger.as_mut(), 100, Intent::Act);
    assert_eq!(ledger.mark().unwrap().pruned_before, EntryId::at_ms((T0 + 700) * 1000), "never moves back");
}

#[test]
fn flagged_events_and_those_of_later_entries_are_not_pruned() {
    let file = LedgerFile::new();
    let mut ledger = file.open();
    let fast = entry(TrafficEvent { du: 1 << 50, dt: 1, ..event(T0) });
    // Announced long ago and booked late: its entry is young, and may be delivered again.
    let late = Entry { id: EntryId::at_ms((T0 + 9000) * 1000), event: event(T0 + 1) };
    settle(ledger.as_mut(), &[fast, late, entry(event(T0 + 2))]);
    assert_eq!(prune(ledger.as_mut(), 600, Intent::Act), Pruned { events: 1, flagged: 1 });
    assert_eq!(explain(ledger.as_mut(), 10), [ts(0), ts(1)]);
    assert_eq!(ledger.verify(&mut |_, _| {}).unwrap(), []);
}

#[test]
fn many_events_are_pruned_in_several_transactions() {
    let file = LedgerFile::new();
    let mut ledger = file.open();
    let many: Vec<Entry> = (0..4500).map(|i| entry(event(T0 + i))).collect();
    settle(ledger.as_mut(), &many);
    let mut steps = Vec::new();
    let before = EntryId::at_ms((T0 + 4400) * 1000);
    ledger.prune(before, Intent::Act, &mut |done, total| steps.push((done, total))).unwrap();
    assert_eq!(steps, [(2000, 4401), (4000, 4401), (4401, 4401)]);
    assert_eq!(explain(ledger.as_mut(), 1000).len(), 100);
    assert_eq!(ledger.verify(&mut |_, _| {}).unwrap(), []);
}
