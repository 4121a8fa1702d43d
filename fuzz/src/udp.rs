//! Packets, both ways.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::LazyLock;

use tracker::frontend::route::Routes;
use tracker::frontend::udp::reading::{self, Policy};
use wire::udp::url_data;
use wire::udp::{self, Request, Response};

use crate::http::{LIMITS, arrival};

static POLICY: LazyLock<Policy> = LazyLock::new(|| {
    let paths = |paths: &[&str]| paths.iter().map(ToString::to_string).collect::<Vec<_>>();
    let routes = Routes::new(&paths(&["/announce", "/announce/:passkey"]), &paths(&["/scrape"]));
    Policy { routes: routes.expect("the routes are patterns"), limits: LIMITS }
});

/// What was read is written again as it was, except for bytes that follow a `connect`; and an announce with
/// its URL data is read within its limits.
pub(crate) fn request(input: &[u8]) {
    let Ok(request) = udp::parse(input) else { return };
    let mut written = Vec::new();
    request.write(&mut written);
    assert!(input.starts_with(&written), "the packet begins as it was written");
    assert_eq!(udp::parse(&written), Ok(request));
    let Request::Announce(announce) = request else { return };
    let Ok(url) = url_data::collect(announce.options) else { return };
    if let Some(url) = &url {
        let mut options = Vec::new();
        url_data::write(url, &mut options);
        assert_eq!(url_data::collect(&options).ok().flatten().unwrap_or_default(), *url);
    }
    let source = IpAddr::V6(Ipv6Addr::LOCALHOST);
    if let Ok(read) = reading::announce(&announce, url.as_deref(), arrival(source), &POLICY) {
        assert!(read.num_want <= LIMITS.max_numwant);
        assert!(i64::try_from(read.left).is_ok());
    }
}

/// What another tracker answers.
pub(crate) fn response(input: &[u8]) {
    if let Ok(Response::Error { text, .. }) = Response::parse(input) {
        assert!(!text.contains(&0), "the text ends before the NUL");
    }
}
