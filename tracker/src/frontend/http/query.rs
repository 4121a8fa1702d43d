//! The query string of an announce or scrape, read once into types. Pure.

use std::net::IpAddr;
use std::str::FromStr;

use contract::{Event, InfoHash, PeerId};

use crate::announce::{Announce, Credential, Families, PeerIds, Refusal, Scrape};
use crate::frontend::limits::{self, Limits, Spoofing, unreadable};
use crate::frontend::url::{Proof, Value, at_most, pairs};

/// How the client wants its peers written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PeerForm {
    /// 6- and 18-byte strings (BEP 23, BEP 7).
    Compact,
    /// A list of dictionaries with `peer id`, `ip`, `port` (BEP 3).
    List,
    /// The same without `peer id`.
    ListWithoutIds,
}

/// An announce with what only HTTP knows about it.
#[derive(Debug, Clone)]
pub struct HttpAnnounce {
    /// The announce.
    pub announce: Announce,
    /// How to write the reply.
    pub form: PeerForm,
    /// The client sent an event that nobody knows; treated as none.
    pub unknown_event: bool,
}

/// Reads an announce. `credential` is what the path carried, which wins over the query.
///
/// # Errors
/// The refusal to show the client; its text names the parameter, never the value.
pub fn announce(
    query: &str,
    ip: IpAddr,
    credential: Option<Credential>,
    limits: &Limits,
) -> Result<HttpAnnounce, Refusal> {
    let raw = RawAnnounce::collect(query)?;
    let (event, unknown_event) = raw.event();
    let form = raw.form();
    let announce = Announce {
        info_hash: raw.info_hash()?,
        peer_id: raw.peer_id()?,
        ip: raw.address(limits.spoofing).unwrap_or(ip),
        port: raw.port()?,
        uploaded: limits::counter("uploaded", number("uploaded", raw.uploaded)?)?,
        downloaded: limits::counter("downloaded", number("downloaded", raw.downloaded)?)?,
        left: limits::left(number("left", raw.left)?),
        event,
        num_want: raw.num_want(limits)?,
        families: Families::Both,
        peer_ids: if form == PeerForm::List { PeerIds::Named } else { PeerIds::Spared },
        credential: credential.or_else(|| raw.proof.credential()),
        jwt: raw.proof.jwt(),
    };
    Ok(HttpAnnounce { announce, form, unknown_event })
}

/// Reads a scrape.
///
/// # Errors
/// The refusal to show the client.
pub fn scrape(
    query: &str,
    ip: IpAddr,
    credential: Option<Credential>,
    limits: &Limits,
) -> Result<Scrape, Refusal> {
    let mut info_hashes = Vec::new();
    let mut proof = Proof::default();
    for (name, value) in pairs(query) {
        match name {
            "info_hash" if info_hashes.len() < limits.max_scrape_infohashes => {
                info_hashes.push(info_hash(value)?);
            }
            _ => proof.take(name, value)?,
        }
    }
    if info_hashes.is_empty() {
        return Err(Refusal::because("no info_hash parameter supplied"));
    }
    Ok(Scrape { info_hashes, ip, credential: credential.or_else(|| proof.credential()) })
}

/// The parameters we know, as they came.
#[derive(Default)]
struct RawAnnounce<'a> {
    info_hash: Option<&'a str>,
    peer_id: Option<&'a str>,
    port: Option<Value<'a>>,
    uploaded: Option<Value<'a>>,
    downloaded: Option<Value<'a>>,
    left: Option<Value<'a>>,
    event: Option<Value<'a>>,
    numwant: Option<Value<'a>>,
    compact: Option<Value<'a>>,
    no_peer_id: Option<Value<'a>>,
    ip: Option<Value<'a>>,
    ipv4: Option<Value<'a>>,
    ipv6: Option<Value<'a>>,
    proof: Proof<'a>,
}

impl<'a> RawAnnounce<'a> {
    fn collect(query: &'a str) -> Result<Self, Refusal> {
        let mut raw = Self::default();
        for (name, value) in pairs(query) {
            let slot = match name {
                "info_hash" if raw.info_hash.is_some() => {
                    return Err(Refusal::because("multiple info_hash parameters supplied"));
                }
                "info_hash" => {
                    raw.info_hash = Some(value);
                    continue;
                }
                "peer_id" => {
                    raw.peer_id = Some(value);
                    continue;
                }
                "port" => &mut raw.port,
                "uploaded" => &mut raw.uploaded,
                "downloaded" => &mut raw.downloaded,
                "left" => &mut raw.left,
                "event" => &mut raw.event,
                "numwant" => &mut raw.numwant,
                "compact" => &mut raw.compact,
                "no_peer_id" => &mut raw.no_peer_id,
                "ip" => &mut raw.ip,
                "ipv4" => &mut raw.ipv4,
                "ipv6" => &mut raw.ipv6,
                _ => {
                    raw.proof.take(name, value)?;
                    continue;
                }
            };
            *slot = Some(Value::new(value)?);
        }
        Ok(raw)
    }

