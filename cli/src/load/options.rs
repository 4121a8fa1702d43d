//! The words of `trackerctl load` on the command line.

use std::time::Duration;

use clap::{Args, ValueEnum};
use contract::Passkey;
use load::{Closing, Load, Reach, Rest};

/// Put announces and scrapes on a tracker, and say what it did with them.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    /// Trackers: http://HOST:PORT/announce or udp://HOST:PORT. `:passkey` in a path stands for each user's
    /// passkey; without it, passkeys go into the query. Over UDP path and query travel as URL data (BEP 41).
    #[arg(required_unless_present_any = ["print_passkeys", "print_torrents"], value_name = "URL", num_args = 1..=16)]
    pub(super) urls: Vec<String>,

    /// Stop sending after so long; 10s if --requests is not given either.
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration, help_heading = "How much")]
    pub(super) duration: Option<Duration>,
    /// Stop after so many requests.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..), help_heading = "How much")]
    pub(super) requests: Option<u64>,
    /// Requests per second, sent on a schedule whatever the tracker does (an open loop); latency counts from
    /// the scheduled time, so that a stall is seen in full. Without it every reply is followed by the next
    /// request (a closed loop).
    #[arg(long, value_name = "R", value_parser = rate, help_heading = "How much")]
    pub(super) rate: Option<f64>,
    /// HTTP connections (32 if not given) or UDP sockets (4) at once.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=20_000), help_heading = "How much")]
    pub(super) connections: Option<u32>,
    /// HTTP: a connection for each request, instead of keeping them.
    #[arg(long, help_heading = "How much")]
    pub(super) close: bool,
    /// UDP: requests under way at once, over all sockets.
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=1_000_000), help_heading = "How much")]
    pub(super) window: u32,
    /// A request without a reply after so long has failed.
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = humantime::parse_duration, help_heading = "How much")]
    pub(super) timeout: Duration,
    /// Threads; at least one for each URL.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64), help_heading = "How much")]
    pub(super) workers: u32,

    #[command(flatten)]
    pub(super) swarms: Swarms,
    #[command(flatten)]
    pub(super) users: Users,

    /// Measure a local process too: CPU time per request, and memory. May be given several times.
    #[arg(long = "pid", value_name = "P", help_heading = "Measuring")]
    pub(super) pids: Vec<u32>,
    /// Look for replies all the time instead of sleeping. Takes a core; but then no tracker spends time on
    /// waking this program up, which would make it look the more expensive the longer it lets this program
    /// wait.
    #[arg(long, help_heading = "Measuring")]
    pub(super) spin: bool,
    /// Send to addresses beyond this machine. Only for a tracker of your own: to anybody else's this is an
    /// attack.
    #[arg(long, help_heading = "Measuring")]
    pub(super) allow_remote: bool,
}

/// Who announces what.
#[derive(Debug, Args)]
#[command(next_help_heading = "Swarms")]
pub(super) struct Swarms {
    /// Torrents.
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=20_000_000))]
    pub(super) torrents: u32,
    /// Sessions (a client in a swarm) in all torrents together.
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) peers: u32,
    /// How unlike the swarms' sizes are: the n-th largest has n^-S of the largest one's peers. 0: all are
    /// alike.
    #[arg(long, value_name = "S", default_value_t = 1.0, value_parser = exponent)]
    pub(super) zipf: f64,
    /// The share of sessions that seed, 0 to 1.
    #[arg(long, value_name = "SHARE", default_value_t = 0.8, value_parser = share)]
    pub(super) seeders: f64,
    /// Peers wanted in each reply.
    #[arg(long, value_name = "N", default_value_t = 50, allow_negative_numbers = true)]
    pub(super) numwant: i32,
    /// The share of requests that are scrapes of one torrent, 0 to 1.
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, value_parser = share)]
    pub(super) scrape: f64,
    /// plain: announces without an event. realistic: each session says started first, then announces; some
    /// complete, some stop and start again later.
    #[arg(long, value_name = "KIND", value_enum, default_value_t = Events::Plain)]
    pub(super) events: Events,
    /// Before measuring, announce every session once.
    #[arg(long)]
    pub(super) fill: bool,
    /// Give every session an address of its own in `ip=`, or in the UDP packet. For trackers that believe it:
    /// ours with allow_ip_spoofing.
    #[arg(long)]
    pub(super) spoof: bool,
    /// HTTP: give every session an address of its own in this header, as a proxy does (the tracker's
    /// real_ip_header).
    #[arg(long, value_name = "NAME", value_parser = header_name)]
    pub(super) real_ip_header: Option<String>,
    /// HTTP: the share of sessions whose given address is IPv6, 0 to 1. Over UDP the tracker's own address
    /// says the family.
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, value_parser = share)]
    pub(super) ipv6: f64,
    /// Only print the info hashes, for `trackerctl torrent import` or another tracker's whitelist.
    #[arg(long, conflicts_with = "print_passkeys")]
    pub(super) print_torrents: bool,
    /// The same seed sends the same torrents, sessions and order.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(super) seed: u64,
}

