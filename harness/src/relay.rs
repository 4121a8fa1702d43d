//! A way to a server that can be made slow or cut: TCP connections or UDP packets, passed on in order after
//! a delay.
//!
//! Only what goes to the server waits. A client cannot tell that from a network that is slow both ways.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

/// Pieces under way on one connection; the sender waits when there are more.
const UNDER_WAY: usize = 1024;
const LARGEST_PACKET: usize = 2048;

/// How a relay is.
#[derive(Debug, Clone, Copy)]
struct Mode {
    open: bool,
    delay: Duration,
}

/// A relay that listens until it is dropped.
#[derive(Debug)]
pub struct Relay {
    address: SocketAddr,
    mode: watch::Sender<Mode>,
    _runtime: Runtime,
}

impl Relay {
    /// Passes connections to `listen` on to `server`. Port 0 is any that is free.
    #[must_use]
    pub fn tcp(listen: SocketAddr, server: SocketAddr) -> Self {
        let runtime = runtime();
        let listener = runtime.block_on(TcpListener::bind(listen)).expect("a relay can listen");
        let address = listener.local_addr().expect("a listener has an address");
        let (mode, watching) = watch::channel(Mode { open: true, delay: Duration::ZERO });
        runtime.spawn(accept(listener, server, watching));
        Self { address, mode, _runtime: runtime }
    }

