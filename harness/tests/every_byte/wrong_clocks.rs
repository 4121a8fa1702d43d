//! Clocks that step, and entries that somebody takes out of the stream: nothing is lost without a word.

use std::thread;
use std::time::{Duration, Instant, SystemTime};

use contract::Event::{Completed, None, Started, Stopped};
use harness::{RedisServer, Service, eventually};
use redis::Commands;

use crate::announce::over_http;
use crate::session::{GB, Session};
use crate::site::{Plan, Site};

const MB: u64 = 1_000_000;
const HOUR_MS: i64 = 3_600_000;

/// 20 MB/s is all that anybody may claim.
const SLOW_LINE: &str = "settlement: {max_rate_bytes_per_s: 20000000}\n";

/// Bytes that an honest client of 10 MB/s has after so long.
fn honest(began: Instant) -> u64 {
    u64::try_from(began.elapsed().as_millis()).unwrap() * MB / 100
}

fn flagged(site: &Site) -> i64 {
    site.ledger().query_row("SELECT count(*) FROM flagged_events", [], |row| row.get(0)).unwrap()
}

/// What a client does while a clock steps: moves, completes, stops, and begins again.
fn lives_through(site: &Site, client: &Session, step: impl FnOnce()) {
    let began = Instant::now();
    client.says(over_http(0), Started, 0);
    thread::sleep(Duration::from_millis(300));
    client.says(over_http(0), None, honest(began));
    step();
    thread::sleep(Duration::from_millis(3500));
    client.says(over_http(0), None, honest(began));
    thread::sleep(Duration::from_millis(300));
    let all = honest(began);
    client.has_all(over_http(0), Completed, all);
    client.has_all(over_http(0), Stopped, all);
    client.has_all(over_http(0), Started, 0);
    client.has_all(over_http(0), None, 2 * MB);
    site.balances(client, 0, all + 2 * MB);
    assert_eq!(flagged(site), 0, "nobody went faster than he may");
    assert_eq!(site.books(&client.speaker.passkey).completed, 1);
    assert_eq!(site.presence(client), (true, false));
}

#[test]
fn a_trackers_clock_that_steps_back_costs_and_flags_nobody() {
    let site = Site::start_with(&Plan { clocks: true, consumer: SLOW_LINE, ..Plan::default() });
    let client = site.session("tracker-back");
    lives_through(&site, &client, || site.trackers[0].clock.as_ref().unwrap().set(-HOUR_MS).unwrap());
}

#[test]
fn a_tracker_whose_clock_is_behind_after_a_restart_costs_and_flags_nobody() {
    let mut site = Site::start_with(&Plan { clocks: true, consumer: SLOW_LINE, ..Plan::default() });
    let client = site.session("tracker-behind");
    let began = Instant::now();
    client.says(over_http(0), Started, 0);
    thread::sleep(Duration::from_millis(2500));
    client.says(over_http(0), None, honest(began));
    site.trackers[0].clock.as_ref().unwrap().set(-HOUR_MS).unwrap();
    site.trackers[0].kill_and_restart();
    thread::sleep(Duration::from_millis(2500));
    let all = honest(began);
    client.has_all(over_http(0), Completed, all);
    site.balances(&client, 0, all);
    assert_eq!((flagged(&site), site.books("tracker-behind").completed), (0, 1));
}

#[test]
fn a_redis_clock_that_steps_back_costs_and_flags_nobody() {
    let site = Site::start_with(&Plan { clocks: true, consumer: SLOW_LINE, ..Plan::default() });
    let client = site.session("redis-back");
    lives_through(&site, &client, || site.redis_clock.as_ref().unwrap().set(-HOUR_MS).unwrap());
}

#[test]
fn a_redis_clock_that_was_ahead_once_lets_silent_peers_expire() {
    let consumer = "presence: {peer_timeout: 2s, sweep_interval: 1s}\n";
    let site = Site::start_with(&Plan { clocks: true, consumer, ..Plan::default() });
    let clock = site.redis_clock.as_ref().unwrap();
    clock.set(24 * HOUR_MS).unwrap();
    let client = site.session("ahead");
    client.says(over_http(0), Started, 0);
    eventually("it leeches", || (site.presence(&client) == (false, true)).then_some(()));
    clock.set(0).unwrap();
    eventually("who is silent is gone", || (site.presence(&client) == (false, false)).then_some(()));
}

/// One of a service's counters, over all its labels.
fn counted(service: &Service, name: &str) -> u64 {
    let page = service.metrics();
    let lines = page.lines().filter(|line| line.starts_with(name));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
}

const LOST: &str = "seedbook_consumer_lost_entries_total";

fn announces(client: &Session, numbers: std::ops::RangeInclusive<u64>) {
    numbers.for_each(|number| client.says(over_http(0), None, number * GB));
}

#[test]
fn entries_that_are_deleted_between_reading_and_acknowledging_are_counted() {
    let mut site = Site::start_with(&Plan { consumer: "claim_idle: 1s\n", ..Plan::default() });
    let client = site.session("deleted");
    site.consumer.kill();
    announces(&client, 1..=6);
    let mut redis = site.redis.connection();
    let mut read = redis::cmd("XREADGROUP");
    read.arg(&["GROUP", "site", "one-that-died", "STREAMS", "tracker:traffic", ">"][..]);
    let read: redis::streams::StreamReadReply = read.query(&mut redis).unwrap();
    let ids: Vec<String> = read.keys[0].ids.iter().map(|entry| entry.id.clone()).collect();
    assert_eq!(ids.len(), 6);
    let _: u64 = redis.xdel("tracker:traffic", &ids[1..4]).unwrap();
    site.launch_consumer();
    site.consumer.wait_until_ready();
    eventually("three are missed", || (counted(&site.consumer, LOST) == 3).then_some(()));
    site.settle();
    assert_eq!(counted(&site.consumer, LOST), 3);
}

