//! How the services are set up: short waits, small batches, small spools, so that much happens in little
//! time.

use std::path::Path;

use crate::session::SKEW_MS;

/// A peer must not expire while a clock is an hour ahead: its presence is compared at the end.
const PEER_TIMEOUT: &str = "24h";
/// Twice what the fastest client moves in a second.
const MAX_RATE: u64 = 120_000_000;

/// The first tracker's spool is full after seconds of an outage, so announces are coalesced and refused; the
/// other one's never.
const SPOOL_BYTES: [u64; 2] = [256 * 1024, 16 * 1024 * 1024];

/// Where a tracker listens and what it asks.
#[derive(Debug)]
pub(crate) struct TrackerPlaces<'a> {
    /// For HTTP and UDP, on both families.
    pub(crate) port: u16,
    pub(crate) metrics: u16,
    pub(crate) redis: &'a str,
    /// The site's page that knows who is not on the whitelist.
    pub(crate) site: &'a str,
    pub(crate) spool: &'a Path,
}

/// A tracker's file.
pub(crate) fn tracker(number: usize, places: &TrackerPlaces<'_>) -> String {
    let TrackerPlaces { port, metrics, redis, site, spool } = places;
    let (spool, max_bytes) = (spool.display(), SPOOL_BYTES[number % SPOOL_BYTES.len()]);
    format!(
        "http: {{addr: '[::]:{port}', workers: 2}}\nudp: {{addr: '[::]:{port}', workers: 2}}\nmetrics_addr: 127.0.0.1:{metrics}\n\
         redis_broker: {redis}\ngrace_period: 2s\nhooks:\n  prehooks:\n  - name: passkey approval\n    options: {{{timeouts}, \
         http_url: '{site}', http_timeout: 5s, cache_ttl_seconds: 1, negative_ttl_seconds: 1}}\n  posthooks:\n  \
         - name: traffic push\n    options:\n      retry_count: 2\n      retry_interval: 50ms\n      \
         path_skew: {SKEW_MS}ms\n      require_durable_redis: true\n      \
         spool: {{directory: '{spool}', max_bytes: {max_bytes}}}\n      {}\n",
        TIMEOUTS.join("\n      "),
        timeouts = TIMEOUTS.join(", "),
    )
}

const TIMEOUTS: [&str; 3] =
    ["redis_read_timeout: 400ms", "redis_write_timeout: 400ms", "redis_connect_timeout: 400ms"];

/// A consumer's file.
pub(crate) fn consumer(name: &str, metrics: u16, redis: &str, database: &str) -> String {
    format!(
        "consumer: {name}\nmetrics_addr: 127.0.0.1:{metrics}\nredis_broker: {redis}\ndatabase: {database}\nbatch_size: 40\n\
         claim_idle: 1s\npresence: {{peer_timeout: {PEER_TIMEOUT}, sweep_interval: 2s}}\nretention: {{interval: 2s}}\n\
         settlement: {{max_rate_bytes_per_s: {MAX_RATE}}}\n"
    )
}

/// Redis' arguments. What it confirmed in the last second need not be on its disk.
pub(crate) fn redis(port: u16, folder: &Path) -> Vec<String> {
    let words = format!(
        "--port {port} --bind 127.0.0.1 --save  --appendonly yes --appendfsync everysec --auto-aof-rewrite-min-size 8mb \
         --repl-diskless-sync-delay 0 --dir"
    );
    let arguments = words.split(' ').map(ToOwned::to_owned);
    arguments.chain([folder.display().to_string()]).collect()
}

/// What makes a Redis follow another one.
pub(crate) fn replica(port: u16, folder: &Path, primary: u16) -> Vec<String> {
    let follows = ["--replicaof".to_owned(), format!("127.0.0.1 {primary}")];
    redis(port, folder).into_iter().chain(follows).collect()
}
