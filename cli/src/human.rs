//! Figures as people read them. JSON keeps the raw ones.

use std::time::{Duration, UNIX_EPOCH};

use contract::Passkey;

/// The last second of the year 9999, beyond which the calendar form ends.
const LAST_CALENDAR_SECOND: u64 = 253_402_300_799;
const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

/// Bytes in the largest fitting binary unit, two decimals: `1.50 GiB`.
pub(crate) fn bytes(bytes: u64) -> String {
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    // The unit is found on integers, so that no rounding picks a wrong one.
    let power = (bytes.ilog2() / 10).min(6);
    let hundredths = u128::from(bytes) * 100 / (1u128 << (10 * power));
    format!("{}.{:02} {}", hundredths / 100, hundredths % 100, UNITS[power as usize - 1])
}

/// As [`bytes()`] for a ledger's signed figure.
pub(crate) fn signed_bytes(figure: i64) -> String {
    format!("{}{}", if figure < 0 { "-" } else { "" }, bytes(figure.unsigned_abs()))
}

/// Seconds as `2days 3h 4m`.
pub(crate) fn seconds(seconds: u64) -> String {
    humantime::format_duration(Duration::from_secs(seconds)).to_string()
}

/// As [`seconds`] for a ledger's signed figure.
pub(crate) fn signed_seconds(figure: i64) -> String {
    u64::try_from(figure).map_or_else(|_| format!("{figure}s"), seconds)
}

/// Milliseconds as `1m 2s`, without the odd milliseconds above one second.
pub(crate) fn milliseconds(ms: u64) -> String {
    let duration = Duration::from_millis(if ms < 1000 { ms } else { ms - ms % 1000 });
    humantime::format_duration(duration).to_string()
}

/// Unix seconds as `2026-01-02T03:04:05Z`.
pub(crate) fn utc(unix_seconds: u64) -> String {
    if unix_seconds > LAST_CALENDAR_SECOND {
        return format!("@{unix_seconds}");
    }
    humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(unix_seconds)).to_string()
}

/// As [`utc`] for a ledger's signed figure.
pub(crate) fn signed_utc(unix_seconds: i64) -> String {
    u64::try_from(unix_seconds).map_or_else(|_| format!("@{unix_seconds}"), utc)
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
    fn sizes_take_the_largest_unit_that_fits() {
        assert_eq!(bytes(0), "0 B");
        assert_eq!(bytes(1023), "1023 B");
        assert_eq!(bytes(1024), "1.00 KiB");
        assert_eq!(bytes(3 << 29), "1.50 GiB");
        assert_eq!(bytes(u64::MAX), "15.99 EiB");
        assert_eq!(signed_bytes(-2048), "-2.00 KiB");
    }

    #[test]
    fn a_time_beyond_the_calendar_is_still_shown() {
        assert_eq!(utc(0), "1970-01-01T00:00:00Z");
        assert_eq!(utc(u64::MAX), format!("@{}", u64::MAX));
        assert_eq!(entry_time("1700000000123-4"), "2023-11-14T22:13:20Z");
    }

    #[test]
    fn a_masked_passkey_shows_at_most_half_of_it() {
        assert_eq!(masked(&"abcdefghijkl".parse().unwrap()), "abcd…");
        assert_eq!(masked(&"abc".parse().unwrap()), "a…");
        assert_eq!(masked(&"a".parse().unwrap()), "…");
    }
}
