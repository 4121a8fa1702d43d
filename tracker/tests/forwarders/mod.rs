//! Forwarders for tests: real sockets that answer, hang, or misbehave, and remember what they were told.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What a forwarder does with a request.
#[derive(Debug, Clone)]
pub(crate) enum Manner {
    /// Answers with this bencoded body.
    Answers(&'static [u8]),
    /// Reads the request and says nothing.
    Hangs,
    /// Answers something that is neither HTTP nor bencode.
    Rambles,
    /// Answers with far more than anybody asked for.
    Floods,
    /// Sends its answer byte by byte.
    Dawdles(&'static [u8]),
}

/// A running forwarder. Its tasks end with the test's runtime.
#[derive(Debug, Clone)]
pub(crate) struct Forwarder {
    pub(crate) address: SocketAddr,
    heard: Arc<Mutex<Vec<String>>>,
}

impl Forwarder {
    pub(crate) async fn start(manner: Manner) -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").await.unwrap(), manner)
    }

    pub(crate) fn on(listener: TcpListener, manner: Manner) -> Self {
        let forwarder = Self { address: listener.local_addr().unwrap(), heard: Arc::default() };
        let heard = forwarder.heard.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, manner.clone(), heard.clone()));
            }
        });
        forwarder
    }

    /// Whole requests, head and all, in the order in which they came.
    pub(crate) fn heard(&self) -> Vec<String> {
        self.heard.lock().unwrap().clone()
    }

    /// Its entry in a forwarders file.
    pub(crate) fn entry(&self, name: &str) -> String {
        format!("- uri: http://{}/announce\n  name: {name}\n", self.address)
    }
}

async fn serve(mut stream: TcpStream, manner: Manner, heard: Arc<Mutex<Vec<String>>>) {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => request.push(byte),
            Err(_) => return,
        }
    }
    heard.lock().unwrap().push(String::from_utf8_lossy(&request).into_owned());
    // A forwarder that gives up on us closes: writing fails then, which is its right.
    match manner {
        Manner::Answers(body) => {
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
            stream.write_all(&[head.as_bytes(), body].concat()).await.ok();
        }
        Manner::Hangs => std::future::pending().await,
        Manner::Rambles => drop(stream.write_all(b"220 smtp.example ESMTP\r\n\r\n\0\xff").await),
        Manner::Floods => flood(&mut stream).await,
        Manner::Dawdles(body) => {
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.ok();
            for byte in body {
                stream.write_all(&[*byte]).await.ok();
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    }
}

/// Ten megabytes.
async fn flood(stream: &mut TcpStream) {
    stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nd5:peers10000000:").await.ok();
    for _ in 0..10 {
        if stream.write_all(&[b'x'; 1_000_000]).await.is_err() {
            return;
        }
    }
}
