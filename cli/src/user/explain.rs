//! `user explain`: every settled announce of a user, what it was worth and why, so that a support question
//! ends here.

use std::collections::{HashMap, HashSet};

use books::ledger::{Access, EventQuery, Ledger, LedgerError};
use books::settlement::{Promotion, SettledRow, Sums};
use clap::Args;
use contract::{InfoHash, Passkey};
use serde::Serialize;

use super::story::{Known, Line};
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
struct Story {
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
    let passkey = passkey::parse(&command.passkey)?;
    let mut ledger = context.ledger(Access::Read)?;
    let story = tell(command, &passkey, &mut ledger).map_err(|error| context.ledger_failure(&error))?;
    context.output.show(&story)?;
    if story.older_left_out {
        note("note: older announces are left out (--limit, --since), so the sums may differ");
    }
    Ok(Answer::Done)
}

fn tell(command: &Explain, passkey: &Passkey, ledger: &mut Ledger) -> Result<Story, LedgerError> {
    let query = EventQuery {
        passkey: *passkey,
        info_hash: command.infohash,
        since: command.since,
        // One more than is shown tells whether there are more.
        newest: command.limit.saturating_add(1),
    };
    let mut rows = ledger.events(&query)?;
    let beyond = rows.len().saturating_sub(command.limit as usize);
    rows.drain(..beyond);
    let sums = ledger_sums(command, passkey, ledger)?;
    let first_shown = rows.first().map_or(i64::MAX, |row| row.ts);
    let older_left_out = beyond > 0 || sums.as_ref().is_some_and(|sums| sums.first_seen < first_shown);
    let promotions = ledger.promotions()?.into_iter().map(|promotion| (promotion.id, promotion)).collect();
    Ok(Story {
        infohash: command.infohash,
        shown: Totals::of_rows(&rows),
        events: lines(&rows, &promotions, older_left_out),
        ledger: Totals::of_sums(&sums.unwrap_or_default()),
        older_left_out,
    })
}

fn ledger_sums(
    command: &Explain,
    passkey: &Passkey,
    ledger: &mut Ledger,
) -> Result<Option<Sums>, LedgerError> {
    let Some(wanted) = command.infohash else { return Ok(ledger.user(passkey)?.map(|user| user.sums)) };
    let torrents = ledger.torrents_of(passkey)?;
    let torrent = torrents.into_iter().find(|(info_hash, _)| *info_hash == wanted);
    Ok(torrent.map(|(_, account)| account.sums))
}

fn lines(rows: &[SettledRow], promotions: &HashMap<i64, Promotion>, older_left_out: bool) -> Vec<Line> {
    let mut sessions = HashSet::new();
    let line = |row: &SettledRow| {
        let first_shown = sessions.insert((row.info_hash, row.peer_id));
        let known = match (first_shown, older_left_out) {
            (true, false) => Known::FirstOfSession,
            (true, true) => Known::MaybeFirst,
            (false, _) => Known::Later,
        };
        Line::new(row, promotions, known)
    };
    rows.iter().map(line).collect()
}

impl Report for Story {
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

impl Story {
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
