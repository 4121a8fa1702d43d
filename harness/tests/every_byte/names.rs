//! A hybrid's two info hashes, of which the site says late that they are one torrent.

use contract::Event::{None, Started};
use harness::eventually;
use redis::Commands;

use crate::announce::over_http;
use crate::session::{GB, Session};
use crate::site::Site;

/// Says that the second is the first one's other name, and waits until the trackers and the ledger know.
fn alias(site: &Site, v1: &Session, v2: &Session) {
    let (v1_hash, v2_hash) = (v1.info_hash().hex(), v2.info_hash().hex());
    let _: () = site.redis.connection().hset("pt:torrents:alias", &*v2_hash, &*v1_hash).unwrap();
    for tracker in 0..2 {
        let passkey = format!("probe-of-tracker-{tracker}");
        site.session(&passkey);
        let probe = v2.with_passkey(&passkey);
        eventually("the tracker knows of the alias", || {
            probe.says(over_http(tracker), None, 0);
            site.settle();
            let sql = "SELECT count(*) FROM torrent_traffic WHERE passkey = ? AND infohash = ?";
            let found = (&passkey, v1.speaker.info_hash);
            let booked = site.ledger().query_row(sql, found, |row| row.get::<_, i64>(0));
            (booked.ok()? > 0).then_some(())
        });
    }
    eventually("the ledger knows of the alias", || {
        let known =
            site.ledger().query_row("SELECT count(*) FROM torrent_aliases", [], |row| row.get::<_, i64>(0));
        (known.ok()? > 0).then_some(())
    });
}

#[test]
fn a_v2_hash_that_gets_its_alias_late_loses_nothing() {
    let site = Site::start();
    let v1 = site.session("late-alias");
    let v2 = v1.with_other_hash();
    v2.says(over_http(0), Started, 0);
    v2.says(over_http(0), None, 50 * GB);
    site.settle();
    alias(&site, &v1, &v2);
    v2.says(over_http(0), None, 60 * GB);
    site.balances(&v1, 0, 60 * GB);
}

#[test]
fn a_hybrid_that_is_announced_under_both_hashes_before_its_alias_is_charged_once() {
    let site = Site::start();
    let v1 = site.session("both-hashes");
    let v2 = v1.with_other_hash();
    v1.says(over_http(0), Started, 0);
    v2.says(over_http(0), Started, 0);
    v1.says(over_http(0), None, 90 * GB);
    v2.says(over_http(0), None, 89 * GB);
    site.settle();
    alias(&site, &v1, &v2);
    v1.says(over_http(0), None, 100 * GB);
    v2.says(over_http(0), None, 100 * GB);
    site.balances(&v1, 0, 100 * GB);
}
