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
