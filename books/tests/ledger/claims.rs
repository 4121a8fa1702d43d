//! Bytes count once, whatever Redis lost and whatever was computed again, in any order.

use books::Entry;
use books::settlement::{Lines, Promotions, Rules, settle_claimed};
use contract::{Claim, TrafficEvent};
use proptest::prelude::*;

use crate::on_every_dialect;
use crate::scene::deliveries::{any_delivery, cases};
use crate::scene::sessions::{Session, Step, one_run, runs, undisturbed};
use crate::scene::{T0, passkey};

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

/// The client's report at this second, on the line that was born then: what its counter says and what all of
/// the line has claimed; it claims so much.
fn report((second, born): (u64, u64), up: u64, tu: u64, du: u64) -> TrafficEvent {
    let (at_ms, born_ms) = ((T0 + second) * 1000, (T0 + born) * 1000);
    let claim = Claim { at_ms, up, down: 0, born_ms, tu, td: 0, n: 0 };
    TrafficEvent { du, dt: 1, claim: Some(claim), ..crate::scene::event(T0 + second) }
}

#[test]
fn a_line_that_a_redis_began_which_had_lost_the_session_lies_on_the_one_before() {
    let settled_before =
        [report((0, 0), 0, 0, 0), report((5, 0), 50, 50, 50), report((9, 0), 90, 90, 90 - 50)];
    // Redis forgets all of it; another tracker was faster than the one that has the tail.
    let begun_anew = [
        report((7, 7), 70, 0, 0),
        report((8, 7), 80, 10, 10),
        report((0, 7), 0, 80, 70),
        report((9, 7), 90, 90, 10),
        report((10, 0), 100, 100, 10),
        report((12, 0), 120, 120, 20),
    ];
    for settled in 0..=settled_before.len() {
        let mut lines = Lines::default();
        let (mut credited, mut truth) = (0, 0);
        for event in settled_before[..settled].iter().chain(&begun_anew) {
            credited += lines.claim(event).up;
            lines = Lines::from_bytes(&lines.to_bytes()).unwrap();
            truth = truth.max(event.claim.unwrap().up);
            assert!(credited <= truth, "{credited} of {truth} after {event:?}");
        }
        assert_eq!(credited, 120, "after {settled} had been settled before");
    }
}
