//! Load over HTTP/1.1: many connections in one thread, each with one request at a time.
//!
//! Written by hand over epoll, because the generator shares its machine with the tracker: what it costs must
//! be small against what is measured.

mod line;
mod render;
mod reply;

use std::collections::VecDeque;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::Token;

pub(super) use render::{Closing, Form};

use self::line::{Line, Way};
use self::render::Renderer;
use super::crowd::Crowd;
use super::pacer::{Pacer, Rest};
use super::population::Population;
use super::shift::Shift;
use super::tally::{Shared, Tally};
use super::target::Target;

const BUFFER: usize = 64 << 10;
/// How often connections are looked at that have been silent for too long.
const LOOK_AROUND: Duration = Duration::from_millis(10);

/// One worker's connections to one tracker.
pub(super) struct Client {
    address: SocketAddr,
    population: Arc<Population>,
    renderer: Renderer,
    timeout: Duration,
    pacer: Pacer,
    lines: Vec<Line>,
    /// Lines that may begin a request, each in its turn: a tracker's threads have connections of their own.
    idle: VecDeque<usize>,
    buffer: Box<[u8]>,
}

impl Client {
    /// `lines`: connections at once, which are opened when they are needed.
    pub(super) fn new(
        target: &Target,
        population: Arc<Population>,
        form: Form,
        closing: Closing,
        lines: usize,
        timeout: Duration,
        rest: Rest,
    ) -> io::Result<Self> {
        // Whether anybody is there at all, before a million failures say so.
        TcpStream::connect_timeout(&target.address, timeout)?;
        Ok(Self {
            renderer: Renderer::new(form, &target.authority, &closing),
            address: target.address,
            population,
            timeout,
            pacer: Pacer::new(rest)?,
            lines: std::iter::repeat_with(|| Line::new(closing)).take(lines).collect(),
            idle: (0..lines).collect(),
            buffer: vec![0; BUFFER].into(),
        })
    }

    /// Sends what the shift says and waits for the replies.
    pub(super) fn work(&mut self, crowd: &mut Crowd, shift: &mut Shift, shared: &Shared) -> io::Result<()> {
        let mut looked = Instant::now();
        loop {
            let now = Instant::now();
            let mut tally = shared.lock();
            self.listen(now, &mut tally);
            if now.saturating_duration_since(looked) >= LOOK_AROUND {
                looked = now;
                self.look_around(now, &mut tally);
            }
            self.begin(crowd, shift, now, &mut tally);
            drop(tally);
            if shift.is_broken_off() || (shift.is_sent(now) && !self.lines.iter().any(Line::is_waiting)) {
                return Ok(());
            }
            let due = shift.next_due().filter(|_| shift.is_paced() && !self.idle.is_empty());
            self.pacer.wait(due, LOOK_AROUND)?;
        }
    }

    /// Begins as many requests as are due and find an idle line.
    fn begin(&mut self, crowd: &mut Crowd, shift: &mut Shift, now: Instant, tally: &mut Tally) {
        while let Some(place) = self.idle.front().copied() {
            let Some(due) = shift.take(now) else { return };
            let Some(ask) = crowd.next() else { return shift.finish() };
            self.idle.pop_front();
            let line = &mut self.lines[place];
            self.renderer.render(&ask, &self.population, &mut line.request);
            let way = Way { to: self.address, place: Token(place), registry: self.pacer.poll.registry() };
            line.begin(due, now, way, tally);
        }
    }

    /// Takes what came.
    fn listen(&mut self, now: Instant, tally: &mut Tally) {
        let registry = self.pacer.poll.registry();
        for place in &self.pacer.news {
            let Some(line) = self.lines.get_mut(*place) else { continue };
            let was_idle = line.is_idle();
            line.advance(
                now,
                &mut self.buffer,
                Way { to: self.address, place: Token(*place), registry },
                tally,
            );
            if line.is_idle() && !was_idle {
                self.idle.push_back(*place);
            }
        }
    }

    fn look_around(&mut self, now: Instant, tally: &mut Tally) {
        for (place, line) in self.lines.iter_mut().enumerate() {
            let was_idle = line.is_idle();
            line.expire(now, self.timeout, tally);
            if line.is_idle() && !was_idle {
                self.idle.push_back(place);
            }
        }
    }
}
