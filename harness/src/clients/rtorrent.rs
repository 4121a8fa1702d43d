//! rTorrent on a host of its own, without its terminal screen, driven by XML-RPC over SCGI.

use std::cell::RefCell;
use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use tempfile::TempDir;

use super::Client;
use crate::{Host, Process, Torrent};

const RPC_PORT: u16 = 5000;
const TIMEOUT: Duration = Duration::from_secs(10);

/// A running rTorrent. Killed on drop.
#[derive(Debug)]
pub struct RTorrent {
    process: RefCell<Process>,
    address: (Ipv4Addr, u16),
    folder: TempDir,
}

impl RTorrent {
    /// Starts it on `host` and waits for its RPC.
    #[must_use]
    pub fn start(host: &Host) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for name in ["files", "session"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        let file = folder.path().join("rtorrent.rc");
        fs::write(&file, settings(folder.path(), host.authority())).unwrap();
        let mut command = host.command("rtorrent");
        // `-n` leaves the user's own file out.
        command.args(["-n", "-o"]).arg(format!("import={}", file.display())).env("HOME", folder.path());
        let process = RefCell::new(Process::start("rtorrent", command, folder.path()));
        let client = Self { process, address: (host.ipv4, RPC_PORT), folder };
        client.until("rTorrent answers", || client.call("system.client_version", ""));
        client
    }

    /// What it says about a torrent's tracker; empty when all is well.
    #[must_use]
    pub fn message(&self, torrent: &Torrent) -> String {
        self.ask("d.message", torrent)
    }

    fn ask(&self, method: &str, torrent: &Torrent) -> String {
        let hash = torrent.info_hash().hex().to_uppercase();
        let parameter = format!("<param><value><string>{hash}</string></value></param>");
        self.call(method, &parameter).expect("rTorrent answers")
    }

    /// The text of the answer; `None` when nothing answers.
    fn call(&self, method: &str, parameters: &str) -> Option<String> {
        let body = format!(
            "<?xml version=\"1.0\"?><methodCall><methodName>{method}</methodName><params>{parameters}</params></methodCall>"
        );
        let answer = self.exchange(body.as_bytes()).ok()?;
        assert!(!answer.contains("<fault>"), "rTorrent refused {method}: {answer}");
        let text = answer.split_once("<value>")?.1.split_once("</value>")?.0;
        Some(text.trim_start_matches("<string>").trim_end_matches("</string>").to_owned())
    }

    /// SCGI: the headers as a netstring of NUL-ended words, then the body.
    fn exchange(&self, body: &[u8]) -> std::io::Result<String> {
        let mut stream = TcpStream::connect(self.address)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        let headers = format!("CONTENT_LENGTH\0{}\0SCGI\x001\0", body.len());
        write!(stream, "{}:{headers},", headers.len())?;
        stream.write_all(body)?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }
}

impl Client for RTorrent {
    fn name(&self) -> &'static str {
        "rTorrent"
    }

    fn peer_id_prefix(&self) -> &'static str {
        "-lt"
    }

    fn files(&self) -> PathBuf {
        self.folder.path().join("files")
    }

    fn share(&self, torrent: &Torrent, announce_url: &str) {
        let metainfo = BASE64_STANDARD.encode(torrent.metainfo(announce_url));
        let parameters = format!(
            "<param><value><string></string></value></param><param><value><base64>{metainfo}</base64></value></param>"
        );
        self.call("load.raw_start_verbose", &parameters).expect("rTorrent answers");
    }

    /// This version keeps `completed` for its next regular announce, which a test does not wait for. An
    /// announce by hand comes at once, tells that nothing is left, and drops the event.
    fn announce_completion(&self, torrent: &Torrent) {
        self.until("rTorrent knows that it is done", || {
            self.ask("d.complete", torrent).contains('1').then_some(())
        });
        self.ask("d.tracker_announce.force", torrent);
    }

    fn process(&self) -> &RefCell<Process> {
        &self.process
    }
}

/// As a daemon it closes its output, so it writes the file that holds every child's output by itself.
fn settings(folder: &Path, authority: Option<&Path>) -> String {
    let (files, session) = (folder.join("files"), folder.join("session"));
    let trust = authority.map(|file| format!("network.http.cacert.set = {}\n", file.display()));
    format!(
        "system.daemon.set = true
directory.default.set = {}
session.path.set = {}
network.scgi.open_port = 0.0.0.0:{RPC_PORT}
network.port_range.set = 6881-6881
dht.mode.set = disable
protocol.pex.set = no
trackers.use_udp.set = yes
network.xmlrpc.size_limit.set = 4M
log.open_file = \"log\", \"{}\"
log.add_output = \"tracker_debug\", \"log\"
log.add_output = \"info\", \"log\"
{}",
        files.display(),
        session.display(),
        folder.join("rtorrent.log").display(),
        trust.unwrap_or_default()
    )
}
