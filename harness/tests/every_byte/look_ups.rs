//! Announces that wait: for a site's slow page, or for a tracker that stands still. When they are booked at
//! last, they are as old as they are.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use contract::Event::{None, Started, Stopped};
use harness::eventually;
use parking_lot::{Condvar, Mutex};
use rustix::process::Signal;

use crate::announce::over_http;
use crate::session::{GB, Session};
use crate::site::{Plan, Site};

/// Between two announces of one client: more than the kernel's clock for a connection's data is coarse.
const MOMENT: Duration = Duration::from_millis(15);

/// A site's page that approves everybody; the first so many questions wait until [`Page::answer`].
#[derive(Debug)]
struct Page {
    url: String,
    gate: Arc<Gate>,
}

#[derive(Debug, Default)]
struct Gate {
    state: Mutex<Waiting>,
    opened: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    to_hold: usize,
    held: usize,
}

impl Page {
    fn that_holds(questions: usize) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let url = format!("http://{}/valid", listener.local_addr().unwrap());
        let gate =
            Arc::new(Gate { state: Mutex::new(Waiting { to_hold: questions, held: 0 }), ..Gate::default() });
        let own = gate.clone();
        // Ends with the test's process.
        thread::spawn(move || {
            for question in listener.incoming().flatten() {
                let gate = own.clone();
                thread::spawn(move || gate.reply(question));
            }
        });
        Self { url, gate }
    }

    fn wait_until_asked(&self, questions: usize) {
        eventually("the page is asked", || (self.gate.state.lock().held >= questions).then_some(()));
    }

    fn answer(&self) {
        self.gate.state.lock().to_hold = 0;
        self.gate.opened.notify_all();
    }
}

impl Gate {
    fn reply(&self, mut question: TcpStream) {
        let mut lines = BufReader::new(question.try_clone().unwrap()).lines();
        while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
        let mut state = self.state.lock();
        if state.held < state.to_hold {
            state.held += 1;
            self.opened.wait_while(&mut state, |state| state.to_hold > 0);
        }
        drop(state);
        let body = "{\"valid\": true}";
        // A tracker that no longer waits is none of the page's business.
        drop(write!(
            question,
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        ));
    }
}

fn asking(page: &Page) -> Plan {
    let approval = vec![format!("http_url: {}", page.url), "http_timeout: 25s".to_owned()];
    Plan { approval, ..Plan::default() }
}

/// A user whom only the page knows.
fn stranger(site: &Site, passkey: &str) -> Session {
    Session::new(passkey, site.ports())
}

#[test]
fn a_started_that_waited_for_a_slow_page_is_no_restart() {
    let page = Page::that_holds(1);
    let site = Site::start_with(&asking(&page));
    let client = stranger(&site, "gave-up");
    let given_up = client.sends(over_http(0), Started, 0);
    page.wait_until_asked(1);
    client.says(over_http(1), Started, 0);
    client.says(over_http(1), None, 40 * GB);
    page.answer();
    given_up.answer().unwrap();
    client.says(over_http(1), None, 70 * GB);
    client.says(over_http(0), None, 70 * GB);
    site.balances(&client, 0, 70 * GB);
}

#[test]
fn announces_that_wait_for_one_look_up_are_booked_as_they_came() {
    let page = Page::that_holds(24);
    let site = Site::start_with(&asking(&page));
    let clients: Vec<Session> = (0..24).map(|user| stranger(&site, &format!("waits-{user}"))).collect();
    let asked = clients.iter().flat_map(|client| {
        let first = client.sends(over_http(0), Started, 0);
        thread::sleep(MOMENT);
        [first, client.sends(over_http(0), None, 40 * GB)]
    });
    let asked: Vec<_> = asked.collect();
    page.wait_until_asked(1);
    page.answer();
    asked.into_iter().for_each(|asked| assert!(asked.answer().unwrap().contains("5:peers")));
    clients.iter().for_each(|client| client.says(over_http(0), None, 70 * GB));
    site.settle();
    clients.iter().for_each(|client| site.says(client, 0, 70 * GB));
}

#[test]
fn what_queued_at_a_tracker_that_stood_still_is_booked_in_the_order_it_was_sent() {
    let site = Site::start();
    let clients: Vec<Session> = (0..60).map(|user| site.session(&format!("queued-{user}"))).collect();
    clients.iter().for_each(|client| client.says(over_http(0), None, 40 * GB));
    site.trackers[0].service.signal(Signal::STOP);
    let last = clients.iter().map(|client| {
        drop(client.sends(over_http(0), Stopped, 40 * GB));
        thread::sleep(MOMENT);
        client.sends(over_http(0), Started, 0)
    });
    let last: Vec<_> = last.collect();
    site.trackers[0].service.signal(Signal::CONT);
    last.into_iter().for_each(|asked| drop(asked.answer().unwrap()));
    clients.iter().for_each(|client| client.says(over_http(0), None, 5 * GB));
    site.settle();
    clients.iter().for_each(|client| site.says(client, 0, 5 * GB));
}
