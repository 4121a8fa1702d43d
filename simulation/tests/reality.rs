//! The model against the real thing: the same commands and scripts on the Redis in memory and on a
//! redis-server, the same entries in the ledger in memory and in SQLite.

#![allow(clippy::unwrap_used)] // In functions that tests share, too.

use std::collections::{BTreeMap, BTreeSet};

use books::ledger::{self as sqlite, Access, Memory};
use books::presence::{self, Leases};
use books::settlement::Rules as SettlementRules;
use books::{Entry, EntryId};
use contract::{Event, InfoHash, Keys, PeerId, TrafficEvent};
use harness::RedisServer;
use simulation::redis::{Reply, Server, words};
use simulation::{Dice, Scripts, Simulator, Tracing};
use tracker::traffic::{
    Booking, Bookkeeper, Computed, NumberedBooking, Outcome, Progress, Receipt, RecordScript, Rules, Verdict,
};

const STREAM: &str = "tracker:traffic";

/// What the reader looks at in a stream and its group.
const LOOK: &str = "local function pick(flat, wanted)
  local it, found = {}, {}
  for i = 1, #flat, 2 do it[flat[i]] = flat[i + 1] end
  for i, name in ipairs(wanted) do found[i] = tostring(it[name]) end
  return found
end
local stream = redis.call('XINFO', 'STREAM', KEYS[1])
local group = redis.call('XINFO', 'GROUPS', KEYS[1])[1]
return { pick(stream, { 'length', 'entries-added', 'recorded-first-entry-id', 'last-generated-id',
           'max-deleted-entry-id' }),
         pick(group, { 'name', 'pending', 'last-delivered-id', 'entries-read' }) }";

type Run = Box<dyn FnMut(&[Vec<u8>]) -> Reply>;

/// One of the two, with the ids that its clock gave to the entries.
struct Side {
    run: Run,
    ids: Vec<String>,
}

impl Side {
    fn new(run: impl FnMut(&[Vec<u8>]) -> Reply + 'static) -> Self {
        Self { run: Box::new(run), ids: Vec::new() }
    }

    /// Runs a command and says what came of it in words that both sides share: entries by number, collections
    /// in order.
    fn ask(&mut self, args: &[Vec<u8>]) -> String {
        let reply = self.reply(args);
        self.shared(&reply)
    }

    fn reply(&mut self, args: &[Vec<u8>]) -> Reply {
        let reply = (self.run)(args);
        let all = (self.run)(&words(&["XRANGE", STREAM, "-", "+"]));
        for entry in all.items() {
            let id = entry.items()[0].text().to_owned();
            if !self.ids.contains(&id) {
                self.ids.push(id);
            }
        }
        reply
    }

    fn shared(&self, reply: &Reply) -> String {
        match reply {
            Reply::Array(items) => {
                format!("[{}]", items.iter().map(|item| self.shared(item)).collect::<Vec<_>>().join(" "))
            }
            Reply::Error(text) => format!("error {}", text.split(' ').next().unwrap_or_default()),
            Reply::Int(number) => number.to_string(),
            Reply::Nil => "nil".into(),
            text => match self.ids.iter().position(|id| id == text.text()) {
                Some(number) => format!("#{number}"),
                None => text.text().to_owned(),
            },
        }
    }

    fn id(&self, number: usize) -> &str {
        self.ids.get(number).map_or("0-0", String::as_str)
    }

    fn entries(&mut self) -> Vec<Entry> {
        let all = (self.run)(&words(&["XRANGE", STREAM, "-", "+"]));
        let read = |item: &Reply| {
            let flat = item.items()[1].items();
            let pairs =
                flat.chunks_exact(2).map(|pair| (pair[0].text().as_bytes(), pair[1].text().as_bytes()));
            let id: EntryId = item.items()[0].text().parse().unwrap();
            Entry { id, event: TrafficEvent::from_fields(pairs).unwrap() }
        };
        all.items().iter().map(read).collect()
    }

