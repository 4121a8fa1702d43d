//! qbittorrent-nox on a host of its own, driven by its Web API.

use std::cell::RefCell;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;

use super::Client;
use crate::{Host, Process, Torrent, http};

const API_PORT: u16 = 8080;
const BOUNDARY: &str = "seedbook-boundary-of-a-form";

/// A running qbittorrent-nox. Killed on drop.
#[derive(Debug)]
pub struct QBittorrent {
    process: RefCell<Process>,
    url: String,
    folder: TempDir,
}

impl QBittorrent {
    /// Starts it on `host` and waits for its API, which every host of the test's network may use.
    #[must_use]
    pub fn start(host: &Host) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        fs::create_dir(folder.path().join("files")).unwrap();
        let config = folder.path().join("qBittorrent/config");
        fs::create_dir_all(&config).unwrap();
        fs::write(config.join("qBittorrent.conf"), settings(folder.path())).unwrap();
        let mut command = host.command("qbittorrent-nox");
        command.arg(format!("--profile={}", folder.path().display())).env("HOME", folder.path());
        // OpenSSL's variable: libtorrent takes its authorities from there.
        command.envs(host.authority().map(|file| ("SSL_CERT_FILE", file)));
        let process = RefCell::new(Process::start("qbittorrent", command, folder.path()));
        let client = Self { process, url: format!("http://{}:{API_PORT}/api/v2", host.ipv4), folder };
        client.until("qBittorrent answers", || {
            http::get(&format!("{}/app/version", client.url)).filter(|(status, _)| *status == 200)
        });
        client
    }

    /// What it says about the trackers of a torrent: URL, status and message of each.
    #[must_use]
    pub fn trackers(&self, torrent: &Torrent) -> Value {
        let url = format!("{}/torrents/trackers?hash={}", self.url, torrent.info_hash().hex());
        let (_, text) = http::get(&url).expect("qBittorrent answers");
        serde_json::from_str(&text).unwrap_or(Value::Null)
    }
}

impl Client for QBittorrent {
    fn name(&self) -> &'static str {
        "qBittorrent"
    }

    fn peer_id_prefix(&self) -> &'static str {
        "-qB"
    }

    fn files(&self) -> PathBuf {
        self.folder.path().join("files")
    }

    fn share(&self, torrent: &Torrent, announce_url: &str) {
        let form_type = format!("multipart/form-data; boundary={BOUNDARY}");
        let form = form(&torrent.metainfo(announce_url));
        let answer = http::post_bytes(&format!("{}/torrents/add", self.url), &form_type, &form);
        assert_eq!(answer.as_deref(), Some("Ok."), "qBittorrent takes the torrent");
    }

    fn process(&self) -> &RefCell<Process> {
        &self.process
    }
}

/// A form with one file, as a browser sends it.
fn form(metainfo: &[u8]) -> Vec<u8> {
    let head = format!(
        "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"torrents\"; filename=\"t.torrent\"\r\n\
         Content-Type: application/x-bittorrent\r\n\r\n"
    );
    [head.as_bytes(), metainfo, format!("\r\n--{BOUNDARY}--\r\n").as_bytes()].concat()
}

fn settings(folder: &Path) -> String {
    format!(
        "[LegalNotice]
Accepted=true

[BitTorrent]
Session\\BTProtocol=TCP
Session\\DHTEnabled=false
Session\\DefaultSavePath={}
Session\\LSDEnabled=false
Session\\PeXEnabled=false
Session\\Port=6881
Session\\Preallocation=false
Session\\QueueingSystemEnabled=false
Session\\ValidateHTTPSTrackerCertificate=true

[Network]
PortForwardingEnabled=false

[Preferences]
WebUI\\Address=*
WebUI\\AuthSubnetWhitelist=0.0.0.0/0
WebUI\\AuthSubnetWhitelistEnabled=true
WebUI\\CSRFProtection=false
WebUI\\HostHeaderValidation=false
WebUI\\Port={API_PORT}
WebUI\\UseUPnP=false
",
        folder.join("files").display()
    )
}
