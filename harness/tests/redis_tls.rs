//! A Redis that speaks TLS, with a certificate of the site's own: all three programs reach it by `rediss://`.

#![allow(clippy::unwrap_used)]

use std::net::Ipv4Addr;

use harness::{Certificate, RedisServer, Service, TRUSTED, Trackerctl, eventually, free_port};
use tempfile::TempDir;

const INFO_HASH: &str = "0123456789abcdef0123456789abcdef01234567";

/// A Redis on a port with TLS, beside its plain one.
fn secured(certificate: &Certificate, port: u16) -> RedisServer {
    let (file, key) = (certificate.file(), certificate.key_file());
    let (port, file, key) = (port.to_string(), file.to_str().unwrap(), key.to_str().unwrap());
    RedisServer::start_with(&[
        "--tls-port",
        &port,
        "--tls-cert-file",
        file,
        "--tls-key-file",
        key,
        "--tls-ca-cert-file",
        file,
        "--tls-auth-clients",
        "no",
    ])
}

#[test]
fn an_announce_is_booked_and_settled_through_a_redis_with_tls() {
    let folder = TempDir::new().unwrap();
    let certificate = Certificate::for_addresses(&[Ipv4Addr::LOCALHOST.into()]);
    let (tls, http) = (free_port(), free_port());
    let _redis = secured(&certificate, tls);
    let url = format!("rediss://127.0.0.1:{tls}/0");
    let database = format!("sqlite://{}", folder.path().join("ledger.db").display());
    let stranger = Trackerctl::new(&url, &database);
    let refused = stranger.run(&["passkey", "add", "alice"]);
    assert_eq!(refused.code, 3, "a certificate that nobody vouches for: {}", refused.stderr);

    let file = certificate.file();
    let trusted = [(TRUSTED, file.as_path())];
    let trackerctl = stranger.trusting(&file);
    trackerctl.ok(&["passkey", "add", "alice"]);
    let tracker = format!(
        "http: {{addr: '127.0.0.1:{http}', workers: 1}}\nredis_broker: {url}\n\
         hooks:\n  prehooks:\n  - name: passkey approval\n  posthooks:\n  - name: traffic push\n"
    );
    let mut tracker = Service::launch_with("tracker", folder.path(), &tracker, &trusted);
    tracker.wait_until_ready();
    let consumer = format!("redis_broker: {url}\ndatabase: {database}\n");
    let mut consumer = Service::launch_with("consumer", folder.path(), &consumer, &trusted);
    consumer.wait_until_ready();

    let announced = format!("http://127.0.0.1:{http}/alice/announce");
    for (event, uploaded) in [("started", "0"), ("stopped", "700")] {
        let numbers = ["--event", event, "--uploaded", uploaded, "--left", "0"];
        let client = ["announce", &announced, "--info-hash", INFO_HASH, "--peer-id", "-SB0001-000000000000"];
        trackerctl.ok(&[&client[..], &numbers].concat());
    }
    eventually("both announces are settled", || {
        let stats = trackerctl.run(&["user", "stats", "alice", "--json"]);
        let stats: serde_json::Value = serde_json::from_str(&stats.stdout).ok()?;
        (stats["raw_up"].as_u64() == Some(700)).then_some(())
    });
    assert!(tracker.terminate().success() && consumer.terminate().success());
}
