//! Visits that wait to be shared. Announces put them in from any thread and never wait; when there is no room
//! the oldest go.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::metrics::SharingMetrics;
use crate::swarm::Sighting;

/// Five minutes of a thousand announces a second, some 25 MB.
const MAX_WAITING: usize = 1 << 18;
/// A queue that was longer than this gives its memory back once it is empty.
const KEPT_ROOM: usize = 1 << 12;

/// A visit that waits to be sent, and when it was.
#[derive(Debug, Clone, Copy)]
pub(super) struct WaitingVisit {
    pub(super) sighting: Sighting,
    pub(super) at: Instant,
}

/// The queue between announces and the task that sends.
#[derive(Debug)]
pub struct Outbox {
    queue: Mutex<VecDeque<WaitingVisit>>,
    arrived: Notify,
    closed: AtomicBool,
    metrics: SharingMetrics,
    room: usize,
}

impl Outbox {
    pub(super) fn new(metrics: SharingMetrics) -> Self {
        Self::with_room(MAX_WAITING, metrics)
    }

    fn with_room(room: usize, metrics: SharingMetrics) -> Self {
        let (queue, arrived, closed) = Default::default();
        Self { queue, arrived, closed, metrics, room }
    }

    /// Has others told of a visit that was accepted just now.
    pub fn share(&self, sighting: Sighting, at: Instant) {
        let mut queue = self.queue.lock();
        let was_empty = queue.is_empty();
        queue.push_back(WaitingVisit { sighting, at });
        self.make_room(&mut queue);
        drop(queue);
        // The sender empties the queue before it sleeps: only the first one in needs to wake it.
        if was_empty {
            self.arrived.notify_one();
        }
    }

    /// Nothing more will come: the sender ends once it has sent what waits.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.arrived.notify_one();
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    pub(super) fn len(&self) -> usize {
        self.queue.lock().len()
    }

    /// Waits for visits and takes the oldest, at most so many; none when the outbox is closed and empty.
    pub(super) async fn next(&self, most: usize) -> Vec<WaitingVisit> {
        loop {
            let batch = self.take(most);
            if !batch.is_empty() || self.is_closed() {
                return batch;
            }
            self.arrived.notified().await;
        }
    }

    fn take(&self, most: usize) -> Vec<WaitingVisit> {
        let mut queue = self.queue.lock();
        let count = queue.len().min(most);
        let batch = queue.drain(..count).collect();
        if queue.is_empty() && queue.capacity() > KEPT_ROOM {
            queue.shrink_to(KEPT_ROOM);
        }
        self.show(&queue);
        batch
    }

    /// Puts back what could not be sent, before all that came since.
    pub(super) fn put_back(&self, batch: Vec<WaitingVisit>) {
        let mut queue = self.queue.lock();
        for waiting in batch.into_iter().rev() {
            queue.push_front(waiting);
        }
        self.make_room(&mut queue);
        self.show(&queue);
    }

    fn make_room(&self, queue: &mut VecDeque<WaitingVisit>) {
        while queue.len() > self.room {
            queue.pop_front();
            self.metrics.dropped.inc();
        }
    }

    fn show(&self, queue: &VecDeque<WaitingVisit>) {
        self.metrics.waiting.set(i64::try_from(queue.len()).unwrap_or(i64::MAX));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::announce::Role;
    use contract::{InfoHash, PeerId};
    use prometheus::Registry;

    fn outbox(room: usize) -> Outbox {
        Outbox::with_room(room, SharingMetrics::new(&Registry::new()).unwrap())
    }

    fn sighting(number: u16) -> Sighting {
        Sighting {
            info_hash: InfoHash([1; 20]),
            peer_id: PeerId([2; 20]),
            user: None,
            ip: [192, 0, 2, 1].into(),
            port: number,
            role: Role::Leecher,
            leaving: false,
            completed: false,
        }
    }

    fn ports(batch: &[WaitingVisit]) -> Vec<u16> {
        batch.iter().map(|waiting| waiting.sighting.port).collect()
    }

    #[tokio::test]
    async fn the_oldest_make_room_and_what_was_put_back_is_the_oldest() {
        let outbox = outbox(4);
        (1..=6).for_each(|number| outbox.share(sighting(number), Instant::now()));
        assert_eq!(outbox.metrics.dropped.get(), 2);
        let batch = outbox.next(2).await;
        assert_eq!(ports(&batch), [3, 4]);
        outbox.share(sighting(7), Instant::now());
        outbox.put_back(batch);
        assert_eq!(ports(&outbox.next(9).await), [4, 5, 6, 7]);
        assert_eq!(outbox.metrics.dropped.get(), 3);
    }

    #[tokio::test]
    async fn whoever_waits_is_woken_by_a_visit_and_by_the_end() {
        let outbox = outbox(4);
        let (batch, ()) = tokio::join!(outbox.next(9), async { outbox.share(sighting(1), Instant::now()) });
        assert_eq!(ports(&batch), [1]);
        let (batch, ()) = tokio::join!(outbox.next(9), async { outbox.close() });
        assert!(batch.is_empty());
    }
}
