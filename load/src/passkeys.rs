//! Made-up users' passkeys, which every run makes up alike.

use contract::Passkey;

use crate::draw::mix;
use crate::error::LoadError;
use crate::population::hex_digit;

/// The prefix leaves room for 16 digits of a 64-bit number, so that no two users are alike.
const LENGTH: usize = 32;
const LONGEST_PREFIX: usize = 16;

/// So many passkeys that begin with `prefix`. They are easy to guess: for tests only.
///
/// # Errors
/// When the prefix is none.
pub fn made_up(prefix: &str, count: u32) -> Result<Vec<Passkey>, LoadError> {
    if prefix.len() > LONGEST_PREFIX
        || (!prefix.is_empty() && Passkey::from_bytes(prefix.as_bytes()).is_err())
    {
        return Err(LoadError::usage("--passkey-prefix: at most 16 of the characters 0-9 A-Z a-z _ -"));
    }
    let digits = LENGTH - prefix.len();
    let number = |user: u32, place: usize| mix(u64::from(user)) >> (4 * (place % 16));
    let text = |user: u32| -> Vec<u8> {
        prefix.bytes().chain((0..digits).map(|place| hex_digit(number(user, place)))).collect()
    };
    let read =
        |user: u32| Passkey::from_bytes(&text(user)).map_err(|error| LoadError::usage(error.to_string()));
    (0..count).map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn made_up_passkeys_are_always_the_same_and_all_different() {
        let made = made_up("load", 1000).unwrap();
        assert_eq!(made, made_up("load", 2000).unwrap()[..1000]);
        assert_eq!(made.iter().map(Passkey::reveal).collect::<HashSet<_>>().len(), 1000);
        assert!(
            made.iter().all(|passkey| passkey.reveal().len() == 32 && passkey.reveal().starts_with("load"))
        );
        assert!(made_up("seventeen-letters", 1).is_err() && made_up("a b", 1).is_err());
    }
}
