//! Which of Redis and the ledger the consumer waits for: shown by `/readyz`, and logged once per change
//! instead of once per attempt.

use std::sync::{Arc, Mutex, PoisonError};

use service::admin::Readiness;
use tracing::{info, warn};

/// Something the consumer cannot work without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Redis answers this consumer's reads and writes.
    Redis,
    /// The ledger can be opened and takes transactions.
    Ledger,
}

/// The reasons why work waits. Clones share them.
#[derive(Debug, Clone)]
pub struct Health(Arc<Mutex<[Option<String>; 2]>>);

impl Default for Health {
    fn default() -> Self {
        let waiting = |what: &str| Some(format!("waiting for {what} for the first time"));
        Self(Arc::new(Mutex::new([waiting("Redis"), waiting("the ledger")])))
    }
}

impl Health {
    /// The need is met. Logged when it was not before.
    pub fn met(&self, need: Need) {
        if self.put(need, None).is_some() && need == Need::Ledger {
            info!("the ledger is open");
        }
    }

    /// The need is not met, because of `reason`. Logged when that is new. (Redis links log for themselves.)
    pub fn unmet(&self, need: Need, reason: &str) {
        let before = self.put(need, Some(reason.to_owned()));
        if need == Need::Ledger && before.as_deref() != Some(reason) {
            warn!(reason, "the ledger is not available; trying again until it is, nothing is lost meanwhile");
        }
    }

    /// Ready when both needs are met; else what is waited for.
    #[must_use]
    pub fn readiness(&self) -> Readiness {
        let health = self.clone();
        Arc::new(move || {
            let reasons: Vec<String> = health.lock().iter().flatten().cloned().collect();
            if reasons.is_empty() { Ok(()) } else { Err(reasons.join("\n")) }
        })
    }

    fn put(&self, need: Need, reason: Option<String>) -> Option<String> {
        std::mem::replace(&mut self.lock()[need as usize], reason)
    }

    /// A panic elsewhere leaves a reason that is still worth reading.
    fn lock(&self) -> std::sync::MutexGuard<'_, [Option<String>; 2]> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
