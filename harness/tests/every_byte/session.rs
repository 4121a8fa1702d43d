//! A client as its user runs it: one torrent, one peer id, and as many paths as it likes.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use contract::{Event, InfoHash};
use harness::eventually;

use crate::announce::{Asked, Path, Speaker, Transport, Words, over_datagrams};

/// What the reports that these tests repeat called a GB. Small, so that nobody's rate is doubted; yet more
/// than what a client may be off by.
pub(crate) const GB: u64 = 8 << 20;
/// What a leecher still wants; how much does not matter.
const WANTED: u64 = 1 << 40;

/// Between two announces: further apart than the clocks of two trackers.
const APART: Duration = Duration::from_millis(20);

static NUMBER: AtomicU64 = AtomicU64::new(0);

/// Where a tracker listens.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ports {
    pub(crate) http: u16,
    pub(crate) https: u16,
    pub(crate) udp: u16,
}

/// A session, and where it announces.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    pub(crate) speaker: Speaker,
    trackers: Vec<Ports>,
}

/// Twenty letters that nobody else has.
fn letters(prefix: &str) -> [u8; 20] {
    let text = format!("{prefix}{:0>20}", NUMBER.fetch_add(1, Ordering::Relaxed));
    let (head, tail) = (prefix.len(), &text.as_bytes()[prefix.len()..]);
    let mut letters = [0; 20];
    letters[..head].copy_from_slice(prefix.as_bytes());
    letters[head..].copy_from_slice(&tail[head..]);
    letters
}

impl Session {
    pub(crate) fn new(passkey: &str, trackers: Vec<Ports>) -> Self {
        let passkey = passkey.to_owned();
        Self {
            speaker: Speaker { passkey, info_hash: letters("torrent"), peer_id: letters("-RB0001-") },
            trackers,
        }
    }

    /// The same client with another passkey, as after a rotation.
    pub(crate) fn with_passkey(&self, passkey: &str) -> Self {
        let speaker = Speaker { passkey: passkey.to_owned(), ..self.speaker.clone() };
        Self { speaker, trackers: self.trackers.clone() }
    }

    /// Another client of the user, on the same torrent.
    pub(crate) fn second_client(&self) -> Self {
        let speaker = Speaker { peer_id: letters("-RB0001-"), ..self.speaker.clone() };
        Self { speaker, trackers: self.trackers.clone() }
    }

    /// The same client with another of the torrent's info hashes, as of a hybrid.
    pub(crate) fn with_other_hash(&self) -> Self {
        let speaker = Speaker { info_hash: letters("other"), ..self.speaker.clone() };
        Self { speaker, trackers: self.trackers.clone() }
    }

    pub(crate) fn info_hash(&self) -> InfoHash {
        InfoHash(self.speaker.info_hash)
    }

    /// A leecher's announce that is answered.
    pub(crate) fn says(&self, path: Path, event: Event, down: u64) {
        self.tells(path, Words { event, up: 0, down, left: WANTED });
    }

    /// The announce of a client that has `down` and wants no more.
    pub(crate) fn has_all(&self, path: Path, event: Event, down: u64) {
        self.tells(path, Words { event, up: 0, down, left: 0 });
    }

    pub(crate) fn tells(&self, path: Path, words: Words) {
        thread::sleep(APART);
        // A tracker that has just lost Redis refuses for a moment; a client comes back.
        let what = format!("{words:?} over {path:?} is answered");
        eventually(&what, || self.try_to_tell(path, words).ok());
    }

    fn try_to_tell(&self, path: Path, words: Words) -> Result<(), String> {
        let ports = self.trackers[path.tracker];
        if path.transport == Transport::Udp {
            return over_datagrams(&self.speaker, words, ports.udp, path.family)
                .map_err(|error| error.to_string());
        }
        let asked = Asked::send(&self.speaker, words, ports.http, path.family);
        let body = asked.and_then(Asked::answer).map_err(|error| error.to_string())?;
        if body.contains("5:peers") { Ok(()) } else { Err(body) }
    }

    /// Sends a leecher's announce over HTTP and does not wait for the answer.
    pub(crate) fn sends(&self, path: Path, event: Event, down: u64) -> Asked {
        assert_eq!(path.transport, Transport::Http, "only a connection can be hung up");
        let words = Words { event, up: 0, down, left: WANTED };
        Asked::send(&self.speaker, words, self.trackers[path.tracker].http, path.family)
            .expect("the tracker's kernel takes it")
    }
}
