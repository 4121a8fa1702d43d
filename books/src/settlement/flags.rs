//! What is credited nothing until an operator decides.

use contract::{Claim, TrafficEvent};
use serde_json::json;

use super::{Claimed, MAX_EXACT_BYTES, Rules};

/// A reason to credit nothing until an operator decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flag {
    /// The rule that the event broke.
    pub reason: FlagReason,
    /// The figures behind it, as JSON.
    pub details: String,
}

/// What can be wrong with an event that is otherwise well-formed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FlagReason {
    /// Faster than the configured rate.
    Speed,
    /// More bytes than can be counted exactly.
    Overflow,
}

impl FlagReason {
    /// The word in `flagged_events.reason`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Speed => "speed",
            Self::Overflow => "overflow",
        }
    }

    /// Reads the word back.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Speed, Self::Overflow].into_iter().find(|reason| reason.as_str() == word)
    }
}

/// More bytes than can be exact: the event is recorded, and counts as none.
pub(super) fn overflow(event: &TrafficEvent) -> Option<Flag> {
    if event.du.max(event.dd) <= MAX_EXACT_BYTES {
        return None;
    }
    let details = json!({ "du": event.du, "dd": event.dd, "dt": event.dt });
    Some(Flag { reason: FlagReason::Overflow, details: details.to_string() })
}

/// Bytes that cannot have moved in the time that there was: for this event, or for all of its session. Only
/// the second finds who announces all the time, because one event may be as early or late as a path.
pub(super) fn speed(event: &TrafficEvent, claimed: &Claimed, rules: &Rules) -> Option<Flag> {
    let max_rate = rules.max_rate_bytes_per_s;
    let too_fast = |bytes: u64, ms: u64| {
        u128::from(bytes) * 1000 > u128::from(max_rate) * u128::from(ms) && max_rate > 0
    };
    let (du, dd, dt, ms) = (event.du, event.dd, event.dt, time_base_ms(event));
    let details = if too_fast(du.max(dd), ms) {
        json!({ "du": du, "dd": dd, "dt": dt, "judged_over_seconds": ms / 1000, "max_rate_bytes_per_s": max_rate })
    } else if too_fast(claimed.most, claimed.span_ms) {
        json!({
            "du": du, "dd": dd, "dt": dt, "of_the_session": claimed.most,
            "judged_over_seconds": claimed.span_ms / 1000, "max_rate_bytes_per_s": max_rate,
        })
    } else {
        return None;
    };
    Some(Flag { reason: FlagReason::Speed, details: details.to_string() })
}

/// Milliseconds over which the bytes of an event came. One without a time base is judged over an interval.
fn time_base_ms(event: &TrafficEvent) -> u64 {
    let interval = u64::from(event.interval.max(1));
    let seconds = if event.dt == 0 { interval } else { event.dt };
    match &event.claim {
        None => seconds.saturating_mul(1000),
        Some(claim) => claimed_over_ms(event, claim, seconds),
    }
}

/// A late event (without `dt`), and one whose `ts` had to be moved on because a clock was set back, may cover
/// all since the line was born. Two reports may have taken paths of different length, and the site's clock
/// may run slow by a tenth.
fn claimed_over_ms(event: &TrafficEvent, claim: &Claim, seconds: u64) -> u64 {
    let since_birth = if event.dt == 0 || event.ts > claim.at_ms / 1000 {
        claim.at_ms.abs_diff(claim.born_ms).max(1000 * u64::from(event.interval))
    } else {
        0
    };
    let said = seconds.saturating_add(1).saturating_mul(1112);
    said.max(since_birth).saturating_add(claims::DEFAULT_SKEW_MS)
}
