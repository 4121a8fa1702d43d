//! Figures as people read them, for whoever shows the books.

use std::time::{Duration, UNIX_EPOCH};

/// The last second of the year 9999, beyond which the calendar form ends.
const LAST_CALENDAR_SECOND: u64 = 253_402_300_799;
const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

/// Bytes in the largest fitting binary unit, two decimals: `1.50 GiB`.
#[must_use]
pub fn bytes(bytes: u64) -> String {
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    // The unit is found on integers, so that no rounding picks a wrong one.
    let power = (bytes.ilog2() / 10).min(6);
    let hundredths = u128::from(bytes) * 100 / (1u128 << (10 * power));
    format!("{}.{:02} {}", hundredths / 100, hundredths % 100, UNITS[power as usize - 1])
}

/// As [`bytes()`] for a ledger's signed figure.
#[must_use]
pub fn signed_bytes(figure: i64) -> String {
    format!("{}{}", if figure < 0 { "-" } else { "" }, bytes(figure.unsigned_abs()))
}

/// Seconds as `2days 3h 4m`.
#[must_use]
pub fn seconds(seconds: u64) -> String {
    humantime::format_duration(Duration::from_secs(seconds)).to_string()
}

/// As [`seconds`] for a ledger's signed figure.
#[must_use]
pub fn signed_seconds(figure: i64) -> String {
    u64::try_from(figure).map_or_else(|_| format!("{figure}s"), seconds)
}

/// Unix seconds as `2026-01-02T03:04:05Z`.
#[must_use]
pub fn utc(unix_seconds: u64) -> String {
    if unix_seconds > LAST_CALENDAR_SECOND {
        return format!("@{unix_seconds}");
    }
    humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(unix_seconds)).to_string()
}

/// As [`utc`] for a ledger's signed figure.
#[must_use]
pub fn signed_utc(unix_seconds: i64) -> String {
    u64::try_from(unix_seconds).map_or_else(|_| format!("@{unix_seconds}"), utc)
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
    }
}
