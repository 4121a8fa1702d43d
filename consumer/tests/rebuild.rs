//! Presence computed again from the stream: whatever somebody did to the sets by hand, they come out as the
//! entries say.

#![allow(clippy::unwrap_used)] // In functions that tests share, too.

mod scene;

use books::Entry;
use books::ledger::Intent;
use books::presence::{self, Judgement, Leases, Rebuilt, Scope};
use books::retention::Target;
use contract::{Event, Keys, TrafficEvent};
use harness::RedisServer;
use scene::{LedgerFile, T0, all_acknowledged, append, append_as, config, connect, dump_sets, event};
use scene::{hash, passkey, peer, start};

const STREAM: &str = "tracker:traffic";

async fn rebuild(redis: &RedisServer, intent: Intent, now: u64) -> Rebuilt {
    let target = Target { stream: STREAM, group: "site" };
    let (keys, leases) = (Keys::default(), Leases::default());
    let scope = Scope { target, keys: &keys, leases };
    presence::rebuild(&mut connect(redis).await, scope, intent, now, &mut |_, _, _| {}).await.unwrap()
}

fn run(redis: &RedisServer, words: &[&str]) {
    redis::cmd(words[0]).arg(&words[1..]).query::<redis::Value>(&mut redis.connection()).unwrap();
}

fn of(name: &str, torrent: u8, client: u8, left: u64) -> TrafficEvent {
    let (passkey, info_hash, peer_id) = (passkey(name), hash(torrent), peer(client));
    TrafficEvent { passkey, info_hash, peer_id, left, ..event(consumer::clock::now()) }
}

/// Sets, guards and leases.
fn everything(redis: &RedisServer) -> Vec<String> {
    let mut connection = redis.connection();
    let mut lines = dump_sets(&mut connection);
    for name in ["alice", "bob"] {
        let key = format!("tracker:presence:guard:{name}");
        let guards: std::collections::BTreeMap<String, String> =
            redis::cmd("HGETALL").arg(key).query(&mut connection).unwrap();
        lines.extend(guards.into_iter().map(|(session, guard)| format!("{name} {session} {guard}")));
    }
    let range = ["tracker:presence:lease", "0", "-1", "WITHSCORES"];
    let leases: Vec<String> = redis::cmd("ZRANGE").arg(&range).query(&mut connection).unwrap();
    lines.extend(leases);
    lines
}

