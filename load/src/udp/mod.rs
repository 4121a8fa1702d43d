//! Load over UDP: a window of requests under way, which leave and arrive in batches.
//!
//! Several sockets, because a tracker's threads share the clients among themselves by their ports.

mod link;
mod packets;
mod slots;

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Interest, Token};
use wire::udp::url_data;
use wire::udp::{self, AnnounceForm, AnnounceRequest, Response, ScrapeRequest};

use self::link::Link;
use self::packets::{Inbox, Outbox};
use self::slots::CONNECTING;
use crate::pacer::Pacer;
use crate::population::Population;
use crate::schedule::Schedule;
use crate::sessions::{Announce, Kind, Request, Sessions};
use crate::settings::Rest;
use crate::target::{Path, Target};
use crate::totals::{Shared, Totals, Verdict};

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
pub(crate) struct Form {
    /// URL data for each announce, if any.
    pub(crate) url: Option<Path>,
    pub(crate) numwant: i32,
    /// Whether announces name each session's address.
    pub(crate) spoof: bool,
}

/// One worker's sockets to one tracker.
pub(crate) struct Client {
    population: Arc<Population>,
    form: Form,
    timeout: Duration,
    pacer: Pacer,
    links: Vec<Link>,
    /// Which link sends first next time.
    turn: usize,
    /// [`PEER_V4`] or [`PEER_V6`].
    peer_bytes: usize,
    url: Vec<u8>,
    options: Vec<u8>,
}

/// What requests are made of, and where they gather.
struct Outgoing<'a> {
    sessions: &'a mut Sessions,
    schedule: &'a mut Schedule,
    outbox: Outbox,
}

impl Outgoing<'_> {
    /// The next request, if one is due.
    fn next(&mut self, now: Instant) -> Option<(Request, Instant)> {
        let due = self.schedule.take(now)?;
        let request = self.sessions.next();
        if request.is_none() {
            self.schedule.finish();
        }
        Some((request?, due))
    }

    fn send(&mut self, link: &Link, totals: &mut Totals) -> io::Result<()> {
        totals.sent += self.outbox.len() as u64;
        let (bytes, result) = self.outbox.send(&link.socket);
        totals.bytes_out += bytes as u64;
        result.or_else(|error| if is_passing(&error) { Ok(()) } else { Err(error) })
    }
}

impl Client {
    /// `doors`: sockets, which share `window` requests under way.
    pub(crate) fn new(
        target: &Target,
        population: Arc<Population>,
        form: Form,
        links: usize,
        window: usize,
        timeout: Duration,
        rest: Rest,
    ) -> io::Result<Self> {
        let room = window.div_ceil(links);
        let pacer = Pacer::new(rest)?;
        let open = |place: usize| {
            let link = Link::open(target.address, room)?;
            let descriptor = link.socket.as_raw_fd();
            let registry = pacer.poll.registry();
            registry.register(&mut SourceFd(&descriptor), Token(place), Interest::READABLE)?;
            Ok(link)
        };
        let links = (0..links).map(open).collect::<io::Result<Vec<Link>>>()?;
        let peer_bytes = if target.address.is_ipv4() { PEER_V4 } else { PEER_V6 };
        let (url, options) = (Vec::new(), Vec::new());
        Ok(Self { population, form, timeout, pacer, links, turn: 0, peer_bytes, url, options })
    }

    /// Sends when the schedule says so, and waits for the replies.
    pub(crate) fn work(
        &mut self,
        sessions: &mut Sessions,
        schedule: &mut Schedule,
        shared: &Shared,
    ) -> io::Result<()> {
        let mut inbox = Inbox::new();
        let mut outgoing = Outgoing { sessions, schedule, outbox: Outbox::new() };
        let mut looked = Instant::now();
        loop {
            let now = Instant::now();
            let mut totals = shared.lock();
            self.listen(&mut inbox, now, &mut totals)?;
            if now.saturating_duration_since(looked) >= LOOK_AROUND {
                looked = now;
                self.look_around(now, &mut totals)?;
            }
            let gathering = self.send(&mut outgoing, now, &mut totals)?;
            drop(totals);
            let is_quiet = self.links.iter().all(|link| link.slots.is_empty());
            if outgoing.schedule.is_broken_off() || (outgoing.schedule.is_sent(now) && is_quiet) {
                return Ok(());
            }
            let has_room = self.links.iter().any(|link| link.slots.free() > 0);
            let due = outgoing.schedule.next_due().filter(|_| outgoing.schedule.is_paced() && has_room);
            self.pacer.wait(due, if gathering { GATHER_TIME } else { LOOK_AROUND })?;
        }
    }

    /// Takes what came.
    fn listen(&mut self, inbox: &mut Inbox, now: Instant, totals: &mut Totals) -> io::Result<()> {
        for place in &self.pacer.news {
            let Some(link) = self.links.get_mut(*place) else { continue };
            loop {
                match inbox.receive(&link.socket) {
                    Err(error) if is_passing(&error) => break,
                    other => other?,
                }
                inbox.packets().for_each(|packet| hear(link, packet, self.peer_bytes, now, totals));
                if !inbox.is_full() {
                    break;
                }
            }
        }
        Ok(())
    }

