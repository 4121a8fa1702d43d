//! libtorrent itself, in network namespaces, at two trackers over HTTP, HTTPS and UDP in both families, on
//! ways of which some are slow.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use contract::{Event, InfoHash, Keys, TrafficEvent};
use harness::{Certificate, LibTorrent, Network, Relay, Torrent};
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};

use crate::session::Session;
use crate::site::{Plan, Site};

const MIB: usize = 1 << 20;
/// Of a slow way.
const SLOW: Duration = Duration::from_secs(3);
const LEECHER: &str = "leecher-0123456789";
const SEEDER: &str = "seeder-0123456789";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scheme {
    Http,
    Https,
    Udp,
}

/// One announce URL's way to a tracker.
struct Way {
    scheme: Scheme,
    relay: Relay,
}

/// Two clients and the ways from them to the trackers. Dropped from top to bottom.
struct Internet {
    leecher: LibTorrent,
    seeder: LibTorrent,
    ways: Vec<Way>,
    site: Site,
    _network: Network,
}

impl Internet {
    /// `ways`: tracker, scheme, and whether it is over IPv6; `delay` of each.
    fn start(ways: &[(usize, Scheme, bool)], mut delay: impl FnMut(usize) -> Duration) -> Self {
        let mut network = Network::start();
        let addresses: [IpAddr; 2] = [network.ipv4().into(), network.ipv6().into()];
        let certificate = Some(Certificate::for_addresses(&addresses));
        let tracker = "min_announce_interval: 1s\n";
        let site = Site::start_with(&Plan { certificate, tracker, ..Plan::default() });
        for passkey in [LEECHER, SEEDER] {
            let _: Session = site.session(passkey);
        }
        let ways = ways.iter().enumerate().map(|(number, &(tracker, scheme, over_ipv6))| {
            let ports = site.trackers[tracker].ports;
            let listen = SocketAddr::new(addresses[usize::from(over_ipv6)], 0);
            let server = |port| match over_ipv6 {
                true => SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], port)),
                false => SocketAddr::from(([127, 0, 0, 1], port)),
            };
            let relay = match scheme {
                Scheme::Http => Relay::tcp(listen, server(ports.http)),
                Scheme::Https => Relay::tcp(listen, server(ports.https)),
                Scheme::Udp => Relay::udp(listen, server(ports.udp)),
            };
            relay.delay(delay(number));
            Way { scheme, relay }
        });
        let ways = ways.collect();
        let (leecher, seeder) = (network.host("leecher"), network.host("seeder"));
        let (leecher, seeder) = (LibTorrent::start(&leecher), LibTorrent::start(&seeder));
        Self { leecher, seeder, ways, site, _network: network }
    }

    fn urls(&self, passkey: &str) -> Vec<String> {
        let url = |way: &Way| {
            let scheme = match way.scheme {
                Scheme::Http => "http",
                Scheme::Https => "https",
                Scheme::Udp => "udp",
            };
            format!("{scheme}://{}/announce/{passkey}", way.relay.address())
        };
        self.ways.iter().map(url).collect()
    }

    /// Both have the torrent; the leecher asks for pieces once a tracker has heard of it, which is how
    /// clients find each other.
    fn share(&self, torrents: &[Torrent], bytes_per_s: u64) {
        for torrent in torrents {
            torrent.write_content(&self.seeder.files());
            self.seeder.add(torrent, &self.urls(SEEDER), 0);
        }
        for torrent in torrents {
            self.leecher.add(torrent, &self.urls(LEECHER), bytes_per_s);
        }
        let mut waiting: Vec<&Torrent> = torrents.iter().collect();
        self.leecher.wait_until("trackers have heard of all torrents", || {
            let heard = |passkey: &str| -> Vec<InfoHash> {
                self.site.events(passkey).iter().map(|event| event.info_hash).collect()
            };
            let (leecher, seeder) = (heard(LEECHER), heard(SEEDER));
            waiting.retain(|torrent| {
                let hash = torrent.info_hash();
                let is_known = leecher.contains(&hash) && seeder.contains(&hash);
                if is_known {
                    self.leecher.connect(torrent, &self.seeder);
                }
                !is_known
            });
            waiting.is_empty().then_some(())
        });
    }

    fn wait_for_all(&self, torrents: &[Torrent]) {
        self.leecher.wait_until("it has everything", || {
            torrents.iter().all(|torrent| self.leecher.counters(torrent).has_all).then_some(())
        });
    }

    /// Waits until no path waits for an answer, or for a packet that was lost.
    fn wait_until_quiet(client: &LibTorrent, torrents: &[Torrent]) {
        client.wait_until("every announce is answered", || {
            (!torrents.iter().any(|torrent| client.counters(torrent).is_announcing)).then_some(())
        });
    }

    /// Stops everything, and waits until every path has had its last answer. Over a path on which an announce
    /// is under way libtorrent does not say `stopped`.
    fn stop(&self, torrents: &[Torrent]) {
        for client in [&self.leecher, &self.seeder] {
            Self::wait_until_quiet(client, torrents);
            torrents.iter().for_each(|torrent| client.pause(torrent));
            Self::wait_until_quiet(client, torrents);
        }
        self.site.settle();
    }

    /// Raw bytes up and down of one torrent in the ledger.
    fn booked(&self, passkey: &str, torrent: &Torrent) -> (u64, u64) {
        let sql = "SELECT raw_up, raw_down FROM torrent_traffic WHERE passkey = ? AND infohash = ?";
        let row = self.site.ledger().query_row(sql, (passkey, torrent.info_hash().0), |row| {
            Ok((row.get::<_, i64>(0)?.unsigned_abs(), row.get::<_, i64>(1)?.unsigned_abs()))
        });
        row.unwrap()
    }
}

