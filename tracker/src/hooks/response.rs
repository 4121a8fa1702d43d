//! `response`: which peers a reply offers. Without this hook any peer of the right side is offered.
//!
//! A user's own sessions are never offered to each other, with or without it.

use contract::config::{Check, Problems};
use serde::{Deserialize, Serialize};

use super::{Admission, Hook, Verdict};
use crate::announce::{Alone, Announce, Choice, Peers, PrivatePeers, Subnets};

/// Options of `response`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Options {
    /// Offer peers of the client's own network first: traffic inside a network is cheap.
    pub prefer_same_subnet: bool,
    /// How many leading bits make an IPv4 network.
    pub ipv4_prefix: u8,
    /// How many leading bits make an IPv6 network.
    pub ipv6_prefix: u8,
    /// Offer a client itself when there is nobody else, for clients that take an empty list for an error.
    pub include_self_when_alone: bool,
    /// Offer peers at private, loopback and link-local addresses: for a tracker inside such a network.
    pub allow_private: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            prefer_same_subnet: false,
            ipv4_prefix: 24,
            ipv6_prefix: 64,
            include_self_when_alone: false,
            allow_private: false,
        }
    }
}

impl Check for Options {
    fn problems(&self, path: &str) -> Problems {
        let mut problems = Problems::default();
        for (key, prefix, bits) in
            [("ipv4_prefix", self.ipv4_prefix, 32), ("ipv6_prefix", self.ipv6_prefix, 128)]
        {
            if !(1..=bits).contains(&prefix) {
                problems.push(format!("`{path}.{key}`: must be from 1 to {bits}"));
            }
        }
        problems
    }
}

/// The hook.
#[derive(Debug)]
pub struct Response(Choice);

impl Response {
    /// Makes the hook from options without problems.
    #[must_use]
    pub fn new(options: &Options) -> Self {
        let &Options { ipv4_prefix, ipv6_prefix, .. } = options;
        Self(Choice {
            near: options.prefer_same_subnet.then_some(Subnets { ipv4_prefix, ipv6_prefix }),
            private: if options.allow_private { PrivatePeers::Offered } else { PrivatePeers::Hidden },
            alone: if options.include_self_when_alone { Alone::Itself } else { Alone::Empty },
        })
    }
}

impl Hook for Response {
    fn announce(&self, _announce: &Announce, admission: &mut Admission) -> Verdict {
        if let Peers::Offered(choice) = &mut admission.peers {
            *choice = self.0;
        }
        Verdict::Pass
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hooks::scene::{announce, problems_of};

    fn decided(options: &Options, before: Peers) -> Peers {
        let mut admission = Admission { peers: before, ..Admission::new(1800, 900) };
        assert!(matches!(Response::new(options).announce(&announce(), &mut admission), Verdict::Pass));
        admission.peers
    }

    #[test]
    fn by_default_only_private_addresses_are_hidden() {
        let wanted = Choice { private: PrivatePeers::Hidden, ..Choice::default() };
        assert_eq!(decided(&Options::default(), Peers::default()), Peers::Offered(wanted));
    }

    #[test]
    fn each_option_changes_one_thing() {
        let all = Options {
            prefer_same_subnet: true,
            ipv4_prefix: 16,
            include_self_when_alone: true,
            allow_private: true,
            ..Options::default()
        };
        let near = Some(Subnets { ipv4_prefix: 16, ipv6_prefix: 64 });
        let wanted = Choice { near, private: PrivatePeers::Offered, alone: Alone::Itself };
        assert_eq!(decided(&all, Peers::default()), Peers::Offered(wanted));
    }

    #[test]
    fn peers_that_another_hook_withheld_stay_withheld() {
        assert_eq!(decided(&Options::default(), Peers::Withheld), Peers::Withheld);
    }

    #[test]
    fn a_prefix_longer_than_an_address_or_of_nothing_is_a_problem() {
        let problems = problems_of::<Options>("{ipv4_prefix: 33, ipv6_prefix: 0}");
        assert!(problems.contains("ipv4_prefix`: must be from 1 to 32"), "{problems}");
        assert!(problems.contains("ipv6_prefix`: must be from 1 to 128"), "{problems}");
        assert!(problems_of::<Options>("{ipv6_prefix: 300}").contains("ipv6_prefix"));
        assert_eq!(problems_of::<Options>("{ipv4_prefix: 32, ipv6_prefix: 128}"), "");
    }
}
