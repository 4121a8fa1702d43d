//! Presence, stage by stage, against a real Redis.

#![allow(clippy::unwrap_used)] // In functions that tests share, too.

mod scene;

use books::Entry;
use books::entry::EntryId;
use books::groups::backlog;
use books::presence::{self, Judgement, Leases, Swept};
use contract::{Claim, Event, Keys, TrafficEvent};
use harness::RedisServer;
use redis::aio::MultiplexedConnection;
use scene::{T0, append_as, connect, dump_sets, entry, event, hash, passkey, peer};

struct Scene {
    redis: RedisServer,
    connection: MultiplexedConnection,
    keys: Keys,
}

impl Scene {
    async fn new() -> Self {
        let redis = RedisServer::start();
        let connection = connect(&redis).await;
        Self { redis, connection, keys: Keys::default() }
    }

    async fn apply(&mut self, entries: &[Entry], now: u64) {
        presence::apply(&mut self.connection, &self.keys, Leases::default(), entries, now).await.unwrap();
    }

    async fn sweep(&mut self, now: u64) -> Swept {
        presence::sweep(&mut self.connection, &self.keys, Leases::default(), Judgement::at(now))
            .await
            .unwrap()
    }

    fn members(&self, key: &str) -> Vec<String> {
        let mut members: Vec<String> =
            redis::cmd("SMEMBERS").arg(key).query(&mut self.redis.connection()).unwrap();
        members.sort();
        members
    }

    fn seeds(&self) -> Vec<String> {
        self.members(&self.keys.seeding(&passkey("alice")))
    }

    fn leeches(&self) -> Vec<String> {
        self.members(&self.keys.leeching(&passkey("alice")))
    }

    fn everything(&self) -> Vec<String> {
        let mut keys: Vec<String> = redis::cmd("KEYS").arg("*").query(&mut self.redis.connection()).unwrap();
        keys.sort();
        keys
    }
}

fn leeching(ts: u64, word: Event) -> Entry {
    entry(TrafficEvent { left: 5, event: word, ..event(ts) })
}

fn seeding(ts: u64, word: Event) -> Entry {
    entry(TrafficEvent { event: word, ..event(ts) })
}

/// A lease is 3900 seconds with the events' interval of 1800.
const LEASE: u64 = 3900;

#[tokio::test]
async fn a_download_moves_from_leeching_to_seeding_to_nothing() {
    let mut scene = Scene::new().await;
    let torrent = hash(1).to_string();
    scene.apply(&[leeching(T0, Event::Started)], T0).await;
    assert_eq!((scene.leeches(), scene.seeds()), (vec![torrent.clone()], vec![]));
    let members = scene.keys.leeching_members(&passkey("alice"), &hash(1));
    assert_eq!(scene.members(&members), [peer(1).to_string()]);

    scene.apply(&[seeding(T0 + 10, Event::Completed)], T0 + 10).await;
    assert_eq!((scene.leeches(), scene.seeds()), (vec![], vec![torrent]));

    scene.apply(&[seeding(T0 + 20, Event::Stopped)], T0 + 20).await;
    assert_eq!(dump_sets(&mut scene.redis.connection()), Vec::<String>::new());
}

#[tokio::test]
async fn a_torrent_leaves_the_users_set_with_its_last_client() {
    let mut scene = Scene::new().await;
    let second = |ts, word| entry(TrafficEvent { peer_id: peer(2), event: word, ..event(ts) });
    scene.apply(&[seeding(T0, Event::None), second(T0, Event::None)], T0).await;
    scene.apply(&[second(T0 + 1, Event::Stopped)], T0 + 1).await;
    assert_eq!(scene.seeds(), [hash(1).to_string()]);
    scene.apply(&[seeding(T0 + 2, Event::Stopped)], T0 + 2).await;
    assert_eq!(scene.seeds(), Vec::<String>::new());
}

#[tokio::test]
async fn a_silent_peer_is_removed_when_its_lease_is_over_and_its_guard_a_day_later() {
    let mut scene = Scene::new().await;
    scene.apply(&[seeding(T0, Event::None)], T0).await;
    assert_eq!(scene.sweep(T0 + LEASE - 1).await.expired, 0);
    assert_eq!(scene.seeds().len(), 1);
    assert_eq!(scene.sweep(T0 + LEASE).await.expired, 1);
    assert_eq!(dump_sets(&mut scene.redis.connection()), Vec::<String>::new());
    assert!(!scene.everything().is_empty(), "the guard stays against late entries");
    scene.sweep(T0 + 86_399).await;
    assert!(!scene.everything().is_empty());
    scene.sweep(T0 + 86_400).await;
    assert_eq!(scene.everything(), Vec::<String>::new());
}

