//! The store's rules, without a socket or a clock.

use super::*;

const HASH: InfoHash = InfoHash([1; 20]);

fn store() -> Store {
    Store::new(&[None, Some([203, 0, 113, 1].into())], Duration::from_secs(1860), Duration::from_secs(60))
}

fn announce(port: u16, event: Event) -> ClientAnnounce {
    ClientAnnounce {
        info_hash: HASH,
        peer_id: PeerId([port.to_be_bytes()[1]; 20]),
        endpoint: ([192, 0, 2, 1], port).into(),
        role: Role::Leecher,
        event,
        num_want: 50,
        families: Families::Both,
        private: PrivatePeers::Offered,
    }
}

/// What forwarders are told, and the addresses the client gets.
fn visit(store: &Store, announce: &ClientAnnounce, now: u32) -> (Vec<(usize, Event)>, Vec<String>) {
    let mut offers = Offers::default();
    let due = store.visit(announce, now, &mut rand::rng(), &mut offers);
    let mut peers: Vec<_> = offers.iter().map(|offer| offer.address.to_string()).collect();
    peers.sort();
    (due.into_iter().map(|due| (due.forwarder, due.event)).collect(), peers)
}

fn learn(store: &Store, forwarder: usize, announce: &ClientAnnounce, peers: &[&str], now: u32) {
    let peers = peers.iter().map(|peer| peer.parse().unwrap()).collect();
    let learned =
        Learned { interval: Duration::from_secs(600), peers, own_ip: Some([198, 51, 100, 9].into()) };
    store.learn(forwarder, &Job::new(announce, announce.event, Instant::now()), &learned, now);
}

#[test]
fn a_client_is_told_at_the_forwarders_own_interval() {
    let (store, started) = (store(), announce(1, Event::Started));
    assert_eq!(visit(&store, &started, 0).0, [(0, Event::Started), (1, Event::Started)]);
    learn(&store, 0, &started, &[], 1);
    let plain = announce(1, Event::None);
    assert_eq!(visit(&store, &plain, 30).0, []);
    assert_eq!(visit(&store, &plain, 61).0, [(1, Event::Started)], "the other one has not answered yet");
    assert_eq!(visit(&store, &plain, 600).0, [(1, Event::Started)]);
    assert_eq!(visit(&store, &plain, 601).0, [(0, Event::None)]);
}

#[test]
fn events_go_at_once_and_only_to_those_who_know_the_client() {
    let (store, started) = (store(), announce(1, Event::Started));
    visit(&store, &started, 0);
    learn(&store, 0, &started, &[], 1);
    assert_eq!(visit(&store, &announce(1, Event::Completed), 5).0, [(0, Event::Completed)]);
    assert_eq!(visit(&store, &announce(1, Event::Stopped), 6).0, [(0, Event::Stopped)]);
    assert_eq!(visit(&store, &announce(1, Event::Stopped), 7).0, [], "it is gone already");
    assert_eq!(visit(&store, &announce(9, Event::Stopped), 7).0, [], "a stranger's goodbye");
}

#[test]
fn a_new_run_at_the_same_address_is_a_new_client() {
    let (store, started) = (store(), announce(1, Event::Started));
    visit(&store, &started, 0);
    learn(&store, 0, &started, &[], 1);
    let again = ClientAnnounce { peer_id: PeerId([77; 20]), ..started };
    assert_eq!(visit(&store, &again, 2).0, [(0, Event::Started), (1, Event::Started)]);
}

#[test]
fn a_refused_torrent_rests_as_long_as_the_forwarder_says() {
    let (store, started) = (store(), announce(1, Event::Started));
    visit(&store, &started, 0);
    store.rest(0, &HASH, Wait::For(Duration::from_secs(300)), 0);
    store.rest(1, &HASH, Wait::ForEver, 0);
    assert_eq!(visit(&store, &started, 299).0, []);
    assert_eq!(visit(&store, &started, 300).0, [(0, Event::Started)]);
    assert_eq!(visit(&store, &started, 86_399).0, [(0, Event::Started)]);
    assert_eq!(visit(&store, &started, 86_500).0, [(0, Event::Started), (1, Event::Started)]);
}

