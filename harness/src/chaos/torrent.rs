//! What clients share, under one name or two.

use std::sync::atomic::{AtomicBool, Ordering};

use contract::InfoHash;
use rand::RngExt;
use rand::rngs::ChaCha8Rng;

use crate::announce::Bytes;

/// One torrent.
#[derive(Debug)]
pub(crate) struct Torrent {
    pub(crate) v1: InfoHash,
    /// A hybrid is announced under this until the site makes it an alias, and then under either.
    pub(crate) v2: Option<InfoHash>,
    aliased: AtomicBool,
    /// What its bytes count, times.
    pub(crate) factors: Bytes,
}

impl Torrent {
    pub(crate) fn draw(dice: &mut ChaCha8Rng, factors: Bytes) -> Self {
        let plain = Bytes { up: 1, down: 1 };
        let v2 = (factors == plain && dice.random_bool(0.2)).then(|| InfoHash(dice.random()));
        Self { v1: InfoHash(dice.random()), v2, aliased: AtomicBool::new(false), factors }
    }

    /// One without an alias or a promotion.
    #[cfg(test)]
    pub(crate) fn plain() -> Self {
        let (v1, factors) = (InfoHash([7; 20]), Bytes { up: 1, down: 1 });
        Self { v1, v2: None, aliased: AtomicBool::new(false), factors }
    }

    /// What it is booked under.
    pub(crate) fn name(&self) -> InfoHash {
        match self.v2 {
            Some(v2) if !self.aliased.load(Ordering::SeqCst) => v2,
            _ => self.v1,
        }
    }

    /// What a client announces.
    pub(crate) fn announced(&self, dice: &mut ChaCha8Rng) -> InfoHash {
        self.v2.filter(|_| dice.random_bool(0.5)).unwrap_or_else(|| self.name())
    }

    /// The v1 and v2 info hashes of a hybrid that has no alias yet.
    pub(crate) fn unaliased(&self) -> Option<(InfoHash, InfoHash)> {
        self.v2.filter(|_| !self.aliased.load(Ordering::SeqCst)).map(|v2| (self.v1, v2))
    }

    /// The site knows now that both are one.
    pub(crate) fn alias(&self) {
        self.aliased.store(true, Ordering::SeqCst);
    }
}
