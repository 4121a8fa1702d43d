//! Which passkeys were rotated, and which info hashes are a hybrid torrent's second name, as Redis has it.

use std::collections::HashMap;

use contract::{InfoHash, Keys, Passkey};
use redis::aio::MultiplexedConnection;
use redis::{RedisResult, cmd};

/// Old passkey to new, all of them: a site rotates few. What is no passkey stands for nobody.
pub(crate) async fn aliases(
    connection: &mut MultiplexedConnection,
    keys: &Keys,
) -> RedisResult<HashMap<Passkey, Passkey>> {
    let pairs: Vec<(String, String)> =
        cmd("HGETALL").arg(keys.passkey_alias()).query_async(connection).await?;
    Ok(pairs.into_iter().filter_map(|(old, new)| Some((old.parse().ok()?, new.parse().ok()?))).collect())
}

/// v2 info hash to v1, all of them.
pub(crate) async fn torrent_aliases(
    connection: &mut MultiplexedConnection,
    keys: &Keys,
) -> RedisResult<HashMap<InfoHash, InfoHash>> {
    let pairs: Vec<(String, String)> =
        cmd("HGETALL").arg(keys.torrent_alias()).query_async(connection).await?;
    Ok(pairs.into_iter().filter_map(|(v2, v1)| Some((v2.parse().ok()?, v1.parse().ok()?))).collect())
}
