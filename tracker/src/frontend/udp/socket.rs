//! The sockets: many datagrams with one system call, in and out.
//!
//! Every worker has a socket of its own on the shared port (SO_REUSEPORT); the kernel keeps a client with one
//! of them.
//!
//! System calls are most of what an announce over UDP costs: of 2.6 µs some 2.1 are the kernel's, as much
//! as a bare echo takes that batches likewise (docs/performance.md). Under load up to 64 packets share a
//! call each way, and with it rules, clock and the memory that is fetched ahead ([`super::batch`]). A
//! tracker at rest answers each packet alone and at once: only busy ones gain.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::time::Duration;

use nix::cmsg_space;
use nix::errno::Errno;
use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, MultiHeaders, RecvMsg, SockaddrStorage, recvmmsg, sendmmsg, setsockopt,
    sockopt,
};
use socket2::{Domain, Protocol, Socket, Type};

use super::return_path::{self, ReturnPath, Source};
use crate::frontend::metrics::{Dropped, UdpMetrics};

/// Datagrams in one system call. More would make the first of them wait longer for its reply.
pub(super) const BATCH: usize = 64;
/// Room for the longest honest packet: 74 torrents to scrape, or an announce with a long URL, in one frame of
/// 1500 bytes.
const MAX_DATAGRAM: usize = 2048;
/// What the kernel keeps for us while we are busy, if its own limit allows.
const RECEIVE_BUFFER: usize = 4 * 1024 * 1024;
/// How long a worker without work waits before it looks whether it should stop.
const RECEIVE_TIMEOUT: Duration = Duration::from_millis(100);

/// Binds one worker's socket.
pub(super) fn bind(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        // `[::]` serves both families; IPv4 clients arrive as mapped addresses and are unmapped first thing.
        socket.set_only_v6(false)?;
    }
    socket.set_reuse_port(true)?;
    socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
    socket.set_read_timeout(Some(RECEIVE_TIMEOUT))?;
    return_path::ask_for(&socket, address)?;
    // Before the socket has an address: every packet then has its stamp.
    setsockopt(&socket, sockopt::ReceiveTimestampns, &true)?;
    socket.bind(&address.into())?;
    Ok(socket.into())
}

/// What one system call brought.
pub(super) struct ReceiveBuffer {
    buffers: Box<[[u8; MAX_DATAGRAM]; BATCH]>,
    headers: MultiHeaders<SockaddrStorage>,
    received: Vec<Received>,
}

struct Received {
    /// `None` for an address that is not of the internet, which a UDP socket does not get.
    path: Option<ReturnPath>,
    stamp: Option<Duration>,
    length: usize,
    is_whole: bool,
}

/// One datagram.
pub(super) struct Datagram<'a> {
    /// Where from, and to which of our addresses: replies go back that way.
    pub(super) path: ReturnPath,
    /// When the kernel got it, by the clock that is set.
    pub(super) stamp: Option<Duration>,
    /// `None` when it was longer than any honest packet.
    pub(super) packet: Option<&'a [u8]>,
}

impl ReceiveBuffer {
    pub(super) fn new() -> Self {
        // Room for one address and one stamp each: the kernel writes nothing else. A call leaves in them how
        // much of the room it used; that is all of it as long as every datagram comes with both.
        let headers = MultiHeaders::preallocate(BATCH, Some(cmsg_space!(libc::in6_pktinfo, libc::timespec)));
        Self { buffers: Box::new([[0; MAX_DATAGRAM]; BATCH]), headers, received: Vec::with_capacity(BATCH) }
    }

    /// Waits for datagrams and takes as many as are there. `WouldBlock` when none came for a while.
    pub(super) fn receive(&mut self, socket: &UdpSocket) -> io::Result<()> {
        let Self { buffers, headers, received } = self;
        received.clear();
        let mut slices = buffers.each_mut().map(|buffer| [IoSliceMut::new(buffer)]);
        let flags = MsgFlags::MSG_WAITFORONE;
        for message in recvmmsg(socket.as_raw_fd(), headers, slices.iter_mut(), flags, None)? {
            received.push(Received::new(&message));
        }
        Ok(())
    }

    /// How many the last call brought.
    pub(super) fn len(&self) -> usize {
        self.received.len()
    }

    /// Whether the last call took all there was.
    pub(super) fn has_room(&self) -> bool {
        self.received.len() < BATCH
    }

