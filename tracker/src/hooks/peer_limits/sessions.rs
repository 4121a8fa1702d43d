//! Who is on which torrent with which clients, and how often they announce. Pure: the time is passed in, in
//! seconds.
//!
//! The first clients to come are within the limit; later ones move up when an earlier one leaves or falls
//! silent.

use std::hash::BuildHasher;

use contract::{Event, InfoHash, PeerId};
use hashbrown::DefaultHashBuilder;
use parking_lot::Mutex;

use super::room::Room;
use crate::announce::UserTag;

const SHARDS: usize = 64;
/// Pairs of user and torrent in one shard: two million in all, some 100 bytes each. More are not limited, and
/// counted.
const MAX_PAIRS_PER_SHARD: usize = 32_768;
/// Clients above the limit that are remembered, so that each one's first `completed` can be told from the
/// next.
const MAX_EXCESS: usize = 8;
/// Clients remembered for each pair when only their rate is limited.
const MAX_UNLIMITED: usize = 32;
const MINUTE: u32 = 60;

/// The limits; 0 is off.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) per_torrent: usize,
    pub(super) per_minute: u32,
}

/// An announce, as far as limits are concerned.
#[derive(Debug, Clone, Copy)]
pub(super) struct Call {
    pub(super) user: UserTag,
    pub(super) torrent: InfoHash,
    pub(super) peer_id: PeerId,
    pub(super) event: Event,
    /// Seconds of silence after which the session is gone.
    pub(super) lease_secs: u32,
}

/// What an announce is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Finding {
    Fine,
    TooManySessions,
    TooOften,
    /// A `stopped` of a session that is not known.
    Stranger,
    /// There is no room to remember it, so no limit applies.
    Untracked,
}

#[derive(Debug)]
pub(super) struct Sessions {
    shards: Box<[Mutex<Pairs>]>,
    hasher: DefaultHashBuilder,
    limits: Limits,
}

type Pair = (UserTag, InfoHash);
type Pairs = Room<Pair, Vec<Session>>;

#[derive(Debug)]
struct Session {
    peer_id: PeerId,
    until: u32,
    minute_began: u32,
    in_minute: u32,
    completed: bool,
}

impl Sessions {
    pub(super) fn new(limits: Limits) -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::new(Room::new(MAX_PAIRS_PER_SHARD))).collect();
        Self { shards, hasher: DefaultHashBuilder::default(), limits }
    }

    pub(super) fn visit(&self, call: &Call, now: u32) -> Finding {
        let pair = (call.user, call.torrent);
        let mut shard = self.shard(&pair).lock();
        if call.event == Event::Stopped {
            return leave(&mut shard, &pair, &call.peer_id, now);
        }
        let Some(sessions) = living(&mut shard, pair, now) else { return Finding::Untracked };
        let known = sessions.iter().position(|session| session.peer_id == call.peer_id);
        let place = known.unwrap_or(sessions.len());
        let too_many = self.limits.per_torrent > 0 && place >= self.limits.per_torrent;
        if known.is_none() {
            if sessions.len() >= self.room() {
                return if too_many { Finding::TooManySessions } else { Finding::Untracked };
            }
            sessions.push(Session::new(call.peer_id, now));
        }
        let session = &mut sessions[place];
        session.until = now.saturating_add(call.lease_secs);
        let too_often = session.counts_one(now) > self.limits.per_minute && self.limits.per_minute > 0;
        match () {
            () if call.event == Event::Completed && !std::mem::replace(&mut session.completed, true) => {
                Finding::Fine
            }
            () if too_many => Finding::TooManySessions,
            () if too_often => Finding::TooOften,
            () => Finding::Fine,
        }
    }

    /// Hears of an announce to another tracker: that session is there, or gone. How often it announces is not
    /// counted.
    pub(super) fn hear(&self, call: &Call, now: u32) {
        let pair = (call.user, call.torrent);
        let mut shard = self.shard(&pair).lock();
        if call.event == Event::Stopped {
            leave(&mut shard, &pair, &call.peer_id, now);
            return;
        }
        let Some(sessions) = living(&mut shard, pair, now) else { return };
        let until = now.saturating_add(call.lease_secs);
        let known = sessions.iter().position(|session| session.peer_id == call.peer_id);
        match known {
            Some(place) => sessions[place].until = sessions[place].until.max(until),
            None if sessions.len() < self.room() => {
                sessions.push(Session { until, ..Session::new(call.peer_id, now) });
            }
            None => {}
        }
    }

    fn shard(&self, pair: &Pair) -> &Mutex<Pairs> {
        &self.shards[usize::try_from(self.hasher.hash_one(pair) >> 32).unwrap_or(0) % SHARDS]
    }

    fn room(&self) -> usize {
        if self.limits.per_torrent > 0 { self.limits.per_torrent + MAX_EXCESS } else { MAX_UNLIMITED }
    }
}

/// The pair's sessions that are not over; `None` when there is no room for the pair.
fn living(pairs: &mut Pairs, pair: Pair, now: u32) -> Option<&mut Vec<Session>> {
    let is_over = |sessions: &Vec<Session>| sessions.iter().all(|session| session.until <= now);
    let sessions = pairs.entry(pair, now, is_over, Vec::new)?;
    sessions.retain(|session| session.until > now);
    Some(sessions)
}

