//! The wish to stop, as every loop of the consumer sees it.

use tokio::sync::watch;

/// Work was given up because the process is to stop. What was in hand is still pending in Redis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stopped;

/// Tells whether to stop, and interrupts waits.
#[derive(Debug, Clone)]
pub struct Stop(watch::Receiver<bool>);

impl Stop {
    /// A switch and what it stops. Dropping the switch stops too.
    #[must_use]
    pub fn switch() -> (watch::Sender<bool>, Self) {
        let (switch, stop) = watch::channel(false);
        (switch, Self(stop))
    }

    /// # Errors
    /// [`Stopped`] once the switch is thrown.
    pub fn check(&self) -> Result<(), Stopped> {
        if *self.0.borrow() || self.0.has_changed().is_err() { Err(Stopped) } else { Ok(()) }
    }

    /// The future's result, unless the switch is thrown first.
    ///
    /// # Errors
    /// [`Stopped`] once the switch is thrown.
    pub async fn unless<T>(&mut self, work: impl Future<Output = T>) -> Result<T, Stopped> {
        tokio::select! {
            biased;
            // An error means that the switch is gone, which is the same wish.
            _ = self.0.wait_for(|stop| *stop) => Err(Stopped),
            result = work => Ok(result),
        }
    }
}
