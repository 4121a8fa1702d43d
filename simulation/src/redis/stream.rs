//! Streams with consumer groups: ids that never go back, what was delivered to whom, and what became of it.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound::{Excluded, Unbounded};

use books::EntryId;

use super::keyspace::{Bytes, Keyspace, Outcome, number};
use super::{Reply, syntax};

/// An entry's names and values.
pub type Fields = Vec<(Bytes, Bytes)>;

/// A delivery that nobody acknowledged yet.
#[derive(Debug, Clone)]
struct Pending {
    consumer: Bytes,
    delivered_ms: u64,
}

/// A consumer group.
#[derive(Debug, Clone, Default)]
pub struct Group {
    /// The newest entry delivered.
    pub last_delivered: EntryId,
    /// How many were delivered, unless Redis has lost count.
    read: Option<u64>,
    pending: BTreeMap<EntryId, Pending>,
    consumers: BTreeSet<Bytes>,
}

impl Group {
    /// The oldest entry delivered and not acknowledged.
    #[must_use]
    pub fn oldest_pending(&self) -> Option<EntryId> {
        self.pending.keys().next().copied()
    }
}

/// A stream.
#[derive(Debug, Clone, Default)]
pub struct Stream {
    /// What it holds.
    pub entries: BTreeMap<EntryId, Fields>,
    /// The newest id ever given.
    pub last: EntryId,
    /// Entries ever added.
    added: u64,
    groups: BTreeMap<Bytes, Group>,
}

impl Stream {
    /// A group by its name.
    #[must_use]
    pub fn group(&self, name: &str) -> Option<&Group> {
        self.groups.get(name.as_bytes())
    }

    fn named(&mut self, name: &[u8]) -> Result<&mut Group, Reply> {
        self.groups.get_mut(name).ok_or_else(no_group)
    }
}

/// How many entries were added up to this one, if that can be told: Redis's
/// `streamEstimateDistanceFromFirstEverEntry`, of a stream without single deletions.
fn distance(stream: (&BTreeMap<EntryId, Fields>, u64, EntryId), id: EntryId) -> Option<u64> {
    let (entries, added, last) = stream;
    let removed = added - entries.len() as u64;
    match entries.keys().next() {
        _ if id == last || entries.is_empty() => Some(added),
        Some(first) if id == *first => Some(removed + 1),
        Some(first) if id < *first => Some(removed),
        _ => None,
    }
}

fn no_group() -> Reply {
    Reply::Error("NOGROUP No such key or consumer group".into())
}

pub(super) fn run(keys: &mut Keyspace, name: &[u8], args: &[Bytes]) -> Outcome {
    match name {
        b"XADD" => xadd(keys, args),
        b"XGROUP" => xgroup(keys, args),
        b"XINFO" => xinfo(keys, args),
        b"XREADGROUP" => xreadgroup(keys, args),
        b"XAUTOCLAIM" => xautoclaim(keys, args),
        b"XACK" => xack(keys, args),
        b"XPENDING" => xpending(keys, args),
        b"XTRIM" => xtrim(keys, args),
        b"XRANGE" => xrange(keys, args),
        b"XREVRANGE" => newest(keys, args),
        b"XLEN" => {
            let key = args.first().ok_or_else(syntax)?;
            Ok(Reply::count(keys.stream(key)?.map_or(0, |stream| stream.entries.len())))
        }
        other => Err(Reply::Error(format!("ERR unknown command '{}'", String::from_utf8_lossy(other)))),
    }
}

fn id_of(text: &[u8]) -> Result<EntryId, Reply> {
    EntryId::from_bytes(text)
        .ok_or_else(|| Reply::Error("ERR Invalid stream ID specified as stream command argument".into()))
}

fn id_reply(id: EntryId) -> Reply {
    Reply::bulk(id.to_string())
}

fn entry_reply(id: EntryId, fields: Option<&Fields>) -> Reply {
    let flat = |fields: &Fields| {
        let words =
            fields.iter().flat_map(|(name, value)| [Reply::Bulk(name.clone()), Reply::Bulk(value.clone())]);
        Reply::Array(words.collect())
    };
    Reply::Array(vec![id_reply(id), fields.map_or(Reply::Nil, flat)])
}

