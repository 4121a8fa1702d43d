//! The one reader of `record.lua`'s replies: the outcome of each announce of a batch.

use contract::{InfoHash, Passkey};
use redis::{ErrorKind, RedisError, RedisResult, Value};

use super::bookkeeper::Source;

/// What became of one entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Snapshot and stream entry are written.
    Booked,
    /// It was booked before.
    Repeated,
    /// Redis has another snapshot than the one from which the entry was computed: to be computed again.
    Stale(Present),
    /// The session has another name now: to be booked on that.
    Renamed {
        /// The canonical passkey.
        passkey: Passkey,
        /// The canonical torrent.
        info_hash: InfoHash,
    },
    /// The session's other name has a snapshot that must be folded into this one.
    Folding {
        /// What is under the canonical name.
        present: Present,
        /// What is under the other one.
        source: Source,
    },
    /// Redis refused this one (for example a foreign value under the snapshot's key).
    Failed(String),
    /// The stream took nothing (for example a foreign value under its key): every other entry would fare the
    /// same.
    Unwritable(String),
}

/// What Redis holds of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Present {
    /// No snapshot.
    Nothing,
    /// A snapshot's bytes.
    Snapshot(Box<[u8]>),
}

impl Present {
    fn of(value: Option<Value>) -> RedisResult<Self> {
        match value {
            None | Some(Value::Nil) => Ok(Self::Nothing),
            Some(Value::BulkString(bytes)) => Ok(Self::Snapshot(bytes.into())),
            Some(_) => Err(unexpected()),
        }
    }
}

impl Outcome {
    /// Whether its client may be told that it counts.
    #[must_use]
    pub fn is_recorded(&self) -> bool {
        matches!(self, Self::Booked | Self::Repeated)
    }

    /// Whether it must be computed again, from what Redis showed.
    #[must_use]
    pub fn is_stale(&self) -> bool {
        matches!(self, Self::Stale(_) | Self::Renamed { .. } | Self::Folding { .. })
    }

    fn read(word: &str, mut rest: impl Iterator<Item = Value>) -> RedisResult<Self> {
        Ok(match word {
            "repeated" => Self::Repeated,
            "stale" => Self::Stale(Present::of(rest.next())?),
            "renamed" => Self::Renamed { passkey: name(rest.next())?, info_hash: name(rest.next())? },
            "folding" => Self::Folding {
                present: Present::of(rest.next())?,
                source: Source {
                    passkey: name(rest.next())?,
                    info_hash: name(rest.next())?,
                    bytes: bytes(rest.next())?.into(),
                },
            },
            "failed" | "unwritable" => Self::refused(word, text(rest.next())?),
            _ => return Err(unexpected()),
        })
    }

    /// A foreign value under one snapshot's key is that announce's alone; anything else (no permission) would
    /// hold for every key.
    fn refused(word: &str, reason: String) -> Self {
        if word == "failed" && reason.contains("WRONGTYPE") {
            Self::Failed(reason)
        } else {
            Self::Unwritable(reason)
        }
    }
}

/// Redis' answer to a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// What time it is.
    pub clock: Clock,
    /// What became of the batch.
    pub verdict: Verdict,
}

/// The site's clock, as Redis tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clock {
    /// In milliseconds.
    pub site_ms: u64,
    /// By how much Redis' own clock is ahead.
    pub ahead_ms: i64,
}

/// What became of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Seen to; the outcomes in the batch's order.
    SeenTo(Vec<Outcome>),
    /// Redis does not know calls that it has answered: it went back in time. It booked nothing of the batch.
    WentBack {
        /// The last of this tracker's calls that it knows.
        call: u64,
        /// The highest of this tracker's own numbers that it has booked.
        booked: u64,
    },
}

