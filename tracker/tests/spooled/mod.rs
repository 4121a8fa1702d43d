//! Entries for spools, and what comes out of one.

use contract::{Event, InfoHash, PeerId};
use tracker::traffic::{Booking, Disk, NumberedBooking, Store};

pub(crate) fn entry(sequence: u64) -> NumberedBooking {
    let booking = Booking {
        passkey: format!("user{sequence}").parse().unwrap(),
        info_hash: InfoHash([7; 20]),
        peer_id: PeerId([8; 20]),
        ip: [192, 0, 2, 1].into(),
        port: 6881,
        uploaded: sequence,
        downloaded: 0,
        left: 0,
        event: Event::None,
        at_ms: 1_700_000_000_000 + sequence,
        path: claims::Path(1),
        interval: 1800,
        min_interval: 900,
        fd: None,
        pd: None,
        extras: contract::Extras { agent: Some("agent".into()), ..contract::Extras::default() },
    };
    NumberedBooking { ts: 1_700_000_000 + sequence, ..NumberedBooking::new(booking, sequence) }
}

pub(crate) fn numbers<D: Disk>(store: &mut Store<D>) -> Vec<u64> {
    let mut all = Vec::new();
    while let Some(batch) = store.oldest(7).unwrap() {
        store.booked(&batch);
        all.extend(batch.entries.iter().map(|entry| entry.sequence));
    }
    all
}
