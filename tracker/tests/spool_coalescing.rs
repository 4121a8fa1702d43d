//! Coalescing costs no byte: a session of which one path's announces lay in a spool and were coalesced is
//! credited what it is credited with all of them, whatever another tracker heard of it meanwhile.

#![allow(clippy::unwrap_used)]

use claims::{Counters, DEFAULT_SKEW_MS, Path, Report, Session};
use contract::{Event, InfoHash, PeerId};
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use tracker::traffic::{Booking, MemoryDisk, NumberedBooking, Store};

/// What a client says, in the order of arrival, and what it has moved. It has two or three paths, of which
/// the first leads to the tracker that spools, pauses and resumes, and says `started` on each path.
struct Client {
    said: Vec<Said>,
    moved: Counters,
}

struct Said {
    report: Report,
    left: u64,
}

struct Run {
    began: u64,
    length: u64,
    /// Bytes a millisecond.
    speed: Counters,
    size: u64,
    /// Between two announces, about.
    step: u64,
}

impl Run {
    fn draw(rng: &mut SmallRng, began: u64) -> Self {
        let mut of = |from: [u64; 4]| *from.choose(rng).unwrap();
        Self {
            began,
            length: of([60_000, 600_000, 7_200_000, 20_000_000]),
            speed: Counters { up: of([0, 10, 1000, 20_000]), down: of([0, 10, 1000, 20_000]) },
            size: of([1 << 20, 1 << 26, 1 << 26, 1 << 32]),
            step: of([60_000, 600_000, 600_000, 1_800_000]),
        }
    }

    fn says(&self, rng: &mut SmallRng, (path, lag): (u32, u64), free_at: &mut u64) -> Vec<Said> {
        let (mut sent, mut said) = (self.began.max(*free_at), Vec::new());
        while sent <= self.began + self.length {
            let lived = sent - self.began;
            let down = (self.speed.down * lived).min(self.size);
            let at_ms = sent + lag * rng.random_range(20..150) / 100;
            *free_at = at_ms + 10;
            let counters = Counters { up: self.speed.up * lived, down };
            let report = Report { path: Path(path), at_ms, counters, started: said.is_empty() };
            said.push(Said { report, left: self.size - down });
            sent = (sent + self.step * rng.random_range(50..150) / 100).max(*free_at);
        }
        said
    }
}

fn client(rng: &mut SmallRng) -> Client {
    let mut lags = vec![*[50, 500, 3000, 40_000].choose(rng).unwrap(); rng.random_range(2..=3)];
    lags[0] = *[50, 40_000].choose(rng).unwrap();
    let mut free_at = vec![0; lags.len()];
    let mut client = Client { said: Vec::new(), moved: Counters::default() };
    let mut began = 1_700_000_000_000;
    for _ in 0..rng.random_range(1..=3) {
        let run = Run::draw(rng, began);
        let of_run: Vec<Said> = (0..)
            .zip(&lags)
            .zip(&mut free_at)
            .flat_map(|((path, lag), free)| run.says(rng, (path, *lag), free))
            .collect();
        let highest =
            |of: fn(Counters) -> u64| of_run.iter().map(|said| of(said.report.counters)).max().unwrap_or(0);
        client.moved.up += highest(|counters| counters.up);
        client.moved.down += highest(|counters| counters.down);
        client.said.extend(of_run);
        began += run.length + [1000, 5000, 200_000, 4_000_000].choose(rng).unwrap();
    }
    client.said.sort_by_key(|said| (said.report.at_ms, said.report.path));
    client
}

fn entry(said: &Said, sequence: u64) -> NumberedBooking {
    let booking = Booking {
        passkey: "alice".parse().unwrap(),
        info_hash: InfoHash([7; 20]),
        peer_id: PeerId([8; 20]),
        ip: [192, 0, 2, 1].into(),
        port: 6881,
        uploaded: said.report.counters.up,
        downloaded: said.report.counters.down,
        left: said.left,
        event: if said.report.started { Event::Started } else { Event::None },
        at_ms: said.report.at_ms,
        path: said.report.path,
        interval: 1800,
        min_interval: 900,
        fd: None,
        pd: None,
        extras: contract::Extras::default(),
    };
    NumberedBooking::new(booking, sequence)
}

fn coalesced(all: &[NumberedBooking]) -> Vec<NumberedBooking> {
    let mut store = Store::on(MemoryDisk::default(), 1 << 30).unwrap();
    store.append("aaaa", all).unwrap();
    store.set_limit(100);
    store.append("aaaa", &all[..1]).unwrap_err();
    let mut left = Vec::new();
    while let Some(batch) = store.oldest(1000).unwrap() {
        store.booked(&batch);
        left.extend(batch.entries);
    }
    left
}

fn report(entry: &NumberedBooking) -> Report {
    let Booking { path, at_ms, uploaded, downloaded, event, .. } = entry.booking;
    Report {
        path,
        at_ms,
        counters: Counters { up: uploaded, down: downloaded },
        started: event == Event::Started,
    }
}

fn booked<'a>(reports: impl IntoIterator<Item = &'a Report>) -> Counters {
    let mut session = Session::default();
    for report in reports {
        session.book(report, DEFAULT_SKEW_MS);
    }
    session.claimed()
}

#[test]
fn a_session_is_credited_the_same_however_its_spooled_announces_were_coalesced() {
    let clients = std::env::var("SPOOL_CLIENTS").map_or(1000, |count| count.parse().unwrap());
    let (mut spooled, mut kept) = (0, 0);
    for seed in 0..clients {
        let mut rng = SmallRng::seed_from_u64(seed);
        let Client { said, moved } = client(&mut rng);
        // What the first path said within some time lies in a spool.
        let from = rng.random_range(0..said.len());
        let to = rng.random_range(from..=said.len());
        let lies_there = |place: usize| said[place].report.path == Path(0) && (from..to).contains(&place);
        let (inside, outside): (Vec<usize>, Vec<usize>) =
            (0..said.len()).partition(|place| lies_there(*place));
        let all: Vec<NumberedBooking> =
            inside.iter().map(|place| entry(&said[*place], *place as u64 + 1)).collect();
        if all.is_empty() {
            continue;
        }
        let less = coalesced(&all);
        (spooled, kept) = (spooled + all.len(), kept + less.len());
        let direct: Vec<Report> = outside.iter().map(|place| said[*place].report).collect();
        // A tracker books its spool before anything newer; others do not wait for it.
        let is_of_spooler = |place: &usize| said[*place].report.path == Path(0);
        let earliest = outside.iter().rposition(|place| is_of_spooler(place) && *place < from);
        let earliest = earliest.map_or(0, |last| last + 1);
        let latest = outside.iter().position(|place| is_of_spooler(place) && *place >= to);
        let latest = latest.unwrap_or(outside.len());
        for at in [earliest, rng.random_range(earliest..=latest), latest] {
            let books = |spool: &[NumberedBooking]| {
                let spool: Vec<Report> = spool.iter().map(report).collect();
                booked(direct[..at].iter().chain(&spool).chain(&direct[at..]))
            };
            let (full, credited) = (books(&all), books(&less));
            assert_eq!(credited, full, "seed {seed}, behind {at} others");
            assert!(
                credited.up <= moved.up && credited.down <= moved.down,
                "seed {seed}: {credited:?} of {moved:?}"
            );
        }
    }
    println!("{kept} of {spooled} announces are kept");
    assert!(kept * 2 < spooled, "{kept} of {spooled}");
}