#[tokio::test]
async fn a_heartbeat_renews_the_lease() {
    let mut scene = Scene::new().await;
    scene.apply(&[seeding(T0, Event::None)], T0).await;
    scene.apply(&[seeding(T0 + 1800, Event::None)], T0 + 1800).await;
    assert_eq!(scene.sweep(T0 + LEASE).await, Swept { examined: 1, expired: 0 });
    assert_eq!(scene.sweep(T0 + LEASE).await, Swept::default(), "a renewed lease is not looked at twice");
    assert_eq!(scene.sweep(T0 + 1800 + LEASE).await.expired, 1);
}

#[tokio::test]
async fn a_lease_that_becomes_shorter_ends_earlier() {
    let mut scene = Scene::new().await;
    scene.apply(&[seeding(T0, Event::None)], T0).await;
    scene.apply(&[entry(TrafficEvent { interval: 60, ..event(T0 + 10) })], T0 + 10).await;
    assert_eq!(scene.sweep(T0 + 10 + 420).await.expired, 1);
}

#[tokio::test]
async fn what_arrives_after_stopped_but_came_before_it_does_not_revive_the_peer() {
    let mut scene = Scene::new().await;
    scene.apply(&[seeding(T0 + 100, Event::Stopped)], T0 + 100).await;
    scene.apply(&[seeding(T0, Event::Started), seeding(T0 + 50, Event::None)], T0 + 200).await;
    assert_eq!(scene.seeds(), Vec::<String>::new());
    scene.apply(&[seeding(T0 + 101, Event::Started)], T0 + 200).await;
    assert_eq!(scene.seeds().len(), 1);
}

#[tokio::test]
async fn an_entry_whose_lease_is_over_adds_nobody_but_older_ones_stay_out_too() {
    let mut scene = Scene::new().await;
    let brief = entry(TrafficEvent { interval: 60, ..event(T0 + 100) });
    scene.apply(&[brief], T0 + 1000).await;
    scene.apply(&[seeding(T0, Event::None)], T0 + 1000).await;
    assert_eq!(scene.seeds(), Vec::<String>::new());
}

#[tokio::test]
async fn a_swept_peer_stays_out_though_an_older_entry_had_a_longer_lease() {
    let mut scene = Scene::new().await;
    scene.apply(&[entry(TrafficEvent { interval: 60, ..event(T0 + 100) })], T0 + 100).await;
    assert_eq!(scene.sweep(T0 + 1000).await.expired, 1);
    scene.apply(&[seeding(T0, Event::None)], T0 + 1000).await;
    assert_eq!(scene.seeds(), Vec::<String>::new());
}

#[tokio::test]
async fn a_replay_of_last_weeks_stream_leaves_nothing_behind() {
    let mut scene = Scene::new().await;
    scene.apply(&[seeding(T0, Event::None), leeching(T0 + 5, Event::None)], T0 + 7 * 86_400).await;
    assert_eq!(scene.everything(), Vec::<String>::new());
}

#[tokio::test]
async fn entries_of_one_millisecond_are_ordered_by_number_and_not_by_text() {
    let mut scene = Scene::new().await;
    let at = |seq, word| Entry {
        id: EntryId { ms: T0 * 1000, seq },
        event: TrafficEvent { event: word, ..event(T0) },
    };
    scene.apply(&[at(10, Event::Stopped)], T0).await;
    scene.apply(&[at(9, Event::None)], T0).await;
    assert_eq!(scene.seeds(), Vec::<String>::new());
}

/// What the client said at `at`, in an entry that Redis took at `ts`.
fn late(at: u64, ts: u64, event: TrafficEvent) -> Entry {
    let claim = Claim { at_ms: at * 1000, up: 0, down: 0, born_ms: T0 * 1000, tu: 0, td: 0, n: ts };
    entry(TrafficEvent { ts, claim: Some(claim), ..event })
}

#[tokio::test]
async fn a_report_that_is_booked_late_counts_from_when_it_arrived() {
    let mut scene = Scene::new().await;
    scene.apply(&[late(T0 + 100, T0 + 100, event(T0))], T0 + 100).await;
    let started = TrafficEvent { left: 5, event: Event::Started, ..event(T0) };
    scene.apply(&[late(T0 + 10, T0 + 200, started)], T0 + 200).await;
    scene
        .apply(&[late(T0 + 99, T0 + 201, TrafficEvent { event: Event::Stopped, ..event(T0) })], T0 + 201)
        .await;
    assert_eq!((scene.seeds().len(), scene.leeches().len()), (1, 0), "it does not leech again, nor leave");
    assert_eq!(scene.sweep(T0 + 100 + LEASE).await.expired, 1, "nor does it stay longer");
    scene.apply(&[late(T0 + 50, T0 + 300, event(T0))], T0 + 300 + LEASE).await;
    assert_eq!(scene.seeds(), Vec::<String>::new());
}

