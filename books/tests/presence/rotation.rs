//! A rotated passkey in the presence sets: everything moves, and what comes later under the old name finds
//! its place.

use books::Entry;
use books::presence::{self, Leases};
use contract::{Event, Keys, TrafficEvent};
use harness::RedisServer;
use redis::Commands;

use crate::scene::{T0, entry, event, hash, passkey};
use crate::{connect, dump_sets};

fn of(name: &str, torrent: u8, ts: u64, du: u64) -> TrafficEvent {
    TrafficEvent { passkey: passkey(name), info_hash: hash(torrent), du, ..event(ts) }
}

#[tokio::test]
async fn presence_is_the_same_whichever_of_the_two_names_an_entry_comes_under_and_when() {
    let (keys, leases, now) = (Keys::default(), Leases::default(), T0 + 1000);
    let gone = TrafficEvent { event: Event::Stopped, ..of("old", 2, T0 + 300, 0) };
    let entries: Vec<Entry> = [
        of("old", 1, T0, 0),
        of("old", 2, T0 + 1, 0),
        of("new", 3, T0 + 2, 0),
        gone,
        of("old", 4, T0 + 400, 0),
    ]
    .map(entry)
    .into();
    let mut seen = Vec::new();
    for before in 0..=entries.len() {
        let redis = RedisServer::start();
        let mut connection = connect(&redis).await;
        presence::apply(&mut connection, &keys, leases, &entries[..before], now).await.unwrap();
        redis.connection().hset::<_, _, _, ()>("pt:passkeys:alias", "old", "new").unwrap();
        // Some come before their guards are moved.
        presence::apply(&mut connection, &keys, leases, &entries[before..], now).await.unwrap();
        presence::rotate(&mut connection, &keys, (&passkey("old"), &passkey("new"))).await.unwrap();
        let sets = dump_sets(&mut redis.connection());
        presence::apply(&mut connection, &keys, leases, &entries, now).await.unwrap();
        assert_eq!(dump_sets(&mut redis.connection()), sets, "a replay of everything");
        assert!(sets.iter().all(|set| !set.contains("old")), "{sets:?}");
        let size: u64 = redis.connection().zcard("tracker:presence:lease").unwrap();
        assert_eq!(size, 4);
        seen.push(sets);
    }
    assert_eq!(seen[0].len(), 4, "one set of torrents, and one of clients for each of three: {:?}", seen[0]);
    assert!(seen.iter().all(|sets| *sets == seen[0]), "{seen:?}");
}

#[tokio::test]
async fn a_late_alias_is_followed_again_by_a_redis_that_went_back_to_before() {
    let (keys, leases, now) = (Keys::default(), Leases::default(), T0 + 1000);
    let redis = RedisServer::start();
    let mut connection = connect(&redis).await;
    let before = [entry(of("alice", 2, T0, 0))];
    presence::apply(&mut connection, &keys, leases, &before, now).await.unwrap();
    let sets = dump_sets(&mut redis.connection());
    redis
        .connection()
        .hset::<_, _, _, ()>("pt:torrents:alias", hash(2).to_string(), hash(1).to_string())
        .unwrap();
    assert_eq!(presence::followed_torrent_aliases(&mut connection, &keys).await.unwrap(), (0, 1));
    assert_eq!(presence::follow_torrent_aliases(&mut connection, &keys).await.unwrap(), 1);
    assert_eq!(presence::follow_torrent_aliases(&mut connection, &keys).await.unwrap(), 0, "once");
    let moved = dump_sets(&mut redis.connection());
    assert!(moved.iter().all(|set| !set.contains(&hash(2).to_string())), "{moved:?}");
    // The guards and sets of before, and nothing of what was noted since.
    let gone = ["tracker:presence:renamed", "tracker:presence:lease", "tracker:presence:guard:alice"];
    redis.connection().del::<_, ()>(&gone[..]).unwrap();
    let names =
        ["tracker:passkey:seed:alice".to_owned(), format!("tracker:passkey:seed:members:alice:{}", hash(1))];
    redis.connection().del::<_, ()>(&names[..]).unwrap();
    redis.connection().del::<_, ()>("pt:torrents:alias").unwrap();
    presence::apply(&mut connection, &keys, leases, &before, now).await.unwrap();
    assert_eq!(dump_sets(&mut redis.connection()), sets);
    redis
        .connection()
        .hset::<_, _, _, ()>("pt:torrents:alias", hash(2).to_string(), hash(1).to_string())
        .unwrap();
    assert_eq!(presence::follow_torrent_aliases(&mut connection, &keys).await.unwrap(), 1);
    assert_eq!(dump_sets(&mut redis.connection()), moved);
}
