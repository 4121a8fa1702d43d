//! Replies that are ready after their worker has turned to other packets: those of announces that had to be
//! looked up or recorded first. The look-up or the recorder hands a reply in here and never waits; one thread
//! sends them all, many with one system call.

use std::net::UdpSocket;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};

use super::return_path::ReturnPath;
use super::socket::{BATCH, SendBuffer};
use super::unanswered::Unanswered;
use crate::frontend::metrics::{Dropped, RequestOutcome, UdpMetrics};

/// Replies that wait to be sent. Each is at most one frame: 24 MB when all wait. What finds no room is
/// dropped and counted, because UDP clients repeat.
const MAX_WAITING: usize = 16_384;
/// Bytes of most replies: a header and 50 IPv4 peers.
const USUAL_BYTES: usize = 320;

/// Where late replies are handed in.
#[derive(Debug)]
pub(super) struct LateReplies {
    queue: SyncSender<LateReply>,
    metrics: UdpMetrics,
}

/// What was handed in and is to be sent.
pub(super) type WaitingReplies = Receiver<LateReply>;

/// A reply and its way.
#[derive(Debug)]
pub(super) struct LateReply {
    path: ReturnPath,
    packet: Vec<u8>,
}

impl LateReplies {
    pub(super) fn new(metrics: UdpMetrics) -> (Self, WaitingReplies) {
        let (queue, waiting) = sync_channel(MAX_WAITING);
        (Self { queue, metrics }, waiting)
    }

    /// Answers a request by what `write` appends.
    pub(super) fn answer(&self, request: &Unanswered, write: impl FnOnce(&mut Vec<u8>) -> RequestOutcome) {
        let mut packet = Vec::with_capacity(USUAL_BYTES);
        let verdict = write(&mut packet);
        let took = request.sender.received.elapsed();
        self.metrics.latency.observe(request.action, request.family(), verdict, took);
        match self.queue.try_send(LateReply { path: request.sender.path, packet }) {
            Ok(()) => {}
            // Disconnected only if the sending thread panicked.
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                self.metrics.drop_packets(Dropped::Overloaded, 1);
            }
        }
    }
}

/// Sends late replies until nobody is left who could hand one in.
pub(super) fn send(waiting: &WaitingReplies, socket: &UdpSocket, metrics: &UdpMetrics) {
    let mut replies = SendBuffer::new();
    while let Ok(first) = waiting.recv() {
        for LateReply { path, packet } in std::iter::once(first).chain(waiting.try_iter().take(BATCH - 1)) {
            replies.add(path, |out| out.extend_from_slice(&packet));
        }
        replies.send(socket, metrics);
    }
}