    fn look_around(&mut self, now: Instant, totals: &mut Totals) -> io::Result<()> {
        for link in &mut self.links {
            for _ in 0..link.slots.expire(now, self.timeout) {
                totals.lose("no reply in time");
            }
            link.renew(now).or_else(|error| if is_passing(&error) { Ok(()) } else { Err(error) })?;
        }
        Ok(())
    }

    /// Sends as many requests as are due and find room. Returns whether some wait for others to leave with.
    fn send(&mut self, outgoing: &mut Outgoing<'_>, now: Instant, totals: &mut Totals) -> io::Result<bool> {
        let mut gathering = false;
        let gathers = !outgoing.schedule.is_paced() && !self.pacer.news.is_empty();
        self.turn += 1;
        for step in 0..self.links.len() {
            let place = (self.turn + step) % self.links.len();
            let slots = &self.links[place].slots;
            if gathers && slots.free() < slots.room().div_ceil(2).min(GATHER) {
                gathering |= slots.free() > 0;
                continue;
            }
            while self.write_batch(place, outgoing, now) {
                outgoing.send(&self.links[place], totals)?;
            }
        }
        Ok(gathering)
    }

    /// Writes requests until none is due, no room is left, or the batch is full. Returns whether there are
    /// any.
    fn write_batch(&mut self, place: usize, outgoing: &mut Outgoing<'_>, now: Instant) -> bool {
        while !outgoing.outbox.is_full() && self.links[place].slots.free() > 0 {
            let Some((request, due)) = outgoing.next(now) else { break };
            let link = &mut self.links[place];
            let Some(transaction) = link.slots.take(due, now) else { break };
            let connection = link.connection;
            self.write(&request, connection, transaction, &mut outgoing.outbox);
        }
        outgoing.outbox.len() > 0
    }

    fn write(&mut self, request: &Request, connection: u64, transaction: u32, outbox: &mut Outbox) {
        let info_hash = *self.population.hash(request.torrent);
        match request.kind {
            Kind::Scrape => {
                let info_hashes = &[info_hash.0];
                let request = udp::Request::Scrape(ScrapeRequest { connection, transaction, info_hashes });
                outbox.add(|out| request.write(out));
            }
            Kind::Announce(announce) => {
                self.options.clear();
                if let Some(url) = &self.form.url {
                    self.url.clear();
                    url.write(self.population.passkey(request.session), &mut self.url);
                    url_data::write(&self.url, &mut self.options);
                }
                let request =
                    udp::Request::Announce(self.announce(request, announce, connection, transaction));
                outbox.add(|out| request.write(out));
            }
        }
    }

    fn announce(
        &self,
        request: &Request,
        announce: Announce,
        connection: u64,
        transaction: u32,
    ) -> AnnounceRequest<'_> {
        // A tracker answers in the family that it is asked in, and believes no address of the other one.
        let claimed_ip = match self.form.spoof {
            false => Ipv4Addr::UNSPECIFIED.into(),
            true if self.peer_bytes == PEER_V4 => self.population.v4(request.session).into(),
            true => IpAddr::V6(self.population.v6(request.session)),
        };
        AnnounceRequest {
            form: if claimed_ip.is_ipv4() { AnnounceForm::Standard } else { AnnounceForm::LegacyV6 },
            connection,
            transaction,
            info_hash: *self.population.hash(request.torrent),
            peer_id: self.population.peer_id(request.session),
            downloaded: announce.downloaded,
            left: announce.left,
            uploaded: announce.uploaded,
            event: udp::event_number(announce.event),
            claimed_ip,
            key: request.session,
            num_want: self.form.numwant,
            port: self.population.port(request.session),
            options: &self.options,
        }
    }
}

/// Books one packet that came.
fn hear(link: &mut Link, packet: &[u8], peer_bytes: usize, now: Instant, totals: &mut Totals) {
    let (transaction, verdict) = match Response::parse(packet) {
        Ok(Response::Connect { transaction: CONNECTING, connection }) => {
            return link.renewed(connection, now);
        }
        Ok(Response::Announce { transaction, peers, .. }) => {
            (transaction, Verdict::Granted(Some((peers.len() / peer_bytes) as u64)))
        }
        Ok(Response::Scrape { transaction, .. }) => (transaction, Verdict::Granted(None)),
        Ok(Response::Error { transaction, text }) => (transaction, Verdict::Refused(text)),
        // Not of the protocol: whatever it was meant for will time out.
        Ok(Response::Connect { .. }) | Err(_) => return,
    };
    if let Some(due) = link.slots.end(transaction) {
        totals.reply(verdict, packet.len(), due, now);
    }
}

/// Whether an error says only that one packet did not make it.
fn is_passing(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionRefused, Interrupted, WouldBlock};
    matches!(error.kind(), ConnectionRefused | Interrupted | WouldBlock)
        || error.raw_os_error() == Some(nix::libc::ENOBUFS)
}
