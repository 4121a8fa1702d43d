//! The client of every contest: what `trackerctl load` runs, at the driver's core.

use std::process::Command;
use std::time::Duration;

use ::load::{Closing, Rest, Results, Stop, Swarms};
use anyhow::{Result, ensure};
use harness::RedisServer;

use super::{Protocol, Server};
use crate::cores::CoreSet;
use crate::workbench::Bench;

/// Users whose passkeys are made up.
const USERS: u32 = 10_000;
const PREFIX: &str = "load";

/// So few that every swarm of 100 has 50 leechers for a seeder, to whom ours offers nobody else.
const SEEDERS: f64 = 0.3;

/// How large the swarms are. All are of one size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Torrents.
    pub torrents: u32,
    /// Peers in all of them.
    pub peers: u32,
}

/// What becomes of HTTP connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Connections {
    /// So many, which carry many requests.
    Kept(u32),
    /// Each carries one.
    Closed,
}

/// Whether everybody announces once before anything is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Filling {
    /// They do, as fast as they are answered.
    First,
    /// They have.
    Done,
}

/// A load.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Load {
    /// Over what.
    pub protocol: Protocol,
    /// Where in the URL the passkey stands, or none is sent.
    pub path: &'static str,
    /// The swarms.
    pub shape: Shape,
    /// Whether they are to be filled.
    pub filling: Filling,
    /// HTTP connections, or UDP sockets.
    pub connections: Connections,
    /// How long to measure.
    pub duration: Duration,
    /// Announces per second on a schedule; `None`: as many as are answered.
    pub rate: Option<f64>,
}

impl Load {
    /// Puts the load on a server and measures it, and others that work for it.
    ///
    /// # Errors
    /// When the server refuses, or gives other than the wanted peers.
    pub fn put_on(&self, bench: &Bench, server: &Server, others: &[u32]) -> Result<Results> {
        let load = self.on(server, others)?;
        let put = || ::load::run(load, &Stop::default(), None);
        let results = bench.cores.at(CoreSet::Driver, put)??;
        let Results { answered, refused, .. } = results;
        ensure!(results.has_granted() && refused == 0, "{refused} of {answered} announces were refused");
        Ok(results)
    }

    fn on(&self, server: &Server, others: &[u32]) -> Result<::load::Load> {
        let scheme = if self.protocol == Protocol::Http { "http" } else { "udp" };
        let users = if self.path.contains(":passkey") { USERS } else { 0 };
        let mut load = ::load::Load::on(format!("{scheme}://{}{}", server.address(), self.path));
        load.swarms = self.shape.swarms();
        load.swarms.fill = self.filling == Filling::First;
        load.duration = Some(self.duration);
        load.pids = [server.pid()].iter().chain(others).copied().collect();
        load.passkeys = ::load::made_up_passkeys(PREFIX, users)?;
        load.rate = self.rate;
        // A server that is asked as fast as it answers shall not be charged for waking up who asks.
        load.rest = if self.rate.is_some() { Rest::Sleeps } else { Rest::Spins };
        match self.connections {
            Connections::Closed => load.closing = Closing::Asked,
            Connections::Kept(count) => load.connections = Some(count),
        }
        Ok(load)
    }
}

impl Shape {
    fn swarms(self) -> Swarms {
        let Self { torrents, peers } = self;
        Swarms { torrents, peers, zipf: 0.0, numwant: 50, seeders: SEEDERS, ..Swarms::default() }
    }
}

/// Lets the made-up users in.
///
/// # Errors
/// When Redis or `trackerctl` does not take them.
pub fn import_passkeys(bench: &Bench, redis: &RedisServer) -> Result<()> {
    let passkeys = ::load::made_up_passkeys(PREFIX, USERS)?;
    let lines: String = passkeys.iter().flat_map(|passkey| [passkey.reveal(), "\n"]).collect();
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), lines)?;
    let importing = Command::new(bench.own_program("trackerctl")?)
        .args(["--redis", &redis.url(), "passkey", "import"])
        .arg(file.path())
        .output()?;
    let said = String::from_utf8_lossy(&importing.stderr);
    ensure!(importing.status.success(), "importing passkeys: {said}");
    Ok(())
}

/// The torrents that the load is about, in hex.
pub(super) fn info_hashes(shape: Shape) -> Vec<String> {
    ::load::info_hashes(&shape.swarms()).map(|info_hash| info_hash.to_string()).collect()
}
