//! Everything real that a run needs: folders, small disks, Redis, two trackers, two consumers, and a proxy
//! before each of them.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use harness::{Clock, Trackerctl, binary, eventually_async, free_port, page};

use crate::announce::Bytes;
use crate::disk::Disk;
use crate::endpoints::Endpoints;
use crate::exchange::Route;
use crate::fault::Kind;
use crate::link::Link;
use crate::managed_process::ManagedProcess;
use crate::operator::Operator;
use crate::redis_pair::RedisPair;
use crate::settings::{self, TrackerPlaces};
use crate::site::SitePage;
use crate::world::World;

/// Redis' disk and the ledger's: some room, and what an announce takes in the stream's file and in the
/// ledger.
const LARGE_MIB: u64 = 128;
const BYTES_AN_ANNOUNCE: u64 = 700;
const SPOOL_MIB: u64 = 32;
const LONG_AGO: &str = "1970-01-02T00:00:00Z";

/// What runs. Whoever makes something fail has it for that time.
#[derive(Debug)]
pub(crate) struct Deployment {
    pub(crate) redis: RedisPair,
    pub(crate) trackers: [ManagedProcess; 2],
    pub(crate) consumers: [ManagedProcess; 2],
    pub(crate) tracker_links: [Link; 2],
    pub(crate) consumer_links: [Link; 2],
    /// Of the spools, the ledger and Redis; none where none can be mounted.
    pub(crate) disks: Option<Disks>,
    pub(crate) site: SitePage,
    pub(crate) operator: Operator,
    pub(crate) endpoints: Endpoints,
}

/// The disks that can be filled.
#[derive(Debug)]
pub(crate) struct Disks {
    pub(crate) spools: [Disk; 2],
    pub(crate) ledger: Disk,
    pub(crate) redis: Disk,
}

impl Deployment {
    /// Builds everything in `folder`; nothing runs yet. `announces`: about how many will be settled.
    pub(crate) async fn build(place: &Place<'_>, announces: u64) -> Result<Self> {
        let folder = place.folder;
        let (spools, ledger, stream, replica) = (
            ["spool-0", "spool-1"].map(|name| folder.join(name)),
            folder.join("ledger"),
            folder.join("redis"),
            folder.join("replica"),
        );
        for folder in spools.iter().chain([&ledger, &stream, &replica]) {
            fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        }
        let disks = match place.without.contains(&Kind::Disks) {
            true => None,
            false => Some(Disks::mount(&spools, &ledger, &stream, announces)?),
        };
        let file = ledger.join("ledger.db");
        let (port, database) = (free_port(), format!("sqlite://{}", file.display()));
        let redis = place.redis_pair(port, (&stream, &replica)).await?;
        let site = SitePage::open(free_port()).await?;
        let link = || Link::open(free_port(), port);
        let tracker_links = [link().await?, link().await?];
        let consumer_links = [link().await?, link().await?];
        let http = [free_port(), free_port()];
        let tracker = |n: usize| -> Result<ManagedProcess> {
            let (redis, site, spool) = (tracker_links[n].url(), site.url(), &spools[n]);
            let file = |metrics| {
                let places = TrackerPlaces { port: http[n], metrics, redis: &redis, site: &site, spool };
                settings::tracker(n, &places)
            };
            Ok(place.service("tracker", n, file)?.with_spool(spool))
        };
        let consumer = |n: usize| {
            let (name, redis) = (format!("consumer-{n}"), consumer_links[n].url());
            place.service("consumer", n, |metrics| settings::consumer(&name, metrics, &redis, &database))
        };
        let (trackers, consumers) = ([tracker(0)?, tracker(1)?], [consumer(0)?, consumer(1)?]);
        let metrics =
            trackers.iter().filter_map(|process| process.metrics().map(ToOwned::to_owned)).collect();
        let control = Trackerctl::new(format!("redis://127.0.0.1:{port}/0"), &database);
        let families: &[bool] = if place.without.contains(&Kind::Ipv6) { &[false] } else { &[false, true] };
        let routes = http.iter().enumerate().flat_map(|(n, port)| Route::all(n, *port, families)).collect();
        let operator = Operator::new(file, folder.to_owned());
        let endpoints = Endpoints { redis: port, routes, metrics, control };
        Ok(Self {
            redis,
            trackers,
            consumers,
            tracker_links,
            consumer_links,
            disks,
            site,
            operator,
            endpoints,
        })
    }

