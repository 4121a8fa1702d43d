//! What can fail, and how.

use std::fmt;
use std::time::Duration;

/// What can fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    Tracker(usize),
    Consumer(usize),
    Redis,
    /// The proxy through which a tracker reaches Redis.
    TrackerLink(usize),
    ConsumerLink(usize),
    /// A small disk.
    SpoolDisk(usize),
    LedgerDisk,
    RedisDisk,
    /// The site's page that trackers ask about passkeys.
    SitePage,
    /// Whoever runs `trackerctl`.
    Operator,
}

/// Which bytes a stalled link holds back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Both,
    ToRedis,
    FromRedis,
}

/// What becomes of the bytes that a stalled link held back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// They arrive, late: perhaps long after the process that sent them is dead.
    Arrive,
    /// They are lost with their connections.
    Lost,
}

/// One thing that goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// SIGKILL, and a new process after a while.
    Kill { down: Duration },
    /// SIGTERM, as an operator restarts it.
    Restart,
    /// SIGSTOP, then SIGCONT.
    Pause { time: Duration },
    /// Connections are cut, and new ones refused.
    Cut { time: Duration },
    /// Connections stand and carry nothing.
    Stall { way: Way, time: Duration, ending: Ending },
    /// Every piece of data waits.
    Slow { delay: Duration, time: Duration },
    /// The disk is full.
    Fill { time: Duration },
    /// The clock steps by so many milliseconds, and back.
    Clock { offset_ms: i64, time: Duration },
    /// `SCRIPT FLUSH`.
    FlushScripts,
    /// `CLIENT KILL` of everybody.
    CutClients,
    /// `BGREWRITEAOF`: what is killed next may be a Redis between two files.
    RewriteFile,
    /// Redis comes back without what it confirmed in the last moments.
    Forget { by: Loss, time: Duration },
    /// A tracker is killed, and a bit of its spool changes before it is started again.
    Flip,
    /// The stream is trimmed to so many entries.
    Trim { keep: u32 },
    /// `ledger prune` of everything that can go.
    Prune,
    /// A user gets a new passkey, and uses both.
    Rotate,
    /// A hybrid torrent that is under way gets its alias.
    Alias,
    /// An entry that nobody can read, and another try for all dead letters.
    DeadLetter,
    /// The ledger is saved, and later that copy is put in its place and adopted.
    Restore { time: Duration },
}

/// How Redis loses what it confirmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Loss {
    /// The end of its append-only file, as a power cut under `everysec` does.
    CutFile,
    /// A dump is put back.
    OldDump,
    /// A replica takes over that had not heard everything.
    LaggingReplica,
}

/// What a machine may not allow, or a run may do without.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Kind {
    /// Small disks that can be filled; they need namespaces.
    Disks,
    /// Clocks that step; they need a C compiler.
    Clocks,
    /// Announces over IPv6.
    Ipv6,
    /// A Redis that goes back in time.
    Rollbacks,
    /// A slow page of the site.
    SitePage,
    /// Bits that flip in spools.
    Flips,
    /// Trimming and pruning.
    Trims,
    /// New passkeys.
    Rotations,
    /// Late aliases of torrents.
    Aliases,
    /// Entries that cannot be read.
    DeadLetters,
    /// An older copy of the ledger put in its place.
    Restores,
}

impl Target {
    pub(crate) const ALL: [Self; 15] = [
        Self::Tracker(0),
        Self::Tracker(1),
        Self::Consumer(0),
        Self::Consumer(1),
        Self::Redis,
        Self::TrackerLink(0),
        Self::TrackerLink(1),
        Self::ConsumerLink(0),
        Self::ConsumerLink(1),
        Self::SpoolDisk(0),
        Self::SpoolDisk(1),
        Self::LedgerDisk,
        Self::RedisDisk,
        Self::SitePage,
        Self::Operator,
    ];
}

impl Fault {
    /// How long it lasts.
    pub(crate) const fn time(self) -> Duration {
        match self {
            Self::Kill { down: time }
            | Self::Pause { time }
            | Self::Cut { time }
            | Self::Stall { time, .. }
            | Self::Slow { time, .. }
            | Self::Fill { time }
            | Self::Forget { time, .. }
            | Self::Restore { time }
            | Self::Clock { time, .. } => time,
            _ => Duration::ZERO,
        }
    }

    /// What a run may do without; `None` for what every machine allows.
    pub(crate) const fn kind(self) -> Option<Kind> {
        Some(match self {
            Self::Fill { .. } => Kind::Disks,
            Self::Clock { .. } => Kind::Clocks,
            Self::Forget { .. } => Kind::Rollbacks,
            Self::Flip => Kind::Flips,
            Self::Trim { .. } | Self::Prune => Kind::Trims,
            Self::Rotate => Kind::Rotations,
            Self::Alias => Kind::Aliases,
            Self::DeadLetter => Kind::DeadLetters,
            Self::Restore { .. } => Kind::Restores,
            _ => return None,
        })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tracker(n) => write!(f, "tracker-{n}"),
            Self::Consumer(n) => write!(f, "consumer-{n}"),
            Self::Redis => f.write_str("redis"),
            Self::TrackerLink(n) => write!(f, "link of tracker-{n}"),
            Self::ConsumerLink(n) => write!(f, "link of consumer-{n}"),
            Self::SpoolDisk(n) => write!(f, "spool disk of tracker-{n}"),
            Self::LedgerDisk => f.write_str("ledger disk"),
            Self::RedisDisk => f.write_str("redis disk"),
            Self::SitePage => f.write_str("site's page"),
            Self::Operator => f.write_str("operator"),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kill { down } => write!(f, "killed (SIGKILL), down for {down:?}"),
            Self::Restart => f.write_str("restarted (SIGTERM)"),
            Self::Pause { time } => write!(f, "paused (SIGSTOP) for {time:?}"),
            Self::Cut { time } => write!(f, "cut for {time:?}"),
            Self::Stall { way, time, ending } => {
                write!(f, "stalled ({way:?}) for {time:?}, bytes held back: {ending:?}")
            }
            Self::Slow { delay, time } => write!(f, "slow (each piece by {delay:?}) for {time:?}"),
            Self::Fill { time } => write!(f, "full for {time:?}"),
            Self::Clock { offset_ms, time } => write!(f, "clock off by {offset_ms} ms for {time:?}"),
            Self::FlushScripts => f.write_str("SCRIPT FLUSH"),
            Self::CutClients => f.write_str("CLIENT KILL of everybody"),
            Self::RewriteFile => f.write_str("BGREWRITEAOF"),
            Self::Forget { by, time } => write!(f, "forgets up to {time:?} ({by:?})"),
            Self::Flip => f.write_str("killed, and a bit of its spool flips"),
            Self::Prune => f.write_str("ledger prune"),
            Self::Rotate => f.write_str("a user gets a new passkey"),
            Self::Alias => f.write_str("a torrent gets its alias"),
            Self::DeadLetter => f.write_str("an entry that nobody can read"),
            Self::Restore { time } => write!(f, "ledger restored as it was {time:?} ago, and adopted"),
            Self::Trim { keep } => write!(f, "stream trimmed to {keep} entries"),
        }
    }
}