    /// Every presence set with its members.
    fn sets(&mut self) -> BTreeMap<String, BTreeSet<String>> {
        let keys = Keys::default();
        let passkeys = ["user0", "user1"].map(|name| name.parse().unwrap());
        let mut names = Vec::new();
        for passkey in passkeys {
            names.extend([keys.seeding(&passkey), keys.leeching(&passkey)]);
            for hash in [InfoHash([1; 20]), InfoHash([2; 20])] {
                names.extend([keys.seeding_members(&passkey, &hash), keys.leeching_members(&passkey, &hash)]);
            }
        }
        let members = |reply: Reply| reply.items().iter().map(|member| member.text().to_owned()).collect();
        names
            .into_iter()
            .map(|name| (name.clone(), members((self.run)(&words(&["SMEMBERS", &name])))))
            .collect()
    }
}

fn model() -> Side {
    let server = Server::new().unwrap();
    load(|args| server.run(args));
    Side::new(move |args| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        server.keyspace().now_ms = u64::try_from(now.as_millis()).unwrap();
        server.run(args)
    })
}

fn real(server: &RedisServer) -> Side {
    let mut connection = server.connection();
    let mut run = move |args: &[Vec<u8>]| {
        let mut command = redis::Cmd::new();
        command.arg(args);
        match command.query::<redis::Value>(&mut connection) {
            Ok(value) => reply(value),
            Err(error) => Reply::Error(error.code().unwrap_or("ERR").to_owned()),
        }
    };
    load(&mut run);
    Side::new(run)
}

fn load(mut run: impl FnMut(&[Vec<u8>]) -> Reply) {
    let Scripts { record, apply, sweep } = Scripts::with(None);
    for text in [&record, &apply, &sweep, LOOK] {
        assert_eq!(run(&words(&["SCRIPT", "LOAD", text])).text(), Server::sha(text));
    }
    assert!(matches!(run(&words(&["XGROUP", "CREATE", STREAM, "site", "0", "MKSTREAM"])), Reply::Status(_)));
}

fn reply(value: redis::Value) -> Reply {
    match value {
        redis::Value::Nil => Reply::Nil,
        redis::Value::Int(number) => Reply::Int(number),
        redis::Value::BulkString(bytes) => Reply::Bulk(bytes),
        redis::Value::SimpleString(text) => Reply::Bulk(text.into_bytes()),
        redis::Value::Okay => Reply::Status("OK"),
        redis::Value::Array(items) => Reply::Array(items.into_iter().map(reply).collect()),
        other => panic!("{other:?} is no reply of protocol 2"),
    }
}

/// Two trackers that announces of a few sessions reach, in any order.
struct Trackers {
    scripts: [RecordScript; 2],
    bookkeepers: [Bookkeeper; 2],
    sequence: u64,
    /// What was computed from a snapshot that is not the present one.
    stale: [Vec<NumberedBooking>; 2],
}

impl Trackers {
    fn new() -> Self {
        let rules = Rules::new(&Keys::default());
        let script = |id: &str| RecordScript::new(id, rules.clone());
        let bookkeeper = || Bookkeeper::new(rules.clone());
        Self {
            scripts: [script("t0"), script("t1")],
            bookkeepers: [bookkeeper(), bookkeeper()],
            sequence: 100,
            stale: Default::default(),
        }
    }

