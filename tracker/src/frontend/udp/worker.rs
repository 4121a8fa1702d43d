//! The threads that receive and answer, one per core: batch after batch, without ever waiting for anything
//! but the next one.

use std::io;
use std::net::UdpSocket;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::watch;
use tracing::warn;

use super::batch::{Batch, Workspace};
use super::packet;
use super::respond::Frontend;
use super::socket::{Datagram, ReceiveBuffer};
use super::unanswered::Sender;
use crate::frontend::metrics::Dropped;

/// How long a worker pauses whose socket fails.
const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(100);

/// Receives and answers until `stop` turns true. What is in hand then is answered first.
pub(super) fn receive(frontend: &Arc<Frontend>, socket: &UdpSocket, stop: &watch::Receiver<bool>) {
    // A hook's look-up may need timers.
    let _runtime = frontend.runtime.enter();
    let mut received = ReceiveBuffer::new();
    let mut workspace = Workspace::new(frontend.metrics.latency.local());
    while !is_stopped(stop) {
        match received.receive(socket) {
            Ok(()) => answer_batch(frontend, &received, &mut workspace, socket),
            Err(error) if is_idle(&error) => continue,
            Err(error) => {
                warn!(%error, "UDP cannot receive");
                std::thread::sleep(PAUSE_AFTER_ERROR);
            }
        }
    }
}

fn answer_batch(
    frontend: &Arc<Frontend>,
    packets: &ReceiveBuffer,
    workspace: &mut Workspace,
    socket: &UdpSocket,
) {
    let received = Instant::now();
    let unix_secs = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let (policy, rules) = (frontend.policy.load(), frontend.pipeline.rules.load());
    if packets.len() > 1 {
        let announced = |datagram: Datagram<'_>| packet::announced_torrent(datagram.packet?);
        frontend.pipeline.swarms.prefetch(packets.datagrams().filter_map(announced));
    }
    let mut batch = Batch { policy: &policy, rules: &rules, workspace };
    for Datagram { path, packet } in packets.datagrams() {
        let sender = Sender { path, ip: path.to.ip().to_canonical(), received, unix_secs };
        match packet {
            Some(packet) => frontend.answer(packet, sender, &mut batch),
            None => frontend.metrics.drop_packets(Dropped::Oversized, 1),
        }
    }
    workspace.replies.send(socket, &frontend.metrics);
    workspace.note_replies(received);
}

/// The sender gone means the same as told to stop.
fn is_stopped(stop: &watch::Receiver<bool>) -> bool {
    *stop.borrow() || stop.has_changed().is_err()
}

fn is_idle(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted)
}
