//! `client approval`: which BitTorrent clients may announce, by the name that a peer id begins with (BEP 20).
//!
//! A peer id is the client's own claim: the rule keeps honest users from clients that misbehave, not liars
//! out.

use contract::PeerId;
use contract::config::{Check, Problems};
use serde::{Deserialize, Serialize};

use super::{Admission, Hook, Verdict, list};
use crate::announce::{Announce, Refusal};

/// A ClientID has so many bytes: `TR3000` of `-TR3000-...`, or what a peer id without the dash begins with.
const CLIENT_ID_BYTES: usize = 6;
const PEER_ID_BYTES: usize = 20;

/// Options of `client approval`. An entry of six bytes is a ClientID; one of any other length is what a peer
/// id begins with.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Options {
    /// Nobody else may announce. Empty: everybody may who is not on the blacklist.
    #[serde(deserialize_with = "list")]
    pub whitelist: Vec<String>,
    /// These may not, whatever the whitelist says.
    #[serde(deserialize_with = "list")]
    pub blacklist: Vec<String>,
}

impl Check for Options {
    fn problems(&self, path: &str) -> Problems {
        let lists = [("whitelist", &self.whitelist), ("blacklist", &self.blacklist)];
        let entries = lists.into_iter().flat_map(|(list, entries)| entries.iter().map(move |e| (list, e)));
        let wrong = |(list, entry): (&str, &String)| match entry.len() {
            0 => Some(format!("`{path}.{list}`: an empty entry would match every client")),
            1..=PEER_ID_BYTES => None,
            _ => Some(format!("`{path}.{list}`: `{entry}` is longer than a peer id, which has 20 bytes")),
        };
        Problems(entries.filter_map(wrong).collect())
    }
}

/// The hook.
#[derive(Debug)]
pub struct ClientApproval {
    whitelist: Vec<Pattern>,
    blacklist: Vec<Pattern>,
}

#[derive(Debug)]
enum Pattern {
    ClientId([u8; CLIENT_ID_BYTES]),
    Prefix(Box<[u8]>),
}

impl ClientApproval {
    #[must_use]
    pub(crate) fn new(options: &Options) -> Self {
        let patterns = |entries: &[String]| entries.iter().map(|entry| Pattern::of(entry)).collect();
        Self { whitelist: patterns(&options.whitelist), blacklist: patterns(&options.blacklist) }
    }

    fn approves(&self, peer_id: &PeerId) -> bool {
        let listed = |patterns: &[Pattern]| patterns.iter().any(|pattern| pattern.matches(peer_id));
        !listed(&self.blacklist) && (self.whitelist.is_empty() || listed(&self.whitelist))
    }
}

impl Pattern {
    fn of(entry: &str) -> Self {
        let bytes = entry.as_bytes();
        bytes.try_into().map_or_else(|_| Self::Prefix(bytes.into()), Self::ClientId)
    }

    fn matches(&self, PeerId(peer_id): &PeerId) -> bool {
        match self {
            Self::ClientId(id) => peer_id.strip_prefix(b"-").unwrap_or(peer_id).starts_with(id),
            Self::Prefix(prefix) => peer_id.starts_with(prefix),
        }
    }
}

impl Hook for ClientApproval {
    fn announce(&self, announce: &Announce, _admission: &mut Admission) -> Verdict {
        if self.approves(&announce.peer_id) {
            return Verdict::Pass;
        }
        Verdict::Refuse(Refusal::because("unapproved client"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hooks::scene::{problems_of, refusal_of};

    const TRANSMISSION: &[u8; 20] = b"-TR3000-abcdefghijkl";

    fn refused(whitelist: &[&str], blacklist: &[&str], peer_id: &[u8; 20]) -> bool {
        let own = |entries: &[&str]| entries.iter().map(ToString::to_string).collect();
        let hook = ClientApproval::new(&Options { whitelist: own(whitelist), blacklist: own(blacklist) });
        let refusal = refusal_of(&hook, |announce| announce.peer_id = PeerId(*peer_id));
        assert!(refusal.as_ref().is_none_or(|refusal| refusal.reason == "unapproved client"));
        refusal.is_some()
    }

    #[test]
    fn six_bytes_are_a_client_id_and_other_lengths_a_prefix() {
        for entry in ["TR3000", "-TR3000", "-TR3000-", "-TR", "-TR3000-abcdefghijkl"] {
            assert!(!refused(&[entry], &[], TRANSMISSION), "{entry}");
            assert!(refused(&[], &[entry], TRANSMISSION), "{entry}");
        }
        for entry in ["TR3001", "TR300", "R3000-", "-TR300", "-TR3000-b"] {
            assert!(refused(&[entry], &[], TRANSMISSION), "{entry}");
        }
        assert!(!refused(&["-UT2210-"], &[], b"-UT2210-\xd6\x91abcdefghij"));
    }

    #[test]
    fn a_peer_id_without_a_dash_is_its_own_client_id() {
        assert!(!refused(&["OP1012"], &[], b"OP1012abcdefghijklmn"));
        assert!(refused(&["OP1012"], &[], b"xOP1012abcdefghijklm"));
    }

    #[test]
    fn the_blacklist_goes_before_the_whitelist_and_an_empty_one_approves_everybody() {
        assert!(refused(&["-TR"], &["TR3000"], TRANSMISSION));
        assert!(!refused(&["-TR"], &["TR3001"], TRANSMISSION));
        assert!(!refused(&[], &[], TRANSMISSION));
        assert!(!refused(&[], &["TR3001"], TRANSMISSION));
    }

    #[test]
    fn entries_that_match_everybody_or_nobody_are_problems() {
        let problems =
            problems_of::<Options>(r#"{whitelist: ["", TR3000], blacklist: [-TR3000-abcdefghijklm]}"#);
        assert!(problems.contains("hooks.prehooks[0].options.whitelist`: an empty entry"), "{problems}");
        assert!(problems.contains("options.blacklist`: `-TR3000-abcdefghijklm` is longer"), "{problems}");
        assert_eq!(problems_of::<Options>("{whitelist: , blacklist: [OP1012]}"), "");
        assert!(problems_of::<Options>("{whitelst: [a]}").contains("did you mean `whitelist`"));
    }
}
