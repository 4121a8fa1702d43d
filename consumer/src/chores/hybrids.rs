//! Second names of hybrid torrents, from Redis into the ledger. Trackers obey an alias at once; what was
//! booked under the second name before follows here.

use books::ledger::{Access, Aliased, LedgerError, Location};
use contract::{InfoHash, Keys};
use redis::RedisResult;
use redis::aio::MultiplexedConnection;
use tracing::{debug, info};

/// Turns after which all aliases are looked at although there are as many as before: one may have taken the
/// place of another.
const LOOK_AGAIN: u32 = 100;

/// How many aliases the ledger has been told of, and how many turns ago.
#[derive(Debug, Default)]
pub(crate) struct Told {
    aliases: u64,
    turns: u32,
}

/// Tells the ledger of new aliases. While it cannot be written, the line waits for it already and says so; so
/// do the aliases.
pub(crate) async fn tell(
    connection: &mut MultiplexedConnection,
    (keys, database): (&Keys, &Location),
    told: &mut Told,
) -> RedisResult<()> {
    let aliases = redis::cmd("HLEN").arg(keys.torrent_alias()).query_async(connection).await?;
    told.turns += 1;
    if aliases == told.aliases && told.turns < LOOK_AGAIN {
        return Ok(());
    }
    let pairs: Vec<(String, String)> =
        redis::cmd("HGETALL").arg(keys.torrent_alias()).query_async(connection).await?;
    let database = database.clone();
    match tokio::task::spawn_blocking(move || alias(&database, &pairs)).await {
        Ok(Ok(aliased)) => {
            *told = Told { aliases, turns: 0 };
            say(aliased);
        }
        Ok(Err(error)) => debug!(%error, "the ledger waits to be told of hybrid torrents"),
        Err(error) => debug!(%error, "the ledger was not told of hybrid torrents"),
    }
    Ok(())
}

fn alias(database: &Location, pairs: &[(String, String)]) -> Result<Aliased, LedgerError> {
    let read =
        |(v2, v1): &(String, String)| Some((v2.parse::<InfoHash>().ok()?, v1.parse::<InfoHash>().ok()?));
    let pairs: Vec<(InfoHash, InfoHash)> = pairs.iter().filter_map(read).collect();
    if pairs.is_empty() {
        return Ok(Aliased::default());
    }
    database.open(Access::Existing)?.alias_torrents(&pairs)
}

fn say(Aliased { torrents, accounts, given_back }: Aliased) {
    if accounts > 0 {
        let [up, down] = given_back;
        info!(
            torrents,
            users = accounts,
            up,
            down,
            "booked hybrid torrents on their v1 info hashes, and gave back what both names had claimed"
        );
    }
}
