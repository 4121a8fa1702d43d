//! What travels down the line: an [`Announce`] is parsed, becomes [`Admitted`] when every hook passed, and
//! ends as a [`Reply`] for the client and a [`Report`] for the recorder. A step cannot run early: its input
//! does not exist yet.
//!
//! These types know no socket, runtime, Redis, clock or metrics.

use std::borrow::Cow;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::num::NonZeroU64;
use std::sync::LazyLock;
use std::time::Instant;

use contract::{Event, Extras, InfoHash, Passkey, PeerId};
use sha2::{Digest, Sha256};
use wire::http::query::BadQuery;

pub use wire::peers::{EndpointV4, EndpointV6, NAMELESS, Offer, Offers, PeerIds, PeerList, endpoint};
pub use wire::{Counts, Reply};

use crate::arrival::Way;

/// The largest absolute counter that is believed: 2^53 - 1 bytes (8 PiB), up to which the recorder's
/// arithmetic in Redis is exact. No session comes near it; clients that send more report garbage.
pub const MAX_COUNTER: u64 = (1 << 53) - 1;

/// A well-formed announce, before anybody decided whether to accept it (BEP 3, BEP 15).
#[derive(Debug, Clone)]
pub struct Announce {
    /// The torrent, by the info hash that the client announces: of a hybrid v1 or v2.
    pub info_hash: InfoHash,
    /// The client, as it names itself in this run.
    pub peer_id: PeerId,
    /// The address that peers are told, IPv4-mapped ones already mapped to IPv4.
    pub ip: IpAddr,
    /// The port that peers are told; 0 when the client listens nowhere.
    pub port: u16,
    /// Bytes uploaded in this run, at most [`MAX_COUNTER`].
    pub uploaded: u64,
    /// Bytes downloaded in this run, at most [`MAX_COUNTER`].
    pub downloaded: u64,
    /// Bytes still wanted, clamped to `i64::MAX` (clients without metadata send `u64::MAX`).
    pub left: u64,
    /// Why the client announces now; `None` for its regular announces.
    pub event: Event,
    /// How many peers the client gets at most, limits already applied.
    pub num_want: usize,
    /// The peers' families that the reply can carry.
    pub families: Families,
    /// Whether the reply names their ids.
    pub peer_ids: PeerIds,
    /// What the client showed to prove who it is.
    pub credential: Option<Credential>,
    /// The token that lets it into this torrent.
    pub jwt: Option<Credential>,
    /// When it reached this machine, however long it waited here.
    pub arrived: Instant,
    /// How it came.
    pub way: Way,
    /// What only some sites' tables want; `None` where no site asks.
    pub extras: Option<Box<Extras>>,
}

impl Announce {
    /// The side of the swarm the client stands on.
    #[must_use]
    pub fn role(&self) -> Role {
        if self.left == 0 { Role::Seeder } else { Role::Leecher }
    }
}

/// Which peers a reply can carry: HTTP carries both (BEP 7), UDP the family of the connection (BEP 15).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Families {
    /// IPv4 and IPv6.
    Both,
    /// The family of the announce itself.
    Own,
}

/// A scrape: how many seed and leech each torrent (BEP 48).
#[derive(Debug, Clone)]
pub struct Scrape {
    /// The torrents, at most as many as the frontend allows.
    pub info_hashes: Vec<InfoHash>,
    /// The address that the client scrapes from.
    pub ip: IpAddr,
    /// What the client showed to prove who it is.
    pub credential: Option<Credential>,
}

/// The raw text of a passkey, sealed credential or token. Never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential(Box<[u8]>);

impl Credential {
    /// Keeps the text as it came.
    #[must_use]
    pub fn new(text: &[u8]) -> Self {
        Self(text.into())
    }

    /// The text itself: for comparing and unsealing, never for logs.
    #[must_use]
    pub fn reveal(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credential([redacted])")
    }
}

/// Seeder or leecher.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Has everything.
    Seeder,
    /// Wants something.
    Leecher,
}