#[test]
fn external_peers_come_after_local_ones_each_once_up_to_what_is_wanted() {
    let (store, asker) = (store(), announce(1, Event::Started));
    visit(&store, &asker, 0);
    learn(&store, 0, &asker, &["192.0.2.7:7", "192.0.2.8:8", "[2001:db8::1]:9"], 1);
    learn(&store, 1, &asker, &["192.0.2.8:8"], 1);
    assert_eq!(visit(&store, &asker, 2).1, ["192.0.2.7:7", "192.0.2.8:8", "[2001:db8::1]:9"]);
    let own = ClientAnnounce { families: Families::Own, ..asker.clone() };
    assert_eq!(visit(&store, &own, 2).1, ["192.0.2.7:7", "192.0.2.8:8"]);
    let mut offers = Offers::default();
    offers.push("192.0.2.7:7".parse().unwrap(), NAMELESS);
    store.visit(&ClientAnnounce { num_want: 2, ..asker }, 2, &mut rand::rng(), &mut offers);
    assert_eq!(offers.len(), 2);
    assert_eq!(offers.iter().filter(|offer| offer.address.port() == 7).count(), 1, "it is there already");
}

#[test]
fn our_own_clients_do_not_come_back_as_strangers() {
    let (store, first, second) = (store(), announce(1, Event::Started), announce(2, Event::Started));
    visit(&store, &first, 0);
    visit(&store, &second, 0);
    let peers = ["192.0.2.1:1", "192.0.2.1:2", "203.0.113.1:2", "198.51.100.9:1", "198.51.100.9:5"];
    learn(&store, 1, &first, &peers, 1);
    assert_eq!(visit(&store, &first, 2).1, ["198.51.100.9:5"]);
    let late = ClientAnnounce { endpoint: "198.51.100.9:5".parse().unwrap(), ..second };
    visit(&store, &late, 3);
    assert_eq!(visit(&store, &first, 4).1, Vec::<String>::new(), "it turned out to be one of ours");
}

#[test]
fn a_seeder_gets_only_who_was_named_to_a_seeder() {
    let (store, leecher) = (store(), announce(1, Event::Started));
    let seeder = ClientAnnounce { role: Role::Seeder, ..announce(2, Event::Started) };
    visit(&store, &leecher, 0);
    visit(&store, &seeder, 0);
    learn(&store, 0, &leecher, &["192.0.2.7:7", "192.0.2.8:8"], 1);
    assert_eq!(visit(&store, &seeder, 2).1, Vec::<String>::new());
    learn(&store, 0, &seeder, &["192.0.2.8:8"], 3);
    assert_eq!(visit(&store, &seeder, 4).1, ["192.0.2.8:8"]);
}

#[test]
fn hidden_private_peers_stay_hidden_and_nobody_gets_more_than_it_wants() {
    let (store, asker) = (store(), announce(1, Event::Started));
    visit(&store, &asker, 0);
    learn(&store, 0, &asker, &["10.0.0.7:7", "192.0.2.8:8"], 1);
    let hidden = ClientAnnounce { private: PrivatePeers::Hidden, ..asker.clone() };
    assert_eq!(visit(&store, &hidden, 2).1, ["192.0.2.8:8"]);
    assert_eq!(visit(&store, &ClientAnnounce { num_want: 0, ..asker }, 2).1, Vec::<String>::new());
}

#[test]
fn what_is_known_expires_and_has_bounds() {
    let (store, asker) = (store(), announce(1, Event::Started));
    visit(&store, &asker, 0);
    let many: Vec<String> = (1..=MAX_EXTERNAL + 50).map(|port| format!("192.0.2.9:{port}")).collect();
    learn(&store, 0, &asker, &many.iter().map(String::as_str).collect::<Vec<_>>(), 1);
    assert_eq!(store.sweep(2), [MAX_EXTERNAL as i64, 0]);
    assert_eq!(visit(&store, &asker, 1201).1, Vec::<String>::new(), "twice the interval has passed");
    for port in 2..=u16::try_from(MAX_SESSIONS).unwrap() + 10 {
        visit(&store, &announce(port, Event::Started), 1300);
    }
    assert_eq!(store.shard(&HASH).lock()[&HASH].sessions.len(), MAX_SESSIONS);
    assert_eq!(store.sweep(1300 + 1861), [0, 0]);
    assert!(store.shard(&HASH).lock().is_empty());
}

#[test]
fn a_flood_of_torrents_fills_its_part_and_no_more() {
    let store = store();
    for number in 0..2 * MAX_TORRENTS / SHARDS {
        let mut hash = [0; 20];
        hash[..8].copy_from_slice(&number.to_be_bytes());
        visit(&store, &ClientAnnounce { info_hash: InfoHash(hash), ..announce(1, Event::Started) }, 0);
    }
    assert_eq!(store.shard(&InfoHash([0; 20])).lock().len(), MAX_TORRENTS / SHARDS);
}
