//! `user seeding` and `user leeching`: the presence sets that the consumer keeps.

use clap::Args;
use contract::{InfoHash, Passkey, PeerId};
use serde::Serialize;

use super::client_name;
use crate::Answer;
use crate::connect::{Context, Redis};
use crate::failure::Failure;
use crate::output::{Report, table};
use crate::passkey;

/// Torrents per round trip when members are asked for.
const CHUNK: usize = 500;

/// Whom to ask for.
#[derive(Debug, Args)]
pub(crate) struct Presence {
    /// The user's passkey.
    passkey: String,
    /// Also show with which clients.
    #[arg(long)]
    members: bool,
}

/// Which of a user's two sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Side {
    /// Complete torrents.
    Seeding,
    /// Incomplete ones.
    Leeching,
}

#[derive(Serialize)]
struct Torrents {
    side: Side,
    count: usize,
    torrents: Vec<Torrent>,
}

#[derive(Serialize)]
struct Torrent {
    infohash: InfoHash,
    #[serde(skip_serializing_if = "Option::is_none")]
    members: Option<Vec<Member>>,
}

#[derive(Serialize)]
struct Member {
    peer_id: PeerId,
    client: String,
}

/// Shows one of a user's sets.
pub(crate) async fn run(command: &Presence, side: Side, context: &Context) -> Result<Answer, Failure> {
    let passkey = passkey::parse(&command.passkey)?;
    let mut redis = context.redis().await?;
    let mut torrents = torrents(&mut redis, &passkey, side, context).await?;
    if command.members {
        for chunk in torrents.chunks_mut(CHUNK) {
            add_members(&mut redis, &passkey, side, chunk, context).await?;
        }
    }
    context.output.show(&Torrents { side, count: torrents.len(), torrents })?;
    Ok(Answer::Done)
}

async fn torrents(
    redis: &mut Redis,
    passkey: &Passkey,
    side: Side,
    context: &Context,
) -> Result<Vec<Torrent>, Failure> {
    let set = match side {
        Side::Seeding => context.keys.seeding(passkey),
        Side::Leeching => context.keys.leeching(passkey),
    };
    let members: Vec<Vec<u8>> = redis.query(&redis::Cmd::smembers(set)).await?;
    let mut hashes: Vec<InfoHash> =
        members.iter().filter_map(|member| InfoHash::from_bytes(member).ok()).collect();
    hashes.sort_unstable();
    Ok(hashes.into_iter().map(|infohash| Torrent { infohash, members: None }).collect())
}

async fn add_members(
    redis: &mut Redis,
    passkey: &Passkey,
    side: Side,
    torrents: &mut [Torrent],
    context: &Context,
) -> Result<(), Failure> {
    let mut pipeline = redis::pipe();
    for torrent in &*torrents {
        pipeline.smembers(match side {
            Side::Seeding => context.keys.seeding_members(passkey, &torrent.infohash),
            Side::Leeching => context.keys.leeching_members(passkey, &torrent.infohash),
        });
    }
    let replies: Vec<Vec<Vec<u8>>> = redis.pipe(&pipeline).await?;
    for (torrent, reply) in torrents.iter_mut().zip(replies) {
        let mut ids: Vec<PeerId> =
            reply.iter().filter_map(|member| PeerId::from_bytes(member).ok()).collect();
        ids.sort_unstable();
        let member = |peer_id| Member { client: client_name::of(&peer_id), peer_id };
        torrent.members = Some(ids.into_iter().map(member).collect());
    }
    Ok(())
}

impl Report for Torrents {
    fn text(&self) -> String {
        if self.torrents.is_empty() {
            return "nothing".into();
        }
        if self.torrents.iter().all(|torrent| torrent.members.is_none()) {
            let hashes: Vec<String> =
                self.torrents.iter().map(|torrent| torrent.infohash.to_string()).collect();
            return hashes.join("\n");
        }
        table(&["torrent", "client", "peer id"], &[], self.torrents.iter().flat_map(Torrent::rows))
    }
}

impl Torrent {
    fn rows(&self) -> Vec<Vec<String>> {
        let members = self.members.as_deref().unwrap_or_default();
        let row = |member: &Member| {
            vec![self.infohash.to_string(), member.client.clone(), member.peer_id.to_string()]
        };
        members.iter().map(row).collect()
    }
}
