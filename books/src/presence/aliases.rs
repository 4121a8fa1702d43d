//! Which passkeys were rotated, as Redis has it.

use std::collections::HashMap;

use contract::{Keys, Passkey};
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
