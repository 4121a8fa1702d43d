//! `peer limits`: how many clients a user may have on one torrent, how often they may announce, and from how
//! many addresses a user comes.
//!
//! Warnings only. A failure would make clients repeat the event, and bytes are money: what breaks a limit is
//! recorded and answered, with a warning and without peers. Many addresses are an alarm for the operator and
//! change nothing for the user.

mod addresses;
mod room;
mod sessions;

use std::time::{Duration, Instant};

use contract::Event;
use contract::config::{Check, Period, Problems};
use serde::{Deserialize, Serialize};
use tracing::warn;

use self::addresses::{Addresses, Noticed};
use self::sessions::{Call, Finding, Limits, Sessions};
use super::{Admission, Hook, Verdict};
use crate::announce::{Account, Announce, Peers};
use crate::hooks::metrics::PeerLimitMetrics;
use crate::swarm::Sighting;

/// What one user can make us remember.
const MAX_SESSIONS_PER_TORRENT: u32 = 1000;
const MAX_ADDRESSES_PER_USER: u32 = 1000;

/// Options of `peer limits`. A limit of 0 is off.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Options {
    /// Clients of one user on one torrent: at home, in a seedbox, and one on the move.
    pub max_sessions_per_torrent: u32,
    /// Announces of one session in a minute. A client on two addresses that starts, completes and stops comes
    /// to six.
    pub max_announces_per_minute: u32,
    /// Distinct addresses of one user within `address_window`; IPv6 addresses count by their /64.
    pub max_addresses_per_user: u32,
    /// The time in which addresses are counted.
    pub address_window: Period,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            max_sessions_per_torrent: 3,
            max_announces_per_minute: 10,
            max_addresses_per_user: 10,
            address_window: Period::from_secs(3600),
        }
    }
}

impl Check for Options {
    fn problems(&self, path: &str) -> Problems {
        let mut problems = Problems::default();
        for (key, value, most) in [
            ("max_sessions_per_torrent", self.max_sessions_per_torrent, MAX_SESSIONS_PER_TORRENT),
            ("max_addresses_per_user", self.max_addresses_per_user, MAX_ADDRESSES_PER_USER),
        ] {
            if value > most {
                problems.push(format!("`{path}.{key}`: at most {most} are counted; 0 turns the limit off"));
            }
        }
        if self.address_window.as_secs() == 0 {
            problems.push(format!("`{path}.address_window`: must be at least 1s"));
        }
        problems
    }
}

/// The hook.
#[derive(Debug)]
pub struct PeerLimits {
    sessions: Option<Sessions>,
    addresses: Option<Addresses>,
    metrics: PeerLimitMetrics,
    started: Instant,
}

impl PeerLimits {
    /// Makes the hook from options without problems.
    #[must_use]
    pub fn new(options: &Options, metrics: PeerLimitMetrics) -> Self {
        let limits = Limits {
            per_torrent: options.max_sessions_per_torrent as usize,
            per_minute: options.max_announces_per_minute,
        };
        let window = u32::try_from(options.address_window.as_secs()).unwrap_or(u32::MAX);
        let most = options.max_addresses_per_user as usize;
        Self {
            sessions: (limits.per_torrent > 0 || limits.per_minute > 0).then(|| Sessions::new(limits)),
            addresses: (most > 0).then(|| Addresses::new(most, window)),
            metrics,
            started: Instant::now(),
        }
    }

    /// `now`: seconds since the hook was made.
    fn judge(&self, announce: &Announce, admission: &mut Admission, now: u32) {
        let Some(account) = admission.account.clone() else { return };
        self.watch_addresses(&account, announce, now);
        let Some(sessions) = &self.sessions else { return };
        let call = Call {
            user: account.tag,
            torrent: admission.book_as.unwrap_or(announce.info_hash),
            peer_id: announce.peer_id,
            event: announce.event,
            lease_secs: lease(admission.interval),
        };
        match sessions.visit(&call, now) {
            Finding::Fine => {}
            Finding::Untracked => self.metrics.untracked.inc(),
            // Whoever announced before a restart or reload is known again after one lease at the latest.
            Finding::Stranger if now < call.lease_secs => {}
            Finding::Stranger => {
                self.metrics.strangers.inc();
                admission.warn("your client stopped without having been here");
            }
            Finding::TooManySessions => {
                self.metrics.sessions.inc();
                withhold(admission, "too many of your clients are on this torrent; this one gets no peers");
            }
            Finding::TooOften => {
                self.metrics.announces.inc();
                withhold(admission, "your client announces too often; it gets no peers this time");
            }
        }
    }

    fn watch_addresses(&self, account: &Account, announce: &Announce, now: u32) {
        let noticed =
            self.addresses.as_ref().map(|addresses| addresses.notice(account.tag, announce.ip, now));
        match noticed {
            Some(Noticed::TooMany) => {
                self.metrics.addresses.inc();
                warn!(user = %account.tag, "a user announces from unusually many addresses");
            }
            Some(Noticed::Untracked) => self.metrics.untracked.inc(),
            Some(Noticed::Fine) | None => {}
        }
    }
}

/// Twice its interval and five minutes: then a session is gone.
fn lease(interval: u32) -> u32 {
    interval.saturating_mul(2).saturating_add(300)
}

fn withhold(admission: &mut Admission, warning: &'static str) {
    admission.peers = Peers::Withheld;
    admission.warn(warning);
}

impl Hook for PeerLimits {
    fn announce(&self, announce: &Announce, admission: &mut Admission) -> Verdict {
        let now = u32::try_from(self.started.elapsed().as_secs()).unwrap_or(u32::MAX);
        self.judge(announce, admission, now);
        Verdict::Pass
    }

