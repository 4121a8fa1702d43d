//! Our own programs, configured for one benchmark.

use std::net::SocketAddr;
use std::process::Command;

use anyhow::Result;
use harness::{RedisServer, free_port};

use super::{Protocol, Server, write};
use crate::cores::CoreSet;
use crate::workbench::Bench;

/// Who may announce to our tracker, and whether it is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HookSet {
    /// Everybody; nothing is recorded. What other trackers do.
    Open,
    /// Users whose passkey Redis knows; nothing is recorded.
    Passkeys,
    /// The same, and each announce is in the stream before it is answered.
    Recorded,
}

impl HookSet {
    fn hooks(self) -> &'static str {
        match self {
            Self::Open => "",
            Self::Passkeys => "hooks: {prehooks: [{name: passkey approval}]}\n",
            Self::Recorded => {
                "hooks: {prehooks: [{name: passkey approval}], posthooks: [{name: traffic push}]}\n"
            }
        }
    }
}

/// Starts our tracker with one thread for the frontend.
///
/// # Errors
/// When it is not built or does not start.
pub fn tracker(
    bench: &Bench,
    protocol: Protocol,
    hook_set: HookSet,
    redis: &RedisServer,
) -> Result<(Server, SocketAddr)> {
    let [address, admin] = [(); 2].map(|()| SocketAddr::from(([127, 0, 0, 1], free_port())));
    let frontend = match protocol {
        Protocol::Http => format!("http: {{addr: '{address}', workers: 1}}\n"),
        Protocol::Udp => {
            format!("http: {{addr: '127.0.0.1:0', workers: 1}}\nudp: {{addr: '{address}', workers: 1}}\n")
        }
    };
    let config = format!(
        "metrics_addr: {admin}\nredis_broker: {}\nlog: {{level: warn}}\n{frontend}{}",
        redis.url(),
        hook_set.hooks()
    );
    let folder = bench.folder()?;
    let mut command = Command::new(bench.own_program("tracker")?);
    command.arg("--config").arg(write(folder.path(), "tracker.yaml", &config)?);
    let server = Server::start(bench, CoreSet::Server, command, folder, (address, protocol))?;
    Ok((server, admin))
}

/// Starts our consumer with a ledger of its own. Where it serves its metrics is its address.
///
/// # Errors
/// When it is not built or does not start.
pub fn consumer(bench: &Bench, redis: &RedisServer) -> Result<Server> {
    let (folder, admin) = (bench.folder()?, SocketAddr::from(([127, 0, 0, 1], free_port())));
    let ledger = folder.path().join("ledger.db");
    let config = format!(
        "metrics_addr: {admin}\nredis_broker: {}\ndatabase: 'sqlite://{}'\nlog: {{level: warn}}\n",
        redis.url(),
        ledger.display()
    );
    let mut command = Command::new(bench.own_program("consumer")?);
    command.arg("--config").arg(write(folder.path(), "consumer.yaml", &config)?);
    Server::start(bench, CoreSet::Server, command, folder, (admin, Protocol::Http))
}
