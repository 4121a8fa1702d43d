//! `trackerctl user`: what one user seeds and leeches now, and was credited.

pub(crate) mod client_name;
mod explain;
mod line;
mod presence;
mod stats;
mod totals;

use clap::Subcommand;

use crate::Answer;
use crate::connect::Context;
use crate::failure::Failure;
use crate::user::presence::Presence;
use books::presence::Side;

/// What one user seeds, leeches and was credited.
#[derive(Debug, Subcommand)]
#[command(
    after_help = "Example:\n  trackerctl user seeding Zk3vQ8rT --members\n  trackerctl user stats Zk3vQ8rT"
)]
pub(crate) enum Command {
    /// List the torrents that a user seeds now.
    #[command(
        after_help = "Example:\n  trackerctl user seeding Zk3vQ8rT\n  trackerctl user seeding Zk3vQ8rT --members"
    )]
    Seeding(Presence),
    /// List the torrents that a user downloads now.
    #[command(after_help = "Example:\n  trackerctl user leeching Zk3vQ8rT --members")]
    Leeching(Presence),
    /// Show a user's totals; exit code 1 for one who never announced.
    #[command(after_help = "Example:\n  trackerctl user stats Zk3vQ8rT")]
    Stats(stats::Stats),
    /// Tell every settled announce of a user: what it was worth, and why.
    #[command(after_help = "Example:\n  trackerctl user explain Zk3vQ8rT --since 2d\n  \
                            trackerctl user explain Zk3vQ8rT 0123456789abcdef0123456789abcdef01234567")]
    Explain(explain::Explain),
}

/// Carries one command out.
pub(crate) async fn run(command: Command, context: &Context) -> Result<Answer, Failure> {
    match command {
        Command::Seeding(presence) => presence::run(&presence, Side::Seeding, context).await,
        Command::Leeching(presence) => presence::run(&presence, Side::Leeching, context).await,
        Command::Stats(stats) => stats::run(&stats, context).await,
        Command::Explain(explain) => explain::run(&explain, context),
    }
}
