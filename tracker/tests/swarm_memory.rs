//! Memory goes back to the system after a spike. Alone in its process, so that what the process holds is what
//! the swarms hold, and with the allocator that the tracker has.

#![allow(clippy::unwrap_used)]

use contract::{InfoHash, PeerId};
use harness::eventually;
use rand::SeedableRng;
use rand::rngs::SmallRng;
use tracker::announce::{Choice, Families, Offers, Role};
use tracker::swarm::{Swarms, Visit};

service::profiled_allocator!();

const PEERS: u32 = 300_000;
const TORRENTS: u32 = 3000;

/// All peers announce at the time `now`, the n-th at the torrent n modulo `torrents`.
fn announce(swarms: &Swarms, peers: u32, torrents: u32, now: u32) {
    let mut rng = SmallRng::seed_from_u64(1);
    for number in 0..peers {
        let [mut info_hash, mut peer_id] = [[7; 20]; 2];
        info_hash[..4].copy_from_slice(&(number % torrents).to_be_bytes());
        peer_id[..4].copy_from_slice(&number.to_be_bytes());
        let visit = Visit {
            info_hash: InfoHash(info_hash),
            peer_id: PeerId(peer_id),
            user: None,
            ip: number.to_be_bytes().into(),
            port: 6881,
            role: Role::Leecher,
            leaving: false,
            completed: false,
            num_want: 0,
            families: Families::Own,
            choice: Choice::default(),
        };
        swarms.visit(&visit, now, &mut rng, &mut Offers::default());
    }
}

fn resident_kilobytes() -> u64 {
    let page = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = page.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn after_a_spike_its_memory_goes_back_to_the_system() {
    let swarms = Swarms::new(64);
    announce(&swarms, PEERS / 100, TORRENTS, 0);
    let before = resident_kilobytes();
    announce(&swarms, PEERS, TORRENTS, 0);
    let grown = resident_kilobytes() - before;
    assert!(grown * 1024 > u64::from(PEERS) * 30, "{grown} kB for {PEERS} peers");
    // One of a hundred goes on announcing.
    announce(&swarms, PEERS / 100, TORRENTS, 10);
    let expired: usize = (0..swarms.shard_count()).map(|shard| swarms.sweep(shard, 5)).sum();
    assert_eq!(expired, (PEERS - PEERS / 100) as usize);
    eventually("the memory is given back, although nobody calls any more", || {
        (resident_kilobytes().saturating_sub(before) < grown / 4).then_some(())
    });
}
