//! Hashes, sets and sorted sets.

use super::keyspace::{Bytes, Keyspace, Outcome};
use super::{Reply, syntax};

pub(super) fn run(keys: &mut Keyspace, name: &[u8], args: &[Bytes]) -> Outcome {
    let (key, rest) = args.split_first().ok_or_else(syntax)?;
    match name {
        b"HSET" => hset(keys, key, rest),
        b"HGET" => Ok(optional(keys.hash(key)?.and_then(|hash| hash.get(rest.first()?)))),
        b"HMGET" => hmget(keys, key, rest),
        b"HGETALL" => hgetall(keys, key),
        b"HDEL" => remove(keys, key, |keys| {
            Ok(keys
                .hash(key)?
                .map_or(0, |hash| rest.iter().filter(|field| hash.remove(*field).is_some()).count()))
        }),
        b"SADD" => {
            let set = keys.set_mut(key)?;
            Ok(Reply::count(rest.iter().filter(|member| set.insert((*member).clone())).count()))
        }
        b"SREM" => remove(keys, key, |keys| {
            Ok(keys.set(key)?.map_or(0, |set| rest.iter().filter(|member| set.remove(*member)).count()))
        }),
        b"SMEMBERS" => {
            let members = keys.set(key)?.map(|set| set.iter().cloned().map(Reply::Bulk).collect());
            Ok(Reply::Array(members.unwrap_or_default()))
        }
        b"ZADD" => zadd(keys, key, rest),
        b"ZREM" => remove(keys, key, |keys| {
            Ok(keys
                .sorted(key)?
                .map_or(0, |sorted| rest.iter().filter(|member| sorted.remove(*member).is_some()).count()))
        }),
        b"ZRANGEBYSCORE" => due(keys, key, rest),
        other => Err(Reply::Error(format!("ERR unknown command '{}'", String::from_utf8_lossy(other)))),
    }
}

fn optional(value: Option<&Bytes>) -> Reply {
    value.map_or(Reply::Nil, |value| Reply::Bulk(value.clone()))
}

fn remove(
    keys: &mut Keyspace,
    key: &[u8],
    removal: impl FnOnce(&mut Keyspace) -> Result<usize, Reply>,
) -> Outcome {
    let removed = removal(keys)?;
    if removed > 0 {
        keys.drop_if_empty(key);
    }
    Ok(Reply::count(removed))
}

fn hset(keys: &mut Keyspace, key: &[u8], pairs: &[Bytes]) -> Outcome {
    let hash = keys.hash_mut(key)?;
    let mut added = 0;
    for pair in pairs.chunks_exact(2) {
        added += usize::from(hash.insert(pair[0].clone(), pair[1].clone()).is_none());
    }
    Ok(Reply::count(added))
}

fn hmget(keys: &mut Keyspace, key: &[u8], fields: &[Bytes]) -> Outcome {
    let hash = keys.hash(key)?;
    let value = |field| optional(hash.as_ref().and_then(|hash| hash.get(field)));
    Ok(Reply::Array(fields.iter().map(value).collect()))
}

fn hgetall(keys: &mut Keyspace, key: &[u8]) -> Outcome {
    let pairs = keys.hash(key)?.map(|hash| {
        hash.iter()
            .flat_map(|(field, value)| [Reply::Bulk(field.clone()), Reply::Bulk(value.clone())])
            .collect()
    });
    Ok(Reply::Array(pairs.unwrap_or_default()))
}

fn score(text: &[u8]) -> Result<f64, Reply> {
    let text = std::str::from_utf8(text).unwrap_or_default();
    text.parse().map_err(|_| Reply::Error("ERR value is not a valid float".into()))
}

fn zadd(keys: &mut Keyspace, key: &[u8], pairs: &[Bytes]) -> Outcome {
    let mut added = 0;
    for pair in pairs.chunks_exact(2) {
        let score = score(&pair[0])?;
        added += usize::from(keys.sorted_mut(key)?.insert(pair[1].clone(), score).is_none());
    }
    Ok(Reply::count(added))
}

/// `ZRANGEBYSCORE key -inf MAX LIMIT 0 COUNT`, by score and then by member.
fn due(keys: &mut Keyspace, key: &[u8], args: &[Bytes]) -> Outcome {
    let [min, max, _limit, _offset, count] = args else { return Err(syntax()) };
    let (min, max, count) = (score(min)?, score(max)?, super::keyspace::number(count)?);
    let Some(sorted) = keys.sorted(key)? else { return Ok(Reply::Array(Vec::new())) };
    let mut found: Vec<(f64, &Bytes)> = sorted
        .iter()
        .map(|(member, score)| (*score, member))
        .filter(|(score, _)| (min..=max).contains(score))
        .collect();
    found.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(b.1)));
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    Ok(Reply::Array(found.into_iter().take(count).map(|(_, member)| Reply::Bulk(member.clone())).collect()))
}
