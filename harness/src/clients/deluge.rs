//! deluged on a host of its own, driven by deluge-console.

use std::cell::RefCell;
use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};

use serde_json::json;
use tempfile::TempDir;

use super::Client;
use crate::{Host, Process, Torrent};

const RPC_PORT: u16 = 58846;
/// Longer than Python takes to start on a busy machine.
const TIMEOUT_SECS: &str = "30";
const USER: &str = "tester";
const PASSWORD: &str = "of-a-test-only";

/// A running deluged. Killed on drop.
#[derive(Debug)]
pub struct Deluge {
    process: RefCell<Process>,
    host: Host,
    folder: TempDir,
}

impl Deluge {
    /// Starts it on `host` and waits for its RPC.
    #[must_use]
    pub fn start(host: &Host) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for name in ["files", "console"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        fs::write(folder.path().join("core.conf"), settings(folder.path())).unwrap();
        fs::write(folder.path().join("auth"), format!("{USER}:{PASSWORD}:10\n")).unwrap();
        let mut command = host.command("deluged");
        command.args(["--do-not-daemonize", "--loglevel=info", "--config"]).arg(folder.path());
        command.env("HOME", folder.path());
        command.envs(host.authority().map(|file| ("SSL_CERT_FILE", file)));
        let process = RefCell::new(Process::start("deluge", command, folder.path()));
        let client = Self { process, host: host.clone(), folder };
        // The console waits for ever when it is refused.
        client.until("Deluge listens", || TcpStream::connect((host.ipv4, RPC_PORT)).ok());
        client
    }

    /// What it says about its torrents, with the state of each one's tracker.
    #[must_use]
    pub fn info(&self) -> String {
        self.console("info --verbose").unwrap_or_else(|error| error)
    }

    /// Runs one command of the console; what it printed, which on failure is the error.
    fn console(&self, command: &str) -> Result<String, String> {
        let mut console = self.host.command("timeout");
        console
            .args([TIMEOUT_SECS, "deluge-console"])
            .arg("--config")
            .arg(self.folder.path().join("console"))
            .env("HOME", self.folder.path());
        console.arg(format!("connect 127.0.0.1:{RPC_PORT} {USER} {PASSWORD}; {command}"));
        let output = console.output().map_err(|error| error.to_string())?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        // It exits 0 whatever happens.
        if output.status.success() && !text.contains("Failed to connect") { Ok(text) } else { Err(text) }
    }
}

impl Client for Deluge {
    fn name(&self) -> &'static str {
        "Deluge"
    }

    fn peer_id_prefix(&self) -> &'static str {
        "-DE"
    }

    fn files(&self) -> PathBuf {
        self.folder.path().join("files")
    }

    fn share(&self, torrent: &Torrent, announce_url: &str) {
        let file = self.folder.path().join(format!("{}.torrent", torrent.info_hash().hex()));
        fs::write(&file, torrent.metainfo(announce_url)).unwrap();
        let answer = self.console(&format!("add {}", file.display())).expect("Deluge answers");
        assert!(answer.contains("Torrent added"), "Deluge takes the torrent: {answer}");
    }

    fn process(&self) -> &RefCell<Process> {
        &self.process
    }
}

/// Deluge's files are a version, then the settings.
fn settings(folder: &Path) -> String {
    let settings = json!({
        "allow_remote": true,
        "daemon_port": RPC_PORT,
        "dht": false,
        "download_location": folder.join("files"),
        // Deluge listens on IPv4 only by default, and appends `:PORT` to what is here.
        "listen_interface": "0.0.0.0:6881,[::]",
        "listen_ports": [6881, 6881],
        "lsd": false,
        "natpmp": false,
        "new_release_check": false,
        "random_port": false,
        "upnp": false,
        "utpex": false,
    });
    format!("{}{settings}", json!({ "file": 1, "format": 1 }))
}
