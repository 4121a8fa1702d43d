//! Trimming the stream without removing an entry that a consumer group still needs.

use std::collections::BTreeSet;

use redis::aio::MultiplexedConnection;
use redis::{RedisResult, Value, cmd};
use service::redis::{reply, stream};

use crate::entry::EntryId;
use crate::groups::{Group, groups};

/// Which entries are old.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// Those older than so many days.
    Days(u64),
    /// All but the newest so many.
    Newest(u64),
}

/// What to do about old entries that a group has not read and acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unsettled {
    /// Keep them, and everything after them.
    Keep,
    /// Remove them too: their bytes are lost.
    Destroy,
}

/// What a trim would remove.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Plan {
    /// Entries before this one are old.
    pub cutoff: EntryId,
    /// Entries before this one are read and acknowledged by every group.
    pub settled_before: EntryId,
    /// How many entries are old.
    pub old: u64,
    /// How many of them a guarded trim removes.
    pub removable: u64,
    /// How many of them some group has not read and acknowledged: what a forced trim would destroy.
    pub unsettled: u64,
}

/// A stream and the group without which nothing in it counts as settled.
#[derive(Debug, Clone, Copy)]
pub struct Target<'a> {
    /// The stream's key.
    pub stream: &'a str,
    /// The consumers' group. While it does not exist, nobody has settled anything.
    pub group: &'a str,
}

/// Called now and then during long work with the number of entries done.
pub type Progress<'a> = &'a mut (dyn FnMut(u64) + Send);

/// Entries read or removed by one command, so that Redis serves others in between.
const STEP: u64 = 1000;
const TRIM_STEP: u64 = 10_000;
const DAY_MS: u64 = 86_400_000;

/// Counts what a trim would remove. Reads every old entry once. `now_ms` is in unix milliseconds.
///
/// # Errors
/// Redis's own.
pub async fn plan(
    connection: &mut MultiplexedConnection,
    target: Target<'_>,
    keep: Keep,
    now_ms: u64,
    progress: Progress<'_>,
) -> RedisResult<Plan> {
    let cutoff = cutoff(connection, target.stream, keep, now_ms).await?;
    let groups = groups(connection, target.stream).await?;
    let mut plan = Plan { cutoff, settled_before: settled_before(&groups, target.group), ..Plan::default() };
    // Beyond this, at least one group has not been given the entry; before it, only pending ones are
    // unsettled.
    let given_to_all = match groups.iter().any(|group| group.name == target.group) {
        true => groups.iter().map(|group| group.last_delivered).min().unwrap_or_default(),
        false => EntryId::default(),
    };
    let pending = pending(connection, target.stream, &groups, cutoff.min(given_to_all.next())).await?;
    let mut from = EntryId::default();
    loop {
        let page = range(connection, target.stream, from, cutoff).await?;
        for id in &page {
            plan.old += 1;
            plan.removable += u64::from(*id < plan.settled_before);
            plan.unsettled += u64::from(*id > given_to_all || pending.contains(id));
        }
        progress(plan.old);
        match page.last() {
            Some(last) => from = last.next(),
            None => return Ok(plan),
        }
    }
}

/// Removes old entries and returns how many.
///
/// Safe beside writers and readers: a new entry comes after the cutoff, and reading or acknowledging only
/// moves what groups need towards the end, so a boundary that was true stays true. (Only an operator who sets
/// a group back, or creates one from the beginning, at that very moment would find old entries gone.)
///
/// # Errors
/// Redis's own; what was removed stays removed.
pub async fn trim(
    connection: &mut MultiplexedConnection,
    target: Target<'_>,
    keep: Keep,
    unsettled: Unsettled,
    now_ms: u64,
    progress: Progress<'_>,
) -> RedisResult<u64> {
    let cutoff = cutoff(connection, target.stream, keep, now_ms).await?;
    let below = match unsettled {
        Unsettled::Destroy => cutoff,
        Unsettled::Keep => {
            cutoff.min(settled_before(&groups(connection, target.stream).await?, target.group))
        }
    };
    remove_below(connection, target.stream, below, progress).await
}

