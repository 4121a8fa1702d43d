//! What the whole line costs for each announce, at saturation: processor time of tracker, Redis and consumer,
//! for sessions that are settled and announce again and again over kept connections.
//!
//! The load generator is not counted. The count ends when the last announce is settled, so nobody's work is
//! put off to later.

use std::time::Duration;

use anyhow::Result;

use super::line::{Line, Pace};
use crate::contest::Shape;
use crate::cost;
use crate::figures::Sample;
use crate::workbench::{Bench, Scale};

/// So many sessions announce again and again.
const SHAPE: Shape = Shape { torrents: 300, peers: 6000 };
/// Connections, many and few: a batch is as large as what waits meanwhile.
const CONNECTIONS: [u32; 2] = [256, 32];

/// Measures both.
pub(super) fn run(bench: &Bench) -> Result<Vec<Sample>> {
    let mut line = Line::start(bench)?;
    line.shape = SHAPE;
    let duration = Duration::from_secs(if bench.scale == Scale::Quick { 3 } else { 15 });
    line.load(bench, Pace::FillAndGo, Duration::from_secs(2))?;
    line.wait_until_settled()?;
    let mut samples = Vec::new();
    for connections in CONNECTIONS {
        line.connections = connections;
        let (before, settled) = (line.spent()?, line.settled()?);
        line.load(bench, Pace::AsFastAsItGoes, duration)?;
        line.wait_until_settled()?;
        let (after, announces) = (line.spent()?, line.settled()? - settled);
        let subject = if connections == 256 { "256 connections" } else { "32 connections" };
        let each = |place: usize| (after[place] - before[place]).as_secs_f64() * 1e6 / announces;
        let parts = [each(0), each(1), each(2)];
        samples.push(Sample::new(subject, "CPU µs, all", parts.iter().sum()));
        for (what, micros) in ["tracker µs", "Redis µs", "consumer µs"].into_iter().zip(parts) {
            samples.push(Sample::new(subject, what, micros));
        }
    }
    Ok(samples)
}

impl Line {
    /// Processor time of tracker, Redis and consumer.
    fn spent(&self) -> Result<[Duration; 3]> {
        let tracker = cost::of_process(self.tracker.pid())?;
        let redis = cost::of_redis(&mut self.redis.connection())?;
        Ok([tracker, redis, cost::of_process(self.consumer.pid())?])
    }
}
