//! Why Redis did not book a batch, and what the recorder and the operator should do about it.
//!
//! In every case the recorder keeps the batch with its numbers and sends it again: an answer that is missing
//! may have been a yes. The kinds of failure differ in whether sending it again at once can help, and in the
//! sentence that the operator reads.

use redis::{ErrorKind, RedisError};
use thiserror::Error;

use super::reply::{Outcome, Receipt, Verdict};

/// The kinds of failure, each with its own remedy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureKind {
    /// Refused, cut, or silent: it may be down, and the outcome is unknown.
    Unreachable,
    /// It is up and will take writes by itself soon.
    Busy,
    /// It is up and takes no writes: a replica, out of memory, its disk failing, too few replicas.
    ReadOnly,
    /// It does not let the tracker in, or not at these keys.
    Forbidden,
    /// It answered something that nobody foresaw.
    Unexpected,
}

impl FailureKind {
    /// Judges an error by its code, the first word of Redis' answer.
    fn of(error: &RedisError) -> Self {
        if error.kind() == ErrorKind::AuthenticationFailed {
            return Self::Forbidden;
        }
        match error.code() {
            None if error.kind() == ErrorKind::UnexpectedReturnType => Self::Unexpected,
            None => Self::Unreachable,
            // NOSCRIPT: the script was taught again just before, so the server was replaced in between.
            Some("LOADING" | "MASTERDOWN" | "CLUSTERDOWN" | "TRYAGAIN" | "BUSY" | "NOSCRIPT") => Self::Busy,
            Some("READONLY" | "OOM" | "MISCONF" | "NOREPLICAS") => Self::ReadOnly,
            Some("NOAUTH" | "WRONGPASS" | "NOPERM") => Self::Forbidden,
            Some(_) => Self::Unexpected,
        }
    }

    /// Whether the same batch may well succeed within a second.
    #[must_use]
    pub fn may_pass_soon(self) -> bool {
        matches!(self, Self::Unreachable | Self::Busy | Self::ReadOnly)
    }

    /// What the operator should look at.
    #[must_use]
    pub fn advice(self) -> &'static str {
        match self {
            Self::Unreachable => "start Redis, or mend the network to it",
            Self::Busy => "Redis is loading or busy: wait",
            Self::ReadOnly => "make Redis writable: its memory limit, its disk, its role as a replica",
            Self::Forbidden => "mend the tracker's password or ACL rules for Redis",
            Self::Unexpected => "look at the error, and at what else is stored under the tracker's keys",
        }
    }
}

/// Why a batch is not booked.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{reason}")]
pub struct SendFailure {
    /// Whether sending again can help, and what to advise.
    pub kind: FailureKind,
    /// What Redis or the connection said.
    pub reason: String,
}

impl From<&RedisError> for SendFailure {
    fn from(error: &RedisError) -> Self {
        Self { kind: FailureKind::of(error), reason: error.to_string() }
    }
}

impl Receipt {
    /// A stream that takes no entries fails the whole batch.
    ///
    /// # Errors
    /// When that is what happened.
    pub fn of_a_writable_stream(self) -> Result<Self, SendFailure> {
        let Verdict::SeenTo(outcomes) = &self.verdict else { return Ok(self) };
        let reason = outcomes.iter().find_map(|outcome| match outcome {
            Outcome::Unwritable(reason) => Some(reason),
            _ => None,
        });
        let Some(reason) = reason else { return Ok(self) };
        let forbidden = reason.contains("NOPERM") || reason.contains("permission");
        let kind = if forbidden { FailureKind::Forbidden } else { FailureKind::Unexpected };
        Err(SendFailure { kind, reason: format!("the stream cannot be written: {reason}") })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_answer(line: &str) -> FailureKind {
        let value = redis::parse_redis_value(format!("-{line}\r\n").as_bytes()).unwrap();
        FailureKind::of(&value.extract_error().unwrap_err())
    }

    #[test]
    fn every_answer_of_a_redis_that_books_nothing_is_judged_on_purpose() {
        for (answer, kind) in [
            ("LOADING Redis is loading the dataset in memory", FailureKind::Busy),
            ("MASTERDOWN Link with MASTER is down", FailureKind::Busy),
            ("BUSY Redis is busy running a script", FailureKind::Busy),
            ("NOSCRIPT No matching script", FailureKind::Busy),
            ("TRYAGAIN Multiple keys request during rehashing", FailureKind::Busy),
            ("CLUSTERDOWN The cluster is down", FailureKind::Busy),
            ("READONLY You can't write against a read only replica.", FailureKind::ReadOnly),
            ("OOM command not allowed when used memory > 'maxmemory'.", FailureKind::ReadOnly),
            ("MISCONF Redis is configured to save RDB snapshots", FailureKind::ReadOnly),
            ("NOREPLICAS Not enough good replicas to write.", FailureKind::ReadOnly),
            ("NOAUTH Authentication required.", FailureKind::Forbidden),
            ("WRONGPASS invalid username-password pair", FailureKind::Forbidden),
            ("NOPERM this user has no permissions", FailureKind::Forbidden),
            ("WRONGTYPE Operation against a key", FailureKind::Unexpected),
            ("ERR unknown command", FailureKind::Unexpected),
        ] {
            assert_eq!(of_answer(answer), kind, "{answer}");
        }
    }

    #[test]
    fn silence_and_a_cut_connection_mean_that_it_is_away() {
        for kind in [std::io::ErrorKind::ConnectionRefused, std::io::ErrorKind::TimedOut] {
            assert_eq!(
                FailureKind::of(&RedisError::from(std::io::Error::from(kind))),
                FailureKind::Unreachable
            );
        }
    }

    #[test]
    fn a_stream_that_takes_nothing_is_the_whole_batchs_failure_and_one_foreign_snapshot_is_not() {
        let clock = super::super::reply::Clock { site_ms: 0, ahead_ms: 0 };
        let judge = |outcomes| Receipt { clock, verdict: Verdict::SeenTo(outcomes) }.of_a_writable_stream();
        let failed = Outcome::Failed("WRONGTYPE".into());
        assert!(judge(vec![Outcome::Booked, failed.clone()]).is_ok());
        let stream = Outcome::Unwritable("WRONGTYPE Operation".into());
        assert_eq!(judge(vec![failed, stream]).unwrap_err().kind, FailureKind::Unexpected);
    }
}
