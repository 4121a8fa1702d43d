//! Looks at a run while it is under way: how far the ledger lags, and that nobody has more in it than clients
//! ever said.

use std::sync::Arc;
use std::time::Duration;

use harness::Trackerctl;
use redis::streams::StreamInfoGroupsReply;
use serde_json::Value;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::announce::Bytes;
use crate::context::connection;
use crate::endpoints::Endpoints;
use crate::tally::Figure;
use crate::world::World;

const PAUSE: Duration = Duration::from_millis(500);
/// Unread entries are counted up to here.
const COUNTED: u64 = 10_000;

/// Looks until told to stop, at one user after the other.
pub(crate) async fn look(world: Arc<World>, endpoints: Endpoints, stop: watch::Receiver<()>) {
    for user in (0..world.users.len()).cycle() {
        if !stop.has_changed().is_ok_and(|told| !told) {
            return;
        }
        if let Some(backlog) = backlog(&world).await {
            world.tally.raise(Figure::LargestLag, backlog.entries());
        }
        world.tally.raise(Figure::LargestSpool, spooled(&endpoints.metrics).await);
        bounded(&world, &endpoints.control, user).await;
        sleep(PAUSE).await;
    }
}

/// Entries that are not settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Backlog {
    unread: u64,
    pending: u64,
}

impl Backlog {
    pub(crate) const fn entries(self) -> u64 {
        self.unread + self.pending
    }
}

/// The backlog of the group; `None` while Redis does not answer, or has no group yet. The unread are counted:
/// the lag that Redis 7.0 tells is too high after it read its file again.
pub(crate) async fn backlog(world: &World) -> Option<Backlog> {
    let (mut redis, stream) = (connection(&world.redis).await.ok()?, contract::Keys::default().traffic());
    let mut info = redis::cmd("XINFO");
    info.arg("GROUPS").arg(&stream);
    let groups: StreamInfoGroupsReply = info.query_async(&mut redis).await.ok()?;
    let group = groups.groups.first()?;
    let count = redis::Script::new("return #redis.call('XRANGE', KEYS[1], ARGV[1], '+', 'COUNT', ARGV[2])");
    let after = format!("({}", group.last_delivered_id);
    let unread = count.key(stream).arg(after).arg(COUNTED).invoke_async(&mut redis).await.ok()?;
    Some(Backlog { unread, pending: group.pending as u64 })
}

/// The announces in all spools whose trackers answer.
async fn spooled(metrics: &[String]) -> u64 {
    let mut sum = 0;
    for url in metrics {
        sum += figure(url, "seedbook_tracker_spool_records ").await.unwrap_or(0);
    }
    sum
}

async fn figure(url: &str, name: &'static str) -> Option<u64> {
    let url = url.to_owned();
    let page = tokio::task::spawn_blocking(move || harness::page(&url));
    let page = timeout(PAUSE, page).await.ok()?.ok()??;
    page.lines().find_map(|line| line.strip_prefix(name)?.parse().ok())
}

/// The ledger is read before the bound, which only grows.
async fn bounded(world: &World, control: &Trackerctl, user: usize) {
    let before = world.users[user].name();
    let Some(Settled { raw, .. }) = settled(control, before.reveal()).await else { return };
    let bound = world.books.truth(user).raw.said;
    world.tally.add(Figure::Looks);
    if !raw.within(bound) {
        let at = world.begin.elapsed().as_secs_f64();
        let complaint = format!(
            "in flight at {at:.1}, user {user} has {raw:?} in the ledger, and never said more than {bound:?}"
        );
        world.complaints.lock().push(complaint);
    }
}

/// What the ledger holds of a user.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Settled {
    pub(crate) raw: Bytes,
    pub(crate) credited: Bytes,
    pub(crate) completions: u64,
    pub(crate) seed_seconds: u64,
}

/// What the ledger holds of a user; `None` when it cannot be read now.
pub(crate) async fn settled(control: &Trackerctl, passkey: &str) -> Option<Settled> {
    let (control, passkey) = (control.clone(), passkey.to_owned());
    let answer =
        tokio::task::spawn_blocking(move || control.run(&["user", "stats", &passkey, "--json"])).await;
    let totals: Value = serde_json::from_str(&answer.ok()?.stdout).ok()?;
    let figure = |name: &str| match &totals[name] {
        Value::Null => Some(0),
        figure => figure.as_u64(),
    };
    totals["known"].is_boolean().then_some(())?;
    Some(Settled {
        raw: Bytes { up: figure("raw_up")?, down: figure("raw_down")? },
        credited: Bytes { up: figure("credited_up")?, down: figure("credited_down")? },
        completions: figure("completed")?,
        seed_seconds: figure("seed_seconds")?,
    })
}
