//! The frontends' metrics: request times by frontend, connections of HTTP, packets of UDP. One name per
//! figure, and the frontend as its label.

use std::time::Duration;

use contract::AddressFamily;
use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    Result, local::LocalHistogram,
};

use service::metrics::{LATENCY_BUCKETS, counter, counters_by};

/// The kind of a request, a label of its latency.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Labelled `announce`.
    Announce,
    /// Labelled `scrape`.
    Scrape,
}

/// How a request ended, a label of its latency.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestOutcome {
    /// Answered with peers or counts.
    Accepted,
    /// Refused with a failure reason.
    Refused,
}

/// One latency histogram per combination, looked up once: a label look-up per request would cost more than
/// the request.
#[derive(Debug, Clone)]
pub struct Latency([[[Histogram; 2]; 2]; 2]);

impl Latency {
    pub(crate) fn observe(
        &self,
        action: Action,
        family: AddressFamily,
        verdict: RequestOutcome,
        took: Duration,
    ) {
        self.0[action as usize][family as usize][verdict as usize].observe(took.as_secs_f64());
    }
}

impl Latency {
    /// The same for one thread that notes many and shares them now and then.
    #[must_use]
    pub fn local(&self) -> LocalLatency {
        LocalLatency(
            self.0.each_ref().map(|one| one.each_ref().map(|two| two.each_ref().map(Histogram::local))),
        )
    }
}

/// Request times that one thread has noted and not shared yet.
#[derive(Debug)]
pub struct LocalLatency([[[LocalHistogram; 2]; 2]; 2]);

impl LocalLatency {
    pub(crate) fn observe(
        &self,
        action: Action,
        family: AddressFamily,
        verdict: RequestOutcome,
        took: Duration,
    ) {
        self.0[action as usize][family as usize][verdict as usize].observe(took.as_secs_f64());
    }

    pub(crate) fn flush(&self) {
        self.0.as_flattened().as_flattened().iter().for_each(LocalHistogram::flush);
    }
}

/// What the HTTP frontend counts.
#[derive(Debug, Clone)]
pub struct HttpMetrics {
    pub(crate) latency: Latency,
    /// Announces with an event nobody knows.
    pub unknown_events: IntCounter,
    /// Connections that stand now.
    pub open_connections: IntGauge,
    /// Connections that ended in an error: broken off, not HTTP, a failed handshake.
    pub broken_connections: IntCounter,
    /// Connections closed because a handshake or a request took too long to arrive.
    pub slow_requests: IntCounter,
    /// Connections closed because the client took too long to read its reply.
    pub slow_readers: IntCounter,
    /// Connections closed because no further request came: nothing is wrong with those.
    pub idle_connections: IntCounter,
}

/// What the UDP frontend counts.
#[derive(Debug, Clone)]
pub struct UdpMetrics {
    pub(crate) latency: Latency,
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

/// What all frontends share: one name per figure, and the frontend as its label.
pub struct Frontends {
    latency: HistogramVec,
    unknown_events: IntCounterVec,
    open: IntGaugeVec,
    closed: IntCounterVec,
}

impl Frontends {
    /// Registers what is split by frontend.
    ///
    /// # Errors
    /// When a name is taken.
    pub fn new(registry: &Registry) -> Result<Self> {
        let name = |name: &str| format!("seedbook_tracker_{name}");
        let frontends = Self {
            latency: HistogramVec::new(
                HistogramOpts::new(name("request_seconds"), "From a parsed request to its reply")
                    .buckets(LATENCY_BUCKETS.to_vec()),
                &["frontend", "action", "family", "result"],
            )?,
            unknown_events: IntCounterVec::new(
                Opts::new(
                    name("unknown_events_total"),
                    "Announces with an event that nobody knows, treated as none",
                ),
                &["frontend"],
            )?,
            open: IntGaugeVec::new(
                Opts::new(name("open_connections"), "Connections that stand now"),
                &["frontend"],
            )?,
            closed: IntCounterVec::new(
                Opts::new(
                    name("connections_closed_total"),
                    "Connections that the client did not end in good order, by what was wrong",
                ),
                &["frontend", "cause"],
            )?,
        };
        registry.register(Box::new(frontends.latency.clone()))?;
        registry.register(Box::new(frontends.unknown_events.clone()))?;
        registry.register(Box::new(frontends.open.clone()))?;
        registry.register(Box::new(frontends.closed.clone()))?;
        Ok(frontends)
    }

    fn latency(&self, frontend: &str) -> Result<Latency> {
        let by_result = |action: &str, family: &str| -> Result<[Histogram; 2]> {
            let histogram =
                |result| self.latency.get_metric_with_label_values(&[frontend, action, family, result]);
            Ok([histogram("accepted")?, histogram("refused")?])
        };
        let by_family = |action: &str| -> Result<[[Histogram; 2]; 2]> {
            Ok([by_result(action, "4")?, by_result(action, "6")?])
        };
        Ok(Latency([by_family("announce")?, by_family("scrape")?]))
    }

    fn unknown_events(&self, frontend: &str) -> Result<IntCounter> {
        self.unknown_events.get_metric_with_label_values(&[frontend])
    }

    /// The figures of plain HTTP or HTTPS.
    ///
    /// # Errors
    /// When a label is malformed.
    pub fn http(&self, frontend: &str) -> Result<HttpMetrics> {
        let closed = |cause: &str| self.closed.get_metric_with_label_values(&[frontend, cause]);
        Ok(HttpMetrics {
            latency: self.latency(frontend)?,
            unknown_events: self.unknown_events(frontend)?,
            open_connections: self.open.get_metric_with_label_values(&[frontend])?,
            broken_connections: closed("broken")?,
            slow_requests: closed("slow_request")?,
            slow_readers: closed("slow_reader")?,
            idle_connections: closed("idle")?,
        })
    }

    /// The figures of UDP, with those that no other frontend has.
    ///
    /// # Errors
    /// When a name is taken.
    pub fn udp(&self, registry: &Registry) -> Result<UdpMetrics> {
        let reason = counters_by(
            registry,
            "seedbook_tracker_udp_dropped_packets_total",
            "UDP packets that went no further",
            "reason",
        )?;
        Ok(UdpMetrics {
            latency: self.latency("udp")?,
            unknown_events: self.unknown_events("udp")?,
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
}
