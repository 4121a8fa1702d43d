//! An announce or scrape read from the query of its URL: raw parameters, which become typed when the tracker
//! asks for them. So the tracker decides in which order they are checked, and a parameter that it does not
//! need is never decoded.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use contract::{Event, InfoHash, PeerId};

use super::PeerForm;
use crate::url::{BrokenEscape, Value, at_most, pairs};

/// Why a query is no announce or scrape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadQuery {
    /// A `%` without two hexadecimal digits behind it.
    Escape,
    /// No torrent is named.
    NoInfoHash,
    /// An announce names several torrents.
    SeveralInfoHashes,
    /// The info hash is neither 20 bytes nor 40 hexadecimal digits.
    InfoHash,
    /// The peer id is not 20 bytes, or is not named.
    PeerId,
    /// The port is no number up to 65535.
    Port,
    /// A parameter that is no number, or not a credible one.
    Parameter(&'static str),
}

impl BadQuery {
    /// What clients show. Client tools and site owners search for these words: they never change.
    #[must_use]
    pub fn text(self) -> Cow<'static, str> {
        match self {
            Self::Escape => "invalid query escape".into(),
            Self::NoInfoHash => "no info_hash parameter supplied".into(),
            Self::SeveralInfoHashes => "multiple info_hash parameters supplied".into(),
            Self::InfoHash => "provided invalid infohash".into(),
            Self::PeerId => "failed to provide valid peer_id".into(),
            Self::Port => "invalid port".into(),
            Self::Parameter(name) => format!("failed to parse parameter: {name}").into(),
        }
    }
}

impl fmt::Display for BadQuery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text())
    }
}

impl Error for BadQuery {}

impl From<BrokenEscape> for BadQuery {
    fn from(_: BrokenEscape) -> Self {
        Self::Escape
    }
}

/// The parameters by which a client proves who it is. The tracker decides which of them counts.
#[derive(Debug, Clone, Copy, Default)]
pub struct Credentials<'a> {
    /// `credential`: sealed, or a passkey.
    pub credential: Option<Value<'a>>,
    /// The parameter of most private trackers.
    pub passkey: Option<Value<'a>>,
    /// `auth_key`, as XBT calls it.
    pub auth_key: Option<Value<'a>>,
    /// `jwt`: the token for this torrent.
    pub jwt: Option<Value<'a>>,
}

impl<'a> Credentials<'a> {
    /// Keeps the parameter if it is one of them.
    ///
    /// # Errors
    /// [`BrokenEscape`] in its value.
    #[inline]
    pub fn take(&mut self, name: &str, value: &'a str) -> Result<(), BrokenEscape> {
        let slot = match name {
            "credential" => &mut self.credential,
            "passkey" => &mut self.passkey,
            "auth_key" => &mut self.auth_key,
            "jwt" => &mut self.jwt,
            _ => return Ok(()),
        };
        *slot = Some(Value::new(value)?);
        Ok(())
    }
}

/// The parameters of an announce, not decoded yet.
#[derive(Debug, Default)]
pub struct AnnounceQuery<'a> {
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
    key: Option<&'a str>,
    corrupt: Option<&'a str>,
    /// What it shows to prove who asks.
    pub credentials: Credentials<'a>,
}

impl<'a> AnnounceQuery<'a> {
    /// Collects the parameters that anybody knows; others are passed over. Of several of one name the last
    /// counts.
    ///
    /// # Errors
    /// [`BadQuery::Escape`] and [`BadQuery::SeveralInfoHashes`].
    pub fn read(query: &'a str) -> Result<Self, BadQuery> {
        let mut read = Self::default();
        for (name, value) in pairs(query) {
            let slot = match name {
                "info_hash" if read.info_hash.is_some() => return Err(BadQuery::SeveralInfoHashes),
                "info_hash" => {
                    read.info_hash = Some(value);
                    continue;
                }
                "peer_id" => {
                    read.peer_id = Some(value);
                    continue;
                }
                // Wrong or not, an announce is not refused for what only some sites look at.
                "key" => {
                    read.key = Some(value);
                    continue;
                }
                "corrupt" => {
                    read.corrupt = Some(value);
                    continue;
                }
                "port" => &mut read.port,
                "uploaded" => &mut read.uploaded,
                "downloaded" => &mut read.downloaded,
                "left" => &mut read.left,
                "event" => &mut read.event,
                "numwant" => &mut read.numwant,
                "compact" => &mut read.compact,
                "no_peer_id" => &mut read.no_peer_id,
                "ip" => &mut read.ip,
                "ipv4" => &mut read.ipv4,
                "ipv6" => &mut read.ipv6,
                _ => {
                    read.credentials.take(name, value)?;
                    continue;
                }
            };
            *slot = Some(Value::new(value)?);
        }
        Ok(read)
    }

    /// The torrent.
    ///
    /// # Errors
    /// [`BadQuery`] when none is named, or nothing that can be one.
    pub fn info_hash(&self) -> Result<InfoHash, BadQuery> {
        info_hash(self.info_hash.ok_or(BadQuery::NoInfoHash)?)
    }

