//! `torrent approval`: which torrents may be announced, by a list in the file or by the site's set in Redis.
//!
//! An alias of an approved torrent is approved with it: a site that lists a hybrid's v1 info hash need not
//! list the other one. Scrapes pass, as in Chihaya: a torrent that nobody could announce has no peers to
//! count.

use std::collections::HashSet;

use contract::config::{Check, Period, Problems, ServiceUrl};
use contract::{InfoHash, Keys};
use redis::RedisResult;
use serde::{Deserialize, Serialize};
use service::redis::{Broker, Timeouts, url_problem};
use tracing::warn;

use super::{Admission, Hook, Verdict, list};
use crate::announce::{Announce, Refusal};
use crate::hooks::hybrid_alias::look_up;
use crate::hooks::membership::{self, Known, Membership};

/// Options of `torrent approval`: one of `whitelist`, `blacklist` and `redis_set`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Options {
    /// Info hashes in hex: no other torrent may be announced.
    #[serde(deserialize_with = "list")]
    pub whitelist: Vec<String>,
    /// Info hashes in hex: these may not be announced.
    #[serde(deserialize_with = "list")]
    pub blacklist: Vec<String>,
    /// The set of torrents that may be announced, without the key prefix; usually `pt:torrents`.
    pub redis_set: Option<String>,
    /// When a client whose torrent is not listed asks again: new uploads are announced before the site has
    /// published them.
    pub unregistered_interval: Period,
    /// Redis, when it is not the tracker's own.
    pub redis_broker: Option<ServiceUrl>,
    /// How long to wait for an answer.
    pub redis_read_timeout: Period,
    /// Taken together with the read timeout: the longer of both counts.
    pub redis_write_timeout: Period,
    /// How long to wait for a connection.
    pub redis_connect_timeout: Period,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            whitelist: Vec::new(),
            blacklist: Vec::new(),
            redis_set: None,
            unregistered_interval: Period::from_secs(60),
            redis_broker: None,
            redis_read_timeout: Period::from_secs(5),
            redis_write_timeout: Period::from_secs(5),
            redis_connect_timeout: Period::from_secs(5),
        }
    }
}

impl Check for Options {
    fn problems(&self, path: &str) -> Problems {
        let mut problems = Problems::default();
        let sources = [!self.whitelist.is_empty(), !self.blacklist.is_empty(), self.redis_set.is_some()];
        if sources.into_iter().filter(|used| *used).count() > 1 {
            problems.push(format!("`{path}`: use one of `whitelist`, `blacklist` and `redis_set`"));
        }
        for (list, entries) in [("whitelist", &self.whitelist), ("blacklist", &self.blacklist)] {
            for entry in entries.iter().filter(|entry| hash_of(entry).is_none()) {
                problems.push(format!("`{path}.{list}`: `{entry}` is not 40 hex digits"));
            }
        }
        if self.redis_set.as_ref().is_some_and(String::is_empty) {
            problems.push(format!("`{path}.redis_set`: expected the name of a set, such as `pt:torrents`"));
        }
        if self.unregistered_interval.as_secs() == 0 {
            problems.push(format!("`{path}.unregistered_interval`: must be at least 1s"));
        }
        problems.0.extend(url_problem(&format!("{path}.redis_broker"), self.redis_broker.as_ref()));
        problems
    }
}

/// The hook.
#[derive(Debug)]
pub struct TorrentApproval {
    rule: Rule,
    unregistered: Refusal,
}

#[derive(Debug)]
enum Rule {
    Only(HashSet<InfoHash>),
    AllBut(HashSet<InfoHash>),
    Set(Membership<InfoHash>),
}

impl TorrentApproval {
    /// Starts the hook from options without problems.
    ///
    /// # Errors
    /// When the Redis URL cannot be read. Redis need not be there yet.
    pub fn start(options: &Options, broker: &Broker) -> RedisResult<Self> {
        let seconds = u32::try_from(options.unregistered_interval.as_secs()).unwrap_or(u32::MAX);
        let unregistered = Refusal::for_seconds("unregistered torrent", seconds);
        Ok(Self { rule: Rule::start(options, broker)?, unregistered })
    }

    /// By a list in the file. An alias counts too, if a hook before this one found it.
    fn listed(list: &HashSet<InfoHash>, announce: &Announce, admission: &Admission) -> bool {
        list.contains(&announce.info_hash) || admission.book_as.is_some_and(|name| list.contains(&name))
    }

    fn ask_set(&self, set: &Membership<InfoHash>, announce: &Announce, admission: &mut Admission) -> Verdict {
        let announced = announce.info_hash;
        let (name, listed) = match set.look(&announced) {
            Known::Listed(name) => (name, true),
            Known::Unlisted(name) if name == announced => (name, false),
            Known::Unlisted(name) => match set.look(&name) {
                Known::Listed(_) => (name, true),
                Known::Unlisted(_) => (name, false),
                Known::Unknown => return look_up(set, name),
            },
            Known::Unknown => return look_up(set, announced),
        };
        if !listed {
            return Verdict::Refuse(self.unregistered.clone());
        }
        admission.book_as = (name != announced).then_some(name);
        Verdict::Pass
    }
}

