//! `trackerctl load` against a real tracker: what it reports is what the tracker counted.

#![allow(clippy::unwrap_used)] // A panic with its message is a test's report.

mod support;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::Stdio;
use std::sync::mpsc;

use harness::{RedisServer, eventually, free_port};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use support::{command, run, run_with_input};
use tracker::app::App;
use tracker::config::Plan;

const NO_REDIS: &str = "redis://127.0.0.1:1/0";

async fn start(redis: &str, hooks: &str) -> App {
    let text = format!(
        "http: {{addr: '127.0.0.1:0', workers: 1, allow_ip_spoofing: true}}\n\
         udp: {{addr: '[::]:0', workers: 1, allow_ip_spoofing: true}}\n\
         metrics_addr: 127.0.0.1:0\nredis_broker: {redis}\n{hooks}"
    );
    App::start(Plan::load(Some(&text), []).unwrap()).await.unwrap()
}

fn http(app: &App, path: &str) -> String {
    format!("http://{}{path}", app.http_address)
}

fn udp(app: &App, path: &str) -> String {
    format!("udp://127.0.0.1:{}{path}", app.udp_address.unwrap().port())
}

/// The sum of a metric's values over all lines that begin with `name` and hold all of `labels`.
fn metric(address: SocketAddr, name: &str, labels: &[&str]) -> u64 {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n").unwrap();
    let mut page = String::new();
    stream.read_to_string(&mut page).unwrap();
    let lines = page.lines().filter(|line| line.starts_with(name));
    let lines = lines.filter(|line| labels.iter().all(|label| line.contains(label)));
    lines.map(|line| line.rsplit_once(' ').unwrap().1.parse::<u64>().unwrap()).sum()
}

fn requests(app: &App, labels: &[&str]) -> u64 {
    metric(app.admin_address, "seedbook_tracker_request_seconds_count", labels)
}

fn load(url: &str, args: &[&str]) -> support::Run {
    run(NO_REDIS, &[&["--json", "load", url, "--torrents", "20", "--peers", "400"], args].concat())
}