    /// Passes packets to `listen` on to `server`, and each answer back to whom it is for.
    #[must_use]
    pub fn udp(listen: SocketAddr, server: SocketAddr) -> Self {
        let runtime = runtime();
        let socket = runtime.block_on(UdpSocket::bind(listen)).expect("a relay can listen");
        let address = socket.local_addr().expect("a socket has an address");
        let (mode, watching) = watch::channel(Mode { open: true, delay: Duration::ZERO });
        runtime.spawn(pass_packets(Arc::new(socket), server, watching));
        Self { address, mode, _runtime: runtime }
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// What is sent from now on arrives so much later.
    pub fn delay(&self, delay: Duration) {
        self.mode.send_modify(|mode| mode.delay = delay);
    }

    /// Closes all connections and takes none, until [`Self::mend`].
    pub fn cut(&self) {
        self.mode.send_modify(|mode| mode.open = false);
    }

    /// Lets everything through again.
    pub fn mend(&self) {
        self.mode.send_modify(|mode| mode.open = true);
    }
}

fn runtime() -> Runtime {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(1).enable_all().build().expect("a thread can be started")
}

async fn accept(listener: TcpListener, server: SocketAddr, mode: watch::Receiver<Mode>) {
    loop {
        match listener.accept().await {
            Ok((client, _)) if mode.borrow().open => drop(tokio::spawn(carry(client, server, mode.clone()))),
            // Closed at once, which is what a cut way does.
            Ok(_) => {}
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}

/// One connection, until both ends are done or the way is cut.
async fn carry(client: TcpStream, server: SocketAddr, mut mode: watch::Receiver<Mode>) {
    let Ok(server) = TcpStream::connect(server).await else { return };
    // Announces are small and wait for their answers; an error only makes them slower.
    client.set_nodelay(true).and_then(|()| server.set_nodelay(true)).ok();
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let there = pump(from_client, to_server, Some(mode.clone()));
    let back = pump(from_server, to_client, None);
    tokio::select! {
        ((), ()) = async { tokio::join!(there, back) } => {}
        _ = mode.wait_for(|mode| !mode.open) => {}
    }
}

/// Moves bytes one way, each piece after the delay that was in force when it came, and passes the end on.
async fn pump(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mode: Option<watch::Receiver<Mode>>) {
    let (give, mut take) = mpsc::channel::<(Instant, Vec<u8>)>(UNDER_WAY);
    let read = async move {
        let mut buffer = vec![0; 16 * 1024];
        while let Ok(count @ 1..) = from.read(&mut buffer).await {
            let piece = (due(mode.as_ref()), buffer[..count].to_vec());
            if give.send(piece).await.is_err() {
                return;
            }
        }
        // The end is as late as everything before it.
        sleep_until(due(mode.as_ref())).await;
    };
    let write = async move {
        while let Some((due, piece)) = take.recv().await {
            sleep_until(due).await;
            if to.write_all(&piece).await.is_err() {
                return;
            }
        }
        // The other side is gone when this fails.
        to.shutdown().await.ok();
    };
    tokio::join!(read, write);
}

fn due(mode: Option<&watch::Receiver<Mode>>) -> Instant {
    Instant::now() + mode.map_or(Duration::ZERO, |mode| mode.borrow().delay)
}

/// Each client has a socket of its own towards the server, so that answers find back.
async fn pass_packets(socket: Arc<UdpSocket>, server: SocketAddr, mode: watch::Receiver<Mode>) {
    let mut clients: HashMap<SocketAddr, Arc<UdpSocket>> = HashMap::new();
    let mut packet = [0; LARGEST_PACKET];
    while let Ok((length, client)) = socket.recv_from(&mut packet).await {
        if !mode.borrow().open {
            continue;
        }
        let upstream = match clients.get(&client) {
            Some(upstream) => upstream.clone(),
            None => {
                let Ok(upstream) = towards(server).await else { continue };
                tokio::spawn(pass_back(upstream.clone(), socket.clone(), client));
                clients.insert(client, upstream.clone());
                upstream
            }
        };
        let (due, packet) = (due(Some(&mode)), packet[..length].to_vec());
        tokio::spawn(async move {
            sleep_until(due).await;
            // Packets get lost.
            upstream.send(&packet).await.ok();
        });
    }
}

async fn towards(server: SocketAddr) -> io::Result<Arc<UdpSocket>> {
    let any: IpAddr = match server {
        SocketAddr::V4(_) => [0; 4].into(),
        SocketAddr::V6(_) => [0; 16].into(),
    };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(server).await?;
    Ok(Arc::new(socket))
}

async fn pass_back(upstream: Arc<UdpSocket>, socket: Arc<UdpSocket>, client: SocketAddr) {
    let mut packet = [0; LARGEST_PACKET];
    loop {
        // A server that is away says so by an error; it may come back.
        match upstream.recv(&mut packet).await {
            Ok(length) => drop(socket.send_to(&packet[..length], client).await),
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{Ipv4Addr, TcpListener as Server, TcpStream as Client, UdpSocket as Socket};

    use super::*;

    const ANY: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
    const DELAY: Duration = Duration::from_millis(100);

    #[test]
    fn what_is_sent_on_a_slow_way_arrives_late_and_on_a_cut_one_not_at_all() {
        let server = Server::bind(ANY).unwrap();
        let relay = Relay::tcp(ANY, server.local_addr().unwrap());
        relay.delay(DELAY);
        let mut near = Client::connect(relay.address()).unwrap();
        let (mut far, _) = server.accept().unwrap();
        let sent = std::time::Instant::now();
        near.write_all(b"a").unwrap();
        far.read_exact(&mut [0]).unwrap();
        assert!(sent.elapsed() >= DELAY);
        relay.cut();
        assert!(!matches!(far.read(&mut [0]), Ok(1..)));
    }

    #[test]
    fn packets_are_late_too_and_answers_find_back() {
        let server = Socket::bind(ANY).unwrap();
        let relay = Relay::udp(ANY, server.local_addr().unwrap());
        relay.delay(DELAY);
        let client = Socket::bind(ANY).unwrap();
        client.connect(relay.address()).unwrap();
        let sent = std::time::Instant::now();
        client.send(b"a").unwrap();
        let (_, from) = server.recv_from(&mut [0]).unwrap();
        assert!(sent.elapsed() >= DELAY);
        server.send_to(b"b", from).unwrap();
        assert_eq!(client.recv(&mut [0]).unwrap(), 1);
    }
}
