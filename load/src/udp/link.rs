//! One socket: its connection id, which the tracker must give first, and its requests under way.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use wire::udp::{self, Response};

use super::slots::{CONNECTING, Slots};

/// BEP 15: a client uses an id for a minute. Asked for a little earlier, the next one is there in time.
const RENEW_AFTER: Duration = Duration::from_secs(50);
/// How often the first id is asked for before the tracker counts as unreachable.
const TRIES: u32 = 3;
const TRY: Duration = Duration::from_secs(1);
/// What the kernel keeps of replies while we are busy, if its own limit allows.
const RECEIVE_BUFFER: usize = 4 << 20;

/// A socket that is connected to the tracker.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) socket: UdpSocket,
    pub(crate) slots: Slots,
    pub(crate) connection: u64,
    asked: Instant,
}

impl Link {
    /// Opens a socket and asks for its connection id.
    pub(crate) fn open(to: SocketAddr, room: usize) -> io::Result<Self> {
        let any: IpAddr =
            if to.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let socket = UdpSocket::bind((any, 0))?;
        socket2::SockRef::from(&socket).set_recv_buffer_size(RECEIVE_BUFFER)?;
        socket.connect(to)?;
        socket.set_read_timeout(Some(TRY))?;
        let connection = first_id(&socket)?;
        socket.set_nonblocking(true)?;
        Ok(Self { socket, slots: Slots::new(room), connection, asked: Instant::now() })
    }

    /// Asks for the next id in time. The old one is used until the new one is there; a lost question is asked
    /// again.
    pub(crate) fn renew(&mut self, now: Instant) -> io::Result<()> {
        if now.saturating_duration_since(self.asked) < RENEW_AFTER {
            return Ok(());
        }
        self.socket.send(&question())?;
        // Again a second later, unless the answer says otherwise.
        self.asked += TRY;
        Ok(())
    }

    /// The tracker gave an id.
    pub(crate) fn renewed(&mut self, connection: u64, now: Instant) {
        (self.connection, self.asked) = (connection, now);
    }
}

fn first_id(socket: &UdpSocket) -> io::Result<u64> {
    let mut last = io::Error::from(ErrorKind::TimedOut);
    for _ in 0..TRIES {
        match socket.send(&question()).and_then(|_| answer(socket)) {
            Ok(connection) => return Ok(connection),
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => return Err(error),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn question() -> Vec<u8> {
    let mut packet = Vec::with_capacity(16);
    udp::Request::Connect { transaction: CONNECTING }.write(&mut packet);
    packet
}

fn answer(socket: &UdpSocket) -> io::Result<u64> {
    let mut buffer = [0; 64];
    let length = socket.recv(&mut buffer)?;
    match Response::parse(&buffer[..length]) {
        Ok(Response::Connect { transaction: CONNECTING, connection }) => Ok(connection),
        _ => Err(io::Error::new(ErrorKind::InvalidData, "the answer is none of the UDP tracker protocol")),
    }
}
