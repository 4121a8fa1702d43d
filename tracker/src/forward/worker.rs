//! The workers: each takes a job from its forwarder's lane, asks the forwarder, and puts what it learned into
//! the store.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::lookup_host;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::answer::{Answer, Failure};
use super::config::{Forwarder, Scheme, Target};
use super::http::HttpClient;
use super::lane::{Job, Lane};
use super::metrics::Ending;
use super::store::{Store, seconds};
use super::udp::UdpClient;
use super::{Pace, reach};

/// Addresses of one name that are tried.
const MAX_ADDRESSES: usize = 4;

/// Where a worker sits: its forwarder's number and lane, and the shared store.
#[derive(Debug)]
pub(super) struct Desk {
    pub(super) number: usize,
    pub(super) lane: Arc<Lane>,
    pub(super) store: Arc<Store>,
    pub(super) started: Instant,
}

/// How a worker asks.
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

/// Works until it is dropped.
pub(super) async fn work(desk: Desk, mut client: Client, patience: Duration) {
    let Desk { number, lane, store, started } = desk;
    loop {
        let errand = lane.next().await;
        let left = Instant::now();
        let outcome = timeout(patience, client.announce(&errand.job)).await;
        let outcome = outcome.unwrap_or(Err(Failure::Silent));
        let now = Instant::now();
        lane.metrics.observe(ending(&outcome), now - left);
        match outcome {
            Ok(Answer::Peers(learned)) => {
                store.learn(number, &errand.job, &learned, seconds(started, now));
                lane.answered(&errand);
            }
            Ok(Answer::Refused(wait)) => {
                store.rest(number, &errand.job.info_hash, wait, seconds(started, now));
                lane.answered(&errand);
            }
            Err(failure) => lane.failed(errand, &failure, now),
        }
    }
}

/// Forgets what expired and keeps the gauges fresh, until it is dropped.
pub(super) async fn sweep(store: Arc<Store>, lanes: Vec<Arc<Lane>>, started: Instant, interval: Duration) {
    loop {
        tokio::time::sleep(interval).await;
        let known = store.sweep(seconds(started, Instant::now()));
        for (lane, peers) in lanes.iter().zip(known) {
            lane.metrics.peers.set(peers);
            lane.publish();
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

/// The forwarder's addresses, those of the client's own family first: there it sees what the client is
/// reached by.
pub(super) async fn resolve(target: &Target, client: IpAddr) -> Result<Vec<SocketAddr>, Failure> {
    let mut addresses: Vec<_> = lookup_host((target.host.as_str(), target.port)).await?.collect();
    addresses.sort_by_key(|address| address.is_ipv4() != client.is_ipv4());
    addresses.truncate(MAX_ADDRESSES);
    if addresses.is_empty() { Err(Failure::Nowhere) } else { Ok(addresses) }
}

/// Where a forwarder stands decides which addresses are any use to it, and which of its peers to us.
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

    /// The address to tell: the configured one, else the client's own unless it means nothing there.
    pub(super) fn tell(self, configured: Option<IpAddr>, client: IpAddr) -> Option<IpAddr> {
        configured.or(Some(client).filter(|ip| self == Self::Private || reach::is_public(*ip)))
    }

    /// Leaves out the peers that cannot be from there.
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
