//! aria2 on a host of its own, driven by its RPC. The tracker is its only source of peers.

use std::cell::RefCell;
use std::fs;
use std::path::PathBuf;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::Client;
use crate::{Host, Process, Torrent, http};

const RPC_PORT: u16 = 6800;

/// A running aria2c with one torrent. Killed on drop.
#[derive(Debug)]
pub struct Aria2 {
    process: RefCell<Process>,
    url: String,
    folder: TempDir,
}

/// What aria2 itself says about a download.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Download {
    /// Data bytes sent to peers, without message headers.
    pub uploaded: u64,
    /// Bytes that are on disk and passed their hash check.
    pub completed: u64,
    /// `active`, `waiting`, `paused`, `error`, `complete` or `removed`.
    pub status: String,
}

/// A download's handle in aria2.
pub type Gid = String;

impl Aria2 {
    /// Starts it on `host`, downloading at no more than `bytes_per_s` (0 is unlimited), and waits for its
    /// RPC.
    #[must_use]
    pub fn start(host: &Host, bytes_per_s: u64) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        fs::create_dir(folder.path().join("files")).unwrap();
        let mut command = host.command("aria2c");
        command
            .args([
                "--no-conf",
                "--enable-rpc",
                "--rpc-listen-all",
                "--console-log-level=info",
                "--summary-interval=0",
            ])
            // Without DHT there are no UDP trackers either. It knows no other node, and our torrents are
            // private.
            .args(["--enable-dht=true", "--enable-dht6=false", "--bt-enable-lpd=false"])
            .arg(format!("--dht-file-path={}", folder.path().join("dht.dat").display()))
            .args(["--enable-peer-exchange=false", "--seed-ratio=0", "--file-allocation=none"])
            .args(["--check-integrity=true", "--allow-overwrite=true"])
            .args(host.authority().map(|file| format!("--ca-certificate={}", file.display())))
            .arg(format!("--rpc-listen-port={RPC_PORT}"))
            .arg(format!("--max-overall-download-limit={bytes_per_s}"))
            .arg(format!("--stop-with-process={}", std::process::id()))
            .arg(format!("--dir={}", folder.path().join("files").display()));
        let process = RefCell::new(Process::start("aria2", command, folder.path()));
        let client = Self { process, url: format!("http://{}:{RPC_PORT}/jsonrpc", host.ipv4), folder };
        client.wait_until("aria2 answers", || http::get(&client.url));
        client
    }

    /// Where its files are.
    #[must_use]
    pub fn files(&self) -> PathBuf {
        self.folder.path().join("files")
    }

    /// Adds a torrent, which starts at once (and is checked first, when the file is there already).
    pub fn add(&self, torrent: &Torrent, announce_url: &str) -> Gid {
        let metainfo = BASE64_STANDARD.encode(torrent.metainfo(announce_url));
        let gid = self.call("aria2.addTorrent", &json!([metainfo]));
        gid.as_str().expect("a gid is a string").to_owned()
    }

    /// Changes the limit of [`Aria2::start`].
    pub fn limit_download(&self, bytes_per_s: u64) {
        let options = json!({ "max-overall-download-limit": bytes_per_s.to_string() });
        self.call("aria2.changeGlobalOption", &json!([options]));
    }

    /// Stops a download: aria2 announces `stopped`, and keeps the figures.
    pub fn stop(&self, gid: &Gid) {
        self.call("aria2.remove", &json!([gid]));
    }

    /// Its own figures of the download.
    #[must_use]
    pub fn download(&self, gid: &Gid) -> Download {
        let answer = self.call("aria2.tellStatus", &json!([gid]));
        let text = |field: &str| answer[field].as_str().expect("aria2 gives every figure as text").to_owned();
        let figure = |field: &str| text(field).parse().expect("aria2 gives a number");
        Download {
            uploaded: figure("uploadLength"),
            completed: figure("completedLength"),
            status: text("status"),
        }
    }

    /// Polls until `condition` gives a value; fails at once when aria2 dies.
    pub fn wait_until<T>(&self, what: &str, condition: impl FnMut() -> Option<T>) -> T {
        self.process.borrow_mut().wait_until(what, condition)
    }

    fn call(&self, method: &str, parameters: &Value) -> Value {
        let body = json!({ "jsonrpc": "2.0", "id": method, "method": method, "params": parameters });
        let response = http::post(&self.url, &[], &body).expect("aria2 answers");
        let answer: Value = serde_json::from_str(response.body()).expect("aria2 speaks JSON");
        assert!(answer["error"].is_null(), "{method}: {}", answer["error"]);
        answer["result"].clone()
    }
}

impl Client for Aria2 {
    fn name(&self) -> &'static str {
        "aria2"
    }

    fn peer_id_prefix(&self) -> &'static str {
        "A2-"
    }

    fn files(&self) -> PathBuf {
        Aria2::files(self)
    }

    fn share(&self, torrent: &Torrent, announce_url: &str) {
        self.add(torrent, announce_url);
    }

    fn process(&self) -> &RefCell<Process> {
        &self.process
    }
}
