//! `trackerctl announce` and `trackerctl scrape`: ask a tracker what a client would ask, and show the answer.

mod http;
mod reply;
mod request;

use clap::Args;
use contract::{InfoHash, PeerId};
use hyper::Uri;

use crate::Answer;
use crate::connect::Context;
use crate::failure::Failure;
use crate::passkey;

/// Announce to a tracker as a client does.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  trackerctl announce http://127.0.0.1:6969/announce --info-hash \
                        0123456789abcdef0123456789abcdef01234567 --passkey Zk3vQ8rT --event started --left 1000")]
pub(crate) struct Announce {
    /// The tracker's announce URL (http).
    url: Uri,
    /// The torrent: 40 hex digits.
    #[arg(long, value_name = "HEX")]
    info_hash: InfoHash,
    /// The client: 40 hex digits or 20 characters; random if not given.
    #[arg(long, value_name = "ID", allow_hyphen_values = true)]
    peer_id: Option<PeerId>,
    /// The port that peers would be told.
    #[arg(long, default_value_t = 6881)]
    port: u16,
    /// Bytes uploaded in this run.
    #[arg(long, value_name = "BYTES", default_value_t = 0)]
    uploaded: u64,
    /// Bytes downloaded in this run.
    #[arg(long, value_name = "BYTES", default_value_t = 0)]
    downloaded: u64,
    /// Bytes still wanted; 0 is a seeder.
    #[arg(long, value_name = "BYTES", default_value_t = 0)]
    left: u64,
    /// What happened.
    #[arg(long, value_parser = ["started", "completed", "stopped"])]
    event: Option<String>,
    /// How many peers to ask for.
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    numwant: Option<i32>,
    /// Added to the query.
    #[arg(long)]
    passkey: Option<String>,
    /// Whether peers come as packed bytes (1) or as a list (0).
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(0..=1))]
    compact: u8,
}

/// Ask a tracker how many seed and leech torrents.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  trackerctl scrape http://127.0.0.1:6969/announce --info-hash \
                        0123456789abcdef0123456789abcdef01234567 --passkey Zk3vQ8rT")]
pub(crate) struct Scrape {
    /// The tracker's scrape URL, or its announce URL.
    url: Uri,
    /// The torrents: 40 hex digits each; may be given several times.
    #[arg(long = "info-hash", value_name = "HEX", required = true)]
    info_hashes: Vec<InfoHash>,
    /// Added to the query.
    #[arg(long)]
    passkey: Option<String>,
}

/// Announces; a refusal by the tracker is a no.
pub(crate) async fn announce(command: &Announce, context: &Context) -> Result<Answer, Failure> {
    let url = request::announce_url(command)?;
    let announced = reply::Announced::read(&http::get(&url).await?);
    context.output.show(&announced)?;
    Ok(if announced.is_refusal() { Answer::No } else { Answer::Done })
}

/// Scrapes; a refusal by the tracker is a no.
pub(crate) async fn scrape(command: &Scrape, context: &Context) -> Result<Answer, Failure> {
    let url = request::scrape_url(command)?;
    let scraped = reply::Scraped::read(&http::get(&url).await?);
    context.output.show(&scraped)?;
    Ok(if scraped.is_refusal() { Answer::No } else { Answer::Done })
}

/// Checks the passkey option, so that nothing else can slip into the query.
fn checked_passkey(text: Option<&String>) -> Result<Option<String>, Failure> {
    text.map(|text| passkey::parse(text).map(|passkey| passkey.reveal().to_owned())).transpose()
}