    /// Clients of a user count wherever they announce. How often is counted by each tracker alone: a client
    /// may announce to several.
    fn elsewhere(&self, sighting: &Sighting, age: Duration, interval: u32) {
        let (Some(sessions), Some(user)) = (&self.sessions, sighting.user) else { return };
        let now = u32::try_from(self.started.elapsed().as_secs()).unwrap_or(u32::MAX);
        let age = u32::try_from(age.as_secs()).unwrap_or(u32::MAX);
        let call = Call {
            user,
            torrent: sighting.info_hash,
            peer_id: sighting.peer_id,
            event: if sighting.leaving { Event::Stopped } else { Event::None },
            lease_secs: lease(interval).saturating_sub(age),
        };
        sessions.hear(&call, now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::announce::Choice;
    use crate::hooks::metrics::HookMetrics;
    use crate::hooks::scene::{account, announce, problems_of};
    use contract::InfoHash;

    /// Later than one lease: whoever is alive is known.
    const LATER: u32 = 10_000;

    fn hook(options: &Options) -> PeerLimits {
        PeerLimits::new(options, HookMetrics::new(&prometheus::Registry::new()).unwrap().peer_limits)
    }

    fn say(hook: &PeerLimits, user: Option<&str>, now: u32, change: impl Fn(&mut Announce)) -> Admission {
        let mut announce = announce();
        change(&mut announce);
        let mut admission = Admission { account: user.map(account), ..Admission::new(1800, 900) };
        hook.judge(&announce, &mut admission, now);
        admission
    }

    fn limited(admission: &Admission) -> bool {
        assert_eq!(admission.warning.is_some(), admission.peers == Peers::Withheld);
        admission.warning.is_some()
    }

    fn client(number: u8) -> impl Fn(&mut Announce) {
        move |announce| announce.peer_id.0[19] = number
    }

    #[test]
    fn a_fourth_client_of_a_user_on_a_torrent_is_warned_and_gets_no_peers() {
        let hook = hook(&Options::default());
        for number in 0..3 {
            assert!(!limited(&say(&hook, Some("alice"), 0, client(number))));
        }
        let fourth = say(&hook, Some("alice"), 0, client(3));
        assert!(fourth.warning.as_ref().is_some_and(|text| text.contains("too many")));
        assert!(limited(&fourth));
        assert!(!limited(&say(&hook, Some("bob"), 0, client(3))), "another user");
        let elsewhere = |announce: &mut Announce| announce.info_hash = InfoHash([9; 20]);
        assert!(!limited(&say(&hook, Some("alice"), 0, elsewhere)), "another torrent");
        assert_eq!(hook.metrics.sessions.get(), 1);
    }

    #[test]
    fn a_hybrid_is_one_torrent() {
        let hook = hook(&Options { max_sessions_per_torrent: 1, ..Options::default() });
        let mut seen = Vec::new();
        for info_hash in [InfoHash([1; 20]), InfoHash([2; 20])] {
            let announce = Announce { info_hash, ..announce() };
            let mut admission = Admission {
                account: Some(account("alice")),
                book_as: Some(InfoHash([1; 20])),
                ..Admission::new(1800, 900)
            };
            hook.judge(&announce, &mut admission, 0);
            seen.push(limited(&admission));
        }
        assert_eq!(seen, [false, false], "one session under two names");
    }

    #[test]
    fn a_stop_of_somebody_unknown_is_a_plain_reply_with_a_warning() {
        let stop = |announce: &mut Announce| announce.event = Event::Stopped;
        let hook = hook(&Options::default());
        assert!(say(&hook, Some("alice"), 5, stop).warning.is_none(), "after a restart nobody is known");
        let stranger = say(&hook, Some("alice"), LATER, stop);
        assert!(stranger.warning.is_some());
        assert_eq!(stranger.peers, Peers::Offered(Choice::default()));
        say(&hook, Some("alice"), LATER, |_| {});
        assert!(say(&hook, Some("alice"), LATER, stop).warning.is_none());
    }

    #[test]
    fn many_addresses_are_an_alarm_that_the_user_does_not_notice() {
        let hook = hook(&Options { max_addresses_per_user: 2, ..Options::default() });
        for last in 1..=5 {
            let from = move |announce: &mut Announce| announce.ip = [192, 0, 2, last].into();
            assert!(!limited(&say(&hook, Some("alice"), 0, from)));
        }
        assert_eq!(hook.metrics.addresses.get(), 1, "once in a window");
    }

    #[test]
    fn without_an_account_or_with_every_limit_off_nothing_is_limited() {
        let off = Options {
            max_sessions_per_torrent: 0,
            max_announces_per_minute: 0,
            max_addresses_per_user: 0,
            ..Options::default()
        };
        let (strict, off) =
            (hook(&Options { max_announces_per_minute: 1, ..Options::default() }), hook(&off));
        for number in 0..20 {
            assert!(!limited(&say(&strict, None, 0, client(number % 4))));
            assert!(!limited(&say(&off, Some("alice"), 0, client(number % 4))));
        }
    }

    #[test]
    fn limits_that_cannot_be_counted_and_a_limit_without_users_are_problems() {
        let problems = problems_of::<Options>("{max_sessions_per_torrent: 1001, address_window: 0s}");
        assert!(problems.contains("max_sessions_per_torrent`: at most 1000"), "{problems}");
        assert!(problems.contains("address_window`: must be at least 1s"), "{problems}");
        assert_eq!(problems_of::<Options>("{}"), "");
    }
}
