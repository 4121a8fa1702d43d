//! Refusals as HTTP clients read them: when to come back, in the two ways that clients understand. Pure.

use wire::http::RetryIn;
use wire::http::reply::{Failure, failure};

use crate::announce::{Refusal, Retry};

/// The answer to a refused announce or scrape. `interval` is there because clients ignore a failure without
/// it and come back at once; `retry in` (BEP 31) when waiting helps.
#[must_use]
pub fn refusal(refusal: &Refusal, interval: u32) -> Vec<u8> {
    let minutes = |minutes: u32| Some(RetryIn::Minutes(minutes.into()));
    let (interval, retry_in) = match refusal.retry {
        Retry::Unspecified => (interval, None),
        Retry::AfterMinutes(after) => (after.saturating_mul(60), minutes(after)),
        Retry::AfterSeconds(after) => (after, minutes(after.div_ceil(60))),
    };
    failure(Failure { reason: &refusal.reason, interval, retry_in })
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::bencode::{Value, parse};

    #[test]
    fn a_refusal_says_when_to_come_back() {
        let written = |said: &Refusal| parse(&refusal(said, 1800)).unwrap();
        let value = written(&Refusal::because("unapproved passkey"));
        assert_eq!(value.get("interval").and_then(Value::as_integer), Some(1800));
        assert_eq!(value.get("retry in"), None);
        let value = written(&Refusal::for_now("busy"));
        assert_eq!(value.get("retry in").and_then(Value::as_integer), Some(1));
        assert_eq!(value.get("interval").and_then(Value::as_integer), Some(60));
        let value = written(&Refusal::for_seconds("not yet", 90));
        assert_eq!(value.get("interval").and_then(Value::as_integer), Some(90));
        assert_eq!(value.get("retry in").and_then(Value::as_integer), Some(2), "whole minutes");
    }
}
