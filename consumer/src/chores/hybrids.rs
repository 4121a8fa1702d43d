//! Second names of hybrid torrents. Trackers obey an alias at once; what was booked under the second name
//! before follows here: presence, then snapshots, then the ledger.
//!
//! The ledger comes last, when all entries from before the alias are settled: each is settled under the name
//! that it was claimed under, so that what both names claimed is seen and given back. And an alias that the
//! ledger knows is done with, so nothing else need be remembered.

use std::collections::{HashMap, HashSet};
use std::time::Instant;

use books::entry::EntryId;
use books::groups::{Group, groups};
use books::ledger::{Access, Aliased, Ledger, LedgerError, Location};
use books::presence;
use books::rotation::hybrids;
use contract::{InfoHash, Keys};
use redis::RedisResult;
use redis::aio::MultiplexedConnection;
use tracing::{debug, info};

use super::Setup;

/// Turns after which all aliases are looked at although there are as many as before: one may have taken the
/// place of another.
const LOOK_AGAIN: u32 = 100;
/// Between two searches of all snapshots, by how long one takes. Until then sessions are folded as they
/// announce.
const PAUSE: u32 = 10;

/// v2 info hash and v1.
type Pair = (InfoHash, InfoHash);

/// How far aliases have come.
#[derive(Debug, Default)]
pub(crate) struct Told {
    /// How many aliases Redis and the ledger had when nothing was left to do, and how many turns ago.
    counts: Option<(u64, u64)>,
    turns: u32,
    /// Whose snapshots are folded, and the last entry that may have the second name.
    folded: HashMap<Pair, Option<EntryId>>,
    /// What the ledger does not take: it would make a chain.
    refused: HashSet<Pair>,
    /// No search of all snapshots before.
    rest_until: Option<Instant>,
}

/// Takes new aliases a step further. While the ledger cannot be written, the line waits for it already and
/// says so; so do the aliases.
pub(crate) async fn tell(
    connection: &mut MultiplexedConnection,
    setup: &Setup,
    told: &mut Told,
) -> RedisResult<()> {
    let (aliases, notes): (u64, u64) = redis::pipe()
        .hlen(setup.keys.torrent_alias())
        .hlen(setup.keys.folding())
        .query_async(connection)
        .await?;
    if aliases + notes == 0 {
        return Ok(());
    }
    let (followed, of) = presence::followed_torrent_aliases(connection, &setup.keys).await?;
    if followed != of || told.turns + 1 >= LOOK_AGAIN {
        presence::follow_torrent_aliases(connection, &setup.keys).await?;
    }
    let Some(known) = with_ledger(&setup.database, Ledger::count_aliases).await else { return Ok(()) };
    told.turns += 1;
    if told.counts == Some((aliases, known)) && notes == 0 && told.turns < LOOK_AGAIN {
        return Ok(());
    }
    if told.counts.is_some_and(|(_, before)| known < before) {
        told.refused.clear();
    }
    told.turns = 0;
    let pairs = pairs(connection, &setup.keys).await?;
    let unknown = move |ledger: &mut Ledger| ledger.unknown_aliases(&pairs);
    let Some(unknown) = with_ledger(&setup.database, unknown).await else { return Ok(()) };
    let left: Vec<Pair> = unknown.into_iter().filter(|pair| !told.refused.contains(pair)).collect();
    told.folded.retain(|pair, _| left.contains(pair));
    fold(connection, setup, told, &left).await?;
    let settled = settle(connection, setup, told).await?;
    if settled == left.len() && notes == 0 {
        told.counts = Some((aliases, known + settled as u64));
    }
    Ok(())
}

/// Notes what is new and, now and then, searches all snapshots for what is noted.
async fn fold(
    connection: &mut MultiplexedConnection,
    setup: &Setup,
    told: &mut Told,
    left: &[Pair],
) -> RedisResult<()> {
    let new: Vec<Pair> = left.iter().filter(|pair| !told.folded.contains_key(pair)).copied().collect();
    let noted = hybrids::note(connection, &setup.keys, &new).await?;
    if noted.is_empty() || told.rest_until.is_some_and(|until| Instant::now() < until) {
        return Ok(());
    }
    let last = hybrids::last_entry(connection, &setup.stream).await?;
    let began = Instant::now();
    let snapshots = hybrids::fold(connection, &setup.keys, &noted).await?;
    told.rest_until = Some(Instant::now() + began.elapsed() * PAUSE);
    debug!(torrents = noted.len(), snapshots, "folded snapshots of hybrid torrents' v2 info hashes");
    told.folded.extend(noted.into_iter().filter(|pair| left.contains(pair)).map(|pair| (pair, last)));
    Ok(())
}

/// Moves the ledger's rows of those of which everything under the second name is settled; how many they were.
async fn settle(
    connection: &mut MultiplexedConnection,
    setup: &Setup,
    told: &mut Told,
) -> RedisResult<usize> {
    let groups = groups(connection, &setup.stream).await?;
    let group = groups.iter().find(|group| group.name == setup.group);
    let settled_before = group.map_or(EntryId::default(), Group::needs_from);
    let is_settled = |last: &Option<EntryId>| last.is_none_or(|last| last < settled_before);
    let ready = told.folded.iter().filter(|(_, last)| is_settled(last));
    let ready: Vec<Pair> = ready.map(|(pair, _)| *pair).collect();
    if ready.is_empty() {
        return Ok(0);
    }
    let pairs = ready.clone();
    let alias = move |ledger: &mut Ledger| -> Result<(Aliased, Vec<Pair>), LedgerError> {
        Ok((ledger.alias_torrents(&pairs)?, ledger.unknown_aliases(&pairs)?))
    };
    let Some((aliased, refused)) = with_ledger(&setup.database, alias).await else { return Ok(0) };
    say(aliased);
    told.folded.retain(|pair, _| !ready.contains(pair));
    told.refused.extend(refused);
    Ok(ready.len())
}

async fn pairs(connection: &mut MultiplexedConnection, keys: &Keys) -> RedisResult<Vec<Pair>> {
    let pairs: Vec<(String, String)> =
        redis::cmd("HGETALL").arg(keys.torrent_alias()).query_async(connection).await?;
    Ok(pairs.iter().filter_map(|(v2, v1)| Some((v2.parse().ok()?, v1.parse().ok()?))).collect())
}

/// On a thread where a database may block.
async fn with_ledger<T: Send + 'static>(
    database: &Location,
    work: impl FnOnce(&mut Ledger) -> Result<T, LedgerError> + Send + 'static,
) -> Option<T> {
    let database = database.clone();
    let work = move || work(&mut database.open(Access::Existing)?);
    match tokio::task::spawn_blocking(work).await {
        Ok(Ok(done)) => Some(done),
        Ok(Err(error)) => {
            debug!(%error, "the ledger waits to be told of hybrid torrents");
            None
        }
        Err(error) => {
            debug!(%error, "the ledger was not told of hybrid torrents");
            None
        }
    }
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
