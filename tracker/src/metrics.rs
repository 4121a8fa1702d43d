//! What the tracker counts, in Prometheus' naming: seconds and bytes as base units, no label that a client chooses.

use std::time::Duration;

use contract::AddressFamily;
use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts, Registry, Result,
};

use crate::forward::ForwardMetrics;
use crate::swarm::{Census, Swarms};
use crate::traffic::Outcome;

/// From 10 microseconds, a reply out of memory, to 5 seconds, a Redis in trouble.
const LATENCY_BUCKETS: &[f64] = &[
    1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0,
];

/// What a request was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// An announce.
    Announce,
    /// A scrape.
    Scrape,
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Answered.
    Accepted,
    /// Refused with a failure reason.
    Refused,
}

/// One latency histogram per combination, looked up once: a label look-up per request would cost more than the request.
#[derive(Debug, Clone)]
pub struct Latency([[[Histogram; 2]; 2]; 2]);

impl Latency {
    /// Notes one request.
    pub fn observe(&self, action: Action, family: AddressFamily, verdict: Verdict, took: Duration) {
        self.0[action as usize][family as usize][verdict as usize].observe(took.as_secs_f64());
    }
}

/// What the HTTP frontend counts.
#[derive(Debug, Clone)]
pub struct FrontendMetrics {
    latency: Latency,
    /// Announces with an event nobody knows.
    pub unknown_events: IntCounter,
    /// Connections that ended in an error (slow, broken, not HTTP).
    pub broken_connections: IntCounter,
}

impl FrontendMetrics {
    /// Notes one request.
    pub fn observe(&self, action: Action, family: AddressFamily, verdict: Verdict, took: Duration) {
        self.latency.observe(action, family, verdict, took);
    }
}

/// What the UDP frontend counts.
#[derive(Debug, Clone)]
pub struct UdpMetrics {
    /// Announces and scrapes.
    pub latency: Latency,
    /// Announces with an event nobody knows.
    pub unknown_events: IntCounter,
    /// Connection ids handed out.
    pub connects: IntCounter,
    dropped: [IntCounter; 5],
}

/// Why a UDP packet went no further.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dropped {
    /// Not a packet of the protocol.
    Malformed,
    /// Longer than any packet of the protocol.
    Oversized,
    /// Without a connection id that we gave to this address lately.
    BadConnectionId,
    /// A reply that the system did not take.
    Unsent,
    /// A reply for which there was no room in the queue.
    Overloaded,
}

impl UdpMetrics {
    /// Notes packets that went no further.
    pub fn drop_packets(&self, why: Dropped, count: usize) {
        self.dropped[why as usize].inc_by(count as u64);
    }
}

/// What the recorder counts.
#[derive(Debug, Clone)]
pub struct RecorderMetrics {
    /// Reports that wait for the batch after the one under way.
    pub waiting: IntGauge,
    /// Seconds from a batch's first attempt to its commit.
    pub commit_seconds: Histogram,
    /// Attempts that failed.
    pub errors: IntCounter,
    /// Announces refused because Redis was away.
    pub refused: IntCounter,
    outcomes: [IntCounter; 5],
}

impl RecorderMetrics {
    /// Notes what became of one report.
    pub fn count(&self, outcome: &Outcome) {
        let place = match outcome {
            Outcome::Booked => 0,
            Outcome::Idle => 1,
            Outcome::Repeated => 2,
            Outcome::Late => 3,
            Outcome::Failed(_) => 4,
        };
        self.outcomes[place].inc();
    }
}

/// Gauges about the swarms, brought up to date by the sweeper.
#[derive(Debug, Clone)]
pub struct SwarmMetrics {
    torrents: IntGauge,
    seeders: IntGauge,
    leechers: IntGauge,
    endpoints: [IntGauge; 2],
    /// Endpoints forgotten because their announces stopped.
    pub expired: IntCounter,
    /// Seconds one sweep through all shards took.
    pub sweep_seconds: Histogram,
}

