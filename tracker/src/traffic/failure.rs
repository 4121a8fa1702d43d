//! What is wrong with a Redis that did not book a batch, and what follows from it.
//!
//! In every case the batch is kept with its numbers and sent again: an answer that is missing may have been a
//! yes. What differs is whether sending it again at once can help, and what the operator should read.

use redis::{ErrorKind, RedisError};

use super::script::Outcome;

/// The kinds of trouble, each with its own remedy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// Refused, cut, or silent: it may be down, and the outcome is unknown.
    Away,
    /// It is up and will take writes by itself soon.
    Busy,
    /// It is up and takes no writes: a replica, out of memory, its disk failing, too few replicas.
    Closed,
    /// It does not let the tracker in, or not at these keys.
    Forbidden,
    /// It answered something that nobody foresaw.
    Puzzling,
}

impl Trouble {
    /// Judges an error by its code, the first word of Redis' answer.
    #[must_use]
    pub fn of(error: &RedisError) -> Self {
        if error.kind() == ErrorKind::AuthenticationFailed {
            return Self::Forbidden;
        }
        match error.code() {
            None if error.kind() == ErrorKind::UnexpectedReturnType => Self::Puzzling,
            None => Self::Away,
            // NOSCRIPT: the script was taught again just before, so the server was replaced in between.
            Some("LOADING" | "MASTERDOWN" | "CLUSTERDOWN" | "TRYAGAIN" | "BUSY" | "NOSCRIPT") => Self::Busy,
            Some("READONLY" | "OOM" | "MISCONF" | "NOREPLICAS") => Self::Closed,
            Some("NOAUTH" | "WRONGPASS" | "NOPERM") => Self::Forbidden,
            Some(_) => Self::Puzzling,
        }
    }

    /// Whether the same batch may well succeed within a second.
    #[must_use]
    pub fn may_pass_soon(self) -> bool {
        matches!(self, Self::Away | Self::Busy | Self::Closed)
    }

    /// What the operator should look at.
    #[must_use]
    pub fn advice(self) -> &'static str {
        match self {
            Self::Away => "start Redis, or mend the network to it",
            Self::Busy => "Redis is loading or busy: wait",
            Self::Closed => "make Redis writable: its memory limit, its disk, its role as a replica",
            Self::Forbidden => "mend the tracker's password or ACL rules for Redis",
            Self::Puzzling => "look at the error, and at what else is stored under the tracker's keys",
        }
    }
}

/// Why a batch is not booked.
#[derive(Debug)]
pub(super) struct Setback {
    /// Its kind.
    pub(super) trouble: Trouble,
    /// What Redis or the connection said.
    pub(super) error: RedisError,
}

impl From<RedisError> for Setback {
    fn from(error: RedisError) -> Self {
        Self { trouble: Trouble::of(&error), error }
    }
}

/// A stream that takes no entries fails the whole batch: the reason, when that is what happened.
pub(super) fn unwritable(outcomes: &[Outcome]) -> Option<Setback> {
    let reason = outcomes.iter().find_map(|outcome| match outcome {
        Outcome::Unwritable(reason) => Some(reason.clone()),
        _ => None,
    })?;
    let trouble = if reason.contains("NOPERM") || reason.contains("permission") {
        Trouble::Forbidden
    } else {
        Trouble::Puzzling
    };
    let error = RedisError::from((ErrorKind::Extension, "the stream cannot be written", reason));
    Some(Setback { trouble, error })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_answer(line: &str) -> Trouble {
        let value = redis::parse_redis_value(format!("-{line}\r\n").as_bytes()).unwrap();
        Trouble::of(&value.extract_error().unwrap_err())
    }

    #[test]
    fn every_answer_of_a_redis_that_books_nothing_is_judged_on_purpose() {
        for (answer, trouble) in [
            ("LOADING Redis is loading the dataset in memory", Trouble::Busy),
            ("MASTERDOWN Link with MASTER is down", Trouble::Busy),
            ("BUSY Redis is busy running a script", Trouble::Busy),
            ("NOSCRIPT No matching script", Trouble::Busy),
            ("TRYAGAIN Multiple keys request during rehashing", Trouble::Busy),
            ("CLUSTERDOWN The cluster is down", Trouble::Busy),
            ("READONLY You can't write against a read only replica.", Trouble::Closed),
            ("OOM command not allowed when used memory > 'maxmemory'.", Trouble::Closed),
            ("MISCONF Redis is configured to save RDB snapshots", Trouble::Closed),
            ("NOREPLICAS Not enough good replicas to write.", Trouble::Closed),
            ("NOAUTH Authentication required.", Trouble::Forbidden),
            ("WRONGPASS invalid username-password pair", Trouble::Forbidden),
            ("NOPERM this user has no permissions", Trouble::Forbidden),
            ("WRONGTYPE Operation against a key", Trouble::Puzzling),
            ("ERR unknown command", Trouble::Puzzling),
        ] {
            assert_eq!(of_answer(answer), trouble, "{answer}");
        }
    }

    #[test]
    fn silence_and_a_cut_connection_mean_that_it_is_away() {
        for kind in [std::io::ErrorKind::ConnectionRefused, std::io::ErrorKind::TimedOut] {
            assert_eq!(Trouble::of(&RedisError::from(std::io::Error::from(kind))), Trouble::Away);
        }
    }

    #[test]
    fn a_stream_that_takes_nothing_is_the_whole_batchs_trouble_and_one_foreign_snapshot_is_not() {
        let failed = Outcome::Failed("WRONGTYPE".into());
        assert!(unwritable(&[Outcome::Booked, failed.clone()]).is_none());
        let stream = Outcome::Unwritable("WRONGTYPE Operation".into());
        assert_eq!(unwritable(&[failed, stream]).unwrap().trouble, Trouble::Puzzling);
    }
}
