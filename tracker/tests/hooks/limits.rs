//! Peer limits: warned, without peers, and booked all the same.

use redis::Commands;

use crate::scene::{Say, config, failure, number, page, peers, private, redis, start, text};
use tracker::config::Plan;

fn limits(options: &str) -> String {
    private(&format!("  - name: peer limits\n    options: {options}\n"))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_breaks_a_limit_is_a_normal_reply_with_a_warning_and_is_booked() {
    let redis = redis();
    let mut app = start(&redis.url(), &limits("{max_sessions_per_torrent: 1}")).await;
    let second = Say { client: "-TR4060-abcdefghijk2", ..Say::plain('t') };
    assert_eq!(text(&Say::plain('t').to(&app).await, "warning message"), None);
    for uploaded in [0, 700] {
        let reply = Say { uploaded, ..second }.to(&app).await;
        assert_eq!((failure(&reply), peers(&reply)), (None, 0));
        assert_eq!((number(&reply, "interval"), number(&reply, "incomplete")), (Some(1800), Some(2)));
        assert!(text(&reply, "warning message").unwrap().contains("too many of your clients"));
    }
    let entries: redis::streams::StreamRangeReply = redis.connection().xrange_all("tracker:traffic").unwrap();
    let total: u64 = entries.ids.iter().map(|entry| entry.get::<u64>("du").unwrap()).sum();
    assert_eq!((entries.ids.len(), total), (3, 700));
    let metrics = page(&app, "/metrics").await;
    assert!(metrics.contains("seedbook_tracker_peer_limits_total{finding=\"sessions\"} 2"), "{metrics}");

    app.reload(Plan::of(config(&redis.url(), &limits("{max_announces_per_minute: 2}"))).unwrap()).unwrap();
    let announces: Vec<_> = [
        Say::plain('t').to(&app).await,
        Say::plain('t').to(&app).await,
        Say::plain('t').to(&app).await,
        Say { event: "completed", left: 0, ..Say::plain('t') }.to(&app).await,
        Say { event: "completed", left: 0, ..Say::plain('t') }.to(&app).await,
    ]
    .iter()
    .map(|reply| (failure(reply), text(reply, "warning message").is_some()))
    .collect();
    assert_eq!(announces, [false, false, true, false, true].map(|warned| (None, warned)));
    app.stop().await.unwrap();
}