/// A user: the beginning of a SHA-256 of the canonical passkey.
///
/// A hash without a secret, because all trackers of a site that share their swarms must agree on it at any
/// time, also while Redis is away or has lost everything, and a secret would have to come from somewhere. The
/// tag never leaves the trackers and their Redis, which holds the passkeys themselves.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct UserTag(pub NonZeroU64);

impl UserTag {
    /// The user of this canonical passkey.
    #[must_use]
    pub fn of(passkey: &Passkey) -> Self {
        let digest = Sha256::new().chain_update(b"seedbook user\0").chain_update(passkey.reveal()).finalize();
        let [a, b, c, d, e, f, g, h, ..] = digest.0;
        Self(NonZeroU64::new(u64::from_le_bytes([a, b, c, d, e, f, g, h])).unwrap_or(NonZeroU64::MIN))
    }
}

/// As logs show a user: hashed once more, with a key drawn at start, because anybody could try passkeys until
/// one has the tag. Means nothing after a restart.
impl fmt::Display for UserTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        static KEY: LazyLock<RandomState> = LazyLock::new(RandomState::new);
        write!(f, "user-{:016x}", KEY.hash_one(self))
    }
}

impl fmt::Debug for UserTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The account an announce is booked on, as a hook found it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// The canonical passkey.
    pub passkey: Passkey,
    /// The same, for the swarm and for logs.
    pub tag: UserTag,
    /// Film id that the credential carried.
    pub fd: Option<String>,
    /// Playlist id that the credential carried.
    pub pd: Option<String>,
}

/// What the hooks decide about an announce while it passes them.
#[derive(Debug, Clone)]
pub struct Admission {
    /// Seconds until the client should announce again.
    pub interval: u32,
    /// Seconds before which it should not.
    pub min_interval: u32,
    /// Whose traffic this is; `None` on a tracker without accounts.
    pub account: Option<Account>,
    /// The torrent that traffic is booked on when it is not the announced one: a hybrid's v1 info hash (BEP
    /// 52).
    pub book_as: Option<InfoHash>,
    /// Which peers the client gets.
    pub peers: Peers,
    /// What the client shows its user, although the announce is accepted. UDP has no room for it.
    pub warning: Option<Cow<'static, str>>,
}

impl Admission {
    /// What is decided before the first hook: nothing but the intervals, in seconds.
    #[must_use]
    pub fn new(interval: u32, min_interval: u32) -> Self {
        Self { interval, min_interval, account: None, book_as: None, peers: Peers::default(), warning: None }
    }

    /// Adds a sentence to the warning.
    pub fn warn(&mut self, text: impl Into<Cow<'static, str>>) {
        let text = text.into();
        self.warning = Some(match self.warning.take() {
            Some(earlier) => format!("{earlier}; {text}").into(),
            None => text,
        });
    }
}

/// Which peers a client gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peers {
    /// As many as it wants, chosen like this.
    Offered(Choice),
    /// None: it broke a limit.
    Withheld,
}

impl Default for Peers {
    fn default() -> Self {
        Self::Offered(Choice::default())
    }
}

/// How peers are chosen. The default, any peer of the right side, is the fast one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Choice {
    /// Peers in the client's own network come first.
    pub near: Option<Subnets>,
    /// Peers at addresses that the internet cannot reach.
    pub private: PrivatePeers,
    /// A client for whom there is nobody.
    pub alone: Alone,
}

/// How many leading bits make a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subnets {
    /// Of an IPv4 address, at most 32.
    pub ipv4_prefix: u8,
    /// Of an IPv6 address, at most 128.
    pub ipv6_prefix: u8,
}

/// What happens to peers at private, loopback, link-local and other addresses that the internet cannot reach.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum PrivatePeers {
    /// They are offered like others.
    #[default]
    Offered,
    /// They are not offered.
    Hidden,
}

/// What a client gets for whom there is nobody.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Alone {
    /// An empty list.
    #[default]
    Empty,
    /// Itself, for clients that take an empty list for an error.
    Itself,
}

