//! What a run counts.

use std::sync::atomic::{AtomicU64, Ordering};

/// A figure of the summary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Figure {
    Answered,
    AnsweredOverUdp,
    Refused,
    Unanswered,
    Vanished,
    Crashed,
    TrackerKills,
    ConsumerKills,
    RedisKills,
    Rollbacks,
    Restarts,
    EndedThemselves,
    Pauses,
    Cuts,
    Stalls,
    SlowLinks,
    FullDisks,
    ClockJumps,
    SteppedSeconds,
    RedisCommands,
    SlowPages,
    Flips,
    Operated,
    Rotations,
    Aliases,
    Restores,
    Unreadable,
    LargestLag,
    LargestSpool,
    Looks,
}

impl Figure {
    /// Every figure with its name in JSON and its line in the table.
    pub(crate) const ALL: [(Self, &str, &str); 30] = [
        (Self::Answered, "announces_answered", "announces answered"),
        (Self::AnsweredOverUdp, "announces_answered_udp", "  of these over UDP"),
        (Self::Refused, "announces_refused", "announces refused"),
        (Self::Unanswered, "announces_unanswered", "announces given up"),
        (Self::Vanished, "clients_vanished", "clients that left for good"),
        (Self::Crashed, "clients_crashed", "clients that crashed, and ran again with the same peer id"),
        (Self::TrackerKills, "tracker_kills", "kills of a tracker"),
        (Self::ConsumerKills, "consumer_kills", "kills of a consumer, the ledger's writer"),
        (Self::RedisKills, "redis_kills", "kills of Redis"),
        (Self::Rollbacks, "rollbacks", "rollbacks of Redis"),
        (Self::Restarts, "restarts", "restarts by SIGTERM"),
        (
            Self::EndedThemselves,
            "ended_themselves",
            "processes that gave up (a full disk) and were started again",
        ),
        (Self::Pauses, "pauses", "pauses (SIGSTOP)"),
        (Self::Cuts, "cuts", "cuts of a link to Redis"),
        (Self::Stalls, "stalls", "stalls of a link"),
        (Self::SlowLinks, "slow_links", "times a link was slow"),
        (Self::FullDisks, "full_disks", "times a disk was full"),
        (Self::ClockJumps, "clock_jumps", "jumps of a clock"),
        (Self::SteppedSeconds, "stepped_seconds", "  seconds by which trackers' and Redis' clocks jumped"),
        (Self::RedisCommands, "redis_commands", "SCRIPT FLUSH, CLIENT KILL, BGREWRITEAOF"),
        (Self::SlowPages, "slow_pages", "times the site's page was slow"),
        (Self::Flips, "flips", "bits flipped in a spool"),
        (Self::Operated, "operated", "acts of the operator"),
        (Self::Rotations, "rotations", "  new passkeys"),
        (Self::Aliases, "aliases", "  aliases of torrents under way"),
        (Self::Restores, "restores", "  backups of the ledger put back"),
        (Self::Unreadable, "unreadable", "entries that nobody can read"),
        (Self::LargestLag, "largest_lag", "largest lag, entries not settled"),
        (Self::LargestSpool, "largest_spool", "largest spool, announces not in Redis"),
        (Self::Looks, "looks", "looks at a ledger in flight: never above the bound"),
    ];
}

/// The figures of one run.
#[derive(Debug, Default)]
pub(crate) struct Tally([AtomicU64; Figure::ALL.len()]);

impl Tally {
    pub(crate) fn add(&self, figure: Figure) {
        self.0[figure as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn add_so_many(&self, figure: Figure, count: u64) {
        self.0[figure as usize].fetch_add(count, Ordering::Relaxed);
    }

    /// Keeps the largest of all values.
    pub(crate) fn raise(&self, figure: Figure, value: u64) {
        self.0[figure as usize].fetch_max(value, Ordering::Relaxed);
    }

    pub(crate) fn get(&self, figure: Figure) -> u64 {
        self.0[figure as usize].load(Ordering::Relaxed)
    }

    /// SIGKILLs of all processes.
    pub(crate) fn kills(&self) -> u64 {
        [Figure::TrackerKills, Figure::ConsumerKills, Figure::RedisKills]
            .map(|figure| self.get(figure))
            .iter()
            .sum()
    }
}
