//! How the services are set up: short waits, small batches, small spools, so that much happens in little
//! time.

use std::path::Path;

/// A peer must not expire while a clock is an hour ahead: its presence is compared at the end.
const PEER_TIMEOUT: &str = "24h";

/// The first tracker's spool is full after seconds of an outage, so announces are coalesced and refused; the
/// other one's never.
const SPOOL_BYTES: [u64; 2] = [256 * 1024, 16 * 1024 * 1024];

/// A tracker's file. HTTP and UDP have the same port.
pub(crate) fn tracker(number: usize, port: u16, metrics: u16, redis: &str, spool: &Path) -> String {
    let (spool, max_bytes) = (spool.display(), SPOOL_BYTES[number % SPOOL_BYTES.len()]);
    format!(
        "http: {{addr: '127.0.0.1:{port}', workers: 2}}\nudp: {{addr: '127.0.0.1:{port}', workers: 2}}\nmetrics_addr: 127.0.0.1:{metrics}\nredis_broker: {redis}\n\
         grace_period: 2s\nhooks:\n  prehooks:\n  - name: passkey approval\n    options: {{{timeouts}}}\n  posthooks:\n  \
         - name: traffic push\n    options:\n      retry_count: 2\n      retry_interval: 50ms\n      \
         spool: {{directory: '{spool}', max_bytes: {max_bytes}}}\n      {}\n",
        TIMEOUTS.join("\n      "),
        timeouts = TIMEOUTS.join(", "),
    )
}

const TIMEOUTS: [&str; 3] =
    ["redis_read_timeout: 400ms", "redis_write_timeout: 400ms", "redis_connect_timeout: 400ms"];

/// A consumer's file. No rate is too high: simulated clients move gigabytes in a second.
pub(crate) fn consumer(name: &str, metrics: u16, redis: &str, database: &str) -> String {
    format!(
        "consumer: {name}\nmetrics_addr: 127.0.0.1:{metrics}\nredis_broker: {redis}\ndatabase: {database}\nbatch_size: 40\n\
         claim_idle: 1s\npresence: {{peer_timeout: {PEER_TIMEOUT}, sweep_interval: 2s}}\nretention: {{interval: 2s}}\n\
         settlement: {{max_rate_bytes_per_s: 0}}\n"
    )
}

/// Redis' arguments: what it confirms is on its disk.
pub(crate) fn redis(port: u16, folder: &Path) -> Vec<String> {
    let words = format!(
        "--port {port} --bind 127.0.0.1 --save  --appendonly yes --appendfsync always --auto-aof-rewrite-min-size 8mb --dir"
    );
    let arguments = words.split(' ').map(ToOwned::to_owned);
    arguments.chain([folder.display().to_string()]).collect()
}