    fn info_hash(&self) -> Result<InfoHash, Refusal> {
        info_hash(self.info_hash.ok_or_else(|| Refusal::because("no info_hash parameter supplied"))?)
    }

    fn peer_id(&self) -> Result<PeerId, Refusal> {
        let text = at_most::<LONGEST_ID>(self.peer_id.unwrap_or_default())?;
        text.and_then(|text| PeerId::from_bytes(&text).ok())
            .ok_or_else(|| Refusal::because("failed to provide valid peer_id"))
    }

    fn port(&self) -> Result<u16, Refusal> {
        let port: u64 = number("port", self.port)?;
        u16::try_from(port).map_err(|_| Refusal::because("invalid port"))
    }

    fn event(&self) -> (Event, bool) {
        let Some(value) = self.event else { return (Event::None, false) };
        let word = value.bytes();
        match Event::from_word(&word) {
            Some(event) => (event, false),
            // BEP 21: a partial seed. It stays what its `left` says: a leecher.
            None => (Event::None, *word != *b"paused"),
        }
    }

    fn num_want(&self, limits: &Limits) -> Result<usize, Refusal> {
        let Some(value) = self.numwant else { return Ok(limits.default_numwant) };
        let small = value.digits().and_then(|digits| i64::try_from(digits).ok());
        let wanted = small.or_else(|| parsed(value)).ok_or_else(|| unreadable("numwant"))?;
        Ok(limits.num_want(wanted))
    }

    fn form(&self) -> PeerForm {
        let is = |value: Option<Value<'_>>, text: &[u8]| value.is_some_and(|value| *value.bytes() == *text);
        match (self.compact, self.no_peer_id) {
            (Some(_), _) if !is(self.compact, b"0") => PeerForm::Compact,
            (_, no_peer_id) if is(no_peer_id, b"1") => PeerForm::ListWithoutIds,
            _ => PeerForm::List,
        }
    }

    fn address(&self, spoofing: Spoofing) -> Option<IpAddr> {
        if spoofing == Spoofing::Ignored {
            return None;
        }
        [self.ip, self.ipv4, self.ipv6].into_iter().find_map(|value| {
            let address: IpAddr = parsed(value?)?;
            Some(address.to_canonical())
        })
    }
}

/// An id in hex.
const LONGEST_ID: usize = 40;

fn info_hash(value: &str) -> Result<InfoHash, Refusal> {
    let text = at_most::<LONGEST_ID>(value)?;
    text.and_then(|text| InfoHash::from_bytes(&text).ok())
        .ok_or_else(|| Refusal::because("provided invalid infohash"))
}

fn number(name: &'static str, value: Option<Value<'_>>) -> Result<u64, Refusal> {
    value.and_then(|value| value.digits().or_else(|| parsed(value))).ok_or_else(|| unreadable(name))
}

