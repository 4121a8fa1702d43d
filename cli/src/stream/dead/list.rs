//! `stream dead list`: what is wrong with which entry.

use std::collections::BTreeMap;

use books::dead_letters::DeadLetter;
use clap::Args;
use serde::Serialize;

use super::{StreamArgs, letters_in, page};
use crate::Answer;
use crate::connect::Context;
use crate::failure::Failure;
use crate::human::{entry_time, masked_text, utc};
use crate::output::{Report, table};

/// What to show.
#[derive(Debug, Args)]
pub(crate) struct List {
    #[command(flatten)]
    of: StreamArgs,
    /// At most so many.
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: usize,
    /// Show passkeys in full instead of their first characters.
    #[arg(long)]
    show_passkeys: bool,
}

#[derive(Serialize)]
struct Letters {
    total: u64,
    letters: Vec<Letter>,
}

#[derive(Serialize)]
struct Letter {
    id: String,
    entry_id: Option<String>,
    added: Option<String>,
    error: String,
    retries: u32,
    buried: String,
    fields: BTreeMap<String, String>,
}

/// Shows the letters of one stream, oldest first.
pub(crate) async fn run(command: &List, context: &Context) -> Result<Answer, Failure> {
    let mut redis = context.redis().await?;
    let stream = command.of.stream();
    let total = letters_in(&mut redis, stream, context).await?;
    let (mut letters, mut after) = (Vec::new(), None);
    while letters.len() < command.limit {
        let page = page(&mut redis, stream, after, context).await?;
        let Some(last) = page.last() else { break };
        after = Some(last.id);
        let room = command.limit - letters.len();
        letters.extend(page.iter().take(room).map(|letter| Letter::new(letter, command.show_passkeys)));
    }
    context.output.show(&Letters { total, letters })?;
    Ok(Answer::Done)
}

impl Letter {
    fn new(letter: &DeadLetter, show_passkeys: bool) -> Self {
        let entry_id = letter.entry_id.map(|id| id.to_string());
        let fields = letter.fields.iter().map(|(name, value)| {
            let (name, value) = (String::from_utf8_lossy(name), String::from_utf8_lossy(value));
            let hidden = name == "passkey" && !show_passkeys;
            (name.into_owned(), if hidden { masked_text(&value) } else { value.into_owned() })
        });
        Self {
            id: letter.id.to_string(),
            added: entry_id.as_deref().map(entry_time),
            entry_id,
            error: letter.error.clone(),
            retries: letter.count,
            buried: utc(letter.at),
            fields: fields.collect(),
        }
    }

    fn row(&self) -> Vec<String> {
        vec![
            self.id.clone(),
            self.entry_id.clone().unwrap_or_else(|| "?".into()),
            self.added.clone().unwrap_or_else(|| "?".into()),
            self.retries.to_string(),
            self.error.clone(),
        ]
    }
}

impl Report for Letters {
    fn text(&self) -> String {
        if self.letters.is_empty() {
            return "no dead letter".into();
        }
        let header = ["letter", "entry", "added", "retries", "error"];
        let shown = table(&header, &[3], self.letters.iter().map(Letter::row));
        format!("{shown}\n{} of {} shown", self.letters.len(), self.total)
    }
}
