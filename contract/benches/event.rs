//! The traffic event to its fields and back. `cargo bench -p contract`.

use contract::{AddressFamily, Event, InfoHash, PeerId, TrafficEvent};
use divan::{Bencher, black_box};

fn main() {
    divan::main();
}

fn event() -> TrafficEvent {
    TrafficEvent {
        passkey: "0123456789abcdef0123456789abcdef".parse().expect("a passkey"),
        info_hash: InfoHash([0xa5; 20]),
        peer_id: PeerId(*b"-qB5000-j2B!kq0vXc~_"),
        port: 6881,
        ip: [192, 0, 2, 1].into(),
        af: AddressFamily::V4,
        du: 123_456_789,
        dd: 0,
        left: 0,
        event: Event::None,
        ts: 1_700_000_000,
        dt: 1800,
        interval: 1800,
        min_interval: 900,
        fd: None,
        pd: None,
        claim: None,
        extras: contract::Extras::default(),
    }
}

#[divan::bench]
fn to_fields(bencher: Bencher<'_, '_>) {
    let event = event();
    bencher.bench_local(|| black_box(&event).to_fields());
}

#[divan::bench]
fn from_fields(bencher: Bencher<'_, '_>) {
    let fields = event().to_fields();
    bencher.bench_local(|| {
        let bytes = fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
        TrafficEvent::from_fields(black_box(bytes)).expect("an event reads as it was written")
    });
}
