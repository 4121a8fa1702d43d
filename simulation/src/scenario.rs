//! What one schedule is about: drawn from its seed before the first step.

use contract::{InfoHash, Passkey};

use crate::dice::Dice;

/// How Redis writes its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Durability {
    /// A confirmed write is on the disk.
    Always,
    /// The file, or the replica that takes over, is behind by less than trackers keep in their tails.
    WithinTheTail,
    /// It is behind by any time, or there is none.
    Careless,
}

/// Milliseconds by which clocks are off that nobody set.
pub(crate) const DRIFT_MS: u64 = 250;
/// Delays of paths, in milliseconds.
const LAGS_MS: [u64; 5] = [50, 500, 3000, 10_000, 40_000];

/// The fixed facts of a schedule.
#[derive(Debug, Clone)]
pub(crate) struct Scenario {
    /// Whose books are kept.
    pub(crate) users: Vec<Passkey>,
    /// What they share.
    pub(crate) torrents: Vec<InfoHash>,
    /// How many clients there are at first.
    pub(crate) clients: u64,
    /// How many trackers.
    pub(crate) trackers: u64,
    /// How many consumers.
    pub(crate) consumers: u64,
    /// Entries a consumer reads at once.
    pub(crate) batch_size: u64,
    /// Random steps before everything settles.
    pub(crate) steps: u64,
    /// The delays that its paths may have, at most.
    pub(crate) lags_ms: &'static [u64],
    /// How many announces in a hundred wait for a slow look-up.
    pub(crate) look_ups: u64,
    /// Any clock may be set at any time, by up to a day.
    pub(crate) clocks_are_set: bool,
    /// Redis's file.
    pub(crate) durability: Durability,
    /// Records a tracker's spool holds, about; 0: it has none.
    pub(crate) spool: u64,
    /// How often a tracker sends a batch again before it gives it up.
    pub(crate) retries: u32,
    /// Whether idle announces are left out of the stream.
    pub(crate) skip_idle: bool,
    /// Whether the counters of a first `started` are credited.
    pub(crate) credit_first: bool,
    /// How many steps in a hundred bring a fault.
    pub(crate) faults: u64,
}

impl Scenario {
    /// Draws one.
    pub(crate) fn draw(dice: &mut Dice) -> Self {
        let users = dice.within(1..=2);
        let torrents = dice.within(1..=2);
        Self {
            users: (0..users).filter_map(|n| format!("user{n}").parse().ok()).collect(),
            torrents: (0..torrents).map(|n| InfoHash([u8::try_from(n + 1).unwrap_or(1); 20])).collect(),
            clients: dice.within(1..=4),
            trackers: dice.within(1..=2),
            consumers: dice.within(1..=3),
            batch_size: dice.within(1..=8),
            steps: dice.within(60..=200),
            lags_ms: &LAGS_MS[..dice.index(LAGS_MS.len()) + 1],
            look_ups: if dice.percent(50) { dice.within(1..=40) } else { 0 },
            clocks_are_set: dice.percent(25),
            durability: match dice.within(0..=99) {
                0..60 => Durability::Always,
                60..92 => Durability::WithinTheTail,
                _ => Durability::Careless,
            },
            spool: if dice.percent(50) { dice.within(3..=20) } else { 0 },
            retries: if dice.percent(70) { 3 } else { 0 },
            skip_idle: dice.percent(10),
            credit_first: dice.percent(10),
            faults: dice.within(0..=12),
        }
    }

    /// The spool's limit. Its files are so small then that most hold a single batch.
    pub(crate) fn spool_bytes(&self) -> u64 {
        self.spool * 140 + 24
    }
}
