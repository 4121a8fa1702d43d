//! Keys, their values, their expiry, and the way from a command's name to its code.

use std::collections::{BTreeMap, BTreeSet};

use hashbrown::HashMap;

use super::stream::Stream;
use super::{Reply, collections, stream, wrong_type};

/// What keys and values are made of.
pub type Bytes = Vec<u8>;

/// The commands' outcome: an error reply ends a command early.
pub(super) type Outcome = Result<Reply, Reply>;

#[derive(Debug, Clone)]
enum Value {
    Hash(BTreeMap<Bytes, Bytes>),
    Set(BTreeSet<Bytes>),
    Sorted(BTreeMap<Bytes, f64>),
    Stream(Stream),
}

#[derive(Debug, Clone)]
struct Slot {
    value: Value,
    expires_ms: Option<u64>,
}

/// Everything a Redis would find again after a restart.
#[derive(Debug, Clone, Default)]
pub struct Keyspace {
    slots: HashMap<Bytes, Slot>,
    /// This Redis's clock in unix milliseconds.
    pub now_ms: u64,
}

macro_rules! typed {
    ($read:ident, $write:ident, $kind:ident, $type:ty) => {
        /// The value if there is one.
        pub(super) fn $read(&mut self, key: &[u8]) -> Result<Option<&mut $type>, Reply> {
            match self.live(key) {
                None => Ok(None),
                Some(Value::$kind(value)) => Ok(Some(value)),
                Some(_) => Err(wrong_type()),
            }
        }

        /// The value, made empty when there is none.
        pub(super) fn $write(&mut self, key: &[u8]) -> Result<&mut $type, Reply> {
            if self.live(key).is_none() {
                let slot = Slot { value: Value::$kind(<$type>::default()), expires_ms: None };
                self.slots.insert(key.to_vec(), slot);
            }
            match self.live(key) {
                Some(Value::$kind(value)) => Ok(value),
                _ => Err(wrong_type()),
            }
        }
    };
}

impl Keyspace {
    typed!(hash, hash_mut, Hash, BTreeMap<Bytes, Bytes>);
    typed!(set, set_mut, Set, BTreeSet<Bytes>);
    typed!(sorted, sorted_mut, Sorted, BTreeMap<Bytes, f64>);
    typed!(stream, stream_mut, Stream, Stream);

    /// Runs a command.
    pub fn run(&mut self, args: &[Bytes]) -> Reply {
        let Some((name, rest)) = args.split_first() else { return super::syntax() };
        let name = name.to_ascii_uppercase();
        let done = match name.as_slice() {
            b"TIME" => Ok(self.time()),
            b"PING" => Ok(Reply::Status("PONG")),
            b"EXISTS" => Ok(Reply::count(rest.iter().filter(|key| self.live(key).is_some()).count())),
            b"DEL" => Ok(Reply::count(rest.iter().filter(|key| self.slots.remove(*key).is_some()).count())),
            b"EXPIRE" => self.expire(rest),
            b"TTL" => self.ttl(rest),
            name if name.starts_with(b"X") => stream::run(self, name, rest),
            name => collections::run(self, name, rest),
        };
        done.unwrap_or_else(|error| error)
    }

    /// The stream under a key.
    #[must_use]
    pub fn peek_stream(&self, key: &str) -> Option<&Stream> {
        match self.slots.get(key.as_bytes()).map(|slot| &slot.value) {
            Some(Value::Stream(stream)) => Some(stream),
            _ => None,
        }
    }

    /// Every set whose key begins with `prefix`: `key member member ..`, sorted.
    #[must_use]
    pub fn dump_sets(&self, prefix: &str) -> Vec<String> {
        let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
        let mut lines: Vec<String> = self
            .slots
            .iter()
            .filter_map(|(key, slot)| match &slot.value {
                Value::Set(members) if key.starts_with(prefix.as_bytes()) => {
                    let members: Vec<String> = members.iter().map(text).collect();
                    Some(format!("{} {}", text(key), members.join(" ")))
                }
                _ => None,
            })
            .collect();
        lines.sort_unstable();
        lines
    }

    fn live(&mut self, key: &[u8]) -> Option<&mut Value> {
        let expired = self.slots.get(key)?.expires_ms.is_some_and(|at| at <= self.now_ms);
        if expired {
            self.slots.remove(key);
            return None;
        }
        self.slots.get_mut(key).map(|slot| &mut slot.value)
    }

    /// Redis keeps no empty collections.
    pub(super) fn drop_if_empty(&mut self, key: &[u8]) {
        let empty = match self.live(key) {
            Some(Value::Hash(hash)) => hash.is_empty(),
            Some(Value::Set(set)) => set.is_empty(),
            Some(Value::Sorted(sorted)) => sorted.is_empty(),
            _ => false,
        };
        if empty {
            self.slots.remove(key);
        }
    }

    fn time(&self) -> Reply {
        let (seconds, micros) = (self.now_ms / 1000, self.now_ms % 1000 * 1000);
        Reply::Array(vec![Reply::bulk(seconds.to_string()), Reply::bulk(micros.to_string())])
    }

    fn expire(&mut self, args: &[Bytes]) -> Outcome {
        let [key, seconds] = args else { return Err(super::syntax()) };
        let until = self.now_ms + number(seconds)? * 1000;
        if self.live(key).is_none() {
            return Ok(Reply::Int(0));
        }
        if let Some(slot) = self.slots.get_mut(key) {
            slot.expires_ms = Some(until);
        }
        Ok(Reply::Int(1))
    }

    fn ttl(&mut self, args: &[Bytes]) -> Outcome {
        let [key] = args else { return Err(super::syntax()) };
        if self.live(key).is_none() {
            return Ok(Reply::Int(-2));
        }
        let left =
            self.slots.get(key).and_then(|slot| slot.expires_ms).map(|at| at.saturating_sub(self.now_ms));
        Ok(left.map_or(Reply::Int(-1), |left| {
            Reply::Int(i64::try_from(left.div_ceil(1000)).unwrap_or(i64::MAX))
        }))
    }
}

/// An argument as a number.
pub(super) fn number(text: &[u8]) -> Result<u64, Reply> {
    let parsed = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
    parsed.ok_or_else(|| Reply::Error("ERR value is not an integer or out of range".into()))
}
