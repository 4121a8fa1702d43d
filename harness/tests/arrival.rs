//! An announce is as old as it is, on the built tracker: while the process stood still the kernel took what
//! clients sent, and each event's `at` is the time of sending. Also of clients that have long hung up.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream, UdpSocket};
use std::thread::sleep;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use harness::{RedisServer, Service, eventually, free_port};
use redis::Commands;
use redis::streams::StreamRangeReply;
use rustix::process::Signal;
use tempfile::TempDir;

/// What `at` may differ from the time of sending.
const PRECISION_MS: u64 = 200;
/// Between two announces.
const STEP: Duration = Duration::from_millis(600);

/// A tracker that books, over HTTP and UDP.
struct Site {
    redis: RedisServer,
    tracker: Service,
    http: u16,
    udp: u16,
    _folder: TempDir,
}

impl Site {
    fn open() -> Self {
        let (redis, folder) = (RedisServer::start(), TempDir::new().unwrap());
        let (http, udp) = (free_port(), free_port());
        let config = format!(
            "http: {{addr: '127.0.0.1:{http}', workers: 1}}\nudp: {{addr: '0.0.0.0:{udp}', workers: 1}}\n\
             redis_broker: {}\nhooks:\n  prehooks:\n  - name: passkey approval\n  posthooks:\n  - name: traffic push\n",
            redis.url()
        );
        let _: () = redis.connection().sadd("pt:passkeys", "alice").unwrap();
        let tracker = Service::start("tracker", folder.path(), &config);
        Self { redis, tracker, http, udp, _folder: folder }
    }

    fn connect(&self) -> TcpStream {
        TcpStream::connect((Ipv4Addr::LOCALHOST, self.http)).unwrap()
    }

    /// When each client's first announce arrived, by what the stream says.
    fn arrivals(&self, count: usize) -> BTreeMap<u8, u64> {
        let booked = || {
            let entries: StreamRangeReply = self.redis.connection().xrange_all("tracker:traffic").unwrap();
            let read = |entry: &redis::streams::StreamId| {
                let peer_id: String = entry.get("peer_id")?;
                Some((u8::from_str_radix(&peer_id[38..], 16).ok()?, entry.get::<u64>("at")?))
            };
            let arrivals: BTreeMap<_, _> = entries.ids.iter().filter_map(read).collect();
            (arrivals.len() == count).then_some(arrivals)
        };
        eventually("all announces are booked", booked)
    }
}

fn unix_ms() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

/// A client's announce over HTTP.
fn question(client: u8) -> String {
    format!(
        "GET /alice/announce?info_hash={}&peer_id=-SB0001-12345678901%{client:02x}&port=6881&uploaded=0\
         &downloaded=0&left=1 HTTP/1.1\r\nHost: tracker\r\n\r\n",
        "%11".repeat(20)
    )
}

/// A client over UDP that has a connection id.
struct UdpClient {
    socket: UdpSocket,
    connection: [u8; 8],
}

impl UdpClient {
    fn connect(port: u16) -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        socket.connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        socket.send(&[&0x0417_2710_1980_u64.to_be_bytes()[..], &[0; 8]].concat()).unwrap();
        let mut reply = [0; 16];
        assert_eq!(socket.recv(&mut reply).unwrap(), 16);
        Self { socket, connection: reply[8..].try_into().unwrap() }
    }

    fn announce(&self, client: u8) {
        let url = b"/alice/announce";
        let packet = [
            &self.connection[..],
            &1_u32.to_be_bytes(),
            &[0; 4],
            &[0x11; 20],
            b"-SB0001-12345678901",
            &[client],
            &[0; 8],
            &1_u64.to_be_bytes(),
            &[0; 8 + 4 + 4 + 4],
            &(-1_i32).to_be_bytes(),
            &6881_u16.to_be_bytes(),
            &[2, u8::try_from(url.len()).unwrap()],
            url,
        ];
        self.socket.send(&packet.concat()).unwrap();
    }
}

#[test]
fn what_was_sent_to_a_tracker_that_stood_still_arrived_when_it_was_sent() {
    let site = Site::open();
    let udp = UdpClient::connect(site.udp);
    // A connection that has had a request, as clients and proxies keep them.
    let mut kept = site.connect();
    kept.write_all(question(0).as_bytes()).unwrap();
    assert!(kept.read(&mut [0; 4096]).unwrap() > 0);
    site.tracker.signal(Signal::STOP);
    let mut sent = BTreeMap::new();
    let mut send = |client: u8, how: &mut dyn FnMut()| {
        sleep(STEP);
        sent.insert(client, unix_ms());
        how();
    };
    let mut connections = Vec::new();
    send(1, &mut || udp.announce(1));
    send(2, &mut || kept.write_all(question(2).as_bytes()).unwrap());
    send(3, &mut || {
        let mut fresh = site.connect();
        fresh.write_all(question(3).as_bytes()).unwrap();
        connections.push(fresh);
    });
    // Given up: nobody waits for these any more when they are read.
    send(4, &mut || site.connect().write_all(question(4).as_bytes()).unwrap());
    send(5, &mut || udp.announce(5));
    sleep(STEP);
    site.tracker.signal(Signal::CONT);
    let arrivals = site.arrivals(6);
    for (client, sent) in sent {
        let arrived = arrivals[&client];
        let late = arrived.abs_diff(sent);
        assert!(
            late <= PRECISION_MS,
            "client {client} sent at {sent} and arrived at {arrived}: {arrivals:?}"
        );
    }
}
