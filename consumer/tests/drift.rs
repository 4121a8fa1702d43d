//! The running consumer counts sessions and notices when sets, guards and ledger stop telling the same story.

#![allow(clippy::unwrap_used)] // In functions that tests share, too.

mod scene;

use consumer::app::App;
use consumer::config::{Config, DriftConfig};
use contract::TrafficEvent;
use contract::config::Period;
use harness::{RedisServer, eventually};
use scene::{LedgerFile, append, config, event, get, hash, peer};
use scene::{all_acknowledged, settled, start};

fn shows(app: &App, line: &str) {
    eventually(line, || {
        get(app.metrics_addr, "/metrics").contains(&format!("seedbook_consumer_{line}\n")).then_some(())
    });
}

async fn a_watchful_consumer(redis: &RedisServer, file: &LedgerFile) -> App {
    let now = consumer::clock::now();
    let mut connection = redis.connection();
    append(&mut connection, &event(now));
    append(&mut connection, &TrafficEvent { peer_id: peer(2), ..event(now) });
    append(&mut connection, &TrafficEvent { info_hash: hash(2), left: 7, ..event(now) });
    let drift = DriftConfig { interval: Period::from_secs(1), users: 10 };
    let app = start(&Config { drift, ..config(redis, &file.url(), "one") }).await;
    settled(file, 3, 3000).await;
    all_acknowledged(redis).await;
    app
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_are_counted_and_sets_that_were_changed_by_hand_are_noticed() {
    let (redis, file) = (RedisServer::start(), LedgerFile::new());
    let app = a_watchful_consumer(&redis, &file).await;
    shows(&app, "seeding_sessions 2");
    shows(&app, "leeching_sessions 1");
    eventually("users were compared", || {
        (!get(app.metrics_addr, "/metrics").contains("drift_users_total 0\n")).then_some(())
    });
    shows(&app, "drift_sets 0");
    redis::cmd("DEL").arg("tracker:passkey:leech:alice").query::<()>(&mut redis.connection()).unwrap();
    shows(&app, "drift_sets 1");
    shows(&app, "drift_ledger 0");
    app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_whose_settled_announce_is_not_in_the_ledger_is_noticed() {
    let (redis, file) = (RedisServer::start(), LedgerFile::new());
    let app = a_watchful_consumer(&redis, &file).await;
    shows(&app, "drift_ledger 0");
    file.sql().execute("DELETE FROM torrent_traffic WHERE left_bytes = 7", []).unwrap();
    shows(&app, "drift_ledger 1");
    shows(&app, "drift_sets 0");
    app.stop().await.unwrap();
}
