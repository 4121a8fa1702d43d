//! transmission-daemon on a host of its own, driven by its RPC. The tracker is its only source of peers.

use std::cell::RefCell;
use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::Client;
use crate::{Host, Process, Torrent, http};

const RPC_PORT: u16 = 9091;
const SESSION_HEADER: &str = "x-transmission-session-id";

/// A running transmission-daemon. Killed on drop.
#[derive(Debug)]
pub struct Transmission {
    process: RefCell<Process>,
    url: String,
    folder: TempDir,
}

/// What transmission itself says about one torrent: bytes since the torrent was added, as its users see them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transfer {
    /// `uploadedEver`: whole piece messages, so 13 bytes more than the data for each block it sent.
    pub uploaded: u64,
    /// `downloadedEver`: data received, less what failed its hash check.
    pub downloaded: u64,
    /// `corruptEver`: data received that failed its hash check.
    pub corrupt: u64,
    /// `leftUntilDone`.
    pub left: u64,
    /// `status`: 0 stopped, 4 downloading, 6 seeding, others between these.
    pub status: u64,
}

impl Transmission {
    /// Starts it on `host` and waits for its RPC.
    #[must_use]
    pub fn start(host: &Host) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        fs::create_dir(folder.path().join("files")).unwrap();
        fs::write(folder.path().join("settings.json"), settings(folder.path()).to_string()).unwrap();
        let mut command = host.command("transmission-daemon");
        command.arg("--foreground").arg("--config-dir").arg(folder.path());
        command.envs(host.authority().map(|file| ("CURL_CA_BUNDLE", file)));
        let process = RefCell::new(Process::start("transmission", command, folder.path()));
        let url = format!("http://{}:{RPC_PORT}/transmission/rpc", host.ipv4);
        let client = Self { process, url, folder };
        client.wait_until("transmission answers", || http::get(&client.url));
        client
    }

    /// Where its files are.
    #[must_use]
    pub fn files(&self) -> PathBuf {
        self.folder.path().join("files")
    }

    /// Adds a torrent, which starts at once (and is checked first, when the file is there already).
    pub fn add(&self, torrent: &Torrent, announce_url: &str) {
        let metainfo = BASE64_STANDARD.encode(torrent.metainfo(announce_url));
        self.call("torrent-add", &json!({ "metainfo": metainfo, "paused": false }));
    }

    /// Asks it to announce now; it does once the tracker's min interval is over.
    pub fn reannounce(&self, torrent: &Torrent) {
        self.call("torrent-reannounce", &json!({ "ids": [torrent.info_hash().hex()] }));
    }

    /// Stops the torrent: transmission announces `stopped`.
    pub fn stop(&self, torrent: &Torrent) {
        self.call("torrent-stop", &json!({ "ids": [torrent.info_hash().hex()] }));
    }

    /// Its own figures of the torrent.
    #[must_use]
    pub fn transfer(&self, torrent: &Torrent) -> Transfer {
        let fields = ["uploadedEver", "downloadedEver", "corruptEver", "leftUntilDone", "status"];
        let arguments = json!({ "ids": [torrent.info_hash().hex()], "fields": fields });
        let answer = self.call("torrent-get", &arguments);
        let figure = |field| answer["torrents"][0][field].as_u64().expect("transmission gives the figure");
        let [uploaded, downloaded, corrupt, left, status] = fields.map(figure);
        Transfer { uploaded, downloaded, corrupt, left, status }
    }

    /// Polls until `condition` gives a value; fails at once when transmission dies.
    pub fn wait_until<T>(&self, what: &str, condition: impl FnMut() -> Option<T>) -> T {
        self.process.borrow_mut().wait_until(what, condition)
    }

    /// The first POST without a session id is answered 409 with the id to use: the RPC's guard against
    /// foreign web pages.
    fn call(&self, method: &str, arguments: &Value) -> Value {
        let body = json!({ "method": method, "arguments": arguments });
        let refusal = http::post(&self.url, &[], &body).expect("transmission answers");
        let session = refusal.headers()[SESSION_HEADER].to_str().expect("a session id is ASCII");
        let response =
            http::post(&self.url, &[(SESSION_HEADER, session)], &body).expect("transmission answers");
        let answer: Value = serde_json::from_str(response.body()).expect("transmission speaks JSON");
        assert_eq!(answer["result"], "success", "{method}");
        answer["arguments"].clone()
    }
}

impl Client for Transmission {
    fn name(&self) -> &'static str {
        "transmission"
    }

    fn peer_id_prefix(&self) -> &'static str {
        "-TR"
    }

    fn files(&self) -> PathBuf {
        Transmission::files(self)
    }

    fn share(&self, torrent: &Torrent, announce_url: &str) {
        self.add(torrent, announce_url);
    }

    fn process(&self) -> &RefCell<Process> {
        &self.process
    }
}

fn settings(folder: &Path) -> Value {
    json!({
        "bind-address-ipv6": "::",
        "dht-enabled": false,
        "download-dir": folder.join("files"),
        "incomplete-dir-enabled": false,
        "lpd-enabled": false,
        "pex-enabled": false,
        "port-forwarding-enabled": false,
        "preallocation": 0,
        "rpc-authentication-required": false,
        "rpc-bind-address": "0.0.0.0",
        "rpc-host-whitelist-enabled": false,
        "rpc-port": RPC_PORT,
        "rpc-whitelist-enabled": false,
        "scrape-paused-torrents-enabled": false,
        "utp-enabled": false,
    })
}
