//! The one reader of `record.lua`'s replies: the outcome of each announce of a batch.

use redis::{ErrorKind, RedisError, RedisResult, Value};

/// What became of one entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Snapshot and stream entry are written.
    Booked,
    /// Snapshot written; nothing changed and idle announces are left out of the stream.
    Idle,
    /// It was booked before.
    Repeated,
    /// Something newer is booked, and this added no bytes.
    Late,
    /// Redis refused this one (for example a foreign value under the snapshot's key).
    Failed(String),
    /// The stream took nothing (for example a foreign value under its key): every other entry would fare the
    /// same.
    Unwritable(String),
}

impl Outcome {
    /// Whether its client may be told that it counts.
    #[must_use]
    pub fn is_recorded(&self) -> bool {
        !matches!(self, Self::Failed(_) | Self::Unwritable(_))
    }

    fn of(word: String) -> Self {
        match word.as_str() {
            "idle" => Self::Idle,
            "repeated" => Self::Repeated,
            "late" => Self::Late,
            other => match other.strip_prefix("unwritable ") {
                Some(reason) => Self::Unwritable(reason.to_owned()),
                // A foreign value under one snapshot's key; anything else (no permission) would hold for
                // every key.
                None if word.contains("WRONGTYPE") => Self::Failed(word),
                None => Self::Unwritable(word),
            },
        }
    }
}

/// Redis' answer to a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// In the batch's order.
    pub outcomes: Vec<Outcome>,
    /// How many numbers Redis is behind what it confirmed earlier; 0 unless it lost data.
    pub lost: u64,
}

impl Receipt {
    /// Reads the answer to a batch of so many: how many entries were seen to, a remark about each that was
    /// not simply booked, and one more when Redis lost what it had confirmed.
    ///
    /// # Errors
    /// When it is something else.
    pub fn read(reply: Value, expected: usize) -> RedisResult<Self> {
        let Value::Array(items) = reply else { return Err(unexpected()) };
        let mut items = items.into_iter();
        if items.next() != i64::try_from(expected).ok().map(Value::Int) {
            return Err(unexpected());
        }
        let mut receipt = Self { outcomes: vec![Outcome::Booked; expected], lost: 0 };
        for item in items {
            receipt.note(&text(item)?)?;
        }
        Ok(receipt)
    }

    fn note(&mut self, remark: &str) -> RedisResult<()> {
        match remark.split_once(' ').ok_or_else(unexpected)? {
            ("lost", count) => self.lost = count.parse().map_err(|_| unexpected())?,
            (number, word) => {
                let place = number.parse::<usize>().ok().and_then(|number| number.checked_sub(1));
                let outcome = place.and_then(|place| self.outcomes.get_mut(place));
                *outcome.ok_or_else(unexpected)? = Outcome::of(word.to_owned());
            }
        }
        Ok(())
    }
}

fn text(item: Value) -> RedisResult<String> {
    match item {
        Value::BulkString(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Value::SimpleString(text) => Ok(text),
        _ => Err(unexpected()),
    }
}

fn unexpected() -> RedisError {
    RedisError::from((ErrorKind::UnexpectedReturnType, "the record script answered something else"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(seen: i64, remarks: &[&str]) -> Value {
        let remark = |remark: &&str| Value::BulkString(remark.as_bytes().to_vec());
        Value::Array([Value::Int(seen)].into_iter().chain(remarks.iter().map(remark)).collect())
    }

    #[test]
    fn only_what_is_out_of_the_ordinary_is_answered() {
        let receipt = Receipt::read(reply(3, &["2 late", "lost 7"]), 3).unwrap();
        assert_eq!(receipt.outcomes, [Outcome::Booked, Outcome::Late, Outcome::Booked]);
        assert_eq!(receipt.lost, 7);
    }

    #[test]
    fn an_answer_to_another_batch_is_no_answer() {
        assert!(Receipt::read(reply(2, &[]), 3).is_err());
        assert!(Receipt::read(reply(2, &["3 late"]), 2).is_err());
        assert!(Receipt::read(reply(2, &["lost many"]), 2).is_err());
        assert!(Receipt::read(Value::Okay, 0).is_err());
    }

    #[test]
    fn a_foreign_value_under_one_snapshot_is_that_announces_alone() {
        let remarks = ["1 WRONGTYPE Operation against a key", "2 unwritable OOM", "3 NOPERM no"];
        let outcomes = Receipt::read(reply(3, &remarks), 3).unwrap().outcomes;
        assert!(matches!(outcomes[0], Outcome::Failed(_)));
        assert_eq!(outcomes[1], Outcome::Unwritable("OOM".into()));
        assert_eq!(outcomes[2], Outcome::Unwritable("NOPERM no".into()));
    }
}
