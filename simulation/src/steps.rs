//! The random steps of a schedule: who acts next, how much time passes, what breaks.

use crate::world::{Checked, Tracker, World};

/// After so long what is under way is lost.
const MOST_TRAVEL_MS: u64 = 60_000;
/// Messages that arrive at once, before time goes on.
const MOST_MESSAGES: usize = 8;

#[derive(Debug, Clone, Copy)]
enum Step {
    Client,
    Tracker,
    Message,
    Loss,
    Timeout,
    Consumer,
    Chore,
    Fault,
    Mend,
    Write,
}

#[derive(Debug, Clone, Copy)]
enum Fault {
    TrackerKill,
    TrackerReload,
    DiskFails,
    RedisCrash,
    ConsumerKill,
    LinkDown,
    ScriptFlush,
    ClockSet,
}

impl World<'_> {
    fn nothing_is_under_way(&self) -> bool {
        let under_way = self.messages.len() + self.travelling.len();
        let chores = self.consumers.iter().filter(|consumer| consumer.chore.is_some()).count();
        under_way + chores == 0 && self.trackers.iter().all(Tracker::is_idle)
    }

    /// One step.
    pub(crate) fn step(&mut self) -> Checked {
        let ms = match self.dice.within(0..=999) {
            0..700 => self.dice.within(1..=40),
            700..900 => self.dice.within(500..=5000),
            900..970 => self.dice.within(10_000..=60_000),
            970..998 => self.dice.within(300_000..=2_400_000),
            // A day passes in peace: what is under way for so long is beyond any timeout.
            _ if self.nothing_is_under_way() => 86_400_000,
            _ => 3_000_000,
        };
        if ms > 5000 && self.dice.percent(80) {
            self.messages_arrive()?;
        }
        self.pass_time(ms);
        self.old_messages_are_lost();
        let faults = self.scenario.faults;
        let step = self.dice.weighted(&[
            (30, Step::Client),
            (26, Step::Tracker),
            (28, Step::Message),
            (faults / 3, Step::Loss),
            (4, Step::Timeout),
            (20, Step::Consumer),
            (5, Step::Chore),
            (faults, Step::Fault),
            (4, Step::Mend),
            (6, Step::Write),
        ]);
        match step {
            Step::Client => self.client_acts(),
            Step::Tracker => {
                let slot = self.dice.index(self.trackers.len());
                self.tracker_step(slot);
            }
            Step::Message => return self.some_message_arrives(),
            Step::Loss => self.some_message_is_lost(),
            Step::Timeout => {
                let slot = self.dice.index(self.trackers.len());
                self.tracker_times_out(slot);
            }
            Step::Consumer => {
                let who = self.dice.index(self.consumers.len());
                return self.consumer_step(who).map(drop);
            }
            Step::Chore => {
                let who = self.dice.index(self.consumers.len());
                return self.chore_step(who);
            }
            Step::Fault => self.fault(),
            Step::Mend => self.mend(),
            Step::Write => self.redis_writes(),
        }
        Ok(())
    }

    /// Any of those under way, in any order; Redis's own answers are no older than Redis.
    fn some_message_arrives(&mut self) -> Checked {
        if self.messages.is_empty() {
            return Ok(());
        }
        let place = self.dice.index(self.messages.len());
        let message = self.messages.remove(place);
        self.deliver(message)
    }

    /// What is under way is usually there before long.
    fn messages_arrive(&mut self) -> Checked {
        for _ in 0..MOST_MESSAGES {
            self.some_message_arrives()?;
        }
        Ok(())
    }

    /// Nobody keeps a connection for long whose other end is silent.
    pub(crate) fn old_messages_are_lost(&mut self) {
        let now = self.now_ms;
        self.messages.retain(|message| now < message.sent_ms + MOST_TRAVEL_MS);
    }

    fn some_message_is_lost(&mut self) {
        if !self.messages.is_empty() {
            let place = self.dice.index(self.messages.len());
            let message = self.messages.remove(place);
            self.tell(|| format!("a message of tracker {} is lost", message.slot));
        }
    }

    fn fault(&mut self) {
        let fault = self.dice.weighted(&[
            (3, Fault::TrackerKill),
            (1, Fault::TrackerReload),
            (1, Fault::DiskFails),
            (3, Fault::RedisCrash),
            (4, Fault::ConsumerKill),
            (2, Fault::LinkDown),
            (1, Fault::ScriptFlush),
            (3, Fault::ClockSet),
        ]);
        let slot = self.dice.index(self.trackers.len());
        let who = self.dice.index(self.consumers.len());
        match fault {
            Fault::TrackerKill => self.tracker_crashes(slot),
            Fault::TrackerReload => self.tracker_reloads(slot),
            Fault::DiskFails => self.disk_fails(slot),
            Fault::RedisCrash => self.redis_crashes(),
            Fault::ConsumerKill => self.consumer_crashes(who),
            Fault::LinkDown => self.trackers[slot].link_up = false,
            Fault::ScriptFlush => drop(self.redis.server.run(&crate::redis::words(&["SCRIPT", "FLUSH"]))),
            Fault::ClockSet => self.clock_is_set(slot),
        }
        self.figures.kills +=
            u64::from(matches!(fault, Fault::TrackerKill | Fault::RedisCrash | Fault::ConsumerKill));
    }

    fn mend(&mut self) {
        self.redis_returns();
        self.trackers_are_mended();
    }

    pub(crate) fn trackers_are_mended(&mut self) {
        for tracker in &mut self.trackers {
            tracker.link_up = true;
            tracker.disk.fail(None);
        }
    }

    fn clock_is_set(&mut self, slot: usize) {
        if !self.scenario.clocks_are_set {
            return;
        }
        let far = i64::try_from(self.dice.within(0..=172_800_000)).unwrap_or(0) - 86_400_000;
        // Between its start and Redis' first answer a tracker with a spool has only its own clock; killed
        // before that answer, it leaves stamps that nobody can mend.
        let whose = if self.dice.percent(50) && self.scenario.spool == 0 {
            self.trackers[slot].skew_ms = far;
            "a tracker's"
        } else {
            self.redis.skew_ms = far;
            self.set_redis_clock();
            "Redis's"
        };
        self.tell(|| format!("{whose} clock is set {far} ms off"));
    }
}
