//! A site of the test's own: Redis, trackers, a consumer and the ledger, and what the ledger says in the end.

use std::path::{Path, PathBuf};

use contract::{Keys, Passkey, TrafficEvent};
use harness::{Certificate, Clock, RedisServer, Relay, Service, Trackerctl, eventually, free_port};
use redis::Commands;
use rusqlite::{Connection, OpenFlags};
use tempfile::TempDir;

use crate::session::{Ports, Session};

/// A site before it is started: what is different about it.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// Options of the hook `traffic push`, one a line.
    pub(crate) recording: Vec<&'static str>,
    /// What the spools may take on disk, if that is less than usual.
    pub(crate) spool_bytes: Option<u64>,
    /// Options of the hook `passkey approval`, one a line.
    pub(crate) approval: Vec<String>,
    /// More of the consumer's file.
    pub(crate) consumer: &'static str,
    /// More of the trackers' file.
    pub(crate) tracker: &'static str,
    /// What trackers show over HTTPS; without it they do not speak it.
    pub(crate) certificate: Option<Certificate>,
    /// A clock for each tracker, for the consumer, and for Redis.
    pub(crate) clocks: bool,
}

/// One of the site's trackers, with a way to Redis of its own.
#[derive(Debug)]
pub(crate) struct Tracker {
    pub(crate) service: Service,
    pub(crate) way: Relay,
    pub(crate) ports: Ports,
    pub(crate) folder: PathBuf,
    pub(crate) clock: Option<Clock>,
    config: String,
}

/// Dropped from top to bottom.
#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) trackers: Vec<Tracker>,
    pub(crate) consumer: Service,
    pub(crate) redis: RedisServer,
    pub(crate) consumer_clock: Option<Clock>,
    pub(crate) redis_clock: Option<Clock>,
    consumer_config: String,
    pub(crate) folder: TempDir,
}

/// What the ledger holds of a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Books {
    pub(crate) up: u64,
    pub(crate) down: u64,
    pub(crate) credited_up: u64,
    pub(crate) credited_down: u64,
    pub(crate) completed: u64,
}

impl Site {
    /// Two trackers that spool, and a consumer.
    pub(crate) fn start() -> Self {
        Self::start_with(&Plan::default())
    }

