//! An announce or scrape written as the query of a URL, as a client sends it.

use std::fmt::Write;
use std::net::IpAddr;

use arrayvec::ArrayString;
use contract::{Event, InfoHash, PeerId};

use super::PeerForm;
use crate::url::escape;

/// An announce to be written as a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AnnounceRequest<'a> {
    /// The announced torrent.
    pub info_hash: InfoHash,
    /// The id that the client gave itself.
    pub peer_id: PeerId,
    /// The port that peers are told.
    pub port: u16,
    /// Bytes uploaded since the client started.
    pub uploaded: u64,
    /// Bytes downloaded since the client started.
    pub downloaded: u64,
    /// Bytes still wanted; 0 is a seeder.
    pub left: u64,
    /// What happened; nothing is written for [`Event::None`].
    pub event: Event,
    /// How the peers shall come.
    pub form: PeerForm,
    /// How many peers are wanted, if the client says so.
    pub numwant: Option<i64>,
    /// The address that it claims, if any.
    pub ip: Option<IpAddr>,
    /// The passkey, where the query and not the path carries it.
    pub passkey: Option<&'a str>,
}

impl AnnounceRequest<'_> {
    /// Appends the query, from the first parameter's name.
    pub fn write(&self, out: &mut Vec<u8>) {
        bytes(b"info_hash=", &self.info_hash.0, out);
        bytes(b"&peer_id=", &self.peer_id.0, out);
        number(b"&port=", self.port, out);
        number(b"&uploaded=", self.uploaded, out);
        number(b"&downloaded=", self.downloaded, out);
        number(b"&left=", self.left, out);
        out.extend_from_slice(match self.form {
            PeerForm::Compact => b"&compact=1",
            PeerForm::List => b"&compact=0",
            PeerForm::ListWithoutIds => b"&compact=0&no_peer_id=1",
        });
        if let Some(numwant) = self.numwant {
            number(b"&numwant=", numwant, out);
        }
        if self.event != Event::None {
            bytes(b"&event=", self.event.as_str().as_bytes(), out);
        }
        if let Some(ip) = self.ip {
            // The longest address in words; it cannot fail to fit.
            let mut words = ArrayString::<39>::new();
            write!(words, "{ip}").ok();
            bytes(b"&ip=", words.as_bytes(), out);
        }
        passkey(self.passkey, out);
    }
}

/// A scrape to be written as a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScrapeRequest<'a> {
    /// The torrents, at least one.
    pub info_hashes: &'a [InfoHash],
    /// The passkey, where the query and not the path carries it.
    pub passkey: Option<&'a str>,
}

impl ScrapeRequest<'_> {
    /// Appends the query, from the first parameter's name.
    pub fn write(&self, out: &mut Vec<u8>) {
        let names = std::iter::once(&b"info_hash="[..]).chain(std::iter::repeat(&b"&info_hash="[..]));
        for (name, info_hash) in names.zip(self.info_hashes) {
            bytes(name, &info_hash.0, out);
        }
        passkey(self.passkey, out);
    }
}

fn passkey(passkey: Option<&str>, out: &mut Vec<u8>) {
    if let Some(passkey) = passkey {
        bytes(b"&passkey=", passkey.as_bytes(), out);
    }
}

fn bytes(name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(name);
    escape(value, out);
}

fn number(name: &[u8], value: impl itoa::Integer, out: &mut Vec<u8>) {
    out.extend_from_slice(name);
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::query::{AnnounceQuery, ScrapeQuery};
    use proptest::prelude::*;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    proptest! {
        #[test]
        fn an_announce_reads_as_it_was_written(
            ids in any::<[[u8; 20]; 2]>(), numbers in any::<[u64; 3]>(), port: u16, event in 0u32..4, form in 0usize..3,
            numwant: Option<i64>, ip: Option<[u8; 16]>, passkey in "[0-9A-Za-z_-]{1,64}",
        ) {
            let [uploaded, downloaded, left] = numbers;
            let request = AnnounceRequest {
                info_hash: InfoHash(ids[0]),
                peer_id: PeerId(ids[1]),
                port,
                uploaded,
                downloaded,
                left,
                event: crate::udp::event(event).unwrap(),
                form: [PeerForm::Compact, PeerForm::List, PeerForm::ListWithoutIds][form],
                numwant,
                ip: ip.map(|octets| IpAddr::from(octets).to_canonical()),
                passkey: Some(&passkey),
            };
            let query = written(|out| request.write(out));
            let read = AnnounceQuery::read(&query).unwrap();
            prop_assert_eq!(read.info_hash(), Ok(request.info_hash));
            prop_assert_eq!(read.peer_id(), Ok(request.peer_id));
            prop_assert_eq!(read.port(), Ok(port));
            prop_assert_eq!((read.uploaded(), read.downloaded(), read.left()), (Ok(uploaded), Ok(downloaded), Ok(left)));
            prop_assert_eq!(read.event(), (request.event, false));
            prop_assert_eq!((read.form(), read.numwant()), (request.form, Ok(numwant)));
            prop_assert_eq!(read.claimed_ip(), request.ip);
            prop_assert_eq!(read.credentials.passkey.unwrap().bytes(), passkey.as_bytes());
        }

        #[test]
        fn a_scrape_reads_as_it_was_written(info_hashes in proptest::collection::vec(any::<[u8; 20]>(), 1..20)) {
            let info_hashes: Vec<_> = info_hashes.into_iter().map(InfoHash).collect();
            let query = written(|out| ScrapeRequest { info_hashes: &info_hashes, passkey: None }.write(out));
            prop_assert_eq!(ScrapeQuery::read(&query, 20).unwrap().info_hashes, info_hashes);
        }
    }
}
