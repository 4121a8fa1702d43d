//! Memory per peer, of whole programs: what they hold after everybody announced, less what they held before.

use std::time::Duration;

use anyhow::{Context, Result};

use super::settling::power_of_ten;
use crate::contest::{
    self, AQUATIC_UDP, Connections, Filling, HookSet, Load, OPENTRACKER, Protocol, Server, Shape,
    import_passkeys,
};
use crate::cost::as_f64;
use crate::figures::Sample;
use crate::workbench::{Bench, Scale};

/// Measures everybody.
pub(super) fn run(bench: &Bench) -> Result<Vec<Sample>> {
    let mut samples = Vec::new();
    for shape in shapes(bench.scale) {
        for contestant in [&AQUATIC_UDP, &OPENTRACKER] {
            if let Some(server) = contestant.start(bench, Protocol::Udp, *shape) {
                samples.push(measured(bench, contestant.name, &server, (*shape, ""))?);
            }
        }
        let redis = bench.redis()?;
        import_passkeys(bench, &redis)?;
        let (server, _) = contest::tracker(bench, Protocol::Udp, HookSet::Passkeys, &redis)?;
        samples.push(measured(bench, "seedbook, passkeys", &server, (*shape, "/:passkey/announce"))?);
    }
    Ok(samples)
}

fn shapes(scale: Scale) -> &'static [Shape] {
    match scale {
        Scale::Quick => &[Shape { torrents: 1000, peers: 100_000 }],
        Scale::Full => {
            &[Shape { torrents: 10_000, peers: 1_000_000 }, Shape { torrents: 100_000, peers: 1_000_000 }]
        }
    }
}

fn measured(
    bench: &Bench,
    name: &str,
    server: &Server,
    (shape, path): (Shape, &'static str),
) -> Result<Sample> {
    let load = Load {
        protocol: Protocol::Udp,
        path,
        shape,
        filling: Filling::First,
        connections: Connections::Kept(4),
        duration: Duration::from_millis(200),
        rate: None,
    };
    let answered = load.put_on(bench, server, &[])?;
    let used = answered.processes.first().context("the server's memory")?;
    let bytes = used.rss_bytes.saturating_sub(used.rss_before_bytes);
    let [peers, torrents] = [shape.peers, shape.torrents].map(u64::from);
    let what = format!("bytes, {} in {}", power_of_ten(peers), power_of_ten(torrents));
    Ok(Sample::new(name, &what, as_f64(bytes) / as_f64(peers)))
}
