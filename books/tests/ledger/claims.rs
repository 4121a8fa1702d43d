//! Bytes count once, whatever Redis lost and whatever was computed again, in any order.

use books::Entry;
use books::settlement::{Lines, Promotions, Rules, settle_claimed};
use contract::TrafficEvent;
use proptest::prelude::*;

use crate::on_every_dialect;
use crate::scene::deliveries::{any_delivery, cases};
use crate::scene::passkey;
use crate::scene::sessions::{Session, Step, one_run, runs, undisturbed};

/// So often Redis may forget a session, and its lines are still known.
const REMEMBERED: u32 = 3;
const NO_FLAGS: Rules = Rules { max_rate_bytes_per_s: 0 };

/// A session, and its entries in some order.
fn shuffled(steps: &[Step], order: &[u32], forgotten: u32) -> (Session, Vec<Entry>) {
    let session = Session::after(steps, forgotten);
    let mut entries: Vec<(u32, Entry)> = order.iter().copied().cycle().zip(session.entries.clone()).collect();
    entries.sort_by_key(|(place, _)| *place);
    (session, entries.into_iter().map(|(_, entry)| entry).collect())
}

fn any_order() -> impl Strategy<Value = Vec<u32>> {
    proptest::collection::vec(any::<u32>(), 40)
}

/// What the lines credit of entries, one after the other.
fn credited<'a>(entries: impl IntoIterator<Item = &'a Entry>) -> [u64; 2] {
    let mut lines = Lines::default();
    entries.into_iter().fold([0; 2], |sum, entry| {
        let gain = lines.claim(&entry.event);
        lines = Lines::from_bytes(&lines.to_bytes()).unwrap();
        [sum[0] + gain.up, sum[1] + gain.down]
    })
}

proptest! {
    #![proptest_config(cases(4000))]
    #[test]
    fn one_run_counts_whole_whatever_redis_forgets(steps in one_run(), order in any_order()) {
        let (session, shuffled) = shuffled(&steps, &order, REMEMBERED);
        prop_assert_eq!(credited(&session.entries), session.truth);
        prop_assert_eq!(credited(&shuffled), session.truth);
        prop_assert_eq!(credited(shuffled.iter().chain(&session.entries)), session.truth);
    }

    #[test]
    fn runs_count_whole_where_redis_keeps_what_it_has(steps in undisturbed(), order in any_order()) {
        let (session, shuffled) = shuffled(&steps, &order, REMEMBERED);
        prop_assert_eq!(credited(&session.entries), session.truth);
        prop_assert_eq!(credited(&shuffled), session.truth);
    }

    #[test]
    fn nothing_counts_twice(steps in runs(), order in any_order()) {
        let (session, shuffled) = shuffled(&steps, &order, u32::MAX);
        for entries in [&session.entries, &shuffled] {
            let credited = credited(entries);
            prop_assert!(credited[0] <= session.truth[0] && credited[1] <= session.truth[1], "{credited:?} of {:?}", session.truth);
        }
    }
}

/// A client of [`sessions`](crate::scene::sessions) moves less than this in a second.
const FASTEST: Rules = Rules { max_rate_bytes_per_s: 50_000 };

/// How many of these entries are flagged, settled one after the other.
fn flagged(entries: &[Entry]) -> usize {
    let mut lines = Lines::default();
    let settled = entries.iter().map(|entry| {
        let claim = |event: &TrafficEvent| lines.claim(event);
        settle_claimed(entry.id, &entry.event, claim, &Promotions::default(), &FASTEST)
    });
    settled.filter(|row| row.flag.is_some()).count()
}

proptest! {
    #![proptest_config(cases(4000))]
    #[test]
    fn an_honest_client_is_never_flagged(steps in runs(), order in any_order()) {
        let (session, shuffled) = shuffled(&steps, &order, u32::MAX);
        prop_assert_eq!(flagged(&session.entries), 0);
        prop_assert_eq!(flagged(&shuffled), 0);
    }
}

proptest! {
    #![proptest_config(cases(32))]
    #[test]
    fn the_ledger_credits_what_the_client_moved(
        (session, delivery) in one_run().prop_flat_map(|steps| {
            let session = Session::after(&steps, REMEMBERED);
            let entries = session.entries.clone();
            (Just(session), any_delivery(entries))
        })
    ) {
        on_every_dialect(|new| {
            let place = new();
            let (mut one, mut other) = (place.open(), place.open());
            for (consumer, batch) in &delivery {
                let ledger = if *consumer { &mut one } else { &mut other };
                ledger.settle(batch, &NO_FLAGS).unwrap();
            }
            assert_eq!(one.verify(&mut |_, _| {}).unwrap(), []);
            let sums = one.user(&passkey("alice")).unwrap().unwrap().sums;
            let truth = session.truth.map(|bytes| i64::try_from(bytes).unwrap());
            assert_eq!([sums.raw_up, sums.raw_down], truth);
            assert_eq!([sums.credited_up, sums.credited_down], truth);
            let books = place.dump();
            one.settle(&session.entries, &NO_FLAGS).unwrap();
            assert_eq!(place.dump(), books, "a replay of everything");
        });
    }
}

#[test]
fn an_event_without_a_claim_counts_by_its_key_alone() {
    let mut lines = Lines::default();
    let plain = TrafficEvent { du: 7, ..crate::scene::event(crate::scene::T0) };
    assert_eq!([lines.claim(&plain).up, lines.claim(&plain).up], [7, 7]);
    assert!(lines.to_bytes().is_empty());
}
