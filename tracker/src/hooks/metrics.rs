//! The hooks' metrics: warnings of `peer limits`, calls to the site, fetched key sets.

use std::time::Duration;

use prometheus::{Histogram, IntCounter, IntGauge, Registry, Result};

use service::metrics::{LATENCY_BUCKETS, counters_by, gauge, histogram};

/// All hooks' metrics.
#[derive(Debug, Clone)]
pub struct HookMetrics {
    pub(crate) peer_limits: PeerLimitMetrics,
    /// Calls of `passkey approval` to the site's page.
    pub site: SiteMetrics,
    /// Fetches of `jwt`'s signing keys.
    pub key_set: KeySetMetrics,
}

impl HookMetrics {
    /// Registers them.
    ///
    /// # Errors
    /// When a name is taken.
    pub fn new(registry: &Registry) -> Result<Self> {
        Ok(Self { peer_limits: peer_limits(registry)?, site: site(registry)?, key_set: key_set(registry)? })
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

/// What the site's approval page answered.
#[derive(Debug, Clone)]
pub struct SiteMetrics {
    /// Passkeys it approved.
    pub approved: IntCounter,
    /// Passkeys it refused.
    pub refused: IntCounter,
    /// Calls without an answer that could be read.
    pub failed: IntCounter,
    /// Announces that nobody could be asked about, because too many waited.
    pub overflowed: IntCounter,
    call_seconds: Histogram,
}

impl SiteMetrics {
    /// Notes how long one call took, answered or not.
    pub fn called(&self, took: Duration) {
        self.call_seconds.observe(took.as_secs_f64());
    }
}

/// What became of the fetches of signing keys.
#[derive(Debug, Clone)]
pub struct KeySetMetrics {
    /// Sets that were taken.
    pub fetched: IntCounter,
    /// Fetches without a usable set.
    pub failed: IntCounter,
    /// Keys in force.
    pub keys: IntGauge,
}

fn peer_limits(registry: &Registry) -> Result<PeerLimitMetrics> {
    let finding = counters_by(
        registry,
        "seedbook_tracker_peer_limits_total",
        "What peer limits found, by kind",
        "finding",
    )?;
    Ok(PeerLimitMetrics {
        sessions: finding("sessions")?,
        announces: finding("announces")?,
        strangers: finding("strangers")?,
        addresses: finding("addresses")?,
        untracked: finding("untracked")?,
    })
}

fn site(registry: &Registry) -> Result<SiteMetrics> {
    let answer = counters_by(
        registry,
        "seedbook_tracker_site_calls_total",
        "Questions for the site's approval page, by what came of them",
        "answer",
    )?;
    Ok(SiteMetrics {
        approved: answer("approved")?,
        refused: answer("refused")?,
        failed: answer("failed")?,
        overflowed: answer("overflowed")?,
        call_seconds: histogram(
            registry,
            "seedbook_tracker_site_call_seconds",
            "One call to the site's approval page",
            LATENCY_BUCKETS,
        )?,
    })
}

fn key_set(registry: &Registry) -> Result<KeySetMetrics> {
    let outcome = counters_by(
        registry,
        "seedbook_tracker_jwk_set_fetches_total",
        "Fetches of the signing keys for tokens, by outcome",
        "outcome",
    )?;
    Ok(KeySetMetrics {
        fetched: outcome("fetched")?,
        failed: outcome("failed")?,
        keys: gauge(registry, "seedbook_tracker_jwk_set_keys", "Signing keys for tokens in force")?,
    })
}