/// Forgets a session; a stranger's goodbye leaves nothing behind.
fn leave(pairs: &mut Pairs, pair: &Pair, peer_id: &PeerId, now: u32) -> Finding {
    let Some(sessions) = pairs.get_mut(pair) else { return Finding::Stranger };
    sessions.retain(|session| session.until > now);
    let place = sessions.iter().position(|session| session.peer_id == *peer_id);
    if let Some(place) = place {
        sessions.remove(place);
    }
    if sessions.is_empty() {
        pairs.remove(pair);
    }
    if place.is_some() { Finding::Fine } else { Finding::Stranger }
}

impl Session {
    fn new(peer_id: PeerId, now: u32) -> Self {
        Self { peer_id, until: now, minute_began: now, in_minute: 0, completed: false }
    }

    /// Counts this announce, and how many there were in its minute.
    fn counts_one(&mut self, now: u32) -> u32 {
        if now.saturating_sub(self.minute_began) >= MINUTE {
            (self.minute_began, self.in_minute) = (now, 0);
        }
        self.in_minute = self.in_minute.saturating_add(1);
        self.in_minute
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::num::NonZeroU64;

    const LEASE: u32 = 1000;

    fn call(user: u64, client: u8, event: Event) -> Call {
        let user = UserTag(NonZeroU64::new(user + 1).unwrap());
        let (torrent, peer_id) = (InfoHash([0; 20]), PeerId([client; 20]));
        Call { user, torrent, peer_id, event, lease_secs: LEASE }
    }

    fn sessions(per_torrent: usize, per_minute: u32) -> Sessions {
        Sessions::new(Limits { per_torrent, per_minute })
    }

    #[test]
    fn a_later_client_moves_up_when_an_earlier_one_leaves_or_falls_silent() {
        let sessions = sessions(1, 0);
        let plain = |client, now| sessions.visit(&call(1, client, Event::None), now);
        assert_eq!(plain(1, 0), Finding::Fine);
        assert_eq!(plain(2, 0), Finding::TooManySessions);
        assert_eq!(plain(1, LEASE - 1), Finding::Fine);
        assert_eq!(sessions.visit(&call(1, 1, Event::Stopped), LEASE - 1), Finding::Fine);
        assert_eq!(plain(2, LEASE - 1), Finding::Fine, "the other one left");
        assert_eq!(plain(3, LEASE), Finding::TooManySessions);
        assert_eq!(plain(3, 2 * LEASE - 1), Finding::Fine, "the other one fell silent");
    }

    #[test]
    fn too_many_announces_in_a_minute_are_too_often_until_the_next_one() {
        let sessions = sessions(0, 3);
        let plain = |client, now| sessions.visit(&call(1, client, Event::None), now);
        for now in [0, 10, 20] {
            assert_eq!(plain(1, now), Finding::Fine);
        }
        assert_eq!(plain(1, 59), Finding::TooOften);
        assert_eq!(plain(2, 59), Finding::Fine, "each client has its own count");
        assert_eq!(plain(1, 60), Finding::Fine);
    }

    #[test]
    fn the_first_completed_of_a_session_is_exempt_from_both_limits() {
        let busy = sessions(0, 1);
        let completed = call(1, 1, Event::Completed);
        assert_eq!(busy.visit(&call(1, 1, Event::None), 0), Finding::Fine);
        assert_eq!(busy.visit(&completed, 0), Finding::Fine);
        assert_eq!(busy.visit(&completed, 0), Finding::TooOften);
        let crowded = sessions(1, 0);
        assert_eq!(crowded.visit(&call(1, 2, Event::None), 0), Finding::Fine);
        assert_eq!(crowded.visit(&completed, 0), Finding::Fine);
        assert_eq!(crowded.visit(&completed, 0), Finding::TooManySessions);
    }

    #[test]
    fn a_client_at_another_tracker_counts_as_a_session_but_not_for_the_rate() {
        let sessions = sessions(1, 1);
        sessions.hear(&call(1, 1, Event::None), 0);
        assert_eq!(sessions.visit(&call(1, 2, Event::None), 0), Finding::TooManySessions);
        assert_eq!(sessions.visit(&call(1, 1, Event::None), 0), Finding::Fine, "its first announce here");
        sessions.hear(&call(1, 1, Event::Stopped), 1);
        assert_eq!(sessions.visit(&call(1, 2, Event::None), 60), Finding::Fine);
        sessions.hear(&call(1, 3, Event::None), 60);
        assert_eq!(sessions.visit(&call(1, 3, Event::Stopped), 61), Finding::Fine, "no stranger");
    }

    #[test]
    fn a_stop_is_fine_once() {
        let sessions = sessions(3, 3);
        sessions.visit(&call(1, 1, Event::Started), 0);
        assert_eq!(sessions.visit(&call(1, 1, Event::Stopped), 0), Finding::Fine);
        assert_eq!(sessions.visit(&call(1, 1, Event::Stopped), 0), Finding::Stranger);
        sessions.visit(&call(1, 1, Event::Started), 0);
        assert_eq!(sessions.visit(&call(1, 1, Event::Stopped), LEASE), Finding::Stranger, "it was gone");
    }

    #[test]
    fn one_user_with_ever_new_clients_takes_bounded_room() {
        for (per_torrent, held, beyond) in
            [(3, 3 + MAX_EXCESS, Finding::TooManySessions), (0, MAX_UNLIMITED, Finding::Untracked)]
        {
            let sessions = sessions(per_torrent, 5);
            for client in 0..=255 {
                sessions.visit(&call(1, client, Event::None), 0);
            }
            assert_eq!(sessions.visit(&call(1, 255, Event::None), 0), beyond);
            let most = sessions
                .shards
                .iter()
                .flat_map(|shard| shard.lock().values().map(Vec::len).collect::<Vec<_>>());
            assert_eq!(most.max(), Some(held));
        }
    }
}
