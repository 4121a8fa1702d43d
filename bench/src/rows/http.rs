//! Announces over HTTP: a bare epoll responder, hyper with nothing behind it, others' trackers, ours with
//! passkeys checked, with and without recording.

use std::time::Duration;

use anyhow::{Context, Result};

use super::CPU;
use crate::contest::{
    self, AQUATIC_HTTP, BARE_CLOSE, BARE_HTTP, BARE_HYPER, Connections, Contestant, Filling, HookSet, Load,
    OPENTRACKER, Protocol, Server, Shape, import_passkeys,
};
use crate::figures::Sample;
use crate::workbench::{Bench, Scale};

const SHAPE: Shape = Shape { torrents: 1000, peers: 100_000 };

/// Connections that carry many requests.
pub(super) fn kept(bench: &Bench) -> Result<Vec<Sample>> {
    let mut samples = of_others(bench, &[&BARE_HTTP, &BARE_HYPER, &AQUATIC_HTTP], Connections::Kept(32))?;
    let ours = [("seedbook, passkeys", HookSet::Passkeys), ("seedbook, recorded", HookSet::Recorded)];
    samples.extend(of_ours(bench, &ours, Connections::Kept(32))?);
    Ok(samples)
}

/// Connections that carry one.
pub(super) fn closed(bench: &Bench) -> Result<Vec<Sample>> {
    let mut samples = of_others(bench, &[&BARE_CLOSE, &BARE_HYPER, &OPENTRACKER], Connections::Closed)?;
    samples.extend(of_ours(bench, &[("seedbook, passkeys", HookSet::Passkeys)], Connections::Closed)?);
    Ok(samples)
}

fn of_others(bench: &Bench, others: &[&Contestant], connections: Connections) -> Result<Vec<Sample>> {
    let mut samples = Vec::new();
    for contestant in others {
        if let Some(server) = contestant.start(bench, Protocol::Http, SHAPE) {
            samples.extend(measured(bench, contestant.name, &server, (connections, "/announce"))?);
        }
    }
    Ok(samples)
}

fn of_ours(bench: &Bench, ways: &[(&str, HookSet)], connections: Connections) -> Result<Vec<Sample>> {
    let mut samples = Vec::new();
    for (name, hook_set) in ways {
        let redis = bench.redis()?;
        import_passkeys(bench, &redis)?;
        let (server, _) = contest::tracker(bench, Protocol::Http, *hook_set, &redis)?;
        samples.extend(measured(bench, name, &server, (connections, "/:passkey/announce"))?);
    }
    Ok(samples)
}

fn measured(
    bench: &Bench,
    name: &str,
    server: &Server,
    (connections, path): (Connections, &'static str),
) -> Result<Vec<Sample>> {
    let duration = Duration::from_secs(if bench.scale == Scale::Quick { 2 } else { 6 });
    let load = Load {
        protocol: Protocol::Http,
        path,
        shape: SHAPE,
        filling: Filling::First,
        connections,
        duration,
        rate: None,
    };
    let answered = load.put_on(bench, server, &[])?;
    Ok(vec![
        Sample::new(name, CPU, answered.cpu_us(0).context("nothing was answered")?),
        Sample::new(name, "p99 ms, as fast as it goes", answered.latency_us.p99 / 1000.0),
    ])
}
