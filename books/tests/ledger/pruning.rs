//! Pruning: events lose their rows, totals stay and can still be added up, and nothing pruned is ever settled
//! again.

use books::ledger::{Accounts, Intent, Ledger, Outcome, Pruned};
use books::{Entry, EntryId};
use contract::{Event, TrafficEvent};

use crate::on_every_dialect;
use crate::scene::{T0, entry, event, hash, passkey, peer, ts};
use crate::settling::{explain, settle};

/// Everything before this many seconds after T0 may be pruned.
fn prune(ledger: &mut Ledger, offset: u64, intent: Intent) -> Pruned {
    ledger.prune(EntryId::at_ms((T0 + offset) * 1000), intent, &mut |_, _| {}).unwrap()
}

#[test]
fn pruned_events_leave_totals_that_still_balance_whatever_comes_later() {
    on_every_dialect(|new| {
        let (place, whole) = (new(), new());
        let (mut ledger, mut unpruned) = (place.open(), whole.open());
        let twin = |ts| entry(TrafficEvent { peer_id: peer(2), ..event(ts) });
        let bob = |ts| entry(TrafficEvent { passkey: passkey("bob"), event: Event::Completed, ..event(ts) });
        let old = [entry(event(T0)), twin(T0 + 300), bob(T0 + 5), entry(event(T0 + 600))];
        // Seconds that the pruned events have earned already must not be earned again.
        let young = [
            entry(event(T0 + 1000)),
            twin(T0 + 700),
            entry(TrafficEvent { info_hash: hash(2), ..event(T0 + 900) }),
        ];
        for ledger in [&mut ledger, &mut unpruned] {
            settle(ledger, &old);
        }
        assert_eq!(prune(&mut ledger, 601, Intent::Look), Pruned { events: 4, flagged: 0 });
        assert_eq!(explain(&mut ledger, 10).len(), 3, "looking removes nothing");
        assert_eq!(prune(&mut ledger, 601, Intent::Act), Pruned { events: 4, flagged: 0 });
        assert_eq!(explain(&mut ledger, 10).len(), 0);
        assert_eq!(ledger.verify(&mut |_, _| {}).unwrap(), []);
        for ledger in [&mut ledger, &mut unpruned] {
            settle(ledger, &young);
        }
        assert_eq!(ledger.verify(&mut |_, _| {}).unwrap(), []);
        assert_eq!(prune(&mut ledger, 901, Intent::Act).events, 2);
        assert_eq!(ledger.verify(&mut |_, _| {}).unwrap(), []);
        for name in ["alice", "bob"] {
            assert_eq!(ledger.user(&passkey(name)).unwrap(), unpruned.user(&passkey(name)).unwrap());
            assert_eq!(
                ledger.torrents_of(&passkey(name)).unwrap(),
                unpruned.torrents_of(&passkey(name)).unwrap()
            );
        }
        place.spoil(|dialect| {
            let key = (passkey("bob"), hash(1));
            let mut bob = dialect.accounts(Accounts::CarriedForward, &[key])?.remove(0).unwrap();
            bob.sums.raw_up -= 1;
            dialect.save_accounts(Accounts::CarriedForward, &[(key, bob)])
        });
        let drifts = ledger.verify(&mut |_, _| {}).unwrap();
        assert_eq!(
            drifts.iter().map(|d| (d.table, d.column)).collect::<Vec<_>>(),
            [("torrent_traffic", "raw_up"), ("user_traffic", "raw_up")]
        );
    });
}

#[test]
fn an_entry_that_was_pruned_is_never_settled_again() {
    on_every_dialect(|new| {
        let place = new();
        let mut ledger = place.open();
        let entries = [entry(event(T0)), entry(event(T0 + 600)), entry(event(T0 + 1200))];
        settle(&mut ledger, &entries);
        prune(&mut ledger, 700, Intent::Act);
        assert_eq!(ledger.are_settled(&entries).unwrap(), [true; 3]);
        assert_eq!(ledger.are_settled(&[entry(event(T0 + 1201))]).unwrap(), [false]);
        assert_eq!(settle(&mut ledger, &entries), Outcome { duplicates: 3, ..Outcome::default() });
        assert_eq!(ledger.user(&passkey("alice")).unwrap().unwrap().sums.raw_up, 3000);
        prune(&mut ledger, 100, Intent::Act);
        assert_eq!(
            ledger.mark().unwrap().pruned_before,
            EntryId::at_ms((T0 + 700) * 1000),
            "never moves back"
        );
    });
}

#[test]
fn flagged_events_and_those_of_later_entries_are_not_pruned() {
    on_every_dialect(|new| {
        let place = new();
        let mut ledger = place.open();
        let fast = entry(TrafficEvent { du: 1 << 50, dt: 1, ..event(T0) });
        // Announced long ago and booked late: its entry is young, and may be delivered again.
        let late = Entry { id: EntryId::at_ms((T0 + 9000) * 1000), event: event(T0 + 1) };
        settle(&mut ledger, &[fast, late, entry(event(T0 + 2))]);
        assert_eq!(prune(&mut ledger, 600, Intent::Act), Pruned { events: 1, flagged: 1 });
        assert_eq!(explain(&mut ledger, 10), [ts(0), ts(1)]);
        assert_eq!(ledger.verify(&mut |_, _| {}).unwrap(), []);
    });
}

#[test]
fn many_events_are_pruned_in_several_transactions() {
    on_every_dialect(|new| {
        let place = new();
        let mut ledger = place.open();
        let many: Vec<Entry> = (0..4500).map(|i| entry(event(T0 + i))).collect();
        settle(&mut ledger, &many);
        let mut steps = Vec::new();
        let before = EntryId::at_ms((T0 + 4400) * 1000);
        ledger.prune(before, Intent::Act, &mut |done, total| steps.push((done, total))).unwrap();
        assert_eq!(steps, [(2000, 4401), (4000, 4401), (4401, 4401)]);
        assert_eq!(explain(&mut ledger, 1000).len(), 100);
        assert_eq!(ledger.verify(&mut |_, _| {}).unwrap(), []);
    });
}
