//! The swarm store against a model that is too simple to be wrong.

#![allow(clippy::unwrap_used, clippy::cast_possible_truncation)]

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::num::NonZeroU64;

use contract::{InfoHash, PeerId};
use proptest::prelude::*;
use rand::SeedableRng;
use rand::rngs::SmallRng;
use tracker::announce::{Choice, Families, Offers, PeerIds, Role, UserTag};
use tracker::swarm::{Swarms, Visit};

const TORRENT: InfoHash = InfoHash([1; 20]);

fn peer_id(n: u16) -> PeerId {
    let mut id = [b'x'; 20];
    id[..2].copy_from_slice(&n.to_be_bytes());
    PeerId(id)
}

fn ip(n: u16, v6: bool) -> IpAddr {
    let [a, b] = n.to_be_bytes();
    if v6 { IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, n]) } else { IpAddr::from([192, 0, a, b]) }
}

fn visit(n: u16) -> Visit {
    Visit {
        info_hash: TORRENT,
        peer_id: peer_id(n),
        user: NonZeroU64::new(u64::from(n) + 1).map(UserTag),
        ip: ip(n, false),
        port: 6881,
        role: Role::Leecher,
        leaving: false,
        completed: false,
        num_want: 50,
        families: Families::Both,
        choice: Choice::default(),
    }
}

fn offered(offers: &Offers) -> Vec<PeerId> {
    offers.iter().map(|offer| offer.peer_id).collect()
}

#[derive(Debug, Clone)]
enum Step {
    Visit { peer: u16, v6: bool, seeder: bool, leaving: bool, want: usize, port: u16 },
    Sweep { lifetime: u32 },
    Wait { seconds: u32 },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let visit =
        (0..150u16, any::<bool>(), any::<bool>(), prop::bool::weighted(0.15), 0..60usize, 0..8u16).prop_map(
            |(peer, v6, seeder, leaving, want, port)| Step::Visit { peer, v6, seeder, leaving, want, port },
        );
    let step = prop_oneof![
        20 => visit,
        1 => (0..30u32).prop_map(|lifetime| Step::Sweep { lifetime }),
        2 => (1..10u32).prop_map(|seconds| Step::Wait { seconds }),
    ];
    prop::collection::vec(step, 1..600)
}

/// What the model knows of one address of one session.
type Model = HashMap<(u16, bool), u32>;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_store_behaves_like_the_model(steps in steps(), seed in any::<u64>()) {
        let swarms = Swarms::new(4);
        let mut rng = SmallRng::seed_from_u64(seed);
        let (mut seen, mut seeders) = (Model::new(), HashSet::<u16>::new());
        let mut unreachable = HashSet::<(u16, bool)>::new();
        let mut now = 1000;
        for step in steps {
            match step {
                Step::Wait { seconds } => now += seconds,
                Step::Sweep { lifetime } => {
                    let oldest = now - lifetime;
                    let gone: usize = (0..swarms.shard_count()).map(|shard| swarms.sweep(shard, oldest)).sum();
                    let before = seen.len();
                    seen.retain(|_, last| *last >= oldest);
                    prop_assert_eq!(gone, before - seen.len());
                }
                Step::Visit { peer, v6, seeder, leaving, want, port } => {
                    let role = if seeder { Role::Seeder } else { Role::Leecher };
                    let call = Visit { ip: ip(peer, v6), role, leaving, num_want: want, port, ..visit(peer) };
                    let mut offers = Offers::with(PeerIds::Named);
                    swarms.visit(&call, now, &mut rng, &mut offers);
                    if leaving {
                        seen.retain(|(who, _), _| *who != peer);
                        prop_assert!(offered(&offers).is_empty());
                    } else {
                        seen.insert((peer, v6), now);
                        if seeder { seeders.insert(peer); } else { seeders.remove(&peer); }
                        if port == 0 { unreachable.insert((peer, v6)); } else { unreachable.remove(&(peer, v6)); }
                        let good: HashSet<(PeerId, IpAddr)> = seen.keys()
                            .filter(|(who, _)| *who != peer && !(seeder && seeders.contains(who)))
                            .filter(|key| !unreachable.contains(key))
                            .map(|(who, v6)| (peer_id(*who), ip(*who, *v6)))
                            .collect();
                        let got: Vec<(PeerId, IpAddr)> = offers.iter().map(|offer| (offer.peer_id, offer.address.ip())).collect();
                        let distinct: HashSet<_> = got.iter().copied().collect();
                        prop_assert_eq!(distinct.len(), got.len(), "no peer twice");
                        prop_assert!(distinct.is_subset(&good), "only peers it may have");
                        prop_assert!(got.len() <= want);
                    }
                }
            }
            let present: HashSet<u16> = seen.keys().map(|(who, _)| *who).collect();
            let complete = present.iter().filter(|who| seeders.contains(who)).count();
            let counts = swarms.counts(&TORRENT);
            prop_assert_eq!(counts.complete as usize, complete);
            prop_assert_eq!(counts.incomplete as usize, present.len() - complete);
            let census = swarms.census();
            prop_assert_eq!((census.endpoints_v4 + census.endpoints_v6) as usize, seen.len());
        }
    }
}

