//! Order does not matter: one set of events, in any order, any batching, with any duplicates, from two
//! consumers, gives the same ledger.

use books::ledger::Ledger;
use books::settlement::{Promotion, Rules, Scope};
use proptest::prelude::*;

use crate::scene::deliveries::{Delivery, any_case, cases};
use crate::scene::{T0, hash, passkey};
use crate::{Place, on_every_dialect};

const RULES: Rules = Rules { max_rate_bytes_per_s: 1_000_000 };

fn promote(ledger: &mut Ledger) {
    let film = Scope::Film("a".into());
    for (scope, up_milli, down_milli, starts_at, ends_at) in [
        (Scope::Global, 1000, 500, 5000, Some(15_000)),
        (Scope::Torrent(hash(1)), 2000, 1000, 0, None),
        (film, 1500, 0, 8000, Some(18_000)),
        (Scope::User(passkey("bob")), 2000, 1000, 0, None),
    ] {
        let t0 = i64::try_from(T0).unwrap();
        let promotion = Promotion {
            id: 0,
            scope,
            up_milli,
            down_milli,
            starts_at: t0 + starts_at,
            ends_at: ends_at.map(|end: i64| t0 + end),
        };
        ledger.add_promotion(&promotion).unwrap();
    }
}

fn settled(place: &Place, delivery: &Delivery) -> Vec<String> {
    let (mut one, mut other) = (place.open(), place.open());
    promote(&mut one);
    for (consumer, batch) in delivery {
        let ledger = if *consumer { &mut one } else { &mut other };
        ledger.settle(batch, &RULES).unwrap();
    }
    assert_eq!(one.verify(&mut |_, _| {}).unwrap(), []);
    place.dump()
}

proptest! {
    #![proptest_config(cases(48))]
    #[test]
    fn the_ledger_depends_on_the_events_alone((entries, delivery) in any_case()) {
        let whole = vec![(true, entries)];
        on_every_dialect(|new| assert_eq!(settled(&new(), &whole), settled(&new(), &delivery)));
    }
}
