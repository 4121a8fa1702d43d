//! The workers: each takes a job from its forwarder's queue, announces it to the forwarder, and puts the
//! peers or the refusal that comes back into the store.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::lookup_host;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::answer::{Answer, Failure};
use super::config::{Forwarder, Scheme, Target};
use super::http::HttpClient;
use super::metrics::Ending;
use super::queue::{ForwarderQueue, Job};
use super::store::{Store, seconds};
use super::udp::UdpClient;
use super::{Pace, reach};

/// Addresses of one name that are tried.
const MAX_ADDRESSES: usize = 4;

/// One of the [`queue::MAX_IN_FLIGHT`](super::queue::MAX_IN_FLIGHT) workers of a forwarder.
#[derive(Debug)]
pub(super) struct Worker {
    /// The forwarder's number, by which the store knows it.
    pub(super) forwarder: usize,
    pub(super) queue: Arc<ForwarderQueue>,
    /// Shared by all workers of all forwarders.
    pub(super) store: Arc<Store>,
    /// The zero of the store's clock.
    pub(super) started: Instant,
}

/// The protocol that a forwarder speaks.
#[derive(Debug)]
pub(super) enum Client {
    Http(HttpClient),
    Udp(UdpClient),
}

impl Client {
    pub(super) fn new(forwarder: &Forwarder, tls: &TlsConnector, pace: &Pace) -> Self {
        match forwarder.target.scheme {
            Scheme::Http => Self::Http(HttpClient::new(forwarder, None)),
            Scheme::Https => Self::Http(HttpClient::new(forwarder, Some(tls.clone()))),
            Scheme::Udp => Self::Udp(UdpClient::new(forwarder, pace.datagram_wait)),
        }
    }

    async fn announce(&mut self, job: &Job) -> Result<Answer, Failure> {
        match self {
            Self::Http(client) => client.announce(job).await,
            Self::Udp(client) => client.announce(job).await,
        }
    }
}

/// Sends one job after the other until it is dropped; each exchange takes `patience` at most.
pub(super) async fn work(worker: Worker, mut client: Client, patience: Duration) {
    let Worker { forwarder, queue, store, started } = worker;
    loop {
        let taken = queue.next().await;
        let left = Instant::now();
        let outcome = timeout(patience, client.announce(&taken.job)).await;
        let outcome = outcome.unwrap_or(Err(Failure::Silent));
        let now = Instant::now();
        queue.metrics.observe(ending(&outcome), now - left);
        match outcome {
            Ok(Answer::Peers(learned)) => {
                store.learn(forwarder, &taken.job, &learned, seconds(started, now));
                queue.answered(&taken);
            }
            Ok(Answer::Refused(wait)) => {
                store.rest(forwarder, &taken.job.info_hash, wait, seconds(started, now));
                queue.answered(&taken);
            }
            Err(failure) => queue.failed(taken, &failure, now),
        }
    }
}

/// Lets the store forget peers and clients that expired, and keeps the gauges fresh, until it is dropped.
pub(super) async fn sweep(
    store: Arc<Store>,
    queues: Vec<Arc<ForwarderQueue>>,
    started: Instant,
    interval: Duration,
) {
    loop {
        tokio::time::sleep(interval).await;
        let known = store.sweep(seconds(started, Instant::now()));
        for (queue, peers) in queues.iter().zip(known) {
            queue.metrics.peers.set(peers);
            queue.publish();
        }
    }
}

fn ending(outcome: &Result<Answer, Failure>) -> Ending {
    match outcome {
        Ok(Answer::Peers(_)) => Ending::Answered,
        Ok(Answer::Refused(_)) => Ending::Refused,
        Err(_) => Ending::Failed,
    }
}

/// The forwarder's addresses, those of the client's own family first: over that family the forwarder can list
/// the client at the address at which other peers reach it.
pub(super) async fn resolve(target: &Target, client: IpAddr) -> Result<Vec<SocketAddr>, Failure> {
    let mut addresses: Vec<_> = lookup_host((target.host.as_str(), target.port)).await?.collect();
    addresses.sort_by_key(|address| address.is_ipv4() != client.is_ipv4());
    addresses.truncate(MAX_ADDRESSES);
    if addresses.is_empty() { Err(Failure::Nowhere) } else { Ok(addresses) }
}

/// Where a forwarder is decides which addresses are of use to it, and which of its peers are of use to our
/// clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Neighbourhood {
    /// On the internet: private addresses mean nothing there, and must not come from there.
    Public,
    /// In a private network, or on this host.
    Private,
}

impl Neighbourhood {
    pub(super) fn of(forwarder: IpAddr) -> Self {
        if reach::is_public(forwarder) { Self::Public } else { Self::Private }
    }

    /// The client's address as the forwarder is told it: the configured one, else the client's own, unless
    /// that is a private one and the forwarder is on the internet.
    pub(super) fn tell(self, configured: Option<IpAddr>, client: IpAddr) -> Option<IpAddr> {
        configured.or(Some(client).filter(|ip| self == Self::Private || reach::is_public(*ip)))
    }

    /// Leaves out private addresses in a public forwarder's answer.
    pub(super) fn filter(self, mut answer: Answer) -> Answer {
        if let (Self::Public, Answer::Peers(learned)) = (self, &mut answer) {
            learned.peers.retain(|peer| reach::is_public(peer.ip()));
        }
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forward::answer::Learned;

    #[test]
    fn private_addresses_stay_among_neighbours() {
        let (lan, wan): (IpAddr, IpAddr) = ([192, 168, 1, 5].into(), [192, 0, 2, 5].into());
        assert_eq!(Neighbourhood::of(lan).tell(None, lan), Some(lan));
        assert_eq!(Neighbourhood::of(wan).tell(None, lan), None);
        assert_eq!(Neighbourhood::of(wan).tell(None, wan), Some(wan));
        assert_eq!(Neighbourhood::of(wan).tell(Some(lan), wan), Some(lan), "the operator knows better");
    }

    #[test]
    fn a_public_forwarder_cannot_send_clients_to_private_hosts() {
        let peers = |count: usize| {
            let all = ["192.168.1.1:80", "127.0.0.1:22", "192.0.2.5:6881"];
            let peers = all[3 - count..].iter().map(|peer| peer.parse().unwrap()).collect();
            Answer::Peers(Learned { peers, ..Learned::default() })
        };
        assert_eq!(Neighbourhood::Public.filter(peers(3)), peers(1));
        assert_eq!(Neighbourhood::Private.filter(peers(3)), peers(3));
    }
}