fn parsed<T: FromStr>(value: Value<'_>) -> Option<T> {
    std::str::from_utf8(&value.bytes()).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIMITS: Limits = Limits {
        default_numwant: 50,
        max_numwant: 100,
        max_scrape_infohashes: 3,
        spoofing: Spoofing::Ignored,
    };
    const HASH: &str = "%01%02%03%04%05%06%07%08%09%0a%0b%0c%0d%0e%0f%10%11%12%13%14";

    fn ip() -> IpAddr {
        "192.0.2.1".parse().unwrap()
    }

    fn read(extra: &str) -> Result<HttpAnnounce, String> {
        let base =
            format!("info_hash={HASH}&peer_id=-TR4000-abcdefghijkl&port=6881&uploaded=1&downloaded=2&left=3");
        announce(&format!("{base}{extra}"), ip(), None, &LIMITS)
            .map_err(|refusal| refusal.reason.into_owned())
    }

    fn refused(query: &str) -> String {
        announce(query, ip(), None, &LIMITS).unwrap_err().reason.into_owned()
    }

    #[test]
    fn a_usual_announce_is_read() {
        let read = read("&event=started&numwant=20&compact=1&passkey=k1&key=abc&jwt=a.b.c").unwrap();
        let announce = read.announce;
        assert_eq!(announce.info_hash.0[19], 0x14);
        assert_eq!((announce.uploaded, announce.downloaded, announce.left), (1, 2, 3));
        assert_eq!((announce.event, announce.num_want, read.form), (Event::Started, 20, PeerForm::Compact));
        assert_eq!(announce.credential, Some(Credential::new(b"k1")));
        assert_eq!(announce.jwt, Some(Credential::new(b"a.b.c")));
    }

    #[test]
    fn what_is_wrong_is_named_in_the_texts_clients_know() {
        assert_eq!(refused(""), "no info_hash parameter supplied");
        assert_eq!(refused("info_hash=abc"), "provided invalid infohash");
        assert_eq!(
            refused(&format!("info_hash={HASH}&info_hash={HASH}")),
            "multiple info_hash parameters supplied"
        );
        assert_eq!(refused(&format!("info_hash={HASH}")), "failed to provide valid peer_id");
        assert_eq!(refused("info_hash=%zz"), "invalid query escape");
        assert_eq!(refused("info_hash=%4"), "invalid query escape");
        assert_eq!(read("&port=70000").unwrap_err(), "invalid port");
        assert_eq!(read("&uploaded=-1").unwrap_err(), "failed to parse parameter: uploaded");
        assert_eq!(read("&left=x").unwrap_err(), "failed to parse parameter: left");
        assert_eq!(read("&numwant=x").unwrap_err(), "failed to parse parameter: numwant");
        assert_eq!(
            read("&downloaded=9007199254740992").unwrap_err(),
            "failed to parse parameter: downloaded"
        );
    }

    #[test]
    fn numwant_follows_the_limits() {
        let wants = |extra: &str| read(extra).unwrap().announce.num_want;
        assert_eq!(wants(""), 50);
        assert_eq!(wants("&numwant=-1"), 50);
        assert_eq!(wants("&numwant=0"), 0);
        assert_eq!(wants("&numwant=1000"), 100);
    }

    #[test]
    fn odd_clients_are_understood() {
        assert_eq!(read("&event=stoped").unwrap().announce.event, Event::Stopped);
        assert!(!read("&event=paused").unwrap().unknown_event);
        assert!(read("&event=resting").unwrap().unknown_event);
        assert_eq!(read("&left=18446744073709551615").unwrap().announce.left, i64::MAX.unsigned_abs());
        assert_eq!(read("&compact=0").unwrap().form, PeerForm::List);
        assert_eq!(read("&no_peer_id=1").unwrap().form, PeerForm::ListWithoutIds);
        assert_eq!(read("&auth_key=k2").unwrap().announce.credential, Some(Credential::new(b"k2")));
        let hex = "0102030405060708090a0b0c0d0e0f1011121314";
        let query =
            format!("info_hash={hex}&peer_id=-TR4000-abcdefghijkl&port=1&uploaded=0&downloaded=0&left=0");
        assert_eq!(announce(&query, ip(), None, &LIMITS).unwrap().announce.info_hash.0[0], 1);
    }

    #[test]
    fn the_paths_credential_wins_and_a_claimed_address_needs_permission() {
        let query =
            format!("info_hash={HASH}&peer_id=-TR4000-abcdefghijkl&port=1&uploaded=0&downloaded=0&left=0");
        let query = format!("{query}&passkey=q&ip=198.51.100.7");
        let path = Some(Credential::new(b"p"));
        let read = announce(&query, ip(), path.clone(), &LIMITS).unwrap().announce;
        assert_eq!((read.credential, read.ip), (path, ip()));
        let allowed = Limits { spoofing: Spoofing::Allowed, ..LIMITS };
        assert_eq!(announce(&query, ip(), None, &allowed).unwrap().announce.ip.to_string(), "198.51.100.7");
    }

    #[test]
    fn a_scrape_reads_as_many_torrents_as_allowed() {
        let query = vec![format!("info_hash={HASH}"); 5].join("&");
        assert_eq!(scrape(&query, ip(), None, &LIMITS).unwrap().info_hashes.len(), 3);
        let none = scrape("passkey=k", ip(), None, &LIMITS).unwrap_err();
        assert_eq!(none.reason, "no info_hash parameter supplied");
    }

    proptest! {
        #[test]
        fn no_query_makes_it_panic(query in ".{0,300}") {
            drop(announce(&query, ip(), None, &LIMITS));
            drop(scrape(&query, ip(), None, &LIMITS));
        }

        #[test]
        fn any_twenty_bytes_survive_the_escape(bytes in any::<[u8; 20]>()) {
            let escaped: String = bytes.iter().map(|byte| format!("%{byte:02X}")).collect();
            let query = format!("info_hash={escaped}&peer_id={escaped}&port=1&uploaded=0&downloaded=0&left=0");
            let read = announce(&query, ip(), None, &LIMITS).unwrap().announce;
            prop_assert_eq!((read.info_hash.0, read.peer_id.0), (bytes, bytes));
        }
    }
}
