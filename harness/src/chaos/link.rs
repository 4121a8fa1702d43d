//! A TCP proxy between one service and Redis, whose connections can be cut, stalled in one direction or both,
//! and slowed.
//!
//! A stalled connection is not read: its bytes wait in the kernel, and arrive when the stall ends, even if
//! their sender has died since.

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::Result;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::AbortHandle;

use crate::fault::Way;

/// How the connections of a link are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Open,
    /// All are closed, and new ones at once.
    Cut,
    Stalled(Way),
    Slow(Duration),
}

impl Mode {
    fn holds(self, way: Way) -> bool {
        matches!(self, Self::Stalled(stalled) if stalled == Way::Both || stalled == way)
    }
}

/// One proxy. Closed on drop.
#[derive(Debug)]
pub(crate) struct Link {
    port: u16,
    mode: watch::Sender<Mode>,
    listening: AbortHandle,
}

impl Link {
    /// Listens at `port` and leads to `redis_port`, both on loopback.
    pub(crate) async fn open(port: u16, redis_port: u16) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
        let (mode, watching) = watch::channel(Mode::Open);
        let listening = tokio::spawn(listen(listener, redis_port, watching)).abort_handle();
        Ok(Self { port, mode, listening })
    }

    pub(crate) const fn port(&self) -> u16 {
        self.port
    }

    /// Where the service connects to.
    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/0", self.port)
    }

    pub(crate) fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.set(Mode::Cut);
        self.listening.abort();
    }
}

async fn listen(listener: TcpListener, redis_port: u16, mode: watch::Receiver<Mode>) {
    loop {
        match listener.accept().await {
            Ok((service, _)) if *mode.borrow() != Mode::Cut => {
                tokio::spawn(carry(service, redis_port, mode.clone()));
            }
            // Closed at once, which is what a cut link does.
            Ok(_) => {}
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}

/// One connection, until both ends are done or it is cut.
async fn carry(service: TcpStream, redis_port: u16, mut mode: watch::Receiver<Mode>) {
    let Ok(redis) = TcpStream::connect((Ipv4Addr::LOCALHOST, redis_port)).await else { return };
    // Commands are small and wait for their answers; an error only makes them slower.
    service.set_nodelay(true).and_then(|()| redis.set_nodelay(true)).ok();
    let (from_service, to_service) = service.into_split();
    let (from_redis, to_redis) = redis.into_split();
    let there = pump(from_service, to_redis, Way::ToRedis, mode.clone());
    let back = pump(from_redis, to_service, Way::FromRedis, mode.clone());
    tokio::select! {
        ((), ()) = async { tokio::join!(there, back) } => {}
        _ = mode.wait_for(|mode| *mode == Mode::Cut) => {}
    }
}

/// Moves bytes one way while they may flow; ends with the sender, and passes its end on.
async fn pump(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, way: Way, mut mode: watch::Receiver<Mode>) {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        // The value that it gives is locked: it must not live on.
        if mode.wait_for(|mode| !mode.holds(way)).await.map(drop).is_err() {
            return;
        }
        let count = tokio::select! {
            biased;
            _ = mode.changed() => continue,
            count = from.read(&mut buffer) => count,
        };
        let Ok(count @ 1..) = count else { break };
        let now = *mode.borrow_and_update();
        if let Mode::Slow(delay) = now {
            tokio::time::sleep(delay).await;
        }
        if to.write_all(&buffer[..count]).await.is_err() {
            break;
        }
    }
    // The other side is gone when this fails.
    to.shutdown().await.ok();
}

#[cfg(test)]
mod tests {
    use harness::free_port;

    use super::*;

    async fn pair() -> (Link, TcpStream, TcpStream) {
        let far = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let link = Link::open(free_port(), far.local_addr().unwrap().port()).await.unwrap();
        let near = TcpStream::connect((Ipv4Addr::LOCALHOST, link.port)).await.unwrap();
        (link, near, far.accept().await.unwrap().0)
    }

    async fn arrives(stream: &mut TcpStream) -> bool {
        let mut byte = [0];
        tokio::time::timeout(Duration::from_millis(200), stream.read_exact(&mut byte))
            .await
            .is_ok_and(|read| read.is_ok())
    }

    #[tokio::test]
    async fn a_link_stalled_one_way_carries_the_other_and_delivers_late_after_its_sender_left() {
        let (link, mut near, mut far) = pair().await;
        link.set(Mode::Stalled(Way::ToRedis));
        near.write_all(b"a").await.unwrap();
        far.write_all(b"b").await.unwrap();
        assert!(arrives(&mut near).await && !arrives(&mut far).await);
        drop(near);
        link.set(Mode::Open);
        assert!(arrives(&mut far).await, "what was sent before the sender left arrives");
    }

    #[tokio::test]
    async fn a_cut_link_closes_what_stands_and_what_comes() {
        let (link, mut near, _far) = pair().await;
        link.set(Mode::Cut);
        assert_eq!(near.read(&mut [0]).await.unwrap(), 0);
        let mut next = TcpStream::connect((Ipv4Addr::LOCALHOST, link.port)).await.unwrap();
        assert!(!matches!(next.read(&mut [0]).await, Ok(1..)));
    }
}