    /// A batch, some of it sent again or not for the first time.
    fn batch(&mut self, dice: &mut Dice) -> (usize, Vec<Computed>, Vec<Vec<u8>>) {
        let which = dice.index(2);
        let mut entries = std::mem::take(&mut self.stale[which]);
        for _ in 0..dice.within(1..=4) {
            self.sequence += u64::from(dice.percent(80));
            entries.push(NumberedBooking::new(booking(dice, self.sequence), self.sequence));
        }
        let batch = self.bookkeepers[which].compute(entries);
        let said = Progress {
            known_call: if dice.percent(5) { 1_000_000 } else { 0 },
            call: self.sequence,
            expected_ms: Some(1_700_000_000_000 + self.sequence),
            guessed_ms: 0,
            ahead_ms: 0,
            to_come: if dice.percent(5) { self.sequence.to_string() } else { String::new() },
        };
        let arg = |arg| match arg {
            redis::Arg::Simple(bytes) => <[u8]>::to_vec(bytes),
            _ => Vec::new(),
        };
        let call = self.scripts[which].call(&batch, &said).args_iter().map(arg).collect();
        (which, batch, call)
    }

    fn answered(&mut self, which: usize, batch: &[Computed], outcomes: &[Outcome]) {
        let again = self.bookkeepers[which].settle(batch, outcomes);
        self.stale[which] = again.into_iter().map(|(_, entry)| entry).collect();
    }
}

fn booking(dice: &mut Dice, step: u64) -> Booking {
    let events = [Event::None, Event::None, Event::Started, Event::Completed, Event::Stopped];
    Booking {
        passkey: format!("user{}", dice.within(0..=1)).parse().unwrap(),
        info_hash: InfoHash([u8::try_from(dice.within(1..=2)).unwrap(); 20]),
        peer_id: PeerId([u8::try_from(dice.within(1..=2)).unwrap(); 20]),
        ip: [192, 0, 2, 1].into(),
        port: 6881,
        uploaded: dice.within(0..=20) * 400_000,
        downloaded: dice.within(0..=20) * 400_000,
        left: dice.within(0..=1) * 5,
        event: events[dice.index(events.len())],
        // Some of them out of order.
        at_ms: 1_700_000_000_000 + step * 1000 - dice.within(0..=20) * 300,
        path: claims::Path(1),
        interval: 1800,
        min_interval: 900,
        fd: None,
        pd: None,
        extras: contract::Extras::default(),
    }
}

/// The commands of one step, for a side with its own ids.
fn command(dice: &mut Dice, side: &mut Side) -> Vec<Vec<u8>> {
    let who = format!("c{}", dice.within(0..=1));
    let count = dice.within(1..=6).to_string();
    let number = dice.index(side.ids.len().max(1));
    let id = side.id(number).to_owned();
    let from = if dice.percent(60) { ">".to_owned() } else { side.id(number / 2).to_owned() };
    let idle = if dice.percent(70) { "0" } else { "100000000" };
    match dice.index(8) {
        0 => words(&["XREADGROUP", "GROUP", "site", &who, "COUNT", &count, "STREAMS", STREAM, &from]),
        1 => words(&["XAUTOCLAIM", STREAM, "site", &who, idle, &id, "COUNT", &count]),
        2 => words(&["XACK", STREAM, "site", &id]),
        3 => words(&["XPENDING", STREAM, "site"]),
        4 if dice.percent(20) => words(&["XTRIM", STREAM, "MINID", "=", side.id(number / 3)]),
        5 => apply(dice, side),
        6 => words(&["EVALSHA", &Server::sha(LOOK), "1", STREAM]),
        _ => sweep(dice),
    }
}

fn apply(dice: &mut Dice, side: &mut Side) -> Vec<Vec<u8>> {
    let entries = side.entries();
    let from = dice.index(entries.len().max(1));
    let some = &entries[from..entries.len().min(from + 8)];
    let now = some.first().map_or(0, |entry| entry.id.unix_seconds());
    let mut updates = presence::updates(Leases::default(), some, now);
    updates.sort_by_key(|update| update.entry.id);
    let args = updates.iter().flat_map(presence::PresenceUpdate::arguments);
    script(presence::APPLY_SCRIPT, args)
}

