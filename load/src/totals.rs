//! The counts of one worker: requests, bytes, latencies, and failures by their text.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use parking_lot::Mutex;

/// Different failures told apart; a tracker that words each one anew fills no memory.
const MAX_TEXTS: usize = 32;
const MAX_TEXT_CHARS: usize = 80;
const OTHER: &str = "other failures";
/// Latencies are kept from a microsecond to ten minutes, exact to a thousandth.
const LONGEST_NANOSECONDS: u64 = 600_000_000_000;

/// Totals that one worker writes and whoever shows the progress reads.
pub(crate) type Shared = Arc<Mutex<Totals>>;

/// What came of requests.
#[derive(Debug, Clone)]
pub(crate) struct Totals {
    pub(crate) sent: u64,
    /// Answered with what was asked for.
    pub(crate) granted: u64,
    /// Answered with a failure reason.
    pub(crate) refused: u64,
    /// Without an answer.
    pub(crate) lost: u64,
    /// Due in an open loop, and never sent.
    pub(crate) unsent: u64,
    /// Requests sent again on a new connection, because the server closed the old one meanwhile.
    pub(crate) reopened: u64,
    /// Of requests and replies, without what TCP, UDP and IP add.
    pub(crate) bytes_out: u64,
    pub(crate) bytes_in: u64,
    /// Peers in those replies that were looked into, and how many replies these were.
    pub(crate) peers: (u64, u64),
    pub(crate) latency: Histogram<u64>,
    pub(crate) failures: BTreeMap<String, u64>,
    /// When the last reply came.
    pub(crate) last_reply: Option<Instant>,
}

/// What a reply was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict<'a> {
    /// As asked; with the number of peers, if somebody counted.
    Granted(Option<u64>),
    /// A failure reason.
    Refused(&'a [u8]),
}

impl Totals {
    pub(crate) fn new() -> Self {
        let latency = Histogram::new_with_bounds(1000, LONGEST_NANOSECONDS, 3);
        Self {
            sent: 0,
            granted: 0,
            refused: 0,
            lost: 0,
            unsent: 0,
            reopened: 0,
            bytes_out: 0,
            bytes_in: 0,
            peers: (0, 0),
            latency: latency.unwrap_or_else(|_| unreachable!("the bounds are constants in order")),
            failures: BTreeMap::new(),
            last_reply: None,
        }
    }

    pub(crate) fn answered(&self) -> u64 {
        self.granted + self.refused
    }

    /// A whole reply arrived.
    pub(crate) fn reply(&mut self, verdict: Verdict<'_>, bytes: usize, due: Instant, now: Instant) {
        let waited = now.saturating_duration_since(due);
        self.latency.saturating_record(u64::try_from(waited.as_nanos()).unwrap_or(u64::MAX));
        self.bytes_in += bytes as u64;
        self.last_reply = Some(now);
        match verdict {
            Verdict::Granted(peers) => {
                self.granted += 1;
                if let Some(peers) = peers {
                    self.peers = (self.peers.0 + peers, self.peers.1 + 1);
                }
            }
            Verdict::Refused(reason) => {
                self.refused += 1;
                self.failure(&clean(reason));
            }
        }
    }

    /// A request was given up, because of this.
    pub(crate) fn lose(&mut self, why: &str) {
        self.lost += 1;
        self.failure(why);
    }

    fn failure(&mut self, text: &str) {
        let text =
            if self.failures.len() < MAX_TEXTS || self.failures.contains_key(text) { text } else { OTHER };
        match self.failures.get_mut(text) {
            Some(count) => *count += 1,
            None => drop(self.failures.insert(text.to_owned(), 1)),
        }
    }

    /// Adds what another worker measured.
    pub(crate) fn add(&mut self, other: &Self) {
        self.sent += other.sent;
        self.granted += other.granted;
        self.refused += other.refused;
        self.lost += other.lost;
        self.unsent += other.unsent;
        self.reopened += other.reopened;
        self.bytes_out += other.bytes_out;
        self.bytes_in += other.bytes_in;
        self.peers = (self.peers.0 + other.peers.0, self.peers.1 + other.peers.1);
        self.last_reply = self.last_reply.max(other.last_reply);
        self.latency += &other.latency;
        for (text, count) in &other.failures {
            *self.failures.entry(text.clone()).or_default() += count;
        }
    }

    /// All workers' figures together.
    pub(crate) fn sum<'a>(totals: impl IntoIterator<Item = &'a Shared>) -> Self {
        let mut sum = Self::new();
        totals.into_iter().for_each(|totals| sum.add(&totals.lock()));
        sum
    }

    /// The latency that this share (0 to 1) of the replies kept within.
    pub(crate) fn quantile(&self, share: f64) -> Duration {
        Duration::from_nanos(self.latency.value_at_quantile(share))
    }
}

/// A tracker's words for a terminal: short, and without control characters.
fn clean(reason: &[u8]) -> String {
    String::from_utf8_lossy(reason).replace(char::is_control, ".").chars().take(MAX_TEXT_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_counted_by_text_and_cannot_fill_memory() {
        let mut totals = Totals::new();
        let now = Instant::now();
        for number in 0..1000 {
            totals.reply(Verdict::Refused(format!("refusal {number}\x1b[m").as_bytes()), 10, now, now);
        }
        totals.lose("no answer");
        assert_eq!((totals.refused, totals.lost, totals.answered()), (1000, 1, 1000));
        assert_eq!(totals.failures.len(), MAX_TEXTS + 1);
        assert_eq!(totals.failures["refusal 0.[m"], 1);
        assert_eq!(totals.failures[OTHER], 1001 - 32);
    }

    #[test]
    fn workers_figures_add_up() {
        let (mut one, mut other) = (Totals::new(), Totals::new());
        let due = Instant::now();
        one.reply(Verdict::Granted(Some(50)), 100, due, due + Duration::from_millis(1));
        other.reply(Verdict::Granted(None), 100, due, due + Duration::from_millis(9));
        one.add(&other);
        assert_eq!((one.granted, one.bytes_in, one.peers), (2, 200, (50, 1)));
        assert!(
            one.quantile(1.0) >= Duration::from_millis(9) && one.quantile(0.5) < Duration::from_millis(2)
        );
    }
}
