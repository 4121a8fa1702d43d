//! `stream pending`: what consumers hold unacknowledged, and for how long.

use clap::Args;
use redis::streams::{StreamInfoConsumersReply, StreamPendingCountReply};
use serde::Serialize;

use crate::Answer;
use crate::connect::{Context, Redis};
use crate::failure::Failure;
use crate::human::{count, entry_time, milliseconds};
use crate::output::{Report, note, table};

/// What to show.
#[derive(Debug, Args)]
pub(crate) struct Pending {
    /// Also show the oldest N entries one by one.
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    limit: u32,
}

#[derive(Serialize)]
struct State {
    group: String,
    pending: usize,
    /// The entry that waits longest for its acknowledgement.
    oldest: Option<Waiting>,
    consumers: Vec<Consumer>,
    entries: Vec<Waiting>,
}

#[derive(Serialize)]
struct Consumer {
    name: String,
    pending: usize,
    idle_ms: usize,
}

#[derive(Serialize, Clone)]
struct Waiting {
    id: String,
    consumer: String,
    idle_ms: usize,
    deliveries: usize,
}

/// Shows the group's unacknowledged entries.
pub(crate) async fn run(command: &Pending, context: &Context) -> Result<Answer, Failure> {
    let mut redis = context.redis().await?;
    let Some(state) = read(&mut redis, command.limit, context).await? else {
        note(&format!("there is no group `{}`: was a consumer ever started? see --group", context.group));
        context.output.show(&State::none(&context.group))?;
        return Ok(Answer::No);
    };
    context.output.show(&state)?;
    Ok(Answer::Done)
}

/// `None` when stream or group do not exist.
async fn read(redis: &mut Redis, limit: u32, context: &Context) -> Result<Option<State>, Failure> {
    let (stream, group) = (context.keys.traffic(), &context.group);
    let mut info = redis::cmd("XINFO");
    info.arg("CONSUMERS").arg(&stream).arg(group);
    // Redis says `ERR no such key` or `NOGROUP`; a key of another type is an error like any other.
    let consumers: StreamInfoConsumersReply = match redis.attempt(&info).await? {
        Ok(consumers) => consumers,
        Err(refusal) if refusal.starts_with("NOGROUP") || refusal.contains("no such key") => return Ok(None),
        Err(_) => return redis.query(&info).await.map(|_: redis::Value| None),
    };
    let mut details = redis::cmd("XPENDING");
    details.arg(&stream).arg(group).arg("-").arg("+").arg(limit.max(1));
    let oldest_first: StreamPendingCountReply = redis.query(&details).await?;
    let waiting: Vec<Waiting> = oldest_first.ids.into_iter().map(Waiting::from).collect();
    Ok(Some(State {
        group: group.clone(),
        pending: consumers.consumers.iter().map(|consumer| consumer.pending).sum(),
        oldest: waiting.first().cloned(),
        consumers: consumers.consumers.into_iter().map(Consumer::from).collect(),
        entries: if limit == 0 { Vec::new() } else { waiting },
    }))
}

impl State {
    fn none(group: &str) -> Self {
        Self { group: group.into(), pending: 0, oldest: None, consumers: Vec::new(), entries: Vec::new() }
    }
}

impl From<redis::streams::StreamInfoConsumer> for Consumer {
    fn from(consumer: redis::streams::StreamInfoConsumer) -> Self {
        Self { name: consumer.name, pending: consumer.pending, idle_ms: consumer.idle }
    }
}

impl From<redis::streams::StreamPendingId> for Waiting {
    fn from(entry: redis::streams::StreamPendingId) -> Self {
        Self {
            id: entry.id,
            consumer: entry.consumer,
            idle_ms: entry.last_delivered_ms,
            deliveries: entry.times_delivered,
        }
    }
}

impl Report for State {
    fn text(&self) -> String {
        let pending = count(self.pending as u64, "entry", "entries");
        let mut text = format!("{pending} of group {} read and not acknowledged", self.group);
        if let Some(oldest) = &self.oldest {
            text += &format!(
                ", the oldest from {}, idle for {}",
                entry_time(&oldest.id),
                milliseconds(oldest.idle_ms as u64)
            );
        }
        if !self.consumers.is_empty() {
            text += "\n";
            text +=
                &table(&["consumer", "pending", "idle"], &[1, 2], self.consumers.iter().map(Consumer::row));
        }
        if !self.entries.is_empty() {
            let header = ["entry", "added", "consumer", "idle", "deliveries"];
            text += "\n";
            text += &table(&header, &[3, 4], self.entries.iter().map(Waiting::row));
        }
        text
    }
}

impl Consumer {
    fn row(&self) -> Vec<String> {
        vec![self.name.clone(), self.pending.to_string(), milliseconds(self.idle_ms as u64)]
    }
}

impl Waiting {
    fn row(&self) -> Vec<String> {
        vec![
            self.id.clone(),
            entry_time(&self.id),
            self.consumer.clone(),
            milliseconds(self.idle_ms as u64),
            self.deliveries.to_string(),
        ]
    }
}
