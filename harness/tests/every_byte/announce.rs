//! One announce on the wire, over HTTP or UDP, IPv4 or IPv6.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use contract::Event;

/// Longer than a tracker takes on a busy machine; what hangs fails.
const PATIENCE: Duration = Duration::from_secs(30);
const PROTOCOL: u64 = 0x0417_2710_1980;

/// How a client reaches one of the site's trackers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Path {
    /// 0 is the first.
    pub(crate) tracker: usize,
    pub(crate) transport: Transport,
    pub(crate) family: Family,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Transport {
    Http,
    Udp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Family {
    V4,
    V6,
}

impl Path {
    /// One for each path.
    pub(crate) fn number(self) -> u32 {
        let is_udp = u32::from(self.transport == Transport::Udp);
        let is_v6 = u32::from(self.family == Family::V6);
        u32::try_from(self.tracker).unwrap() << 2 | is_udp << 1 | is_v6
    }
}

impl Family {
    const fn loopback(self) -> IpAddr {
        match self {
            Self::V4 => IpAddr::V4(Ipv4Addr::LOCALHOST),
            Self::V6 => IpAddr::V6(Ipv6Addr::LOCALHOST),
        }
    }
}

/// HTTP over IPv4 to this tracker.
pub(crate) const fn over_http(tracker: usize) -> Path {
    Path { tracker, transport: Transport::Http, family: Family::V4 }
}

/// HTTP over IPv6 to this tracker.
pub(crate) const fn over_ipv6(tracker: usize) -> Path {
    Path { tracker, transport: Transport::Http, family: Family::V6 }
}

/// UDP over IPv4 to this tracker.
pub(crate) const fn over_udp(tracker: usize) -> Path {
    Path { tracker, transport: Transport::Udp, family: Family::V4 }
}

/// What a client says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Words {
    pub(crate) event: Event,
    pub(crate) up: u64,
    pub(crate) down: u64,
    pub(crate) left: u64,
}

/// Who says it, of what.
#[derive(Debug, Clone)]
pub(crate) struct Speaker {
    pub(crate) passkey: String,
    /// Letters only, so that they stand in a URL as they are.
    pub(crate) info_hash: [u8; 20],
    pub(crate) peer_id: [u8; 20],
}

/// A request that was sent and is not answered yet. Dropped: the client hung up.
#[derive(Debug)]
pub(crate) struct Asked(TcpStream);

impl Asked {
    /// Sends an announce over HTTP, on a connection of its own.
    pub(crate) fn send(speaker: &Speaker, words: Words, port: u16, family: Family) -> io::Result<Self> {
        let mut stream = TcpStream::connect_timeout(&SocketAddr::new(family.loopback(), port), PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(request(speaker, words).as_bytes())?;
        Ok(Self(stream))
    }

    /// The body of the answer.
    pub(crate) fn answer(mut self) -> io::Result<String> {
        let mut reply = Vec::new();
        self.0.read_to_end(&mut reply)?;
        let reply = String::from_utf8_lossy(&reply).into_owned();
        let body = reply.split_once("\r\n\r\n").map(|(_, body)| body.to_owned());
        body.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }
}

fn request(speaker: &Speaker, words: Words) -> String {
    let Speaker { passkey, info_hash, peer_id } = speaker;
    let (info_hash, peer_id) = (String::from_utf8_lossy(info_hash), String::from_utf8_lossy(peer_id));
    let Words { event, up, down, left } = words;
    let event = if event == Event::None { String::new() } else { format!("&event={}", event.as_str()) };
    format!(
        "GET /{passkey}/announce?info_hash={info_hash}&peer_id={peer_id}&port=6881&uploaded={up}\
         &downloaded={down}&left={left}&compact=1{event} HTTP/1.1\r\nHost: site\r\nConnection: close\r\n\r\n"
    )
}

/// Announces over UDP (BEP 15), with the passkey in URL data (BEP 41). The text of a refusal is an error.
pub(crate) fn over_datagrams(speaker: &Speaker, words: Words, port: u16, family: Family) -> io::Result<()> {
    let socket = UdpSocket::bind((family.loopback(), 0))?;
    socket.connect((family.loopback(), port))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let id = exchange(&socket, &[&PROTOCOL.to_be_bytes()[..], &[0; 4], &[0, 0, 0, 7]].concat())?;
    let id: [u8; 8] = id.get(8..16).and_then(|id| id.try_into().ok()).ok_or(io::ErrorKind::InvalidData)?;
    let reply = exchange(&socket, &packet(id, speaker, words))?;
    if reply.starts_with(&[0, 0, 0, 1]) {
        return Ok(());
    }
    Err(io::Error::other(String::from_utf8_lossy(reply.get(8..).unwrap_or_default()).into_owned()))
}

fn exchange(socket: &UdpSocket, request: &[u8]) -> io::Result<Vec<u8>> {
    socket.send(request)?;
    let mut reply = [0; 2048];
    let length = socket.recv(&mut reply)?;
    Ok(reply[..length].to_vec())
}

fn packet(id: [u8; 8], speaker: &Speaker, words: Words) -> Vec<u8> {
    let event: u32 = match words.event {
        Event::None => 0,
        Event::Completed => 1,
        Event::Started => 2,
        Event::Stopped => 3,
    };
    let path = format!("/{}/announce", speaker.passkey);
    let length = u8::try_from(path.len()).expect("a passkey is short");
    let counters = [words.down, words.left, words.up].map(u64::to_be_bytes).concat();
    // No address of our own, a key, five peers.
    let rest = [event, 0, 7, 5].map(u32::to_be_bytes).concat();
    let head = [&id[..], &[0, 0, 0, 1], &[0, 0, 0, 8], &speaker.info_hash, &speaker.peer_id].concat();
    [&head[..], &counters, &rest, &6881_u16.to_be_bytes(), &[2, length], path.as_bytes()].concat()
}
