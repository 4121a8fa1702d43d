//! `stream info`: is the stream moving, and does the consumer keep up?

use redis::streams::{StreamInfoGroupsReply, StreamInfoStreamReply};
use serde::Serialize;

use crate::Answer;
use crate::connect::{Context, Redis};
use crate::failure::Failure;
use crate::human::{bytes, entry_time};
use crate::output::{Report, facts, table};

#[derive(Serialize)]
struct Info {
    stream: String,
    exists: bool,
    length: usize,
    first: Option<Mark>,
    last: Option<Mark>,
    /// The number of the newest entry that any tracker has added.
    numbered: u64,
    memory_bytes: u64,
    groups: Vec<Group>,
    dead_letters: u64,
    failed: u64,
}

#[derive(Serialize)]
struct Mark {
    id: String,
    at: String,
}

#[derive(Serialize)]
struct Group {
    name: String,
    consumers: usize,
    /// Entries not delivered yet; unknown to Redis after some deletions.
    lag: Option<usize>,
    pending: usize,
    last_delivered_id: String,
}

/// Shows the state of the stream.
pub(crate) async fn run(context: &Context) -> Result<Answer, Failure> {
    let info = read(&mut context.redis().await?, context).await?;
    context.output.show(&info)?;
    Ok(Answer::Done)
}

async fn read(redis: &mut Redis, context: &Context) -> Result<Info, Failure> {
    let stream = context.keys.traffic();
    let mut lengths = redis::pipe();
    lengths.exists(&stream).xlen(context.keys.dead_letters()).xlen(context.keys.failed());
    lengths.cmd("MEMORY").arg("USAGE").arg(&stream);
    lengths.hget(context.keys.head(), "n");
    let (exists, dead_letters, failed, memory, numbered): (bool, u64, u64, Option<u64>, Option<u64>) =
        redis.pipe(&lengths).await?;
    let mut info = Info {
        stream,
        exists,
        length: 0,
        first: None,
        last: None,
        numbered: numbered.unwrap_or(0),
        memory_bytes: memory.unwrap_or(0),
        groups: Vec::new(),
        dead_letters,
        failed,
    };
    if exists {
        fill(&mut info, redis).await?;
    }
    Ok(info)
}

async fn fill(info: &mut Info, redis: &mut Redis) -> Result<(), Failure> {
    let mut pipeline = redis::pipe();
    pipeline.cmd("XINFO").arg("STREAM").arg(&info.stream);
    pipeline.cmd("XINFO").arg("GROUPS").arg(&info.stream);
    let (stream, groups): (StreamInfoStreamReply, StreamInfoGroupsReply) = redis.pipe(&pipeline).await?;
    info.length = stream.length;
    info.first = mark(stream.first_entry.id);
    info.last = mark(stream.last_entry.id);
    let newest = stream.last_generated_id;
    info.groups = groups.groups.into_iter().map(|group| Group::of(group, &newest, info.length)).collect();
    Ok(())
}

/// An empty stream has no first entry: its id is empty.
fn mark(id: String) -> Option<Mark> {
    let at = entry_time(&id);
    (!id.is_empty()).then_some(Mark { id, at })
}

impl Group {
    /// Redis counts from where the group stood in its file when it reads that again, so its lag may be far
    /// too high then: there is none when the newest entry was delivered, and never more than there are
    /// entries.
    fn of(group: redis::streams::StreamInfoGroup, newest: &str, length: usize) -> Self {
        let all_delivered = group.last_delivered_id == newest;
        Self {
            name: group.name,
            consumers: group.consumers,
            lag: if all_delivered { Some(0) } else { group.lag.map(|lag| lag.min(length)) },
            pending: group.pending,
            last_delivered_id: group.last_delivered_id,
        }
    }
}

impl Report for Info {
    fn text(&self) -> String {
        if !self.exists {
            return format!("{} does not exist yet: no announce was recorded", self.stream);
        }
        let mark = |mark: &Option<Mark>| {
            mark.as_ref().map_or_else(|| "-".into(), |mark| format!("{}  {}", mark.id, mark.at))
        };
        let stream = facts([
            ("stream", self.stream.clone()),
            ("entries", self.length.to_string()),
            ("first", mark(&self.first)),
            ("last", mark(&self.last)),
            ("numbered", format!("up to {}", self.numbered)),
            ("memory", bytes(self.memory_bytes)),
            ("dead letters", self.dead_letters.to_string()),
            ("given up", self.failed.to_string()),
        ]);
        if self.groups.is_empty() {
            return format!("{stream}\nno consumer group yet: no consumer was started");
        }
        let header = ["group", "consumers", "lag", "pending", "last delivered"];
        format!("{stream}\n{}", table(&header, &[1, 2, 3], self.groups.iter().map(Group::row)))
    }
}

impl Group {
    fn row(&self) -> Vec<String> {
        let lag = self.lag.map_or_else(|| "?".into(), |lag| lag.to_string());
        vec![
            self.name.clone(),
            self.consumers.to_string(),
            lag,
            self.pending.to_string(),
            self.last_delivered_id.clone(),
        ]
    }
}