/// An announce that every hook let pass.
#[derive(Debug, Clone)]
pub struct Admitted {
    /// The announce as it was parsed; hooks do not change it.
    pub announce: Announce,
    /// What the hooks decided about it.
    pub admission: Admission,
}

impl Admitted {
    /// The torrent that traffic is booked on. The swarm is always the announced one's: a hybrid's v1 and v2
    /// peers cannot always talk to each other.
    #[must_use]
    pub fn booked_on(&self) -> InfoHash {
        self.admission.book_as.unwrap_or(self.announce.info_hash)
    }
}

/// What the recorder books: absolute counters, so that repeating a report changes nothing.
#[derive(Debug, Clone)]
pub struct Report {
    /// The announce, with its absolute counters.
    pub admitted: Admitted,
    /// The user on whose totals it is booked.
    pub account: Account,
}

/// The answer to an accepted scrape.
#[derive(Debug, Clone)]
pub struct ScrapeReply {
    /// The torrents, as they were asked for.
    pub info_hashes: Vec<InfoHash>,
    /// How many seed and leech each of them, in the same order.
    pub counts: Vec<Counts>,
}

/// Why a client is turned away, in words it can show, with what it should do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The `failure reason` that clients show their users.
    pub reason: Cow<'static, str>,
    /// When trying again helps (BEP 31).
    pub retry: Retry,
    /// For advice that a frontend adds.
    pub kind: RefusalKind,
}

/// What a refusal is about, as far as a frontend has advice of its own to add: over UDP some clients cannot
/// send a credential, or cut it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusalKind {
    /// The client showed no passkey or token.
    MissingCredential,
    /// What it showed cannot be a passkey or token.
    InvalidCredential,
    /// The URL that would carry it cannot be read.
    InvalidUrl,
    /// Anything else.
    Other,
}

/// When a refused client should try again (BEP 31).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// Whenever its own schedule says: nothing is promised.
    Unspecified,
    /// After so many whole minutes: the cause is on our side.
    AfterMinutes(u32),
    /// After so many seconds: the cause may be gone by then.
    AfterSeconds(u32),
}

impl Refusal {
    /// The client must change something before it is accepted.
    #[must_use]
    pub fn because(reason: impl Into<Cow<'static, str>>) -> Self {
        Self::new(reason, Retry::Unspecified)
    }

    /// Waiting helps: something on our side is away.
    #[must_use]
    pub fn for_now(reason: impl Into<Cow<'static, str>>) -> Self {
        Self::new(reason, Retry::AfterMinutes(1))
    }

    /// Somebody is about to change it: the client shall ask again after so many seconds.
    #[must_use]
    pub fn for_seconds(reason: impl Into<Cow<'static, str>>, seconds: u32) -> Self {
        Self::new(reason, Retry::AfterSeconds(seconds))
    }

    /// The same, with what it is about.
    #[must_use]
    pub fn of_kind(self, kind: RefusalKind) -> Self {
        Self { kind, ..self }
    }

    fn new(reason: impl Into<Cow<'static, str>>, retry: Retry) -> Self {
        Self { reason: reason.into(), retry, kind: RefusalKind::Other }
    }
}

/// What the bytes lack is what the client shows.
impl From<BadQuery> for Refusal {
    fn from(bad: BadQuery) -> Self {
        let kind = if bad == BadQuery::Escape { RefusalKind::InvalidUrl } else { RefusalKind::Other };
        Self::because(bad.text()).of_kind(kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_has_the_same_tag_everywhere_and_logs_do_not_show_it() {
        let tag = |passkey: &str| UserTag::of(&passkey.parse().unwrap());
        // Trackers of two releases share swarms while a site updates: the tag must stay what it is.
        assert_eq!(tag("alice").0.get(), 0xb576_1de7_13b4_42a1);
        assert_ne!(tag("alice"), tag("Alice"));
        let shown = format!("{} {:?}", tag("alice"), tag("alice"));
        assert!(!shown.contains(&format!("{:016x}", tag("alice").0)), "{shown}");
    }
}