fn xadd(keys: &mut Keyspace, args: &[Bytes]) -> Outcome {
    let (Some((key, rest)), now) = (args.split_first(), keys.now_ms) else { return Err(syntax()) };
    let (id, pairs) = rest.split_first().ok_or_else(syntax)?;
    if id != b"*" || pairs.is_empty() || pairs.len() % 2 != 0 {
        return Err(syntax());
    }
    let stream = keys.stream_mut(key)?;
    stream.last = if now > stream.last.ms { EntryId::at_ms(now) } else { stream.last.next() };
    let fields = pairs.chunks_exact(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect();
    stream.entries.insert(stream.last, fields);
    stream.added += 1;
    Ok(id_reply(stream.last))
}

/// `XGROUP CREATE stream group from MKSTREAM`, or `XGROUP SETID stream group id ENTRIESREAD n`.
fn xgroup(keys: &mut Keyspace, args: &[Bytes]) -> Outcome {
    if let [_setid, key, group, id, _entries_read, read] = args {
        let (id, read) = (id_of(id)?, number(read)?);
        let group = keys.stream(key)?.ok_or_else(no_group)?.named(group)?;
        (group.last_delivered, group.read) = (id, Some(read));
        return Ok(Reply::Status("OK"));
    }
    let [_create, key, group, from, _mkstream] = args else { return Err(syntax()) };
    let position = id_of(from)?;
    let stream = keys.stream_mut(key)?;
    if stream.groups.contains_key(group) {
        return Err(Reply::Error("BUSYGROUP Consumer Group name already exists".into()));
    }
    stream.groups.insert(group.clone(), Group { last_delivered: position, ..Group::default() });
    Ok(Reply::Status("OK"))
}

/// `XINFO STREAM key` and `XINFO GROUPS key`: what the reader needs of them.
fn xinfo(keys: &mut Keyspace, args: &[Bytes]) -> Outcome {
    let [about, key] = args else { return Err(syntax()) };
    let gone = || Reply::Error("ERR no such key".into());
    let stream = keys.stream(key)?.ok_or_else(gone)?;
    if about == b"GROUPS" {
        return Ok(Reply::Array(stream.groups.iter().map(|(name, group)| described(name, group)).collect()));
    }
    let first = stream.entries.keys().next().copied().unwrap_or_default();
    Ok(named([
        ("length", Reply::count(stream.entries.len())),
        ("last-generated-id", id_reply(stream.last)),
        ("max-deleted-entry-id", id_reply(EntryId::default())),
        ("entries-added", Reply::Int(i64::try_from(stream.added).unwrap_or(i64::MAX))),
        ("recorded-first-entry-id", id_reply(first)),
    ]))
}

fn described(name: &Bytes, group: &Group) -> Reply {
    let read = |read| Reply::Int(i64::try_from(read).unwrap_or(i64::MAX));
    named([
        ("name", Reply::Bulk(name.clone())),
        ("pending", Reply::count(group.pending.len())),
        ("last-delivered-id", id_reply(group.last_delivered)),
        ("entries-read", group.read.map_or(Reply::Nil, read)),
    ])
}

fn named<const N: usize>(pairs: [(&str, Reply); N]) -> Reply {
    Reply::Array(pairs.into_iter().flat_map(|(name, value)| [Reply::bulk(name), value]).collect())
}

/// `XREADGROUP GROUP group consumer COUNT n STREAMS key id`; with `BLOCK ms` it does not wait here either.
fn xreadgroup(keys: &mut Keyspace, args: &[Bytes]) -> Outcome {
    let [_group, group, consumer, _count, count, .., _streams, key, from] = args else {
        return Err(syntax());
    };
    let (count, now) = (usize::try_from(number(count)?).unwrap_or(usize::MAX), keys.now_ms);
    let stream = keys.stream(key)?.ok_or_else(no_group)?;
    let (entries, known) = (&stream.entries, (&stream.entries, stream.added, stream.last));
    let group = stream.groups.get_mut(group).ok_or_else(no_group)?;
    group.consumers.insert(consumer.clone());
    let delivered: Vec<Reply> = if from == b">" {
        let fresh: Vec<_> = entries.range((Excluded(group.last_delivered), Unbounded)).take(count).collect();
        for (id, _) in &fresh {
            group.last_delivered = **id;
            group.read = group.read.map(|read| read + 1).or_else(|| distance(known, **id));
            group.pending.insert(**id, Pending { consumer: consumer.clone(), delivered_ms: now });
        }
        if fresh.is_empty() {
            return Ok(Reply::Nil);
        }
        fresh.into_iter().map(|(id, fields)| entry_reply(*id, Some(fields))).collect()
    } else {
        let after = (Excluded(id_of(from)?), Unbounded);
        let own =
            group.pending.range_mut(after).filter(|(_, pending)| pending.consumer == *consumer).take(count);
        own.map(|(id, pending)| {
            let fields = entries.get(id);
            if fields.is_some() {
                pending.delivered_ms = now;
            }
            entry_reply(*id, fields)
        })
        .collect()
    };
    Ok(Reply::Array(vec![Reply::Array(vec![Reply::Bulk(key.clone()), Reply::Array(delivered)])]))
}

/// `XAUTOCLAIM key group consumer min-idle-ms start COUNT n`.
fn xautoclaim(keys: &mut Keyspace, args: &[Bytes]) -> Outcome {
    let [key, group, consumer, idle, start, _count, count] = args else { return Err(syntax()) };
    let (idle, start, now) = (number(idle)?, id_of(start)?, keys.now_ms);
    let mut left = number(count)?;
    let stream = keys.stream(key)?.ok_or_else(no_group)?;
    let entries = &stream.entries;
    let group = stream.groups.get_mut(group).ok_or_else(no_group)?;
    group.consumers.insert(consumer.clone());
    let (mut attempts, mut claimed, mut gone) = (left * 10, Vec::new(), Vec::new());
    let mut rest = group.pending.range_mut(start..).peekable();
    while attempts > 0 && left > 0 {
        let Some((id, pending)) = rest.next() else { break };
        attempts -= 1;
        match entries.get(id) {
            None => gone.push(*id),
            Some(_) if now.saturating_sub(pending.delivered_ms) < idle => continue,
            Some(fields) => {
                *pending = Pending { consumer: consumer.clone(), delivered_ms: now };
                claimed.push(entry_reply(*id, Some(fields)));
            }
        }
        left -= 1;
    }
    let next = rest.next().map_or(EntryId::default(), |(id, _)| *id);
    gone.iter().for_each(|id| drop(group.pending.remove(id)));
    let gone = gone.into_iter().map(id_reply).collect();
    Ok(Reply::Array(vec![id_reply(next), Reply::Array(claimed), Reply::Array(gone)]))
}

fn xack(keys: &mut Keyspace, args: &[Bytes]) -> Outcome {
    let [key, group, ids @ ..] = args else { return Err(syntax()) };
    let Some(group) = keys.stream(key)?.and_then(|stream| stream.groups.get_mut(group)) else {
        return Ok(Reply::Int(0));
    };
    let mut acknowledged = 0;
    for id in ids {
        acknowledged += usize::from(group.pending.remove(&id_of(id)?).is_some());
    }
    Ok(Reply::count(acknowledged))
}

fn xpending(keys: &mut Keyspace, args: &[Bytes]) -> Outcome {
    let [key, group] = args else { return Err(syntax()) };
    let group = keys.stream(key)?.ok_or_else(no_group)?.named(group)?;
    let (Some(oldest), Some(newest)) = (group.oldest_pending(), group.pending.keys().next_back()) else {
        return Ok(Reply::Array(vec![Reply::Int(0), Reply::Nil, Reply::Nil, Reply::Nil]));
    };
    let mut shares: BTreeMap<&Bytes, usize> = BTreeMap::new();
    group.pending.values().for_each(|pending| *shares.entry(&pending.consumer).or_default() += 1);
    let share = |(consumer, count): (&Bytes, usize)| {
        Reply::Array(vec![Reply::Bulk(consumer.clone()), Reply::bulk(count.to_string())])
    };
    let shares = Reply::Array(shares.into_iter().map(share).collect());
    Ok(Reply::Array(vec![Reply::count(group.pending.len()), id_reply(oldest), id_reply(*newest), shares]))
}

/// `XTRIM key MINID = id`.
fn xtrim(keys: &mut Keyspace, args: &[Bytes]) -> Outcome {
    let [key, _minid, _exactly, below] = args else { return Err(syntax()) };
    let below = id_of(below)?;
    let Some(stream) = keys.stream(key)? else { return Ok(Reply::Int(0)) };
    let kept = stream.entries.split_off(&below);
    let removed = std::mem::replace(&mut stream.entries, kept);
    Ok(Reply::count(removed.len()))
}

/// `XREVRANGE key + - COUNT n`: the newest.
fn newest(keys: &mut Keyspace, args: &[Bytes]) -> Outcome {
    let [key, _newest, _oldest, _count, count] = args else { return Err(syntax()) };
    let count = usize::try_from(number(count)?).unwrap_or(usize::MAX);
    let Some(stream) = keys.stream(key)? else { return Ok(Reply::Array(Vec::new())) };
    let entries = stream.entries.iter().rev().take(count);
    Ok(Reply::Array(entries.map(|(id, fields)| entry_reply(*id, Some(fields))).collect()))
}

/// `XRANGE key - +`: everything.
fn xrange(keys: &mut Keyspace, args: &[Bytes]) -> Outcome {
    let key = args.first().ok_or_else(syntax)?;
    let entries = keys
        .stream(key)?
        .map(|stream| stream.entries.iter().map(|(id, fields)| entry_reply(*id, Some(fields))).collect());
    Ok(Reply::Array(entries.unwrap_or_default()))
}
