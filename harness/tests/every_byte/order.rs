//! Reports that arrive in another order than they were sent, because paths differ.

use contract::Event::{Completed, None, Started, Stopped};
use harness::eventually;

use crate::announce::{over_http, over_ipv6, over_udp};
use crate::session::GB;
use crate::site::Site;

#[test]
fn a_slow_path_that_says_started_late_adds_nothing() {
    let site = Site::start();
    let client = site.session("slow-path");
    client.says(over_http(0), Started, 0);
    client.says(over_http(0), None, 30 * GB);
    // Sent with the first, three seconds under way; and what it said meanwhile.
    client.says(over_ipv6(0), Started, 0);
    client.says(over_http(0), None, 60 * GB);
    client.says(over_ipv6(0), None, 30 * GB);
    client.says(over_udp(0), Started, 10 * GB);
    client.says(over_http(0), None, 90 * GB);
    client.says(over_ipv6(0), None, 60 * GB);
    client.says(over_http(0), None, 100 * GB);
    site.balances(&client, 0, 100 * GB);
}

#[test]
fn a_pause_whose_stopped_is_late_on_the_slow_path_adds_nothing() {
    let site = Site::start();
    for (passkey, slow) in [("second-tracker", over_http(1)), ("second-family", over_ipv6(0))] {
        let client = site.session(passkey);
        client.says(over_http(0), Started, 0);
        client.says(slow, Started, 0);
        client.says(over_http(0), None, 8 * GB);
        client.says(over_http(0), Stopped, 9 * GB);
        client.says(over_http(0), Started, 0);
        client.says(slow, Stopped, 9 * GB);
        client.says(over_http(0), None, 10 * GB);
        client.says(slow, Started, 0);
        client.says(over_http(0), None, 16 * GB);
        client.says(slow, None, 15 * GB);
        site.balances(&client, 0, 25 * GB);
    }
}

#[test]
fn a_late_started_after_completed_neither_charges_twice_nor_leeches_again() {
    let site = Site::start();
    let client = site.session("in-a-moment");
    client.says(over_http(0), Started, 0);
    client.has_all(over_http(0), Completed, 16 * GB);
    eventually("it seeds", || (site.presence(&client) == (true, false)).then_some(()));
    client.says(over_http(1), Started, 0);
    client.says(over_udp(1), Started, 0);
    client.has_all(over_http(0), None, 16 * GB);
    client.has_all(over_http(1), Completed, 16 * GB);
    site.balances(&client, 0, 16 * GB);
    assert_eq!(site.presence(&client), (true, false), "a slow path makes nobody leech again");
    assert_eq!(site.books(&client.speaker.passkey).completed, 1);
}

#[test]
fn a_slow_path_that_is_the_last_to_speak_makes_nobody_leech_again() {
    let site = Site::start();
    let client = site.session("spoken-last");
    client.says(over_http(0), Started, 0);
    client.has_all(over_http(0), Completed, 16 * GB);
    client.says(over_http(1), Started, 0);
    site.balances(&client, 0, 16 * GB);
    assert_eq!(site.presence(&client), (true, false));
}

#[test]
fn many_small_torrents_on_six_paths_are_charged_once_each() {
    let site = Site::start();
    let paths = [over_http(0), over_ipv6(0), over_udp(0), over_http(1), over_ipv6(1), over_udp(1)];
    let clients: Vec<_> = (0..24).map(|_| site.session("many-torrents")).collect();
    for (number, client) in clients.iter().enumerate() {
        let (first, slow) = (paths[number % 6], paths[(number + 3) % 6]);
        client.says(first, Started, 0);
        for path in paths.into_iter().filter(|path| ![first, slow].contains(path)) {
            client.says(path, Started, if number % 2 == 0 { 0 } else { 2 * GB });
        }
        client.has_all(first, Completed, 4 * GB);
        client.says(slow, Started, 0);
        for path in paths.into_iter().filter(|path| *path != first) {
            client.has_all(path, Completed, 4 * GB);
        }
        paths.into_iter().for_each(|path| client.has_all(path, Stopped, 4 * GB));
    }
    site.balances(&clients[0], 0, 24 * 4 * GB);
    assert_eq!(site.books("many-torrents").completed, 24);
}
