//! What schedules came to, in numbers.

/// Of one schedule, or of several.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Figures {
    /// Announces sent.
    pub announces: u64,
    /// Entries in the stream.
    pub entries: u64,
    /// Processes killed.
    pub kills: u64,
    /// Sessions.
    pub sessions: u64,
    /// Sessions of which only a bound could be checked.
    pub hazy: u64,
}

impl std::ops::AddAssign for Figures {
    fn add_assign(&mut self, other: Self) {
        self.announces += other.announces;
        self.entries += other.entries;
        self.kills += other.kills;
        self.sessions += other.sessions;
        self.hazy += other.hazy;
    }
}