    /// What the last call brought.
    pub(super) fn datagrams(&self) -> impl Iterator<Item = Datagram<'_>> {
        self.received.iter().zip(self.buffers.iter()).filter_map(|(received, buffer)| {
            let packet = received.is_whole.then(|| &buffer[..received.length.min(MAX_DATAGRAM)]);
            Some(Datagram { path: received.path?, stamp: received.stamp, packet })
        })
    }
}

impl Received {
    fn new(message: &RecvMsg<'_, '_, SockaddrStorage>) -> Self {
        let (mut from, mut stamp) = (None, None);
        for control in message.cmsgs().into_iter().flatten() {
            match control {
                ControlMessageOwned::ScmTimestampns(time) => stamp = Some(time.into()),
                address => from = return_path::arrived_at(&address).or(from),
            }
        }
        let to = message.address.as_ref().and_then(internet_address);
        Self {
            path: to.map(|to| ReturnPath { to, from }),
            stamp,
            length: message.bytes,
            is_whole: !message.flags.contains(MsgFlags::MSG_TRUNC),
        }
    }
}

fn internet_address(address: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = address.as_sockaddr_in().map(|address| SocketAddr::V4((*address).into()));
    v4.or_else(|| address.as_sockaddr_in6().map(|address| SocketAddr::V6((*address).into())))
}

/// Replies that leave together.
pub(super) struct SendBuffer {
    bytes: Vec<u8>,
    packets: Vec<Packet>,
    addresses: Vec<Option<SockaddrStorage>>,
    headers: MultiHeaders<SockaddrStorage>,
    headers_with_source: MultiHeaders<SockaddrStorage>,
}

struct Packet {
    path: ReturnPath,
    bytes: Range<usize>,
}

impl SendBuffer {
    pub(super) fn new() -> Self {
        Self {
            bytes: Vec::with_capacity(BATCH * 512),
            packets: Vec::with_capacity(BATCH),
            addresses: Vec::with_capacity(BATCH),
            headers: MultiHeaders::preallocate(BATCH, None),
            headers_with_source: return_path::headers(BATCH),
        }
    }

    /// Adds a reply that `write` appends.
    pub(super) fn add<R>(&mut self, path: ReturnPath, write: impl FnOnce(&mut Vec<u8>) -> R) -> R {
        let start = self.bytes.len();
        let written = write(&mut self.bytes);
        self.packets.push(Packet { path, bytes: start..self.bytes.len() });
        written
    }

    /// Sends everything, without waiting for a system that is full: clients repeat what is not answered.
    pub(super) fn send(&mut self, socket: &UdpSocket, metrics: &UdpMetrics) {
        // One call has one source. Most machines have few.
        if !self.packets.is_sorted_by_key(|packet| packet.path.from) {
            self.packets.sort_by_key(|packet| packet.path.from);
        }
        let mut unsent = 0;
        let mut next = 0;
        while let Some(first) = self.packets.get(next) {
            let same = self.packets[next..]
                .iter()
                .take(BATCH)
                .take_while(|packet| packet.path.from == first.path.from);
            let batch = next..next + same.count();
            match self.send_batch(socket, batch) {
                // The call stops at a packet that cannot leave, and names the reason when it is the first.
                Ok(0) | Err(_) => (next, unsent) = (next + 1, unsent + 1),
                Ok(sent) => next += sent,
            }
        }
        self.bytes.clear();
        self.packets.clear();
        if unsent > 0 {
            metrics.drop_packets(Dropped::Unsent, unsent);
        }
    }

    fn send_batch(&mut self, socket: &UdpSocket, batch: Range<usize>) -> Result<usize, Errno> {
        let Self { bytes, packets, addresses, headers, headers_with_source } = self;
        let packets = &packets[batch];
        addresses.clear();
        addresses.extend(packets.iter().map(|packet| Some(SockaddrStorage::from(packet.path.to))));
        let mut slices = [[IoSlice::new(&[])]; BATCH];
        for (slice, packet) in slices.iter_mut().zip(packets) {
            *slice = [IoSlice::new(&bytes[packet.bytes.clone()])];
        }
        let source = packets.first().and_then(|packet| packet.path.from).map(Source::new);
        let control = source.as_ref().map(Source::message);
        let headers = if control.is_some() { headers_with_source } else { headers };
        let (socket, flags) = (socket.as_raw_fd(), MsgFlags::MSG_DONTWAIT);
        let slices = &slices[..packets.len()];
        Ok(sendmmsg(socket, headers, slices, &addresses[..], control.as_slice(), flags)?.count())
    }
}
