//! Points in time as operators type them: `2d`, `2026-01-31T18:00:00Z`, `2026-01-31 18:00:00`, or unix
//! seconds.

use std::time::{SystemTime, UNIX_EPOCH};

/// Unix seconds of the past: a bare duration means so long ago.
pub(crate) fn past(text: &str) -> Result<i64, String> {
    read(text, Direction::Past, now())
}

/// Unix seconds of the future: a bare duration means so long from now.
pub(crate) fn future(text: &str) -> Result<i64, String> {
    read(text, Direction::Future, now())
}

/// Unix seconds now.
pub(crate) fn now() -> i64 {
    seconds(SystemTime::now())
}

/// Unix milliseconds now.
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Which way a bare duration points.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    Past,
    Future,
}

fn read(text: &str, direction: Direction, now: i64) -> Result<i64, String> {
    if let Ok(seconds) = text.parse::<i64>() {
        return Ok(seconds);
    }
    if let Ok(time) = humantime::parse_rfc3339_weak(text) {
        return Ok(seconds(time));
    }
    let duration = humantime::parse_duration(text).map_err(
        |_| "expected a duration such as 2d, a time such as 2026-01-31T18:00:00Z, or unix seconds",
    )?;
    let length = i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
    Ok(match direction {
        Direction::Past => now.saturating_sub(length),
        Direction::Future => now.saturating_add(length),
    })
}

fn seconds(time: SystemTime) -> i64 {
    match time.duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
        Err(before) => -i64::try_from(before.duration().as_secs()).unwrap_or(i64::MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_point_the_way_they_are_asked_for() {
        assert_eq!(read("2d", Direction::Past, 1_000_000), Ok(1_000_000 - 172_800));
        assert_eq!(read("1h30m", Direction::Future, 1_000_000), Ok(1_005_400));
        assert_eq!(read("1700000000", Direction::Past, 5), Ok(1_700_000_000));
        assert_eq!(read("2023-11-14T22:13:20Z", Direction::Past, 5), Ok(1_700_000_000));
        assert!(read("soon", Direction::Future, 5).is_err());
    }
}
