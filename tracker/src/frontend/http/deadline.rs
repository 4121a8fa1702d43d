//! How long a connection may take for what it does now: a request's head, waiting for the next request,
//! taking its reply.
//!
//! Three clocks, because a client that waits between announces is welcome for longer than one that feeds a
//! request byte by byte to hold a place. hyper's own timer cannot tell these apart: it would cut idle
//! clients off or give an attacker half a minute. A connection has one timer, and looks at the clock once
//! each time it is woken, not at each change of its phase: a request that is answered in one go passes all
//! of them within microseconds.

use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use super::pulse::LastArrival;
use super::stream::{Waiting, WriteLast};

/// The longest waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// For the whole head of a request, from its first byte or, for a connection's first request, from
    /// accepting it.
    pub read: Duration,
    /// For a client to take its whole reply.
    pub write: Duration,
    /// For the next request on a connection that has had one.
    pub idle: Duration,
}

/// What a connection does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// It sends a request.
    Head,
    /// We work on the reply: our wait, with limits of its own.
    Answering,
    /// It takes the reply.
    Reply,
    /// It takes the reply, behind which the connection ends.
    LastReply,
    /// Nothing is asked for.
    Idle,
}

/// Marks a phase that has begun since the clock was looked at last.
const NEW: u8 = 0x80;

/// One connection's phase and how long it may last. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct Deadlines {
    phase: Arc<AtomicU8>,
    accepted: Instant,
    timeouts: Timeouts,
}

impl Deadlines {
    /// A connection that was accepted now.
    #[must_use]
    pub(super) fn new(timeouts: Timeouts) -> Self {
        Self { phase: Arc::new(AtomicU8::new(Phase::Head as u8)), accepted: Instant::now(), timeouts }
    }

    /// A phase begins. Its time counts from the end of the poll that this happens in.
    pub(super) fn enter(&self, phase: Phase) {
        // One task does all of this; only the compiler wants it to be atomic.
        self.phase.store(phase as u8 | NEW, Ordering::Relaxed);
    }

    fn leave(&self, from: Phase, to: Phase) {
        if self.phase() == from {
            self.enter(to);
        }
    }

    fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Relaxed) & !NEW {
            0 => Phase::Head,
            1 => Phase::Answering,
            2 => Phase::Reply,
            3 => Phase::LastReply,
            _ => Phase::Idle,
        }
    }

    /// Whether the phase is another than when this was asked last.
    fn has_changed(&self) -> bool {
        let phase = self.phase.load(Ordering::Relaxed);
        self.phase.store(phase & !NEW, Ordering::Relaxed);
        phase & NEW != 0
    }

    /// When the phase has lasted too long; `None` while the wait is ours.
    fn deadline(&self, since: Instant) -> Option<Instant> {
        let limit = match self.phase() {
            Phase::Head => self.timeouts.read,
            Phase::Answering => return None,
            Phase::Reply | Phase::LastReply => self.timeouts.write,
            Phase::Idle => self.timeouts.idle,
        };
        Some(since + limit)
    }

    /// Runs a connection to its end, or until it has been too slow: then returns the phase in which it was.
    /// To be awaited by one task from beginning to end.
    ///
    /// # Errors
    /// The phase that lasted too long.
    pub(super) async fn supervise<F: Future>(&self, mut connection: Pin<&mut F>) -> Result<F::Output, Phase> {
        let mut since = self.accepted;
        let mut timer = pin!(sleep_until(since + self.timeouts.read));
        let mut is_set = false;
        std::future::poll_fn(|cx| {
            // The connection first: it may just have become quick enough.
            if let Poll::Ready(output) = connection.as_mut().poll(cx) {
                return Poll::Ready(Ok(output));
            }
            if self.has_changed() {
                since = Instant::now();
            }
            let deadline = self.deadline(since);
            // A timer that was asked once wakes the task by itself, and asking costs as much as parsing half
            // a request.
            let comes_too_late = deadline.is_some_and(|deadline| deadline < timer.deadline());
            if is_set && !comes_too_late && !timer.is_elapsed() {
                return Poll::Pending;
            }
            is_set = true;
            if comes_too_late && let Some(deadline) = deadline {
                timer.as_mut().reset(deadline);
            }
            self.poll_expired(timer.as_mut(), since, cx).map(Err)
        })
        .await
    }

    fn poll_expired(&self, mut timer: Pin<&mut Sleep>, since: Instant, cx: &mut Context<'_>) -> Poll<Phase> {
        loop {
            ready!(timer.as_mut().poll(cx));
            let now = Instant::now();
            match self.deadline(since) {
                Some(deadline) if deadline <= now => return Poll::Ready(self.phase()),
                Some(deadline) => timer.as_mut().reset(deadline),
                None => timer.as_mut().reset(now + self.timeouts.read),
            }
        }
    }
}

