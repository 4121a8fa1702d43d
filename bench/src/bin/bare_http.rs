//! The bare limit over HTTP: one thread around epoll that answers every request with the same reply, and
//! thinks nothing.
//!
//! `bare-http ADDRESS [close]`: with `close` it ends each connection after its first reply.

use std::collections::HashMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;

use bench::bare::announced;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

const EVENTS: usize = 256;
const REQUEST: usize = 4096;
/// Stands for the listener among the connections' numbers.
const LISTENER: u64 = u64::MAX;

/// Whether connections stay.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Manner {
    KeepAlive,
    Close,
}

fn main() -> io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:6969".to_owned());
    let manner = if arguments.next().is_some() { Manner::Close } else { Manner::KeepAlive };
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    let epoll = Epoll::new(EpollCreateFlags::empty())?;
    epoll.add(&listener, EpollEvent::new(EpollFlags::EPOLLIN, LISTENER))?;
    let (reply, mut connections) = (reply(), HashMap::new());
    let mut events = [EpollEvent::empty(); EVENTS];
    loop {
        let count = epoll.wait(&mut events, EpollTimeout::NONE)?;
        for event in &events[..count] {
            match event.data() {
                LISTENER => accept(&listener, &epoll, &mut connections)?,
                number => serve(number, &reply, manner, &mut connections),
            }
        }
    }
}

fn accept(
    listener: &TcpListener,
    epoll: &Epoll,
    connections: &mut HashMap<u64, TcpStream>,
) -> io::Result<()> {
    loop {
        let stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        };
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        let number = u64::try_from(stream.as_raw_fd()).map_err(io::Error::other)?;
        epoll.add(&stream, EpollEvent::new(EpollFlags::EPOLLIN, number))?;
        connections.insert(number, stream);
    }
}

/// Reads what came and answers it when it is a whole request. Generators here send a request in one piece.
fn serve(number: u64, reply: &[u8], manner: Manner, connections: &mut HashMap<u64, TcpStream>) {
    let Some(stream) = connections.get_mut(&number) else { return };
    let mut request = [0; REQUEST];
    let keeps = match stream.read(&mut request) {
        Ok(0) => false,
        Ok(length) if request[..length].ends_with(b"\r\n\r\n") => {
            stream.write_all(reply).is_ok() && manner == Manner::KeepAlive
        }
        Ok(_) => true,
        Err(error) => error.kind() == ErrorKind::WouldBlock,
    };
    if !keeps {
        // Closing the socket takes it out of epoll.
        connections.remove(&number);
    }
}

fn reply() -> Vec<u8> {
    let body = announced();
    let head =
        format!("HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: {}\r\n\r\n", body.len());
    [head.as_bytes(), &body].concat()
}
