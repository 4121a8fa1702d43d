//! Consumers' chores: sweeping leases and trimming the stream. What a group still needs and how far leases
//! may be judged is the shipped code's to say.

use books::EntryId;
use books::groups::{Backlog, Group};
use books::presence::{Judgement, Leases};

use crate::mutation::Mutation;
use crate::redis::{self, Reply, words};
use crate::world::{Checked, Chore, GROUP, STREAM, Task, Violation, World, key_of, violation};

impl World<'_> {
    pub(crate) fn chore_is_done(&self, who: usize) -> bool {
        self.consumers[who].chore.is_none()
    }

    /// A consumer begins a chore, or takes its next step in one.
    pub(crate) fn chore_step(&mut self, who: usize) -> Checked {
        if !self.redis.up {
            return Ok(());
        }
        let Some(chore) = self.consumers[who].chore.take() else {
            self.begin_chore(who);
            return Ok(());
        };
        let Some(next) = self.look(chore) else { return self.act(who, chore) };
        self.consumers[who].chore = Some(next);
        Ok(())
    }

    fn begin_chore(&mut self, who: usize) {
        let task = if self.dice.percent(50) { Task::Sweep } else { Task::Trim { cutoff: self.cutoff() } };
        let now = self.consumer_now(who);
        self.consumers[who].chore = Some(Chore { task, now, position: None, pending: None, unread: None });
    }

    /// All but the newest few entries are old.
    fn cutoff(&mut self) -> EntryId {
        let keep = self.dice.index(6);
        let keyspace = self.redis.server.keyspace();
        let Some(stream) = keyspace.peek_stream(STREAM) else { return EntryId::default() };
        match keep {
            0 => stream.last.next(),
            keep => stream.entries.keys().rev().nth(keep - 1).copied().unwrap_or_default(),
        }
    }

    /// The next thing to look at before acting; `None` when all is seen.
    fn look(&self, chore: Chore) -> Option<Chore> {
        let keyspace = self.redis.server.keyspace();
        let stream = keyspace.peek_stream(STREAM);
        let group = stream.and_then(|stream| stream.group(GROUP));
        Some(match chore {
            Chore { position: None, .. } => Chore {
                position: Some(group.map_or(EntryId::default(), |group| group.last_delivered)),
                ..chore
            },
            Chore { pending: None, .. } => {
                Chore { pending: Some(group.and_then(redis::Group::oldest_pending)), ..chore }
            }
            Chore { unread: None, position: Some(position), .. } => {
                let after = |stream: &redis::Stream| {
                    stream.entries.range(position.next()..).next().map(|(id, _)| *id)
                };
                Chore { unread: Some(stream.and_then(after)), ..chore }
            }
            _ => return None,
        })
    }

    fn act(&mut self, who: usize, chore: Chore) -> Checked {
        let Chore { now, position, pending, unread, .. } = chore;
        let (position, pending, unread) = (position.unwrap_or_default(), pending.flatten(), unread.flatten());
        match chore.task {
            Task::Sweep => {
                let oldest = [unread, pending].into_iter().flatten().min();
                let horizon = Backlog { oldest, ..Backlog::default() }.horizon(now);
                self.sweep(who, Judgement { now, horizon }).map(drop)
            }
            Task::Trim { cutoff } => {
                let group = Group {
                    name: GROUP.into(),
                    consumers: 1,
                    pending: 0,
                    last_delivered: position,
                    lag: None,
                    oldest_pending: pending,
                };
                let unguarded = self.mutation == Some(Mutation::TrimUnguarded);
                // Without the group nobody has settled anything: its position is 0 then.
                let settled_before =
                    if position == EntryId::default() { position } else { group.needs_from() };
                self.trim(who, if unguarded { cutoff } else { cutoff.min(settled_before) })
            }
        }
    }

    /// Judges leases; how many were looked at.
    pub(crate) fn sweep(
        &mut self,
        who: usize,
        Judgement { now, horizon }: Judgement,
    ) -> Result<i64, Violation> {
        self.latest_now = self.latest_now.max(horizon);
        let mut args = self.bases();
        let memory = Leases::default().memory_s();
        args.extend([horizon, 500, memory, now].map(|number| number.to_string()));
        let reply = self.run_script(&self.scripts.sweep, &args)?;
        let [Reply::Int(examined), Reply::Int(expired)] = reply.items() else { return Ok(0) };
        let (examined, expired) = (*examined, *expired);
        self.tell(|| format!("consumer {who} sweeps: {examined} leases, {expired} over"));
        Ok(examined)
    }

    fn trim(&mut self, who: usize, below: EntryId) -> Checked {
        self.nothing_unsettled_before(below)?;
        let reply = self.redis.server.run(&words(&["XTRIM", STREAM, "MINID", "=", &below.to_string()]));
        self.tell(|| format!("consumer {who} trims what is before {below}: {reply:?}"));
        Ok(())
    }

    fn nothing_unsettled_before(&self, below: EntryId) -> Checked {
        let keyspace = self.redis.server.keyspace();
        let Some(stream) = keyspace.peek_stream(STREAM) else { return Ok(()) };
        let doomed = stream.entries.range(..below).map(|(id, _)| *id);
        for id in doomed {
            let found = self.history.binary_search_by_key(&id, |entry| entry.id);
            let settled = found.is_ok_and(|place| self.ledger.holds(&key_of(&self.history[place].event)));
            if !settled {
                return violation(format!("entry {id} is trimmed before it is settled"));
            }
        }
        Ok(())
    }
}
