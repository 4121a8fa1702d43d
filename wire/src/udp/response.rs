//! The packets that a tracker sends: connect, announce, scrape and error responses.

use std::net::IpAddr;

use super::{ANNOUNCE, AnnounceForm, CONNECT, ERROR, Fields, LEGACY_ANNOUNCE_V6, Malformed, SCRAPE};
use super::{MAX_PEERS_V4, MAX_PEERS_V6, MAX_SCRAPE};
use crate::reply::{Counts, Reply};

/// An error's text is a sentence. Longer ones are cut: an error must not be larger than what it answers.
const MAX_ERROR_BYTES: usize = 200;

/// Appends the answer to a request for a connection id.
pub fn write_connect(out: &mut Vec<u8>, transaction: u32, connection: u64) {
    header(out, CONNECT, transaction);
    out.extend_from_slice(&connection.to_be_bytes());
}

/// Appends the answer to an announce: peers of the client's own family, 6 or 18 bytes each.
pub fn write_announce(out: &mut Vec<u8>, form: AnnounceForm, transaction: u32, reply: &Reply) {
    header(out, form.action(), transaction);
    for number in [reply.interval, reply.counts.incomplete, reply.counts.complete] {
        out.extend_from_slice(&number.to_be_bytes());
    }
    match reply.external_ip {
        IpAddr::V4(_) => out.extend_from_slice(first(reply.offers.v4.endpoints(), MAX_PEERS_V4)),
        IpAddr::V6(_) => out.extend_from_slice(first(reply.offers.v6.endpoints(), MAX_PEERS_V6)),
    }
}

fn first<const N: usize>(peers: &[[u8; N]], most: usize) -> &[u8] {
    peers[..peers.len().min(most)].as_flattened()
}

/// Appends the answer to a scrape, in its order.
pub fn write_scrape(out: &mut Vec<u8>, transaction: u32, swarms: &[Counts]) {
    header(out, SCRAPE, transaction);
    for counts in swarms.iter().take(MAX_SCRAPE) {
        for number in [counts.complete, counts.downloaded, counts.incomplete] {
            out.extend_from_slice(&number.to_be_bytes());
        }
    }
}

/// Appends a refusal. The text ends with a NUL, which is how clients written in C find its end.
pub fn write_error(out: &mut Vec<u8>, transaction: u32, text: &str) {
    header(out, ERROR, transaction);
    out.extend_from_slice(&text.as_bytes()[..text.floor_char_boundary(MAX_ERROR_BYTES)]);
    out.push(0);
}

fn header(out: &mut Vec<u8>, action: u32, transaction: u32) {
    out.extend_from_slice(&action.to_be_bytes());
    out.extend_from_slice(&transaction.to_be_bytes());
}

/// An answer as a client reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Response<'a> {
    /// A connection id for the client's address.
    Connect {
        /// The request's.
        transaction: u32,
        /// The connection id, which the client shows in its next requests.
        connection: u64,
    },
    /// The answer to an announce.
    Announce {
        /// The request's.
        transaction: u32,
        /// The request's.
        form: AnnounceForm,
        /// Seconds until the next announce.
        interval: u32,
        /// Clients that download.
        leechers: u32,
        /// Clients that seed.
        seeders: u32,
        /// Peers, 6 bytes each over IPv4 and 18 over IPv6.
        peers: &'a [u8],
    },
    /// The answer to a scrape.
    Scrape {
        /// The request's.
        transaction: u32,
        /// The swarms, in the request's order.
        swarms: Vec<Counts>,
    },
    /// A refusal, in words for the user.
    Error {
        /// The request's.
        transaction: u32,
        /// Why, without the NUL.
        text: &'a [u8],
    },
}

impl<'a> Response<'a> {
    /// Reads an answer.
    ///
    /// # Errors
    /// [`Malformed`] when it is none.
    pub fn parse(packet: &'a [u8]) -> Result<Self, Malformed> {
        let mut fields = Fields(packet);
        let (action, transaction) = (fields.u32()?, fields.u32()?);
        let form = if action == ANNOUNCE { AnnounceForm::Standard } else { AnnounceForm::LegacyV6 };
        match action {
            CONNECT => Ok(Self::Connect { transaction, connection: fields.u64()? }),
            ANNOUNCE | LEGACY_ANNOUNCE_V6 => Ok(Self::Announce {
                transaction,
                form,
                interval: fields.u32()?,
                leechers: fields.u32()?,
                seeders: fields.u32()?,
                peers: fields.rest(),
            }),
            SCRAPE => Ok(Self::Scrape { transaction, swarms: swarms(fields.rest())? }),
            ERROR => Ok(Self::Error { transaction, text: until_nul(fields.rest()) }),
            _ => Err(Malformed::UnknownAction),
        }
    }
}

