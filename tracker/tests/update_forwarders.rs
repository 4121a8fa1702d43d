//! The script that builds a forwarders file, as an operator runs it; what it writes is read by the tracker
//! itself.

#![allow(clippy::unwrap_used)]

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output};

use tracker::config::Plan;

fn run(folder: &Path, arguments: &[&str]) -> Output {
    let script = harness::repository().join("scripts/update-forwarders");
    Command::new(script).args(arguments).current_dir(folder).output().unwrap()
}

/// The trackers in a file: names and where they are.
fn trackers(file: &Path) -> Vec<(String, String)> {
    let text = format!("forwarders: {}\n", file.display());
    let plan = Plan::load(Some(&text), []).unwrap();
    let forwarders = plan.rules.forwarding.map(|plan| plan.forwarders).unwrap_or_default();
    forwarders.into_iter().map(|forwarder| (forwarder.name, forwarder.target.to_string())).collect()
}

#[test]
fn a_list_becomes_a_file_that_the_tracker_reads() {
    let folder = tempfile::tempdir().unwrap();
    let list = "# a comment\n\n  http://a.example/announce \r\nhttp://a.example/announce\nudp://b.example:6969/announce\n\
        udp://no.port/announce\nhttp://a.example/other\nwss://c.example/\nhttp://d.example:99999/\n\
        http://e.example/'\nhttp://f.example/$(touch${IFS}owned)\nhttps://[2001:db8::1]:443/a?b=c";
    std::fs::write(folder.path().join("list.txt"), list).unwrap();
    let output = run(folder.path(), &["list.txt"]);
    assert!(output.status.success(), "{output:?}");
    let own =
        |pairs: &[(&str, &str)]| pairs.iter().map(|(a, b)| ((*a).into(), (*b).into())).collect::<Vec<_>>();
    assert_eq!(
        trackers(&folder.path().join("forwarders.yml")),
        own(&[
            ("http://a.example", "http://a.example:80"),
            ("udp://b.example:6969", "udp://b.example:6969"),
            ("http://a.example #2", "http://a.example:80"),
            ("https://[2001:db8::1]:443", "https://[2001:db8::1]:443"),
        ])
    );
    let said = String::from_utf8(output.stderr).unwrap();
    for left_out in ["no.port", "wss:", "99999", "e.example", "f.example"] {
        assert!(said.contains(left_out), "{left_out} in {said}");
    }
    assert!(!folder.path().join("owned").exists());
}

#[test]
fn a_list_is_fetched_by_url_and_the_number_of_trackers_has_a_limit() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/trackers.txt", listener.local_addr().unwrap());
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        assert!(stream.read(&mut [0; 4096]).unwrap() > 0);
        let body: String = (1..=300).map(|port| format!("udp://a.example:{port}\n")).collect();
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
        stream.write_all((head + &body).as_bytes()).unwrap();
    });
    let folder = tempfile::tempdir().unwrap();
    let output = run(folder.path(), &[&url, "--output", "out.yml"]);
    assert!(output.status.success(), "{output:?}");
    server.join().unwrap();
    assert_eq!(trackers(&folder.path().join("out.yml")).len(), tracker::forward::MAX_FORWARDERS);
}

#[test]
fn without_a_usable_list_the_old_file_stays() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("forwarders.yml");
    std::fs::write(&file, "- uri: http://old.example/announce\n").unwrap();
    std::fs::write(folder.path().join("empty.txt"), "# nobody\n<html>\n").unwrap();
    for list in ["empty.txt", "missing.txt", "http://127.0.0.1:1/list"] {
        assert_eq!(run(folder.path(), &[list]).status.code(), Some(1), "{list}");
        assert_eq!(trackers(&file)[0].0, "http://old.example:80");
    }
    assert_eq!(run(folder.path(), &[]).status.code(), Some(2));
    assert_eq!(run(folder.path(), &["--outptu", "x"]).status.code(), Some(2));
    assert!(String::from_utf8(run(folder.path(), &["--help"]).stdout).unwrap().contains("--output"));
    let left = std::fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(left, 2, "no temporary file stays behind");
}
