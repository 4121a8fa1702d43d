//! How far each consumer group has come in the stream: its lag, its pending entries, and the entries that
//! must stay for it.

use redis::aio::MultiplexedConnection;
use redis::{RedisResult, Value, cmd};
use service::redis::{reply, stream};

use crate::entry::EntryId;

/// One consumer group of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// The group's name.
    pub name: String,
    /// Consumers that ever read in it and were not deleted.
    pub consumers: u64,
    /// Entries delivered and not acknowledged.
    pub pending: u64,
    /// The newest entry delivered.
    pub last_delivered: EntryId,
    /// Entries not delivered yet; `None` when Redis cannot tell (before 7.0, or after deletions).
    pub lag: Option<u64>,
    /// The oldest entry delivered and not acknowledged.
    pub oldest_pending: Option<EntryId>,
}

impl Group {
    /// The oldest entry that this group still needs; everything before it is read and acknowledged.
    #[must_use]
    pub fn needs_from(&self) -> EntryId {
        let unread = self.last_delivered.next();
        self.oldest_pending.map_or(unread, |pending| pending.min(unread))
    }
}

/// All groups of a stream; none when there is no such stream.
///
/// Each group's pending entries are asked for after its position: an entry delivered in between is beyond the
/// position that was read, so [`Group::needs_from`] covers it either way.
///
/// # Errors
/// Redis's own.
pub async fn groups(connection: &mut MultiplexedConnection, stream: &str) -> RedisResult<Vec<Group>> {
    let reply = match cmd("XINFO").arg("GROUPS").arg(stream).query_async::<Value>(connection).await {
        Err(error) if error.to_string().contains("no such key") => return Ok(Vec::new()),
        reply => reply?,
    };
    let mut groups = Vec::new();
    for description in reply::array(reply)? {
        let mut group = described(&reply::array(description)?)?;
        if group.pending > 0 {
            group.oldest_pending = oldest_pending(connection, stream, &group.name).await?;
        }
        groups.push(group);
    }
    Ok(groups)
}

fn described(flat: &[Value]) -> RedisResult<Group> {
    let number = |name| reply::named(flat, name).and_then(reply::number);
    let name = reply::named(flat, "name").ok_or_else(|| reply::unexpected("a group has a name"))?;
    let position = reply::named(flat, "last-delivered-id").and_then(reply::id);
    Ok(Group {
        name: String::from_utf8_lossy(&reply::bytes(name.clone())?).into_owned(),
        consumers: number("consumers").unwrap_or(0),
        pending: number("pending").unwrap_or(0),
        last_delivered: position.ok_or_else(|| reply::unexpected("a group has a position"))?,
        lag: number("lag"),
        oldest_pending: None,
    })
}

async fn oldest_pending(
    connection: &mut MultiplexedConnection,
    stream: &str,
    group: &str,
) -> RedisResult<Option<EntryId>> {
    let summary = cmd("XPENDING").arg(stream).arg(group).query_async::<Value>(connection).await?;
    Ok(reply::array(summary)?.get(1).and_then(reply::id))
}

/// What one group has still to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Backlog {
    /// Entries not delivered yet. When Redis cannot tell how many: 1 if there is any.
    pub undelivered: u64,
    /// Entries delivered and not acknowledged.
    pub pending: u64,
    /// The oldest entry of either kind.
    pub oldest: Option<EntryId>,
}

impl Backlog {
    /// Unix seconds up to which everything that happened is known: `now`, or the time of the oldest entry not
    /// yet settled. Leases may be judged only up to here.
    #[must_use]
    pub fn horizon(&self, now: u64) -> u64 {
        self.oldest.map_or(now, |oldest| oldest.unix_seconds().min(now))
    }

    /// Seconds that the oldest entry has been waiting at `now_ms` unix milliseconds.
    #[must_use]
    pub fn lag_seconds(&self, now_ms: u64) -> f64 {
        self.oldest.map_or(0.0, |oldest| {
            std::time::Duration::from_millis(now_ms.saturating_sub(oldest.ms)).as_secs_f64()
        })
    }
}

/// The backlog of one group. Without the group, everything in the stream is.
///
/// # Errors
/// Redis's own.
pub async fn backlog(
    connection: &mut MultiplexedConnection,
    stream: &str,
    group: &str,
) -> RedisResult<Backlog> {
    let all = groups(connection, stream).await?;
    let group = all.into_iter().find(|candidate| candidate.name == group);
    let position = group.as_ref().map_or(EntryId::default(), |group| group.last_delivered);
    let unread = first_after(connection, stream, position).await?;
    let known = group.as_ref().and_then(|group| group.lag);
    let pending = group.as_ref().map_or(0, |group| group.pending);
    let oldest_pending = group.and_then(|group| group.oldest_pending);
    Ok(Backlog {
        undelivered: if unread.is_some() { known.unwrap_or(1).max(1) } else { 0 },
        pending,
        oldest: [unread, oldest_pending].into_iter().flatten().min(),
    })
}

async fn first_after(
    connection: &mut MultiplexedConnection,
    stream: &str,
    position: EntryId,
) -> RedisResult<Option<EntryId>> {
    let from = position.next().to_string();
    let mut range = cmd("XRANGE");
    range.arg(stream).arg(from).arg("+").arg("COUNT").arg(1);
    let reply = range.query_async::<Value>(connection).await?;
    Ok(stream::entries(&reply)?.first().map(|entry| entry.id))
}
