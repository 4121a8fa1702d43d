//! `trackerctl user`: what one user seeds and leeches now, and was credited.

pub(crate) mod client_name;
mod presence;

use clap::Subcommand;

use crate::Answer;
use crate::connect::Context;
use crate::failure::Failure;
use crate::user::presence::{Presence, Side};

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
}

/// Carries one command out.
pub(crate) async fn run(command: Command, context: &Context) -> Result<Answer, Failure> {
    match command {
        Command::Seeding(presence) => presence::run(&presence, Side::Seeding, context).await,
        Command::Leeching(presence) => presence::run(&presence, Side::Leeching, context).await,
    }
}
