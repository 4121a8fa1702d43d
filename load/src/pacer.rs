//! The wait of a worker: for the network, and in an open loop for the time when the next request is due, to
//! the microsecond.
//!
//! epoll's own timeout counts in milliseconds, which is many requests; a timer among the polled files is
//! exact.

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};

use crate::settings::Rest;

/// Stands for the timer among the tokens.
const TIMER: Token = Token(usize::MAX);
/// Events taken with one system call.
const EVENTS: usize = 256;
/// Requests that are due within this time leave together: a wake-up for each would cost more than the
/// request.
const TOGETHER: Duration = Duration::from_micros(50);

/// Waits for sockets and for the schedule.
pub(crate) struct Pacer {
    pub(crate) poll: Poll,
    /// The tokens that had news at the last wait.
    pub(crate) news: Vec<usize>,
    events: Events,
    timer: TimerFd,
    rest: Rest,
}

impl Pacer {
    pub(crate) fn new(rest: Rest) -> io::Result<Self> {
        let poll = Poll::new()?;
        let timer =
            TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC)?;
        let descriptor = timer.as_fd().as_raw_fd();
        poll.registry().register(&mut SourceFd(&descriptor), TIMER, Interest::READABLE)?;
        Ok(Self {
            poll,
            news: Vec::with_capacity(EVENTS),
            events: Events::with_capacity(EVENTS),
            timer,
            rest,
        })
    }

    /// Waits for news, until `due`, or for as long as `longest`; not at all when it spins.
    pub(crate) fn wait(&mut self, due: Option<Instant>, longest: Duration) -> io::Result<()> {
        let longest = if self.rest == Rest::Spins { Duration::ZERO } else { longest };
        if let (Some(due), Rest::Sleeps) = (due, self.rest) {
            let wait = due.saturating_duration_since(Instant::now()).max(TOGETHER);
            let expiration = Expiration::OneShot(TimeSpec::from_duration(wait));
            self.timer.set(expiration, TimerSetTimeFlags::empty())?;
        }
        self.news.clear();
        match self.poll.poll(&mut self.events, Some(longest)) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            Err(_) => (),
            Ok(()) => {
                let sockets = self.events.iter().filter(|event| event.token() != TIMER);
                self.news.extend(sockets.map(|event| event.token().0));
            }
        }
        Ok(())
    }
}
