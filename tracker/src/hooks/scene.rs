//! What the hooks' tests share: an announce, an account, and the way to options as they are written.

use std::num::NonZeroU64;
use std::time::Instant;

use contract::config::{Check, checked_section, parse_yaml};
use contract::{Event, InfoHash, PeerId};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Admission, Hook, Verdict};
use crate::announce::{Account, Announce, Families, PeerIds, Refusal, UserTag};
use crate::arrival::Way;

/// A leecher's plain announce.
pub(super) fn announce() -> Announce {
    Announce {
        info_hash: InfoHash([1; 20]),
        peer_id: PeerId(*b"-TR4060-abcdefghijkl"),
        ip: [192, 0, 2, 1].into(),
        port: 6881,
        uploaded: 0,
        downloaded: 0,
        left: 1,
        event: Event::None,
        num_want: 50,
        families: Families::Both,
        peer_ids: PeerIds::Spared,
        credential: None,
        jwt: None,
        arrived: Instant::now(),
        way: Way::default(),
        extras: None,
    }
}

/// A user.
pub(super) fn account(name: &str) -> Account {
    let number = name.bytes().fold(1, |sum, byte| sum * 31 + u64::from(byte));
    let tag = UserTag(NonZeroU64::new(number).unwrap());
    Account { passkey: name.parse().unwrap(), tag, fd: None, pd: None }
}

/// The refusal of an announce that a test changed, if there is one.
pub(super) fn refusal_of(hook: &dyn Hook, change: impl Fn(&mut Announce)) -> Option<Refusal> {
    let mut announce = announce();
    change(&mut announce);
    match hook.announce(&announce, &mut Admission::new(1800, 900)) {
        Verdict::Pass => None,
        Verdict::Refuse(refusal) => Some(refusal),
        Verdict::Wait(_) => panic!("this hook knows already"),
    }
}

/// What is wrong with one hook's options, written as YAML; empty when they are good.
pub(super) fn problems_of<O: Check + Serialize + DeserializeOwned + Default>(options: &str) -> String {
    let read = parse_yaml(options).and_then(|tree| checked_section::<O>(&tree, "hooks.prehooks[0].options"));
    read.map_or_else(|problems| problems.to_string(), |_| String::new())
}
