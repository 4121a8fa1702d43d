//! The threads: one per core that receives and answers, and one that sends what is ready later.

use std::io;
use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::watch;
use tracing::warn;

use super::batch::{Tools, Turn};
use super::packet;
use super::respond::Frontend;
use super::socket::{BATCH, Datagram, Inbox, Outbox};
use super::unanswered::{Caller, LateReply};
use crate::frontend::metrics::{Dropped, UdpMetrics};

/// How long a worker rests whose socket fails.
const REST: Duration = Duration::from_millis(100);

/// Receives and answers until `stop` turns true. What is in hand then is answered first.
pub(super) fn receive(frontend: &Arc<Frontend>, socket: &UdpSocket, stop: &watch::Receiver<bool>) {
    // A hook's look-up may need timers.
    let _runtime = frontend.runtime.enter();
    let mut inbox = Inbox::new();
    let mut tools = Tools::new(frontend.desk.metrics.latency.local());
    while !is_stopped(stop) {
        match inbox.receive(socket) {
            Ok(()) => take_turn(frontend, &inbox, &mut tools, socket),
            Err(error) if is_idle(&error) => continue,
            Err(error) => {
                warn!(%error, "UDP cannot receive");
                std::thread::sleep(REST);
            }
        }
    }
}

fn take_turn(frontend: &Arc<Frontend>, inbox: &Inbox, tools: &mut Tools, socket: &UdpSocket) {
    let received = Instant::now();
    let unix_secs = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let (policy, rules) = (frontend.policy.load(), frontend.pipeline.rules.load());
    if inbox.len() > 1 {
        let announced = |datagram: Datagram<'_>| packet::announced_torrent(datagram.packet?);
        frontend.pipeline.swarms.foresee(inbox.datagrams().filter_map(announced));
    }
    let mut turn = Turn { policy: &policy, rules: &rules, tools };
    for Datagram { from, packet } in inbox.datagrams() {
        let caller = Caller { from, ip: from.to.ip().to_canonical(), received, unix_secs };
        match packet {
            Some(packet) => frontend.answer(packet, caller, &mut turn),
            None => frontend.desk.metrics.drop_packets(Dropped::Oversized, 1),
        }
    }
    send(&mut tools.replies, socket, &frontend.desk.metrics);
    tools.note_replies(received);
}

/// Sends late replies until nobody is left who could hand one in.
pub(super) fn send_late(late: &Receiver<LateReply>, socket: &UdpSocket, metrics: &UdpMetrics) {
    let mut replies = Outbox::new();
    while let Ok(first) = late.recv() {
        for LateReply { path, packet } in std::iter::once(first).chain(late.try_iter().take(BATCH - 1)) {
            replies.add(path, |out| out.extend_from_slice(&packet));
        }
        send(&mut replies, socket, metrics);
    }
}

fn send(replies: &mut Outbox, socket: &UdpSocket, metrics: &UdpMetrics) {
    let unsent = replies.send(socket);
    if unsent > 0 {
        metrics.drop_packets(Dropped::Unsent, unsent);
    }
}

/// The sender gone means the same as told to stop.
fn is_stopped(stop: &watch::Receiver<bool>) -> bool {
    *stop.borrow() || stop.has_changed().is_err()
}

fn is_idle(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted)
}
