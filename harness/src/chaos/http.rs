//! The HTTP that simulated clients speak: they must know what became of every connection, which HTTP
//! libraries hide.

use std::io;
use std::net::Ipv4Addr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::exchange::{AnnounceCopy, CopyOutcome, SendMode};

/// A tracker that is stopped, or restarted several times, closes what it does not answer long before this.
const FORGOTTEN: Duration = Duration::from_secs(90);
const LONGEST_REPLY: usize = 64 * 1024;

/// A connection to a tracker.
#[derive(Debug)]
pub(crate) struct HttpConnection {
    stream: TcpStream,
    received: Vec<u8>,
}

/// What a tracker said to an announce.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    Answered,
    /// With the failure's text.
    Refused(String),
}

impl HttpConnection {
    pub(crate) async fn connect(port: u16) -> io::Result<Self> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
        Ok(Self { stream, received: Vec::new() })
    }

    pub(crate) async fn send(&mut self, request: &str) -> io::Result<()> {
        self.received.clear();
        self.stream.write_all(request.as_bytes()).await
    }

    /// Says that nothing will follow. The tracker takes it for a client that hung up.
    pub(crate) async fn hang_up(&mut self) -> io::Result<()> {
        self.stream.shutdown().await
    }

    /// Waits for the reply. May be cancelled and called again.
    pub(crate) async fn reply(&mut self) -> io::Result<Reply> {
        loop {
            if let Some(body) = body(&self.received) {
                return judge(body);
            }
            if self.stream.read_buf(&mut self.received).await? == 0 || self.received.len() > LONGEST_REPLY {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// Waits until the tracker can no longer be working on the request: it answered, closed the connection,
    /// or died.
    ///
    /// # Errors
    /// When it did none of that in a minute and a half.
    pub(crate) async fn settled(mut self) -> Result<(), &'static str> {
        let end = timeout(FORGOTTEN, self.reply()).await;
        end.map(drop).map_err(|_| "a tracker neither answered a request nor closed its connection")
    }
}

/// One client's connections to its tracker.
#[derive(Debug, Default)]
pub(crate) struct HttpConnections {
    /// Kept alive for the next announce.
    line: Option<HttpConnection>,
    /// Copies that may still be read.
    open: JoinSet<Result<(), &'static str>>,
}

impl HttpConnections {
    /// Closes the connection that is kept alive.
    pub(crate) fn hang_up(&mut self) {
        self.line = None;
    }

    /// Sends one copy, and waits so long.
    pub(crate) async fn ask(
        &mut self,
        copy: AnnounceCopy<'_>,
        mode: SendMode,
        patience: Duration,
    ) -> CopyOutcome {
        if mode != SendMode::KeepAlive {
            self.line = None;
        }
        let Ok(reply) = timeout(patience, self.exchange(copy, mode)).await else {
            // What was sent may still be read.
            if let Some(line) = self.line.take() {
                self.open.spawn(line.settled());
            }
            return CopyOutcome::Nothing("no answer in time".to_owned());
        };
        if mode != SendMode::KeepAlive || reply.is_err() {
            self.line = None;
        }
        match reply {
            Err(error) => CopyOutcome::Nothing(error.to_string()),
            Ok(Reply::Answered) => CopyOutcome::Answered,
            Ok(Reply::Refused(why)) => CopyOutcome::Refused(why),
        }
    }

    async fn exchange(&mut self, copy: AnnounceCopy<'_>, mode: SendMode) -> io::Result<Reply> {
        let AnnounceCopy { port, passkey, session, announce } = copy;
        let path = format!("/{}/announce?{}", passkey.reveal(), session.query(announce));
        let connection = if mode == SendMode::KeepAlive { "keep-alive" } else { "close" };
        let request = format!("GET {path} HTTP/1.1\r\nHost: tracker\r\nConnection: {connection}\r\n\r\n");
        let line = match &mut self.line {
            Some(line) => line,
            none => none.insert(HttpConnection::connect(port).await?),
        };
        line.send(&request).await?;
        if mode == SendMode::HangUp {
            line.hang_up().await?;
        }
        line.reply().await
    }

    /// Waits until no copy can be read any more. What went wrong with that.
    pub(crate) async fn settle(&mut self) -> Vec<String> {
        let mut complaints = Vec::new();
        while let Some(settled) = self.open.join_next().await {
            if let Ok(Err(complaint)) = settled {
                complaints.push(complaint.to_owned());
            }
        }
        complaints
    }
}

/// The body, once all of it is there.
fn body(received: &[u8]) -> Option<&[u8]> {
    let head_end = received.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let head = String::from_utf8_lossy(&received[..head_end]).to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:"))?;
    received[head_end..].get(..length.trim().parse().ok()?)
}

/// Bencoded dictionaries are sorted, and a failure has no key before its reason.
fn judge(body: &[u8]) -> io::Result<Reply> {
    let text = String::from_utf8_lossy(body);
    if let Some(failure) = text.strip_prefix("d14:failure reason") {
        return Ok(Reply::Refused(failure.to_owned()));
    }
    if text.starts_with('d') && text.contains("5:peers") {
        return Ok(Reply::Answered);
    }
    Err(io::Error::new(io::ErrorKind::InvalidData, format!("no reply to an announce: {text}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_counts_when_all_of_it_is_there() {
        let whole = b"HTTP/1.1 200 OK\r\nContent-Length: 18\r\n\r\nd8:intervali1e5:peers0:e";
        assert_eq!(body(whole), Some(&b"d8:intervali1e5:pe"[..]));
        assert_eq!(body(&whole[..50]), None);
    }

    #[test]
    fn a_failure_is_no_answer() {
        assert_eq!(judge(b"d8:intervali1e5:peers0:e").unwrap(), Reply::Answered);
        assert_eq!(
            judge(b"d14:failure reason4:none8:retry in1:1e").unwrap(),
            Reply::Refused("4:none8:retry in1:1e".into())
        );
        assert!(judge(b"<html>").is_err());
    }
}