impl Drop for Internet {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("---- what the stream tells, oldest first ----");
            for passkey in [SEEDER, LEECHER] {
                for event in self.site.events(passkey) {
                    let TrafficEvent { info_hash, event, af, du, dd, left, claim, .. } = event;
                    eprintln!("{passkey} {info_hash} {event:?} {af:?} du {du} dd {dd} left {left} {claim:?}");
                }
            }
        }
    }
}

const HTTP_V4: (usize, Scheme, bool) = (0, Scheme::Http, false);
const HTTP_V6: (usize, Scheme, bool) = (0, Scheme::Http, true);
const SECOND: (usize, Scheme, bool) = (1, Scheme::Http, false);

#[test]
fn sixty_small_torrents_at_two_trackers_over_all_transports_are_charged_once_each() {
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let mut dice = ChaCha8Rng::seed_from_u64(seed);
    let all = (0..2).flat_map(|tracker| {
        let schemes = [Scheme::Http, Scheme::Https, Scheme::Udp];
        schemes
            .into_iter()
            .flat_map(move |scheme| [false, true].map(|over_ipv6| (tracker, scheme, over_ipv6)))
    });
    let all: Vec<_> = all.collect();
    let net = Internet::start(&all, |_| Duration::from_millis(dice.random_range(0..1500)));
    let torrents: Vec<Torrent> =
        (0..60).map(|number| Torrent::random(&format!("{number}.iso"), 4 * MIB)).collect();
    net.share(&torrents, 0);
    net.wait_for_all(&torrents);
    net.stop(&torrents);
    let wrong = torrents.iter().filter_map(|torrent| {
        let (sent, got) = (net.seeder.counters(torrent), net.leecher.counters(torrent));
        let (up, down) = (net.booked(SEEDER, torrent), net.booked(LEECHER, torrent));
        ((up, down) != ((sent.up, 0), (got.up, got.down))).then_some((up, down, sent, got))
    });
    let wrong: Vec<_> = wrong.collect();
    assert!(wrong.is_empty(), "{} of 60: {wrong:?}", wrong.len());
    // Not every torrent's: while an announce is under way on each of its paths, libtorrent keeps it to
    // itself.
    let events = net.site.events(LEECHER);
    let completions = events.iter().filter(|event| event.event == Event::Completed);
    let said: BTreeSet<InfoHash> = completions.map(|event| event.info_hash).collect();
    assert_eq!(net.site.books(LEECHER).completed, said.len() as u64);
}

#[test]
fn a_download_whose_second_family_is_slow_is_charged_once() {
    let net = Internet::start(&[HTTP_V4, HTTP_V6], |way| SLOW * u32::from(way == 1));
    let torrents = [Torrent::random("large.iso", 64 * MIB)];
    net.share(&torrents, 10_000_000);
    let mut announced = 0;
    net.leecher.wait_until("it has everything, and announced meanwhile", || {
        let counters = net.leecher.counters(&torrents[0]);
        if counters.down >= announced + 8_000_000 {
            announced = counters.down;
            net.leecher.announce(&torrents[0]);
        }
        counters.has_all.then_some(())
    });
    net.stop(&torrents);
    let truth = net.leecher.counters(&torrents[0]).down;
    assert_eq!(net.booked(LEECHER, &torrents[0]), (0, truth));
}

#[test]
fn a_pause_and_resume_with_a_slow_second_tracker_is_charged_once() {
    for slow in [SECOND, HTTP_V6] {
        let net = Internet::start(&[HTTP_V4, slow], |way| SLOW * u32::from(way == 1));
        let torrents = [Torrent::random("paused.iso", 24 * MIB)];
        let torrent = &torrents[0];
        net.share(&torrents, 4_000_000);
        Internet::wait_until_quiet(&net.leecher, &torrents);
        net.leecher.wait_until("a third is there", || {
            (net.leecher.counters(torrent).down > 8_000_000).then_some(())
        });
        net.leecher.pause(torrent);
        let resumed = std::time::Instant::now() + Duration::from_secs(1);
        let first = net.leecher.wait_until("a second has passed", || {
            (std::time::Instant::now() > resumed).then(|| net.leecher.counters(torrent).down)
        });
        net.leecher.resume(torrent);
        net.leecher.limit(torrent, 0);
        net.leecher.connect(torrent, &net.seeder);
        net.wait_for_all(&torrents);
        Internet::wait_until_quiet(&net.leecher, &torrents);
        net.leecher.announce(torrent);
        net.stop(&torrents);
        let truth = first + net.leecher.counters(torrent).down;
        assert_eq!(net.booked(LEECHER, torrent), (0, truth));
    }
}

#[test]
fn a_download_that_is_over_before_the_slow_path_begins_is_charged_once_and_seeds() {
    let net = Internet::start(&[HTTP_V4, SECOND], |way| SLOW * u32::from(way == 1));
    let torrents = [Torrent::random("in-a-moment.iso", 16 * MIB)];
    net.share(&torrents, 0);
    net.wait_for_all(&torrents);
    Internet::wait_until_quiet(&net.leecher, &torrents);
    let passkey = LEECHER.parse().unwrap();
    let mut redis = net.site.redis.connection();
    let hash = torrents[0].info_hash().hex();
    net.site.settle();
    let seeds: bool =
        redis::Commands::sismember(&mut redis, Keys::default().seeding(&passkey), &*hash).unwrap();
    let leeches: bool =
        redis::Commands::sismember(&mut redis, Keys::default().leeching(&passkey), &*hash).unwrap();
    assert_eq!((seeds, leeches), (true, false));
    net.stop(&torrents);
    let truth = net.leecher.counters(&torrents[0]).down;
    assert_eq!(net.booked(LEECHER, &torrents[0]), (0, truth));
}