/// Long before any lease is over, or long after.
fn sweep(dice: &mut Dice) -> Vec<Vec<u8>> {
    let now = if dice.percent(80) { 1_700_000_000_u64 } else { 100_000_000_000 };
    let memory = Leases::default().memory_s().to_string();
    script(presence::SWEEP_SCRIPT, [now.to_string(), "500".into(), memory].into_iter())
}

fn script(text: &str, args: impl Iterator<Item = String>) -> Vec<Vec<u8>> {
    let head = words(&["EVALSHA", &Server::sha(text), "0"]).into_iter();
    let bases = presence::bases(&Keys::default()).into_iter();
    head.chain(bases.chain(args).map(String::into_bytes)).collect()
}

/// Both book a batch in the same way, at a time of their own.
fn record(trackers: &mut Trackers, dice: &mut Dice, (real, model): (&mut Side, &mut Side), seed: u64) {
    let (which, batch, call) = trackers.batch(dice);
    let receipts = [real, model].map(|side| {
        let reply = side.reply(&call);
        Receipt::read(value(&reply), batch.len())
            .unwrap_or_else(|error| panic!("seed {seed}: {error}: {reply:?}"))
    });
    assert_eq!(receipts[1].verdict, receipts[0].verdict, "seed {seed}");
    if let Verdict::SeenTo(outcomes) = &receipts[0].verdict {
        trackers.answered(which, &batch, outcomes);
    }
}

fn value(reply: &Reply) -> redis::Value {
    match reply {
        Reply::Nil => redis::Value::Nil,
        Reply::Int(number) => redis::Value::Int(*number),
        Reply::Bulk(bytes) => redis::Value::BulkString(bytes.clone()),
        Reply::Array(items) => redis::Value::Array(items.iter().map(value).collect()),
        Reply::Status(_) | Reply::Error(_) => redis::Value::SimpleString(reply.text().to_owned()),
    }
}

#[test]
fn the_redis_in_memory_answers_as_a_redis_server_does() {
    for seed in 0..4 {
        let server = RedisServer::start();
        let (mut real, mut model) = (real(&server), model());
        let (mut dice, mut trackers) = (Dice::new(seed), Trackers::new());
        for step in 0..250 {
            if dice.percent(35) {
                record(&mut trackers, &mut dice, (&mut real, &mut model), seed);
                continue;
            }
            let mut same = dice.clone();
            let (of_real, of_model) = (command(&mut dice, &mut real), command(&mut same, &mut model));
            let (is, shown) = (real.ask(&of_real), model.ask(&of_model));
            assert_eq!(
                shown,
                is,
                "seed {seed}, step {step}: {}",
                String::from_utf8_lossy(&of_real.join(&b' '))
            );
        }
        assert_eq!(model.sets(), real.sets(), "seed {seed}");
        assert!(real.ids.len() > 50, "the schedule does something");
    }
}

#[test]
fn sqlite_settles_what_the_simulation_settles() {
    let simulator = Simulator::new(None).unwrap();
    for seed in [3, 17, 40] {
        let entries = simulator.play(seed, u64::MAX, Tracing::Off).entries;
        let mut model = Memory::default().ledger();
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", folder.path().join("ledger.db").display());
        let mut real = sqlite::open(&url.as_str().into(), Access::Write).unwrap();
        real.migrate().unwrap();
        let rules = SettlementRules::default();
        let mut dice = Dice::new(seed);
        for _ in 0..30 {
            let from = dice.index(entries.len());
            let batch = &entries[from..entries.len().min(from + 9)];
            let settled = model.settle(batch, &rules);
            assert_eq!(real.settle(batch, &rules), settled, "seed {seed}");
        }
        for entry in &entries {
            let passkey = &entry.event.passkey;
            assert_eq!(real.user(passkey), model.user(passkey), "seed {seed}");
            assert_eq!(real.torrents_of(passkey), model.torrents_of(passkey), "seed {seed}");
        }
        assert_eq!(real.verify(&mut |_, _| {}).unwrap(), []);
    }
}