fn swarm_of(count: u16, role: Role) -> Swarms {
    let swarms = Swarms::new(1);
    let mut rng = SmallRng::seed_from_u64(1);
    for n in 0..count {
        swarms.visit(&Visit { role, num_want: 0, ..visit(n) }, 0, &mut rng, &mut Offers::default());
    }
    swarms
}

fn ask(swarms: &Swarms, call: &Visit, rng: &mut SmallRng) -> Vec<PeerId> {
    let mut offers = Offers::with(PeerIds::Named);
    swarms.visit(call, 0, rng, &mut offers);
    offered(&offers)
}

#[test]
fn every_peer_of_a_large_swarm_is_offered_about_equally_often() {
    let swarms = swarm_of(1000, Role::Seeder);
    let mut rng = SmallRng::seed_from_u64(7);
    let mut times = HashMap::<PeerId, u32>::new();
    for _ in 0..4000 {
        let peers = ask(&swarms, &visit(5000), &mut rng);
        assert_eq!(peers.len(), 50);
        for peer in peers {
            *times.entry(peer).or_default() += 1;
        }
    }
    // 200 times each is expected; with binomial spread the rarest of 1000 stays above 130 and the commonest
    // below 270.
    assert_eq!(times.len(), 1000, "every peer is offered");
    assert!(
        times.values().all(|count| (130..270).contains(count)),
        "{:?}",
        (times.values().min(), times.values().max())
    );
}

#[test]
fn every_peer_of_a_huge_swarm_is_offered() {
    const PEERS: u16 = 60_000;
    let swarms = swarm_of(PEERS, Role::Seeder);
    let mut rng = SmallRng::seed_from_u64(11);
    let mut times = HashMap::<PeerId, u32>::new();
    for _ in 0..PEERS / 2 {
        for peer in ask(&swarms, &visit(u16::MAX), &mut rng) {
            *times.entry(peer).or_default() += 1;
        }
    }
    // 25 times each is expected: the chance that one of them is never drawn is below one in a million.
    assert_eq!(times.len(), usize::from(PEERS));
    assert!(times.values().all(|count| *count < 75), "{:?}", times.values().max());
}

/// Comes and goes as often as it takes that the index of a large swarm is made, kept and given up.
#[test]
fn in_a_swarm_around_the_size_from_which_it_is_indexed_everybody_is_found() {
    let swarms = Swarms::new(1);
    let mut rng = SmallRng::seed_from_u64(3);
    let mut present = HashMap::<u16, Role>::new();
    for round in 0..30_000_u32 {
        // Waves that rise above and fall below the border.
        let rising = (round / 3000) % 2 == 0;
        let peer = (round.wrapping_mul(7919) % 1700) as u16;
        let role = if round % 5 == 0 { Role::Leecher } else { Role::Seeder };
        let leaving = if rising { round % 9 == 0 } else { round % 9 != 0 };
        let call = Visit { role, leaving, num_want: 5, ..visit(peer) };
        let offered = ask(&swarms, &call, &mut rng);
        assert!(!offered.contains(&peer_id(peer)));
        if leaving {
            present.remove(&peer);
        } else {
            present.insert(peer, role);
        }
        let counts = swarms.counts(&TORRENT);
        assert_eq!((counts.complete + counts.incomplete) as usize, present.len(), "round {round}");
        let seeders = present.values().filter(|role| **role == Role::Seeder).count();
        assert_eq!(counts.complete as usize, seeders);
    }
}

