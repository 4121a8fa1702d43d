//! The program behind scripts/bench: arguments, rounds, reports.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use bench::cores::Cores;
use bench::figures::{Sample, figures};
use bench::instructions::{self, Counts, TOLERANCE_PERCENT, Verdict};
use bench::profiles;
use bench::report::{self, Machine, Measured, Run};
use bench::rows::{ROWS, Repetition, Row, swarms};
use bench::workbench::{Bench, Scale};
use clap::{Parser, Subcommand};

service::profiled_allocator!();

/// Measures Seedbook beside bare limits and other trackers.
#[derive(Debug, Parser)]
struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    /// About a minute in all: smaller tasks, one round, nothing judged.
    #[arg(long)]
    quick: bool,
    /// Measure only these rows.
    #[arg(long, num_args = 1.., value_name = "ROW", value_parser = row_names())]
    only: Vec<String>,
    /// How often each row is measured.
    #[arg(long, value_name = "N")]
    rounds: Option<usize>,
    /// Also write everything as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Also draw a chart (SVG).
    #[arg(long, value_name = "FILE")]
    chart: Option<PathBuf>,
    /// Where scripts/bench installed other people's trackers.
    #[arg(long, value_name = "FOLDER", default_value = "target/peers/bin")]
    peers: PathBuf,
    /// Where to write meanwhile.
    #[arg(long, value_name = "FOLDER", default_value = "target/bench")]
    work: PathBuf,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Counts the instructions of fixed work and compares them with the committed counts; exits 1 when they
    /// changed.
    Instructions {
        /// Keep today's counts as the accepted ones.
        #[arg(long)]
        accept: bool,
        /// The committed counts.
        #[arg(long, value_name = "FILE", default_value = "bench/instructions.json")]
        file: PathBuf,
    },
    /// Draws flame graphs of our programs under load, and says which functions were at work most.
    Profiles {
        /// Where to put the pictures.
        #[arg(long, value_name = "FOLDER", default_value = "docs/profiles")]
        folder: PathBuf,
    },
    /// Measures one thing in this process and prints it as JSON.
    #[command(hide = true)]
    Apart {
        /// What, and its numbers.
        arguments: Vec<String>,
    },
}

fn row_names() -> Vec<&'static str> {
    ROWS.iter().map(|row| row.name).collect()
}

fn main() -> ExitCode {
    let args = Args::parse();
    let outcome = match &args.command {
        Some(Command::Apart { arguments }) => apart(arguments),
        Some(Command::Instructions { accept: true, file }) => accept_instructions(&args, file),
        Some(Command::Instructions { accept: false, file }) => compare_instructions(&args, file),
        Some(Command::Profiles { folder }) => draw_profiles(&args, folder),
        None => compare(&args),
    };
    match outcome {
        Ok(code) => code,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn apart(arguments: &[String]) -> Result<ExitCode> {
    match arguments.split_first() {
        Some((what, numbers)) if what == "swarm" => {
            println!("{}", serde_json::to_string(&swarms::measure_as_told(numbers)?)?);
        }
        Some((what, [name])) if what == "workload" => instructions::run(name)?,
        _ => bail!("{arguments:?} cannot be measured apart"),
    }
    Ok(ExitCode::SUCCESS)
}

fn accept_instructions(args: &Args, file: &Path) -> Result<ExitCode> {
    counted(args)?.write(file)?;
    Ok(ExitCode::SUCCESS)
}

fn compare_instructions(args: &Args, file: &Path) -> Result<ExitCode> {
    let comparison = counted(args)?.compared(&Counts::read(file)?);
    println!(
        "instructions of one unit of work, and what was accepted (within {TOLERANCE_PERCENT} % is noise)"
    );
    println!("{}", comparison.lines.join("\n"));
    Ok(match comparison.verdict {
        Verdict::Alike => ExitCode::SUCCESS,
        Verdict::Changed => ExitCode::FAILURE,
    })
}

fn counted(args: &Args) -> Result<Counts> {
    fs::create_dir_all(&args.work).context("the folder to work in")?;
    Counts::take(&args.work)
}

fn draw_profiles(args: &Args, folder: &Path) -> Result<ExitCode> {
    profiles::take(&bench(args)?, folder)?;
    Ok(ExitCode::SUCCESS)
}

fn bench(args: &Args) -> Result<Bench> {
    let scale = if args.quick { Scale::Quick } else { Scale::Full };
    fs::create_dir_all(&args.work).context("the folder to work in")?;
    let cores = Cores::find()?;
    if !cores.are_two() {
        eprintln!("There is only one core: server and driver share it, and rates mean nothing.");
    }
    Ok(Bench { scale, cores, work: args.work.canonicalize()?, peers: std::path::absolute(&args.peers)? })
}

fn compare(args: &Args) -> Result<ExitCode> {
    let bench = bench(args)?;
    let rounds = args.rounds.unwrap_or(if args.quick { 1 } else { 3 });
    let wanted = |row: &&Row| args.only.is_empty() || args.only.iter().any(|name| name == row.name);
    let rows: Vec<&Row> = ROWS.iter().filter(wanted).collect();
    let mut samples: Vec<Vec<Sample>> = vec![Vec::new(); rows.len()];
    let mut outcome = ExitCode::SUCCESS;
    for round in 1..=rounds {
        for (row, samples) in rows.iter().zip(&mut samples) {
            if round > 1 && row.repetition == Repetition::Once {
                continue;
            }
            eprintln!("round {round} of {rounds}: {}", row.name);
            match (row.run)(&bench) {
                Ok(measured) => samples.extend(measured),
                // What was measured before, and the other rows, are still worth showing.
                Err(error) => {
                    eprintln!("  {} FAILED: {error:#}", row.name);
                    outcome = ExitCode::FAILURE;
                }
            }
        }
    }
    let measured = rows.iter().zip(&samples);
    let rows = measured.map(|(row, samples)| Measured::new(row, figures(samples), bench.scale)).collect();
    let scale = if args.quick { "quick" } else { "full" };
    show(args, &Run { machine: Machine::of_this_run(), scale, rounds, rows })?;
    Ok(outcome)
}

fn show(args: &Args, run: &Run) -> Result<()> {
    print!("{}", report::table(run));
    if let Some(file) = &args.json {
        fs::write(file, serde_json::to_string_pretty(run)? + "\n").context("writing the JSON")?;
    }
    if let Some(file) = &args.chart {
        fs::write(file, report::chart(run)).context("writing the chart")?;
    }
    Ok(())
}
