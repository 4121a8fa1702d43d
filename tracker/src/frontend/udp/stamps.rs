//! When the kernel got a packet, however long it waited for us.
//!
//! The kernel stamps packets by the clock that is set, and only the one that nobody sets may order reports.
//! So both are read with each batch: what a stamp means is told by how they stood to each other when the
//! batch was read or, if the clock was set meanwhile, when the socket was last found empty. No packet is
//! older than that, and a meaning that says so is wrong.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Both clocks at one time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clocks {
    pub(super) now: Instant,
    /// Since the Unix epoch.
    pub(super) unix: Duration,
}

impl Clocks {
    pub(super) fn read() -> Self {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { now: Instant::now(), unix }
    }

    /// What a stamp means, by how the clocks stand to each other here.
    fn instant(&self, stamp: Duration) -> Option<Instant> {
        match self.unix.checked_sub(stamp) {
            Some(ago) => self.now.checked_sub(ago),
            None => self.now.checked_add(stamp.saturating_sub(self.unix)),
        }
    }
}

/// One socket's stamps and what they mean.
#[derive(Debug)]
pub(super) struct Stamps {
    /// Before the socket was last found empty: nothing that is in it now came earlier.
    empty: Clocks,
    /// Before the batch that is in hand.
    before: Clocks,
    /// With the batch that is in hand.
    with: Clocks,
}

impl Stamps {
    pub(super) fn begin(clocks: Clocks) -> Self {
        Self { empty: clocks, before: clocks, with: clocks }
    }

    /// A batch was read, perhaps of nothing.
    pub(super) fn read(&mut self, with: Clocks) {
        self.with = with;
    }

    /// The clocks with the batch.
    pub(super) fn clocks(&self) -> Clocks {
        self.with
    }

    /// When a packet of the batch came.
    pub(super) fn arrival(&self, stamp: Option<Duration>) -> Instant {
        let Some(stamp) = stamp else { return self.with.now };
        let can_be = |arrival: &Instant| (self.empty.now..=self.with.now).contains(arrival);
        let meanings = [self.with, self.empty].map(|clocks| clocks.instant(stamp));
        meanings.into_iter().flatten().find(can_be).unwrap_or(self.empty.now)
    }

    /// The batch is done. It left the socket empty if there was room for more.
    pub(super) fn done(&mut self, left_empty: bool) {
        if left_empty {
            self.empty = self.before;
        }
        self.before = self.with;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNIX: Duration = Duration::from_secs(1_700_000_000);

    /// Milliseconds after the beginning, by both clocks.
    struct Scene {
        begun: Instant,
        stamps: Stamps,
    }

    impl Scene {
        fn begin() -> Self {
            let begun = Instant::now();
            Self { begun, stamps: Stamps::begin(Clocks { now: begun, unix: UNIX }) }
        }

        fn read(&mut self, now: u64, unix: u64) {
            let now = self.begun + Duration::from_millis(now);
            self.stamps
                .read(Clocks { now, unix: UNIX - Duration::from_secs(600) + Duration::from_millis(unix) });
        }

        fn arrival(&self, stamp: u64) -> u128 {
            let stamp = UNIX - Duration::from_secs(600) + Duration::from_millis(stamp);
            (self.stamps.arrival(Some(stamp)) - self.begun).as_millis()
        }
    }

    /// What the clock that is set shows at the beginning of a scene.
    const T: u64 = 600_000;

    #[test]
    fn a_packet_that_waited_is_as_old_as_it_is() {
        let mut scene = Scene::begin();
        scene.read(100, T + 100);
        scene.stamps.done(true);
        scene.read(3200, T + 3200);
        assert_eq!((scene.arrival(T + 150), scene.arrival(T + 3199)), (150, 3199));
        assert_eq!(scene.stamps.arrival(None), scene.begun + Duration::from_millis(3200), "nothing is known");
    }

    #[test]
    fn a_clock_that_was_set_while_nobody_read_changes_nothing() {
        for step in [-300_000_i64, 300_000] {
            let mut scene = Scene::begin();
            scene.read(100, T + 100);
            scene.stamps.done(true);
            let stepped = |time: u64| (T + time).saturating_add_signed(step);
            // Full batches: what came before the step may be in a later one.
            for read in [3200, 3201] {
                scene.read(read, stepped(read));
                assert_eq!((scene.arrival(T + 150), scene.arrival(stepped(2000))), (150, 2000), "{step}");
                scene.stamps.done(false);
            }
        }
    }

    #[test]
    fn a_stamp_that_means_nothing_is_no_older_than_the_empty_socket() {
        let mut scene = Scene::begin();
        for read in [100, 200, 300] {
            scene.read(read, T + read);
            scene.stamps.done(true);
        }
        scene.read(400, T + 400);
        assert_eq!(scene.arrival(0), 200, "the batch at 300 was the last that found it empty");
        assert_eq!(scene.arrival(T * 9), 200);
    }
}
