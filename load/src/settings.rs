//! The load that is wanted: which tracker, how many sessions, how fast. The defaults are those of `trackerctl
//! load`.

use std::time::Duration;

use contract::Passkey;

/// A load to put on a tracker.
#[derive(Debug, Clone, PartialEq)]
pub struct Load {
    /// Trackers: `http://HOST:PORT/announce` or `udp://HOST:PORT`. `:passkey` in a path stands for each
    /// user's passkey; without it, passkeys go into the query. Over UDP path and query travel as URL data
    /// (BEP 41).
    pub urls: Vec<String>,
    /// Sending stops after so long; 10 s if `requests` is not given either.
    pub duration: Option<Duration>,
    /// Sending stops after so many requests.
    pub requests: Option<u64>,
    /// Requests per second on a schedule (an open loop); without it every reply is followed by the next
    /// request (a closed loop).
    pub rate: Option<f64>,
    /// HTTP connections or UDP sockets at once.
    pub connections: Option<u32>,
    /// Whether each HTTP request has a connection of its own.
    pub closing: Closing,
    /// UDP requests under way at once, over all sockets.
    pub window: u32,
    /// A request without a reply after so long has failed.
    pub timeout: Duration,
    /// Threads; at least one for each URL.
    pub workers: u32,
    /// Who announces what.
    pub swarms: Swarms,
    /// The users; none on a tracker that wants no passkeys.
    pub passkeys: Vec<Passkey>,
    /// Local processes that are measured too.
    pub pids: Vec<u32>,
    /// What workers do while there is nothing to do.
    pub rest: Rest,
    /// Where requests may go.
    pub reach: Reach,
}

/// Who announces what.
#[derive(Debug, Clone, PartialEq)]
pub struct Swarms {
    /// Among which the sessions are spread.
    pub torrents: u32,
    /// Sessions (a client in a swarm) in all torrents together.
    pub peers: u32,
    /// How unlike the swarms' sizes are: the n-th largest has n^-S of the largest one's peers.
    pub zipf: f64,
    /// The share of sessions that seed, 0 to 1.
    pub seeders: f64,
    /// Peers wanted in each reply.
    pub numwant: i32,
    /// The share of requests that are scrapes of one torrent, 0 to 1.
    pub scrape: f64,
    /// What announces say.
    pub events: Events,
    /// Whether every session announces once before anything is measured.
    pub fill: bool,
    /// Whether each session names an address of its own in `ip=`, or in the UDP packet.
    pub spoof: bool,
    /// HTTP: the header in which each session names an address of its own, as a proxy does.
    pub real_ip_header: Option<String>,
    /// HTTP: the share of sessions whose given address is IPv6, 0 to 1.
    pub ipv6: f64,
    /// The same seed sends the same torrents, sessions and order.
    pub seed: u64,
}

/// What announces say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Events {
    /// No event ever.
    Plain,
    /// As clients do: `started` first, `completed` once, `stopped` and `started` again.
    Realistic,
}

/// Whether a connection is to end with its reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closing {
    /// Each carries one request.
    Asked,
    /// Each carries many.
    NotAsked,
}

/// What a worker does while there is nothing to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rest {
    /// It sleeps. Whoever sends it a reply then spends time on waking it up, which counts as the tracker's.
    Sleeps,
    /// It looks again and again, and costs a core.
    Spins,
}

/// Where requests may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// To this machine only: to anybody else's tracker it would be an attack.
    Local,
    /// Anywhere, because somebody said so.
    Anywhere,
}

impl Load {
    /// The default load on one tracker.
    #[must_use]
    pub fn on(url: String) -> Self {
        Self {
            urls: vec![url],
            duration: None,
            requests: None,
            rate: None,
            connections: None,
            closing: Closing::NotAsked,
            window: 256,
            timeout: Duration::from_secs(5),
            workers: 1,
            swarms: Swarms::default(),
            passkeys: Vec::new(),
            pids: Vec::new(),
            rest: Rest::Sleeps,
            reach: Reach::Local,
        }
    }
}

impl Default for Swarms {
    fn default() -> Self {
        Self {
            torrents: 1000,
            peers: 10_000,
            zipf: 1.0,
            seeders: 0.8,
            numwant: 50,
            scrape: 0.0,
            events: Events::Plain,
            fill: false,
            spoof: false,
            real_ip_header: None,
            ipv6: 0.0,
            seed: 1,
        }
    }
}