#[test]
fn announces_are_answered_while_a_sweep_is_under_way() {
    let swarms = swarm_of(30_000, Role::Seeder);
    std::thread::scope(|scope| {
        let sweeping = scope.spawn(|| swarms.sweep(0, 1));
        let mut rng = SmallRng::seed_from_u64(5);
        let mut under_way = true;
        while under_way {
            under_way = !sweeping.is_finished();
            swarms.visit(&visit(u16::MAX), 1, &mut rng, &mut Offers::default());
        }
        assert_eq!(sweeping.join().unwrap(), 30_000);
    });
    assert_eq!(swarms.counts(&TORRENT).incomplete, 1, "who came meanwhile stays");
}

#[test]
fn a_seeder_is_offered_leechers_only_and_a_leecher_both() {
    let swarms = swarm_of(10, Role::Seeder);
    let mut rng = SmallRng::seed_from_u64(1);
    let mut call = visit(100);
    assert_eq!(ask(&swarms, &call, &mut rng).len(), 10);
    call.role = Role::Seeder;
    assert_eq!(ask(&swarms, &call, &mut rng).len(), 0);
}

#[test]
fn other_sessions_of_the_same_user_are_not_offered() {
    let swarms = swarm_of(3, Role::Seeder);
    let mut rng = SmallRng::seed_from_u64(1);
    let same_user = Visit { user: visit(1).user, ..visit(100) };
    let peers = ask(&swarms, &same_user, &mut rng);
    assert_eq!(peers.len(), 2);
    assert!(!peers.contains(&peer_id(1)));
}

#[test]
fn a_client_on_two_addresses_is_offered_on_both_and_counted_once() {
    let swarms = swarm_of(1, Role::Seeder);
    let mut rng = SmallRng::seed_from_u64(1);
    ask(&swarms, &Visit { ip: ip(0, true), role: Role::Seeder, ..visit(0) }, &mut rng);
    assert_eq!(swarms.counts(&TORRENT).complete, 1);
    assert_eq!(ask(&swarms, &visit(100), &mut rng).len(), 2);
    let own = ask(&swarms, &Visit { families: Families::Own, ..visit(100) }, &mut rng);
    assert_eq!(own.len(), 1, "a UDP reply carries one family");
}

#[test]
fn a_rare_family_is_not_invisible_in_a_large_swarm() {
    let swarms = swarm_of(500, Role::Seeder);
    let mut rng = SmallRng::seed_from_u64(1);
    ask(&swarms, &Visit { ip: ip(900, true), role: Role::Seeder, ..visit(900) }, &mut rng);
    for _ in 0..20 {
        assert!(ask(&swarms, &visit(1000), &mut rng).contains(&peer_id(900)));
    }
}

#[test]
fn a_completed_counts_once_per_download() {
    let swarms = swarm_of(0, Role::Leecher);
    let mut rng = SmallRng::seed_from_u64(1);
    ask(&swarms, &visit(1), &mut rng);
    let done = Visit { role: Role::Seeder, completed: true, ..visit(1) };
    ask(&swarms, &done, &mut rng);
    ask(&swarms, &done, &mut rng);
    assert_eq!(swarms.counts(&TORRENT).downloaded, 1);
}

#[test]
fn a_strangers_goodbye_leaves_nothing_behind() {
    let swarms = swarm_of(0, Role::Leecher);
    let mut rng = SmallRng::seed_from_u64(1);
    ask(&swarms, &Visit { leaving: true, ..visit(1) }, &mut rng);
    assert_eq!(swarms.census().torrents, 0);
    ask(&swarms, &visit(1), &mut rng);
    ask(&swarms, &Visit { leaving: true, ..visit(1) }, &mut rng);
    assert_eq!(swarms.census().torrents, 0);
}
