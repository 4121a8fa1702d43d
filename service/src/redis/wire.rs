//! A connection to Redis on which replies are read as bytes, for a reply that brings thousands of things: the
//! consumer's new entries (`super::stream` says what that saves).
//!
//! One question at a time, in protocol 2. A question that was given up, or whose reply made no sense, ends
//! the connection: what is left of its reply must not be taken for the next one.

use std::io;

use bytes::{Buf, BytesMut};
use contract::config::ServiceUrl;
use redis::{Cmd, RedisError, RedisResult, cmd, parse_redis_value};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::dial::{Stream, dial};
use super::reply::unexpected;
use super::{Timeouts, client};

/// Room made for each read: one system call brings some two hundred entries of a stream.
const ROOM: usize = 128 * 1024;
/// Bytes that may wait for a reader to make something of them.
const MOST_WAITING: usize = 1024 * 1024;

/// How far a reader came with the bytes that are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Bytes that it has done with. The others are shown again, with more behind them.
    pub taken: usize,
    /// Whether the reply ends there.
    pub whole: bool,
}

/// A connection whose replies are read as bytes.
pub struct Wire {
    stream: Box<dyn Stream>,
    received: BytesMut,
    timeouts: Timeouts,
    /// No question is without its whole answer.
    sound: bool,
}

impl Wire {
    /// Opens a connection and makes it ready: password, database.
    ///
    /// # Errors
    /// When the URL cannot be read, or Redis cannot be reached or lets us not in.
    pub async fn open(url: &ServiceUrl, timeouts: Timeouts) -> RedisResult<Self> {
        let client = client(url)?;
        let about = client.get_connection_info();
        let stream = timeout(timeouts.connect, dial(about.addr())).await.map_err(|_| too_late())??;
        let mut wire = Self { stream, received: BytesMut::new(), timeouts, sound: true };
        let settings = about.redis_settings();
        if let Some(password) = settings.password() {
            let mut login = cmd("AUTH");
            login.arg(settings.username()).arg(password);
            wire.ask(&login.get_packed_command(), status).await?;
        }
        if settings.db() != 0 {
            wire.ask(&select(settings.db()).get_packed_command(), status).await?;
        }
        Ok(wire)
    }

    /// Whether another question may be asked.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.sound
    }

    /// Asks (a packed command) and shows `read` what comes until that has the whole reply. A refusal is not
    /// shown: it is the error.
    ///
    /// # Errors
    /// Redis's refusal, which leaves the connection sound; else the connection's own errors, and those of
    /// `read`.
    pub async fn ask(
        &mut self,
        question: &[u8],
        read: impl FnMut(&[u8]) -> RedisResult<Progress>,
    ) -> RedisResult<()> {
        self.sound = false;
        match self.timeouts.response {
            Some(limit) => timeout(limit, self.exchange(question, read)).await.map_err(|_| too_late())?,
            None => self.exchange(question, read).await,
        }
    }

    async fn exchange(
        &mut self,
        question: &[u8],
        mut read: impl FnMut(&[u8]) -> RedisResult<Progress>,
    ) -> RedisResult<()> {
        self.stream.write_all(question).await?;
        self.stream.flush().await?;
        self.receive().await?;
        if self.received.starts_with(b"-") {
            return self.refusal().await;
        }
        loop {
            let progress = read(&self.received)?;
            self.received.advance(progress.taken.min(self.received.len()));
            if progress.whole {
                return self.nothing_is_left();
            }
            self.receive().await?;
        }
    }

    async fn refusal(&mut self) -> RedisResult<()> {
        while !self.received.ends_with(b"\r\n") {
            self.receive().await?;
        }
        let line = self.received.split();
        // A second line in the same breath answers nothing that was asked.
        self.sound = line.iter().filter(|byte| **byte == b'\n').count() == 1;
        parse_redis_value(&line)?.extract_error().map(drop)
    }

    /// Waits for more bytes.
    async fn receive(&mut self) -> RedisResult<()> {
        if self.received.len() >= MOST_WAITING {
            return Err(unexpected("one part of a reply is larger than a reader takes"));
        }
        self.received.reserve(ROOM);
        if self.stream.read_buf(&mut self.received).await? == 0 {
            return Err(io::Error::from(io::ErrorKind::BrokenPipe).into());
        }
        Ok(())
    }

    fn nothing_is_left(&mut self) -> RedisResult<()> {
        self.sound = self.received.is_empty();
        if self.sound { Ok(()) } else { Err(unexpected("Redis said more than it was asked")) }
    }
}

/// Reads a reply of one line.
fn status(bytes: &[u8]) -> RedisResult<Progress> {
    let whole = bytes.ends_with(b"\r\n");
    Ok(Progress { taken: if whole { bytes.len() } else { 0 }, whole })
}

fn select(database: i64) -> Cmd {
    let mut select = cmd("SELECT");
    select.arg(database);
    select
}

fn too_late() -> RedisError {
    io::Error::from(io::ErrorKind::TimedOut).into()
}
