//! A stream and one of its groups as they are at one moment, and how many entries were trimmed that no
//! consumer of the group was given.

use books::entry::EntryId;
use redis::{Pipeline, RedisResult, Value};
use service::redis::reply;

/// The figures of `XINFO` about the stream and the group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Look {
    /// Entries that are there.
    pub(super) length: u64,
    /// Entries ever added.
    pub(super) added: u64,
    /// The oldest entry that is there.
    pub(super) first: Option<EntryId>,
    /// The newest id ever given.
    pub(super) last_generated: EntryId,
    /// The newest entry that was deleted one by one.
    pub(super) max_deleted: EntryId,
    /// The newest entry that the group was given.
    pub(super) delivered: EntryId,
    /// How many it was given, as Redis counts; `None` when Redis has lost count.
    pub(super) read: Option<u64>,
}

/// How many entries after the group's position are still there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unread {
    /// So many.
    Known(u64),
    /// Somebody deleted entries one by one ahead of the group: they must be counted.
    MustCount,
    /// Nothing points to a loss; should there be one, it shows once the group has read everything.
    Unremarkable,
}

impl Look {
    /// Asks about both in one transaction.
    pub(super) fn question(stream: &str) -> Pipeline {
        let mut both = redis::pipe();
        both.atomic().cmd("XINFO").arg("STREAM").arg(stream).cmd("XINFO").arg("GROUPS").arg(stream);
        both
    }

    /// The answer. `None` when there is no such stream or no such group, or Redis does not count (before
    /// 7.0).
    pub(super) fn answer(answer: RedisResult<Value>, group: &str) -> RedisResult<Option<Self>> {
        let both = match answer {
            Err(error) if !error.is_io_error() && error.to_string().contains("no such key") => {
                return Ok(None);
            }
            answer => reply::array(answer?)?,
        };
        let Ok([about, groups]) = <[Value; 2]>::try_from(both) else {
            return Err(reply::unexpected("a stream and its groups were expected"));
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

    /// Entries that the group has still to be given, as far as Redis knows.
    pub(super) fn backlog(&self) -> u64 {
        match (self.read, self.delivered == EntryId::default()) {
            (Some(read), _) => self.added.saturating_sub(read),
            (None, true) => self.length,
            (None, false) => 0,
        }
    }

    /// The same after the group was given so many entries, `newest` the last of them.
    pub(super) fn after(self, newest: EntryId, given: u64) -> Self {
        let taken_out = self.added.saturating_sub(self.length);
        let read = self.read.or((self.delivered == EntryId::default()).then_some(taken_out));
        Self { delivered: newest, read: read.map(|read| read + given), ..self }
    }

    /// Whether this is another stream under the same name than the one that was seen `before`.
    pub(super) fn is_another_than(&self, before: &Self) -> bool {
        let all_new =
            self.added == self.length && self.first.is_none_or(|first| first > before.last_generated);
        self.added < before.added || (before.added > 0 && all_new)
    }

    /// What is known of the entries after the group's position without reading them.
    pub(super) fn unread(&self) -> Unread {
        match self.first {
            None => Unread::Known(0),
            Some(first) if self.delivered < first => Unread::Known(self.length),
            _ if self.delivered >= self.last_generated => Unread::Known(0),
            _ if self.max_deleted > self.delivered => Unread::MustCount,
            _ => Unread::Unremarkable,
        }
    }

    /// How many entries were lost, when so many are still unread.
    pub(super) fn lost(&self, unread: u64) -> u64 {
        let given = self.read.unwrap_or(self.added);
        self.added.saturating_sub(given).saturating_sub(unread)
    }
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
