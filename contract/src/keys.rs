//! Every Redis key that Seedbook reads or writes, in one place.
//!
//! Outside programs (the site, an operator's own scripts) rely on these names. A site-wide prefix lets
//! several sites share one Redis.

use crate::{InfoHash, Passkey, PeerId};

/// Builds key names under one site-wide prefix (empty by default).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Keys {
    prefix: String,
}

/// The stream that holds one entry per accepted announce, before the prefix.
pub const TRAFFIC_STREAM: &str = "tracker:traffic";
/// The whitelist of passkeys, before the prefix.
pub const PASSKEYS: &str = "pt:passkeys";
/// What the name of a session's snapshot begins with, before the prefix.
pub const SNAPSHOT_PREFIX: &str = "tracker:last:";

impl Keys {
    /// Keys that all begin with `prefix`.
    #[must_use]
    pub fn new(prefix: impl Into<String>) -> Self {
        Self { prefix: prefix.into() }
    }

    /// What every key begins with.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    fn key(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// Set of passkeys that may announce. Written by the site and `trackerctl passkey`.
    #[must_use]
    pub fn passkeys(&self) -> String {
        self.key(PASSKEYS)
    }

    /// Hash old passkey -> canonical passkey (rotation with overlap).
    #[must_use]
    pub fn passkey_alias(&self) -> String {
        self.key("pt:passkeys:alias")
    }

    /// Hash new passkey -> the old one, while `trackerctl passkey rotate` moves the old one's snapshots.
    /// Written by it, read by the tracker.
    #[must_use]
    pub fn rotating(&self) -> String {
        self.key("tracker:rotating")
    }

    /// Hash v1 info hash -> its v2 one, while what was booked under the v2 one is folded into it. Written by
    /// whoever does that, read by the tracker.
    #[must_use]
    pub fn folding(&self) -> String {
        self.key("tracker:folding")
    }

    /// Hash with the last entry's number (`n`), and the site's clock in milliseconds (`clock`) with Redis'
    /// own at that moment (`time`). Written by the tracker.
    #[must_use]
    pub fn head(&self) -> String {
        self.key("tracker:traffic:head")
    }

    /// Hash with the ledger's `id` and how many of its transactions (`batches`) were acknowledged. Written by
    /// the consumer and `trackerctl ledger adopt`.
    #[must_use]
    pub fn ledger(&self) -> String {
        self.key("tracker:ledger")
    }

    /// Set of info hashes that may be announced, when torrent approval uses Redis.
    #[must_use]
    pub fn torrents(&self) -> String {
        self.key("pt:torrents")
    }

    /// Hash v2 info hash -> v1 info hash of a BEP 52 hybrid.
    #[must_use]
    pub fn torrent_alias(&self) -> String {
        self.key("pt:torrents:alias")
    }

    /// Stream of traffic events. Written by the tracker, read by the consumer's group.
    #[must_use]
    pub fn traffic(&self) -> String {
        self.key(TRAFFIC_STREAM)
    }

    /// Stream of what trackers that share their swarms tell each other. Written and read by trackers only.
    #[must_use]
    pub fn swarm(&self) -> String {
        self.key("tracker:swarm")
    }

    /// Stream of entries that could not be decoded or settled.
    #[must_use]
    pub fn dead_letters(&self) -> String {
        self.key("tracker:traffic:dlq")
    }

    /// Stream of dead letters that were given up after the last retry.
    #[must_use]
    pub fn failed(&self) -> String {
        self.key("tracker:traffic:failed")
    }

    /// What every session snapshot's name begins with; the rest is `<passkey>:<infohash>:<peer_id>`.
    #[must_use]
    pub fn snapshot_prefix(&self) -> String {
        self.key(SNAPSHOT_PREFIX)
    }

    /// What the names begin with in which a tracker's progress is kept (a hash with `booked` and `open`); the
    /// rest is the id of one tracker process. Written and read by the tracker only, to notice a Redis that
    /// lost what it had confirmed.
    #[must_use]
    pub fn recorder_prefix(&self) -> String {
        self.key("tracker:recorder:")
    }

    /// Hash with the last absolute counters of one session.
    #[must_use]
    pub fn snapshot(&self, passkey: &Passkey, info_hash: &InfoHash, peer_id: &PeerId) -> String {
        format!("{}{SNAPSHOT_PREFIX}{}:{}:{}", self.prefix, passkey.reveal(), info_hash.hex(), peer_id.hex())
    }

    /// Set of info hashes that a user seeds now.
    #[must_use]
    pub fn seeding(&self, passkey: &Passkey) -> String {
        format!("{}{}", self.seeding_base(), passkey.reveal())
    }

    /// Set of info hashes that a user downloads now.
    #[must_use]
    pub fn leeching(&self, passkey: &Passkey) -> String {
        format!("{}{}", self.leeching_base(), passkey.reveal())
    }

    /// Set of peer ids with which a user seeds one torrent.
    #[must_use]
    pub fn seeding_members(&self, passkey: &Passkey, info_hash: &InfoHash) -> String {
        format!("{}{}:{}", self.seeding_members_base(), passkey.reveal(), info_hash.hex())
    }

    /// Set of peer ids with which a user downloads one torrent.
    #[must_use]
    pub fn leeching_members(&self, passkey: &Passkey, info_hash: &InfoHash) -> String {
        format!("{}{}:{}", self.leeching_members_base(), passkey.reveal(), info_hash.hex())
    }

    /// What every [`Keys::seeding`] begins with; the rest is the passkey. For scripts that complete many
    /// names.
    #[must_use]
    pub fn seeding_base(&self) -> String {
        self.key("tracker:passkey:seed:")
    }

    /// What every [`Keys::leeching`] begins with; the rest is the passkey.
    #[must_use]
    pub fn leeching_base(&self) -> String {
        self.key("tracker:passkey:leech:")
    }

    /// What every [`Keys::seeding_members`] begins with; the rest is `<passkey>:<infohash>`.
    #[must_use]
    pub fn seeding_members_base(&self) -> String {
        self.key("tracker:passkey:seed:members:")
    }

    /// What every [`Keys::leeching_members`] begins with; the rest is `<passkey>:<infohash>`.
    #[must_use]
    pub fn leeching_members_base(&self) -> String {
        self.key("tracker:passkey:leech:members:")
    }

    /// Consumer-internal presence keys begin with this; see the consumer's `presence` module.
    #[must_use]
    pub fn presence(&self, name: &str) -> String {
        format!("{}tracker:presence:{name}", self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_contracts_names_under_the_prefix() {
        let (bare, prefixed) = (Keys::default(), Keys::new("a:"));
        let passkey: Passkey = "k1".parse().unwrap();
        let (hash, peer) = (InfoHash([1; 20]), PeerId([2; 20]));
        let (h, p) = ("01".repeat(20), "02".repeat(20));
        assert_eq!(bare.passkeys(), "pt:passkeys");
        assert_eq!(bare.traffic(), "tracker:traffic");
        assert_eq!(bare.snapshot(&passkey, &hash, &peer), format!("tracker:last:k1:{h}:{p}"));
        assert_eq!(bare.seeding(&passkey), "tracker:passkey:seed:k1");
        assert_eq!(bare.leeching_members(&passkey, &hash), format!("tracker:passkey:leech:members:k1:{h}"));
        assert_eq!(prefixed.recorder_prefix(), "a:tracker:recorder:");
        assert_eq!(prefixed.swarm(), "a:tracker:swarm");
        assert_eq!(prefixed.dead_letters(), "a:tracker:traffic:dlq");
    }
}