impl SwarmMetrics {
    /// Publishes a census.
    pub fn publish(&self, swarms: &Swarms) {
        let Census { torrents, seeders, leechers, endpoints_v4, endpoints_v6 } = swarms.census();
        let set = |gauge: &IntGauge, count: u64| gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
        set(&self.torrents, torrents);
        set(&self.seeders, seeders);
        set(&self.leechers, leechers);
        set(&self.endpoints[0], endpoints_v4);
        set(&self.endpoints[1], endpoints_v6);
    }
}

/// How often `peer limits` had something to say.
#[derive(Debug, Clone)]
pub struct PeerLimitMetrics {
    /// Announces of a client too many on its torrent.
    pub sessions: IntCounter,
    /// Announces that came too soon.
    pub announces: IntCounter,
    /// `stopped` of sessions that were not known.
    pub strangers: IntCounter,
    /// Users who came from too many addresses, once for each window.
    pub addresses: IntCounter,
    /// Announces that were not limited because there was no room to remember their session.
    pub untracked: IntCounter,
}

/// All of the tracker's metrics and the registry they are in.
#[derive(Debug, Clone)]
pub struct Metrics {
    /// What `/metrics` shows.
    pub registry: Registry,
    /// The HTTP frontend.
    pub http: FrontendMetrics,
    /// The UDP frontend.
    pub udp: UdpMetrics,
    /// Traffic push.
    pub recorder: RecorderMetrics,
    /// The swarms.
    pub swarm: SwarmMetrics,
    /// The limits.
    pub peer_limits: PeerLimitMetrics,
    /// The forwarders.
    pub forward: ForwardMetrics,
}

impl Metrics {
    /// Registers everything.
    ///
    /// # Errors
    /// When a name is taken or malformed: a mistake in this file.
    pub fn new() -> Result<Self> {
        let registry = Registry::new();
        let process = prometheus::process_collector::ProcessCollector::for_self();
        registry.register(Box::new(process))?;
        let latency = HistogramVec::new(
            HistogramOpts::new("seedbook_tracker_request_seconds", "From a parsed request to its reply")
                .buckets(LATENCY_BUCKETS.to_vec()),
            &["frontend", "action", "family", "result"],
        )?;
        registry.register(Box::new(latency.clone()))?;
        Ok(Self {
            http: frontend(&registry, &latency, "http")?,
            udp: udp(&registry, &latency)?,
            recorder: recorder(&registry)?,
            swarm: swarm(&registry)?,
            peer_limits: peer_limits(&registry)?,
            forward: ForwardMetrics::new(&registry)?,
            registry,
        })
    }
}

fn latency_of(latency: &HistogramVec, name: &str) -> Result<Latency> {
    let histogram = |action: &str, family: &str, result: &str| {
        latency.get_metric_with_label_values(&[name, action, family, result])
    };
    let by_result = |action: &str, family: &str| -> Result<[Histogram; 2]> {
        Ok([histogram(action, family, "accepted")?, histogram(action, family, "refused")?])
    };
    let by_family = |action: &str| -> Result<[[Histogram; 2]; 2]> {
        Ok([by_result(action, "4")?, by_result(action, "6")?])
    };
    Ok(Latency([by_family("announce")?, by_family("scrape")?]))
}

fn unknown_events(registry: &Registry, name: &str) -> Result<IntCounter> {
    counter(
        registry,
        &format!("seedbook_tracker_{name}_unknown_events_total"),
        "Announces with an event that nobody knows, treated as none",
    )
}

fn frontend(registry: &Registry, latency: &HistogramVec, name: &str) -> Result<FrontendMetrics> {
    Ok(FrontendMetrics {
        latency: latency_of(latency, name)?,
        unknown_events: unknown_events(registry, name)?,
        broken_connections: counter(
            registry,
            &format!("seedbook_tracker_{name}_broken_connections_total"),
            "Connections that ended in an error",
        )?,
    })
}