/// The request that a packet answers, if it is an answer at all: anybody can send one, so this is looked at
/// first.
#[must_use]
pub fn transaction(packet: &[u8]) -> Option<u32> {
    packet.get(4..)?.first_chunk().copied().map(u32::from_be_bytes)
}

fn swarms(list: &[u8]) -> Result<Vec<Counts>, Malformed> {
    let (swarms, []) = list.as_chunks::<12>() else { return Err(Malformed::OddLength) };
    let read = |swarm: &[u8; 12]| {
        let mut fields = Fields(swarm);
        Ok(Counts { complete: fields.u32()?, downloaded: fields.u32()?, incomplete: fields.u32()? })
    };
    swarms.iter().map(read).collect()
}

fn until_nul(text: &[u8]) -> &[u8] {
    text.split(|byte| *byte == 0).next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peers::{NAMELESS, Offers};
    use proptest::prelude::*;

    fn reply(external_ip: IpAddr, peers: u16, counts: Counts) -> Reply {
        let mut offers = Offers::default();
        for port in 1..=peers {
            offers.push(([10, 0, 0, 1], port).into(), NAMELESS);
            offers.push(([6_u16; 8], port).into(), NAMELESS);
        }
        Reply { interval: 1800, min_interval: 900, counts, offers, external_ip, warning: None }
    }

    fn announced(reply: &Reply) -> Vec<u8> {
        let mut packet = Vec::new();
        write_announce(&mut packet, AnnounceForm::Standard, 5, reply);
        packet
    }

    #[test]
    fn peers_are_of_the_clients_own_family_and_fit_one_frame() {
        let counts = Counts::default();
        let lengths = |ip: &str| {
            [0, 2, 500].map(|peers| announced(&reply(ip.parse().unwrap(), peers, counts)).len() - 20)
        };
        assert_eq!(lengths("192.0.2.1"), [0, 12, MAX_PEERS_V4 * 6]);
        assert_eq!(lengths("2001:db8::1"), [0, 36, MAX_PEERS_V6 * 18]);
    }

    #[test]
    fn an_error_ends_with_nul_and_is_short() {
        let mut packet = Vec::new();
        write_error(&mut packet, 5, "unapproved passkey");
        assert_eq!(packet, b"\0\0\0\x03\0\0\0\x05unapproved passkey\0");
        packet.clear();
        write_error(&mut packet, 5, &"ä".repeat(500));
        assert!(packet.len() <= 8 + MAX_ERROR_BYTES + 1);
        assert!(
            matches!(Response::parse(&packet), Ok(Response::Error { text, .. }) if std::str::from_utf8(text).is_ok())
        );
    }

    proptest! {
        #[test]
        fn an_answer_reads_as_it_was_written(
            [complete, incomplete, downloaded, transaction] in any::<[u32; 4]>(), connection in any::<u64>(), count in 0usize..74,
        ) {
            let counts = Counts { complete, incomplete, downloaded };
            let mut packet = Vec::new();
            write_connect(&mut packet, transaction, connection);
            prop_assert_eq!(Response::parse(&packet), Ok(Response::Connect { transaction, connection }));

            packet.clear();
            let swarms = vec![counts; count];
            write_scrape(&mut packet, transaction, &swarms);
            prop_assert_eq!(Response::parse(&packet), Ok(Response::Scrape { transaction, swarms }));

            packet.clear();
            let reply = reply("192.0.2.1".parse().unwrap(), 1, counts);
            write_announce(&mut packet, AnnounceForm::LegacyV6, transaction, &reply);
            let read = Response::Announce {
                transaction, form: AnnounceForm::LegacyV6, interval: 1800, leechers: incomplete, seeders: complete, peers: &[10, 0, 0, 1, 0, 1],
            };
            prop_assert_eq!(Response::parse(&packet), Ok(read));
        }

        #[test]
        fn no_bytes_make_it_panic(packet in proptest::collection::vec(any::<u8>(), 0..200)) {
            drop(Response::parse(&packet));
        }
    }
}
