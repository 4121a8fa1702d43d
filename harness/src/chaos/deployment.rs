//! Everything real that a run needs: folders, small disks, Redis, two trackers, two consumers, and a proxy
//! before each of them.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use harness::{Clock, Trackerctl, binary, eventually_async, free_port};

use crate::confine::Confinement;
use crate::disk::Disk;
use crate::link::Link;
use crate::managed_process::ManagedProcess;
use crate::settings;

/// Redis' disk and the ledger's: some room, and what an announce takes in the stream's file and in the
/// ledger.
const LARGE_MIB: u64 = 128;
const BYTES_AN_ANNOUNCE: u64 = 700;
const SPOOL_MIB: u64 = 32;

/// What runs. Whoever makes something fail has it for that time.
#[derive(Debug)]
pub(crate) struct Deployment {
    pub(crate) redis: ManagedProcess,
    pub(crate) trackers: [ManagedProcess; 2],
    pub(crate) consumers: [ManagedProcess; 2],
    pub(crate) tracker_links: [Link; 2],
    pub(crate) consumer_links: [Link; 2],
    /// Of the spools, the ledger and Redis; none where none can be mounted.
    pub(crate) disks: Option<Disks>,
    pub(crate) endpoints: Endpoints,
}

/// The disks that can be filled.
#[derive(Debug)]
pub(crate) struct Disks {
    pub(crate) spools: [Disk; 2],
    pub(crate) ledger: Disk,
    pub(crate) redis: Disk,
}

/// Where things are.
#[derive(Debug, Clone)]
pub(crate) struct Endpoints {
    redis: u16,
    pub(crate) trackers: [u16; 2],
    /// The URLs of the trackers' metrics.
    pub(crate) metrics: Vec<String>,
    pub(crate) control: Trackerctl,
}

impl Endpoints {
    /// Redis itself, around every proxy.
    pub(crate) fn redis_url(&self) -> String {
        format!("redis://127.0.0.1:{}/0", self.redis)
    }
}

impl Deployment {
    /// Builds everything in `folder`; nothing runs yet. `announces`: about how many will be settled.
    pub(crate) async fn build(folder: &Path, confinement: Confinement, announces: u64) -> Result<Self> {
        let (spools, ledger, stream) = (
            ["spool-0", "spool-1"].map(|name| folder.join(name)),
            folder.join("ledger"),
            folder.join("redis"),
        );
        for folder in spools.iter().chain([&ledger, &stream]) {
            fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        }
        let disks = match confinement {
            Confinement::None => None,
            Confinement::Own => Some(Disks::mount(&spools, &ledger, &stream, announces)?),
        };
        let (port, database) = (free_port(), format!("sqlite://{}", ledger.join("ledger.db").display()));
        let redis =
            ManagedProcess::new("redis", folder, "redis-server".into(), settings::redis(port, &stream));
        let link = || Link::open(free_port(), port);
        let tracker_links = [link().await?, link().await?];
        let consumer_links = [link().await?, link().await?];
        let http = [free_port(), free_port()];
        let service = Service { folder, confinement };
        let tracker = |n: usize| {
            let redis = tracker_links[n].url();
            service
                .process("tracker", n, |metrics| settings::tracker(n, http[n], metrics, &redis, &spools[n]))
        };
        let consumer = |n: usize| {
            let (name, redis) = (format!("consumer-{n}"), consumer_links[n].url());
            service.process("consumer", n, |metrics| settings::consumer(&name, metrics, &redis, &database))
        };
        let (trackers, consumers) = ([tracker(0)?, tracker(1)?], [consumer(0)?, consumer(1)?]);
        let metrics =
            trackers.iter().filter_map(|process| process.metrics().map(ToOwned::to_owned)).collect();
        let control = Trackerctl::new(format!("redis://127.0.0.1:{port}/0"), &database);
        let endpoints = Endpoints { redis: port, trackers: http, metrics, control };
        Ok(Self { redis, trackers, consumers, tracker_links, consumer_links, disks, endpoints })
    }

    /// Starts everybody, with these users on the whitelist.
    pub(crate) async fn start(&mut self, users: &[contract::Passkey]) -> Result<()> {
        self.redis.start();
        let client = redis::Client::open(self.endpoints.redis_url())?;
        let mut redis = eventually_async("redis-server answers", || async {
            client.get_multiplexed_async_connection().await.ok()
        })
        .await;
        let mut whitelist = redis::cmd("SADD");
        whitelist.arg(contract::Keys::default().passkeys());
        users.iter().for_each(|user| {
            whitelist.arg(user.reveal());
        });
        whitelist.exec_async(&mut redis).await?;
        self.trackers.iter_mut().chain(&mut self.consumers).for_each(ManagedProcess::start);
        Ok(())
    }
}

impl Disks {
    fn mount(spools: &[PathBuf; 2], ledger: &Path, redis: &Path, announces: u64) -> Result<Self> {
        let large = LARGE_MIB + announces * BYTES_AN_ANNOUNCE / (1 << 20);
        Ok(Self {
            spools: [Disk::mount(&spools[0], SPOOL_MIB)?, Disk::mount(&spools[1], SPOOL_MIB)?],
            ledger: Disk::mount(ledger, large)?,
            redis: Disk::mount(redis, large)?,
        })
    }
}

/// What trackers and consumers have in common.
struct Service<'a> {
    folder: &'a Path,
    confinement: Confinement,
}

impl Service<'_> {
    /// One of them, with the file that it is given for its metrics' port.
    fn process(&self, program: &str, number: usize, file: impl Fn(u16) -> String) -> Result<ManagedProcess> {
        let (name, metrics) = (format!("{program}-{number}"), free_port());
        let config = self.folder.join(format!("{name}.yaml"));
        fs::write(&config, file(metrics))?;
        let clock = match self.confinement {
            Confinement::None => None,
            Confinement::Own => Clock::right(self.folder.join(format!("{name}.clock")))?,
        };
        let arguments = vec!["--config".to_owned(), config.display().to_string()];
        let process = ManagedProcess::new(&name, self.folder, binary(program), arguments);
        Ok(process.with_metrics(metrics).with_clock(clock))
    }
}
