//! Load over HTTP/1.1: many connections in one thread, each with one request at a time.
//!
//! Written by hand over epoll, because the generator shares its machine with the tracker: what it costs must
//! be small against what is measured.

mod connection;
mod render;
mod reply;

use std::collections::VecDeque;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::Token;

pub(crate) use render::Form;

use self::connection::{Connection, Route};
use self::render::Renderer;
use crate::pacer::Pacer;
use crate::population::Population;
use crate::schedule::Schedule;
use crate::sessions::Sessions;
use crate::settings::{Closing, Rest};
use crate::target::Target;
use crate::totals::{Shared, Totals};

const BUFFER: usize = 64 << 10;
/// How often connections are looked at that have been silent for too long.
const LOOK_AROUND: Duration = Duration::from_millis(10);

/// One worker's connections to one tracker.
pub(crate) struct Client {
    address: SocketAddr,
    population: Arc<Population>,
    renderer: Renderer,
    timeout: Duration,
    pacer: Pacer,
    connections: Vec<Connection>,
    /// Lines that may begin a request, each in its turn: a tracker's threads have connections of their own.
    idle: VecDeque<usize>,
    buffer: Box<[u8]>,
}

impl Client {
    /// `lines`: connections at once, which are opened when they are needed.
    pub(crate) fn new(
        target: &Target,
        population: Arc<Population>,
        form: Form,
        closing: Closing,
        connections: usize,
        timeout: Duration,
        rest: Rest,
    ) -> io::Result<Self> {
        // Whether anybody is there at all, before a million failures say so.
        TcpStream::connect_timeout(&target.address, timeout)?;
        Ok(Self {
            renderer: Renderer::new(form, &target.authority, closing),
            address: target.address,
            population,
            timeout,
            pacer: Pacer::new(rest)?,
            connections: std::iter::repeat_with(|| Connection::new(closing)).take(connections).collect(),
            idle: (0..connections).collect(),
            buffer: vec![0; BUFFER].into(),
        })
    }

    /// Sends when the schedule says so, and waits for the replies.
    pub(crate) fn work(
        &mut self,
        sessions: &mut Sessions,
        schedule: &mut Schedule,
        shared: &Shared,
    ) -> io::Result<()> {
        let mut looked = Instant::now();
        loop {
            let now = Instant::now();
            let mut totals = shared.lock();
            self.listen(now, &mut totals);
            if now.saturating_duration_since(looked) >= LOOK_AROUND {
                looked = now;
                self.look_around(now, &mut totals);
            }
            self.begin(sessions, schedule, now, &mut totals);
            drop(totals);
            if schedule.is_broken_off()
                || (schedule.is_sent(now) && !self.connections.iter().any(Connection::is_waiting))
            {
                return Ok(());
            }
            let due = schedule.next_due().filter(|_| schedule.is_paced() && !self.idle.is_empty());
            self.pacer.wait(due, LOOK_AROUND)?;
        }
    }

    /// Begins as many requests as are due and find an idle connection.
    fn begin(&mut self, sessions: &mut Sessions, schedule: &mut Schedule, now: Instant, totals: &mut Totals) {
        while let Some(place) = self.idle.front().copied() {
            let Some(due) = schedule.take(now) else { return };
            let Some(request) = sessions.next() else { return schedule.finish() };
            self.idle.pop_front();
            let connection = &mut self.connections[place];
            self.renderer.render(&request, &self.population, &mut connection.request);
            let route = Route { to: self.address, place: Token(place), registry: self.pacer.poll.registry() };
            connection.begin(due, now, route, totals);
        }
    }

    /// Takes what came.
    fn listen(&mut self, now: Instant, totals: &mut Totals) {
        let registry = self.pacer.poll.registry();
        for place in &self.pacer.news {
            let Some(connection) = self.connections.get_mut(*place) else { continue };
            let was_idle = connection.is_idle();
            connection.advance(
                now,
                &mut self.buffer,
                Route { to: self.address, place: Token(*place), registry },
                totals,
            );
            if connection.is_idle() && !was_idle {
                self.idle.push_back(*place);
            }
        }
    }

    fn look_around(&mut self, now: Instant, totals: &mut Totals) {
        for (place, connection) in self.connections.iter_mut().enumerate() {
            let was_idle = connection.is_idle();
            connection.expire(now, self.timeout, totals);
            if connection.is_idle() && !was_idle {
                self.idle.push_back(place);
            }
        }
    }
}
