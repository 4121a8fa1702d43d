//! Load over UDP: a window of requests under way, which leave and arrive in batches.
//!
//! Several sockets, because a tracker's threads share the clients among themselves by their ports.

mod door;
mod packets;
mod slots;

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use contract::Event;
use mio::unix::SourceFd;
use mio::{Interest, Token};
use wire::udp::url_data;
use wire::udp::{AnnounceForm, AnnounceRequest, Request, Response, ScrapeRequest};

use self::door::Door;
use self::packets::{Inbox, Outbox};
use self::slots::CONNECTING;
use super::crowd::{Ask, Crowd, What, Words};
use super::pacer::{Pacer, Rest};
use super::population::Population;
use super::shift::Shift;
use super::tally::{Shared, Tally, Verdict};
use super::target::{Path, Target};

/// How often requests are looked for that were never answered.
const LOOK_AROUND: Duration = Duration::from_millis(100);
/// In a closed loop, requests gather until so many can leave with one system call, as long as replies keep
/// coming.
const GATHER: usize = 32;
/// How long a closed loop waits for more replies before it sends what it has.
const GATHER_TIME: Duration = Duration::from_millis(1);

/// Peers in replies are so many bytes each, by the family in which the tracker is asked.
const PEER_V4: usize = 6;
const PEER_V6: usize = 18;

/// How requests are to look.
#[derive(Debug)]
pub(super) struct Form {
    /// URL data for each announce, if any.
    pub(super) url: Option<Path>,
    pub(super) numwant: i32,
    /// Whether announces name each session's address.
    pub(super) spoof: bool,
}

/// One worker's sockets to one tracker.
pub(super) struct Client {
    population: Arc<Population>,
    form: Form,
    timeout: Duration,
    pacer: Pacer,
    doors: Vec<Door>,
    /// Which door sends first next time.
    turn: usize,
    /// [`PEER_V4`] or [`PEER_V6`].
    peer_bytes: usize,
    url: Vec<u8>,
    options: Vec<u8>,
}

/// What requests are made of, and where they gather.
struct Desk<'a> {
    crowd: &'a mut Crowd,
    shift: &'a mut Shift,
    outbox: Outbox,
}

impl Desk<'_> {
    /// The next request, if one is due.
    fn next(&mut self, now: Instant) -> Option<(Ask, Instant)> {
        let due = self.shift.take(now)?;
        let ask = self.crowd.next();
        if ask.is_none() {
            self.shift.finish();
        }
        Some((ask?, due))
    }

    fn send(&mut self, door: &Door, tally: &mut Tally) -> io::Result<()> {
        tally.sent += self.outbox.len() as u64;
        let (bytes, result) = self.outbox.send(&door.socket);
        tally.bytes_out += bytes as u64;
        result.or_else(|error| if is_passing(&error) { Ok(()) } else { Err(error) })
    }
}

impl Client {
    /// `doors`: sockets, which share `window` requests under way.
    pub(super) fn new(
        target: &Target,
        population: Arc<Population>,
        form: Form,
        doors: usize,
        window: usize,
        timeout: Duration,
        rest: Rest,
    ) -> io::Result<Self> {
        let room = window.div_ceil(doors);
        let pacer = Pacer::new(rest)?;
        let open = |place: usize| {
            let door = Door::open(target.address, room)?;
            let descriptor = door.socket.as_raw_fd();
            let registry = pacer.poll.registry();
            registry.register(&mut SourceFd(&descriptor), Token(place), Interest::READABLE)?;
            Ok(door)
        };
        let doors = (0..doors).map(open).collect::<io::Result<Vec<Door>>>()?;
        let peer_bytes = if target.address.is_ipv4() { PEER_V4 } else { PEER_V6 };
        let (url, options) = (Vec::new(), Vec::new());
        Ok(Self { population, form, timeout, pacer, doors, turn: 0, peer_bytes, url, options })
    }

    /// Sends what the shift says and waits for the replies.
    pub(super) fn work(&mut self, crowd: &mut Crowd, shift: &mut Shift, shared: &Shared) -> io::Result<()> {
        let mut inbox = Inbox::new();
        let mut desk = Desk { crowd, shift, outbox: Outbox::new() };
        let mut looked = Instant::now();
        loop {
            let now = Instant::now();
            let mut tally = shared.lock();
            self.listen(&mut inbox, now, &mut tally)?;
            if now.saturating_duration_since(looked) >= LOOK_AROUND {
                looked = now;
                self.look_around(now, &mut tally)?;
            }
            let gathering = self.send(&mut desk, now, &mut tally)?;
            drop(tally);
            let is_quiet = self.doors.iter().all(|door| door.slots.is_empty());
            if desk.shift.is_broken_off() || (desk.shift.is_sent(now) && is_quiet) {
                return Ok(());
            }
            let has_room = self.doors.iter().any(|door| door.slots.free() > 0);
            let due = desk.shift.next_due().filter(|_| desk.shift.is_paced() && has_room);
            self.pacer.wait(due, if gathering { GATHER_TIME } else { LOOK_AROUND })?;
        }
    }

