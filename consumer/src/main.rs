//! `consumer`: arguments, configuration, logs, run, drain.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use consumer::app::App;
use consumer::config::{Config, Plan};
use contract::config::ServiceUrl;
use service::program::{self, Mode};
use tracing::info;

service::profiled_allocator!();

/// Settles a tracker's traffic: who seeds what, and what every user has earned.
#[derive(Debug, Parser)]
#[command(name = "consumer", version, after_help = EXAMPLES)]
struct Args {
    /// The YAML file to read; without one, everything has a working default
    #[arg(short, long, value_name = "FILE", env = "CONSUMER_CONFIG")]
    config: Option<PathBuf>,
    /// Redis that holds the stream, in place of `redis_broker`
    #[arg(long, value_name = "URL")]
    redis: Option<ServiceUrl>,
    /// The ledger, in place of `database`
    #[arg(long, value_name = "URL")]
    database: Option<ServiceUrl>,
    /// This consumer's name in its group, in place of `consumer`
    #[arg(long)]
    name: Option<String>,
    /// Read the configuration, print what is in force, and stop
    #[arg(long)]
    check: bool,
}

const EXAMPLES: &str = "\
Examples:
  consumer                                        Redis on this machine, the ledger in data/ledger.db
  consumer --config consumer.yaml                 as the file says
  consumer --config consumer.yaml --check         print the configuration in force, or all that is wrong with it
  consumer --redis redis://:secret@db:6379/0 --database sqlite:///var/lib/seedbook/ledger.db
  CONSUMER_BATCH_SIZE=5000 consumer               any key by environment

Several consumers may run beside each other: they share the work, and one that dies is taken over from.";

fn main() -> ExitCode {
    let args = Args::parse();
    program::main(Mode::of(args.check), plan(&args), run)
}

fn plan(args: &Args) -> Result<Plan> {
    program::read(args.config.as_deref(), |text| {
        let mut config = Config::parse(text, std::env::vars())?;
        if let Some(redis) = &args.redis {
            config.redis_broker = redis.clone();
        }
        if let Some(database) = &args.database {
            config.database = database.clone();
        }
        config.consumer = args.name.clone().or(config.consumer);
        Plan::of(config)
    })
}

#[tokio::main(worker_threads = 2)]
async fn run(plan: Plan) -> Result<()> {
    service::logs::init(&plan.config.log)?;
    let app = App::start(plan).await?;
    let signal = service::signals::stop_requested().await.context("signals")?;
    info!(signal, "stopping: what is in hand is finished first");
    app.stop().await
}
