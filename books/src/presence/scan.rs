//! Walking the keys of presence: Redis has no index of its users.

use std::collections::HashMap;

use contract::{InfoHash, Keys, Passkey};
use redis::aio::MultiplexedConnection;
use redis::{RedisResult, cmd};

/// Keys looked at by one command: a fraction of a millisecond.
const STEP: usize = 1000;

/// What a key's name says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Named {
    /// A user's guards or one of their sets.
    User(Passkey),
    /// The members of one of a user's torrents.
    Members(Passkey, InfoHash),
}

impl Named {
    fn read(keys: &Keys, key: &str) -> Option<Self> {
        let members = [keys.seeding_members_base(), keys.leeching_members_base()];
        if let Some(rest) = members.iter().find_map(|base| key.strip_prefix(base.as_str())) {
            let (passkey, info_hash) = rest.split_once(':')?;
            return Some(Self::Members(passkey.parse().ok()?, info_hash.parse().ok()?));
        }
        let users = [keys.presence("guard:"), keys.seeding_base(), keys.leeching_base()];
        let rest = users.iter().find_map(|base| key.strip_prefix(base.as_str()))?;
        rest.parse().ok().map(Self::User)
    }

    fn passkey(self) -> Passkey {
        match self {
            Self::User(passkey) | Self::Members(passkey, _) => passkey,
        }
    }

    fn members(self) -> Option<(Passkey, InfoHash)> {
        match self {
            Self::User(_) => None,
            Self::Members(passkey, info_hash) => Some((passkey, info_hash)),
        }
    }
}

/// A walk over all keys of presence.
#[derive(Debug, Clone, Copy, Default)]
struct Cursor(Option<u64>);

impl Cursor {
    /// The next keys, possibly none of them; `None` at the end.
    async fn page(
        &mut self,
        connection: &mut MultiplexedConnection,
        keys: &Keys,
    ) -> RedisResult<Option<Vec<Named>>> {
        if self.0 == Some(0) {
            return Ok(None);
        }
        let mut scan = cmd("SCAN");
        scan.arg(self.0.unwrap_or(0)).arg("MATCH").arg(pattern(keys)).arg("COUNT").arg(STEP);
        let (next, found): (u64, Vec<Vec<u8>>) = scan.query_async(connection).await?;
        self.0 = Some(next);
        let text = found.iter().filter_map(|key| std::str::from_utf8(key).ok());
        Ok(Some(text.filter_map(|key| Named::read(keys, key)).collect()))
    }
}

/// `tracker:passkey:...` and `tracker:presence:...`, with what a pattern would take for itself escaped.
fn pattern(keys: &Keys) -> String {
    let passkeys = keys.seeding_base();
    let mut pattern = String::new();
    for letter in passkeys.trim_end_matches("asskey:seed:").chars() {
        if matches!(letter, '*' | '?' | '[' | ']' | '\\' | '^') {
            pattern.push('\\');
        }
        pattern.push(letter);
    }
    pattern + "*"
}

/// Everybody who has a guard or a set, with the torrents that have members and are in neither of the user's
/// sets.
pub(super) async fn users(
    connection: &mut MultiplexedConnection,
    keys: &Keys,
) -> RedisResult<HashMap<Passkey, Vec<InfoHash>>> {
    let (mut users, mut cursor) = (HashMap::<_, Vec<InfoHash>>::new(), Cursor::default());
    while let Some(page) = cursor.page(connection, keys).await? {
        for named in &page {
            users.entry(named.passkey()).or_default();
        }
        let torrents: Vec<_> = page.into_iter().filter_map(Named::members).collect();
        for (passkey, info_hash) in unlisted(connection, keys, &torrents).await? {
            users.entry(passkey).or_default().push(info_hash);
        }
    }
    Ok(users)
}

/// Of these, the ones that are in neither of the user's sets.
async fn unlisted(
    connection: &mut MultiplexedConnection,
    keys: &Keys,
    torrents: &[(Passkey, InfoHash)],
) -> RedisResult<Vec<(Passkey, InfoHash)>> {
    if torrents.is_empty() {
        return Ok(Vec::new());
    }
    let mut ask = redis::pipe();
    for (passkey, info_hash) in torrents {
        ask.sismember(keys.seeding(passkey), info_hash.to_string());
        ask.sismember(keys.leeching(passkey), info_hash.to_string());
    }
    let listed: Vec<bool> = ask.query_async(connection).await?;
    let unlisted = torrents.iter().zip(listed.chunks_exact(2)).filter(|(_, listed)| !listed.contains(&true));
    Ok(unlisted.map(|(torrent, _)| *torrent).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_keys_name_says_whose_it_is() {
        let (keys, hash) = (Keys::new("a*:"), InfoHash([7; 20]));
        let alice: Passkey = "alice".parse().unwrap();
        assert_eq!(Named::read(&keys, &keys.leeching(&alice)), Some(Named::User(alice)));
        let members = keys.seeding_members(&alice, &hash);
        assert_eq!(Named::read(&keys, &members), Some(Named::Members(alice, hash)));
        assert_eq!(Named::read(&keys, "a*:tracker:presence:guard:alice"), Some(Named::User(alice)));
        assert_eq!(Named::read(&keys, "a*:tracker:presence:lease"), None);
        assert_eq!(pattern(&keys), "a\\*:tracker:p*");
    }
}