impl Rule {
    fn start(options: &Options, broker: &Broker) -> RedisResult<Self> {
        let hashes = |entries: &[String]| entries.iter().filter_map(|entry| hash_of(entry)).collect();
        if let Some(set) = &options.redis_set {
            let link = membership::Options {
                redis: broker.url_or(options.redis_broker.as_ref()),
                set_key: format!("{}{set}", broker.key_prefix),
                alias_key: Keys::new(&broker.key_prefix).torrent_alias(),
                timeouts: Timeouts::of_periods(
                    options.redis_connect_timeout,
                    options.redis_read_timeout,
                    options.redis_write_timeout,
                ),
                subject: "torrents",
            };
            return Ok(Self::Set(membership::spawn(link)?));
        }
        if !options.whitelist.is_empty() {
            return Ok(Self::Only(hashes(&options.whitelist)));
        }
        if options.blacklist.is_empty() {
            warn!("torrent approval has no list and lets every torrent pass");
        }
        Ok(Self::AllBut(hashes(&options.blacklist)))
    }
}

/// Hex only: 20 characters in a file are not 20 raw bytes.
fn hash_of(entry: &str) -> Option<InfoHash> {
    (entry.len() == 40).then(|| entry.parse().ok()).flatten()
}

impl Hook for TorrentApproval {
    fn announce(&self, announce: &Announce, admission: &mut Admission) -> Verdict {
        match &self.rule {
            Rule::Set(set) => self.ask_set(set, announce, admission),
            Rule::Only(list) if !Self::listed(list, announce, admission) => {
                Verdict::Refuse(self.unregistered.clone())
            }
            Rule::AllBut(list) if Self::listed(list, announce, admission) => {
                Verdict::Refuse(Refusal::because("unapproved torrent"))
            }
            Rule::Only(_) | Rule::AllBut(_) => Verdict::Pass,
        }
    }

    fn waits_for(&self) -> Option<String> {
        let Rule::Set(set) = &self.rule else { return None };
        set.knows_nothing().then(|| "torrent approval: Redis does not answer".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::announce::Retry;
    use crate::hooks::scene::{announce, problems_of, refusal_of};

    fn hook(change: impl FnOnce(&mut Options)) -> TorrentApproval {
        let mut options = Options::default();
        change(&mut options);
        let broker = Broker { url: "redis://127.0.0.1:1/0".into(), key_prefix: String::new() };
        TorrentApproval::start(&options, &broker).unwrap()
    }

    fn refusal(hook: &TorrentApproval, number: u8) -> Option<Refusal> {
        refusal_of(hook, |announce| announce.info_hash = InfoHash([number; 20]))
    }

    fn hex(number: u8) -> String {
        InfoHash([number; 20]).to_string()
    }

    #[test]
    fn only_the_whitelist_may_and_others_are_told_to_ask_again_soon() {
        let hook = hook(|options| options.whitelist = vec![hex(1).to_uppercase(), hex(2)]);
        assert_eq!(refusal(&hook, 1), None);
        assert_eq!(refusal(&hook, 2), None);
        let refused = refusal(&hook, 3).unwrap();
        assert_eq!(
            (refused.reason.as_ref(), refused.retry),
            ("unregistered torrent", Retry::AfterSeconds(60))
        );
    }

    #[test]
    fn the_blacklist_may_not_and_is_not_asked_back() {
        let hook = hook(|options| options.blacklist = vec![hex(1)]);
        let refused = refusal(&hook, 1).unwrap();
        assert_eq!((refused.reason.as_ref(), refused.retry), ("unapproved torrent", Retry::Unspecified));
        assert_eq!(refusal(&hook, 2), None);
    }

    #[test]
    fn a_hybrid_that_an_earlier_hook_recognised_is_judged_by_both_names() {
        let mut hybrid = Admission { book_as: Some(InfoHash([2; 20])), ..Admission::new(1800, 900) };
        let announced = announce();
        assert_eq!(announced.info_hash, InfoHash([1; 20]));
        let white = hook(|options| options.whitelist = vec![hex(2)]);
        assert!(matches!(white.announce(&announced, &mut hybrid), Verdict::Pass));
        let black = hook(|options| options.blacklist = vec![hex(2)]);
        assert!(matches!(black.announce(&announced, &mut hybrid), Verdict::Refuse(_)));
    }

    #[test]
    fn contradictions_and_what_is_no_hash_are_problems() {
        let both = format!("{{whitelist: ['{}'], blacklist: ['{}']}}", hex(1), hex(2));
        assert!(problems_of::<Options>(&both).contains("use one of"));
        let mixed = format!("{{whitelist: ['{}'], redis_set: pt:torrents}}", hex(1));
        assert!(problems_of::<Options>(&mixed).contains("use one of"));
        let problems =
            problems_of::<Options>("{whitelist: [abcdefghijklmnopqrst, 'zz'], unregistered_interval: 0s}");
        assert!(problems.contains("`abcdefghijklmnopqrst` is not 40 hex digits"), "{problems}");
        assert!(problems.contains("`zz` is not 40 hex digits"), "{problems}");
        assert!(problems.contains("unregistered_interval"), "{problems}");
        assert!(problems_of::<Options>("{redis_set: ''}").contains("name of a set"));
        assert_eq!(problems_of::<Options>("{redis_set: pt:torrents, blacklist: }"), "");
    }
}