/// Two users, four sessions present and one gone, applied by a real consumer.
async fn a_settled_scene() -> (RedisServer, LedgerFile) {
    let (redis, file) = (RedisServer::start(), LedgerFile::new());
    let mut connection = redis.connection();
    let gone = TrafficEvent { event: Event::Stopped, ..of("bob", 3, 1, 0) };
    for event in [of("alice", 1, 1, 0), of("alice", 1, 2, 0), of("alice", 2, 1, 5), of("bob", 1, 1, 0), gone]
    {
        append(&mut connection, &event);
    }
    let app = start(&config(&redis, &file.url(), "one")).await;
    all_acknowledged(&redis).await;
    app.stop().await.unwrap();
    (redis, file)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_changed_by_hand_is_found_and_mended() {
    let (redis, _file) = a_settled_scene().await;
    let before = everything(&redis);
    let now = consumer::clock::now();
    let untouched = rebuild(&redis, Intent::Look, now).await;
    assert_eq!((untouched.differences, untouched.seeding, untouched.leeching), (0, 3, 1));
    assert_eq!((untouched.users, untouched.entries), (2, 5));

    let (h1, h2, h8, h9) = (hash(1).hex(), hash(2).hex(), hash(8).hex(), hash(9).hex());
    let (p1, p9) = (peer(1).hex(), peer(9).hex());
    // A member too many, one too few, a torrent in the wrong set, one that nobody has, members of nobody's
    // torrent.
    run(&redis, &["SADD", &format!("tracker:passkey:seed:members:alice:{h1}"), &p9]);
    run(&redis, &["SREM", &format!("tracker:passkey:seed:members:bob:{h1}"), &p1]);
    run(&redis, &["SMOVE", "tracker:passkey:leech:alice", "tracker:passkey:seed:alice", &h2]);
    run(&redis, &["SADD", "tracker:passkey:leech:bob", &h8]);
    run(&redis, &["SADD", &format!("tracker:passkey:seed:members:carol:{h9}"), &p9]);
    // A lease that is gone, a guard that is gone, one that lies.
    run(&redis, &["ZREM", "tracker:presence:lease", &format!("alice:{h1}:{p1}")]);
    run(&redis, &["HDEL", "tracker:presence:guard:bob", &format!("{}:{p1}", hash(3).hex())]);
    let session = format!("{h2}:{p1}");
    let read = ["tracker:presence:guard:alice", session.as_str()];
    let guard: String = redis::cmd("HGET").arg(&read).query(&mut redis.connection()).unwrap();
    let lie = format!("{}s{}", &guard[..60], &guard[61..]);
    run(&redis, &["HSET", "tracker:presence:guard:alice", &session, &lie]);

    let spoilt = everything(&redis);
    let dry = rebuild(&redis, Intent::Look, now).await;
    assert_eq!(everything(&redis), spoilt, "looking changes nothing");
    let mut kinds: Vec<&str> = dry.findings.iter().map(|finding| finding.kind.as_str()).collect();
    kinds.sort_unstable();
    kinds.dedup();
    assert_eq!(
        kinds,
        [
            "guard_differs",
            "guard_missing",
            "lease_missing",
            "member_extra",
            "member_missing",
            "torrent_extra",
            "torrent_missing"
        ]
    );

    let mended = rebuild(&redis, Intent::Act, now).await;
    assert_eq!(mended.differences, dry.differences);
    assert_eq!(everything(&redis), before);
    assert_eq!(rebuild(&redis, Intent::Look, now).await.differences, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guard_within_the_streams_reach_that_no_entry_supports_goes_with_its_member() {
    let (redis, _file) = a_settled_scene().await;
    let before = everything(&redis);
    let now = consumer::clock::now();
    // An entry that was deleted one by one after it was applied.
    let id = append(&mut redis.connection(), &of("alice", 7, 7, 0));
    append(&mut redis.connection(), &of("bob", 1, 1, 0));
    let entry = Entry { id, event: of("alice", 7, 7, 0) };
    let mut connection = connect(&redis).await;
    presence::apply(&mut connection, &Keys::default(), Leases::default(), &[entry], now).await.unwrap();
    run(&redis, &["XDEL", STREAM, &id.to_string()]);
    let read = ["GROUP", "site", "x", "NOACK", "STREAMS", STREAM, ">"];
    redis::cmd("XREADGROUP").arg(&read).query::<redis::Value>(&mut redis.connection()).unwrap();
    let mended = rebuild(&redis, Intent::Act, now).await;
    assert!(mended.findings.iter().any(|finding| finding.kind == "guard_without_entry"), "{mended:?}");
    let sets = |lines: Vec<String>| -> Vec<String> {
        lines.into_iter().filter(|line| line.starts_with("tracker:passkey")).collect()
    };
    assert_eq!(sets(everything(&redis)), sets(before));
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_whose_entries_were_trimmed_are_judged_by_their_guards() {
    let (redis, _file) = a_settled_scene().await;
    let before = everything(&redis);
    run(&redis, &["XTRIM", STREAM, "MAXLEN", "0"]);
    run(&redis, &["SREM", "tracker:passkey:seed:alice", &hash(1).hex()]);
    let mended = rebuild(&redis, Intent::Act, consumer::clock::now()).await;
    assert_eq!((mended.differences, mended.older.len()), (1, 4));
    assert_eq!(everything(&redis), before);
}

#[tokio::test]
async fn a_peer_that_was_swept_is_not_brought_back() {
    let redis = RedisServer::start();
    let mut connection = connect(&redis).await;
    run(&redis, &["XGROUP", "CREATE", STREAM, "site", "0", "MKSTREAM"]);
    let id = append_as(&mut redis.connection(), &format!("{}-0", T0 * 1000), &event(T0));
    run(&redis, &["XREADGROUP", "GROUP", "site", "c", "NOACK", "STREAMS", STREAM, ">"]);
    let entry = Entry { id, event: event(T0) };
    let (keys, leases) = (Keys::default(), Leases::default());
    presence::apply(&mut connection, &keys, leases, &[entry], T0).await.unwrap();
    let later = T0 + 4000;
    assert_eq!(
        presence::sweep(&mut connection, &keys, leases, Judgement::at(later)).await.unwrap().expired,
        1
    );
    assert_eq!(rebuild(&redis, Intent::Look, later).await.differences, 0);
    run(&redis, &["DEL", "tracker:presence:guard:alice", "tracker:presence:lease"]);
    assert_eq!(rebuild(&redis, Intent::Act, later).await.differences, 1);
    assert_eq!(dump_sets(&mut redis.connection()), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn consumers_go_on_beside_a_rebuild() {
    let (redis, file) = a_settled_scene().await;
    let app = start(&config(&redis, &file.url(), "one")).await;
    let (mut writer, mut entries) = (redis.connection(), Vec::new());
    for i in 0..400_u64 {
        let word = if i % 5 == 0 { Event::Stopped } else { Event::None };
        let client = u8::try_from(i % 7).unwrap();
        let base = of(["alice", "bob"][usize::try_from(i % 2).unwrap()], client % 3 + 1, client + 1, i % 3);
        let event = TrafficEvent { event: word, ts: base.ts + i, ..base };
        entries.push(Entry { id: append(&mut writer, &event), event });
        if i % 20 == 0 {
            rebuild(&redis, Intent::Act, consumer::clock::now()).await;
        }
    }
    all_acknowledged(&redis).await;
    app.stop().await.unwrap();
    assert_eq!(rebuild(&redis, Intent::Look, consumer::clock::now()).await.differences, 0);
    let live = dump_sets(&mut redis.connection());
    // The same stream once more, into sets of its own.
    run(
        &redis,
        &["EVAL", "for _, k in ipairs(redis.call('KEYS', 'tracker:p*')) do redis.call('DEL', k) end", "0"],
    );
    rebuild(&redis, Intent::Act, consumer::clock::now()).await;
    assert_eq!(dump_sets(&mut redis.connection()), live);
}
