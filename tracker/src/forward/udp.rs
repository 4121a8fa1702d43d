//! Asking over UDP (BEP 15): a connection id, good for a minute, and then the announce. The URI's path goes
//! along as BEP 41 has it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use tokio::net::UdpSocket;
use tokio::time::timeout_at;
use wire::udp::{AnnounceForm, AnnounceRequest, Request, Response, event_number, url_data};

use super::answer::{Answer, Failure, read_packet};
use super::config::{Forwarder, Target};
use super::http::numwant;
use super::queue::Job;
use super::worker::{Neighbourhood, resolve};
use crate::announce::Role;

/// BEP 15: a client may use a connection id for one minute.
const CONNECTION_LIFETIME: Duration = Duration::from_secs(60);
/// How often a request is sent before the forwarder counts as silent.
const ATTEMPTS: u32 = 3;
/// No datagram is larger.
const MAX_DATAGRAM: usize = 65_535;

/// A forwarder that speaks UDP.
#[derive(Debug)]
pub(super) struct UdpClient {
    target: Target,
    ip: Option<IpAddr>,
    first_wait: Duration,
    connection: Option<Connection>,
}

/// A socket and the connection id that the forwarder gave to its address.
#[derive(Debug)]
struct Connection {
    socket: UdpSocket,
    remote: SocketAddr,
    /// The family it was opened for; the forwarder may have no address of that family.
    client_is_ipv4: bool,
    id: u64,
    obtained: Instant,
}

impl UdpClient {
    pub(super) fn new(forwarder: &Forwarder, first_wait: Duration) -> Self {
        Self { target: forwarder.target.clone(), ip: forwarder.ip, first_wait, connection: None }
    }

    pub(super) async fn announce(&mut self, job: &Job) -> Result<Answer, Failure> {
        let usable = |connection: &Connection| {
            connection.obtained.elapsed() < CONNECTION_LIFETIME
                && connection.client_is_ipv4 == job.endpoint.is_ipv4()
        };
        // Taken out: it comes back only when all went well.
        let connection = match self.connection.take().filter(usable) {
            Some(connection) => connection,
            None => self.connect(job.endpoint.ip()).await?,
        };
        let neighbourhood = Neighbourhood::of(connection.remote.ip());
        let told = neighbourhood.tell(self.ip, job.endpoint.ip());
        let transaction = rand::random();
        let packet = announce_request(connection.id, transaction, job, told, &self.target.path);
        let reply = ask(&connection.socket, &packet, transaction, self.first_wait).await?;
        let answer = read_packet(&reply, connection.remote.ip())?;
        if matches!(answer, Answer::Peers(_)) {
            self.connection = Some(connection);
        }
        Ok(neighbourhood.filter(answer))
    }

    async fn connect(&self, client: IpAddr) -> Result<Connection, Failure> {
        let (socket, remote) = open(&resolve(&self.target, client).await?).await?;
        let transaction = rand::random();
        let reply = ask(&socket, &connect_request(transaction), transaction, self.first_wait).await?;
        let id = read_connect(&reply).ok_or(Failure::Garbage)?;
        Ok(Connection { socket, remote, client_is_ipv4: client.is_ipv4(), id, obtained: Instant::now() })
    }
}

/// A socket for the first address that there is a way to.
async fn open(addresses: &[SocketAddr]) -> Result<(UdpSocket, SocketAddr), Failure> {
    let mut last = Failure::Nowhere;
    for remote in addresses {
        let any: IpAddr =
            if remote.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let opened = async {
            let socket = UdpSocket::bind((any, 0)).await?;
            socket.connect(remote).await.map(|()| socket)
        };
        match opened.await {
            Ok(socket) => return Ok((socket, *remote)),
            Err(error) => last = error.into(),
        }
    }
    Err(last)
}

/// Sends until the answer to this transaction comes. Other datagrams are ignored: anybody can send one.
async fn ask(
    socket: &UdpSocket,
    packet: &[u8],
    transaction: u32,
    first_wait: Duration,
) -> Result<Vec<u8>, Failure> {
    let mut buffer = vec![0; MAX_DATAGRAM];
    for attempt in 0..ATTEMPTS {
        socket.send(packet).await?;
        let deadline = tokio::time::Instant::now() + first_wait * (1 << attempt);
        while let Ok(received) = timeout_at(deadline, socket.recv(&mut buffer)).await {
            let length = received?;
            if wire::udp::transaction(&buffer[..length]) == Some(transaction) {
                buffer.truncate(length);
                return Ok(buffer);
            }
        }
    }
    Err(Failure::Silent)
}

