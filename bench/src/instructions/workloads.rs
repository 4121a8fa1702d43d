//! The fixed work that is counted: an announce over the whole pipeline without its sockets, the codecs,
//! settlement of a batch.

use std::hint::black_box;
use std::net::IpAddr;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use arc_swap::ArcSwap;
use books::Entry;
use books::ledger::{self, Access};
use books::presence::{self, Leases};
use books::settlement::{self, Promotions, Rules};
use consumer::batch::Batch;
use contract::{Keys, TrafficEvent};
use rand::SeedableRng;
use rand::rngs::SmallRng;
use service::redis::stream::NewEntries;
use tracker::announce::Reply;
use tracker::app::metrics::Metrics;
use tracker::app::rulebook;
use tracker::arrival::{Arrival, Transport, Way};
use tracker::config::{Config, Plan};
use tracker::frontend::http::query;
use tracker::frontend::limits::{EventFields, Limits, Spoofing};
use tracker::frontend::route::Routes;
use tracker::frontend::udp::reading;
use tracker::pipeline::{Pending, Pipeline, Progress};
use tracker::swarm::Swarms;
use tracker::traffic::{self, Booking, Bookkeeper, NumberedBooking, Outcome, RecordScript};
use wire::http::reply;
use wire::udp::{self, AnnounceForm, AnnounceRequest, Request};

use crate::world::World;

/// Work of which the instructions are counted.
#[derive(Debug)]
pub struct Workload {
    /// Its name in the committed counts.
    pub name: &'static str,
    /// How many units it does, for instance announces.
    pub units: u64,
    /// Makes ready, uncounted; what it returns is counted.
    pub prepare: fn() -> Result<Work>,
}

type Work = Box<dyn FnMut() -> Result<()>>;

/// All of it.
pub const WORKLOADS: &[Workload] = &[
    Workload { name: "announce-http", units: UNITS, prepare: announces_over_http },
    Workload { name: "announce-udp", units: UNITS, prepare: announces_over_udp },
    Workload { name: "record-call", units: UNITS, prepare: record_calls },
    Workload { name: "event", units: UNITS, prepare: events },
    Workload { name: "read", units: UNITS, prepare: replies },
    Workload { name: "presence", units: UNITS, prepare: standings },
    Workload { name: "settle-pure", units: UNITS, prepare: pure_settlement },
    Workload { name: "settle-sqlite", units: UNITS, prepare: sqlite_settlement },
];

const UNITS: u64 = 2000;
/// A small site: its swarms have 100 peers, as those of the larger benchmark.
const WORLD: World = World { users: 1000, torrents: 100, sessions: 10_000 };
const LIMITS: Limits = Limits {
    default_numwant: 50,
    max_numwant: 100,
    max_scrape_infohashes: 50,
    spoofing: Spoofing::Ignored,
    event_fields: EventFields::NONE,
};

fn announces_over_http() -> Result<Work> {
    let line = filled_pipeline()?;
    let queries: Vec<(String, IpAddr)> =
        sessions().map(|session| (written(session), WORLD.address(session).0)).collect();
    Ok(Box::new(move || {
        for (query, ip) in &queries {
            black_box(over_http(&line, query, *ip)?);
        }
        Ok(())
    }))
}

fn over_http(line: &Pipeline, query: &str, ip: IpAddr) -> Result<Vec<u8>> {
    let now = Instant::now();
    let read = query::announce(query, arrival(Transport::Http, ip, now), None, &LIMITS);
    let read = read.ok().context("the announce cannot be read")?;
    let rules = line.rules.load();
    let answer = done(line.start(read.announce, &rules, now, &mut rand::rng()))?;
    Ok(reply::announce(&answer, read.form))
}

fn announces_over_udp() -> Result<Work> {
    let line = filled_pipeline()?;
    let policy = reading::Policy { routes: Routes::default(), limits: LIMITS };
    let packets: Vec<(Vec<u8>, IpAddr)> =
        sessions().map(|session| (packed(session), WORLD.address(session).0)).collect();
    let mut rng = SmallRng::seed_from_u64(1);
    Ok(Box::new(move || {
        for (packet, ip) in &packets {
            black_box(over_udp(&line, packet, *ip, &policy, &mut rng)?);
        }
        Ok(())
    }))
}

fn over_udp(
    line: &Pipeline,
    packet: &[u8],
    ip: IpAddr,
    policy: &reading::Policy,
    rng: &mut SmallRng,
) -> Result<Vec<u8>> {
    let Request::Announce(request) = udp::parse(packet)? else { anyhow::bail!("no announce") };
    let read = reading::announce(&request, None, arrival(Transport::Udp, ip, line.started), policy);
    let announce = read.ok().context("the announce cannot be read")?;
    let rules = line.rules.load();
    let answer = done(line.start(announce, &rules, line.started, rng))?;
    let mut out = Vec::new();
    udp::write_announce(&mut out, request.form, request.transaction, &answer);
    ensure!(out.len() == 20 + 50 * 6, "50 peers were wanted");
    Ok(out)
}

