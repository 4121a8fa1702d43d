//! A Redis that may lose what it confirmed is named by the built tracker and consumer, in the log, in
//! `/readyz` and in a metric; and refused where the operator says so.

#![allow(clippy::unwrap_used)]

use harness::{RedisServer, Service, eventually, free_port};
use redis::Commands;
use tempfile::TempDir;

const PROGRAMS: [&str; 2] = ["tracker", "consumer"];

fn config(program: &str, url: &str, folder: &TempDir, required: bool) -> String {
    match program {
        "tracker" => format!(
            "http: {{addr: '127.0.0.1:{}', workers: 1}}\nredis_broker: {url}\nhooks:\n  prehooks:\n  \
             - name: passkey approval\n  posthooks:\n  - {{name: traffic push, options: \
             {{require_durable_redis: {required}}}}}\n",
            free_port()
        ),
        _ => format!(
            "redis_broker: {url}\ndatabase: sqlite://{}\nrequire_durable_redis: {required}\n",
            folder.path().join("ledger.db").display()
        ),
    }
}

fn start(program: &str, url: &str) -> (Service, TempDir) {
    let folder = TempDir::new().unwrap();
    (Service::start(program, folder.path(), &config(program, url, &folder, false)), folder)
}

/// The reasons that a program's metric gives now, in alphabetical order.
fn reasons(program: &str, service: &Service) -> Vec<String> {
    let (metrics, name) = (service.metrics(), format!("seedbook_{program}_redis_doubts{{reason=\""));
    let lines = metrics.lines().filter(|line| line.ends_with(" 1"));
    let reasons = lines.filter_map(|line| Some(line.strip_prefix(&name)?.split('"').next()?.to_owned()));
    reasons.collect()
}

/// Both programs say of this Redis that, for these reasons.
fn named(url: &str, wanted: &[&str], words: &[&str]) {
    for program in PROGRAMS {
        let (service, _folder) = start(program, url);
        eventually(&format!("{program} names {wanted:?}"), || {
            (reasons(program, &service) == wanted).then_some(())
        });
        let (status, page) = service.readiness().unwrap();
        assert_eq!(status, 200, "{program} works");
        let log = service.log();
        for word in words {
            assert!(page.contains(word), "{program}: {word} in {page}");
            assert_eq!(log.matches(word).count(), 1, "{program}: {word} once in {log}");
        }
    }
}

#[test]
fn a_redis_that_keeps_what_it_confirms_is_not_talked_about() {
    let redis = RedisServer::start_with(&["--maxmemory-policy", "noeviction"]);
    for program in PROGRAMS {
        let folder = TempDir::new().unwrap();
        let service = Service::start(program, folder.path(), &config(program, &redis.url(), &folder, true));
        assert_eq!(service.readiness().unwrap(), (200, "ready\n".into()));
        assert_eq!(reasons(program, &service), Vec::<String>::new());
    }
}

#[test]
fn a_redis_that_may_evict_is_named_with_and_without_a_limit() {
    let redis = RedisServer::start_with(&["--maxmemory-policy", "allkeys-lru"]);
    named(&redis.url(), &["eviction"], &["maxmemory-policy is allkeys-lru, maxmemory 0"]);
    let redis = RedisServer::start_with(&["--maxmemory-policy", "volatile-lru", "--maxmemory", "200mb"]);
    named(&redis.url(), &["eviction"], &["maxmemory-policy is volatile-lru, maxmemory 209715200"]);
}

#[test]
fn a_redis_without_an_append_only_file_is_named() {
    let redis = RedisServer::start_with(&["--appendonly", "no"]);
    named(&redis.url(), &["no_append_only_file"], &["appendonly is no"]);
}

#[test]
fn a_redis_that_does_not_say_is_named_and_either_command_is_enough() {
    let redis = RedisServer::start_with(&["--appendonly", "no"]);
    let mut connection = redis.connection();
    let mut user = |name: &str, may_not: &[&str]| {
        let mut command = redis::cmd("ACL");
        command.arg("SETUSER").arg(name).arg(&["on", ">pw", "~*", "&*", "+@all"]).arg(may_not);
        command.exec(&mut connection).unwrap();
        redis.url().replace("redis://", &format!("redis://{name}:pw@"))
    };
    named(&user("mute", &["-info", "-config"]), &["unknown"], &["does not say whether"]);
    named(&user("info", &["-config"]), &["no_append_only_file"], &["appendonly is no"]);
    named(&user("config", &["-info"]), &["no_append_only_file"], &["appendonly is no"]);
}

#[test]
fn where_a_durable_redis_is_required_nothing_starts_on_another() {
    let redis = RedisServer::start_with(&["--maxmemory-policy", "allkeys-lru", "--appendonly", "no"]);
    for program in PROGRAMS {
        let folder = TempDir::new().unwrap();
        let configured = config(program, &redis.url(), &folder, true);
        let mut service = Service::launch(program, folder.path(), &configured);
        let status = service.wait();
        assert_eq!(status.code(), Some(1), "{program}");
        let log = service.log();
        for words in
            ["require_durable_redis: ", "set maxmemory-policy to noeviction", "set appendonly to yes"]
        {
            assert!(log.contains(words), "{program}: {words} in {log}");
        }
    }
    let _: () = redis.connection().set("still", "there").unwrap();
}