#[test]
fn a_trim_is_counted_although_redis_forgot_what_was_read() {
    let mut site = Site::start();
    let client = site.session("trimmed");
    announces(&client, 1..=10);
    site.settle();
    site.consumer.kill();
    announces(&client, 11..=15);
    site.redis.kill();
    site.redis.restart();
    let _: u64 = redis::cmd("XTRIM")
        .arg(&["tracker:traffic", "MAXLEN", "0"][..])
        .query(&mut site.redis.connection())
        .unwrap();
    announces(&client, 16..=16);
    site.launch_consumer();
    site.consumer.wait_until_ready();
    eventually("five are missed", || (counted(&site.consumer, LOST) == 5).then_some(()));
}

#[test]
fn a_redis_that_may_evict_is_named_and_what_it_evicted_is_counted() {
    let mut site = Site::start();
    let client = site.session("evicted");
    announces(&client, 1..=3);
    site.settle();
    let mut redis = site.redis.connection();
    redis::cmd("CONFIG").arg(&["SET", "maxmemory-policy", "allkeys-lru"][..]).exec(&mut redis).unwrap();
    let _: u64 = redis.del("tracker:traffic").unwrap();
    site.trackers[0].kill_and_restart();
    eventually("the policy is named", || {
        site.trackers[0].service.readiness().filter(|(_, text)| text.contains("allkeys-lru")).map(drop)
    });
    announces(&client, 4..=4);
    site.settle();
    assert_eq!(counted(&site.consumer, LOST), 0, "everything had been settled");
    site.balances(&client, 0, 3 * GB);
}

#[test]
fn a_tracker_that_wants_a_durable_redis_refuses_one_that_evicts() {
    for policy in ["volatile-lru", "allkeys-lru"] {
        let redis = RedisServer::start_with(&["--maxmemory-policy", policy]);
        let folder = tempfile::tempdir().unwrap();
        let config = format!(
            "http: {{addr: '127.0.0.1:0'}}\nredis_broker: {}\nhooks:\n  prehooks: [{{name: passkey approval}}]\n\
             \x20 posthooks: [{{name: traffic push, options: {{require_durable_redis: true}}}}]\n",
            redis.url()
        );
        let mut tracker = Service::launch("tracker", folder.path(), &config);
        assert!(!tracker.wait().success(), "{policy}");
        assert!(tracker.log().contains(policy), "{}", tracker.log());
    }
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    u64::try_from(since.as_millis()).unwrap()
}

/// Says so much, and notes when.
fn says_at(client: &Session, down: u64, said: &mut Vec<u64>) {
    said.push(now_ms());
    client.says(over_http(0), None, down);
}

/// What was booked is stamped about when it was said.
fn is_stamped_right(site: &Site, client: &Session, said: &[u64]) {
    site.balances(client, 0, said.len() as u64 * GB);
    let events = site.events(&client.speaker.passkey);
    let stamps: Vec<u64> = events.iter().skip(1).map(|event| event.claim.unwrap().at_ms).collect();
    assert_eq!(stamps.len(), said.len());
    let is_off = |(at, said): (&u64, &u64)| at.abs_diff(*said) > 3000;
    assert!(!stamps.iter().zip(said).any(is_off), "stamped {stamps:?}\nsaid    {said:?}");
}

#[test]
fn a_tracker_that_starts_while_redis_takes_nothing_stamps_by_the_sites_clock_although_its_own_is_wrong() {
    let mut site = Site::start_with(&Plan { clocks: true, ..Plan::default() });
    let refuses = |site: &Site, replicas: &str| {
        let mut config = redis::cmd("CONFIG");
        config.arg(&["SET", "min-replicas-to-write", replicas][..]);
        config.exec(&mut site.redis.connection()).unwrap();
    };
    let client = site.session("started-alone");
    client.says(over_http(0), Started, 0);
    let mut said = Vec::new();
    for offset_ms in [40_000, -40_000, HOUR_MS, -HOUR_MS] {
        says_at(&client, (said.len() as u64 + 1) * GB, &mut said);
        refuses(&site, "1");
        site.trackers[0].clock.as_ref().unwrap().set(offset_ms).unwrap();
        for _ in 0..2 {
            site.trackers[0].kill_and_restart();
            says_at(&client, (said.len() as u64 + 1) * GB, &mut said);
        }
        refuses(&site, "0");
        site.settle();
    }
    is_stamped_right(&site, &client, &said);
}

#[test]
fn a_redis_clock_that_was_set_before_a_tracker_starts_does_not_move_the_sites() {
    let mut site = Site::start_with(&Plan { clocks: true, ..Plan::default() });
    let client = site.session("set-before");
    client.says(over_http(0), Started, 0);
    let mut said = Vec::new();
    for offset_ms in [30_000, -30_000, HOUR_MS, 0] {
        says_at(&client, (said.len() as u64 + 1) * GB, &mut said);
        site.trackers[0].service.kill();
        site.redis_clock.as_ref().unwrap().set(offset_ms).unwrap();
        site.trackers[0].restart();
        says_at(&client, (said.len() as u64 + 1) * GB, &mut said);
    }
    is_stamped_right(&site, &client, &said);
}
