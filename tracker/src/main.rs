//! `tracker`: arguments, configuration, logs, run, drain.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use contract::config::Problems;
use tracing::{error, info};
use tracker::app::App;
use tracker::config::Config;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A private BitTorrent tracker whose books balance.
#[derive(Debug, Parser)]
#[command(name = "tracker", version, after_help = EXAMPLES)]
struct Args {
    /// The YAML file to read; without one, an in-memory HTTP tracker on port 6969
    #[arg(short, long, value_name = "FILE", env = "TRACKER_CONFIG")]
    config: Option<PathBuf>,
    /// Where clients announce over HTTP, in place of `http.addr`
    #[arg(short, long, value_name = "ADDR")]
    listen: Option<String>,
    /// Where clients announce over UDP, in place of `udp.addr`
    #[arg(short, long, value_name = "ADDR")]
    udp: Option<String>,
    /// Log more
    #[arg(short, long)]
    debug: bool,
    /// Read the configuration, print what is in force, and stop
    #[arg(long)]
    check: bool,
}

const EXAMPLES: &str = "\
Examples:
  tracker                               an open tracker on port 6969, everything in memory
  tracker --udp :6969                   the same over UDP too
  tracker --config tracker.yaml         as the file says
  tracker --config tracker.yaml --check print the configuration in force, or all that is wrong with it
  TRACKER_HTTP_ADDR=0.0.0.0:8080 tracker  any key by environment";

fn main() -> ExitCode {
    let args = Args::parse();
    let config = match configuration(&args) {
        Ok(config) => config,
        Err(error) => {
            eprintln!("{error:#}");
            return ExitCode::from(2);
        }
    };
    let outcome = if args.check { show(&config) } else { run(&config, &args) };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn configuration(args: &Args) -> Result<Config> {
    let text = match &args.config {
        Some(path) => {
            Some(std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?)
        }
        None => None,
    };
    let mut config = Config::load(text.as_deref(), std::env::vars()).map_err(|problems| {
        let place = args.config.as_ref().map_or("the environment".into(), |path| path.display().to_string());
        let Problems(lines) = problems;
        anyhow::anyhow!("{place}: {} to mend\n  {}", plural(lines.len()), lines.join("\n  "))
    })?;
    if let Some(listen) = &args.listen {
        config.http.addr = address(listen).with_context(|| format!("--listen {listen}"))?;
    }
    if let Some(udp) = &args.udp {
        config.udp.addr = Some(address(udp).with_context(|| format!("--udp {udp}"))?);
    }
    if args.debug {
        config.log.level = "debug".into();
    }
    Ok(config)
}

/// `1.2.3.4:6969`, `[::]:6969`, or `:6969` for every address.
fn address(text: &str) -> Result<SocketAddr> {
    let full = if text.starts_with(':') { format!("[::]{text}") } else { text.to_owned() };
    full.parse().context("expected an address such as 0.0.0.0:6969 or :6969")
}

fn plural(count: usize) -> String {
    if count == 1 { "1 thing".into() } else { format!("{count} things") }
}

fn show(config: &Config) -> Result<()> {
    println!("{}", serde_json::to_string_pretty(&config.effective()?)?);
    Ok(())
}

#[tokio::main(worker_threads = 2)]
async fn run(config: &Config, args: &Args) -> Result<()> {
    service::logs::init(&config.log)?;
    let mut hangups = service::signals::hangups().context("signals")?;
    let mut app = App::start(config).await?;
    let signal = loop {
        tokio::select! {
            signal = service::signals::stop_requested() => break signal.context("signals")?,
            _ = hangups.recv() => reload(&mut app, args),
        }
    };
    info!(signal, "stopping: requests in hand are answered first");
    let outcome = app.stop().await;
    if let Err(error) = &outcome {
        error!(%error, "did not stop cleanly");
    }
    outcome
}

/// A bad new file leaves the old one in force and says why.
fn reload(app: &mut App, args: &Args) {
    if let Err(error) = configuration(args).and_then(|config| app.reload(&config)) {
        error!(
            error = format!("{error:#}"),
            "the configuration was not reloaded; the old one stays in force"
        );
    }
}