    /// Starts everybody, with the listed users on the whitelist and the promoted torrents promoted.
    pub(crate) async fn start(&mut self, world: &World) -> Result<()> {
        self.redis.start();
        let client = redis::Client::open(self.endpoints.redis_url())?;
        let mut redis = eventually_async("redis-server answers", || async {
            client.get_multiplexed_async_connection().await.ok()
        })
        .await;
        let mut whitelist = redis::cmd("SADD");
        whitelist.arg(contract::Keys::default().passkeys());
        world.users.iter().filter(|user| user.is_listed).for_each(|user| {
            whitelist.arg(user.name().reveal());
        });
        whitelist.exec_async(&mut redis).await?;
        self.consumers.iter_mut().for_each(ManagedProcess::start);
        self.promote(world).await?;
        self.trackers.iter_mut().for_each(ManagedProcess::start);
        for url in &self.endpoints.metrics {
            eventually_async("the trackers run", || async { page(url) }).await;
        }
        Ok(())
    }

    async fn promote(&self, world: &World) -> Result<()> {
        let plain = Bytes { up: 1, down: 1 };
        for torrent in world.torrents().iter().filter(|torrent| torrent.factors != plain) {
            let (name, up, down) = (
                torrent.name().to_string(),
                torrent.factors.up.to_string(),
                torrent.factors.down.to_string(),
            );
            let words =
                ["promotion", "add", "--torrent", &name, "--up", &up, "--down", &down, "--from", LONG_AGO];
            // The first consumer makes the ledger.
            eventually_async("a promotion is in force", || async {
                (self.endpoints.control.run(&words).code == 0).then_some(())
            })
            .await;
        }
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

/// Where a run is at home, and what it goes without.
#[derive(Debug)]
pub(crate) struct Place<'a> {
    pub(crate) folder: &'a Path,
    pub(crate) without: &'a [Kind],
}

impl Place<'_> {
    /// A tracker or consumer, with the file that it is given for its metrics' port.
    fn service(&self, program: &str, number: usize, file: impl Fn(u16) -> String) -> Result<ManagedProcess> {
        let (name, metrics) = (format!("{program}-{number}"), free_port());
        let config = self.folder.join(format!("{name}.yaml"));
        fs::write(&config, file(metrics))?;
        let arguments = vec!["--config".to_owned(), config.display().to_string()];
        let process = ManagedProcess::new(&name, self.folder, binary(program), arguments);
        Ok(process.with_metrics(metrics).with_clock(self.clock(&name)?))
    }

    async fn redis_pair(&self, port: u16, (folder, replica_folder): (&Path, &Path)) -> Result<RedisPair> {
        let link = Link::open(free_port(), port).await?;
        let replica_port = free_port();
        let process =
            |name: &str, arguments| ManagedProcess::new(name, self.folder, "redis-server".into(), arguments);
        let primary = process("redis", settings::redis(port, folder))
            .with_clock(self.clock("redis")?)
            .with_manifest(folder.join("appendonlydir/appendonly.aof.manifest"));
        let replica = process("replica", settings::replica(replica_port, replica_folder, link.port()));
        let replica_client = redis::Client::open(format!("redis://127.0.0.1:{replica_port}/0"))?;
        let (folder, replica_folder) = (folder.to_owned(), replica_folder.to_owned());
        Ok(RedisPair { primary, replica, link, folder, replica_folder, replica_client })
    }

    fn clock(&self, name: &str) -> Result<Option<Clock>> {
        match self.without.contains(&Kind::Clocks) {
            true => Ok(None),
            false => Ok(Clock::right(self.folder.join(format!("{name}.clock")))?),
        }
    }
}