/// A connection's bytes, watched: reading the first one ends idleness, and a reply is over once it is
/// flushed.
#[derive(Debug)]
pub(super) struct Watched<S> {
    stream: S,
    deadlines: Deadlines,
    arrival: Arc<LastArrival>,
}

impl<S> Watched<S> {
    /// Watches `stream` on behalf of `deadlines`, and notes when its bytes had come.
    pub(super) fn new(stream: S, deadlines: Deadlines, arrival: Arc<LastArrival>) -> Self {
        Self { stream, deadlines, arrival }
    }
}

impl<S: AsyncRead + Waiting + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = ready!(Pin::new(&mut self.stream).poll_read(cx, buffer));
        if buffer.filled().len() > before {
            self.deadlines.leave(Phase::Idle, Phase::Head);
            self.arrival.read(std::time::Instant::now(), || self.stream.waited());
        }
        Poll::Ready(read)
    }
}

impl<S: WriteLast + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.deadlines.phase() {
            Phase::LastReply => Pin::new(&mut self.stream).poll_write_last(cx, bytes),
            _ => Pin::new(&mut self.stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = ready!(Pin::new(&mut self.stream).poll_flush(cx));
        self.deadlines.leave(Phase::Reply, Phase::Idle);
        Poll::Ready(flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frontend::http::pulse::Pulse;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
    use tokio::time::sleep;

    impl Waiting for DuplexStream {
        fn waited(&self) -> Duration {
            Duration::ZERO
        }
    }

    impl WriteLast for DuplexStream {
        fn poll_write_last(
            self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.poll_write(cx, bytes)
        }
    }

    const TIMEOUTS: Timeouts = Timeouts {
        read: Duration::from_secs(5),
        write: Duration::from_secs(3),
        idle: Duration::from_secs(30),
    };

    fn arrival() -> Arc<LastArrival> {
        Arc::new(LastArrival::new(Arc::new(Pulse::begin(std::time::Instant::now()))))
    }

    /// Runs `connection` under supervision on a paused clock: how it ended, and after how many seconds.
    async fn run<F: Future>(deadlines: &Deadlines, connection: F) -> (Option<Phase>, u64) {
        let begun = Instant::now();
        let outcome = deadlines.supervise(pin!(connection)).await;
        (outcome.err(), begun.elapsed().as_secs())
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_is_given_the_read_timeout_however_its_bytes_drip() {
        let (deadlines, arrival) = (Deadlines::new(TIMEOUTS), arrival());
        let (mut client, server) = duplex(64);
        let mut server = Watched::new(server, deadlines.clone(), arrival);
        let dripping = async {
            loop {
                client.write_all(b"x").await.unwrap();
                assert_eq!(server.read_u8().await.unwrap(), b'x');
                sleep(Duration::from_secs(1)).await;
            }
        };
        assert_eq!(run(&deadlines, dripping).await, (Some(Phase::Head), 5));
    }

    #[tokio::test(start_paused = true)]
    async fn the_next_request_may_take_longer_to_begin_but_not_to_arrive() {
        let (deadlines, arrival) = (Deadlines::new(TIMEOUTS), arrival());
        let (mut client, server) = duplex(64);
        let mut server = Watched::new(server, deadlines.clone(), arrival);
        let next_request = async {
            deadlines.enter(Phase::Reply);
            server.flush().await.unwrap();
            sleep(Duration::from_secs(20)).await;
            client.write_all(b"G").await.unwrap();
            server.read_u8().await.unwrap();
            std::future::pending::<()>().await;
        };
        assert_eq!(run(&deadlines, next_request).await, (Some(Phase::Head), 25));
        deadlines.enter(Phase::Idle);
        assert_eq!(run(&deadlines, std::future::pending::<()>()).await, (Some(Phase::Idle), 30));
    }

    #[tokio::test(start_paused = true)]
    async fn our_own_work_is_not_timed_and_a_client_that_does_not_read_is() {
        let (deadlines, arrival) = (Deadlines::new(TIMEOUTS), arrival());
        let (_client, server) = duplex(64);
        let mut server = Watched::new(server, deadlines.clone(), arrival);
        let stuck = async {
            deadlines.enter(Phase::Answering);
            sleep(Duration::from_secs(100)).await;
            deadlines.enter(Phase::Reply);
            server.write_all(&[0; 1000]).await.unwrap();
        };
        assert_eq!(run(&deadlines, stuck).await, (Some(Phase::Reply), 103));
    }
}
