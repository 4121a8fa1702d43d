//! `simulation --schedules N --seed S`: plays schedules and reports the first that breaks a promise, cut
//! short, with its trace.

use std::process::ExitCode;

use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use simulation::{Figures, Mutation, Report, Simulator, Tracing, Violation};

/// Plays seeded schedules of clients, trackers, Redis and consumers that fail at random, and checks that the
/// books balance.
#[derive(Debug, Parser)]
struct Arguments {
    /// How many schedules.
    #[arg(long, default_value_t = 10_000)]
    schedules: u64,
    /// The first one's seed; the others count up from it.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Play one seed and print its every step.
    #[arg(long, value_name = "SEED")]
    replay: Option<u64>,
    /// Cut a replayed schedule after so many random steps.
    #[arg(long, default_value_t = u64::MAX, requires = "replay", hide_default_value = true)]
    steps: u64,
    /// Put one of the bugs back that the simulation must find.
    #[arg(long)]
    mutation: Option<Mutation>,
    /// Name every seed that breaks a promise, in a line each, and go on.
    #[arg(long)]
    all: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let simulator = match Simulator::new(arguments.mutation) {
        Ok(simulator) => simulator,
        Err(error) => {
            eprintln!("Lua cannot be set up: {error}");
            return ExitCode::from(3);
        }
    };
    match arguments.replay {
        Some(seed) => replay(&simulator, seed, arguments.steps),
        None if arguments.all => list(&simulator, arguments.seed, arguments.schedules),
        None => play(&simulator, arguments.seed, arguments.schedules),
    }
}

fn list(simulator: &Simulator, first: u64, count: u64) -> ExitCode {
    let mut broken = 0;
    for seed in first..first.saturating_add(count) {
        if let Some(Violation(what)) = simulator.play(seed, u64::MAX, Tracing::Off).violation {
            broken += 1;
            println!("{seed}: {}", what.replace('\n', " "));
        }
    }
    println!("{broken} of {count} schedules from seed {first} break a promise");
    if broken == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn play(simulator: &Simulator, first: u64, count: u64) -> ExitCode {
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} schedules, {per_sec}, {eta} left");
    let bar = ProgressBar::new(count).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    let mut figures = Figures::default();
    for seed in first..first.saturating_add(count) {
        let report = simulator.play(seed, u64::MAX, Tracing::Off);
        figures += report.figures;
        if report.violation.is_some() {
            bar.finish_and_clear();
            return explain(simulator, seed);
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    let Figures { announces, entries, kills, sessions, forgotten, open } = figures;
    println!(
        "{count} schedules from seed {first}: no promise was broken. {announces} announces, {entries} entries, \
         {kills} processes killed, {sessions} sessions (of {forgotten} Redis forgot what nobody had, {open} can be explained by less)"
    );
    ExitCode::SUCCESS
}

/// The shortest form of a failing schedule.
fn explain(simulator: &Simulator, seed: u64) -> ExitCode {
    let steps = simulator.shrink(seed);
    let code = replay(simulator, seed, steps);
    println!(
        "seed {seed} fails after {steps} random steps; see this again with --replay {seed} --steps {steps}"
    );
    code
}

fn replay(simulator: &Simulator, seed: u64, steps: u64) -> ExitCode {
    let Report { violation, trace, .. } = simulator.play(seed, steps, Tracing::On);
    trace.iter().for_each(|line| println!("{line}"));
    match violation {
        Some(violation) => {
            println!("BROKEN: {}", violation.0);
            ExitCode::FAILURE
        }
        None => {
            println!("no promise was broken");
            ExitCode::SUCCESS
        }
    }
}
