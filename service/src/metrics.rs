//! Making a figure and registering it in one step. Each room of a program makes its own figures from these;
//! the program's composition root only makes the registry.

use prometheus::core::{Atomic, GenericGauge};
use prometheus::{
    Gauge, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, Result,
};

/// From 10 microseconds, a reply out of memory, to 5 seconds, a Redis in trouble.
pub const LATENCY_BUCKETS: &[f64] = &[
    1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0,
];

/// A registry with the figures of this process.
///
/// # Errors
/// Never for a fresh registry.
pub fn registry() -> Result<Registry> {
    let registry = Registry::new();
    registry.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))?;
    Ok(registry)
}

/// A counter.
///
/// # Errors
/// When the name is taken or malformed, as in all functions here: a mistake in the caller's file.
pub fn counter(registry: &Registry, name: impl Into<String>, help: &str) -> Result<IntCounter> {
    let counter = IntCounter::new(name, help)?;
    registry.register(Box::new(counter.clone()))?;
    Ok(counter)
}

/// A gauge of whole numbers.
///
/// # Errors
/// As [`counter`].
pub fn gauge(registry: &Registry, name: impl Into<String>, help: &str) -> Result<IntGauge> {
    register_gauge(registry, IntGauge::new(name, help)?)
}

/// A gauge of seconds.
///
/// # Errors
/// As [`counter`].
pub fn seconds_gauge(registry: &Registry, name: impl Into<String>, help: &str) -> Result<Gauge> {
    register_gauge(registry, Gauge::new(name, help)?)
}

fn register_gauge<P: Atomic + 'static>(
    registry: &Registry,
    gauge: GenericGauge<P>,
) -> Result<GenericGauge<P>> {
    registry.register(Box::new(gauge.clone()))?;
    Ok(gauge)
}

/// A histogram with these upper bounds.
///
/// # Errors
/// As [`counter`].
pub fn histogram(
    registry: &Registry,
    name: impl Into<String>,
    help: &str,
    buckets: &[f64],
) -> Result<Histogram> {
    let histogram = Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets.to_vec()))?;
    registry.register(Box::new(histogram.clone()))?;
    Ok(histogram)
}

/// A counter that is split by one label, and the way to one of its values.
///
/// # Errors
/// As [`counter`].
pub fn counters_by(
    registry: &Registry,
    name: &str,
    help: &str,
    label: &str,
) -> Result<impl Fn(&str) -> Result<IntCounter> + use<>> {
    let family = IntCounterVec::new(Opts::new(name, help), &[label])?;
    registry.register(Box::new(family.clone()))?;
    Ok(move |word: &str| family.get_metric_with_label_values(&[word]))
}

/// The same for a gauge.
///
/// # Errors
/// As [`counter`].
pub fn gauges_by(
    registry: &Registry,
    name: &str,
    help: &str,
    label: &str,
) -> Result<impl Fn(&str) -> Result<IntGauge> + use<>> {
    let family = IntGaugeVec::new(Opts::new(name, help), &[label])?;
    registry.register(Box::new(family.clone()))?;
    Ok(move |word: &str| family.get_metric_with_label_values(&[word]))
}
