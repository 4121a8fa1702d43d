//! One set of entries, delivered in any order, any batching, with any duplicates, to two consumers.

#![allow(dead_code, clippy::unwrap_used, missing_docs, unreachable_pub)] // Each test uses a part of it.

use std::collections::HashSet;

use books::{Entry, EntryId};
use contract::{Event, TrafficEvent};
use proptest::prelude::*;

use super::{T0, event, hash, passkey, peer};

pub fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

fn any_event() -> impl Strategy<Value = TrafficEvent> {
    // Few sessions and few moments, so that they meet often.
    let session = (0..3_usize, 1..3_u8, 1..3_u8);
    let bytes = || prop_oneof![Just(0), 0..2_000_000_000_u64, Just(1 << 53), Just(u64::MAX)];
    let time = (
        (0..40_u64).prop_map(|n| n * 500),
        prop_oneof![Just(0), 0..9000_u64],
        prop_oneof![Just(600_u32), Just(1800)],
    );
    let what = (prop_oneof![Just(0), Just(5), Just(u64::MAX)], 0..8_usize, proptest::option::of("[ab]"));
    (session, bytes(), bytes(), time, what).prop_map(
        |(session, du, dd, (offset, dt, interval), (left, word, fd))| {
            let words = [Event::Started, Event::Completed, Event::Stopped];
            TrafficEvent {
                passkey: passkey(["alice", "bob", "carol"][session.0]),
                info_hash: hash(session.1),
                peer_id: peer(session.2),
                du,
                dd,
                left,
                dt,
                interval,
                event: words.get(word).copied().unwrap_or_default(),
                fd,
                ..event(T0 + offset)
            }
        },
    )
}

/// Entries with keys that are unique, as the tracker promises, and ids that rise in an order of their own.
fn any_entries() -> impl Strategy<Value = Vec<Entry>> {
    proptest::collection::vec((any_event(), 0..3_u64), 1..50).prop_map(|events| {
        let mut seen = HashSet::new();
        let key = |e: &TrafficEvent| (e.passkey, e.info_hash, e.peer_id, e.ts);
        let unique = events.into_iter().filter(|(event, _)| seen.insert(key(event)));
        // The number is what makes an id unique; the shift decouples the order of ids from the order of
        // times.
        let ids = |ts, shift, seq| EntryId { ms: (ts + shift * 500) * 1000, seq };
        unique.zip(0..).map(|((event, shift), seq)| Entry { id: ids(event.ts, shift, seq), event }).collect()
    })
}

/// The same entries shuffled, some of them twice, cut into batches, each for one of two consumers.
pub type Delivery = Vec<(bool, Vec<Entry>)>;

pub fn any_delivery(entries: Vec<Entry>) -> impl Strategy<Value = Delivery> {
    let len = entries.len();
    let again = proptest::collection::vec(0..len, 0..=len);
    let all = again.prop_map(move |again| {
        let repeats = again.into_iter().map(|i| entries[i].clone());
        entries.iter().cloned().chain(repeats.collect::<Vec<_>>()).collect::<Vec<Entry>>()
    });
    let cuts = proptest::collection::vec((any::<bool>(), 1..20_usize), 100);
    (all.prop_shuffle(), cuts).prop_map(|(mut rest, cuts)| {
        let mut delivery = Vec::new();
        for (consumer, len) in cuts {
            let batch: Vec<Entry> = rest.drain(..len.min(rest.len())).collect();
            if !batch.is_empty() {
                delivery.push((consumer, batch));
            }
        }
        delivery
    })
}

pub fn any_case() -> impl Strategy<Value = (Vec<Entry>, Delivery)> {
    any_entries().prop_flat_map(|entries| (Just(entries.clone()), any_delivery(entries)))
}
