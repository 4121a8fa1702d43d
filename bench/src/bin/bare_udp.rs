//! The bare limit over UDP: receives and sends as the tracker does, many datagrams with one system call, and
//! thinks nothing.
//!
//! Speaks just enough of BEP 15 that a load generator takes it for a tracker: any connection id, and always
//! the same 50 peers.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::UdpSocket;
use std::os::fd::AsRawFd;

use nix::sys::socket::{
    ControlMessage, MsgFlags, MultiHeaders, SockaddrIn, recvmmsg, sendmmsg, setsockopt, sockopt,
};

const BATCH: usize = 64;
const REQUEST: usize = 2048;
/// A header and 50 IPv4 peers.
const ANNOUNCED: usize = 20 + 50 * 6;
const CONNECTED: usize = 16;
const CONNECT: [u8; 4] = [0, 0, 0, 0];
const RECEIVE_BUFFER: usize = 4 << 20;

fn main() -> io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:6969".to_owned());
    let socket = UdpSocket::bind(address)?;
    setsockopt(&socket, sockopt::RcvBuf, &RECEIVE_BUFFER)?;
    let mut requests = Box::new([[0_u8; REQUEST]; BATCH]);
    let mut replies = Box::new([[7_u8; ANNOUNCED]; BATCH]);
    let (mut incoming, mut outgoing) =
        (MultiHeaders::preallocate(BATCH, None), MultiHeaders::preallocate(BATCH, None));
    loop {
        let from = receive(&socket, &mut requests, &mut incoming)?;
        let mut lengths = [0; BATCH];
        for place in 0..from.len() {
            lengths[place] = answer(&requests[place], &mut replies[place]);
        }
        let mut slices = [[IoSlice::new(&[])]; BATCH];
        for place in 0..from.len() {
            slices[place] = [IoSlice::new(&replies[place][..lengths[place]])];
        }
        let none: [ControlMessage<'_>; 0] = [];
        sendmmsg(socket.as_raw_fd(), &mut outgoing, &slices[..from.len()], &from, none, MsgFlags::empty())?;
    }
}

fn receive(
    socket: &UdpSocket,
    requests: &mut [[u8; REQUEST]; BATCH],
    headers: &mut MultiHeaders<SockaddrIn>,
) -> io::Result<Vec<Option<SockaddrIn>>> {
    let mut slices = requests.each_mut().map(|buffer| [IoSliceMut::new(buffer)]);
    let messages = recvmmsg(socket.as_raw_fd(), headers, slices.iter_mut(), MsgFlags::MSG_WAITFORONE, None)?;
    Ok(messages.map(|message| message.address).collect())
}

/// Writes the reply over the last one; its length.
fn answer(request: &[u8; REQUEST], reply: &mut [u8; ANNOUNCED]) -> usize {
    let (action, transaction) = (&request[8..12], &request[12..16]);
    reply[..4].copy_from_slice(action);
    reply[4..8].copy_from_slice(transaction);
    if action == CONNECT {
        return CONNECTED;
    }
    // Interval, leechers, seeders.
    for (place, number) in [1800_u32, 50, 50].into_iter().enumerate() {
        reply[8 + place * 4..12 + place * 4].copy_from_slice(&number.to_be_bytes());
    }
    ANNOUNCED
}
