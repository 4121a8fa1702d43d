//! Entries that were taken out of the stream before anybody in the group was given them: counted, because
//! nobody will ever settle them.
//!
//! Redis numbers a stream's entries as they are added (`entries-added`) and remembers how many of them a
//! group was given (`entries-read`). The difference, less those that are still there, is what was lost. Redis
//! itself never corrects its figure after a trim, so [`settle_account`] does: that is also what makes several
//! consumers count a loss once.

mod watch;

use redis::aio::MultiplexedConnection;
use redis::{RedisResult, Script, Value, cmd};

pub(crate) use watch::Watch;

use books::entry::EntryId;
use service::redis::{reply, stream};

/// A stream and one of its groups, looked at in one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Look {
    /// Entries that are there.
    pub length: u64,
    /// Entries ever added.
    pub added: u64,
    /// The oldest entry that is there.
    pub first: Option<EntryId>,
    /// The newest id ever given.
    pub last_generated: EntryId,
    /// The newest entry that was deleted one by one.
    pub max_deleted: EntryId,
    /// The newest entry that the group was given.
    pub delivered: EntryId,
    /// How many it was given, as Redis counts; `None` when Redis has lost count.
    pub read: Option<u64>,
}

/// How many entries after the group's position are still there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unread {
    /// So many.
    Known(u64),
    /// Somebody deleted entries one by one ahead of the group: they must be counted.
    MustCount,
    /// Nothing points to a loss; should there be one, it shows once the group has read everything.
    Unremarkable,
}

impl Look {
    /// Entries that the group has still to be given, as far as Redis knows.
    #[must_use]
    pub fn backlog(&self) -> u64 {
        match (self.read, self.delivered == EntryId::default()) {
            (Some(read), _) => self.added.saturating_sub(read),
            (None, true) => self.length,
            (None, false) => 0,
        }
    }

    /// The same after the group was given so many entries, `newest` the last of them.
    #[must_use]
    pub fn after(self, newest: EntryId, given: u64) -> Self {
        let taken_out = self.added.saturating_sub(self.length);
        let read = self.read.or((self.delivered == EntryId::default()).then_some(taken_out));
        Self { delivered: newest, read: read.map(|read| read + given), ..self }
    }

    /// Whether this is another stream under the same name than the one that was seen `before`.
    #[must_use]
    pub fn is_another_than(&self, before: &Self) -> bool {
        let all_new =
            self.added == self.length && self.first.is_none_or(|first| first > before.last_generated);
        self.added < before.added || (before.added > 0 && all_new)
    }

    /// What is known of the entries after the group's position without reading them.
    #[must_use]
    pub fn unread(&self) -> Unread {
        match self.first {
            None => Unread::Known(0),
            Some(first) if self.delivered < first => Unread::Known(self.length),
            _ if self.delivered >= self.last_generated => Unread::Known(0),
            _ if self.max_deleted > self.delivered => Unread::MustCount,
            _ => Unread::Unremarkable,
        }
    }
}

/// Looks at both. `None` when there is no such stream or no such group, or Redis does not count (before 7.0).
///
/// # Errors
/// Redis's own.
pub async fn look(
    connection: &mut MultiplexedConnection,
    stream: &str,
    group: &str,
) -> RedisResult<Option<Look>> {
    let mut both = redis::pipe();
    both.atomic().cmd("XINFO").arg("STREAM").arg(stream).cmd("XINFO").arg("GROUPS").arg(stream);
    let (about, groups): (Value, Value) = match both.query_async(connection).await {
        Err(error) if !error.is_io_error() && error.to_string().contains("no such key") => return Ok(None),
        reply => reply?,
    };
    let about = reply::array(about)?;
    for description in reply::array(groups)? {
        let description = reply::array(description)?;
        let name = reply::named(&description, "name").cloned().map(reply::bytes).transpose()?;
        if name.as_deref() == Some(group.as_bytes()) {
            return Ok(described(&about, &description));
        }
    }
    Ok(None)
}

fn described(about: &[Value], group: &[Value]) -> Option<Look> {
    let id = |flat, name| reply::named(flat, name).and_then(reply::id);
    let number = |flat, name| reply::named(flat, name).and_then(reply::number);
    let length = number(about, "length")?;
    Some(Look {
        length,
        added: number(about, "entries-added")?,
        first: id(about, "recorded-first-entry-id").filter(|_| length > 0),
        last_generated: id(about, "last-generated-id")?,
        max_deleted: id(about, "max-deleted-entry-id").unwrap_or_default(),
        delivered: id(group, "last-delivered-id")?,
        read: number(group, "entries-read"),
    })
}

