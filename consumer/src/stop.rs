//! The wish to stop.

use tokio::sync::watch;

/// Resolves once the operator or the service manager wishes the consumer to stop.
#[derive(Debug, Clone)]
pub struct Stop(watch::Receiver<bool>);

impl Stop {
    /// A switch and what it stops. Dropping the switch stops too.
    #[must_use]
    pub fn switch() -> (watch::Sender<bool>, Self) {
        let (switch, stop) = watch::channel(false);
        (switch, Self(stop))
    }

    /// Returns once the switch is thrown.
    pub async fn wished(&mut self) {
        // An error means that the switch is gone, which is the same wish.
        let _ = self.0.wait_for(|stop| *stop).await;
    }
}
