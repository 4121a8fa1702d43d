//! The site's page that trackers ask about passkeys which are not on the whitelist. It knows everybody, and
//! may take its time.

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::Result;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

const LONGEST_REQUEST: usize = 8 * 1024;
const PATIENCE: Duration = Duration::from_secs(10);
const YES: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 14\r\nConnection: close\r\n\r\n{\"valid\":true}";

/// Closed on drop.
#[derive(Debug)]
pub(crate) struct SitePage {
    port: u16,
    delay: watch::Sender<Duration>,
    listening: AbortHandle,
}

impl SitePage {
    pub(crate) async fn open(port: u16) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
        let (delay, delays) = watch::channel(Duration::ZERO);
        let listening = tokio::spawn(async move {
            loop {
                // An error (no file handle left) costs a look-up, which trackers survive.
                if let Ok((stream, _)) = listener.accept().await {
                    tokio::spawn(timeout(PATIENCE, answer(stream, *delays.borrow())));
                }
            }
        })
        .abort_handle();
        Ok(Self { port, delay, listening })
    }

    /// What trackers are given as `http_url`.
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/allowed", self.port)
    }

    /// From now on each look-up takes so long.
    pub(crate) fn takes(&self, delay: Duration) {
        self.delay.send_replace(delay);
    }
}

impl Drop for SitePage {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

/// A tracker that hangs up has no use for an answer.
async fn answer(mut stream: TcpStream, delay: Duration) {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") && request.len() < LONGEST_REQUEST {
        if !matches!(stream.read_buf(&mut request).await, Ok(1..)) {
            return;
        }
    }
    sleep(delay).await;
    stream.write_all(YES.as_bytes()).await.ok();
}