/// As the frontends tell it, which have read the clock before.
fn arrival(transport: Transport, ip: IpAddr, at: Instant) -> Arrival {
    let way = Way::over(transport, ip);
    let way = match transport {
        Transport::Udp => way,
        _ => way.by(b"tracker.example.org:6969").by(b"/announce"),
    };
    Arrival { at, ip, way }
}

fn done(progress: Progress<Reply, Pending>) -> Result<Reply> {
    match progress {
        Progress::Done(outcome) => outcome.map_err(|refusal| anyhow::anyhow!("refused: {}", refusal.reason)),
        Progress::Pending(_) => anyhow::bail!("a tracker without hooks and recorder has nothing to wait for"),
    }
}

/// A tracker without hooks in which every session of the world is.
fn filled_pipeline() -> Result<Pipeline> {
    let (rules, _) = rulebook::build(&Plan::of(Config::default())?.rules, &Metrics::new()?, None)?;
    let line = Pipeline {
        rules: ArcSwap::from_pointee(rules),
        swarms: Swarms::new(256),
        outbox: None,
        started: Instant::now(),
    };
    let policy = reading::Policy { routes: Routes::default(), limits: LIMITS };
    for session in 0..WORLD.sessions {
        let packet = packed(session);
        let Request::Announce(request) = udp::parse(&packet)? else { continue };
        // A leecher's first peers may be fewer than it wants; only later replies are looked at.
        let announce = reading::announce(
            &request,
            None,
            arrival(Transport::Udp, WORLD.address(session).0, line.started),
            &policy,
        );
        let announce = announce.ok().context("the announce cannot be read")?;
        let rules = line.rules.load();
        done(line.start(announce, &rules, line.started, &mut rand::rng()))?;
    }
    Ok(line)
}

/// Leechers, who are offered anybody.
fn sessions() -> impl Iterator<Item = u64> {
    (0..WORLD.sessions)
        .filter(|session| !WORLD.seeds(*session))
        .take(usize::try_from(UNITS).unwrap_or(usize::MAX))
}

fn written(session: u64) -> String {
    use std::fmt::Write;
    let mut query = String::from("info_hash=");
    for byte in WORLD.info_hash(session).0 {
        write!(query, "%{byte:02x}").unwrap_or_default();
    }
    let port = WORLD.address(session).1;
    query.push_str("&peer_id=-TR4060-");
    for byte in &WORLD.peer_id(session).0[8..] {
        write!(query, "%{byte:02X}").unwrap_or_default();
    }
    query
        + &format!(
            "&port={port}&uploaded=1234567&downloaded=7654321&left=1000&numwant=50&key=6f1a2b&compact=1&supportcrypto=1"
        )
}

fn packed(session: u64) -> Vec<u8> {
    let mut packet = Vec::new();
    let request = AnnounceRequest {
        form: AnnounceForm::Standard,
        connection: 1,
        transaction: 2,
        info_hash: WORLD.info_hash(session),
        peer_id: WORLD.peer_id(session),
        downloaded: 7_654_321,
        left: if WORLD.seeds(session) { 0 } else { 1000 },
        uploaded: 1_234_567,
        event: 0,
        claimed_ip: std::net::Ipv4Addr::UNSPECIFIED.into(),
        key: 3,
        num_want: 50,
        port: WORLD.address(session).1,
        options: &[],
    };
    Request::Announce(request).write(&mut packet);
    packet
}

/// Claims and call for batches of 100 announces of sessions that are known: what the recorder does for each.
fn record_calls() -> Result<Work> {
    let rules = traffic::Rules::new(&Keys::default());
    let (script, mut bookkeeper) = (RecordScript::new("bench", rules.clone()), Bookkeeper::new(rules));
    let booked = vec![Outcome::Booked; 100];
    let mut turn = 0;
    let mut announce_all = move |bookkeeper: &mut Bookkeeper| {
        turn += 1;
        let numbers: Vec<u64> = (0..UNITS).collect();
        for some in numbers.chunks(100) {
            let entries = some.iter().map(|number| NumberedBooking::new(later(*number, turn), *number));
            let batch = bookkeeper.compute(entries.collect());
            black_box(script.call(&batch, &traffic::Progress::default()).get_packed_command());
            bookkeeper.settle(&batch, &booked[..batch.len()]);
        }
    };
    announce_all(&mut bookkeeper);
    announce_all(&mut bookkeeper);
    Ok(Box::new(move || {
        announce_all(&mut bookkeeper);
        Ok(())
    }))
}