    pub(crate) fn start_with(plan: &Plan) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = |name: &str| {
            plan.clocks.then(|| {
                let clock = Clock::right(folder.path().join(name)).unwrap();
                clock.expect("scripts/test installs a C compiler")
            })
        };
        let redis_clock = clock("redis.clock");
        let redis = redis_clock.as_ref().map_or_else(RedisServer::start, RedisServer::start_at);
        let trackers = ["one", "two"].map(|name| {
            Tracker::start(folder.path().join(name), plan, &redis, clock(&format!("{name}.clock")))
        });
        let consumer_config =
            format!("redis_broker: {}\ndatabase: {}\n{}", redis.url(), database(&folder), plan.consumer);
        let consumer_clock = clock("consumer.clock");
        let consumer = launch("consumer", folder.path(), &consumer_config, consumer_clock.as_ref());
        let mut site = Self {
            trackers: trackers.into(),
            consumer,
            redis,
            consumer_clock,
            redis_clock,
            consumer_config,
            folder,
        };
        site.trackers.iter_mut().for_each(|tracker| tracker.service.wait_until_ready());
        site.consumer.wait_until_ready();
        site
    }

    pub(crate) fn database(&self) -> String {
        database(&self.folder)
    }

    pub(crate) fn ledger_file(&self) -> PathBuf {
        self.folder.path().join("ledger.db")
    }

    pub(crate) fn trackerctl(&self) -> Trackerctl {
        Trackerctl::new(self.redis.url(), self.database())
    }

    /// A user with a client that has announced nothing yet.
    pub(crate) fn session(&self, passkey: &str) -> Session {
        let _: () = self.redis.connection().sadd("pt:passkeys", passkey).unwrap();
        Session::new(passkey, self.ports())
    }

    pub(crate) fn ports(&self) -> Vec<Ports> {
        self.trackers.iter().map(|tracker| tracker.ports).collect()
    }

    /// Starts the consumer again; it need not become ready.
    pub(crate) fn launch_consumer(&mut self) {
        self.consumer =
            launch("consumer", self.folder.path(), &self.consumer_config, self.consumer_clock.as_ref());
    }

    /// A second consumer of the same group and ledger.
    pub(crate) fn second_consumer(&self, name: &str) -> Service {
        let folder = self.folder.path().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        let mut consumer = launch("consumer", &folder, &self.consumer_config, None);
        consumer.wait_until_ready();
        consumer
    }

    /// Waits until everything that trackers have recorded is in the ledger.
    pub(crate) fn settle(&self) {
        for tracker in &self.trackers {
            eventually("spools are empty", || {
                tracker.service.metrics().contains("spool_records 0\n").then_some(())
            });
        }
        eventually("everything in the stream is settled", || self.is_settled().then_some(()));
    }

    /// Waits until everything that this tracker has recorded is in the ledger.
    pub(crate) fn settle_first(&self, tracker: usize) {
        let page = self.trackers[tracker].service.metrics();
        assert!(page.contains("spool_records 0\n"), "this tracker reaches Redis");
        eventually("everything in the stream is settled", || self.is_settled().then_some(()));
    }

    fn is_settled(&self) -> bool {
        let mut redis = self.redis.connection();
        let stream: redis::RedisResult<redis::streams::StreamInfoStreamReply> =
            redis.xinfo_stream("tracker:traffic");
        let groups: redis::RedisResult<redis::streams::StreamInfoGroupsReply> =
            redis.xinfo_groups("tracker:traffic");
        let (Ok(stream), Ok(groups)) = (stream, groups) else { return false };
        let newest = stream.last_generated_id;
        groups.groups.iter().any(|group| group.pending == 0 && group.last_delivered_id == newest)
    }

    /// What the ledger says of a user now.
    pub(crate) fn books(&self, passkey: &str) -> Books {
        let sql = "SELECT raw_up, raw_down, credited_up, credited_down, completed FROM user_traffic \
                   WHERE passkey = ?";
        let books = self.ledger().query_row(sql, [passkey], |row| {
            // Never below 0: the ledger itself holds to that.
            let figure = |column| row.get::<usize, i64>(column).map(i64::unsigned_abs);
            Ok(Books {
                up: figure(0)?,
                down: figure(1)?,
                credited_up: figure(2)?,
                credited_down: figure(3)?,
                completed: figure(4)?,
            })
        });
        match books {
            Err(rusqlite::Error::QueryReturnedNoRows) => Books::default(),
            books => books.unwrap(),
        }
    }

    pub(crate) fn ledger(&self) -> Connection {
        Connection::open_with_flags(self.ledger_file(), OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap()
    }

    /// Settles; then the user's bytes must be these, credited in full, and the ledger sound.
    pub(crate) fn balances(&self, session: &Session, up: u64, down: u64) {
        self.settle();
        self.says(session, up, down);
        self.trackerctl().ok(&["ledger", "verify"]);
    }

    /// The user's bytes must be these, credited in full.
    pub(crate) fn says(&self, session: &Session, up: u64, down: u64) {
        let passkey = &session.speaker.passkey;
        let books = self.books(passkey);
        let truth = Books { up, down, credited_up: up, credited_down: down, completed: books.completed };
        assert_eq!(books, truth, "{passkey}:\n{}", self.explain(session));
    }

    /// What the ledger knows of it, for whoever reads the failure.
    fn explain(&self, session: &Session) -> String {
        let passkey = session.speaker.passkey.as_str();
        let told = self.trackerctl().run(&["user", "explain", passkey, &session.info_hash().hex()]);
        let events = self.events(passkey).into_iter().map(|event| {
            let TrafficEvent { info_hash, event, af, du, dd, left, ts, dt, claim, .. } = event;
            format!("{info_hash} {event:?} {af:?} du {du} dd {dd} left {left} ts {ts} dt {dt} {claim:?}\n")
        });
        told.stdout + &told.stderr + &events.collect::<String>()
    }

    /// What the stream tells of a user, oldest first.
    pub(crate) fn events(&self, passkey: &str) -> Vec<TrafficEvent> {
        type Entry = (String, Vec<(Vec<u8>, Vec<u8>)>);
        let mut range = redis::cmd("XRANGE");
        range.arg(Keys::default().traffic()).arg("-").arg("+");
        let entries: Vec<Entry> = range.query(&mut self.redis.connection()).unwrap();
        let event = |fields: &[(Vec<u8>, Vec<u8>)]| {
            TrafficEvent::from_fields(fields.iter().map(|(name, value)| (&name[..], &value[..]))).unwrap()
        };
        let events = entries.iter().map(|(_, fields)| event(fields));
        events.filter(|event| event.passkey.reveal() == passkey).collect()
    }

    /// Whether the user seeds the torrent now, and whether they leech it.
    pub(crate) fn presence(&self, session: &Session) -> (bool, bool) {
        let (keys, passkey) = (Keys::default(), session.speaker.passkey.parse::<Passkey>().unwrap());
        let mut redis = self.redis.connection();
        let hash = session.info_hash().hex();
        let mut is_in = |key: String| redis.sismember::<_, _, bool>(key, &*hash).unwrap();
        (is_in(keys.seeding(&passkey)), is_in(keys.leeching(&passkey)))
    }
}

