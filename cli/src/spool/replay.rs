//! `spool replay`: books what lies in the folder of a tracker that is gone.

use std::cell::OnceCell;
use std::path::PathBuf;

use clap::Args;
use contract::config::ServiceUrl;
use serde::Serialize;
use service::redis::Broker;
use tracker::config::Plan;
use tracker::traffic::{self, FailureKind, OpenError, ReplayError, Replayed, Setup, SpoolOptions, Survey};

use super::survey;
use crate::connect::Context;
use crate::failure::Failure;
use crate::human::count;
use crate::output::Report;
use crate::{Answer, progress};

/// What to book.
#[derive(Debug, Args)]
pub(crate) struct Replay {
    /// The `spool.directory` of a tracker that is gone.
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    /// That tracker's configuration, for its keys and for how it counts. Without it --key-prefix and the
    /// defaults count. The Redis is --redis' in any case.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Serialize)]
struct Done {
    directory: String,
    booked: u64,
    /// Redis had them already.
    known: u64,
    refused: u64,
    /// Where refused announces are.
    aside: Vec<String>,
    /// Places in the files that had changed on disk: their announces are lost.
    damaged_places: u64,
    tail_error: Option<String>,
    left: u64,
}

/// Books a folder's announces.
pub(crate) async fn run(command: &Replay, context: &Context) -> Result<Answer, Failure> {
    let found = survey(&command.directory)?;
    let setup = setup(command, context)?;
    let total = found.files.iter().map(|file| file.records).sum();
    let (bar, mut seen_to) = (OnceCell::new(), 0);
    let mut show = |done: u64| {
        seen_to = done;
        bar.get_or_init(|| progress::bar("booking", total)).set_position(done);
    };
    let replayed = traffic::replay(&setup, &mut show).await;
    if let Some(bar) = bar.get() {
        bar.finish_and_clear();
    }
    let replayed = replayed.map_err(|error| failure(command, &setup.redis, &error, seen_to))?;
    let done = Done::of(command, replayed, &found);
    context.output.show(&done)?;
    Ok(if done.is_whole() { Answer::Done } else { Answer::No })
}

fn setup(command: &Replay, context: &Context) -> Result<Setup, Failure> {
    let broker = Broker { url: context.redis.clone(), key_prefix: context.keys.prefix().to_owned() };
    let setup = match &command.config {
        None => traffic::Options::default().setup(&broker),
        Some(file) => {
            let file = file.display();
            let text = std::fs::read_to_string(file.to_string());
            let text = text.map_err(|error| Failure::usage(format!("cannot read {file}: {error}")))?;
            let plan = Plan::load(Some(&text), []);
            let plan = plan.map_err(|problems| Failure::usage(format!("{file}:\n{problems}")))?;
            plan.rules
                .recorder
                .ok_or_else(|| Failure::usage(format!("{file}: this tracker records nothing")))?
        }
    };
    let spool = SpoolOptions { directory: command.directory.clone(), ..SpoolOptions::default() };
    Ok(Setup { redis: context.redis.clone(), spool: Some(spool), ..setup })
}

fn failure(command: &Replay, redis: &ServiceUrl, error: &ReplayError, seen_to: u64) -> Failure {
    let directory = command.directory.display();
    let done = count(seen_to, "announce is", "announces are");
    let stays = format!("{done} booked; the others stay in {directory}: run this again");
    match error {
        ReplayError::Folder(OpenError::InUse) => Failure::usage(format!(
            "{directory} is in use by a running tracker, which books what lies there by itself"
        )),
        ReplayError::Folder(error) => Failure::usage(format!("{directory}: {error}")),
        ReplayError::Url(error) => {
            Failure::usage(format!("--redis or REDIS_URL: {redis} is no Redis URL ({:?})", error.kind()))
        }
        ReplayError::Disk(cause) => Failure::Service {
            tried: format!("the spool in {directory}"),
            cause: cause.to_string(),
            hint: stays,
        },
        ReplayError::Redis(cause) => {
            let advice = match cause.kind {
                FailureKind::Unreachable => "is redis-server running? set --redis or REDIS_URL",
                kind => kind.advice(),
            };
            Failure::Service {
                tried: format!("Redis at {redis}"),
                cause: cause.to_string(),
                hint: format!("{advice}\n  {stays}"),
            }
        }
    }
}

impl Done {
    fn of(command: &Replay, replayed: Replayed, found: &Survey) -> Self {
        Self {
            directory: command.directory.display().to_string(),
            booked: replayed.booked,
            known: replayed.known,
            refused: replayed.refused,
            aside: replayed.aside.iter().map(|file| file.display().to_string()).collect(),
            damaged_places: found.files.iter().map(|file| file.damaged).sum(),
            tail_error: replayed.tail_failed.map(|error| error.to_string()),
            left: replayed.left,
        }
    }

    /// Whether nothing remains to be done.
    fn is_whole(&self) -> bool {
        self.refused == 0 && self.left == 0 && self.tail_error.is_none()
    }
}

impl Report for Done {
    fn text(&self) -> String {
        let mut text = format!(
            "booked {}; {} booked before",
            count(self.booked, "announce", "announces"),
            count(self.known, "was", "were")
        );
        if self.refused > 0 {
            let refused = count(self.refused, "announce", "announces");
            text += &format!("\nRedis refuses {refused} (a foreign value under a snapshot's key?)");
            for file in &self.aside {
                text += &format!("\nkept in {file}: mend that value, and run this again");
            }
        }
        if let Some(error) = &self.tail_error {
            text += &format!("\nthe tail cannot be read or kept: {error}");
        }
        if self.damaged_places > 0 {
            let places = count(self.damaged_places, "place", "places");
            text += &format!("\nthe files had changed on disk in {places}: the announces there are lost");
        }
        if self.left > 0 {
            text += &format!("\n{} still there: run this again", count(self.left, "is", "are"));
        }
        text
    }
}