fn number(report: &Value, key: &str) -> u64 {
    report[key].as_u64().unwrap_or_else(|| panic!("no {key} in {report}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_reported_is_what_the_tracker_counted_over_every_transport() {
    let app = start(NO_REDIS, "").await;
    let kinds = ["--requests", "3001", "--scrape", "0.1", "--events", "realistic", "--workers", "2"];
    let runs = [
        ("http", http(&app, "/announce"), &[][..]),
        ("http", http(&app, "/announce"), &["--close"][..]),
        ("udp", udp(&app, ""), &["--window", "50"][..]),
    ];
    for (frontend, url, more) in runs {
        let label = format!("frontend=\"{frontend}\"");
        let (before, scrapes_before) = (requests(&app, &[&label]), requests(&app, &[&label, "scrape"]));
        let report = load(&url, &[&kinds, more].concat()).expect(0).json();
        assert_eq!((number(&report, "requests"), number(&report, "answered")), (3001, 3001), "{report}");
        assert_eq!(requests(&app, &[&label]) - before, 3001);
        let scrapes = requests(&app, &[&label, "scrape"]) - scrapes_before;
        assert!((200..400).contains(&scrapes), "{scrapes}");
        assert_eq!(requests(&app, &[&label, "refused"]), 0);
        assert!(report["peers_per_reply"].as_f64().unwrap() > 1.0, "{report}");
        let latency = &report["latency_us"];
        assert!(latency["p50"].as_f64() <= latency["p99"].as_f64() && latency["p50"].as_f64() > Some(1.0));
    }
    app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn filling_announces_every_session_once_with_an_address_of_its_own() {
    for transport in ["http", "udp"] {
        let app = start(NO_REDIS, "").await;
        let http = http(&app, "/announce");
        let udp = [udp(&app, ""), format!("udp://[::1]:{}", app.udp_address.unwrap().port())];
        let target =
            if transport == "http" { vec![&*http, "--ipv6", "0.5"] } else { vec![&*udp[0], &*udp[1]] };
        let more = ["--spoof", "--fill", "--requests", "10", "--workers", "4"];
        let report = load(target[0], &[&target[1..], &more].concat()).expect(0).json();
        assert_eq!((number(&report["filled"], "granted"), requests(&app, &[])), (400, 410));
        let endpoints =
            |family| metric(app.admin_address, &format!("seedbook_tracker_endpoints_v{family} "), &[]);
        eventually("all sessions are counted", || (endpoints(4) + endpoints(6) == 400).then_some(()));
        assert!((150..250).contains(&endpoints(6)), "{}", endpoints(6));
        app.stop().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn made_up_users_are_admitted_once_their_passkeys_are_imported() {
    let redis = RedisServer::start();
    let app = start(&redis.url(), "hooks: {prehooks: [{name: passkey approval}]}").await;
    let urls = [
        http(&app, "/:passkey/announce"),
        http(&app, "/announce"),
        udp(&app, ""),
        udp(&app, "/announce/:passkey"),
    ];
    let users = ["--users", "20", "--passkey-prefix", "ben", "--requests", "200"];
    for url in &urls {
        let refused = load(url, &users).expect(1);
        assert_eq!(refused.json()["failures"]["unapproved passkey"], 200, "{}", refused.stdout);
        assert!(
            !refused.stdout.contains("passkey=") && !refused.stderr.contains("ben"),
            "{}",
            refused.stderr
        );
    }
    let printed =
        run(NO_REDIS, &["load", "--users", "20", "--passkey-prefix", "ben", "--print-passkeys"]).expect(0);
    run_with_input(&redis.url(), &["passkey", "import", "-"], &printed.stdout).expect(0);
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), &printed.stdout).unwrap();
    for url in &urls {
        eventually("the tracker knows of the change", || {
            (load(url, &users).json()["refused"] == 0).then_some(())
        });
        let report =
            load(url, &["--requests", "200", "--passkeys", file.path().to_str().unwrap()]).expect(0).json();
        assert_eq!((number(&report, "answered"), number(&report, "refused")), (200, 0), "{report}");
    }
    app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_of_torrents_can_be_made_of_those_that_are_announced() {
    let redis = RedisServer::start();
    let app = start(
        &redis.url(),
        "hooks: {prehooks: [{name: torrent approval, options: {redis_set: 'pt:torrents'}}]}",
    )
    .await;
    let (url, requests) = (udp(&app, ""), ["--requests", "100"]);
    assert_eq!(load(&url, &requests).expect(1).json()["failures"]["unregistered torrent"], 100);
    let printed = run(NO_REDIS, &["load", "--torrents", "20", "--print-torrents"]).expect(0);
    run_with_input(&redis.url(), &["torrent", "import", "-"], &printed.stdout).expect(0);
    eventually("the torrents are admitted", || (load(&url, &requests).json()["refused"] == 0).then_some(()));
    app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schedule_is_kept_and_ctrl_c_ends_it_with_what_was_measured() {
    let app = start(NO_REDIS, "").await;
    for url in [http(&app, "/announce"), udp(&app, "")] {
        let report = load(&url, &["--rate", "400", "--duration", "500ms"]).expect(0).json();
        let (sent, unsent) = (number(&report, "requests"), number(&report, "unsent"));
        assert!(sent + unsent == 200 && sent > 100, "{report}");
    }
    let url = http(&app, "/announce");
    let args = ["--json", "load", &url, "--duration", "1m"];
    let mut command = command(NO_REDIS, "/nonexistent".as_ref(), &args);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let before = requests(&app, &[]);
    eventually("the load is on", || (requests(&app, &[]) > before + 100).then_some(()));
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let ended = support::Run::from(child.wait_with_output().unwrap()).expect(0);
    let report = ended.json();
    assert!(number(&report, "answered") > 100 && report["seconds"].as_f64() < Some(30.0), "{report}");
    app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spinning_generator_keeps_its_schedule_and_its_core_busy() {
    let app = start(NO_REDIS, "").await;
    let url = http(&app, "/announce");
    let own_cpu = |more: &[&str]| {
        let schedule = ["--rate", "200", "--duration", "1s"];
        let report = load(&url, &[&schedule, more].concat()).expect(0).json();
        assert!((150..=200).contains(&number(&report, "answered")), "{report}");
        report["generator_cpu_us_per_request"].as_f64().unwrap()
    };
    let (asleep, spinning) = (own_cpu(&[]), own_cpu(&["--spin"]));
    assert!(spinning > 4.0 * asleep, "{spinning} and {asleep}");
    app.stop().await.unwrap();
}

#[test]
fn only_this_machine_is_aimed_at_unless_told_otherwise() {
    for url in ["http://192.0.2.1:6969/hunter2/announce", "udp://192.0.2.1:6969/hunter2/announce"] {
        let refused = run(NO_REDIS, &["load", url, "--requests", "1"]).expect(2);
        assert!(
            refused.stderr.contains("--allow-remote") && !refused.stderr.contains("hunter2"),
            "{}",
            refused.stderr
        );
    }
}

#[test]
fn a_tracker_that_is_not_there_is_exit_code_3_and_impossible_options_are_2() {
    let port = free_port();
    for scheme in ["http", "udp"] {
        let url = format!("{scheme}://127.0.0.1:{port}/hunter2/announce");
        let failed = run(NO_REDIS, &["load", &url]).expect(3);
        assert!(failed.stderr.contains("is the tracker running") && !failed.stderr.contains("hunter2"));
    }
    let url = format!("http://127.0.0.1:{port}/announce");
    for odd in [
        &["--peers", "4000000000"][..],
        &["--seeders", "1.5"],
        &["--pid", "4000000000"],
        &["--passkeys", "/nonexistent"],
        &["--ipv6", "0.5"],
        &["--rate", "0"],
    ] {
        run(NO_REDIS, &[&["load", &url], odd].concat()).expect(2);
    }
}

/// Answers each connection's first request and closes it, without a word that it would.
fn curt_tracker() -> (String, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/announce", listener.local_addr().unwrap());
    let (asked, heard) = mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = Vec::new();
            let mut byte = [0];
            while !request.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap_or(0) > 0 {
                request.push(byte[0]);
            }
            if !request.is_empty() {
                let reply = b"HTTP/1.1 200 OK\r\nContent-Length: 23\r\n\r\nd8:intervali1e5:peers0:e";
                drop(stream.write_all(reply));
                drop(asked.send(String::from_utf8(request).unwrap()));
            }
        }
    });
    (url, heard)
}

#[test]
fn a_server_that_closes_unasked_costs_no_request() {
    let (url, heard) = curt_tracker();
    let args = ["--requests", "50", "--connections", "1", "--spoof", "--real-ip-header", "X-Real-IP"];
    let report = load(&url, &args).expect(0).json();
    assert_eq!((number(&report, "answered"), number(&report, "lost")), (50, 0), "{report}");
    let report = load(&url, &["--requests", "50", "--connections", "1", "--close"]).expect(0).json();
    assert_eq!((number(&report, "answered"), number(&report, "reopened")), (50, 0), "{report}");
    let request = heard.iter().next().unwrap();
    for part in
        ["GET /announce?info_hash=", "&peer_id=-SB0001-", "&numwant=50&ip=11.0.", "\r\nX-Real-IP: 11.0."]
    {
        assert!(request.contains(part), "{part} in {request}");
    }
}

/// Gives connection ids and refuses every announce; hands the announces on.
fn refusing_tracker() -> (String, mpsc::Receiver<Vec<u8>>) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let url = format!("udp://{}", socket.local_addr().unwrap());
    let (asked, heard) = mpsc::channel();
    std::thread::spawn(move || {
        let mut packet = [0; 2048];
        while let Ok((length, from)) = socket.recv_from(&mut packet) {
            let (action, transaction) = (packet[11], &packet[12..16]);
            let answer = match action {
                0 => [&[0, 0, 0, 0], transaction, b"12345678"].concat(),
                _ => [&[0, 0, 0, 3], transaction, b"go away\0"].concat(),
            };
            socket.send_to(&answer, from).unwrap();
            if action != 0 {
                drop(asked.send(packet[..length].to_vec()));
            }
        }
    });
    (url, heard)
}

#[test]
fn a_udp_announce_is_a_bare_one_with_the_id_that_was_given_and_the_address_that_is_told() {
    for (more, first_octet) in [(&[][..], 0), (&["--spoof"][..], 11)] {
        let (url, heard) = refusing_tracker();
        let report = load(&url, &[&["--requests", "30"], more].concat()).expect(1).json();
        assert_eq!(
            (number(&report, "refused"), &report["failures"]["go away"]),
            (30, &30.into()),
            "{report}"
        );
        let packets: Vec<Vec<u8>> = heard.try_iter().collect();
        assert!(
            packets.len() == 30
                && packets.iter().all(|packet| packet.len() == 98 && &packet[..8] == b"12345678")
        );
        let told = |packet: &Vec<u8>| Ipv4Addr::new(packet[84], packet[85], packet[86], packet[87]);
        assert!(packets.iter().all(|packet| told(packet).octets()[0] == first_octet));
        let sessions = |packet: &Vec<u8>| (packet[36..56].to_vec(), told(packet));
        let pairs: std::collections::HashSet<_> = packets.iter().map(sessions).collect();
        let ids: std::collections::HashSet<_> = pairs.iter().map(|(id, _)| id).collect();
        assert!(ids.len() == pairs.len() && ids.len() > 10, "{} of {}", ids.len(), pairs.len());
    }
}
