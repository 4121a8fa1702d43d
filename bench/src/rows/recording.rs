//! Recording an announce: what the tracker's recorder and Redis spend on the delta, the snapshot and the
//! stream entry, beside a Redis that only appends.
//!
//! No sockets of clients here: reports are handed to the recorder as the frontends do it, so many at a time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use contract::{Event, Keys, TrafficEvent};
use harness::RedisServer;
use service::redis::Timeouts;
use tokio::sync::Semaphore;
use tracker::announce::{Account, Admission, Admitted, Announce, Families, PeerIds, Report, UserTag};
use tracker::app::metrics::Metrics;
use tracker::arrival::Way;
use tracker::traffic::{self, Recorder, Rules, Setup, TailLimits};

use crate::cores::CoreSet;
use crate::cost::{self, micros_each};
use crate::figures::Sample;
use crate::workbench::{Bench, Scale};
use crate::world::{INTERVAL, World};

/// Announces that wait for their recording at one time, as many clients' do.
const WAITING: u32 = 256;
/// Appends in one pipeline.
const PIPELINE: u64 = 100;

/// Measures both.
pub(super) fn run(bench: &Bench) -> Result<Vec<Sample>> {
    let count = match bench.scale {
        Scale::Quick => 50_000,
        Scale::Full => 300_000,
    };
    let mut samples = bare(bench, count)?;
    samples.extend(ours(bench, count)?);
    Ok(samples)
}

/// The stream's entry and nothing else, in pipelines.
fn bare(bench: &Bench, count: u64) -> Result<Vec<Sample>> {
    let redis = bench.redis()?;
    let mut connection = redis.connection();
    let before = cost::of_redis(&mut connection)?;
    bench.cores.at(CoreSet::Driver, || append(&mut connection, World::SITE, 0..count))??;
    let spent = cost::of_redis(&mut connection)? - before;
    Ok(vec![Sample::new("bare XADD", "Redis µs", micros_each(spent, count))])
}

/// Appends these events of the world to the stream, as the tracker would.
pub(super) fn append(
    connection: &mut redis::Connection,
    world: World,
    numbers: std::ops::Range<u64>,
) -> Result<()> {
    let (mut next, stream) = (numbers.start, Keys::default().traffic());
    while next < numbers.end {
        let mut pipeline = redis::pipe();
        let end = numbers.end.min(next + PIPELINE);
        for number in next..end {
            let add = pipeline.cmd("XADD").arg(&stream).arg("*");
            for (name, value) in world.event(number).to_fields() {
                add.arg(name).arg(value);
            }
            add.ignore();
        }
        pipeline.query::<()>(connection).context("appending to the stream")?;
        next = end;
    }
    Ok(())
}

/// Our recorder on a runtime of this thread: all of its work is this thread's.
fn ours(bench: &Bench, count: u64) -> Result<Vec<Sample>> {
    let redis = bench.redis()?;
    let mut connection = redis.connection();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    bench.cores.at(CoreSet::Driver, || {
        runtime.block_on(async {
            let (recorder, task) = traffic::spawn(setup(&redis), Metrics::new()?.recorder, None)?;
            // Every session has announced twice by now, as on a site that runs: the second announce gives its
            // snapshot the full lifetime.
            let known = 2 * World::SITE.sessions;
            let clock = Clock::ending_now(known + count);
            drive(&recorder, clock.reports(0..known)).await?;
            let reports = clock.reports(known..known + count);
            let before = (cost::of_this_thread()?, cost::of_redis(&mut connection)?);
            drive(&recorder, reports).await?;
            let tracker = cost::of_this_thread()? - before.0;
            let redis = cost::of_redis(&mut connection)? - before.1;
            drop(recorder);
            task.await.context("the recorder ends")?;
            Ok(vec![
                Sample::new("seedbook", "tracker µs", micros_each(tracker, count)),
                Sample::new("seedbook", "Redis µs", micros_each(redis, count)),
            ])
        })
    })?
}

/// Moves the world's events to the present, where a snapshot's lifetime need not be renewed each time.
#[derive(Clone, Copy)]
struct Clock {
    now: Instant,
    /// The last event's time.
    last: u64,
}

impl Clock {
    fn ending_now(count: u64) -> Self {
        Self { now: Instant::now(), last: World::SITE.event(count).ts }
    }

    fn arrived(self, ts: u64) -> Instant {
        let ago = Duration::from_secs(self.last.saturating_sub(ts));
        self.now.checked_sub(ago).unwrap_or(self.now)
    }

    fn reports(self, numbers: std::ops::Range<u64>) -> Vec<Report> {
        numbers.map(|number| self.report(number)).collect()
    }

    /// The report behind an event of the world: absolute counters that rise by what the event says.
    fn report(self, number: u64) -> Report {
        let TrafficEvent { passkey, info_hash, peer_id, port, ip, left, ts, .. } = World::SITE.event(number);
        let turn = number / World::SITE.sessions;
        let tag = UserTag(std::num::NonZeroU64::MIN.saturating_add(number));
        let announce = Announce {
            info_hash,
            peer_id,
            ip,
            port,
            uploaded: turn * 100_000_000,
            downloaded: 0,
            left,
            event: if turn == 0 { Event::Started } else { Event::None },
            num_want: 50,
            families: Families::Both,
            peer_ids: PeerIds::Spared,
            credential: None,
            jwt: None,
            arrived: self.arrived(ts),
            way: Way::default(),
            extras: None,
        };
        Report {
            admitted: Admitted { announce, admission: Admission::new(INTERVAL, INTERVAL / 2) },
            account: Account { passkey, tag, fd: None, pd: None },
        }
    }
}

/// Hands reports in, [`WAITING`] at a time, and waits until all are booked.
async fn drive(recorder: &Recorder, reports: Vec<Report>) -> Result<()> {
    let (room, failed) = (Arc::new(Semaphore::new(WAITING as usize)), Arc::new(AtomicU64::new(0)));
    for report in reports {
        let permit = room.clone().acquire_owned().await?;
        let failed = failed.clone();
        recorder.submit(
            report,
            Box::new(move |recorded| {
                failed.fetch_add(u64::from(recorded.is_err()), Ordering::Relaxed);
                drop(permit);
            }),
        );
    }
    drop(room.acquire_many(WAITING).await?);
    ensure!(failed.load(Ordering::Relaxed) == 0, "some announces were not recorded");
    Ok(())
}

fn setup(redis: &RedisServer) -> Setup {
    Setup {
        redis: redis.url().as_str().into(),
        timeouts: Timeouts::default(),
        rules: Rules::new(&Keys::default()),
        retry_count: 3,
        wait_replicas: 0,
        tail: TailLimits::default(),
        require_durable_redis: false,
        retry_interval: Duration::from_millis(200),
        spool: None,
    }
}
