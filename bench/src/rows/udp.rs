//! Announces over UDP: a bare echo of the same size, others' trackers, ours. Ours as an open tracker, like
//! the others, and with passkeys in URL data (BEP 41), which only ours reads.

use std::time::Duration;

use anyhow::{Context, Result};

use super::CPU;
use crate::contest::{
    self, AQUATIC_UDP, BARE_UDP, Connections, Contestant, Filling, HookSet, Load, OPENTRACKER, Protocol,
    Server, Shape, import_passkeys,
};
use crate::figures::Sample;
use crate::workbench::{Bench, Scale};

/// Measures everybody.
pub(super) fn run(bench: &Bench) -> Result<Vec<Sample>> {
    let mut samples = Vec::new();
    for contestant in [&BARE_UDP, &AQUATIC_UDP, &OPENTRACKER] {
        samples.extend(of_other(bench, contestant)?);
    }
    let redis = bench.redis()?;
    let (open, _) = contest::tracker(bench, Protocol::Udp, HookSet::Open, &redis)?;
    samples.extend(measured(bench, "seedbook", &open, "")?);
    drop(open);
    import_passkeys(bench, &redis)?;
    let (private, _) = contest::tracker(bench, Protocol::Udp, HookSet::Passkeys, &redis)?;
    samples.extend(measured(bench, "seedbook, passkeys", &private, "/:passkey/announce")?);
    Ok(samples)
}

fn of_other(bench: &Bench, contestant: &Contestant) -> Result<Vec<Sample>> {
    match contestant.start(bench, Protocol::Udp, shape(bench.scale)) {
        Some(server) => measured(bench, contestant.name, &server, ""),
        None => Ok(Vec::new()),
    }
}

fn shape(scale: Scale) -> Shape {
    match scale {
        Scale::Quick => Shape { torrents: 1000, peers: 100_000 },
        Scale::Full => Shape { torrents: 10_000, peers: 1_000_000 },
    }
}

fn measured(bench: &Bench, name: &str, server: &Server, path: &'static str) -> Result<Vec<Sample>> {
    let duration = if bench.scale == Scale::Quick { 2 } else { 8 };
    let load = Load {
        protocol: Protocol::Udp,
        path,
        shape: shape(bench.scale),
        filling: Filling::First,
        connections: Connections::Kept(4),
        duration: Duration::from_secs(duration),
        rate: None,
    };
    let answered = load.put_on(bench, server, &[])?;
    Ok(vec![
        Sample::new(name, CPU, answered.cpu_us(0).context("nothing was answered")?),
        Sample::new(name, "peers in a reply", answered.peers_per_reply.unwrap_or_default()),
    ])
}
