//! `trackerctl announce` and `trackerctl scrape` against a responder that answers what it is told to.

#![allow(clippy::unwrap_used)] // A panic with its message is a test's report.

mod support;

use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread::JoinHandle;

use harness::free_port;
use support::run;

const NO_REDIS: &str = "redis://127.0.0.1:1/0";

/// Answers one request and hands back its first line.
fn responder(body: &'static [u8]) -> (String, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let asked = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            request.push(byte[0]);
        }
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
        stream.write_all(&[head.as_bytes(), body].concat()).unwrap();
        String::from_utf8(request).unwrap().lines().next().unwrap().to_owned()
    });
    (url, asked)
}

#[test]
fn an_announce_asks_as_a_client_does_and_shows_the_reply() {
    let (url, asked) = responder(b"d8:completei2e10:incompletei1e8:intervali1800e12:min intervali900e5:peers6:\xc0\x00\x02\x07\x1a\xe1e");
    let url = format!("{url}/announce");
    let hash = "ff61".repeat(10);
    let args = [
        "--json",
        "announce",
        &url,
        "--info-hash",
        &hash,
        "--passkey",
        "alice",
        "--event",
        "started",
        "--left",
        "5",
        "--numwant",
        "-1",
    ];
    let reply = run(NO_REDIS, &args).expect(0).json();
    assert_eq!((reply["interval"].as_u64(), reply["complete"].as_u64()), (Some(1800), Some(2)));
    assert_eq!(
        (reply["peers"][0]["ip"].as_str(), reply["peers"][0]["port"].as_u64()),
        (Some("192.0.2.7"), Some(6881))
    );
    let asked = asked.join().unwrap();
    for part in [
        "GET /announce?info_hash=%FFa%FFa",
        "&peer_id=-SB0001-",
        "&port=6881&",
        "&left=5&",
        "&event=started",
        "&numwant=-1",
        "&passkey=alice ",
    ] {
        assert!(asked.contains(part), "{part} in {asked}");
    }
}

#[test]
fn a_failure_reason_is_a_no() {
    let (url, _) = responder(b"d14:failure reason18:unapproved passkey8:retry in5:nevere");
    let refused =
        run(NO_REDIS, &["announce", &format!("{url}/alice/announce"), "--info-hash", &"00".repeat(20)])
            .expect(1);
    assert!(
        refused.stdout.contains("unapproved passkey") && refused.stdout.contains("never"),
        "{}",
        refused.stdout
    );
}

#[test]
fn a_scrape_follows_from_the_announce_url() {
    let (url, asked) = responder(b"d5:filesd20:\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaad8:completei3e10:incompletei4eeee");
    let (url, hash) = (format!("{url}/announce/alice"), "aa".repeat(20));
    let reply =
        run(NO_REDIS, &["--json", "scrape", &url, "--info-hash", &hash, "--info-hash", &"bb".repeat(20)])
            .expect(0)
            .json();
    assert_eq!(
        (reply["files"][0]["infohash"].as_str(), reply["files"][0]["complete"].as_u64()),
        (Some(hash.as_str()), Some(3))
    );
    assert!(asked.join().unwrap().starts_with("GET /scrape/alice?info_hash=%AA"));
}

#[test]
fn a_tracker_that_is_not_there_or_is_none_is_exit_code_3_without_the_passkey() {
    let (web, _) = responder(b"<html>hello</html>");
    let gone = format!("http://127.0.0.1:{}", free_port());
    for url in [web, gone] {
        let url = format!("{url}/hunter2/announce");
        let failed = run(NO_REDIS, &["announce", &url, "--info-hash", &"00".repeat(20)]).expect(3);
        assert!(failed.stderr.contains("the tracker at http://127.0.0.1"), "{}", failed.stderr);
        assert!(failed.stdout.is_empty() && !failed.stderr.contains("hunter2"), "{}", failed.stderr);
    }
    run(NO_REDIS, &["announce", "udp://127.0.0.1:1/announce", "--info-hash", &"00".repeat(20)]).expect(2);
    run(NO_REDIS, &["announce", "http://127.0.0.1:1/announce"]).expect(2);
}
