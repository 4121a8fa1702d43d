//! Trimming never takes what a group has not read and acknowledged, unless it is told to, and then it says
//! how much.

#![allow(clippy::unwrap_used)] // In functions that tests share, too.

mod scene;

use books::entry::EntryId;
use books::retention::{self, Keep, Plan, Target, Unsettled};
use harness::RedisServer;
use redis::aio::MultiplexedConnection;
use scene::{append_as, connect, count, event};

const TARGET: Target<'static> = Target { stream: "tracker:traffic", group: "site" };
const DAY_MS: u64 = 86_400_000;
const NOW_MS: u64 = 100 * DAY_MS;

struct Scene {
    server: RedisServer,
    connection: MultiplexedConnection,
}

impl Scene {
    /// Ten entries, one a day, the newest today.
    async fn new() -> Self {
        let server = RedisServer::start();
        let mut redis = server.connection();
        for day in 91..=100_u64 {
            append_as(&mut redis, &format!("{}-0", day * DAY_MS), &event(day * DAY_MS / 1000));
        }
        let connection = connect(&server).await;
        Self { server, connection }
    }

    fn command(&self, words: &[&str]) -> redis::Value {
        redis::cmd(words[0]).arg(&words[1..]).query(&mut self.server.connection()).unwrap()
    }

    /// A group that was given the first `read` entries and acknowledged all of them but the third.
    fn group(&self, name: &str, read: usize, third: Third) {
        self.command(&["XGROUP", "CREATE", "tracker:traffic", name, "0"]);
        let some = read.to_string();
        self.command(&["XREADGROUP", "GROUP", name, "c", "COUNT", &some, "STREAMS", "tracker:traffic", ">"]);
        for day in (91..91 + read as u64).filter(|day| third == Third::Settled || *day != 93) {
            self.command(&["XACK", "tracker:traffic", name, &format!("{}-0", day * DAY_MS)]);
        }
    }

    async fn trim(&mut self, keep: Keep, unsettled: Unsettled) -> u64 {
        retention::trim(&mut self.connection, TARGET, keep, unsettled, NOW_MS, &mut |_| {}).await.unwrap()
    }

    async fn plan(&mut self, keep: Keep) -> Plan {
        retention::plan(&mut self.connection, TARGET, keep, NOW_MS, &mut |_| {}).await.unwrap()
    }

    fn left(&self) -> u64 {
        count(&mut self.server.connection(), &["XLEN", "tracker:traffic"])
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Third {
    Settled,
    Pending,
}

#[tokio::test]
async fn what_is_settled_and_old_goes() {
    let mut scene = Scene::new().await;
    scene.group("site", 10, Third::Settled);
    let plan = scene.plan(Keep::Days(3)).await;
    assert_eq!((plan.old, plan.removable, plan.unsettled), (6, 6, 0));
    assert_eq!(scene.trim(Keep::Days(3), Unsettled::Keep).await, 6);
    assert_eq!(scene.left(), 4);
    assert_eq!(scene.trim(Keep::Newest(1), Unsettled::Keep).await, 3);
    assert_eq!(scene.trim(Keep::Newest(1), Unsettled::Keep).await, 0);
}

#[tokio::test]
async fn unread_entries_stay() {
    let mut scene = Scene::new().await;
    scene.group("site", 4, Third::Settled);
    let plan = scene.plan(Keep::Newest(2)).await;
    assert_eq!((plan.old, plan.removable, plan.unsettled), (8, 4, 4));
    assert_eq!(scene.trim(Keep::Newest(2), Unsettled::Keep).await, 4);
    assert_eq!(scene.left(), 6);
}

#[tokio::test]
async fn a_pending_entry_holds_itself_and_everything_after_it() {
    let mut scene = Scene::new().await;
    scene.group("site", 10, Third::Pending);
    let plan = scene.plan(Keep::Newest(2)).await;
    assert_eq!((plan.old, plan.removable, plan.unsettled), (8, 2, 1));
    assert_eq!(plan.settled_before, EntryId::at_ms(93 * DAY_MS));
    assert_eq!(scene.trim(Keep::Newest(2), Unsettled::Keep).await, 2);
}

#[tokio::test]
async fn the_slowest_of_several_groups_decides() {
    let mut scene = Scene::new().await;
    scene.group("site", 10, Third::Settled);
    scene.group("statistics", 1, Third::Settled);
    assert_eq!(scene.trim(Keep::Newest(0), Unsettled::Keep).await, 1);
}

#[tokio::test]
async fn nothing_goes_while_the_consumers_group_does_not_exist() {
    let mut scene = Scene::new().await;
    scene.group("statistics", 10, Third::Settled);
    let plan = scene.plan(Keep::Newest(0)).await;
    assert_eq!((plan.old, plan.removable, plan.unsettled), (10, 0, 10));
    assert_eq!(scene.trim(Keep::Newest(0), Unsettled::Keep).await, 0);
}

#[tokio::test]
async fn force_takes_them_and_the_plan_counted_what_it_destroys() {
    let mut scene = Scene::new().await;
    scene.group("site", 5, Third::Pending);
    let plan = scene.plan(Keep::Newest(3)).await;
    assert_eq!((plan.old, plan.unsettled), (7, 3), "one pending and two unread");
    assert_eq!(scene.trim(Keep::Newest(3), Unsettled::Destroy).await, 7);
    assert_eq!(scene.left(), 3);
}

#[tokio::test]
async fn a_stream_that_is_not_there_is_nothing_to_trim() {
    let server = RedisServer::start();
    let mut connection = connect(&server).await;
    for keep in [Keep::Days(1), Keep::Newest(5), Keep::Newest(0)] {
        let plan = retention::plan(&mut connection, TARGET, keep, NOW_MS, &mut |_| {}).await.unwrap();
        assert_eq!(plan.old, 0);
        let trimmed =
            retention::trim(&mut connection, TARGET, keep, Unsettled::Keep, NOW_MS, &mut |_| {}).await;
        assert_eq!(trimmed.unwrap(), 0);
    }
}
