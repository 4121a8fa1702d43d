//! The HTTP that simulated clients speak: they hang up in the middle, which HTTP libraries do not.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::exchange::{AnnounceCopy, CopyOutcome, Route, SendMode};

const LONGEST_REPLY: usize = 64 * 1024;

/// A connection to a tracker.
#[derive(Debug)]
struct HttpConnection {
    stream: TcpStream,
    received: Vec<u8>,
}

/// What a tracker said to an announce.
#[derive(Debug, PartialEq, Eq)]
enum Reply {
    Answered,
    /// With the failure's text.
    Refused(String),
}

impl HttpConnection {
    async fn connect(route: Route) -> io::Result<Self> {
        let stream = TcpStream::connect(route.target()).await?;
        Ok(Self { stream, received: Vec::new() })
    }

    async fn send(&mut self, request: &str) -> io::Result<()> {
        self.received.clear();
        self.stream.write_all(request.as_bytes()).await
    }

    async fn reply(&mut self) -> io::Result<Reply> {
        loop {
            if let Some(body) = body(&self.received) {
                return judge(body);
            }
            if self.stream.read_buf(&mut self.received).await? == 0 || self.received.len() > LONGEST_REPLY {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
}

/// One client's connections to its tracker, one at a time.
#[derive(Debug)]
pub(crate) struct HttpConnections {
    route: Route,
    /// Kept alive for the next announce.
    line: Option<HttpConnection>,
}

impl HttpConnections {
    pub(crate) fn new(route: Route) -> Self {
        Self { route, line: None }
    }

    /// Closes the connection, whatever is under way on it.
    pub(crate) fn hang_up(&mut self) {
        self.line = None;
    }

    /// Sends one copy and waits for the answer.
    pub(crate) async fn ask(&mut self, copy: &AnnounceCopy, mode: SendMode) -> CopyOutcome {
        if mode != SendMode::KeepAlive {
            self.line = None;
        }
        let reply = self.exchange(copy, mode).await;
        if mode != SendMode::KeepAlive {
            self.line = None;
        }
        match reply {
            Err(error) => CopyOutcome::Nothing(error.to_string()),
            Ok(Reply::Answered) => CopyOutcome::Answered,
            Ok(Reply::Refused(why)) => CopyOutcome::Refused(why),
        }
    }

    async fn exchange(&mut self, copy: &AnnounceCopy, mode: SendMode) -> io::Result<Reply> {
        let connection = if mode == SendMode::KeepAlive { "keep-alive" } else { "close" };
        let request =
            format!("GET {} HTTP/1.1\r\nHost: tracker\r\nConnection: {connection}\r\n\r\n", copy.url());
        let line = match &mut self.line {
            Some(line) => line,
            none => none.insert(HttpConnection::connect(self.route).await?),
        };
        line.send(&request).await?;
        if mode == SendMode::HangUp {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        line.reply().await
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
