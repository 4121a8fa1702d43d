//! One connection and the request that is under way on it.

use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};

use super::reply::{self, Arrival, Counted, Stream};
use crate::settings::Closing;
use crate::totals::Totals;

/// A reply with a thousand peers is some 50 kB; more than this is no tracker.
const MAX_REPLY: usize = 1 << 20;
/// How long the server has for its own end of a connection, and how long it rests after a failure.
const REST: Duration = Duration::from_millis(20);
/// The peers of one reply in so many are counted.
const COUNT_ONCE_IN: u64 = 64;

/// A connection, or the place for one.
#[derive(Debug)]
pub(crate) struct Connection {
    closing: Closing,
    stream: Option<TcpStream>,
    pub(crate) request: Vec<u8>,
    written: usize,
    /// What came of a reply that took more than one read.
    received: Vec<u8>,
    /// Whether this connection has brought a reply before.
    has_served: bool,
    state: State,
}

/// What a connection is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
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

/// Where a connection leads and what its events are called.
#[derive(Clone, Copy)]
pub(crate) struct Route<'a> {
    pub(crate) to: SocketAddr,
    pub(crate) place: Token,
    pub(crate) registry: &'a Registry,
}

impl Connection {
    /// `closing`: whether each connection is for one request.
    pub(crate) fn new(closing: Closing) -> Self {
        let (request, received) = (Vec::new(), Vec::new());
        Self { closing, stream: None, request, written: 0, received, has_served: false, state: State::Idle }
    }

    /// Whether the next request may begin.
    pub(crate) fn is_idle(&self) -> bool {
        self.state == State::Idle
    }

    /// Whether a reply is awaited.
    pub(crate) fn is_waiting(&self) -> bool {
        matches!(self.state, State::Waiting { .. })
    }

    /// Begins with `request`, on a connection that is opened first where there is none.
    pub(crate) fn begin(&mut self, due: Instant, now: Instant, route: Route<'_>, totals: &mut Totals) {
        self.state = State::Waiting { due, sent: now };
        totals.sent += 1;
        totals.bytes_out += self.request.len() as u64;
        if let Err(error) = self.send(route) {
            self.fail(error_text(&error), now, totals);
        }
    }

    fn send(&mut self, route: Route<'_>) -> io::Result<()> {
        self.written = 0;
        self.received.clear();
        if self.stream.is_none() {
            self.has_served = false;
            let mut stream = TcpStream::connect(route.to)?;
            route.registry.register(&mut stream, route.place, Interest::READABLE | Interest::WRITABLE)?;
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
    pub(crate) fn advance(&mut self, now: Instant, buffer: &mut [u8], route: Route<'_>, totals: &mut Totals) {
        if self.is_waiting()
            && let Err(error) = self.write()
        {
            return self.ended(&Err(error), now, route, totals);
        }
        while let Some(stream) = &mut self.stream {
            match stream.read(buffer) {
                Ok(length) if length > 0 => {
                    if !self.take(&buffer[..length], now, totals) {
                        return;
                    }
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => (),
                // Before a connection is open there is nothing to read yet.
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NotConnected) => {
                    return;
                }
                end => return self.ended(&end.map(drop), now, route, totals),
            }
        }
    }

    /// Takes bytes that came. Returns whether there may be more to read, be it the end.
    fn take(&mut self, bytes: &[u8], now: Instant, totals: &mut Totals) -> bool {
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
                replied(totals, due, now, status, body, all.len());
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
                self.fail("the reply cannot be read", now, totals);
                false
            }
        }
    }

    /// The server closed the connection, or it broke.
    fn ended(&mut self, end: &io::Result<()>, now: Instant, route: Route<'_>, totals: &mut Totals) {
        let State::Waiting { due, .. } = self.state else { return self.hang_up() };
        if let Arrival::Whole { status, body, .. } = reply::read(&self.received, Stream::Ended) {
            replied(totals, due, now, status, body, self.received.len());
            return self.hang_up();
        }
        if self.has_served && self.received.is_empty() {
            // The server gave up an idle connection while the request was on its way. Clients ask again then.
            self.stream = None;
            totals.reopened += 1;
            if let Err(error) = self.send(route) {
                self.fail(error_text(&error), now, totals);
            }
            return;
        }
        let why = end.as_ref().err().map_or("the connection was closed without a reply", error_text);
        self.fail(why, now, totals);
    }

    /// Gives up what has taken too long.
    pub(crate) fn expire(&mut self, now: Instant, timeout: Duration, totals: &mut Totals) {
        match self.state {
            State::Waiting { sent, .. } if now.saturating_duration_since(sent) > timeout => {
                self.fail("no reply in time", now, totals);
            }
            State::Resting { since } if now.saturating_duration_since(since) > REST => self.hang_up(),
            _ => (),
        }
    }

    fn fail(&mut self, why: &str, now: Instant, totals: &mut Totals) {
        totals.lose(why);
        self.stream = None;
        self.state = State::Resting { since: now };
    }

    fn hang_up(&mut self) {
        self.stream = None;
        self.state = State::Idle;
    }
}

fn replied(totals: &mut Totals, due: Instant, now: Instant, status: u16, body: &[u8], bytes: usize) {
    let counted = if totals.answered().is_multiple_of(COUNT_ONCE_IN) { Counted::Yes } else { Counted::No };
    totals.reply(reply::verdict(status, body, counted), bytes, due, now);
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
