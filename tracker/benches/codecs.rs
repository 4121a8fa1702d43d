//! Reading announces and writing replies, over HTTP and UDP. `cargo bench -p tracker --bench codecs`.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Instant;

use contract::{InfoHash, PeerId};
use divan::black_box;
use tracker::announce::{Counts, Offers, PeerIds, Reply};
use tracker::arrival::{Arrival, Way};
use tracker::frontend::http::query;
use tracker::frontend::limits::{EventFields, Limits, Spoofing};
use wire::http::PeerForm;
use wire::http::reply;
use wire::udp::{self, AnnounceForm, AnnounceRequest, Request};

const IP: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
const LIMITS: Limits = Limits {
    default_numwant: 50,
    max_numwant: 100,
    max_scrape_infohashes: 50,
    spoofing: Spoofing::Ignored,
    event_fields: EventFields::NONE,
};
/// As qBittorrent writes it.
const QUERY: &str = "info_hash=%8d%1a%c3%0f%e2%7b%91%5c%44%aa%03%d7%be%29%60%f1%18%c5%72%e9&peer_id=-qB5000-j2B!kq0vXc~_\
                     &port=6881&uploaded=123456789&downloaded=0&left=0&corrupt=0&key=5D3E1A2B&event=started&numwant=50&compact=1\
                     &no_peer_id=1&supportcrypto=1&redundant=0";

fn arrival() -> Arrival {
    Arrival { at: Instant::now(), ip: IP, way: Way::default() }
}

fn main() {
    divan::main();
}

fn answer() -> Reply {
    let mut offers = Offers::with(PeerIds::Named);
    (1..=50).for_each(|port: u16| offers.push(([10, 0, 0, 1], port).into(), PeerId([7; 20])));
    Reply {
        interval: 1800,
        min_interval: 900,
        counts: Counts { complete: 70, incomplete: 30, downloaded: 0 },
        offers,
        external_ip: IP,
        warning: None,
    }
}

fn request() -> AnnounceRequest<'static> {
    AnnounceRequest {
        form: AnnounceForm::Standard,
        connection: 1,
        transaction: 2,
        info_hash: InfoHash([1; 20]),
        peer_id: PeerId([2; 20]),
        downloaded: 3,
        left: 4,
        uploaded: 5,
        event: 2,
        claimed_ip: Ipv4Addr::UNSPECIFIED.into(),
        key: 6,
        num_want: 50,
        port: 6881,
        options: &[],
    }
}

#[divan::bench]
fn http_query() -> query::HttpAnnounce {
    query::announce(black_box(QUERY), arrival(), None, &LIMITS).expect("the query is well-formed")
}

#[divan::bench]
fn http_reply_with_50_compact_peers(bencher: divan::Bencher<'_, '_>) {
    let answer = answer();
    bencher.bench_local(|| reply::announce(black_box(&answer), PeerForm::Compact));
}

#[divan::bench]
fn http_reply_with_50_listed_peers(bencher: divan::Bencher<'_, '_>) {
    let answer = answer();
    bencher.bench_local(|| reply::announce(black_box(&answer), PeerForm::List));
}

#[divan::bench]
fn udp_packet(bencher: divan::Bencher<'_, '_>) {
    let mut bytes = Vec::new();
    Request::Announce(request()).write(&mut bytes);
    bencher.bench_local(|| udp::parse(black_box(&bytes)).is_ok());
}

#[divan::bench]
fn udp_reply_with_50_peers(bencher: divan::Bencher<'_, '_>) {
    let (answer, mut out) = (answer(), Vec::with_capacity(512));
    bencher.bench_local(|| {
        out.clear();
        udp::write_announce(&mut out, AnnounceForm::Standard, 5, black_box(&answer));
        out.len()
    });
}
