//! docs/contract.md holds what the programs do, and nothing else: keys, event, snapshot, tables and metrics
//! are compared with the source of the keys, and with what a real tracker and consumer write.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use contract::{Keys, TrafficEvent};
use harness::{RedisServer, Service, Trackerctl, eventually, free_port, repository};
use redis::Commands;
use rusqlite::Connection;
use tempfile::TempDir;

type Names = BTreeSet<String>;

/// A part of the page: what is between this heading and the next of its size or larger.
fn section(heading: &str) -> String {
    let page = fs::read_to_string(repository().join("docs/contract.md")).unwrap();
    let depth = heading.split(' ').next().unwrap().len();
    let from = page.find(&format!("{heading}\n")).unwrap_or_else(|| panic!("the page has no `{heading}`"));
    let lines = page[from..].lines().skip(1);
    let ends = |line: &str| (2..=depth).any(|size| line.starts_with(&format!("{} ", "#".repeat(size))));
    lines.take_while(|line| !ends(line)).collect::<Vec<_>>().join("\n")
}

/// The rows of a part's tables, without their heads: their cells.
fn rows(heading: &str) -> Vec<Vec<String>> {
    let cells = |line: &str| line.trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned()).collect();
    section(heading).lines().filter(|line| line.starts_with("| `")).map(cells).collect()
}

