//! The packets that a client sends: connect, announce and scrape requests.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use contract::{InfoHash, PeerId};

use super::{ANNOUNCE, CONNECT, Fields, LEGACY_ANNOUNCE_V6, Malformed, PROTOCOL_ID, SCRAPE};

/// A request, as it came. Nothing about it is believed yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request<'a> {
    /// Asks for a connection id.
    Connect {
        /// Repeated in the reply.
        transaction: u32,
    },
    /// Action 1, with or without URL data.
    Announce(AnnounceRequest<'a>),
    /// Action 2, for up to 74 torrents.
    Scrape(ScrapeRequest<'a>),
}

/// An announce, its URL data not decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AnnounceRequest<'a> {
    /// Which of the two actions.
    pub form: AnnounceForm,
    /// The connection id.
    pub connection: u64,
    /// Repeated in the reply.
    pub transaction: u32,
    /// The announced torrent.
    pub info_hash: InfoHash,
    /// The id that the client gave itself.
    pub peer_id: PeerId,
    /// Bytes downloaded since the client started.
    pub downloaded: u64,
    /// Bytes still wanted; 0 is a seeder.
    pub left: u64,
    /// Bytes uploaded since the client started.
    pub uploaded: u64,
    /// 0 none, 1 completed, 2 started, 3 stopped; others exist in the wild.
    pub event: u32,
    /// The address that the client claims; 0 when it claims none.
    pub claimed_ip: IpAddr,
    /// A number by which a client is known after its address changed. We know clients by their passkey.
    pub key: u32,
    /// How many peers it wants; negative when it leaves that to us.
    pub num_want: i32,
    /// The port that peers are told.
    pub port: u16,
    /// Options (BEP 41), not read yet.
    pub options: &'a [u8],
}

/// Which of the two announce actions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnnounceForm {
    /// BEP 15's: the claimed address has 4 bytes, whatever the packet came over.
    Standard,
    /// The older one for IPv6: the claimed address has 16 bytes.
    LegacyV6,
}

/// A scrape, its info hashes not copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScrapeRequest<'a> {
    /// The connection id.
    pub connection: u64,
    /// Repeated in the reply.
    pub transaction: u32,
    /// The torrents, at least one.
    pub info_hashes: &'a [[u8; 20]],
}

/// Reads a packet.
///
/// # Errors
/// [`Malformed`] when it is none of the protocol.
pub fn parse(packet: &[u8]) -> Result<Request<'_>, Malformed> {
    let mut fields = Fields(packet);
    let (connection, action, transaction) = (fields.u64()?, fields.u32()?, fields.u32()?);
    match action {
        CONNECT if connection == PROTOCOL_ID => Ok(Request::Connect { transaction }),
        CONNECT => Err(Malformed::OtherProtocol),
        ANNOUNCE => announce(AnnounceForm::Standard, connection, transaction, fields),
        LEGACY_ANNOUNCE_V6 => announce(AnnounceForm::LegacyV6, connection, transaction, fields),
        SCRAPE => scrape(connection, transaction, fields.rest()),
        _ => Err(Malformed::UnknownAction),
    }
}

/// The torrent of a packet that looks like an announce, before anything about it is checked.
#[must_use]
#[inline]
pub fn announced_torrent(packet: &[u8]) -> Option<InfoHash> {
    let (action, rest) = packet.get(8..)?.split_first_chunk()?;
    let announces = [ANNOUNCE, LEGACY_ANNOUNCE_V6].contains(&u32::from_be_bytes(*action));
    let info_hash = rest.get(4..)?.first_chunk()?;
    announces.then_some(InfoHash(*info_hash))
}

fn announce(
    form: AnnounceForm,
    connection: u64,
    transaction: u32,
    mut fields: Fields<'_>,
) -> Result<Request<'_>, Malformed> {
    Ok(Request::Announce(AnnounceRequest {
        form,
        connection,
        transaction,
        info_hash: InfoHash(fields.take()?),
        peer_id: PeerId(fields.take()?),
        downloaded: fields.u64()?,
        left: fields.u64()?,
        uploaded: fields.u64()?,
        event: fields.u32()?,
        claimed_ip: match form {
            AnnounceForm::Standard => Ipv4Addr::from(fields.take::<4>()?).into(),
            AnnounceForm::LegacyV6 => Ipv6Addr::from(fields.take::<16>()?).into(),
        },
        key: fields.u32()?,
        num_want: i32::from_be_bytes(fields.take()?),
        port: fields.u16()?,
        options: fields.rest(),
    }))
}

fn scrape(connection: u64, transaction: u32, list: &[u8]) -> Result<Request<'_>, Malformed> {
    match list.as_chunks() {
        ([], _) => Err(Malformed::TooShort),
        (info_hashes, []) => Ok(Request::Scrape(ScrapeRequest { connection, transaction, info_hashes })),
        _ => Err(Malformed::OddLength),
    }
}

impl AnnounceForm {
    /// The action's number, which the reply repeats.
    #[must_use]
    #[inline]
    pub fn action(self) -> u32 {
        match self {
            Self::Standard => ANNOUNCE,
            Self::LegacyV6 => LEGACY_ANNOUNCE_V6,
        }
    }
}

impl Request<'_> {
    /// Appends the packet as a client sends it.
    pub fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Connect { transaction } => header(out, PROTOCOL_ID, CONNECT, *transaction),
            Self::Announce(request) => request.write(out),
            Self::Scrape(request) => {
                header(out, request.connection, SCRAPE, request.transaction);
                out.extend_from_slice(request.info_hashes.as_flattened());
            }
        }
    }
}

