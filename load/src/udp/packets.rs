//! Packets to send and packets that came, many with one system call each.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::UdpSocket;
use std::ops::Range;
use std::os::fd::AsRawFd;

use nix::sys::socket::{ControlMessage, MsgFlags, MultiHeaders, SockaddrStorage, recvmmsg, sendmmsg};

/// Datagrams in one system call.
pub(crate) const BATCH: usize = 64;
/// A tracker's reply fits one frame of 1500 bytes.
const MAX_DATAGRAM: usize = 2048;

/// Requests that leave together.
pub(crate) struct Outbox {
    bytes: Vec<u8>,
    packets: Vec<Range<usize>>,
    headers: MultiHeaders<SockaddrStorage>,
}

impl Outbox {
    pub(crate) fn new() -> Self {
        let headers = MultiHeaders::preallocate(BATCH, None);
        Self { bytes: Vec::with_capacity(BATCH * 256), packets: Vec::with_capacity(BATCH), headers }
    }

    pub(crate) fn is_full(&self) -> bool {
        self.packets.len() >= BATCH
    }

    pub(crate) fn len(&self) -> usize {
        self.packets.len()
    }

    /// Adds a packet that `write` appends.
    pub(crate) fn add(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let start = self.bytes.len();
        write(&mut self.bytes);
        self.packets.push(start..self.bytes.len());
    }

    /// Sends everything to where the socket is connected. Returns the bytes, and why the first one that did
    /// not leave stayed.
    pub(crate) fn send(&mut self, socket: &UdpSocket) -> (usize, io::Result<()>) {
        let (mut next, mut result) = (0, Ok(()));
        while next < self.packets.len() {
            match self.send_from(next, socket) {
                Ok(sent) if sent > 0 => next += sent,
                // What the system has no room for is lost, as on the network; the request times out.
                failed => {
                    result = result.and(failed.map(drop));
                    next += 1;
                }
            }
        }
        let bytes = self.bytes.len();
        self.bytes.clear();
        self.packets.clear();
        (bytes, result)
    }

    fn send_from(&mut self, next: usize, socket: &UdpSocket) -> io::Result<usize> {
        let Self { bytes, packets, headers } = self;
        let mut slices = [[IoSlice::new(&[])]; BATCH];
        let packets = packets.get(next..).unwrap_or_default();
        for (slice, range) in slices.iter_mut().zip(packets) {
            *slice = [IoSlice::new(&bytes[range.clone()])];
        }
        let addresses = [None; BATCH];
        let none: [ControlMessage<'_>; 0] = [];
        let count = packets.len().min(BATCH);
        let flags = MsgFlags::MSG_DONTWAIT;
        let sent = sendmmsg(socket.as_raw_fd(), headers, &slices[..count], &addresses[..count], none, flags)?;
        Ok(sent.count())
    }
}

/// What one system call brought.
pub(crate) struct Inbox {
    buffers: Box<[[u8; MAX_DATAGRAM]; BATCH]>,
    headers: MultiHeaders<SockaddrStorage>,
    lengths: Vec<usize>,
}

impl Inbox {
    pub(crate) fn new() -> Self {
        let headers = MultiHeaders::preallocate(BATCH, None);
        Self { buffers: Box::new([[0; MAX_DATAGRAM]; BATCH]), headers, lengths: Vec::with_capacity(BATCH) }
    }

    /// Takes as many datagrams as are there. `WouldBlock` when there are none.
    pub(crate) fn receive(&mut self, socket: &UdpSocket) -> io::Result<()> {
        let Self { buffers, headers, lengths } = self;
        lengths.clear();
        let mut slices = buffers.each_mut().map(|buffer| [IoSliceMut::new(buffer)]);
        let flags = MsgFlags::MSG_DONTWAIT;
        let came = recvmmsg(socket.as_raw_fd(), headers, slices.iter_mut(), flags, None)?;
        lengths.extend(came.map(|message| message.bytes.min(MAX_DATAGRAM)));
        Ok(())
    }

    /// What the last call brought.
    pub(crate) fn packets(&self) -> impl Iterator<Item = &[u8]> {
        self.lengths.iter().zip(self.buffers.iter()).map(|(length, buffer)| &buffer[..*length])
    }

    /// Whether there may be more.
    pub(crate) fn is_full(&self) -> bool {
        self.lengths.len() == BATCH
    }
}
