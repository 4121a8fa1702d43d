//! Figures as people read them. JSON keeps the raw ones.

use std::time::Duration;

pub(crate) use books::figures::{bytes, signed_bytes, signed_seconds, signed_utc, utc};
use contract::Passkey;

/// Milliseconds as `1m 2s`, without the odd milliseconds above one second.
pub(crate) fn milliseconds(ms: u64) -> String {
    let duration = Duration::from_millis(if ms < 1000 { ms } else { ms - ms % 1000 });
    humantime::format_duration(duration).to_string()
}

/// When a stream entry was added: the milliseconds that its id begins with.
pub(crate) fn entry_time(id: &str) -> String {
    let ms = id.split('-').next().and_then(|ms| ms.parse::<u64>().ok());
    ms.map_or_else(|| "?".into(), |ms| utc(ms / 1000))
}

/// A count with its noun: `1 entry`, `2 entries`.
pub(crate) fn count(figure: u64, singular: &str, plural: &str) -> String {
    format!("{figure} {}", if figure == 1 { singular } else { plural })
}

/// Enough of a passkey to recognize one's own, too little to use it: at most 4 characters and never more than
/// half.
pub(crate) fn masked(passkey: &Passkey) -> String {
    masked_text(passkey.reveal())
}

/// As [`masked`] for a text that should have been a passkey.
pub(crate) fn masked_text(text: &str) -> String {
    let shown: String = text.chars().take((text.chars().count() / 2).min(4)).collect();
    format!("{shown}…")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_id_begins_with_its_time() {
        assert_eq!(entry_time("1700000000123-4"), "2023-11-14T22:13:20Z");
    }

    #[test]
    fn a_masked_passkey_shows_at_most_half_of_it() {
        assert_eq!(masked(&"abcdefghijkl".parse().unwrap()), "abcd…");
        assert_eq!(masked(&"abc".parse().unwrap()), "a…");
        assert_eq!(masked(&"a".parse().unwrap()), "…");
    }
}