#[tokio::test]
async fn a_guard_of_the_version_before_is_understood() {
    let mut scene = Scene::new().await;
    scene.apply(&[seeding(T0 + 100, Event::None)], T0 + 100).await;
    let guard = scene.keys.presence("guard:alice");
    let mut redis = scene.redis.connection();
    let (field, value): (String, String) =
        redis::cmd("HGETALL").arg(&guard).query::<Vec<(String, String)>>(&mut redis).unwrap().remove(0);
    redis::cmd("HSET").arg(&guard).arg(&field).arg(&value[20..]).query::<()>(&mut redis).unwrap();
    scene.apply(&[leeching(T0 + 50, Event::None)], T0 + 100).await;
    assert_eq!((scene.seeds().len(), scene.leeches().len()), (1, 0), "an older entry changes nothing");
    scene.apply(&[late(T0 + 150, T0 + 150, TrafficEvent { left: 5, ..event(T0) })], T0 + 150).await;
    assert_eq!((scene.seeds().len(), scene.leeches().len()), (0, 1));
}

/// Two days ahead when the peers were heard, and right ever since.
#[tokio::test]
async fn silent_peers_expire_although_a_clock_was_ahead_once() {
    let (mut scene, days) = (Scene::new().await, 2 * 86_400);
    scene.apply(&[seeding(T0 + days, Event::None)], T0 + days).await;
    scene
        .apply(&[late(T0 + days, T0 + days, TrafficEvent { peer_id: peer(2), ..event(T0) })], T0 + days)
        .await;
    scene.sweep(T0).await;
    assert_eq!(scene.sweep(T0 + LEASE - 1).await.expired, 0, "as if they had been heard now");
    let again = late(T0 + 60, T0 + days + 1, TrafficEvent { peer_id: peer(2), ..event(T0) });
    scene.apply(&[again], T0 + 60).await;
    assert_eq!(scene.sweep(T0 + LEASE).await.expired, 1, "the silent one");
    assert_eq!(scene.sweep(T0 + 60 + LEASE).await.expired, 1, "the other one later");
    assert_eq!(scene.seeds(), Vec::<String>::new());
}

#[tokio::test]
async fn a_configured_timeout_replaces_the_derived_one() {
    let mut scene = Scene::new().await;
    let leases = Leases { peer_timeout_s: Some(30) };
    let keys = Keys::new("b:");
    presence::apply(&mut scene.connection, &keys, leases, &[seeding(T0, Event::None)], T0).await.unwrap();
    assert_eq!(scene.members(&keys.seeding(&passkey("alice"))).len(), 1);
    assert!(scene.everything().iter().all(|key| key.starts_with("b:")));
    let swept = presence::sweep(&mut scene.connection, &keys, leases, Judgement::at(T0 + 30)).await.unwrap();
    assert_eq!(swept.expired, 1);
}

#[tokio::test]
async fn a_peer_whose_heartbeat_waits_in_the_stream_is_not_swept() {
    let mut scene = Scene::new().await;
    let mut redis = scene.redis.connection();
    let create = |redis: &mut redis::Connection| {
        redis::cmd("XGROUP")
            .arg(&["CREATE", "tracker:traffic", "site", "0", "MKSTREAM"])
            .query::<()>(redis)
            .unwrap();
    };
    let now = T0 + 2 * LEASE;
    create(&mut redis);
    scene.apply(&[seeding(T0, Event::None)], T0).await;
    append_as(&mut redis, &format!("{}-0", (T0 + 1800) * 1000), &event(T0 + 1800));

    let unread = backlog(&mut scene.connection, "tracker:traffic", "site").await.unwrap();
    assert_eq!((unread.undelivered, unread.pending, unread.horizon(now)), (1, 0, T0 + 1800));
    scene.sweep(unread.horizon(now)).await;
    assert_eq!(scene.seeds().len(), 1);

    let read = ["GROUP", "site", "c", "STREAMS", "tracker:traffic", ">"];
    redis::cmd("XREADGROUP").arg(&read).query::<redis::Value>(&mut redis).unwrap();
    let read = backlog(&mut scene.connection, "tracker:traffic", "site").await.unwrap();
    assert_eq!((read.undelivered, read.pending, read.horizon(now)), (0, 1, T0 + 1800));

    let id = format!("{}-0", (T0 + 1800) * 1000);
    redis::cmd("XACK").arg(&["tracker:traffic", "site", &id]).query::<()>(&mut redis).unwrap();
    let done = backlog(&mut scene.connection, "tracker:traffic", "site").await.unwrap();
    assert_eq!(done.horizon(now), now);
    scene.sweep(done.horizon(now)).await;
    assert_eq!(scene.seeds(), Vec::<String>::new());
}
