//! The swarm store alone: bytes per peer, time of a visit, time of a pick, as swarms and store grow.
//!
//! Memory can only be told apart in a process that does nothing else: each size runs in one of its own.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tracker::announce::{Choice, Families, Offers, Role, UserTag};
use tracker::swarm::{Swarms, Visit};

use crate::cores::CoreSet;
use crate::cost::{self, as_f64};
use crate::figures::Sample;
use crate::workbench::{Bench, Scale};
use crate::world::{World, scatter};

/// Visits that are timed.
const TIMED: u64 = 300_000;
/// With fewer peers, what the allocator keeps for itself would weigh more than they do.
const WEIGHED: u64 = 100_000;
/// After so long the allocator has given unused memory back.
const GIVEN_BACK: Duration = Duration::from_secs(3);
/// As the tracker's default.
const SHARDS: usize = 256;

/// Peers and torrents.
fn sizes(scale: Scale) -> &'static [(u64, u64)] {
    match scale {
        Scale::Quick => &[(100_000, 1000), (100_000, 10_000), (100_000, 1)],
        Scale::Full => &[
            (10_000, 100),
            (100_000, 1000),
            (1_000_000, 10_000),
            (10_000_000, 100_000),
            (1_000_000, 100_000),
            (100_000, 1),
            (1_000_000, 1),
        ],
    }
}

/// Measures every size in a process of its own.
pub(super) fn run(bench: &Bench) -> Result<Vec<Sample>> {
    let mut samples = Vec::new();
    for (peers, torrents) in sizes(bench.scale) {
        let arguments = ["swarm".to_owned(), peers.to_string(), torrents.to_string()];
        samples.extend(bench.apart(CoreSet::Server, &arguments)?);
    }
    Ok(samples)
}

/// What the process measures.
///
/// # Errors
/// When the kernel does not say how much memory there is.
pub fn measure(peers: u64, torrents: u64) -> Result<Vec<Sample>> {
    let world = World { users: 10_000.min(peers), torrents, sessions: peers };
    let subject = match torrents {
        1 => format!("one swarm of {}", super::settling::power_of_ten(peers)),
        _ => {
            format!("{} in {}", super::settling::power_of_ten(peers), super::settling::power_of_ten(torrents))
        }
    };
    let before = cost::resident_bytes(std::process::id())?;
    let swarms = Swarms::new(SHARDS);
    for session in 0..peers {
        swarms.visit(&visit(world, session, 0), 1, &mut rand::rng(), &mut Offers::default());
    }
    // The allocator gives back what nobody used for a second.
    std::thread::sleep(GIVEN_BACK);
    let held = cost::resident_bytes(std::process::id())?.saturating_sub(before);
    let census = swarms.census();
    ensure!(census.seeders + census.leechers == peers, "the store holds other peers than it was given");
    let (full, empty) = (timed(&swarms, world, 50)?, timed(&swarms, world, 0)?);
    let mut samples =
        vec![Sample::new(&subject, "visit ns", full), Sample::new(&subject, "pick of 50 ns", full - empty)];
    if peers >= WEIGHED {
        samples.push(Sample::new(&subject, "bytes per peer", as_f64(held) / as_f64(peers)));
    }
    Ok(samples)
}

/// Nanoseconds of a visit by a peer that is there, in an order that no cache foresees.
fn timed(swarms: &Swarms, world: World, num_want: usize) -> Result<f64> {
    let visits: Vec<Visit> =
        (0..TIMED).map(|number| visit(world, scatter(number) % world.sessions, num_want)).collect();
    let (mut rng, mut offered) = (rand::rng(), 0);
    let before = cost::of_this_thread()?;
    for visit in &visits {
        let mut offers = Offers::default();
        swarms.visit(visit, 2, &mut rng, &mut offers);
        offered += offers.v4.len();
    }
    let spent = cost::of_this_thread()? - before;
    ensure!((offered == 0) == (num_want == 0), "nobody was offered");
    Ok(spent.as_secs_f64() * 1e9 / as_f64(TIMED))
}

fn visit(world: World, session: u64, num_want: usize) -> Visit {
    let (ip, port) = world.address(session);
    let user = scatter(session) % world.users + 1;
    Visit {
        info_hash: world.info_hash(session),
        peer_id: world.peer_id(session),
        user: std::num::NonZeroU64::new(user).map(UserTag),
        ip,
        port,
        role: if world.seeds(session) { Role::Seeder } else { Role::Leecher },
        leaving: false,
        completed: false,
        num_want,
        families: Families::Both,
        choice: Choice::default(),
    }
}

/// Reads the two numbers that the process is given.
///
/// # Errors
/// When they are none.
pub fn measure_as_told(arguments: &[String]) -> Result<Vec<Sample>> {
    let [peers, torrents] = arguments else { anyhow::bail!("expected peers and torrents") };
    measure(peers.parse().context("peers")?, torrents.parse().context("torrents")?)
}
