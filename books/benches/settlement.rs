//! Settlement of one event, with and without promotions in force, and of batches into SQLite.
//! `cargo bench -p books`.

use books::ledger::{self, Access};
use books::settlement::{Promotion, Promotions, Rules, Scope, settle};
use books::{Entry, EntryId};
use contract::{AddressFamily, Event, InfoHash, PeerId, TrafficEvent};
use divan::counter::ItemsCount;
use divan::{Bencher, black_box};

fn main() {
    divan::main();
}

/// A seeder's heartbeat: of so many sessions in turn.
fn entry(number: u64) -> Entry {
    let (session, ts) = (number % 1000, 1_700_000_000 + number);
    let mut id = *b"-TR4060-000000000000";
    id[12..].copy_from_slice(&session.to_be_bytes());
    let event = TrafficEvent {
        passkey: format!("user{session}").parse().expect("a passkey"),
        info_hash: InfoHash([u8::try_from(session % 100).unwrap_or_default(); 20]),
        peer_id: PeerId(id),
        port: 6881,
        ip: [192, 0, 2, 1].into(),
        af: AddressFamily::V4,
        du: 1_000_000,
        dd: 0,
        left: 0,
        event: Event::None,
        ts,
        dt: 1000,
        interval: 1800,
        min_interval: 900,
        fd: None,
        pd: None,
        claim: None,
        extras: contract::Extras::default(),
    };
    Entry { id: EntryId { ms: ts * 1000, seq: 0 }, event }
}

/// One for everybody, and one for each of so many torrents.
fn promotions(torrents: u8) -> Promotions {
    let promotion =
        |id, scope| Promotion { id, scope, up_milli: 2000, down_milli: 500, starts_at: 0, ends_at: None };
    let of_torrents = (0..torrents).map(|n| promotion(i64::from(n) + 2, Scope::Torrent(InfoHash([n; 20]))));
    std::iter::once(promotion(1, Scope::Global)).chain(of_torrents).collect()
}

#[divan::bench(args = [0, 100])]
fn one_event_with_promotions(bencher: Bencher<'_, '_>, torrents: u8) {
    let (entry, promotions) = (entry(1), promotions(torrents));
    bencher.bench_local(|| settle(entry.id, black_box(&entry.event), &promotions, &Rules::default()));
}

#[divan::bench(args = [100, 1000, 5000], sample_count = 20, sample_size = 1)]
fn a_batch_into_sqlite(bencher: Bencher<'_, '_>, batch: u64) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let url = format!("sqlite://{}", folder.path().join("ledger.db").display());
    let mut ledger = ledger::open(&url.as_str().into(), Access::Write).expect("a ledger");
    ledger.migrate().expect("its tables");
    let mut next = 0;
    bencher
        .counter(ItemsCount::new(batch))
        .with_inputs(|| {
            next += batch;
            (next - batch..next).map(entry).collect::<Vec<Entry>>()
        })
        .bench_local_refs(|entries| ledger.settle(entries, &Rules::default()).expect("the batch settles"));
}