fn connect_request(transaction: u32) -> Vec<u8> {
    let mut packet = Vec::new();
    Request::Connect { transaction }.write(&mut packet);
    packet
}

/// As over HTTP, the counters are zero and `left` says no more than seeder or leecher. The packet has room
/// for an IPv4 address only.
fn announce_request(id: u64, transaction: u32, job: &Job, ip: Option<IpAddr>, path: &str) -> Vec<u8> {
    let mut options = Vec::with_capacity(path.len() + 8);
    url_data::write(path.as_bytes(), &mut options);
    let [.., a, b, c, d] = job.peer_id.0;
    let request = AnnounceRequest {
        form: AnnounceForm::Standard,
        connection: id,
        transaction,
        info_hash: job.info_hash,
        peer_id: job.peer_id,
        downloaded: 0,
        left: u64::from(job.role == Role::Leecher),
        uploaded: 0,
        event: event_number(job.event),
        claimed_ip: ip.filter(IpAddr::is_ipv4).unwrap_or(Ipv4Addr::UNSPECIFIED.into()),
        // The key tells a client that moved from another one: any number that stays with the client will do.
        key: u32::from_be_bytes([a, b, c, d]),
        num_want: numwant(job),
        port: job.endpoint.port(),
        options: &options,
    };
    let mut packet = Vec::with_capacity(100 + options.len());
    Request::Announce(request).write(&mut packet);
    packet
}

fn read_connect(packet: &[u8]) -> Option<u64> {
    let Ok(Response::Connect { connection, .. }) = Response::parse(packet) else { return None };
    Some(connection)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::announce::{Families, PrivatePeers};
    use crate::forward::store::ClientAnnounce;
    use contract::{Event, InfoHash, PeerId};
    use proptest::prelude::*;

    fn job() -> Job {
        let announce = ClientAnnounce {
            info_hash: InfoHash([1; 20]),
            peer_id: PeerId([2; 20]),
            endpoint: "192.0.2.1:6881".parse().unwrap(),
            role: Role::Seeder,
            event: Event::Completed,
            num_want: 50,
            families: Families::Both,
            private: PrivatePeers::Offered,
        };
        Job::new(&announce, Event::Completed, Instant::now())
    }

    #[test]
    fn an_announce_has_every_field_in_its_place_and_counters_of_zero() {
        let packet = announce_request(7, 9, &job(), Some([192, 0, 2, 1].into()), &"/a".repeat(150));
        assert_eq!(packet[..16], [0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 1, 0, 0, 0, 9]);
        assert_eq!((&packet[16..36], &packet[36..56]), (&[1; 20][..], &[2; 20][..]));
        assert_eq!(packet[56..80], [0; 24], "downloaded, left, uploaded");
        assert_eq!(packet[80..98], [0, 0, 0, 1, 192, 0, 2, 1, 2, 2, 2, 2, 0, 0, 0, 100, 0x1a, 0xe1]);
        assert_eq!((packet[98], packet[99], packet[355], packet[356]), (2, 255, 2, 45));
        assert_eq!(packet.len(), 98 + 300 + 4);
    }

    #[test]
    fn answers_are_read_by_the_forwarders_family() {
        let mut packet = [1u32, 5, 900, 0, 0].map(u32::to_be_bytes).concat();
        packet.extend([192, 0, 2, 9, 0, 80, 192, 0, 2, 8, 0, 0]);
        let Ok(Answer::Peers(learned)) = read_packet(&packet, "192.0.2.1".parse().unwrap()) else {
            panic!("an answer")
        };
        assert_eq!(learned.peers, ["192.0.2.9:80".parse().unwrap()], "port 0 is nobody's");
        assert_eq!(learned.interval, Duration::from_secs(900));
        let error = [3u32, 5].map(u32::to_be_bytes).concat();
        assert!(matches!(read_packet(&error, "::1".parse().unwrap()), Ok(Answer::Refused(_))));
        assert!(read_packet(&packet[..19], "192.0.2.1".parse().unwrap()).is_err());
        assert_eq!(read_connect(&[0; 15]), None);
    }

    proptest! {
        #[test]
        fn no_datagram_makes_the_reader_panic(packet in proptest::collection::vec(any::<u8>(), 0..80)) {
            drop((read_connect(&packet), read_packet(&packet, "::1".parse().unwrap())));
        }
    }
}
