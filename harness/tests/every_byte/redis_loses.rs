//! A Redis that comes back older than it was, after the ledger had settled what it forgot or before, with and
//! without a tracker that remembers.

use std::fs;

use contract::Event::{None, Started, Stopped};
use harness::{RedisServer, eventually};
use rustix::process::Signal;

use crate::announce::over_http;
use crate::session::{GB, Session};
use crate::site::Site;

/// A client at 10 GB of which everything is in the ledger.
fn at_ten_gb(site: &Site, passkey: &str) -> Session {
    let client = site.session(passkey);
    client.says(over_http(0), Started, 0);
    client.says(over_http(0), None, 10 * GB);
    site.settle();
    client
}

#[test]
fn a_tail_that_was_settled_and_is_cut_off_is_not_charged_twice() {
    let mut site = Site::start();
    let client = at_ten_gb(&site, "cut-off");
    let before = site.redis.tail_bytes();
    client.says(over_http(0), None, 90 * GB);
    site.settle();
    site.redis.lose_tail(site.redis.tail_bytes() - before);
    client.says(over_http(0), None, 100 * GB);
    site.balances(&client, 0, 100 * GB);
}

#[test]
fn older_files_that_are_put_back_charge_nobody_twice() {
    let mut site = Site::start();
    let client = at_ten_gb(&site, "put-back");
    let silent = at_ten_gb(&site, "put-back-silent");
    let files = site.redis.files();
    client.says(over_http(0), None, 90 * GB);
    silent.says(over_http(1), Stopped, 20 * GB);
    site.settle();
    site.redis.go_back_to(&files);
    client.says(over_http(1), None, 95 * GB);
    client.says(over_http(0), None, 100 * GB);
    site.balances(&client, 0, 100 * GB);
    site.says(&silent, 0, 20 * GB);
}

#[test]
fn a_lagging_replica_that_is_promoted_charges_nobody_twice() {
    let mut site = Site::start();
    let replica = RedisServer::replica_of(&site.redis);
    let client = at_ten_gb(&site, "promoted");
    let heard = || redis::cmd("XLEN").arg("tracker:traffic").query::<u64>(&mut replica.connection()).ok();
    eventually("the replica has heard of it", || heard().filter(|entries| *entries == 2));
    replica.signal(Signal::STOP);
    client.says(over_http(0), None, 90 * GB);
    site.settle();
    site.redis = replica.take_over(site.redis);
    redis::cmd("REPLICAOF").arg(&["NO", "ONE"][..]).exec(&mut site.redis.connection()).unwrap();
    client.says(over_http(0), None, 100 * GB);
    site.balances(&client, 0, 100 * GB);
}

#[test]
fn a_tail_that_nobody_had_read_comes_again_from_the_tracker() {
    let mut site = Site::start();
    let (client, other) = (at_ten_gb(&site, "unread"), at_ten_gb(&site, "another-of-the-tracker"));
    let files = site.redis.files();
    site.consumer.kill();
    client.says(over_http(0), Stopped, 50 * GB);
    site.redis.go_back_to(&files);
    other.says(over_http(0), None, 11 * GB);
    site.launch_consumer();
    site.balances(&client, 0, 50 * GB);
    site.says(&other, 0, 11 * GB);
}

#[test]
fn a_tail_that_nobody_had_read_comes_again_from_a_tracker_that_was_killed() {
    let mut site = Site::start();
    let client = at_ten_gb(&site, "unread-and-killed");
    let files = site.redis.files();
    site.consumer.kill();
    client.says(over_http(0), None, 40 * GB);
    client.says(over_http(0), Stopped, 50 * GB);
    site.trackers[0].service.kill();
    site.redis.go_back_to(&files);
    site.trackers[0].restart();
    site.launch_consumer();
    eventually("the tail is booked", || {
        site.settle();
        (site.books("unread-and-killed").down == 50 * GB).then_some(())
    });
    site.balances(&client, 0, 50 * GB);
}

#[test]
fn a_redis_that_forgot_everything_charges_nobody_twice_and_misses_nothing_that_is_reported_again() {
    let mut site = Site::start();
    let files = site.redis.files();
    let client = at_ten_gb(&site, "forgotten");
    client.says(over_http(0), None, 60 * GB);
    site.settle();
    site.trackers[0].service.kill();
    // The machine is another, too: nobody has a tail.
    fs::remove_dir_all(site.trackers[0].folder.join("spool")).unwrap();
    site.redis.go_back_to(&files);
    let _: Session = site.session("forgotten");
    site.trackers[0].restart();
    client.says(over_http(0), None, 80 * GB);
    client.says(over_http(0), None, 100 * GB);
    site.balances(&client, 0, 100 * GB);
}

#[test]
fn a_rotation_that_is_forgotten_and_repeated_charges_nobody_twice_and_misses_nothing() {
    let mut site = Site::start();
    let (old, other) = (at_ten_gb(&site, "before-rotation"), at_ten_gb(&site, "another-user"));
    let new = old.with_passkey("after-rotation");
    let rotate = ["passkey", "rotate", "before-rotation", "after-rotation"];
    let files = site.redis.files();
    site.trackerctl().ok(&rotate);
    new.says(over_http(0), None, 60 * GB);
    site.settle();
    site.redis.go_back_to(&files);
    // The tracker gives Redis its tail, under the name that it does not know any more.
    other.says(over_http(0), None, 11 * GB);
    site.trackerctl().ok(&rotate);
    old.says(over_http(0), None, 80 * GB);
    new.says(over_http(1), Started, 90 * GB);
    new.says(over_http(0), None, 100 * GB);
    site.balances(&new, 0, 100 * GB);
}
