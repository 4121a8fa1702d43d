//! `trackerctl torrent`: the torrents that may be announced where the tracker's `torrent approval` reads them
//! from Redis, and the hybrid torrents whose two info hashes are booked as one.

mod alias;

use clap::Subcommand;
use contract::InfoHash;

use crate::Answer;
use crate::connect::Context;
use crate::failure::Failure;
use crate::listed::{self, Import};

/// Which torrents may be announced.
#[derive(Debug, Subcommand)]
#[command(
    after_help = "Example:\n  trackerctl torrent add 2b1f0c5e7d9a4b3c8e6f1a2d5c4b7e9f0a3d6c8b\n  trackerctl torrent list --limit 10"
)]
pub(crate) enum Command {
    /// Allow torrents to be announced.
    #[command(after_help = "Example:\n  trackerctl torrent add 2b1f0c5e7d9a4b3c8e6f1a2d5c4b7e9f0a3d6c8b")]
    Add {
        /// Info hashes of 40 hex digits.
        #[arg(required = true, value_name = "INFOHASH")]
        torrents: Vec<String>,
    },
    /// Withdraw torrents. The tracker obeys within a second.
    #[command(after_help = "Example:\n  trackerctl torrent remove 2b1f0c5e7d9a4b3c8e6f1a2d5c4b7e9f0a3d6c8b")]
    Remove {
        /// Info hashes of 40 hex digits.
        #[arg(required = true, value_name = "INFOHASH")]
        torrents: Vec<String>,
    },
    /// Say whether a torrent may be announced; exit code 1 when it may not.
    #[command(
        after_help = "Example:\n  trackerctl torrent check 2b1f0c5e7d9a4b3c8e6f1a2d5c4b7e9f0a3d6c8b && echo allowed"
    )]
    Check {
        /// The info hash to look up.
        #[arg(value_name = "INFOHASH")]
        torrent: String,
    },
    /// Print all torrents, one info hash per line, in no order.
    #[command(after_help = "Example:\n  trackerctl torrent list > torrents.txt")]
    List {
        /// Stop after so many.
        #[arg(long, value_name = "N")]
        limit: Option<u64>,
    },
    /// Add the info hashes of a file. Nothing is written unless every line is valid.
    #[command(after_help = "Example:\n  trackerctl torrent import torrents.txt\n  \
                            sqlite3 site.db 'select lower(hex(info_hash)) from torrents' | trackerctl torrent import -")]
    Import(Import),
    /// Book a hybrid torrent's v2 announces on its v1 info hash, so that its bytes count once (BEP 52).
    #[command(after_help = "Example:\n  trackerctl torrent alias V2 V1           # 40 hex digits each\n  \
                            trackerctl torrent alias V2 --remove")]
    Alias(alias::Alias),
}

/// Carries one command out.
pub(crate) async fn run(command: Command, context: &Context) -> Result<Answer, Failure> {
    match command {
        Command::Add { torrents } => listed::add::<InfoHash>(&torrents, context).await,
        Command::Remove { torrents } => listed::remove::<InfoHash>(&torrents, context).await,
        Command::Check { torrent } => listed::check::<InfoHash>(&torrent, "be announced", context).await,
        Command::List { limit } => listed::list::<InfoHash>(limit.unwrap_or(u64::MAX), context).await,
        Command::Import(import) => listed::import::<InfoHash>(&import, context).await,
        Command::Alias(alias) => alias::run(&alias, context).await,
    }
}
