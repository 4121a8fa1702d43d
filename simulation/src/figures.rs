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
    /// Sessions of which Redis forgot what nobody else had: they have at most the truth.
    pub forgotten: u64,
    /// Sessions whose reports can be explained by less than the truth: they have the least that explains
    /// them.
    pub open: u64,
}

impl std::ops::AddAssign for Figures {
    fn add_assign(&mut self, other: Self) {
        self.announces += other.announces;
        self.entries += other.entries;
        self.kills += other.kills;
        self.sessions += other.sessions;
        self.forgotten += other.forgotten;
        self.open += other.open;
    }
}
