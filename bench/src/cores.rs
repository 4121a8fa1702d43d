//! Which processor core does what: the server on one, whoever drives it on another, so that neither steals
//! the other's time.

use anyhow::{Context, Result};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

/// The cores that work is bound to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CoreSet {
    /// Those of the program that is measured.
    Server,
    /// Those of the load that drives it.
    Driver,
    /// Both, for servers that cannot share one core with themselves.
    Anywhere,
}

/// The two cores that are used: the first and the second of those this process may use, or one for both.
#[derive(Debug, Clone)]
pub struct Cores {
    all: CpuSet,
    server: usize,
    driver: usize,
}

impl Cores {
    /// Looks which cores there are.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn find() -> Result<Self> {
        let all = sched_getaffinity(Pid::from_raw(0)).context("which cores may be used")?;
        let mut usable = (0..CpuSet::count()).filter(|core| all.is_set(*core).unwrap_or(false));
        let server = usable.next().context("no core may be used")?;
        Ok(Self { all, server, driver: usable.next().unwrap_or(server) })
    }

    /// Whether server and driver have a core each.
    #[must_use]
    pub fn are_two(&self) -> bool {
        self.server != self.driver
    }

    /// Runs `work` at a place. Processes and threads that it starts stay there.
    ///
    /// # Errors
    /// When the system refuses the move.
    pub fn at<T>(&self, place: CoreSet, work: impl FnOnce() -> T) -> Result<T> {
        let mut here = CpuSet::new();
        match place {
            CoreSet::Server => here.set(self.server)?,
            CoreSet::Driver => here.set(self.driver)?,
            CoreSet::Anywhere => here = self.all,
        }
        let this_thread = Pid::from_raw(0);
        sched_setaffinity(this_thread, &here).context("moving to a core")?;
        let outcome = work();
        sched_setaffinity(this_thread, &self.all).context("moving back")?;
        Ok(outcome)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_runs_where_it_was_put_and_the_thread_comes_back() {
        let cores = Cores::find().unwrap();
        let usable = || {
            let set = sched_getaffinity(Pid::from_raw(0)).unwrap();
            (0..CpuSet::count()).filter(|core| set.is_set(*core).unwrap()).count()
        };
        let before = usable();
        assert_eq!(cores.at(CoreSet::Server, usable).unwrap(), 1);
        assert_eq!(usable(), before);
    }
}
