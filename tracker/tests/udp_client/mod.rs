//! A BitTorrent client's side of the UDP protocol, for tests. Repeats a request that is not answered, as
//! clients do.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use contract::{InfoHash, PeerId};
use tracker::announce::Counts;
use wire::udp::url_data;
use wire::udp::{AnnounceForm, AnnounceRequest, Request, Response, ScrapeRequest};

const REPEAT_AFTER: Duration = Duration::from_secs(1);

pub(crate) struct Client {
    socket: UdpSocket,
    peer_id: PeerId,
    pub(crate) connection: u64,
    pub(crate) form: AnnounceForm,
    pub(crate) url: Option<Box<str>>,
    pub(crate) patience: Duration,
    pub(crate) last_answer_bytes: usize,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Connected(u64),
    Announced { form: AnnounceForm, interval: u32, leechers: u32, seeders: u32, peers: Vec<SocketAddr> },
    Scraped(Vec<Counts>),
    Refused(String),
    Silence,
}

impl Client {
    pub(crate) fn new(ip: &str, port: u16) -> Self {
        let ip: IpAddr = ip.parse().unwrap();
        let loopback = if ip.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() };
        Self::of(ip, SocketAddr::new(loopback, port))
    }

    /// A client that hears only what comes from the tracker's very address, as those behind a firewall do.
    pub(crate) fn of(ip: IpAddr, tracker: SocketAddr) -> Self {
        let socket = UdpSocket::bind((ip, 0)).unwrap();
        socket.connect(tracker).unwrap();
        Self {
            socket,
            peer_id: PeerId(rand::random()),
            connection: 0,
            form: AnnounceForm::Standard,
            url: None,
            patience: Duration::from_secs(20),
            last_answer_bytes: 0,
        }
    }

    pub(crate) fn connect(&mut self) {
        let Answer::Connected(id) = self.ask(&Request::Connect { transaction: rand::random() }) else {
            panic!("no connection id")
        };
        self.connection = id;
    }

    pub(crate) fn announce(&mut self, change: impl FnOnce(&mut AnnounceRequest<'_>)) -> Answer {
        let mut options = Vec::new();
        if let Some(url) = &self.url {
            url_data::write(url.as_bytes(), &mut options);
        }
        let mut request = self.usual_announce(&options);
        change(&mut request);
        self.ask(&Request::Announce(request))
    }

    pub(crate) fn scrape(&mut self, info_hashes: &[[u8; 20]]) -> Answer {
        let transaction = rand::random();
        let request = ScrapeRequest { connection: self.connection, transaction, info_hashes };
        self.ask(&Request::Scrape(request))
    }

    pub(crate) fn send_noise(&self, length: usize) {
        let noise: Vec<u8> = (0..length).map(|_| rand::random()).collect();
        self.socket.send(&noise).ok();
    }

    /// An announce with a valid connection id and a few bytes changed, in the end cut short.
    pub(crate) fn send_mutant(&self, round: usize) {
        let mut options = Vec::new();
        url_data::write(b"/announce?passkey=k", &mut options);
        let mut packet = Vec::new();
        Request::Announce(self.usual_announce(&options)).write(&mut packet);
        for _ in 0..round % 4 {
            let place = rand::random_range(8..packet.len());
            packet[place] = rand::random();
        }
        packet.truncate(rand::random_range(8..packet.len() * 2).min(packet.len()));
        self.socket.send(&packet).ok();
    }

    fn usual_announce<'a>(&self, options: &'a [u8]) -> AnnounceRequest<'a> {
        AnnounceRequest {
            form: self.form,
            connection: self.connection,
            transaction: rand::random(),
            info_hash: InfoHash([b'i'; 20]),
            peer_id: self.peer_id,
            downloaded: 0,
            left: 5,
            uploaded: 0,
            event: 0,
            claimed_ip: match self.form {
                AnnounceForm::Standard => Ipv4Addr::UNSPECIFIED.into(),
                AnnounceForm::LegacyV6 => Ipv6Addr::UNSPECIFIED.into(),
            },
            key: 0,
            num_want: -1,
            port: 6881,
            options,
        }
    }

    fn ask(&mut self, request: &Request<'_>) -> Answer {
        let mut packet = Vec::new();
        request.write(&mut packet);
        let wanted = u32::from_be_bytes(packet[12..16].try_into().unwrap());
        let end = Instant::now() + self.patience;
        while Instant::now() < end {
            self.socket.send(&packet).ok();
            let repeat = end.min(Instant::now() + REPEAT_AFTER);
            while let Some(left) =
                repeat.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())
            {
                self.socket.set_read_timeout(Some(left)).unwrap();
                let mut buffer = [0; 2048];
                let Ok(length) = self.socket.recv(&mut buffer) else { break };
                let (transaction, answer) = self.read(&buffer[..length]);
                if transaction == wanted {
                    self.last_answer_bytes = length;
                    return answer;
                }
            }
        }
        Answer::Silence
    }

    fn read(&self, packet: &[u8]) -> (u32, Answer) {
        match Response::parse(packet).unwrap() {
            Response::Connect { transaction, connection } => (transaction, Answer::Connected(connection)),
            Response::Announce { transaction, form, interval, leechers, seeders, peers } => {
                let peers = self.peers(peers);
                (transaction, Answer::Announced { form, interval, leechers, seeders, peers })
            }
            Response::Scrape { transaction, swarms } => (transaction, Answer::Scraped(swarms)),
            Response::Error { transaction, text } => {
                (transaction, Answer::Refused(String::from_utf8(text.to_vec()).unwrap()))
            }
        }
    }

    fn peers(&self, peers: &[u8]) -> Vec<SocketAddr> {
        let width = if self.socket.local_addr().unwrap().is_ipv4() { 4 } else { 16 };
        assert_eq!(peers.len() % (width + 2), 0);
        let peer = |peer: &[u8]| {
            let (ip, port) = peer.split_at(width);
            let ip: IpAddr = match <[u8; 4]>::try_from(ip) {
                Ok(v4) => v4.into(),
                Err(_) => <[u8; 16]>::try_from(ip).unwrap().into(),
            };
            SocketAddr::new(ip, u16::from_be_bytes([port[0], port[1]]))
        };
        peers.chunks(width + 2).map(peer).collect()
    }
}