impl Receipt {
    /// Reads the answer to a batch of so many.
    ///
    /// # Errors
    /// When it is something else.
    pub fn read(reply: Value, expected: usize) -> RedisResult<Self> {
        let Value::Array(items) = reply else { return Err(unexpected()) };
        let mut items = items.into_iter();
        let count = number(items.next().as_ref())?;
        let site_ms = u64::try_from(number(items.next().as_ref())?).map_err(|_| unexpected())?;
        let clock = Clock { site_ms, ahead_ms: number(items.next().as_ref())? };
        if count == -1 {
            let mut known = || u64::try_from(number(items.next().as_ref())?).map_err(|_| unexpected());
            let verdict = Verdict::WentBack { call: known()?, booked: known()? };
            return Ok(Self { clock, verdict });
        }
        if usize::try_from(count) != Ok(expected) {
            return Err(unexpected());
        }
        let mut outcomes = vec![Outcome::Booked; expected];
        for remark in items {
            let Value::Array(remark) = remark else { return Err(unexpected()) };
            let mut remark = remark.into_iter();
            let place =
                usize::try_from(number(remark.next().as_ref())?).ok().and_then(|place| place.checked_sub(1));
            let outcome = place.and_then(|place| outcomes.get_mut(place)).ok_or_else(unexpected)?;
            *outcome = Outcome::read(&text(remark.next())?, remark)?;
        }
        Ok(Self { clock, verdict: Verdict::SeenTo(outcomes) })
    }
}

fn number(item: Option<&Value>) -> RedisResult<i64> {
    match item {
        Some(Value::Int(number)) => Ok(*number),
        _ => Err(unexpected()),
    }
}

fn bytes(item: Option<Value>) -> RedisResult<Vec<u8>> {
    match item {
        Some(Value::BulkString(bytes)) => Ok(bytes),
        Some(Value::SimpleString(text)) => Ok(text.into_bytes()),
        _ => Err(unexpected()),
    }
}

fn text(item: Option<Value>) -> RedisResult<String> {
    Ok(String::from_utf8_lossy(&bytes(item)?).into_owned())
}

fn name<T: std::str::FromStr>(item: Option<Value>) -> RedisResult<T> {
    text(item)?.parse().map_err(|_| unexpected())
}

fn unexpected() -> RedisError {
    RedisError::from((ErrorKind::UnexpectedReturnType, "the record script answered something else"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> Value {
        let place = |word: &str| word.parse().map_or(Value::BulkString(word.into()), Value::Int);
        Value::Array(words.iter().map(|word| place(word)).collect())
    }

    fn reply(seen: i64, remarks: &[&[&str]]) -> Value {
        let head = [Value::Int(seen), Value::Int(1000), Value::Int(-5)];
        Value::Array(head.into_iter().chain(remarks.iter().map(|remark| words(remark))).collect())
    }

    fn outcomes(reply: Value, expected: usize) -> Vec<Outcome> {
        match Receipt::read(reply, expected).unwrap().verdict {
            Verdict::SeenTo(outcomes) => outcomes,
            Verdict::WentBack { .. } => panic!("it did not go back"),
        }
    }

    #[test]
    fn only_what_is_out_of_the_ordinary_is_answered() {
        let answer = reply(3, &[&["2", "stale", "abc"], &["3", "repeated"]]);
        assert_eq!(Receipt::read(answer.clone(), 3).unwrap().clock, Clock { site_ms: 1000, ahead_ms: -5 });
        let stale = Outcome::Stale(Present::Snapshot((*b"abc").into()));
        assert_eq!(outcomes(answer, 3), [Outcome::Booked, stale, Outcome::Repeated]);
    }

    #[test]
    fn a_redis_that_went_back_says_how_far() {
        let mut answer = vec![Value::Int(-1), Value::Int(1000), Value::Int(0), Value::Int(3), Value::Int(7)];
        let verdict = Receipt::read(Value::Array(answer.clone()), 3).unwrap().verdict;
        assert_eq!(verdict, Verdict::WentBack { call: 3, booked: 7 });
        answer.pop();
        assert!(Receipt::read(Value::Array(answer), 3).is_err());
    }

    #[test]
    fn an_answer_to_another_batch_is_no_answer() {
        assert!(Receipt::read(reply(2, &[]), 3).is_err());
        assert!(Receipt::read(reply(2, &[&["3", "repeated"]]), 2).is_err());
        assert!(Receipt::read(reply(2, &[&["1", "idle"]]), 2).is_err());
        assert!(Receipt::read(Value::Okay, 0).is_err());
    }

    #[test]
    fn a_foreign_value_under_one_snapshot_is_that_announces_alone() {
        let answer = reply(
            3,
            &[
                &["1", "failed", "WRONGTYPE Operation against a key"],
                &["2", "unwritable", "OOM"],
                &["3", "failed", "NOPERM no"],
            ],
        );
        let outcomes = outcomes(answer, 3);
        assert!(matches!(outcomes[0], Outcome::Failed(_)));
        assert_eq!(outcomes[1], Outcome::Unwritable("OOM".into()));
        assert_eq!(outcomes[2], Outcome::Unwritable("NOPERM no".into()));
    }
}
