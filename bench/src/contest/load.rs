//! The client of every contest: `trackerctl load`, at the driver's core.

use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::RedisServer;
use serde::Deserialize;

use super::{Protocol, Server};
use crate::cores::Place;
use crate::rows::Bench;

/// Users whose passkeys are made up.
const USERS: u32 = 10_000;

/// So few that every swarm of 100 has 50 leechers for a seeder, to whom ours offers nobody else.
const SEEDERS: &str = "0.3";

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

/// What came of it.
#[derive(Debug, Clone, Deserialize)]
pub struct Answered {
    /// Replies.
    pub answered: u64,
    /// Replies that were refusals.
    pub refused: u64,
    /// Replies per second.
    pub per_second: f64,
    /// Peers in a reply.
    pub peers_per_reply: Option<f64>,
    /// How long replies took, in microseconds.
    pub latency_us: Latency,
    /// What the generator itself used for each.
    pub generator_cpu_us_per_request: Option<f64>,
    /// The servers.
    pub processes: Vec<Used>,
}

/// Quantiles in microseconds.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct Latency {
    /// Half are faster.
    pub p50: f64,
    /// One in a hundred is slower.
    pub p99: f64,
}

/// What a server used.
#[derive(Debug, Clone, Deserialize)]
pub struct Used {
    /// Processor time for each reply, in microseconds.
    pub cpu_us_per_request: Option<f64>,
    /// Memory before anybody announced.
    pub rss_before_bytes: u64,
    /// Memory at the end.
    pub rss_bytes: u64,
}

impl Answered {
    /// Processor time of the server of this place among those that were asked about, in microseconds for each
    /// reply.
    ///
    /// # Errors
    /// When nothing was answered.
    pub fn cpu_us(&self, place: usize) -> Result<f64> {
        self.processes.get(place).and_then(|used| used.cpu_us_per_request).context("nothing was answered")
    }
}

impl Load {
    /// Puts the load on a server and measures it, and others that work for it.
    ///
    /// # Errors
    /// When the server refuses, or gives other than the wanted peers.
    pub fn put_on(&self, bench: &Bench, server: &Server, others: &[u32]) -> Result<Answered> {
        let output = bench.cores.at(Place::Driver, || {
            self.command(bench, server, others)?.output().map_err(anyhow::Error::from)
        })??;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "trackerctl load failed: {said}");
        let answered: Answered =
            serde_json::from_slice(&output.stdout).context("what trackerctl load measured")?;
        ensure!(
            answered.refused == 0,
            "{} of {} announces were refused",
            answered.refused,
            answered.answered
        );
        Ok(answered)
    }

    fn command(&self, bench: &Bench, server: &Server, others: &[u32]) -> Result<Command> {
        let scheme = if self.protocol == Protocol::Http { "http" } else { "udp" };
        let mut command = Command::new(bench.own_program("trackerctl")?);
        command.args(["load", "--json", "--zipf", "0", "--numwant", "50", "--seeders", SEEDERS]);
        command.arg(format!("{scheme}://{}{}", server.address(), self.path));
        command.args(["--torrents", &self.shape.torrents.to_string()]);
        command.args(["--peers", &self.shape.peers.to_string()]);
        command.args(["--duration", &format!("{}ms", self.duration.as_millis())]);
        for pid in [server.pid()].iter().chain(others) {
            command.args(["--pid", &pid.to_string()]);
        }
        if self.filling == Filling::First {
            command.arg("--fill");
        }
        if self.path.contains(":passkey") {
            command.args(["--users", &USERS.to_string()]);
        }
        match self.connections {
            Connections::Closed => command.arg("--close"),
            Connections::Kept(count) => command.args(["--connections", &count.to_string()]),
        };
        match self.rate {
            Some(rate) => command.args(["--rate", &format!("{rate:.1}")]),
            // A server that is asked as fast as it answers shall not be charged for waking up who asks.
            None => command.arg("--spin"),
        };
        Ok(command)
    }
}

/// Lets the made-up users in.
///
/// # Errors
/// When Redis or `trackerctl` does not take them.
pub fn import_passkeys(bench: &Bench, redis: &RedisServer) -> Result<()> {
    let program = bench.own_program("trackerctl")?;
    let mut printing = Command::new(&program)
        .args(["load", "--users", &USERS.to_string(), "--print-passkeys"])
        .stdout(Stdio::piped())
        .spawn()?;
    let passkeys = printing.stdout.take().context("the passkeys")?;
    let importing = Command::new(&program)
        .args(["--redis", &redis.url(), "passkey", "import", "-"])
        .stdin(passkeys)
        .output()?;
    let said = String::from_utf8_lossy(&importing.stderr);
    ensure!(printing.wait()?.success() && importing.status.success(), "importing passkeys: {said}");
    Ok(())
}

/// The torrents that the load is about, in hex.
pub(super) fn info_hashes(bench: &Bench, shape: Shape) -> Result<Vec<String>> {
    let output = Command::new(bench.own_program("trackerctl")?)
        .args(["load", "--torrents", &shape.torrents.to_string(), "--print-torrents"])
        .output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "trackerctl load --print-torrents: {said}");
    Ok(String::from_utf8(output.stdout)?.lines().map(str::to_owned).collect())
}
