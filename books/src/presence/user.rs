//! The torrents that one user seeds and leeches, from the presence sets, as a site reads them.

use contract::{InfoHash, Keys, Passkey, PeerId};
use redis::aio::MultiplexedConnection;
use redis::{RedisResult, cmd, pipe};

/// Torrents in one round trip when members are asked for.
const TORRENTS_A_CALL: usize = 500;

/// Which of a user's two sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Complete torrents.
    Seeding,
    /// Incomplete ones.
    Leeching,
}

/// The torrents on one side, in order. A member that is no info hash is nobody's.
///
/// # Errors
/// Redis's own.
pub async fn torrents_of(
    connection: &mut MultiplexedConnection,
    keys: &Keys,
    passkey: &Passkey,
    side: Side,
) -> RedisResult<Vec<InfoHash>> {
    let set = match side {
        Side::Seeding => keys.seeding(passkey),
        Side::Leeching => keys.leeching(passkey),
    };
    let members: Vec<Vec<u8>> = cmd("SMEMBERS").arg(set).query_async(connection).await?;
    let mut torrents: Vec<InfoHash> =
        members.iter().filter_map(|member| InfoHash::from_bytes(member).ok()).collect();
    torrents.sort_unstable();
    Ok(torrents)
}

/// For each of these torrents the clients on that side, in order.
///
/// # Errors
/// Redis's own.
pub async fn clients_on(
    connection: &mut MultiplexedConnection,
    keys: &Keys,
    (passkey, side): (&Passkey, Side),
    torrents: &[InfoHash],
) -> RedisResult<Vec<Vec<PeerId>>> {
    let mut clients = Vec::with_capacity(torrents.len());
    for chunk in torrents.chunks(TORRENTS_A_CALL) {
        let mut pipeline = pipe();
        for info_hash in chunk {
            pipeline.smembers(match side {
                Side::Seeding => keys.seeding_members(passkey, info_hash),
                Side::Leeching => keys.leeching_members(passkey, info_hash),
            });
        }
        let replies: Vec<Vec<Vec<u8>>> = pipeline.query_async(connection).await?;
        clients.extend(replies.iter().map(|members| peer_ids(members)));
    }
    Ok(clients)
}

fn peer_ids(members: &[Vec<u8>]) -> Vec<PeerId> {
    let mut ids: Vec<PeerId> = members.iter().filter_map(|member| PeerId::from_bytes(member).ok()).collect();
    ids.sort_unstable();
    ids
}

/// How many torrents a user seeds and leeches.
///
/// # Errors
/// Redis's own.
pub async fn counts_of(
    connection: &mut MultiplexedConnection,
    keys: &Keys,
    passkey: &Passkey,
) -> RedisResult<(u64, u64)> {
    let mut sizes = pipe();
    sizes.scard(keys.seeding(passkey)).scard(keys.leeching(passkey));
    sizes.query_async(connection).await
}