/// The same client's announce so many intervals later.
fn later(number: u64, turn: u64) -> Booking {
    let booking = booking(number);
    let (at_ms, uploaded) = (booking.at_ms + turn * 1_800_000, booking.uploaded + turn * 1_000_000);
    let event = if turn > 1 { contract::Event::None } else { booking.event };
    Booking { at_ms, uploaded, event, ..booking }
}

fn booking(number: u64) -> Booking {
    let event = WORLD.event(number);
    Booking {
        passkey: event.passkey,
        info_hash: event.info_hash,
        peer_id: event.peer_id,
        ip: event.ip,
        port: event.port,
        uploaded: event.du,
        downloaded: event.dd,
        left: event.left,
        event: event.event,
        at_ms: event.ts * 1000,
        path: claims::Path(1),
        interval: event.interval,
        min_interval: event.min_interval,
        fd: None,
        pd: None,
        extras: contract::Extras::default(),
    }
}

/// An event to fields and back.
fn events() -> Result<Work> {
    let events: Vec<TrafficEvent> = (0..UNITS).map(|number| WORLD.event(number)).collect();
    Ok(Box::new(move || {
        for event in &events {
            let fields = event.to_fields();
            let bytes = fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
            ensure!(TrafficEvent::from_fields(bytes)? == *event, "an event reads as it was written");
        }
        Ok(())
    }))
}

/// Redis' replies with a thousand entries each, to events; they arrive in pieces.
fn replies() -> Result<Work> {
    let replies: Vec<Vec<u8>> = entries(0).chunks(1000).map(stream_reply).collect();
    Ok(Box::new(move || {
        for bytes in &replies {
            let (mut reply, mut batch) = (NewEntries::default(), Batch::default());
            let (mut from, mut there) = (0, 0);
            while there < bytes.len() {
                there = bytes.len().min(there + PIECE);
                from += reply.read(&bytes[from..there], |id, fields| batch.add(id, fields))?.taken;
            }
            ensure!(from == bytes.len() && batch.entries.len() == 1000, "all of it was read");
            black_box(batch);
        }
        Ok(())
    }))
}

/// What one system call brings.
const PIECE: usize = 128 * 1024;

fn stream_reply(entries: &[Entry]) -> Vec<u8> {
    let bulk = |text: &str| format!("${}\r\n{text}\r\n", text.len());
    let mut reply = format!("*1\r\n*2\r\n{}*{}\r\n", bulk("tracker:traffic"), entries.len());
    for Entry { id, event } in entries {
        let fields = event.to_fields();
        reply += &format!("*2\r\n{}*{}\r\n", bulk(&id.to_string()), 2 * fields.len());
        fields.iter().for_each(|(name, value)| reply += &(bulk(name) + &bulk(value)));
    }
    reply.into_bytes()
}

fn standings() -> Result<Work> {
    let entries = entries(0);
    Ok(Box::new(move || {
        for batch in entries.chunks(1000) {
            let now = batch[0].event.ts;
            for some in presence::updates(Leases::default(), batch, now).chunks(200) {
                black_box(presence::call(&Keys::default(), some).get_packed_command());
            }
        }
        Ok(())
    }))
}

fn pure_settlement() -> Result<Work> {
    let entries = entries(WORLD.sessions);
    let (promotions, rules) = (Promotions::default(), Rules::default());
    Ok(Box::new(move || {
        for Entry { id, event } in &entries {
            black_box(settlement::settle(*id, event, &promotions, &rules));
        }
        Ok(())
    }))
}

/// Into a ledger that has settled one turn of every session; in batches of the consumer's default size.
fn sqlite_settlement() -> Result<Work> {
    let folder = tempfile::tempdir()?;
    let url = format!("sqlite://{}", folder.path().join("ledger.db").display());
    let mut ledger = ledger::open(&url.as_str().into(), Access::Write)?;
    ledger.migrate()?;
    let before: Vec<Entry> = (0..WORLD.sessions).map(|number| WORLD.entry(number)).collect();
    ledger.settle(&before, &Rules::default())?;
    let entries = entries(WORLD.sessions);
    Ok(Box::new(move || {
        for batch in entries.chunks(1000) {
            let settled = ledger.settle(batch, &Rules::default())?.settled;
            ensure!(settled == batch.len() as u64 && folder.path().exists(), "every event is new");
        }
        Ok(())
    }))
}

fn entries(first: u64) -> Vec<Entry> {
    (first..first + UNITS).map(|number| WORLD.entry(number)).collect()
}
