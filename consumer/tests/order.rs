//! Order does not matter: one set of events, in any order, any batching, with any duplicates, from two
//! consumers, gives the same ledger and the same presence sets.

#![allow(clippy::unwrap_used)] // In functions that tests share, too.

mod scene;

use std::collections::HashSet;

use books::Entry;
use books::entry::EntryId;
use books::ledger::Ledger;
use books::presence::{self, Leases};
use books::settlement::{Promotion, Rules, Scope};
use contract::{Event, Keys, TrafficEvent};
use harness::RedisServer;
use proptest::prelude::*;
use scene::{LedgerFile, T0, connect, dump_sets, event, hash, passkey, peer};

const RULES: Rules = Rules { max_rate_bytes_per_s: 1_000_000 };

fn cases(cases: u32) -> ProptestConfig {
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
type Delivery = Vec<(bool, Vec<Entry>)>;

fn any_delivery(entries: Vec<Entry>) -> impl Strategy<Value = Delivery> {
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

fn any_case() -> impl Strategy<Value = (Vec<Entry>, Delivery)> {
    any_entries().prop_flat_map(|entries| (Just(entries.clone()), any_delivery(entries)))
}

fn promote(ledger: &mut dyn Ledger) {
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

fn settled(delivery: &Delivery) -> Vec<String> {
    let file = LedgerFile::new();
    let (mut one, mut other) = (file.open(), file.open());
    promote(one.as_mut());
    for (consumer, batch) in delivery {
        let ledger = if *consumer { &mut one } else { &mut other };
        ledger.settle(batch, &RULES).unwrap();
    }
    assert_eq!(one.verify(&mut |_, _| {}).unwrap(), []);
    file.dump()
}

proptest! {
    #![proptest_config(cases(48))]
    #[test]
    fn the_ledger_depends_on_the_events_alone((entries, delivery) in any_case()) {
        prop_assert_eq!(settled(&vec![(true, entries)]), settled(&delivery));
    }
}

/// The sets after a delivery that took some hours, swept after every step, the last time at `now`.
async fn present(redis: &RedisServer, delivery: &Delivery, now: u64) -> Vec<String> {
    let mut connection = connect(redis).await;
    redis::cmd("FLUSHALL").query_async::<()>(&mut connection).await.unwrap();
    let mut other = connect(redis).await;
    for (left, (consumer, batch)) in (0..delivery.len() as u64).rev().zip(delivery) {
        let connection = if *consumer { &mut connection } else { &mut other };
        let now = now - left * 1000;
        presence::apply(connection, &Keys::default(), Leases::default(), batch, now).await.unwrap();
        presence::sweep(connection, &Keys::default(), Leases::default(), now).await.unwrap();
    }
    dump_sets(&mut redis.connection())
}

/// The sets as their definition says, without guards and scripts.
fn expected(entries: &[Entry], now: u64) -> Vec<String> {
    let mut newest: std::collections::BTreeMap<_, &Entry> = std::collections::BTreeMap::new();
    for entry in entries {
        let slot =
            newest.entry((entry.event.passkey, entry.event.info_hash, entry.event.peer_id)).or_insert(entry);
        if slot.id < entry.id {
            *slot = entry;
        }
    }
    let mut sets: std::collections::BTreeMap<String, std::collections::BTreeSet<String>> = Default::default();
    let keys = Keys::default();
    for ((passkey, info_hash, peer_id), entry) in newest {
        let over = entry.id.unix_seconds() + Leases::default().lease_s(entry.event.interval) <= now;
        if over || entry.event.event == Event::Stopped {
            continue;
        }
        let (user, members) = match entry.event.left {
            0 => (keys.seeding(&passkey), keys.seeding_members(&passkey, &info_hash)),
            _ => (keys.leeching(&passkey), keys.leeching_members(&passkey, &info_hash)),
        };
        sets.entry(user).or_default().insert(info_hash.to_string());
        sets.entry(members).or_default().insert(peer_id.to_string());
    }
    let line = |(key, members): (String, std::collections::BTreeSet<String>)| {
        format!("{key} {}", members.into_iter().collect::<Vec<_>>().join(" "))
    };
    sets.into_iter().map(line).collect()
}

#[test]
fn the_presence_sets_depend_on_the_entries_and_the_time_alone() {
    let redis = RedisServer::start();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut runner = proptest::test_runner::TestRunner::new(cases(40));
    // In the middle of the events' time, after all leases, and after every guard may be forgotten.
    let now = prop_oneof![T0 + 2000..T0 + 24_000, Just(T0 + 100_000), Just(T0 + 200_000)];
    let outcome = runner.run(&(any_case(), now), |((entries, delivery), now)| {
        let expected = expected(&entries, now);
        prop_assert_eq!(runtime.block_on(present(&redis, &vec![(true, entries)], now)), expected.clone());
        prop_assert_eq!(runtime.block_on(present(&redis, &delivery, now)), expected);
        Ok(())
    });
    outcome.unwrap();
}
