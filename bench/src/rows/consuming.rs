//! Consuming events: reading them, showing who is there, settling what they moved; each step apart.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use books::presence::{self, Leases};
use books::{Entry, EntryId};
use consumer::pump::acknowledgement;
use consumer::reader::{RedisReader, Source};
use contract::Keys;
use harness::RedisServer;

use super::recording::append;
use crate::cores::CoreSet;
use crate::cost::{self, micros_each};
use crate::figures::Sample;
use crate::workbench::{Bench, Scale};
use crate::world::World;

/// The consumer's default.
const BATCH: usize = 1000;

/// Measures reading and presence. Settling is a row of its own, because it depends on what is settled
/// already.
pub(super) fn run(bench: &Bench) -> Result<Vec<Sample>> {
    let count = match bench.scale {
        Scale::Quick => 50_000,
        Scale::Full => 300_000,
    };
    let redis = bench.redis()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    bench.cores.at(CoreSet::Driver, || {
        let mut connection = redis.connection();
        // Everybody is in the sets by now, as on a site that runs: what is measured are heartbeats.
        append(&mut connection, World::SITE, 0..World::SITE.sessions + count)?;
        runtime.block_on(stages(&redis, count))
    })?
}

async fn stages(redis: &RedisServer, count: u64) -> Result<Vec<Sample>> {
    let mut reader = RedisReader::new(&redis.url().as_str().into(), source()).context("the reader")?;
    let mut stage = Stage { redis: redis.connection() };
    let mut link = redis::Client::open(redis.url())?.get_multiplexed_async_connection().await?;
    let newcomers = read(&mut reader, World::SITE.sessions).await?;
    show(&mut link, &newcomers).await?;

    let (entries, reading) = stage.measured(async || read(&mut reader, count).await).await?;
    let ((), showing) = stage.measured(async || show(&mut link, &entries).await).await?;
    let ((), acknowledging) = stage.measured(async || acknowledge(&mut link, &entries).await).await?;
    let sample = |what: &str, spent: Duration| Sample::new("seedbook", what, micros_each(spent, count));
    Ok(vec![
        sample("reader µs", reading.ours),
        sample("reader's Redis µs", reading.redis + acknowledging.redis),
        sample("presence µs", showing.ours),
        sample("presence's Redis µs", showing.redis),
    ])
}

struct Stage {
    redis: redis::Connection,
}

struct Spent {
    ours: Duration,
    redis: Duration,
}

impl Stage {
    async fn measured<T>(&mut self, work: impl AsyncFnOnce() -> Result<T>) -> Result<(T, Spent)> {
        let before = (cost::of_this_thread()?, cost::of_redis(&mut self.redis)?);
        let outcome = work().await?;
        let ours = cost::of_this_thread()? - before.0;
        Ok((outcome, Spent { ours, redis: cost::of_redis(&mut self.redis)? - before.1 }))
    }
}

fn source() -> Source {
    Source {
        stream: Keys::default().traffic(),
        group: "site".into(),
        consumer: "bench".into(),
        batch_size: BATCH,
        claim_idle: Duration::from_secs(600),
    }
}

async fn read(reader: &mut RedisReader, count: u64) -> Result<Vec<Arc<[Entry]>>> {
    let (mut batches, mut entries) = (Vec::new(), 0);
    while entries < count {
        let batch = reader.read().await?;
        ensure!(batch.broken.is_empty(), "the stream holds entries that are no events");
        entries += batch.entries.len() as u64;
        batches.push(batch.entries.into());
    }
    Ok(batches)
}

async fn show(link: &mut redis::aio::MultiplexedConnection, batches: &[Arc<[Entry]>]) -> Result<()> {
    for entries in batches {
        presence::apply(link, &Keys::default(), Leases::default(), entries, consumer::clock::now()).await?;
    }
    Ok(())
}

async fn acknowledge(link: &mut redis::aio::MultiplexedConnection, batches: &[Arc<[Entry]>]) -> Result<()> {
    for entries in batches {
        let ids: Vec<EntryId> = entries.iter().map(|entry| entry.id).collect();
        let stream = Keys::default().traffic();
        acknowledgement((&stream, "site"), &ids).query_async::<()>(link).await?;
    }
    Ok(())
}
