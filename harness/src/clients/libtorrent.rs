//! libtorrent itself on a host of its own, by Debian's Python binding: many torrents, each at many trackers,
//! paused and resumed by the test, and counters as trackers are told them.

use std::cell::RefCell;
use std::fs;
use std::path::PathBuf;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{Host, Process, Torrent, http};

/// Debian's package is for Debian's Python, whichever comes first in the path.
const PYTHON: &str = "/usr/bin/python3";
const DAEMON: &str = include_str!("libtorrent.py");
const PORT: u16 = 6882;

/// A running session. Killed on drop.
#[derive(Debug)]
pub struct LibTorrent {
    process: RefCell<Process>,
    host: Host,
    folder: TempDir,
}

/// What libtorrent says about a torrent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counters {
    /// Bytes sent to peers since the torrent was started or resumed.
    pub up: u64,
    /// Bytes received, likewise.
    pub down: u64,
    /// Whether every piece is there.
    pub has_all: bool,
    /// Whether an announce is under way, on any path.
    pub is_announcing: bool,
}

impl LibTorrent {
    /// Starts it on `host` and waits until it takes orders.
    #[must_use]
    pub fn start(host: &Host) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        fs::create_dir(folder.path().join("files")).unwrap();
        let daemon = folder.path().join("daemon.py");
        fs::write(&daemon, DAEMON).unwrap();
        let mut command = host.command(PYTHON);
        command.arg(daemon).arg(PORT.to_string()).arg(folder.path());
        let process = RefCell::new(Process::start("libtorrent", command, folder.path()));
        let client = Self { process, host: host.clone(), folder };
        client.wait_until("libtorrent takes orders", || http::get(&client.url()));
        client
    }

    /// Where its files are.
    #[must_use]
    pub fn files(&self) -> PathBuf {
        self.folder.path().join("files")
    }

    /// Adds a torrent with these trackers, all of which it announces to at once, downloading at no more than
    /// `bytes_per_s` (0 is unlimited).
    pub fn add(&self, torrent: &Torrent, announce_urls: &[String], bytes_per_s: u64) {
        let metainfo = BASE64_STANDARD.encode(torrent.metainfo(&announce_urls[0]));
        self.order(
            &json!({ "do": "add", "metainfo": metainfo, "urls": announce_urls, "limit": bytes_per_s }),
        );
    }

    /// Has it ask another for pieces, without waiting for a tracker's word.
    pub fn connect(&self, torrent: &Torrent, other: &Self) {
        let peer = other.host.ipv4.to_string();
        self.order(
            &json!({ "do": "connect", "torrent": torrent.info_hash().hex().to_string(), "peer": peer }),
        );
    }

    /// Changes the limit of [`LibTorrent::add`].
    pub fn limit(&self, torrent: &Torrent, bytes_per_s: u64) {
        let torrent = torrent.info_hash().hex().to_string();
        self.order(&json!({ "do": "limit", "torrent": torrent, "bytes_per_s": bytes_per_s }));
    }

    /// Stops a torrent: `stopped` goes over all paths on which no announce is under way.
    pub fn pause(&self, torrent: &Torrent) {
        self.order(&json!({ "do": "pause", "torrent": torrent.info_hash().hex().to_string() }));
    }

    /// Starts a torrent anew; its counters begin at 0.
    pub fn resume(&self, torrent: &Torrent) {
        self.order(&json!({ "do": "resume", "torrent": torrent.info_hash().hex().to_string() }));
    }

    /// Announces to all trackers now, as a user's click does.
    pub fn announce(&self, torrent: &Torrent) {
        self.order(&json!({ "do": "announce", "torrent": torrent.info_hash().hex().to_string() }));
    }

    /// The present counters of a torrent.
    #[must_use]
    pub fn counters(&self, torrent: &Torrent) -> Counters {
        let figures = &self.order(&json!({ "do": "status" }))[&*torrent.info_hash().hex()];
        let figure = |name: &str| figures[name].as_u64().expect("a counter is a number");
        let (has_all, is_announcing) = (figures["has_all"] == true, figures["is_announcing"] == true);
        Counters { up: figure("up"), down: figure("down"), has_all, is_announcing }
    }

    /// Polls until `condition` gives a value; fails at once when libtorrent dies.
    pub fn wait_until<T>(&self, what: &str, condition: impl FnMut() -> Option<T>) -> T {
        self.process.borrow_mut().wait_until(what, condition)
    }

    fn url(&self) -> String {
        format!("http://{}:{PORT}/", self.host.ipv4)
    }

    fn order(&self, order: &Value) -> Value {
        let answer = http::post(&self.url(), &[], order).expect("libtorrent answers");
        assert!(answer.status().is_success(), "{order}: {}", answer.body());
        serde_json::from_str(answer.body()).expect("libtorrent's daemon speaks JSON")
    }
}