impl Tracker {
    fn start(folder: PathBuf, plan: &Plan, redis: &RedisServer, clock: Option<Clock>) -> Self {
        std::fs::create_dir_all(&folder).unwrap();
        let port = |url: &str| url.rsplit(':').next()?.split('/').next()?.parse::<u16>().ok();
        let redis_port = port(&redis.url()).expect("a test's redis-server has a port");
        let way = Relay::tcp(([127, 0, 0, 1], 0).into(), ([127, 0, 0, 1], redis_port).into());
        let ports = Ports { http: free_port(), https: free_port(), udp: free_port() };
        let config = tracker_config(ports, way.address().port(), plan);
        let service = launch("tracker", &folder, &config, clock.as_ref());
        Self { service, way, ports, folder, clock, config }
    }

    /// Kills it, as a crash would, and starts it again.
    pub(crate) fn kill_and_restart(&mut self) {
        self.service.kill();
        self.restart();
    }

    /// Starts it after its end.
    pub(crate) fn restart(&mut self) {
        self.service = launch("tracker", &self.folder, &self.config, self.clock.as_ref());
        self.service.wait_until_ready();
    }
}

fn database(folder: &TempDir) -> String {
    format!("sqlite://{}", folder.path().join("ledger.db").display())
}

fn launch(name: &str, folder: &Path, config: &str, clock: Option<&Clock>) -> Service {
    let environment = clock.map(Clock::environment);
    let environment: Vec<(&str, &Path)> =
        environment.iter().flatten().map(|(name, value)| (*name, value.as_path())).collect();
    Service::launch_with(name, folder, config, &environment)
}

fn tracker_config(ports: Ports, redis: u16, plan: &Plan) -> String {
    let Ports { http, https, udp } = ports;
    let https = plan.certificate.as_ref().map(|certificate| {
        let (file, key) = (certificate.file(), certificate.key_file());
        format!(
            ", https_addr: '[::]:{https}', tls_cert_path: {}, tls_key_path: {}",
            file.display(),
            key.display()
        )
    });
    let https = https.unwrap_or_default();
    let (approval, recording) = (indented(&plan.approval), indented(&plan.recording));
    let limit = plan.spool_bytes.map(|bytes| format!(", max_bytes: {bytes}")).unwrap_or_default();
    format!(
        "http: {{addr: '[::]:{http}', workers: 2{https}}}\nudp: {{addr: '[::]:{udp}', workers: 1}}\n\
         redis_broker: redis://127.0.0.1:{redis}/0\n{}hooks:\n  prehooks:\n  - name: passkey approval\n\
         \x20   options:\n      cache_ttl_seconds: 0\n{approval}  posthooks:\n  - name: traffic push\n\
         \x20   options:\n      retry_count: 1\n      retry_interval: 20ms\n      spool: {{directory: spool{limit}}}\n{recording}",
        plan.tracker
    )
}

fn indented<T: AsRef<str>>(options: &[T]) -> String {
    options.iter().map(|option| format!("      {}\n", option.as_ref())).collect()
}
