//! `user explain`: every settled announce of a user, what it was worth and why, so that a support question
//! ends here.

use books::explanation::{Explanation, Question, explain};
use books::ledger::Access;
use clap::Args;
use contract::InfoHash;
use serde::Serialize;

use super::line::Line;
use super::totals::Totals;
use crate::Answer;
use crate::connect::Context;
use crate::failure::Failure;
use crate::human::{signed_bytes, signed_seconds};
use crate::output::{Report, note, table};
use crate::{passkey, when};

/// Whom to explain, and how much.
#[derive(Debug, Args)]
pub(crate) struct Explain {
    /// The user's passkey.
    passkey: String,
    /// One torrent only: 40 hex digits.
    infohash: Option<InfoHash>,
    /// At most so many announces: the newest.
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    limit: u32,
    /// Only announces since then: 2d, 2026-01-31T18:00:00Z or unix seconds.
    #[arg(long, value_name = "WHEN", value_parser = when::past)]
    since: Option<i64>,
}

#[derive(Serialize)]
struct Shown {
    /// The one torrent asked for.
    infohash: Option<InfoHash>,
    events: Vec<Line>,
    /// The sums of the events above.
    shown: Totals,
    /// The ledger's own totals of the user, or of the user on the one torrent.
    ledger: Totals,
    /// Whether older announces were left out.
    older_left_out: bool,
}

/// Tells how a user's totals came about.
pub(crate) fn run(command: &Explain, context: &Context) -> Result<Answer, Failure> {
    let question = Question {
        passkey: passkey::parse(&command.passkey)?,
        info_hash: command.infohash,
        since: command.since,
        newest: command.limit,
    };
    let explanation = explain(&mut context.ledger(Access::Read)?, &question);
    let explanation = explanation.map_err(|error| context.ledger_failure(&error))?;
    let shown = Shown::new(command.infohash, explanation);
    context.output.show(&shown)?;
    if shown.older_left_out {
        note("note: older announces are left out (--limit, --since), so the sums may differ");
    }
    Ok(Answer::Done)
}

impl Shown {
    fn new(infohash: Option<InfoHash>, explanation: Explanation) -> Self {
        Self {
            infohash,
            events: explanation.events.into_iter().map(Line::new).collect(),
            shown: explanation.shown.into(),
            ledger: explanation.ledger.into(),
            older_left_out: explanation.older_left_out,
        }
    }
}

impl Report for Shown {
    fn text(&self) -> String {
        let Some(first) = self.events.first() else { return "no settled announce".into() };
        let one_torrent = self.events.iter().all(|event| event.infohash == first.infohash);
        let mut header = vec!["time", "torrent", "client", "event", "up", "down", "seeded", "leeched", "why"];
        let mut rows: Vec<Vec<String>> = self.events.iter().map(Line::cells).collect();
        rows.push(self.shown.cells("sum"));
        let mut text = String::new();
        if one_torrent {
            text = format!("torrent {}\n", first.infohash);
            header.remove(1);
            rows.iter_mut().for_each(|row| drop(row.remove(1)));
        }
        let last = header.len() - 1;
        text += &table(&header, &[last - 4, last - 3, last - 2, last - 1], rows);
        text + "\n" + &self.closing()
    }
}

impl Shown {
    fn closing(&self) -> String {
        let total = &self.ledger;
        let mut text = format!(
            "ledger: up {} credited {}, down {} credited {}, seeded {}, leeched {}",
            signed_bytes(total.raw_up),
            signed_bytes(total.credited_up),
            signed_bytes(total.raw_down),
            signed_bytes(total.credited_down),
            signed_seconds(total.seed_seconds),
            signed_seconds(total.leech_seconds),
        );
        let claimed = self.shown.seed_seconds + self.shown.leech_seconds;
        if !self.older_left_out && claimed != total.seed_seconds + total.leech_seconds {
            text += "\nTime is less than the sum: two clients on one torrent earn a second once.";
        }
        text
    }
}
