//! What a recorder leaves to the one that a reload puts in its place: the tail, so that a Redis that comes
//! back older is given it whoever works then.
//!
//! Redis may have gone back between the last call of the one and the first of the other, who would not
//! notice: so the other says that it knows of a call that Redis cannot know, and gives it all of the tail.

use std::sync::Arc;

use super::RecorderMachine;
use super::tail::Tail;

/// What Redis confirmed to one recorder lately.
#[derive(Debug)]
pub struct Heritage {
    tracker_id: Arc<str>,
    tail: Tail,
    to_come: Vec<(Option<Arc<str>>, u64)>,
}

impl<T> RecorderMachine<T> {
    /// What it leaves, when it has ended.
    pub fn leave(&mut self) -> Heritage {
        if let Some(heritage) = self.heritage.take() {
            self.join(heritage);
        }
        let tail = std::mem::replace(&mut self.tail, Tail::new(self.limits.tail));
        let to_come = std::mem::take(&mut self.to_come);
        Heritage { tracker_id: Arc::from(&*self.tracker_id), tail, to_come }
    }

    /// It is taken over with the next call, when Redis is not awaited.
    pub(super) fn is_left(&mut self, heritage: Heritage) {
        if heritage.tail.len() > 0 {
            self.heritage = Some(heritage);
        }
    }

    /// Redis is to say how far it is with this call.
    pub(super) fn take_over(&mut self) {
        if self.rewind.is_none()
            && let Some(heritage) = self.heritage.take()
        {
            self.join(heritage);
            (self.known_call, self.takes_over) = (self.calls, true);
        }
    }

    fn join(&mut self, Heritage { tracker_id, tail, to_come }: Heritage) {
        self.tail.join(tail, &tracker_id, self.calls);
        let theirs = |process: Option<Arc<str>>| Some(process.unwrap_or_else(|| tracker_id.clone()));
        self.to_come.extend(to_come.into_iter().map(|(process, number)| (theirs(process), number)));
    }
}
