//! The whole line at half of what it sustains: how long a client waits for its reply, and how long its bytes
//! need into the ledger and the sets (the consumer shows presence before it settles).
//!
//! Tracker and consumer share the server's core, Redis and the clients the driver's. What the line sustains
//! is found out first: the rate of a run as fast as it goes, up to its last settled row.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use harness::RedisServer;

use crate::contest::{self, Connections, Filling, HookSet, Load, Protocol, Server, Shape, import_passkeys};
use crate::cores::CoreSet;
use crate::cost::as_f64;
use crate::figures::Sample;
use crate::workbench::{Bench, Scale};

/// Connections: a reply waits for its recording, so few would wait for each other.
const CLIENTS: u32 = 256;
const SHAPE: Shape = Shape { torrents: 1000, peers: 20_000 };
/// How long the consumer may take to settle what was announced before.
const SETTLING: Duration = Duration::from_secs(120);

/// A site at work.
pub(super) struct Line {
    pub(super) redis: RedisServer,
    pub(super) tracker: Server,
    pub(super) consumer: Server,
    pub(super) shape: Shape,
    pub(super) connections: u32,
}

/// Measures both.
pub(super) fn run(bench: &Bench) -> Result<Vec<Sample>> {
    let line = Line::start(bench)?;
    let sustained = line.sustained(bench)?;
    let before = line.settled_within()?;
    let duration = Duration::from_secs(if bench.scale == Scale::Quick { 3 } else { 15 });
    let answered = line.load(bench, Pace::Every(sustained / 2.0), duration)?;
    line.wait_until_settled()?;
    let after = line.settled_within()?;
    let settled = |share| quantile(&before, &after, share).map(|seconds| seconds * 1000.0);
    Ok(vec![
        Sample::new("line", "announces/s sustained", sustained),
        Sample::new("announce", "p50 ms", answered.latency_us.p50 / 1000.0),
        Sample::new("announce", "p99 ms", answered.latency_us.p99 / 1000.0),
        Sample::new("settled", "p50 ms", settled(0.5)?),
        Sample::new("settled", "p99 ms", settled(0.99)?),
    ])
}

/// How fast to announce.
#[derive(Clone, Copy)]
pub(super) enum Pace {
    /// Every session once, and then as fast as it goes.
    FillAndGo,
    /// So many announces per second, by sessions that are there.
    Every(f64),
    /// As fast as it goes, by sessions that are there.
    AsFastAsItGoes,
}

impl Line {
    /// Starts all of it.
    pub(super) fn start(bench: &Bench) -> Result<Self> {
        let redis = bench.cores.at(CoreSet::Driver, || {
            RedisServer::start_with(&["--appendfsync", "everysec", "--auto-aof-rewrite-percentage", "0"])
        })?;
        import_passkeys(bench, &redis)?;
        let (tracker, _) = contest::tracker(bench, Protocol::Http, HookSet::Recorded, &redis)?;
        let consumer = contest::consumer(bench, &redis)?;
        Ok(Self { redis, tracker, consumer, shape: SHAPE, connections: CLIENTS })
    }

    /// Announces per second of a run as fast as it goes, until the last one is settled.
    pub(super) fn sustained(&self, bench: &Bench) -> Result<f64> {
        let duration = Duration::from_secs(if bench.scale == Scale::Quick { 3 } else { 15 });
        let (before, start) = (self.settled()?, Instant::now());
        self.load(bench, Pace::FillAndGo, duration)?;
        self.wait_until_settled()?;
        Ok((self.settled()? - before) / start.elapsed().as_secs_f64())
    }

    /// Announces for so long.
    pub(super) fn load(&self, bench: &Bench, pace: Pace, duration: Duration) -> Result<load::Results> {
        let (filling, rate) = match pace {
            Pace::FillAndGo => (Filling::First, None),
            Pace::Every(rate) => (Filling::Done, Some(rate)),
            Pace::AsFastAsItGoes => (Filling::Done, None),
        };
        let (path, connections) = ("/:passkey/announce", Connections::Kept(self.connections));
        let load =
            Load { protocol: Protocol::Http, path, shape: self.shape, filling, connections, duration, rate };
        load.put_on(bench, &self.tracker, &[])
    }

    /// Entries in the stream that are not settled yet.
    pub(super) fn behind(&self) -> Result<f64> {
        // In this order: what is settled meanwhile must not look like less than nothing.
        let settled = self.settled()?;
        let added: u64 = redis::cmd("XLEN").arg("tracker:traffic").query(&mut self.redis.connection())?;
        Ok((as_f64(added) - settled).max(0.0))
    }

    pub(super) fn wait_until_settled(&self) -> Result<()> {
        let end = Instant::now() + SETTLING;
        while self.behind()? > 0.0 {
            ensure!(Instant::now() < end, "the consumer did not settle everything within {SETTLING:?}");
            sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    pub(super) fn settled(&self) -> Result<f64> {
        let page = metrics(self.consumer.address())?;
        page.lines()
            .find_map(|line| line.strip_prefix("seedbook_consumer_settled_total ")?.parse().ok())
            .context("the consumer's metrics")
    }

    /// The consumer's histogram: entries settled within so many seconds.
    fn settled_within(&self) -> Result<Histogram> {
        let page = metrics(self.consumer.address())?;
        let bucket = |line: &str| {
            let rest = line.strip_prefix("seedbook_consumer_end_to_end_seconds_bucket{le=\"")?;
            let (bound, count) = rest.split_once("\"} ")?;
            Some((bound.parse::<f64>().ok()?.to_bits(), count.parse::<f64>().ok()?))
        };
        Ok(page.lines().filter_map(bucket).collect())
    }
}

/// Upper bounds in seconds (positive, so that their bits are in their order) and how many were below.
type Histogram = BTreeMap<u64, f64>;

/// The quantile of what came between two looks at a histogram, in seconds: linear within a bucket.
fn quantile(before: &Histogram, after: &Histogram, share: f64) -> Result<f64> {
    let came = |bound: &u64| after[bound] - before.get(bound).copied().unwrap_or(0.0);
    let wanted =
        share * after.keys().next_back().map(came).filter(|all| *all > 0.0).context("nothing was settled")?;
    let (mut lower, mut below) = (0.0, 0.0);
    for bound in after.keys() {
        let (upper, count) = (f64::from_bits(*bound), came(bound));
        if count >= wanted {
            let part = (wanted - below) / (count - below).max(1.0);
            return Ok(if upper.is_finite() { lower + (upper - lower) * part } else { lower });
        }
        (lower, below) = (upper, count);
    }
    Ok(lower)
}

fn metrics(address: SocketAddr) -> Result<String> {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    write!(stream, "GET /metrics HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n")?;
    let mut page = String::new();
    stream.read_to_string(&mut page)?;
    Ok(page)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_looks_only_at_what_came_between() {
        let histogram = |counts: [f64; 3]| -> Histogram {
            [1.0_f64, 2.0, f64::INFINITY].map(f64::to_bits).into_iter().zip(counts).collect()
        };
        let (before, after) = (histogram([100.0, 100.0, 100.0]), histogram([100.0, 110.0, 110.0]));
        assert_eq!(quantile(&before, &after, 0.5).unwrap(), 1.5);
        assert_eq!(quantile(&histogram([0.0; 3]), &after, 0.5).unwrap(), 0.55);
        assert!(quantile(&after, &after, 0.5).is_err());
    }
}
