//! `chaos --minutes N --seed S`: the real programs, everything around them failing all the time, and books
//! that must balance.
//!
//! Two trackers, two consumers, Redis and a SQLite ledger serve simulated clients while processes are killed
//! and paused, their connections to Redis cut and stalled, their disks filled. Then everything comes to rest,
//! and the ledger is compared with what the clients were told. See docs/chaos.md.

mod announce;
mod audit;
mod books;
mod client;
mod confine;
mod context;
mod deployment;
mod disk;
mod endpoints;
mod exchange;
mod fault;
mod flip;
mod http;
mod injector;
mod link;
mod managed_process;
mod operator;
mod plan;
mod redis_pair;
mod report;
mod run;
mod session;
mod settings;
mod site;
mod tally;
mod torrent;
mod transport;
mod udp;
mod watch;
mod world;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::{Parser, ValueEnum};

use crate::deployment::Place;
use crate::fault::Kind;
use crate::report::Report;
use crate::run::Outcome;
use crate::world::Scale;

/// Kills, pauses, cuts and fills everything around the real programs, and checks that the ledger equals what
/// clients were told.
#[derive(Debug, Parser)]
#[command(after_help = "Exit codes: 0 the books balance, 1 they do not, 2 usage, 3 the run itself failed.")]
struct Arguments {
    /// How long things fail; coming to rest takes some seconds more.
    #[arg(long, default_value_t = 2.0, value_parser = minutes)]
    minutes: f64,
    /// Decides what fails and what clients do; a random one by default.
    #[arg(long)]
    seed: Option<u64>,
    /// How many clients announce at a time.
    #[arg(long, default_value_t = 150, value_parser = clap::value_parser!(u32).range(1..=5_000))]
    clients: u32,
    /// Announces in a second, together.
    #[arg(long, default_value_t = 150, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rate: u32,
    /// Where logs and files go, in a folder of the seed's name; it is emptied first.
    #[arg(long, default_value = "target/chaos")]
    folder: PathBuf,
    /// What to go without, comma separated. What the machine does not allow must be named here.
    #[arg(long, value_enum, value_delimiter = ',')]
    without: Vec<Kind>,
    /// Print one JSON document instead of a table.
    #[arg(long)]
    json: bool,
}

fn minutes(text: &str) -> Result<f64, String> {
    let minutes: f64 = text.parse().map_err(|_| "expected a number".to_owned())?;
    if (0.05..=600.0).contains(&minutes) { Ok(minutes) } else { Err("expected 0.05 to 600".to_owned()) }
}

fn main() -> ExitCode {
    match play(&Arguments::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("the run failed: {error:#}");
            ExitCode::from(3)
        }
    }
}

fn play(arguments: &Arguments) -> Result<ExitCode> {
    let confinement = confine::enter()?;
    let seed = arguments.seed.unwrap_or_else(|| rand::random_range(0..1_000_000));
    let folder = emptied(&arguments.folder.join(format!("seed-{seed}")))?;
    let scale = Scale {
        seed,
        length: Duration::from_secs_f64(arguments.minutes * 60.0),
        clients: arguments.clients,
        rate: arguments.rate,
    };
    let missing: Vec<Kind> = confinement.lacks(&folder)?;
    if let Some(kind) = missing.into_iter().find(|kind| !arguments.without.contains(kind)) {
        bail!("this machine allows no {0}: --without {0} goes without", name(kind));
    }
    eprintln!("seed {seed}; faults and logs: {}", folder.display());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build()?;
    let place = Place { folder: &folder, without: &arguments.without };
    let outcome = runtime.block_on(run::play(scale, &place))?;
    show(arguments, seed, &outcome)
}

fn name(kind: Kind) -> String {
    kind.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}

fn emptied(folder: &Path) -> Result<PathBuf> {
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("cannot empty {}", folder.display()))?;
    }
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    folder.canonicalize().context("the folder has no path")
}

fn show(arguments: &Arguments, seed: u64, outcome: &Outcome) -> Result<ExitCode> {
    let Outcome { length, world, verdict, story } = outcome;
    let report =
        Report { seed, length: *length, sessions: world.books.session_count(), tally: &world.tally, verdict };
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&report.json())?);
    } else {
        println!("{}", report.table());
    }
    if verdict.violations.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!("{story}");
    verdict.violations.iter().for_each(|violation| eprintln!("BROKEN: {violation}"));
    let Arguments { minutes, clients, rate, without, .. } = arguments;
    eprintln!("again: scripts/chaos --minutes {minutes} --seed {seed} --clients {clients} --rate {rate}");
    if !without.is_empty() {
        eprintln!(
            "       --without {}",
            without.iter().map(|kind| name(*kind)).collect::<Vec<_>>().join(",")
        );
    }
    Ok(ExitCode::FAILURE)
}
