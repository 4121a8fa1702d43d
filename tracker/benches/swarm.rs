//! The swarm store: a visit, and a pick of peers, by the size of the swarm.
//! `cargo bench -p tracker --bench swarm`.

use std::net::Ipv4Addr;

use contract::{InfoHash, PeerId};
use divan::{Bencher, black_box};
use tracker::announce::{Choice, Families, Offers, Role};
use tracker::swarm::{Swarms, Visit};

/// Peers in the swarm.
const SIZES: [u32; 4] = [10, 100, 10_000, 100_000];

fn main() {
    divan::main();
}

fn visit(session: u32, num_want: usize) -> Visit {
    let mut id = *b"-TR4060-000000000000";
    id[16..].copy_from_slice(&session.to_be_bytes());
    Visit {
        info_hash: InfoHash([1; 20]),
        peer_id: PeerId(id),
        user: None,
        ip: Ipv4Addr::from(0x5000_0000 + session).into(),
        port: 6881,
        role: if session.is_multiple_of(3) { Role::Leecher } else { Role::Seeder },
        leaving: false,
        completed: false,
        num_want,
        families: Families::Both,
        choice: Choice::default(),
    }
}

fn swarm(peers: u32) -> Swarms {
    let swarms = Swarms::new(1);
    for session in 0..peers {
        swarms.visit(&visit(session, 0), 1, &mut rand::rng(), &mut Offers::default());
    }
    swarms
}

fn visits(bencher: Bencher<'_, '_>, peers: u32, num_want: usize) {
    let (swarms, mut rng, mut session) = (swarm(peers), rand::rng(), 0);
    bencher.bench_local(|| {
        // A step that has no common factor with any size: every peer comes by.
        session = (session + 7919) % peers;
        let mut offers = Offers::default();
        black_box(swarms.visit(&visit(session, num_want), 2, &mut rng, &mut offers));
        offers
    });
}

#[divan::bench(args = SIZES)]
fn visit_that_wants_nobody(bencher: Bencher<'_, '_>, peers: u32) {
    visits(bencher, peers, 0);
}

#[divan::bench(args = SIZES)]
fn visit_that_wants_50(bencher: Bencher<'_, '_>, peers: u32) {
    visits(bencher, peers, 50);
}

/// Expiry of everybody, per peer.
#[divan::bench(args = [100, 10_000], sample_count = 20)]
fn sweep_of_a_silent_swarm(bencher: Bencher<'_, '_>, peers: u32) {
    bencher
        .counter(divan::counter::ItemsCount::new(peers))
        .with_inputs(|| swarm(peers))
        .bench_local_values(|swarms| swarms.sweep(0, 100));
}
