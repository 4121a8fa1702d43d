//! `tracker`: arguments, configuration, logs, run, drain.

mod arguments;

use std::process::ExitCode;

use anyhow::{Context, Result};
use arguments::Args;
use clap::Parser;
use tracing::{error, info};
use tracker::app::App;
use tracker::config::Config;

service::profiled_allocator!();

fn main() -> ExitCode {
    let args = Args::parse();
    let config = match args.configuration(std::env::vars()) {
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

fn show(config: &Config) -> Result<()> {
    for warning in config.warnings() {
        eprintln!("warning: {warning}");
    }
    println!("{}", serde_json::to_string_pretty(&config.effective()?)?);
    Ok(())
}

#[tokio::main(worker_threads = 2)]
async fn run(config: &Config, args: &Args) -> Result<()> {
    service::logs::init(&config.log)?;
    service::open_files::raise();
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
    if let Err(error) = args.configuration(std::env::vars()).and_then(|config| app.reload(&config)) {
        error!(
            error = format!("{error:#}"),
            "the configuration was not reloaded; the old one stays in force"
        );
    }
}