    /// Takes what came.
    fn listen(&mut self, inbox: &mut Inbox, now: Instant, tally: &mut Tally) -> io::Result<()> {
        for place in &self.pacer.news {
            let Some(door) = self.doors.get_mut(*place) else { continue };
            loop {
                match inbox.receive(&door.socket) {
                    Err(error) if is_passing(&error) => break,
                    other => other?,
                }
                inbox.packets().for_each(|packet| hear(door, packet, self.peer_bytes, now, tally));
                if !inbox.is_full() {
                    break;
                }
            }
        }
        Ok(())
    }

    fn look_around(&mut self, now: Instant, tally: &mut Tally) -> io::Result<()> {
        for door in &mut self.doors {
            for _ in 0..door.slots.expire(now, self.timeout) {
                tally.lose("no reply in time");
            }
            door.renew(now).or_else(|error| if is_passing(&error) { Ok(()) } else { Err(error) })?;
        }
        Ok(())
    }

    /// Sends as many requests as are due and find room. Returns whether some wait for others to leave with.
    fn send(&mut self, desk: &mut Desk<'_>, now: Instant, tally: &mut Tally) -> io::Result<bool> {
        let mut gathering = false;
        let gathers = !desk.shift.is_paced() && !self.pacer.news.is_empty();
        self.turn += 1;
        for step in 0..self.doors.len() {
            let place = (self.turn + step) % self.doors.len();
            let slots = &self.doors[place].slots;
            if gathers && slots.free() < slots.room().div_ceil(2).min(GATHER) {
                gathering |= slots.free() > 0;
                continue;
            }
            while self.write_batch(place, desk, now) {
                desk.send(&self.doors[place], tally)?;
            }
        }
        Ok(gathering)
    }

    /// Writes requests until none is due, no room is left, or the batch is full. Returns whether there are
    /// any.
    fn write_batch(&mut self, place: usize, desk: &mut Desk<'_>, now: Instant) -> bool {
        while !desk.outbox.is_full() && self.doors[place].slots.free() > 0 {
            let Some((ask, due)) = desk.next(now) else { break };
            let door = &mut self.doors[place];
            let Some(transaction) = door.slots.take(due, now) else { break };
            let connection = door.connection;
            self.write(&ask, connection, transaction, &mut desk.outbox);
        }
        desk.outbox.len() > 0
    }

    fn write(&mut self, ask: &Ask, connection: u64, transaction: u32, outbox: &mut Outbox) {
        let info_hash = *self.population.hash(ask.torrent);
        match ask.what {
            What::Scrape => {
                let info_hashes = &[info_hash.0];
                let request = Request::Scrape(ScrapeRequest { connection, transaction, info_hashes });
                outbox.add(|out| request.write(out));
            }
            What::Announce(words) => {
                self.options.clear();
                if let Some(url) = &self.form.url {
                    self.url.clear();
                    url.write(self.population.passkey(ask.session), &mut self.url);
                    url_data::write(&self.url, &mut self.options);
                }
                let request = Request::Announce(self.announce(ask, words, connection, transaction));
                outbox.add(|out| request.write(out));
            }
        }
    }

    fn announce(&self, ask: &Ask, words: Words, connection: u64, transaction: u32) -> AnnounceRequest<'_> {
        // A tracker answers in the family that it is asked in, and believes no address of the other one.
        let claimed_ip = match self.form.spoof {
            false => Ipv4Addr::UNSPECIFIED.into(),
            true if self.peer_bytes == PEER_V4 => self.population.v4(ask.session).into(),
            true => IpAddr::V6(self.population.v6(ask.session)),
        };
        AnnounceRequest {
            form: if claimed_ip.is_ipv4() { AnnounceForm::Standard } else { AnnounceForm::LegacyV6 },
            connection,
            transaction,
            info_hash: *self.population.hash(ask.torrent),
            peer_id: self.population.peer_id(ask.session),
            downloaded: words.downloaded,
            left: words.left,
            uploaded: words.uploaded,
            event: match words.event {
                Event::None => 0,
                Event::Completed => 1,
                Event::Started => 2,
                Event::Stopped => 3,
            },
            claimed_ip,
            key: ask.session,
            num_want: self.form.numwant,
            port: self.population.port(ask.session),
            options: &self.options,
        }
    }
}

/// Books one packet that came.
fn hear(door: &mut Door, packet: &[u8], peer_bytes: usize, now: Instant, tally: &mut Tally) {
    let (transaction, verdict) = match Response::parse(packet) {
        Ok(Response::Connect { transaction: CONNECTING, connection }) => {
            return door.renewed(connection, now);
        }
        Ok(Response::Announce { transaction, peers, .. }) => {
            (transaction, Verdict::Granted(Some((peers.len() / peer_bytes) as u64)))
        }
        Ok(Response::Scrape { transaction, .. }) => (transaction, Verdict::Granted(None)),
        Ok(Response::Error { transaction, text }) => (transaction, Verdict::Refused(text)),
        // Not of the protocol: whatever it was meant for will time out.
        Ok(Response::Connect { .. }) | Err(_) => return,
    };
    if let Some(due) = door.slots.end(transaction) {
        tally.reply(verdict, packet.len(), due, now);
    }
}

/// Whether an error says only that one packet did not make it.
fn is_passing(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionRefused, Interrupted, WouldBlock};
    matches!(error.kind(), ConnectionRefused | Interrupted | WouldBlock)
        || error.raw_os_error() == Some(nix::libc::ENOBUFS)
}
