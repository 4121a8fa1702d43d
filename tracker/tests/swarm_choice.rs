//! Which peers a choosy reply offers, and that choosing stays cheap in a huge swarm.

#![allow(clippy::unwrap_used)]

use std::net::IpAddr;

use contract::{InfoHash, PeerId};
use rand::SeedableRng;
use rand::rngs::SmallRng;
use tracker::announce::{Alone, Choice, Families, Offers, PrivatePeers, Role, Subnets};
use tracker::swarm::{Swarms, Visit};

const NEAR: Choice = Choice {
    near: Some(Subnets { ipv4_prefix: 24, ipv6_prefix: 64 }),
    private: PrivatePeers::Offered,
    alone: Alone::Empty,
};

fn visit(number: u32, ip: impl Into<IpAddr>) -> Visit {
    let mut peer_id = [b'x'; 20];
    peer_id[..4].copy_from_slice(&number.to_be_bytes());
    Visit {
        info_hash: InfoHash([1; 20]),
        peer_id: PeerId(peer_id),
        user: None,
        ip: ip.into(),
        port: 6881,
        role: Role::Leecher,
        leaving: false,
        completed: false,
        num_want: 10,
        families: Families::Both,
        choice: Choice::default(),
    }
}

/// The addresses that a client is offered.
fn offered(swarms: &Swarms, visit: &Visit) -> Vec<IpAddr> {
    let mut offers = Offers::default();
    swarms.visit(visit, 0, &mut SmallRng::seed_from_u64(3), &mut offers);
    offers.iter().map(|offer| offer.address.ip()).collect()
}

/// 200 peers of 200 networks, the last of which has `near` more.
fn swarm(near: u8) -> Swarms {
    let swarms = Swarms::new(1);
    let silent = |number, ip: [u8; 4]| {
        offered(&swarms, &Visit { num_want: 0, ..visit(number, ip) });
    };
    (0..200u8).for_each(|network| silent(u32::from(network), [198, 51, network, 1]));
    (0..near).for_each(|host| silent(1000 + u32::from(host), [198, 51, 199, 10 + host]));
    swarms
}

#[test]
fn neighbours_come_first_and_others_fill_up() {
    let swarms = swarm(4);
    let asking = Visit { choice: NEAR, ..visit(5000, [198, 51, 199, 200]) };
    let peers = offered(&swarms, &asking);
    let near = |ip: &IpAddr| ip.to_string().starts_with("198.51.199.");
    assert_eq!(peers.len(), 10);
    assert!(peers[..5].iter().all(near), "{peers:?}");
    assert!(!peers[5..].iter().any(near), "{peers:?}");
}

#[test]
fn more_neighbours_than_wanted_are_all_that_is_offered() {
    let swarms = swarm(50);
    let asking = Visit { choice: NEAR, ..visit(5000, [198, 51, 199, 200]) };
    let peers = offered(&swarms, &asking);
    assert_eq!(peers.len(), 10);
    assert!(peers.iter().all(|ip| ip.to_string().starts_with("198.51.199.")));
}

#[test]
fn ipv6_neighbours_share_the_first_64_bits() {
    let swarms = Swarms::new(1);
    for number in 0..50u16 {
        let ip = [0x2001, 0xdb8, 0, if number < 5 { 7 } else { 8 }, 0, 0, 0, number];
        offered(&swarms, &visit(u32::from(number), ip));
    }
    let asking = Visit { choice: NEAR, num_want: 5, ..visit(900, [0x2001, 0xdb8, 0, 7, 0, 0, 0, 0xffff]) };
    assert!(offered(&swarms, &asking).iter().all(|ip| ip.to_string().starts_with("2001:db8:0:7:")));
}

#[test]
fn private_addresses_are_hidden_when_asked_and_offered_otherwise() {
    let swarms = Swarms::new(1);
    for (number, ip) in ["10.0.0.1", "192.0.2.1", "127.0.0.1", "fe80::1", "2001:db8::1"].iter().enumerate() {
        offered(&swarms, &visit(u32::try_from(number).unwrap(), ip.parse::<IpAddr>().unwrap()));
    }
    let asking = visit(900, [192, 0, 2, 9]);
    assert_eq!(offered(&swarms, &asking).len(), 5);
    let choice = Choice { private: PrivatePeers::Hidden, ..Choice::default() };
    let mut peers = offered(&swarms, &Visit { choice, ..asking });
    peers.sort_unstable();
    assert_eq!(peers, ["192.0.2.1".parse::<IpAddr>().unwrap(), "2001:db8::1".parse().unwrap()]);
}

#[test]
fn a_seeder_that_chooses_is_still_offered_leechers_only() {
    let swarms = swarm(0);
    for number in 0..100 {
        offered(&swarms, &Visit { role: Role::Seeder, num_want: 0, ..visit(number, [198, 51, 7, 1]) });
    }
    let asking = Visit { role: Role::Seeder, num_want: 500, choice: NEAR, ..visit(900, [198, 51, 7, 9]) };
    let peers = offered(&swarms, &asking);
    assert_eq!(peers.len(), 100);
    assert!(!peers.contains(&[198, 51, 7, 1].into()));
}

#[test]
fn a_client_alone_gets_itself_when_it_wants_and_listens() {
    let choice = Choice { alone: Alone::Itself, ..Choice::default() };
    for (ip, private) in [
        ("192.0.2.1", PrivatePeers::Offered),
        ("10.0.0.1", PrivatePeers::Hidden),
        ("::1", PrivatePeers::Hidden),
    ] {
        let swarms = Swarms::new(1);
        let ip: IpAddr = ip.parse().unwrap();
        let alone = Visit { choice: Choice { private, ..choice }, ..visit(1, ip) };
        assert_eq!(offered(&swarms, &alone), [ip]);
        assert!(offered(&swarms, &Visit { num_want: 0, ..alone.clone() }).is_empty());
        assert!(offered(&swarms, &Visit { port: 0, ..alone.clone() }).is_empty());
        assert!(offered(&swarms, &Visit { leaving: true, ..alone.clone() }).is_empty());
        offered(&swarms, &visit(2, [192, 0, 2, 2]));
        assert_eq!(offered(&swarms, &alone), [IpAddr::from([192, 0, 2, 2])], "not alone any more");
    }
}

#[test]
fn in_a_huge_swarm_a_reply_is_full_although_no_neighbour_is_met() {
    let swarms = Swarms::new(1);
    for number in 0..20_000u32 {
        let [_, _, a, b] = number.to_be_bytes();
        offered(&swarms, &Visit { num_want: 0, ..visit(number, [198, a, b, 1]) });
    }
    let asking = Visit { choice: NEAR, num_want: 50, ..visit(1 << 20, [203, 0, 113, 1]) };
    assert_eq!(offered(&swarms, &asking).len(), 50);
}
