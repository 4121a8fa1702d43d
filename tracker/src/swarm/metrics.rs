//! The swarms' metrics: a census now and then, and the peers that sweeps forget.

use prometheus::{Histogram, IntCounter, IntGauge, Registry, Result};
use service::metrics::{LATENCY_BUCKETS, counter, gauge, histogram};

use super::{Census, Swarms};

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
    /// Registers them.
    ///
    /// # Errors
    /// When a name is taken.
    pub fn new(registry: &Registry) -> Result<Self> {
        Ok(Self {
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
                LATENCY_BUCKETS,
            )?,
        })
    }

    pub(crate) fn publish(&self, swarms: &Swarms) {
        let Census { torrents, seeders, leechers, endpoints_v4, endpoints_v6 } = swarms.census();
        let set = |gauge: &IntGauge, count: u64| gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
        set(&self.torrents, torrents);
        set(&self.seeders, seeders);
        set(&self.leechers, leechers);
        set(&self.endpoints[0], endpoints_v4);
        set(&self.endpoints[1], endpoints_v6);
    }
}