/// Whose passkeys are used.
#[derive(Debug, Args)]
#[command(next_help_heading = "Users")]
pub(super) struct Users {
    /// Passkeys to announce with, one per line (`-`: stdin); sessions share them evenly.
    #[arg(long, value_name = "FILE", conflicts_with = "users")]
    pub(super) passkeys: Option<String>,
    /// Announce as so many made-up users, always the same for one prefix. They are easy to guess: for tests
    /// only.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub(super) users: Option<u32>,
    /// What the made-up users' passkeys begin with: at most 16 of 0-9 A-Z a-z _ -
    #[arg(long, value_name = "P", default_value = "load", requires = "users")]
    pub(super) passkey_prefix: String,
    /// Only print the made-up users' passkeys, for `trackerctl passkey import`.
    #[arg(long, requires = "users")]
    pub(super) print_passkeys: bool,
}

/// What announces say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Events {
    /// No event ever.
    Plain,
    /// As clients do.
    Realistic,
}

const EXAMPLES: &str =
    "Latencies count from the time a request was due (--rate) or sent, to the whole reply. \
CPU time per request is what a process's threads used, user and system, over the measured part.

Exit codes: 0 done, 1 no request was granted, 2 usage, 3 the tracker is unreachable.

Example:
  trackerctl load http://127.0.0.1:6969/announce --duration 30s --torrents 10000 --peers 1000000 --fill
  trackerctl load udp://127.0.0.1:6969 --rate 20000 --events realistic --pid $(pidof tracker)
  trackerctl load --users 1000 --print-passkeys | trackerctl passkey import -
  trackerctl load http://127.0.0.1:6969/:passkey/announce --users 1000 --close --json";

impl Options {
    /// The same for the generator.
    pub(super) fn load(&self, passkeys: Vec<Passkey>) -> Load {
        Load {
            urls: self.urls.clone(),
            duration: self.duration,
            requests: self.requests,
            rate: self.rate,
            connections: self.connections,
            closing: if self.close { Closing::Asked } else { Closing::NotAsked },
            window: self.window,
            timeout: self.timeout,
            workers: self.workers,
            swarms: self.swarms.swarms(),
            passkeys,
            pids: self.pids.clone(),
            rest: if self.spin { Rest::Spins } else { Rest::Sleeps },
            reach: if self.allow_remote { Reach::Anywhere } else { Reach::Local },
        }
    }
}

impl Swarms {
    pub(super) fn swarms(&self) -> load::Swarms {
        load::Swarms {
            torrents: self.torrents,
            peers: self.peers,
            zipf: self.zipf,
            seeders: self.seeders,
            numwant: self.numwant,
            scrape: self.scrape,
            events: match self.events {
                Events::Plain => load::Events::Plain,
                Events::Realistic => load::Events::Realistic,
            },
            fill: self.fill,
            spoof: self.spoof,
            real_ip_header: self.real_ip_header.clone(),
            ipv6: self.ipv6,
            seed: self.seed,
        }
    }
}

fn share(text: &str) -> Result<f64, String> {
    let share: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    (0.0..=1.0).contains(&share).then_some(share).ok_or_else(|| "a share is between 0 and 1".into())
}

fn rate(text: &str) -> Result<f64, String> {
    let rate: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    (0.01..=1e7).contains(&rate).then_some(rate).ok_or_else(|| "a rate is between 0.01 and 10000000".into())
}

fn exponent(text: &str) -> Result<f64, String> {
    let exponent: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    (0.0..=4.0).contains(&exponent).then_some(exponent).ok_or_else(|| "S is between 0 and 4".into())
}

fn header_name(text: &str) -> Result<String, String> {
    let is_name = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    is_name.then(|| text.to_owned()).ok_or_else(|| "a header's name is letters, digits and hyphens".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Command {
        #[command(flatten)]
        options: Options,
    }

    #[test]
    fn without_options_the_load_is_the_generators_default() {
        let url = "http://127.0.0.1:6969/announce";
        let command = Command::try_parse_from(["load", url]).unwrap();
        assert_eq!(command.options.load(Vec::new()), Load::on(url.into()));
    }
}
