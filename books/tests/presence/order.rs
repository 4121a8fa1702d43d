//! Order does not matter: one set of events, in any order, any batching, with any duplicates, from two
//! consumers, gives the same presence sets.

use books::Entry;
use books::presence::{self, Judgement, Leases, Place};
use contract::{Claim, Event, Keys, TrafficEvent};
use harness::RedisServer;
use proptest::prelude::*;

use crate::scene::T0;
use crate::scene::deliveries::{Delivery, any_case, cases};
use crate::{connect, dump_sets};

/// The sets after a delivery that took some hours, swept after every step, the last time at `now`.
async fn present(redis: &RedisServer, delivery: &Delivery, now: u64) -> Vec<String> {
    let mut connection = connect(redis).await;
    redis::cmd("FLUSHALL").query_async::<()>(&mut connection).await.unwrap();
    let mut other = connect(redis).await;
    for (left, (consumer, batch)) in (0..delivery.len() as u64).rev().zip(delivery) {
        let connection = if *consumer { &mut connection } else { &mut other };
        let now = now - left * 1000;
        presence::apply(connection, &Keys::default(), Leases::default(), batch, now).await.unwrap();
        // Judged in the past, as while entries are unread: no clock was ahead.
        let judgement = Judgement { now: T0 + 200_000, horizon: now };
        presence::sweep(connection, &Keys::default(), Leases::default(), judgement).await.unwrap();
    }
    dump_sets(&mut redis.connection())
}

/// Two of three say when they arrived, some of them long before their entry was taken.
fn arrived(entry: Entry) -> Entry {
    let at_ms = (entry.event.ts - 700 * (entry.id.seq % 3)) * 1000;
    let claim = Claim { at_ms, up: 0, down: 0, born_ms: 0, tu: 0, td: 0, n: entry.id.seq + 1 };
    let claim = (!entry.id.seq.is_multiple_of(3)).then_some(claim);
    Entry { event: TrafficEvent { claim, ..entry.event }, ..entry }
}

/// The sets as their definition says, without guards and scripts.
fn expected(entries: &[Entry], now: u64) -> Vec<String> {
    let mut newest: std::collections::BTreeMap<_, &Entry> = std::collections::BTreeMap::new();
    for entry in entries {
        let slot =
            newest.entry((entry.event.passkey, entry.event.info_hash, entry.event.peer_id)).or_insert(entry);
        if Place::of(slot) < Place::of(entry) {
            *slot = entry;
        }
    }
    let mut sets: std::collections::BTreeMap<String, std::collections::BTreeSet<String>> = Default::default();
    let keys = Keys::default();
    for ((passkey, info_hash, peer_id), entry) in newest {
        let over = Place::of(entry).at_ms / 1000 + Leases::default().lease_s(entry.event.interval) <= now;
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
        let entries: Vec<Entry> = entries.into_iter().map(arrived).collect();
        let batches = delivery.into_iter();
        let delivery: Delivery =
            batches.map(|(to, batch)| (to, batch.into_iter().map(arrived).collect())).collect();
        let expected = expected(&entries, now);
        prop_assert_eq!(runtime.block_on(present(&redis, &vec![(true, entries)], now)), expected.clone());
        prop_assert_eq!(runtime.block_on(present(&redis, &delivery, now)), expected);
        Ok(())
    });
    outcome.unwrap();
}
