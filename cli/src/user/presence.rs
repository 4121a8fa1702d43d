//! `user seeding` and `user leeching`: the presence sets that the consumer keeps.

use books::presence::{self, Side};
use clap::Args;
use contract::{InfoHash, Passkey, PeerId};
use redis::RedisResult;
use serde::Serialize;

use super::client_name;
use crate::Answer;
use crate::connect::{Context, Redis};
use crate::failure::Failure;
use crate::output::{Report, table};
use crate::passkey;

/// Whom to ask for.
#[derive(Debug, Args)]
pub(crate) struct Presence {
    /// The user's passkey.
    passkey: String,
    /// Also show with which clients.
    #[arg(long)]
    members: bool,
}

#[derive(Serialize)]
struct Torrents {
    side: &'static str,
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
    let torrents = torrents(&mut redis, &passkey, (side, command.members), context).await;
    let torrents = torrents.map_err(|error| redis.failure(&error))?;
    let side = match side {
        Side::Seeding => "seeding",
        Side::Leeching => "leeching",
    };
    context.output.show(&Torrents { side, count: torrents.len(), torrents })?;
    Ok(Answer::Done)
}

async fn torrents(
    redis: &mut Redis,
    passkey: &Passkey,
    (side, with_members): (Side, bool),
    context: &Context,
) -> RedisResult<Vec<Torrent>> {
    let (connection, keys) = (&mut redis.connection, &context.keys);
    let torrents = presence::torrents_of(connection, keys, passkey, side).await?;
    if !with_members {
        return Ok(torrents.into_iter().map(|infohash| Torrent { infohash, members: None }).collect());
    }
    let clients = presence::clients_on(connection, keys, (passkey, side), &torrents).await?;
    let member = |peer_id| Member { client: client_name::of(&peer_id), peer_id };
    let torrent = |(infohash, ids): (InfoHash, Vec<PeerId>)| Torrent {
        infohash,
        members: Some(ids.into_iter().map(member).collect()),
    };
    Ok(torrents.into_iter().zip(clients).map(torrent).collect())
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
