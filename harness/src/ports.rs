//! Ports for programs that are told theirs, such as redis-server.
//!
//! A port that was free a moment ago is not free: another test may choose it too, or the kernel gives it to
//! an outgoing connection. While its server is down, a client that tries to reach it there can even be given
//! that very port and connect to itself, and the server cannot come back. So ports are chosen below those
//! that the kernel gives away, and each is claimed for as long as the test's process lives.

use std::net::{TcpListener, UdpSocket};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};

use parking_lot::Mutex;

/// Linux gives out 32768 and more (`net.ipv4.ip_local_port_range`).
const CHOICE: std::ops::Range<u16> = 10_000..30_000;
const ATTEMPTS: usize = 1000;

/// Dropped with the process, however it ends: a claim leaves nothing behind.
static CLAIMS: Mutex<Vec<UnixListener>> = Mutex::new(Vec::new());

/// A port on loopback, for TCP and UDP, that no other test uses until this process ends.
#[must_use]
pub fn free_port() -> u16 {
    let mut ports = std::iter::repeat_with(|| rand::random_range(CHOICE)).take(ATTEMPTS);
    ports.find(|port| take(*port)).expect("loopback has a free port")
}

fn take(port: u16) -> bool {
    let Some(claim) = claim(port) else { return false };
    if TcpListener::bind(("127.0.0.1", port)).is_err() || UdpSocket::bind(("127.0.0.1", port)).is_err() {
        return false;
    }
    CLAIMS.lock().push(claim);
    true
}

/// A name that one process of a network namespace can hold, as with the port itself, and that is no file.
/// Holding the port would not do: not every program shares one that is bound already.
fn claim(port: u16) -> Option<UnixListener> {
    let name = format!("seedbook-test-port-{port}");
    let address = SocketAddr::from_abstract_name(name).expect("a short name is an address");
    UnixListener::bind_addr(&address).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_given_to_one_test_only() {
        let port = free_port();
        TcpListener::bind(("127.0.0.1", port)).unwrap();
        assert!(!take(port), "claimed, although nothing is bound there");
    }

    #[test]
    fn a_port_that_a_program_has_is_not_given_away() {
        let bound = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        assert!(!take(bound.local_addr().unwrap().port()));
    }
}