/// Entries counted by one command.
const PAGE: u64 = 1000;
/// Beyond so many unread entries the exact figure is not worth the reading.
const MOST_COUNTED: u64 = 200_000;

/// How many entries were lost since the account was last settled, and settles it: Redis is told how far the
/// group really is. 0 also when another consumer was quicker.
///
/// # Errors
/// Redis's own.
pub async fn settle_account(
    connection: &mut MultiplexedConnection,
    stream: &str,
    group: &str,
    look: &Look,
) -> RedisResult<u64> {
    let Some(read) = look.read else { return Ok(0) };
    let unread = match look.unread() {
        Unread::Known(unread) => Some(unread),
        Unread::MustCount => count_unread(connection, stream, look).await?,
        Unread::Unremarkable => None,
    };
    let Some(unread) = unread else { return Ok(0) };
    let lost = look.added.saturating_sub(read).saturating_sub(unread);
    if lost == 0 || !correct(connection, (stream, group), look, look.added - unread).await? {
        return Ok(0);
    }
    Ok(lost)
}

/// Entries between the group's position and the end that was seen; `None` when there are too many.
async fn count_unread(
    connection: &mut MultiplexedConnection,
    stream: &str,
    look: &Look,
) -> RedisResult<Option<u64>> {
    let (mut from, mut count) = (look.delivered.next(), 0);
    while count < MOST_COUNTED {
        let mut range = cmd("XRANGE");
        range.arg(stream).arg(from.to_string()).arg(look.last_generated.to_string()).arg("COUNT").arg(PAGE);
        let page = stream::entries(&range.query_async::<Value>(connection).await?)?;
        count += page.len() as u64;
        match page.last() {
            Some(last) if page.len() as u64 == PAGE => from = last.id.next(),
            _ => return Ok(Some(count)),
        }
    }
    Ok(None)
}

/// Sets the group's count, unless it has moved since the look.
async fn correct(
    connection: &mut MultiplexedConnection,
    (stream, group): (&str, &str),
    look: &Look,
    read: u64,
) -> RedisResult<bool> {
    let script = Script::new(
        "for _, flat in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
           local it = {}
           for i = 1, #flat, 2 do it[flat[i]] = flat[i + 1] end
           if it['name'] == ARGV[1] then
             if it['last-delivered-id'] ~= ARGV[2] or tostring(it['entries-read'] or '') ~= ARGV[3] then return 0 end
             redis.call('XGROUP', 'SETID', KEYS[1], ARGV[1], ARGV[2], 'ENTRIESREAD', ARGV[4])
             return 1
           end
         end
         return 0",
    );
    let before = look.read.map(|read| read.to_string()).unwrap_or_default();
    let mut call = script.key(stream);
    call.arg(group).arg(look.delivered.to_string()).arg(before).arg(read);
    call.invoke_async(connection).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(first: Option<u64>, delivered: u64, last: u64, max_deleted: u64) -> Look {
        Look {
            length: 4,
            added: 10,
            first: first.map(EntryId::at_ms),
            last_generated: EntryId::at_ms(last),
            max_deleted: EntryId::at_ms(max_deleted),
            delivered: EntryId::at_ms(delivered),
            read: Some(2),
        }
    }

    #[test]
    fn what_is_left_to_read_is_known_at_both_ends_and_counted_only_after_deletions() {
        assert_eq!(look(Some(7), 2, 10, 0).unread(), Unread::Known(4), "trimmed beyond the group");
        assert_eq!(look(None, 2, 10, 0).unread(), Unread::Known(0), "nothing is left at all");
        assert_eq!(look(Some(7), 10, 10, 0).unread(), Unread::Known(0), "everything was read");
        assert_eq!(look(Some(1), 5, 10, 8).unread(), Unread::MustCount, "one ahead was deleted");
        assert_eq!(look(Some(1), 5, 10, 3).unread(), Unread::Unremarkable);
    }

    #[test]
    fn another_stream_under_the_same_name_is_recognised_by_its_age() {
        let before = look(Some(7), 2, 10, 0);
        assert!(Look::default().is_another_than(&before), "deleted and not written yet");
        let young = Look { length: 12, added: 12, first: Some(EntryId::at_ms(11)), ..Look::default() };
        assert!(young.is_another_than(&before), "written again already");
        assert!(!Look { added: 11, length: 5, ..before }.is_another_than(&before), "the same, one more");
    }
}