/// The smallest id that some group still needs; with the consumers' group missing, all of them are needed.
fn settled_before(groups: &[Group], required: &str) -> EntryId {
    match groups.iter().any(|group| group.name == required) {
        true => groups.iter().map(Group::needs_from).min().unwrap_or_default(),
        false => EntryId::default(),
    }
}

async fn cutoff(
    connection: &mut MultiplexedConnection,
    stream: &str,
    keep: Keep,
    now_ms: u64,
) -> RedisResult<EntryId> {
    match keep {
        Keep::Days(days) => Ok(EntryId::at_ms(now_ms.saturating_sub(days.saturating_mul(DAY_MS)))),
        Keep::Newest(count) => oldest_of_newest(connection, stream, count).await,
    }
}

/// Walks back `count` entries from the end; a stream has no index by rank.
async fn oldest_of_newest(
    connection: &mut MultiplexedConnection,
    stream: &str,
    count: u64,
) -> RedisResult<EntryId> {
    let (mut left, mut oldest) = (count, None);
    loop {
        let before = oldest.map_or_else(|| "+".to_owned(), |id| format!("({id}"));
        let mut command = cmd("XREVRANGE");
        command.arg(stream).arg(before).arg("-").arg("COUNT").arg(left.clamp(1, STEP));
        let page = stream::entries(&command.query_async::<Value>(connection).await?)?;
        let Some(last) = page.last() else { return Ok(oldest.unwrap_or_default()) };
        if left == 0 {
            return Ok(last.id.next());
        }
        oldest = Some(last.id);
        left -= left.min(page.len() as u64);
        if left == 0 {
            return Ok(last.id);
        }
    }
}

async fn range(
    connection: &mut MultiplexedConnection,
    stream: &str,
    from: EntryId,
    before: EntryId,
) -> RedisResult<Vec<EntryId>> {
    let mut command = cmd("XRANGE");
    command.arg(stream).arg(from.to_string()).arg(format!("({before}")).arg("COUNT").arg(STEP);
    if before == EntryId::default() {
        return Ok(Vec::new());
    }
    let page = stream::entries(&command.query_async::<Value>(connection).await?)?;
    Ok(page.into_iter().map(|entry| entry.id).collect())
}

/// Entries before `before` that were delivered to some group and not acknowledged.
///
/// # Errors
/// Redis's own.
pub async fn pending(
    connection: &mut MultiplexedConnection,
    stream: &str,
    groups: &[Group],
    before: EntryId,
) -> RedisResult<BTreeSet<EntryId>> {
    let mut ids = BTreeSet::new();
    for group in groups.iter().filter(|group| group.pending > 0 && before > EntryId::default()) {
        let mut from = EntryId::default();
        loop {
            let mut command = cmd("XPENDING");
            command.arg(stream).arg(&group.name).arg(from.to_string()).arg(format!("({before}")).arg(STEP);
            let page = reply::array(command.query_async::<Value>(connection).await?)?;
            let first = |line: Value| reply::array(line).map(|line| line.first().and_then(reply::id));
            let page: Vec<Option<EntryId>> = page.into_iter().map(first).collect::<RedisResult<_>>()?;
            let Some(last) = page.last().copied().flatten() else { break };
            ids.extend(page.into_iter().flatten());
            from = last.next();
        }
    }
    Ok(ids)
}

/// By whole nodes while there are many, a bounded number at a time; then exactly.
async fn remove_below(
    connection: &mut MultiplexedConnection,
    stream: &str,
    below: EntryId,
    progress: Progress<'_>,
) -> RedisResult<u64> {
    let mut removed = 0;
    loop {
        let mut nodes = cmd("XTRIM");
        nodes.arg(stream).arg("MINID").arg("~").arg(below.to_string()).arg("LIMIT").arg(TRIM_STEP);
        let step: u64 = nodes.query_async(connection).await?;
        removed += step;
        progress(removed);
        if step == 0 {
            break;
        }
    }
    let mut rest = cmd("XTRIM");
    rest.arg(stream).arg("MINID").arg("=").arg(below.to_string());
    removed += rest.query_async::<u64>(connection).await?;
    progress(removed);
    Ok(removed)
}
