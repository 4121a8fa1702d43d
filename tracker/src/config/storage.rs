//! The swarm store's section.

use contract::config::Period;
use serde::{Deserialize, Serialize};

/// Where swarms are kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct StorageConfig {
    /// The kind of store.
    pub name: StorageName,
    /// Its settings.
    pub config: MemoryConfig,
}

/// The kinds of store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StorageName {
    /// In this process's memory.
    Memory,
}

/// The in-memory store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MemoryConfig {
    /// How often silent peers are looked for.
    pub gc_interval: Period,
    /// How long a peer may be silent.
    pub peer_lifetime: Period,
    /// Locks: more of them means less waiting between cores.
    pub shard_count: usize,
    /// Taken for the sake of other trackers' files: gauges are brought up to date every few seconds.
    pub prometheus_reporting_interval: Period,
}

impl Default for StorageConfig {
    fn default() -> Self {
        Self { name: StorageName::Memory, config: MemoryConfig::default() }
    }
}

impl Default for MemoryConfig {
    fn default() -> Self {
        Self {
            gc_interval: Period::from_secs(3 * 60),
            peer_lifetime: Period::from_secs(31 * 60),
            shard_count: 256,
            prometheus_reporting_interval: Period::from_secs(1),
        }
    }
}
