//! Reports that wait in one tracker's spool while their client goes on at another.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;

use contract::Event::{Completed, None, Started, Stopped};

use crate::announce::over_http;
use crate::session::{GB, Session};
use crate::site::{Plan, Site};

/// A site whose first tracker knows the user, and cannot reach Redis from now on.
fn cut_off(passkey: &str) -> (Site, Session) {
    let site = Site::start();
    let client = site.session(passkey);
    let other = client.second_client();
    other.says(over_http(0), Started, 0);
    other.says(over_http(0), Stopped, 0);
    site.trackers[0].way.cut();
    (site, client)
}

#[test]
fn a_first_started_that_waits_in_a_spool_costs_nothing() {
    let (site, client) = cut_off("first-started");
    client.says(over_http(0), Started, 0);
    client.says(over_http(1), Started, 5 * GB);
    client.says(over_http(1), None, 6 * GB);
    site.trackers[0].way.mend();
    site.settle();
    // Until now it may have been that the second tracker heard of an earlier run.
    client.says(over_http(0), None, 6 * GB);
    site.balances(&client, 0, 6 * GB);
}

#[test]
fn a_restart_that_waits_in_a_spool_costs_nothing() {
    let site = Site::start();
    let client = site.session("restarted");
    client.says(over_http(0), Started, 0);
    client.says(over_http(0), None, 6 * GB);
    site.trackers[0].way.cut();
    client.says(over_http(0), Started, 0);
    client.says(over_http(1), Started, 100 * GB);
    client.says(over_http(1), None, 101 * GB);
    site.trackers[0].way.mend();
    site.settle();
    client.says(over_http(0), None, 101 * GB);
    site.balances(&client, 0, 107 * GB);
}

#[test]
fn a_completed_that_waits_in_a_spool_is_a_completion() {
    let (site, client) = cut_off("completed");
    client.says(over_http(1), Started, 0);
    client.says(over_http(0), Started, 0);
    client.has_all(over_http(0), Completed, 16 * GB);
    client.has_all(over_http(1), None, 16 * GB);
    client.has_all(over_http(1), Stopped, 16 * GB);
    site.settle_first(1);
    site.trackers[0].way.mend();
    site.balances(&client, 0, 16 * GB);
    assert_eq!(site.books("completed").completed, 1);
    assert_eq!(site.presence(&client), (false, false), "who has left does not come back");
}

#[test]
fn a_stopped_that_waits_in_a_spool_counts_for_what_it_says() {
    let site = Site::start();
    let client = site.session("stopped");
    client.says(over_http(0), Started, 0);
    client.says(over_http(1), Started, 0);
    client.says(over_http(1), None, 8 * GB);
    site.trackers[0].way.cut();
    client.says(over_http(0), Stopped, 12 * GB);
    client.says(over_http(1), Started, 0);
    client.says(over_http(1), None, 3 * GB);
    site.settle_first(1);
    site.trackers[0].way.mend();
    site.balances(&client, 0, 15 * GB);
    assert_eq!(site.presence(&client), (false, true), "it began again after it had stopped");
}

#[test]
fn coalescing_in_a_spool_loses_nothing_that_another_tracker_heard_between() {
    let site = Site::start_with(&Plan { spool_bytes: Some(64 * 1024), ..Plan::default() });
    let client = site.session("coalesced");
    let others: Vec<Session> = (0..8).map(|user| site.session(&format!("other-{user}"))).collect();
    others.iter().for_each(|other| other.says(over_http(0), Started, 0));
    client.says(over_http(0), Started, 0);
    client.says(over_http(1), Started, 0);
    site.trackers[0].way.cut();
    let goes_on = |steps: [u64; 4]| {
        // Said three times, the one between says nothing.
        steps.iter().for_each(|down| (0..3).for_each(|_| client.says(over_http(0), None, down * GB)));
    };
    goes_on([5, 10, 15, 20]);
    client.says(over_http(1), Started, 0);
    client.says(over_http(1), None, 2 * GB);
    client.says(over_http(0), Started, 5 * GB);
    goes_on([10, 15, 20, 25]);
    thread::scope(|scope| {
        for other in &others {
            scope.spawn(|| (0..80).for_each(|_| other.says(over_http(0), None, GB)));
        }
    });
    let metrics = site.trackers[0].service.metrics();
    let coalesced =
        metrics.lines().find_map(|line| line.strip_prefix("seedbook_tracker_spool_coalesced_total "));
    assert!(coalesced.unwrap().parse::<u64>().unwrap() > 0, "the spool had no room for all");
    site.trackers[0].way.mend();
    site.balances(&client, 0, 45 * GB);
    others.iter().for_each(|other| site.says(other, 0, GB));
}

/// The file of a spool that holds the most, and not the tail.
fn largest_file(folder: &Path) -> PathBuf {
    let files = fs::read_dir(folder).unwrap().flatten().map(|entry| entry.path());
    files.filter(|path| path.is_file()).max_by_key(|path| path.metadata().unwrap().len()).unwrap()
}

#[test]
fn a_bit_that_flips_in_the_newest_spool_file_costs_its_own_record_and_no_other() {
    let mut site = Site::start();
    let users: Vec<String> = (0..40).map(|user| format!("flipped-{user}")).collect();
    let clients: Vec<Session> = users.iter().map(|user| site.session(user)).collect();
    clients.iter().for_each(|client| client.says(over_http(0), Started, 0));
    site.trackers[0].way.cut();
    clients.iter().for_each(|client| client.says(over_http(0), None, GB));
    site.trackers[0].service.kill();
    let file = largest_file(&site.trackers[0].folder.join("spool"));
    let mut bytes = fs::read(&file).unwrap();
    let place = bytes.len() / 8;
    bytes[place] ^= 4;
    fs::write(&file, bytes).unwrap();
    site.trackers[0].way.mend();
    site.trackers[0].restart();
    site.settle();
    let lost: Vec<&String> = users.iter().filter(|user| site.books(user).down != GB).collect();
    assert!(lost.len() <= 1, "a damaged record costs itself: {lost:?}");
}
