//! `tracker`: arguments, configuration, logs, run, drain.

mod arguments;

use std::process::ExitCode;

use anyhow::{Context, Result};
use arguments::Args;
use clap::Parser;
use service::program::{self, Mode};
use tracing::{error, info};
use tracker::app::App;
use tracker::config::Plan;

service::profiled_allocator!();

fn main() -> ExitCode {
    let args = Args::parse();
    program::main(Mode::of(args.check), args.plan(std::env::vars()), |plan| run(plan, &args))
}

#[tokio::main(worker_threads = 2)]
async fn run(plan: Plan, args: &Args) -> Result<()> {
    service::logs::init(&plan.config.log)?;
    service::open_files::raise();
    let mut hangups = service::signals::hangups().context("signals")?;
    let mut app = App::start(plan).await?;
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
    if let Err(error) = args.plan(std::env::vars()).and_then(|plan| app.reload(plan)) {
        error!(
            error = format!("{error:#}"),
            "the configuration was not reloaded; the old one stays in force"
        );
    }
}
