//! The UDP that simulated clients speak: BEP 15, with the passkey in URL data (BEP 41).

use std::io;
use std::time::{Duration, Instant};

use contract::Event;
use tokio::net::UdpSocket;

use crate::exchange::{AnnounceCopy, CopyOutcome, Route};

const PROTOCOL: u64 = 0x0417_2710_1980;
const CONNECT: u32 = 0;
const ANNOUNCE: u32 = 1;
const ERROR: u32 = 3;
/// Trackers take an id for two minutes.
const ID_LIFETIME: Duration = Duration::from_secs(60);

/// One client's socket for one tracker.
#[derive(Debug)]
pub(crate) struct Datagrams {
    route: Route,
    socket: Option<UdpSocket>,
    /// The connection id and when it was given.
    id: Option<(u64, Instant)>,
}

impl Datagrams {
    pub(crate) fn new(route: Route) -> Self {
        Self { route, socket: None, id: None }
    }

    /// The tracker may have been started again, with another key for its ids.
    pub(crate) fn forget(&mut self) {
        self.id = None;
    }

    /// Sends one copy and waits for the answer.
    pub(crate) async fn ask(&mut self, copy: &AnnounceCopy) -> CopyOutcome {
        self.exchange(copy).await.unwrap_or_else(|error| CopyOutcome::Nothing(error.to_string()))
    }

    async fn exchange(&mut self, copy: &AnnounceCopy) -> io::Result<CopyOutcome> {
        let socket = match &mut self.socket {
            Some(socket) => socket,
            none => none.insert(socket(self.route).await?),
        };
        let (id, since) = match self.id {
            Some((id, since)) if since.elapsed() < ID_LIFETIME => (id, since),
            _ => (connect(socket).await?, Instant::now()),
        };
        self.id = Some((id, since));
        let transaction = rand::random();
        socket.send(&announce(id, transaction, copy)).await?;
        let (action, body) = answer(socket, transaction).await?;
        Ok(match action {
            ANNOUNCE => CopyOutcome::Answered,
            _ => CopyOutcome::Refused(String::from_utf8_lossy(&body).trim_end_matches('\0').to_owned()),
        })
    }
}

async fn socket(route: Route) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind((route.address(), 0)).await?;
    socket.connect(route.target()).await?;
    Ok(socket)
}

async fn connect(socket: &UdpSocket) -> io::Result<u64> {
    let transaction: u32 = rand::random();
    let request = [&PROTOCOL.to_be_bytes()[..], &CONNECT.to_be_bytes(), &transaction.to_be_bytes()].concat();
    socket.send(&request).await?;
    let (_, body) = answer(socket, transaction).await?;
    let id = body.first_chunk().ok_or(io::ErrorKind::InvalidData)?;
    Ok(u64::from_be_bytes(*id))
}

/// The answer to one request, whatever else arrives before it.
async fn answer(socket: &UdpSocket, transaction: u32) -> io::Result<(u32, Vec<u8>)> {
    let mut buffer = [0; 2048];
    loop {
        let length = socket.recv(&mut buffer).await?;
        let words: Vec<u32> = buffer[..length].chunks_exact(4).take(2).map(word).collect();
        if let [action @ (CONNECT | ANNOUNCE | ERROR), to] = words[..]
            && to == transaction
        {
            return Ok((action, buffer[8..length].to_vec()));
        }
    }
}

fn word(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |word, byte| word << 8 | u32::from(*byte))
}

fn announce(id: u64, transaction: u32, copy: &AnnounceCopy) -> Vec<u8> {
    let AnnounceCopy { passkey, info_hash, peer_id, announce } = copy;
    let event: u32 = match announce.event {
        Event::Completed => 1,
        Event::Started => 2,
        Event::Stopped => 3,
        _ => 0,
    };
    let path = format!("/{}/announce", passkey.reveal());
    let mut packet = Vec::with_capacity(256);
    packet.extend(id.to_be_bytes());
    packet.extend(ANNOUNCE.to_be_bytes());
    packet.extend(transaction.to_be_bytes());
    packet.extend(info_hash.0);
    packet.extend(peer_id.0);
    packet
        .extend([announce.counters.down, announce.left, announce.counters.up].map(u64::to_be_bytes).concat());
    packet.extend(event.to_be_bytes());
    // No address of our own, no key, five peers.
    packet.extend([0, 0, 5].map(u32::to_be_bytes).concat());
    packet.extend(6881_u16.to_be_bytes());
    for piece in path.as_bytes().chunks(255) {
        packet.extend([2, u8::try_from(piece.len()).unwrap_or(u8::MAX)]);
        packet.extend(piece);
    }
    packet
}
