//! Other people's trackers, bare limits and our own, started alike: on a free port, at the server's core,
//! with a configuration as close to each other as they can be made.

mod load;
mod peers;
mod seedbook;

use std::fs::File;
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use harness::free_port;
use tempfile::TempDir;

pub use self::load::{Connections, Filling, Load, Shape, import_passkeys};
pub use peers::{AQUATIC_HTTP, AQUATIC_UDP, BARE_CLOSE, BARE_HTTP, BARE_HYPER, BARE_UDP, OPENTRACKER};
pub use seedbook::{HookSet, consumer, tracker};

use crate::cores::CoreSet;
use crate::workbench::Bench;

/// Where a server's words go, in its own folder.
const LOG: &str = "log";
/// How long a server may take to start.
const START: Duration = Duration::from_secs(20);

/// Over what a tracker is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP.
    Http,
    /// UDP (BEP 15).
    Udp,
}

/// A tracker that can be started beside ours.
#[derive(Debug)]
pub struct Contestant {
    /// What tables call it.
    pub name: &'static str,
    /// Its program.
    pub program: &'static str,
    /// Where it runs.
    pub place: CoreSet,
    /// How it is started: writes its configuration into the folder and adds arguments.
    pub prepare: fn(&mut Command, &Setting<'_>) -> Result<()>,
}

/// What a start of it depends on.
#[derive(Debug)]
pub struct Setting<'a> {
    /// Its own folder, in which it is started.
    folder: &'a Path,
    /// Where it shall listen.
    address: SocketAddr,
    /// What it will be asked about.
    shape: Shape,
}

/// A running server. Killed on drop.
#[derive(Debug)]
pub struct Server {
    child: Child,
    address: SocketAddr,
    folder: TempDir,
}

impl Contestant {
    /// Starts it and waits until it answers; `None`, and a word on stderr, when it is not installed or does
    /// not start.
    pub fn start(&self, bench: &Bench, protocol: Protocol, shape: Shape) -> Option<Server> {
        let Some(program) = bench.program(self.program) else {
            eprintln!("  {} is left out: it is not installed", self.name);
            return None;
        };
        let started = self.started(bench, &program, protocol, shape);
        started.inspect_err(|error| eprintln!("  {} is left out: {error:#}", self.name)).ok()
    }

    fn started(&self, bench: &Bench, program: &Path, protocol: Protocol, shape: Shape) -> Result<Server> {
        let (folder, address) = (bench.folder()?, SocketAddr::from(([127, 0, 0, 1], free_port())));
        let mut command = Command::new(program);
        command.current_dir(folder.path());
        (self.prepare)(&mut command, &Setting { folder: folder.path(), address, shape })?;
        Server::start(bench, self.place, command, folder, (address, protocol))
    }
}

impl Server {
    /// Starts a command at a place and waits until it answers at the address.
    ///
    /// # Errors
    /// When it cannot be put there.
    pub fn start(
        bench: &Bench,
        place: CoreSet,
        mut command: Command,
        folder: TempDir,
        (address, protocol): (SocketAddr, Protocol),
    ) -> Result<Self> {
        let log = File::create(folder.path().join(LOG))?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child = bench.cores.at(place, || command.spawn())?.context("starting a server")?;
        let mut server = Self { child, address, folder };
        let end = Instant::now() + START;
        while answers(address, protocol).is_none() {
            let ended = server.child.try_wait()?;
            ensure!(ended.is_none() && Instant::now() < end, "a server did not start: {}", server.log());
            sleep(Duration::from_millis(20));
        }
        Ok(server)
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join(LOG)).unwrap_or_default()
    }

    /// The process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Errors mean that it is gone already, which is what is wanted.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn answers(address: SocketAddr, protocol: Protocol) -> Option<()> {
    match protocol {
        Protocol::Http => TcpStream::connect(address).ok().map(drop),
        Protocol::Udp => {
            let socket = UdpSocket::bind("127.0.0.1:0").ok()?;
            socket.set_read_timeout(Some(Duration::from_millis(100))).ok()?;
            // A request for a connection id (BEP 15).
            socket.send_to(b"\0\0\x04\x17\x27\x10\x19\x80\0\0\0\0\0\0\0\x01", address).ok()?;
            socket.recv(&mut [0; 64]).ok().map(drop)
        }
    }
}

impl Bench {
    /// Where a program is: beside this one, among the peers that scripts/bench installed, or in the PATH.
    #[must_use]
    pub fn program(&self, name: &str) -> Option<PathBuf> {
        let beside = std::env::current_exe().ok().and_then(|program| program.parent().map(Path::to_owned));
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folders = beside.into_iter().chain([self.peers.clone()]).chain(std::env::split_paths(&path));
        folders.map(|folder| folder.join(name)).find(|file| file.is_file())
    }

    /// As [`Bench::program`], for what must be there.
    ///
    /// # Errors
    /// When it is not.
    pub fn own_program(&self, name: &str) -> Result<PathBuf> {
        self.program(name).with_context(|| format!("{name} is not built: start this with scripts/bench"))
    }
}

/// Writes a file of a server's configuration.
fn write(folder: &Path, name: &str, text: &str) -> Result<PathBuf> {
    let file = folder.join(name);
    std::fs::write(&file, text).with_context(|| format!("writing {name}"))?;
    Ok(file)
}