    /// The client.
    ///
    /// # Errors
    /// [`BadQuery`] when none is named, or nothing that can be one.
    pub fn peer_id(&self) -> Result<PeerId, BadQuery> {
        let text = at_most::<LONGEST_ID>(self.peer_id.unwrap_or_default())?;
        text.and_then(|text| PeerId::from_bytes(&text).ok()).ok_or(BadQuery::PeerId)
    }

    /// The port that peers are told.
    ///
    /// # Errors
    /// [`BadQuery`] when there is none.
    #[inline]
    pub fn port(&self) -> Result<u16, BadQuery> {
        u16::try_from(number("port", self.port)?).map_err(|_| BadQuery::Port)
    }

    /// Bytes uploaded.
    ///
    /// # Errors
    /// [`BadQuery::Parameter`].
    #[inline]
    pub fn uploaded(&self) -> Result<u64, BadQuery> {
        number("uploaded", self.uploaded)
    }

    /// Bytes downloaded.
    ///
    /// # Errors
    /// [`BadQuery::Parameter`].
    #[inline]
    pub fn downloaded(&self) -> Result<u64, BadQuery> {
        number("downloaded", self.downloaded)
    }

    /// Bytes still wanted.
    ///
    /// # Errors
    /// [`BadQuery::Parameter`].
    #[inline]
    pub fn left(&self) -> Result<u64, BadQuery> {
        number("left", self.left)
    }

    /// The event, and whether the client sent a word that nobody knows, which counts as none.
    #[must_use]
    #[inline]
    pub fn event(&self) -> (Event, bool) {
        let Some(value) = self.event else { return (Event::None, false) };
        let word = value.bytes();
        match Event::from_word(&word) {
            Some(event) => (event, false),
            // BEP 21: a partial seed. It stays what its `left` says: a leecher.
            None => (Event::None, *word != *b"paused"),
        }
    }

    /// How many peers it wants, if it says so; negative when it leaves that to the tracker.
    ///
    /// # Errors
    /// [`BadQuery::Parameter`].
    #[inline]
    pub fn numwant(&self) -> Result<Option<i64>, BadQuery> {
        let Some(value) = self.numwant else { return Ok(None) };
        let small = value.digits().and_then(|digits| i64::try_from(digits).ok());
        let wanted = small.or_else(|| parsed(value)).ok_or(BadQuery::Parameter("numwant"))?;
        Ok(Some(wanted))
    }

    /// How it wants its peers written.
    #[must_use]
    #[inline]
    pub fn form(&self) -> PeerForm {
        let is = |value: Option<Value<'_>>, text: &[u8]| value.is_some_and(|value| *value.bytes() == *text);
        match (self.compact, self.no_peer_id) {
            (Some(_), _) if !is(self.compact, b"0") => PeerForm::Compact,
            (_, no_peer_id) if is(no_peer_id, b"1") => PeerForm::ListWithoutIds,
            _ => PeerForm::List,
        }
    }

    /// By what it proves to trackers that it is still the same client; `None` also for what cannot be read.
    #[must_use]
    pub fn key(&self) -> Option<Cow<'a, [u8]>> {
        Value::new(self.key?).ok().map(Value::bytes)
    }

    /// Bytes that it threw away; `None` also for what cannot be read.
    #[must_use]
    pub fn corrupt(&self) -> Option<u64> {
        Value::new(self.corrupt?).ok()?.digits()
    }

    /// The address that it claims, IPv4-mapped ones mapped to IPv4: the first that can be read of `ip`,
    /// `ipv4` and `ipv6`.
    #[must_use]
    pub fn claimed_ip(&self) -> Option<IpAddr> {
        [self.ip, self.ipv4, self.ipv6].into_iter().find_map(|value| {
            let address: IpAddr = parsed(value?)?;
            Some(address.to_canonical())
        })
    }
}

/// A scrape as it came.
#[derive(Debug, Default)]
pub struct ScrapeQuery<'a> {
    /// The torrents; more than were wanted are passed over.
    pub info_hashes: Vec<InfoHash>,
    /// What it shows to prove who asks.
    pub credentials: Credentials<'a>,
}

impl<'a> ScrapeQuery<'a> {
    /// Reads up to `most` torrents.
    ///
    /// # Errors
    /// [`BadQuery`] when there is none, or what there is cannot be read.
    pub fn read(query: &'a str, most: usize) -> Result<Self, BadQuery> {
        let mut read = Self::default();
        for (name, value) in pairs(query) {
            match name {
                "info_hash" if read.info_hashes.len() < most => read.info_hashes.push(info_hash(value)?),
                _ => read.credentials.take(name, value)?,
            }
        }
        if read.info_hashes.is_empty() { Err(BadQuery::NoInfoHash) } else { Ok(read) }
    }
}

/// An id in hex.
const LONGEST_ID: usize = 40;

fn info_hash(value: &str) -> Result<InfoHash, BadQuery> {
    let text = at_most::<LONGEST_ID>(value)?;
    text.and_then(|text| InfoHash::from_bytes(&text).ok()).ok_or(BadQuery::InfoHash)
}

#[inline]
fn number(name: &'static str, value: Option<Value<'_>>) -> Result<u64, BadQuery> {
    value.and_then(|value| value.digits().or_else(|| parsed(value))).ok_or(BadQuery::Parameter(name))
}

fn parsed<T: FromStr>(value: Value<'_>) -> Option<T> {
    std::str::from_utf8(&value.bytes()).ok()?.parse().ok()
}
