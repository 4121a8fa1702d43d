//! The test network itself: addresses, both families, and nothing left behind.

#![allow(clippy::unwrap_used)] // Helpers of tests.

use std::net::{IpAddr, TcpListener};
use std::process::Command;

use harness::{Host, Network};

/// Connects from `host` and returns the address that the listener sees.
fn connect_from(host: &Host, listener: &TcpListener) -> IpAddr {
    let to = listener.local_addr().unwrap();
    let script = format!("exec 3<>/dev/tcp/{}/{}", to.ip(), to.port());
    let mut client = host.command("bash").args(["-c", &script]).spawn().unwrap();
    let (_, peer) = listener.accept().unwrap();
    assert!(client.wait().unwrap().success());
    peer.ip()
}

#[test]
fn a_host_reaches_this_machine_from_its_own_address_in_both_families() {
    let mut network = Network::start();
    let host = network.host("alice");
    let listener = TcpListener::bind((network.ipv4(), 0)).unwrap();
    assert_eq!(connect_from(&host, &listener), IpAddr::V4(host.ipv4));
    let listener = TcpListener::bind((network.ipv6(), 0)).unwrap();
    assert_eq!(connect_from(&host, &listener), IpAddr::V6(host.ipv6));
}

#[test]
fn hosts_reach_each_other() {
    let mut network = Network::start();
    let (alice, bob) = (network.host("alice"), network.host("bob"));
    let ping = |from: &Host, to: IpAddr| {
        // Any answer, a refusal too, shows that packets pass; a lost one would run into the time limit (exit
        // code 124).
        let script = format!("exec 3<>/dev/tcp/{to}/9");
        from.command("timeout").args(["5", "bash", "-c", &script]).output().unwrap()
    };
    for (from, to) in [(&alice, IpAddr::V4(bob.ipv4)), (&bob, IpAddr::V6(alice.ipv6))] {
        let refusal = String::from_utf8_lossy(&ping(from, to).stderr).into_owned();
        assert!(refusal.contains("Connection refused"), "{refusal}");
    }
}

#[test]
fn nothing_is_left_when_a_network_is_dropped() {
    let mut network = Network::start();
    let mut sleeper = network.host("alice").command("sleep").arg("600").spawn().unwrap();
    let (cable, namespaces) = (format!("{}@", network.link()), format!("{}-", network.link()));
    let ip_lists = |objects: &str, name: &str| {
        let output = Command::new("ip").args([objects, "list"]).output().unwrap();
        String::from_utf8_lossy(&output.stdout).contains(name)
    };
    assert!(ip_lists("link", &cable) && ip_lists("netns", &namespaces));
    drop(network);
    assert!(!sleeper.wait().unwrap().success(), "a process on the network was killed");
    assert!(!ip_lists("link", &cable) && !ip_lists("netns", &namespaces));
}
