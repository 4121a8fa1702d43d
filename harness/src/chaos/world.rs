//! What all clients of a run share: how much happens, who and what there is, where the trackers are, the
//! books.

use std::time::{Duration, Instant};

use anyhow::Result;
use contract::{InfoHash, Passkey};
use parking_lot::Mutex;
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};

use crate::books::Books;
use crate::deployment::Endpoints;
use crate::tally::Tally;

const TORRENTS: usize = 12;

/// How much happens.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scale {
    pub(crate) seed: u64,
    pub(crate) length: Duration,
    pub(crate) clients: u32,
    /// Announces in a second.
    pub(crate) rate: u32,
}

/// What all clients share.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) users: Vec<Passkey>,
    pub(crate) torrents: Vec<InfoHash>,
    /// The trackers' ports.
    pub(crate) trackers: [u16; 2],
    /// Redis itself, around every proxy.
    pub(crate) redis: redis::Client,
    pub(crate) books: Books,
    pub(crate) tally: Tally,
    /// What must never happen.
    pub(crate) complaints: Mutex<Vec<String>>,
    pub(crate) begin: Instant,
    /// The mean time between two announces of one client.
    pub(crate) pace: Duration,
}

impl World {
    /// The users, torrents and pace of a run.
    pub(crate) fn new(scale: Scale, endpoints: &Endpoints) -> Result<Self> {
        let mut dice = ChaCha8Rng::seed_from_u64(scale.seed);
        let users = (scale.clients / 3).max(2);
        let users: Result<Vec<Passkey>, _> =
            (0..users).map(|n| format!("chaos-user-{n:04}").parse()).collect();
        Ok(Self {
            users: users?,
            torrents: (0..TORRENTS).map(|_| InfoHash(dice.random())).collect(),
            trackers: endpoints.trackers,
            redis: redis::Client::open(endpoints.redis_url())?,
            books: Books::default(),
            tally: Tally::default(),
            complaints: Mutex::default(),
            begin: Instant::now(),
            pace: Duration::from_secs_f64(f64::from(scale.clients) / f64::from(scale.rate)),
        })
    }
}