/// The names in backquotes.
fn quoted(text: &str) -> Names {
    text.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// The first column of a part's tables.
fn first_column(heading: &str) -> Names {
    rows(heading).iter().flat_map(|row| quoted(&row[0])).collect()
}

#[test]
fn every_key_of_the_source_is_in_the_page_and_no_other() {
    let source = fs::read_to_string(repository().join("contract/src/keys.rs")).unwrap();
    let source = source.split("#[cfg(test)]").next().unwrap();
    let is_key = |text: &&str| text.contains("pt:") || text.contains("tracker:");
    let code = source.lines().filter(|line| !line.trim_start().starts_with("//"));
    let literals = code.flat_map(|line| line.split('"').skip(1).step_by(2)).filter(is_key);
    // `{}` stands for the prefix, `{name}` for what follows.
    let keys: Names = literals.map(|key| key.trim_start_matches("{}").replace("{name}", "")).collect();
    assert!(keys.contains(&Keys::default().traffic()), "{keys:?}");
    let page = first_column("## Redis keys");
    let page: Names = page.iter().map(|key| key.split('<').next().unwrap().to_owned()).collect();
    assert_eq!(page, keys);
}

#[test]
fn every_event_field_is_in_the_page_in_its_order() {
    let id = "00".repeat(20);
    let values = [("passkey", "k"), ("infohash", &id), ("peer_id", &id)]
        .into_iter()
        .chain(["port", "du", "dd", "left", "ts", "dt", "interval", "min_interval"].map(|name| (name, "1")))
        .chain(["at", "up", "down", "born", "tu", "td", "n", "corrupt"].map(|name| (name, "1")))
        .chain([
            ("ip", "192.0.2.1"),
            ("af", "4"),
            ("event", "none"),
            ("fd", "f"),
            ("pd", "p"),
            ("agent", "a"),
            ("key", "k"),
        ]);
    let values: Vec<_> = values.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let bytes = values.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
    let event = TrafficEvent::from_fields(bytes).unwrap();
    let written: Vec<_> = event.to_fields().into_iter().map(|(name, _)| format!("`{name}`")).collect();
    let page: Vec<_> = rows("## The traffic event").into_iter().map(|row| row[0].clone()).collect();
    assert_eq!(page, written);
}

/// A tracker with everything that has metrics of its own, a consumer, and one announce.
struct Site {
    redis: RedisServer,
    tracker: Service,
    consumer: Service,
    folder: TempDir,
}

impl Site {
    fn open() -> Self {
        let (redis, folder, port) = (RedisServer::start(), TempDir::new().unwrap(), free_port());
        fs::write(folder.path().join("others.yaml"), "- {uri: 'http://127.0.0.1:1/announce', name: other}\n")
            .unwrap();
        let tracker = format!(
            "http: {{addr: '127.0.0.1:{port}', workers: 1}}\nredis_broker: {}\nforwarders: others.yaml\n\
             forward_torrents: ['{}']\n\
             hooks:\n  prehooks:\n  - name: passkey approval\n  posthooks:\n  - name: traffic push\n",
            redis.url(),
            "1".repeat(40)
        );
        let tracker = Service::start("tracker", folder.path(), &tracker);
        let database = format!("sqlite://{}", folder.path().join("ledger.db").display());
        let consumer = format!("redis_broker: {}\ndatabase: {database}\n", redis.url());
        let consumer = Service::start("consumer", folder.path(), &consumer);
        let trackerctl = Trackerctl::new(redis.url(), database);
        trackerctl.ok(&["passkey", "add", "alice"]);
        let url = format!("http://127.0.0.1:{port}/alice/announce");
        trackerctl.ok(&[
            "announce",
            &url,
            "--info-hash",
            &"0".repeat(40),
            "--peer-id",
            "-SB0001-000000000000",
        ]);
        Self { redis, tracker, consumer, folder }
    }
}

#[test]
fn what_the_programs_write_is_in_the_page_and_no_more() {
    let site = Site::open();
    entry_and_snapshot(&mut site.redis.connection());
    eventually("the announce is settled", || {
        site.consumer.metrics().contains("seedbook_consumer_settled_total 1").then_some(())
    });
    tables(&Connection::open(site.folder.path().join("ledger.db")).unwrap());
    metrics("### The tracker's", &site.tracker.metrics());
    metrics("### The consumer's", &site.consumer.metrics());
}

fn entry_and_snapshot(redis: &mut redis::Connection) {
    let entries: redis::streams::StreamRangeReply = redis.xrange_all("tracker:traffic").unwrap();
    let written: Names = entries.ids[0].map.keys().cloned().collect();
    let optional = |row: &&Vec<String>| row[1].starts_with("optional");
    let page = rows("## The traffic event");
    let page: Names = page.iter().filter(|row| !optional(row)).flat_map(|row| quoted(&row[0])).collect();
    assert_eq!(page, written, "the entry");
    let snapshot: Vec<String> = redis.keys("tracker:last:*").unwrap();
    let written: BTreeMap<String, String> = redis.hgetall(&snapshot[0]).unwrap();
    let optional = |row: &&Vec<String>| row[1].ends_with("where there is one");
    let page = rows("## The snapshot");
    let page: Names = page.iter().filter(|row| !optional(row)).flat_map(|row| quoted(&row[0])).collect();
    assert_eq!(page, written.into_keys().collect(), "the snapshot");
}

/// The tables' and columns' names of a ledger that a consumer has made, without SQLite's own.
fn tables(ledger: &Connection) {
    let names = |sql: &str| -> Vec<String> {
        let mut query = ledger.prepare(sql).unwrap();
        query.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    };
    let internal = quoted(&section("### Internal tables"));
    let public = names("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'");
    let (internal_there, public): (Vec<_>, Vec<_>) =
        public.into_iter().partition(|name| internal.contains(name));
    assert_eq!(internal, internal_there.into_iter().collect());
    let headings = section("## The ledger");
    let headings: Names =
        headings.lines().filter(|line| line.starts_with("### `")).flat_map(quoted).collect();
    assert_eq!(headings, public.iter().cloned().collect());
    for table in public {
        let columns = names(&format!("SELECT name FROM pragma_table_info('{table}')"));
        let page = first_column(&format!("### `{table}`"));
        assert_eq!(page, columns.into_iter().collect(), "{table}");
    }
}

/// What a page of metrics exports, and what docs/contract.md says of it: type, labels, help.
fn metrics(heading: &str, exported: &str) {
    let mut written: BTreeMap<String, (String, Names, String)> = BTreeMap::new();
    for line in exported.lines() {
        if let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' ')) {
            written.entry(name.to_owned()).or_default().2 = help.to_owned();
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' '))
        {
            written.entry(name.to_owned()).or_default().0 = kind.to_owned();
        } else if let Some((name, labels)) = line.split_once('{') {
            let family = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
            let family = family.filter(|family| written.contains_key(*family)).unwrap_or(name);
            let words = labels.split(',').filter_map(|label| label.split_once("=\"")).map(|(word, _)| word);
            let words = words.filter(|word| *word != "le").map(str::to_owned);
            written.get_mut(family).unwrap().1.extend(words);
        }
    }
    let page = [rows(heading), rows("### Both programs' processes")].concat().into_iter();
    let page: BTreeMap<_, _> = page
        .map(|row| (row[0].trim_matches('`').to_owned(), (row[1].clone(), quoted(&row[2]), row[3].clone())))
        .collect();
    for (name, what) in &written {
        assert_eq!(page.get(name), Some(what), "{name}, as `| name | type | labels | help |`");
    }
    let gone: Vec<_> = page.keys().filter(|name| !written.contains_key(*name)).collect();
    assert!(gone.is_empty(), "in the page, and not exported: {gone:?}");
}
