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
    /// An operator trims the stream to so many entries.
    Trim { keep: u32 },
}

impl Target {
    pub(crate) const ALL: [Self; 13] = [
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
            | Self::Clock { time, .. } => time,
            Self::Restart | Self::FlushScripts | Self::CutClients | Self::RewriteFile | Self::Trim { .. } => {
                Duration::ZERO
            }
        }
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
            Self::Trim { keep } => write!(f, "stream trimmed to {keep} entries"),
        }
    }
}
