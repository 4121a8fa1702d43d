//! What the store makes of visits that it hears of from others: late, repeated, in any order.

#![allow(clippy::unwrap_used)]

use std::net::IpAddr;

use contract::{InfoHash, PeerId};
use proptest::prelude::*;
use rand::SeedableRng;
use rand::rngs::SmallRng;
use tracker::announce::{Choice, Counts, Families, Offers, Role};
use tracker::swarm::{Sighting, Swarms, Visit};

const TORRENT: InfoHash = InfoHash([1; 20]);

fn sighting(peer: u8, v6: bool, role: Role) -> Sighting {
    let ip: IpAddr =
        if v6 { [0x2001, 0xdb8, 0, 0, 0, 0, 0, peer.into()].into() } else { [192, 0, 2, peer].into() };
    let (peer_id, port) = (PeerId([peer; 20]), 6881);
    Sighting { info_hash: TORRENT, peer_id, user: None, ip, port, role, leaving: false, completed: false }
}

fn leaving(sighting: Sighting) -> Sighting {
    Sighting { leaving: true, ..sighting }
}

fn counts(swarms: &Swarms) -> (u32, u32) {
    let Counts { complete, incomplete, .. } = swarms.counts(&TORRENT);
    (complete, incomplete)
}

fn visit(swarms: &Swarms, sighting: Sighting, now: u32) {
    let Sighting { info_hash, peer_id, user, ip, port, role, leaving, completed } = sighting;
    let (families, choice) = (Families::Both, Choice::default());
    let visit =
        Visit { info_hash, peer_id, user, ip, port, role, leaving, completed, num_want: 0, families, choice };
    swarms.visit(&visit, now, &mut SmallRng::seed_from_u64(1), &mut Offers::default());
}

#[test]
fn what_is_known_from_later_stays() {
    let swarms = Swarms::new(1);
    let (leecher, seeder) = (sighting(1, false, Role::Leecher), sighting(1, false, Role::Seeder));
    visit(&swarms, seeder, 100);
    assert!(!swarms.learn(&leecher, 99));
    assert!(!swarms.learn(&leaving(leecher), 99));
    assert_eq!(counts(&swarms), (1, 0));
    assert!(swarms.learn(&leecher, 101));
    assert_eq!(counts(&swarms), (0, 1));
    assert!(swarms.learn(&leaving(leecher), 101));
    assert!(!swarms.learn(&leaving(leecher), 102), "nobody is left to go");
    assert_eq!((counts(&swarms), swarms.census().torrents), ((0, 0), 0));
}

#[test]
fn a_client_that_was_seen_since_at_its_other_address_does_not_go() {
    let swarms = Swarms::new(1);
    let (v4, v6) = (sighting(1, false, Role::Leecher), sighting(1, true, Role::Seeder));
    swarms.learn(&v6, 100);
    assert!(swarms.learn(&v4, 90), "its older address is news");
    assert_eq!(counts(&swarms), (1, 0), "the side is the one it was seen on last");
    assert!(!swarms.learn(&leaving(v4), 95));
    assert!(swarms.learn(&leaving(v4), 100));
    assert_eq!(counts(&swarms), (0, 0));
}

#[test]
fn it_expires_by_when_it_was_seen_and_not_by_when_it_was_heard_of() {
    let swarms = Swarms::new(1);
    visit(&swarms, sighting(1, false, Role::Seeder), 100);
    swarms.learn(&sighting(2, false, Role::Seeder), 60);
    assert_eq!(swarms.sweep(0, 61), 1);
    assert_eq!(counts(&swarms), (1, 0));
}

#[test]
fn a_download_counts_once_whoever_tells_of_it() {
    let swarms = Swarms::new(1);
    let done = Sighting { completed: true, ..sighting(1, false, Role::Seeder) };
    swarms.learn(&sighting(1, false, Role::Leecher), 10);
    swarms.learn(&done, 20);
    visit(&swarms, done, 21);
    swarms.learn(&Sighting { ip: [192, 0, 2, 77].into(), ..done }, 22);
    assert_eq!(swarms.counts(&TORRENT).downloaded, 1);
}

fn sightings() -> impl Strategy<Value = Vec<(u8, bool, bool)>> {
    prop::collection::vec((0..5_u8, any::<bool>(), any::<bool>()), 1..40)
}

proptest! {
    #[test]
    fn the_order_in_which_visits_are_heard_of_does_not_matter(
        (in_order, shuffled) in sightings().prop_flat_map(|seen| {
            let seen: Vec<_> = (1..).zip(seen).collect();
            (Just(seen.clone()), Just(seen).prop_shuffle())
        })
    ) {
        let told = |news: &[(u32, (u8, bool, bool))]| {
            let swarms = Swarms::new(1);
            for (seen, (peer, v6, seeder)) in news {
                let role = if *seeder { Role::Seeder } else { Role::Leecher };
                swarms.learn(&sighting(*peer, *v6, role), *seen);
            }
            swarms
        };
        let (a, b) = (told(&in_order), told(&shuffled));
        prop_assert_eq!(a.census(), b.census());
        for oldest in (1..=in_order.len()).map(|seen| u32::try_from(seen).unwrap()) {
            prop_assert_eq!(a.sweep(0, oldest), b.sweep(0, oldest));
            prop_assert_eq!(counts(&a), counts(&b));
        }
    }
}
