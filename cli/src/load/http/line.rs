//! One connection and the request that is under way on it.

use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};

use super::super::tally::Tally;
use super::render::Closing;
use super::reply::{self, Arrival, Counted, Stream};

/// A reply with a thousand peers is some 50 kB; more than this is no tracker.
const MAX_REPLY: usize = 1 << 20;
/// How long the server has for its own end of a connection, and how long a line rests after a failure.
const REST: Duration = Duration::from_millis(20);
/// The peers of one reply in so many are counted.
const COUNT_ONCE_IN: u64 = 64;

/// A connection, or the place for one.
#[derive(Debug)]
pub(super) struct Line {
    closing: Closing,
    stream: Option<TcpStream>,
    pub(super) request: Vec<u8>,
    written: usize,
    /// What came of a reply that took more than one read.
    received: Vec<u8>,
    /// Whether this connection has brought a reply before.
    has_served: bool,
    state: State,
}

/// What a line is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Idle,
    /// A request is under way: from when its latency counts, and when it left.
    Waiting {
        due: Instant,
        sent: Instant,
    },
    /// The connection is done, but for the server's end of it.
    Resting {
        since: Instant,
    },
}

/// Where a line leads and what its events are called.
#[derive(Clone, Copy)]
pub(super) struct Way<'a> {
    pub(super) to: SocketAddr,
    pub(super) place: Token,
    pub(super) registry: &'a Registry,
}

impl Line {
    /// `closing`: whether each connection is for one request.
    pub(super) fn new(closing: Closing) -> Self {
        let (request, received) = (Vec::new(), Vec::new());
        Self { closing, stream: None, request, written: 0, received, has_served: false, state: State::Idle }
    }

    /// Whether the next request may begin.
    pub(super) fn is_idle(&self) -> bool {
        self.state == State::Idle
    }

    /// Whether a reply is awaited.
    pub(super) fn is_waiting(&self) -> bool {
        matches!(self.state, State::Waiting { .. })
    }

    /// Begins with `request`, on a connection that is opened first where there is none.
    pub(super) fn begin(&mut self, due: Instant, now: Instant, way: Way<'_>, tally: &mut Tally) {
        self.state = State::Waiting { due, sent: now };
        tally.sent += 1;
        tally.bytes_out += self.request.len() as u64;
        if let Err(error) = self.send(way) {
            self.fail(error_text(&error), now, tally);
        }
    }

    fn send(&mut self, way: Way<'_>) -> io::Result<()> {
        self.written = 0;
        self.received.clear();
        if self.stream.is_none() {
            self.has_served = false;
            let mut stream = TcpStream::connect(way.to)?;
            way.registry.register(&mut stream, way.place, Interest::READABLE | Interest::WRITABLE)?;
            self.stream = Some(stream);
        }
        self.write()
    }

    /// Sends what is left of the request, as far as the connection takes it: it may still be opening.
    fn write(&mut self) -> io::Result<()> {
        let Some(stream) = &mut self.stream else { return Ok(()) };
        while self.written < self.request.len() {
            match stream.write(&self.request[self.written..]) {
                Ok(written) => self.written += written,
                Err(error) if error.kind() == ErrorKind::Interrupted => (),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NotConnected) => {
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Something happened to the connection. `buffer` is room for a usual reply.
    pub(super) fn advance(&mut self, now: Instant, buffer: &mut [u8], way: Way<'_>, tally: &mut Tally) {
        if self.is_waiting()
            && let Err(error) = self.write()
        {
            return self.ended(&Err(error), now, way, tally);
        }
        while let Some(stream) = &mut self.stream {
            match stream.read(buffer) {
                Ok(length) if length > 0 => {
                    if !self.take(&buffer[..length], now, tally) {
                        return;
                    }
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => (),
                // Before a connection is open there is nothing to read yet.
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NotConnected) => {
                    return;
                }
                end => return self.ended(&end.map(drop), now, way, tally),
            }
        }
    }

    /// Takes bytes that came. Returns whether there may be more to read, be it the end.
    fn take(&mut self, bytes: &[u8], now: Instant, tally: &mut Tally) -> bool {
        let State::Waiting { due, .. } = self.state else {
            // Nobody asked for this.
            self.hang_up();
            return false;
        };
        let mut gathered = std::mem::take(&mut self.received);
        let all = if gathered.is_empty() {
            bytes
        } else {
            gathered.extend_from_slice(bytes);
            &gathered
        };
        match reply::read(all, Stream::Open) {
            Arrival::Whole { status, body, closes } => {
                replied(tally, due, now, status, body, all.len());
                self.has_served = true;
                // Not every server that is asked to close says that it does.
                let closes = closes || self.closing == Closing::Asked;
                self.state = if closes { State::Resting { since: now } } else { State::Idle };
                closes
            }
            Arrival::Partial if all.len() <= MAX_REPLY => {
                self.received = all.to_vec();
                true
            }
            Arrival::Partial | Arrival::Garbage => {
                self.fail("the reply cannot be read", now, tally);
                false
            }
        }
    }

    /// The server closed the connection, or it broke.
    fn ended(&mut self, end: &io::Result<()>, now: Instant, way: Way<'_>, tally: &mut Tally) {
        let State::Waiting { due, .. } = self.state else { return self.hang_up() };
        if let Arrival::Whole { status, body, .. } = reply::read(&self.received, Stream::Ended) {
            replied(tally, due, now, status, body, self.received.len());
            return self.hang_up();
        }
        if self.has_served && self.received.is_empty() {
            // The server gave up an idle connection while the request was on its way. Clients ask again then.
            self.stream = None;
            tally.reopened += 1;
            if let Err(error) = self.send(way) {
                self.fail(error_text(&error), now, tally);
            }
            return;
        }
        let why = end.as_ref().err().map_or("the connection was closed without a reply", error_text);
        self.fail(why, now, tally);
    }

    /// Gives up what has taken too long.
    pub(super) fn expire(&mut self, now: Instant, timeout: Duration, tally: &mut Tally) {
        match self.state {
            State::Waiting { sent, .. } if now.saturating_duration_since(sent) > timeout => {
                self.fail("no reply in time", now, tally);
            }
            State::Resting { since } if now.saturating_duration_since(since) > REST => self.hang_up(),
            _ => (),
        }
    }

    fn fail(&mut self, why: &str, now: Instant, tally: &mut Tally) {
        tally.lose(why);
        self.stream = None;
        self.state = State::Resting { since: now };
    }

    fn hang_up(&mut self) {
        self.stream = None;
        self.state = State::Idle;
    }
}

fn replied(tally: &mut Tally, due: Instant, now: Instant, status: u16, body: &[u8], bytes: usize) {
    let counted = if tally.answered().is_multiple_of(COUNT_ONCE_IN) { Counted::Yes } else { Counted::No };
    tally.reply(reply::verdict(status, body, counted), bytes, due, now);
}

/// The few ways in which connections fail, in words that do not differ from one to the next.
fn error_text(error: &io::Error) -> &'static str {
    match error.kind() {
        ErrorKind::ConnectionRefused => "connection refused",
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::ConnectionAborted => {
            "connection reset"
        }
        ErrorKind::AddrNotAvailable => "no free port for another connection",
        _ => "the connection failed",
    }
}