impl AnnounceRequest<'_> {
    fn write(&self, out: &mut Vec<u8>) {
        header(out, self.connection, self.form.action(), self.transaction);
        out.extend_from_slice(&self.info_hash.0);
        out.extend_from_slice(&self.peer_id.0);
        for counter in [self.downloaded, self.left, self.uploaded] {
            out.extend_from_slice(&counter.to_be_bytes());
        }
        out.extend_from_slice(&self.event.to_be_bytes());
        match self.claimed_ip {
            IpAddr::V4(ip) => out.extend_from_slice(&ip.octets()),
            IpAddr::V6(ip) => out.extend_from_slice(&ip.octets()),
        }
        out.extend_from_slice(&self.key.to_be_bytes());
        out.extend_from_slice(&self.num_want.to_be_bytes());
        out.extend_from_slice(&self.port.to_be_bytes());
        out.extend_from_slice(self.options);
    }
}

fn header(out: &mut Vec<u8>, connection: u64, action: u32, transaction: u32) {
    out.extend_from_slice(&connection.to_be_bytes());
    out.extend_from_slice(&action.to_be_bytes());
    out.extend_from_slice(&transaction.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Numbers = ([u64; 4], [u32; 3], i32, u16);

    fn request(form: AnnounceForm, ids: [[u8; 20]; 2], numbers: Numbers, ip: [u8; 16]) -> Request<'static> {
        let ([connection, downloaded, left, uploaded], [transaction, event, key], num_want, port) = numbers;
        let [a, b, c, d, ..] = ip;
        Request::Announce(AnnounceRequest {
            form,
            connection,
            transaction,
            info_hash: InfoHash(ids[0]),
            peer_id: PeerId(ids[1]),
            downloaded,
            left,
            uploaded,
            event,
            claimed_ip: match form {
                AnnounceForm::Standard => Ipv4Addr::new(a, b, c, d).into(),
                AnnounceForm::LegacyV6 => Ipv6Addr::from(ip).into(),
            },
            key,
            num_want,
            port,
            options: &[],
        })
    }

    fn written(request: &Request<'_>) -> Vec<u8> {
        let mut packet = Vec::new();
        request.write(&mut packet);
        packet
    }

    #[test]
    fn lengths_are_those_of_the_protocol() {
        let numbers = ([1; 4], [2; 3], -1, 6881);
        let announce = |form| written(&request(form, [[3; 20]; 2], numbers, [4; 16]));
        assert_eq!(announce(AnnounceForm::Standard).len(), 98);
        assert_eq!(announce(AnnounceForm::LegacyV6).len(), 110);
        assert_eq!(written(&Request::Connect { transaction: 1 }).len(), 16);
    }

    #[test]
    fn a_shortened_packet_is_none() {
        let packet =
            written(&request(AnnounceForm::Standard, [[3; 20]; 2], ([1; 4], [2; 3], -1, 6881), [4; 16]));
        for length in 0..packet.len() {
            assert_eq!(parse(&packet[..length]), Err(Malformed::TooShort), "{length}");
            assert_eq!(announced_torrent(&packet[..length]).is_some(), length >= 36);
        }
        assert_eq!(announced_torrent(&packet), Some(InfoHash([3; 20])));
        assert_eq!(announced_torrent(&written(&Request::Connect { transaction: 1 })), None);
    }

    #[test]
    fn strangers_packets_are_named() {
        let mut packet = written(&Request::Connect { transaction: 1 });
        packet[0] ^= 1;
        assert_eq!(parse(&packet), Err(Malformed::OtherProtocol));
        packet[11] = 9;
        assert_eq!(parse(&packet), Err(Malformed::UnknownAction));
        packet[11] = 2;
        assert_eq!(parse(&packet), Err(Malformed::TooShort));
        packet.extend([0; 21]);
        assert_eq!(parse(&packet), Err(Malformed::OddLength));
    }

    proptest! {
        #[test]
        fn an_announce_reads_as_it_was_written(
            legacy in any::<bool>(), ids in any::<[[u8; 20]; 2]>(), numbers in any::<Numbers>(), ip in any::<[u8; 16]>(),
            options in proptest::collection::vec(any::<u8>(), 0..300),
        ) {
            let form = if legacy { AnnounceForm::LegacyV6 } else { AnnounceForm::Standard };
            let Request::Announce(mut request) = request(form, ids, numbers, ip) else { unreachable!() };
            request.options = &options;
            let packet = written(&Request::Announce(request));
            prop_assert_eq!(parse(&packet), Ok(Request::Announce(request)));
        }

        #[test]
        fn a_scrape_reads_as_it_was_written(
            connection in any::<u64>(), transaction in any::<u32>(),
            info_hashes in proptest::collection::vec(any::<[u8; 20]>(), 1..90),
        ) {
            let request = Request::Scrape(ScrapeRequest { connection, transaction, info_hashes: &info_hashes });
            let packet = written(&request);
            prop_assert_eq!(parse(&packet), Ok(request));
        }

        #[test]
        fn what_reads_as_a_request_is_written_back_alike(mut packet in proptest::collection::vec(any::<u8>(), 0..200), action in 0u8..6) {
            if packet.len() > 11 {
                packet[8..12].copy_from_slice(&[0, 0, 0, action]);
            }
            if let Ok(request @ (Request::Announce(_) | Request::Scrape(_))) = parse(&packet) {
                prop_assert_eq!(written(&request), packet);
            }
        }
    }
}
