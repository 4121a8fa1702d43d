//! An older copy of the ledger in the present one's place: refused until the operator says that it is meant,
//! and complete again after that.

use std::path::{Path, PathBuf};

use contract::Event::{None, Started};
use harness::{Service, eventually};
use rusqlite::{Connection, TransactionBehavior};
use rustix::process::Signal;

use crate::announce::over_http;
use crate::session::{GB, Session};
use crate::site::Site;

fn at_twenty_gb(site: &Site, passkey: &str) -> Session {
    let client = site.session(passkey);
    client.says(over_http(0), Started, 0);
    client.says(over_http(0), None, 20 * GB);
    site.balances(&client, 0, 20 * GB);
    client
}

/// A consistent copy of the ledger, as a nightly backup makes it.
fn copy(site: &Site) -> PathBuf {
    let copy = site.folder.path().join("copy.db");
    let ledger = Connection::open(site.ledger_file()).unwrap();
    ledger.execute("VACUUM INTO ?", [copy.to_str().unwrap()]).unwrap();
    copy
}

/// Puts the copy's content into the ledger's own file, which stays open and keeps its inode.
fn restore_in_place(site: &Site, copy: &Path) {
    let mut ledger = Connection::open(site.ledger_file()).unwrap();
    ledger.execute("ATTACH ? AS copy", [copy.to_str().unwrap()]).unwrap();
    // At once: one that reads first cannot wait for the consumer that writes meanwhile.
    let transaction = ledger.transaction_with_behavior(TransactionBehavior::Immediate).unwrap();
    let tables: Vec<String> = transaction
        .prepare("SELECT name FROM copy.sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
        .unwrap()
        .query_map([], |row| row.get(0))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    for table in tables {
        transaction.execute(&format!("DELETE FROM main.{table}"), []).unwrap();
        transaction.execute(&format!("INSERT INTO main.{table} SELECT * FROM copy.{table}"), []).unwrap();
    }
    transaction.commit().unwrap();
}

/// It must say that it is not ready, and name the command that an operator needs.
fn refuses(consumer: &Service) {
    eventually("the older ledger is refused", || {
        let (status, text) = consumer.readiness()?;
        (status != 200 && (text.clone() + &consumer.log()).contains("ledger adopt")).then_some(())
    });
}

fn adopt(site: &Site) {
    site.trackerctl().ok(&["ledger", "adopt", "--yes"]);
    eventually("the consumer goes on", || {
        site.consumer.readiness().filter(|(status, _)| *status == 200).map(drop)
    });
}

#[test]
fn an_older_ledger_that_is_restored_in_place_is_refused_and_complete_once_adopted() {
    let site = Site::start();
    let client = at_twenty_gb(&site, "in-place");
    let copy = copy(&site);
    client.says(over_http(0), None, 70 * GB);
    site.balances(&client, 0, 70 * GB);
    restore_in_place(&site, &copy);
    client.says(over_http(0), None, 75 * GB);
    refuses(&site.consumer);
    adopt(&site);
    site.balances(&client, 0, 75 * GB);
}

#[test]
fn an_older_ledger_behind_an_idle_second_consumer_is_refused_and_complete_once_adopted() {
    let mut site = Site::start();
    let client = at_twenty_gb(&site, "second-consumer");
    let copy = copy(&site);
    client.says(over_http(0), None, 70 * GB);
    site.balances(&client, 0, 70 * GB);
    let second = site.second_consumer("second");
    second.signal(Signal::STOP);
    site.consumer.kill();
    restore_in_place(&site, &copy);
    second.signal(Signal::CONT);
    client.says(over_http(0), None, 75 * GB);
    refuses(&second);
    site.launch_consumer();
    refuses(&site.consumer);
    adopt(&site);
    site.balances(&client, 0, 75 * GB);
}

#[test]
fn a_rotation_that_came_after_the_copy_is_done_again_when_it_is_adopted() {
    let site = Site::start();
    let old = at_twenty_gb(&site, "OLD");
    old.says(over_http(0), None, 30 * GB);
    site.settle();
    let copy = copy(&site);
    site.trackerctl().ok(&["passkey", "rotate", "OLD", "NEW"]);
    let new = old.with_passkey("NEW");
    new.says(over_http(0), None, 40 * GB);
    site.balances(&new, 0, 40 * GB);
    restore_in_place(&site, &copy);
    new.says(over_http(0), None, 40 * GB);
    refuses(&site.consumer);
    adopt(&site);
    site.balances(&new, 0, 40 * GB);
    assert_eq!(site.books("OLD").down, 0);
}
