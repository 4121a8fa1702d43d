//! The threads that receive and answer, one per core: batch after batch, without ever waiting for anything
//! but the next one.

use std::io;
use std::net::UdpSocket;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tracing::warn;

use super::batch::{Batch, Workspace};
use super::packet;
use super::respond::Frontend;
use super::socket::{Datagram, ReceiveBuffer};
use super::stamps::{Clocks, Stamps};
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
    let mut stamps = Stamps::begin(Clocks::read());
    while !is_stopped(stop) {
        match received.receive(socket) {
            Ok(()) => {
                stamps.read(Clocks::read());
                answer_batch(frontend, &received, &stamps, &mut workspace, socket);
                stamps.done(received.has_room());
            }
            Err(error) if is_idle(&error) => {
                stamps.read(Clocks::read());
                stamps.done(true);
            }
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
    stamps: &Stamps,
    workspace: &mut Workspace,
    socket: &UdpSocket,
) {
    let Clocks { now: received, unix } = stamps.clocks();
    let (policy, rules) = (frontend.policy.load(), frontend.pipeline.rules.load());
    if packets.len() > 1 {
        let announced = |datagram: Datagram<'_>| packet::announced_torrent(datagram.packet?);
        frontend.pipeline.swarms.prefetch(packets.datagrams().filter_map(announced));
    }
    let mut batch = Batch { policy: &policy, rules: &rules, workspace };
    for Datagram { path, stamp, packet } in packets.datagrams() {
        let arrived = stamps.arrival(stamp);
        let ip = path.to.ip().to_canonical();
        let sender = Sender { path, ip, arrived, received, unix_secs: unix.as_secs() };
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