fn udp(registry: &Registry, latency: &HistogramVec) -> Result<UdpMetrics> {
    let dropped = IntCounterVec::new(
        Opts::new("seedbook_tracker_udp_dropped_packets_total", "UDP packets that went no further"),
        &["reason"],
    )?;
    registry.register(Box::new(dropped.clone()))?;
    let reason = |word: &str| dropped.get_metric_with_label_values(&[word]);
    Ok(UdpMetrics {
        latency: latency_of(latency, "udp")?,
        unknown_events: unknown_events(registry, "udp")?,
        connects: counter(registry, "seedbook_tracker_udp_connects_total", "Connection ids handed out")?,
        dropped: [
            reason("malformed")?,
            reason("oversized")?,
            reason("bad_connection_id")?,
            reason("unsent")?,
            reason("overloaded")?,
        ],
    })
}

fn recorder(registry: &Registry) -> Result<RecorderMetrics> {
    let outcomes = IntCounterVec::new(
        Opts::new("seedbook_tracker_recorded_total", "Reports by what became of them"),
        &["outcome"],
    )?;
    registry.register(Box::new(outcomes.clone()))?;
    let outcome = |word: &str| outcomes.get_metric_with_label_values(&[word]);
    Ok(RecorderMetrics {
        waiting: gauge(registry, "seedbook_tracker_recorder_waiting", "Reports that wait to be recorded")?,
        commit_seconds: histogram(
            registry,
            "seedbook_tracker_recorder_commit_seconds",
            "From a batch's first attempt to its commit in Redis",
        )?,
        errors: counter(registry, "seedbook_tracker_recorder_errors_total", "Attempts that failed")?,
        refused: counter(
            registry,
            "seedbook_tracker_recorder_refused_total",
            "Announces refused because they could not be recorded",
        )?,
        outcomes: [
            outcome("booked")?,
            outcome("idle")?,
            outcome("repeated")?,
            outcome("late")?,
            outcome("failed")?,
        ],
    })
}

fn swarm(registry: &Registry) -> Result<SwarmMetrics> {
    Ok(SwarmMetrics {
        torrents: gauge(registry, "seedbook_tracker_torrents", "Torrents with at least one peer")?,
        seeders: gauge(registry, "seedbook_tracker_seeders", "Clients that seed")?,
        leechers: gauge(registry, "seedbook_tracker_leechers", "Clients that download")?,
        endpoints: [
            gauge(registry, "seedbook_tracker_endpoints_v4", "IPv4 addresses of peers")?,
            gauge(registry, "seedbook_tracker_endpoints_v6", "IPv6 addresses of peers")?,
        ],
        expired: counter(
            registry,
            "seedbook_tracker_expired_peers_total",
            "Peers forgotten because their announces stopped",
        )?,
        sweep_seconds: histogram(
            registry,
            "seedbook_tracker_sweep_seconds",
            "One sweep for silent peers through all shards",
        )?,
    })
}

fn peer_limits(registry: &Registry) -> Result<PeerLimitMetrics> {
    let found = IntCounterVec::new(
        Opts::new("seedbook_tracker_peer_limits_total", "What peer limits found, by kind"),
        &["finding"],
    )?;
    registry.register(Box::new(found.clone()))?;
    let finding = |word: &str| found.get_metric_with_label_values(&[word]);
    Ok(PeerLimitMetrics {
        sessions: finding("sessions")?,
        announces: finding("announces")?,
        strangers: finding("strangers")?,
        addresses: finding("addresses")?,
        untracked: finding("untracked")?,
    })
}

fn counter(registry: &Registry, name: &str, help: &str) -> Result<IntCounter> {
    let counter = IntCounter::new(name, help)?;
    registry.register(Box::new(counter.clone()))?;
    Ok(counter)
}

fn gauge(registry: &Registry, name: &str, help: &str) -> Result<IntGauge> {
    let gauge = IntGauge::new(name, help)?;
    registry.register(Box::new(gauge.clone()))?;
    Ok(gauge)
}

fn histogram(registry: &Registry, name: &str, help: &str) -> Result<Histogram> {
    let histogram = Histogram::with_opts(HistogramOpts::new(name, help).buckets(LATENCY_BUCKETS.to_vec()))?;
    registry.register(Box::new(histogram.clone()))?;
    Ok(histogram)
}
