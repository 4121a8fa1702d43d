//! What all clients of a run share: how much happens, users and torrents, where the trackers are, the books.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use contract::{InfoHash, Passkey};
use parking_lot::Mutex;
use rand::rngs::ChaCha8Rng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

use crate::announce::Bytes;
use crate::books::Books;
use crate::endpoints::Endpoints;
use crate::exchange::Route;
use crate::tally::Tally;
use crate::torrent::Torrent;

/// Torrents that there are at first. A user who has been on all of them finds new ones.
const TORRENTS: usize = 48;
/// The first user's passkey.
pub(crate) const DECOY: &str = "chaos-decoy-user";
/// How often a client is one of the first user's.
const DECOYS: f64 = 0.05;

/// How much happens.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scale {
    pub(crate) seed: u64,
    pub(crate) length: Duration,
    pub(crate) clients: u32,
    /// Announces in a second.
    pub(crate) rate: u32,
}

/// One user.
#[derive(Debug)]
pub(crate) struct User {
    /// All passkeys that it ever had, the present one last.
    names: Mutex<Vec<Passkey>>,
    /// On the whitelist; of the others the site's page is asked.
    pub(crate) is_listed: bool,
    /// Its spooled announces may be damaged, so nobody expects all of them.
    pub(crate) is_decoy: bool,
    /// Torrents that it has been on.
    seen: Mutex<BTreeSet<InfoHash>>,
}

impl User {
    fn new(number: usize) -> Result<Self> {
        let (is_decoy, is_listed) = (number == 0, number % 4 != 1);
        let name = if is_decoy { DECOY.to_owned() } else { format!("chaos-user-{number:04}") };
        Ok(Self { names: Mutex::new(vec![name.parse()?]), is_listed, is_decoy, seen: Mutex::default() })
    }

    /// What the ledger knows it by.
    pub(crate) fn name(&self) -> Passkey {
        let names = self.names.lock();
        names[names.len() - 1]
    }

    pub(crate) fn names(&self) -> Vec<Passkey> {
        self.names.lock().clone()
    }

    /// What a client announces with: the present passkey, or the one before.
    pub(crate) fn announces_with(&self, dice: &mut ChaCha8Rng) -> Passkey {
        let names = self.names.lock();
        let old = names.len().saturating_sub(2);
        *names[old..].choose(dice).unwrap_or(&names[0])
    }

    pub(crate) fn is_called(&self, name: Passkey) {
        self.names.lock().push(name);
    }
}

/// What all clients share.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) users: Vec<User>,
    torrents: Mutex<Vec<Arc<Torrent>>>,
    /// All ways to the trackers.
    pub(crate) routes: Vec<Route>,
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
        let users: Result<Vec<User>> = (0..(scale.clients as usize / 3).max(4)).map(User::new).collect();
        let torrents = (0..TORRENTS).map(|number| Arc::new(Torrent::draw(&mut dice, factors(number))));
        Ok(Self {
            users: users?,
            torrents: Mutex::new(torrents.collect()),
            routes: endpoints.routes.clone(),
            redis: redis::Client::open(endpoints.redis_url())?,
            books: Books::default(),
            tally: Tally::default(),
            complaints: Mutex::default(),
            begin: Instant::now(),
            pace: Duration::from_secs_f64(f64::from(scale.clients) / f64::from(scale.rate)),
        })
    }

    /// Milliseconds since the chaos began.
    pub(crate) fn now(&self) -> u64 {
        u64::try_from(self.begin.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Whose a new client is.
    pub(crate) fn find_user(&self, dice: &mut ChaCha8Rng) -> usize {
        if dice.random_bool(DECOYS) { 0 } else { dice.random_range(1..self.users.len()) }
    }

    /// A torrent on which this user has not been: what two clients of one user do on one torrent is told
    /// apart by the ledger, but not in its totals.
    pub(crate) fn find_torrent(&self, dice: &mut ChaCha8Rng, user: usize) -> Arc<Torrent> {
        let mut torrents = self.torrents.lock();
        let mut seen = self.users[user].seen.lock();
        let drawn = torrents.choose(dice).filter(|torrent| !seen.contains(&torrent.v1)).cloned();
        let torrent = drawn.unwrap_or_else(|| {
            let torrent = Arc::new(Torrent::draw(dice, factors(TORRENTS)));
            torrents.push(torrent.clone());
            torrent
        });
        seen.insert(torrent.v1);
        torrent
    }

    pub(crate) fn torrents(&self) -> Vec<Arc<Torrent>> {
        self.torrents.lock().clone()
    }
}

/// Some torrents are promoted all the time.
const fn factors(torrent: usize) -> Bytes {
    match torrent {
        0..4 => Bytes { up: 2, down: 1 },
        4..8 => Bytes { up: 1, down: 0 },
        8 => Bytes { up: 3, down: 0 },
        _ => Bytes { up: 1, down: 1 },
    }
}
