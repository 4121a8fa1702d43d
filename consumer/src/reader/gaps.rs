//! Entries that were taken out of the stream before a consumer of the group was given them: counted, because
//! no consumer will ever settle them.
//!
//! Redis numbers a stream's entries as they are added (`entries-added`) and remembers how many of them a
//! group was given (`entries-read`). The difference, less those that are still there, is what was lost. Redis
//! itself never corrects its figure after a trim, so the reader does, and that correction is also what makes
//! one consumer of several report the loss: whoever corrects first.

use std::time::{Duration, Instant};

use books::entry::EntryId;
use redis::{Cmd, FromRedisValue, RedisResult, Value, cmd};
use service::redis::stream;
use tracing::{error, warn};

use super::look::{Look, Unread};
use super::{Ask, Source};
use crate::batch::Batch;

/// How often a stream is looked at while nothing comes.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// And while entries come: small batches must not each be preceded by a look that costs more than they do.
const LOOK_UNDER_LOAD_EVERY: Duration = Duration::from_millis(100);
/// Entries counted by one command.
const PAGE: u64 = 1000;
/// Beyond so many unread entries the exact figure is not worth the reading.
const MOST_COUNTED: u64 = 200_000;

/// One reader's eye on its stream: looks before it reads, and remembers what it saw in case the stream is
/// deleted.
#[derive(Debug, Default)]
pub(super) struct Gaps {
    last: Option<Look>,
    next: Option<Instant>,
    step: Step,
}

#[derive(Debug, Clone, Copy, Default)]
enum Step {
    /// Nothing is asked.
    #[default]
    Done,
    /// A look before a read.
    Look,
    /// A look at the stream for which the reader made a group.
    FirstLook,
    /// Entries from here on that are there are counted; so many were.
    Count(Look, EntryId, u64),
    /// Redis is told how far the group really is, when so many are unread.
    Correct(Look, u64),
}

impl Gaps {
    /// The reader made the group: was there one before, and did the stream go with it?
    pub(super) fn group_was_made(&mut self) {
        self.step = Step::FirstLook;
    }

    /// An answer will not come. What was seen before stays.
    pub(super) fn give_up(&mut self) {
        self.step = Step::Done;
    }

    /// A look, if it is time for one.
    pub(super) fn looks(&mut self, source: &Source, now: Instant) -> Option<Ask> {
        if self.next.is_some_and(|next| now < next) {
            return None;
        }
        self.next = Some(now + LOOK_UNDER_LOAD_EVERY);
        self.step = Step::Look;
        self.goes_on(source)
    }

    /// The next question of what was begun.
    pub(super) fn goes_on(&self, source: &Source) -> Option<Ask> {
        match self.step {
            Step::Done => None,
            Step::Look | Step::FirstLook => Some(Ask::Together(Look::question(&source.stream))),
            Step::Count(look, from, _) => Some(Ask::Command(page(source, from, look.last_generated))),
            Step::Correct(look, unread) => Some(Ask::Command(correction(source, &look, unread))),
        }
    }

    /// Takes the answer, and says how many entries turned out to be lost.
    pub(super) fn answered(&mut self, answer: RedisResult<Value>, source: &Source) -> RedisResult<u64> {
        match std::mem::take(&mut self.step) {
            Step::Done => Ok(0),
            Step::Look => self.looked(Look::answer(answer, &source.group)?),
            Step::FirstLook => Ok(self.first_looked(Look::answer(answer, &source.group)?, source)),
            Step::Count(look, from, counted) => self.counted(look, from, counted, &answer?),
            Step::Correct(look, unread) => {
                Ok(self.corrected(look, unread, bool::from_redis_value(answer?)?, source))
            }
        }
    }

    fn looked(&mut self, look: Option<Look>) -> RedisResult<u64> {
        let Some(look) = look else { return Ok(0) };
        self.last = Some(look);
        match look.unread() {
            Unread::Known(unread) => self.found(look, unread),
            Unread::MustCount if look.read.is_some() => {
                self.step = Step::Count(look, look.delivered.next(), 0);
            }
            Unread::MustCount | Unread::Unremarkable => {}
        }
        Ok(0)
    }

    /// The account is settled by a correction, if anything is lost.
    fn found(&mut self, look: Look, unread: u64) {
        if look.lost(unread) > 0 {
            self.step = Step::Correct(look, unread);
        }
    }

    fn counted(&mut self, look: Look, from: EntryId, counted: u64, page: &Value) -> RedisResult<u64> {
        let (mut here, mut last) = (0, from);
        stream::range(page, |id, _| {
            here += 1;
            last = id;
        })?;
        let counted = counted + here;
        if here < PAGE {
            self.found(look, counted);
        } else if counted < MOST_COUNTED {
            self.step = Step::Count(look, last.next(), counted);
        }
        Ok(0)
    }

    fn corrected(&self, look: Look, unread: u64, by_us: bool, source: &Source) -> u64 {
        if !by_us {
            return 0;
        }
        let lost = look.lost(unread);
        error!(
            lost, stream = %source.stream, group = %source.group, after = %look.delivered,
            "entries were taken out of the stream before any consumer was given them: what they carried is not in \
             the ledger and cannot be known any more"
        );
        lost
    }

    /// What was unread in the stream before is lost with it.
    fn first_looked(&mut self, now: Option<Look>, source: &Source) -> u64 {
        let Some(now) = now else { return 0 };
        let before = self.last.replace(now).unwrap_or_default();
        let (stream, group) = (&source.stream, &source.group);
        if now.is_another_than(&before) {
            let lost = before.backlog();
            error!(
                stream = %stream, group = %group, at_least = lost, until = %before.last_generated,
                "the stream was deleted: the entries that nobody had been given are lost, those that came after the last \
                 look cannot be counted"
            );
            return lost;
        }
        if now.added > now.length {
            warn!(
                stream = %stream, group = %group, removed = now.added - now.length,
                "the stream held more entries before this group was made; whether they were settled cannot be known"
            );
        }
        0
    }

    /// The reader was given these entries.
    pub(super) fn given(&mut self, batch: &Batch, now: Instant) {
        match batch.newest() {
            Some(newest) => self.last = self.last.map(|look| look.after(newest, batch.len() as u64)),
            None => self.next = Some(now + LOOK_EVERY),
        }
    }
}

fn page(source: &Source, from: EntryId, to: EntryId) -> Cmd {
    let mut range = cmd("XRANGE");
    range.arg(&source.stream).arg(from.to_string()).arg(to.to_string()).arg("COUNT").arg(PAGE);
    range
}

/// Sets the group's count, unless it has moved since the look. Sent as text: it runs once in a blue moon.
fn correction(source: &Source, look: &Look, unread: u64) -> Cmd {
    const SCRIPT: &str = "for _, flat in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
       local it = {}
       for i = 1, #flat, 2 do it[flat[i]] = flat[i + 1] end
       if it['name'] == ARGV[1] then
         if it['last-delivered-id'] ~= ARGV[2] or tostring(it['entries-read'] or '') ~= ARGV[3] then return 0 end
         redis.call('XGROUP', 'SETID', KEYS[1], ARGV[1], ARGV[2], 'ENTRIESREAD', ARGV[4])
         return 1
       end
     end
     return 0";
    let before = look.read.map(|read| read.to_string()).unwrap_or_default();
    let mut call = cmd("EVAL");
    call.arg(SCRIPT).arg(1).arg(&source.stream).arg(&source.group);
    call.arg(look.delivered.to_string()).arg(before).arg(look.added - unread);
    call
}
