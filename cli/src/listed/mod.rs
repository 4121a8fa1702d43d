//! The sets that a site keeps in Redis, passkeys and torrents: adding to them, taking from them, looking
//! something up.

mod file;

use std::borrow::Cow;
use std::hash::Hash;

use contract::{InfoHash, Keys, Passkey};
use serde::Serialize;

use crate::Answer;
use crate::connect::{Context, Redis};
use crate::failure::Failure;
use crate::human::count;
use crate::output::{Report, note};

pub(crate) use file::{Import, Source, import, lines, skipped};

/// Members per command: large enough to save round trips, small enough not to hold Redis up.
pub(crate) const CHUNK: usize = 1000;

/// Something that a site lists.
pub(crate) trait Listed: Copy + Eq + Hash {
    /// What one is called, and many.
    const NOUN: (&'static str, &'static str);
    /// What one looks like.
    const FORM: &'static str;

    /// The set that lists them.
    fn set(keys: &Keys) -> String;

    /// Reads one as operators write it.
    fn read(text: &[u8]) -> Option<Self>;

    /// Its name in Redis.
    fn name(&self) -> Cow<'_, str>;
}

impl Listed for Passkey {
    const NOUN: (&'static str, &'static str) = ("passkey", "passkeys");
    const FORM: &'static str = "a passkey is 1 to 64 of the characters 0-9 A-Z a-z _ -";

    fn set(keys: &Keys) -> String {
        keys.passkeys()
    }

    fn read(text: &[u8]) -> Option<Self> {
        Self::from_bytes(text).ok()
    }

    fn name(&self) -> Cow<'_, str> {
        self.reveal().into()
    }
}

impl Listed for InfoHash {
    const NOUN: (&'static str, &'static str) = ("torrent", "torrents");
    const FORM: &'static str = "an info hash is 40 hex digits";

    fn set(keys: &Keys) -> String {
        keys.torrents()
    }

    /// Only hex: twenty letters are a typing mistake here, not raw bytes.
    fn read(text: &[u8]) -> Option<Self> {
        Self::from_bytes(text).ok().filter(|_| text.len() == 40)
    }

    fn name(&self) -> Cow<'_, str> {
        self.hex().to_string().into()
    }
}

/// Reads one that the operator gave. The error does not repeat it: a typing mistake away from a passkey is a
/// real one.
pub(crate) fn parse<M: Listed>(text: &str) -> Result<M, Failure> {
    M::read(text.as_bytes()).ok_or_else(|| Failure::usage(format!("this is no {}: {}", M::NOUN.0, M::FORM)))
}

fn parse_all<M: Listed>(texts: &[String]) -> Result<Vec<M>, Failure> {
    let refusal = |place: usize| Failure::usage(format!("argument {place} is no {}: {}", M::NOUN.0, M::FORM));
    let numbered = texts.iter().zip(1..);
    numbered.map(|(text, place)| M::read(text.as_bytes()).ok_or_else(|| refusal(place))).collect()
}

#[derive(Serialize)]
struct Added {
    added: u64,
    already_there: u64,
    #[serde(skip)]
    noun: (&'static str, &'static str),
}

impl Report for Added {
    fn text(&self) -> String {
        format!("{} added, {} there already", count(self.added, self.noun.0, self.noun.1), self.already_there)
    }
}

/// Adds what the operator named.
pub(crate) async fn add<M: Listed>(texts: &[String], context: &Context) -> Result<Answer, Failure> {
    let members: Vec<M> = parse_all(texts)?;
    let mut redis = context.redis().await?;
    let added = add_chunk(&mut redis, &M::set(&context.keys), &members).await?;
    context.output.show(&Added { added, already_there: members.len() as u64 - added, noun: M::NOUN })?;
    Ok(Answer::Done)
}

/// Adds members to a set; how many were new.
pub(crate) async fn add_chunk<M: Listed>(
    redis: &mut Redis,
    set: &str,
    members: &[M],
) -> Result<u64, Failure> {
    let mut command = redis::cmd("SADD");
    command.arg(set);
    for member in members {
        command.arg(member.name().as_ref());
    }
    redis.query(&command).await
}

#[derive(Serialize)]
struct Removed {
    removed: u64,
    not_there: u64,
    #[serde(skip)]
    noun: (&'static str, &'static str),
}

impl Report for Removed {
    fn text(&self) -> String {
        format!("{} removed, {} not there", count(self.removed, self.noun.0, self.noun.1), self.not_there)
    }
}

/// Takes away what the operator named.
pub(crate) async fn remove<M: Listed>(texts: &[String], context: &Context) -> Result<Answer, Failure> {
    let members: Vec<M> = parse_all(texts)?;
    let mut command = redis::cmd("SREM");
    command.arg(M::set(&context.keys));
    for member in &members {
        command.arg(member.name().as_ref());
    }
    let removed: u64 = context.redis().await?.query(&command).await?;
    context.output.show(&Removed { removed, not_there: members.len() as u64 - removed, noun: M::NOUN })?;
    Ok(Answer::Done)
}

#[derive(Serialize)]
struct Checked {
    known: bool,
    #[serde(skip)]
    verb: &'static str,
}

impl Report for Checked {
    fn text(&self) -> String {
        let (word, not) = if self.known { ("known", "") } else { ("unknown", "not ") };
        format!("{word}: may {not}{}", self.verb)
    }
}

/// Says whether a set holds something. `verb` is what its members may do.
pub(crate) async fn check<M: Listed>(
    text: &str,
    verb: &'static str,
    context: &Context,
) -> Result<Answer, Failure> {
    let member: M = parse(text)?;
    let command = redis::Cmd::sismember(M::set(&context.keys), member.name().as_ref());
    let known: bool = context.redis().await?.query(&command).await?;
    context.output.show(&Checked { known, verb })?;
    Ok(if known { Answer::Done } else { Answer::No })
}

/// Prints as many members as asked, in no order.
pub(crate) async fn list<M: Listed>(limit: u64, context: &Context) -> Result<Answer, Failure> {
    let mut redis = context.redis().await?;
    let mut list = context.output.list();
    let (mut cursor, mut foreign) = (0u64, 0u64);
    loop {
        let mut scan = redis::cmd("SSCAN");
        scan.arg(M::set(&context.keys)).arg(cursor).arg("COUNT").arg(CHUNK);
        let (next, members): (u64, Vec<Vec<u8>>) = redis.query(&scan).await?;
        for member in members {
            if list.len() >= limit {
                break;
            }
            // The tracker knows a member by one name only: another spelling of it admits nobody.
            match M::read(&member).filter(|read| read.name().as_bytes() == member) {
                Some(member) => list.push(&member.name())?,
                None => foreign += 1,
            }
        }
        cursor = next;
        if cursor == 0 || list.len() >= limit {
            break;
        }
    }
    list.finish()?;
    if foreign > 0 {
        let members = count(foreign, "member", "members");
        note(&format!("{members} of the set are not shown, and admit nobody: {}", M::FORM));
    }
    Ok(Answer::Done)
}
