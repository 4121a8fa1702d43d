//! The tracker's metrics in one registry, in Prometheus' naming: seconds and bytes as base units, no label
//! whose value a client chooses.

use prometheus::{Registry, Result};

use crate::forward::ForwardMetrics;
use crate::frontend::metrics::{Frontends, HttpMetrics, UdpMetrics};
use crate::hooks::metrics::HookMetrics;
use crate::sharing::SharingMetrics;
use crate::swarm::SwarmMetrics;
use crate::traffic::RecorderMetrics;

/// All of the tracker's metrics and the registry they are in.
#[derive(Debug, Clone)]
pub struct Metrics {
    pub(crate) registry: Registry,
    pub(crate) http: HttpMetrics,
    pub(crate) https: HttpMetrics,
    pub(crate) udp: UdpMetrics,
    /// The recorder's, which benchmarks hand to a recorder of their own.
    pub recorder: RecorderMetrics,
    pub(crate) swarm: SwarmMetrics,
    pub(crate) hooks: HookMetrics,
    pub(crate) forward: ForwardMetrics,
    /// Swarms shared with other trackers.
    pub sharing: SharingMetrics,
}

impl Metrics {
    /// Registers everything.
    ///
    /// # Errors
    /// When a name is taken or malformed: a mistake in this file.
    pub fn new() -> Result<Self> {
        let registry = service::metrics::registry()?;
        let frontends = Frontends::new(&registry)?;
        Ok(Self {
            http: frontends.http("http")?,
            https: frontends.http("https")?,
            udp: frontends.udp(&registry)?,
            recorder: RecorderMetrics::new(&registry)?,
            swarm: SwarmMetrics::new(&registry)?,
            hooks: HookMetrics::new(&registry)?,
            forward: ForwardMetrics::new(&registry)?,
            sharing: SharingMetrics::new(&registry)?,
            registry,
        })
    }
}
