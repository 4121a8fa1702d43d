//! How a user's totals came about: every settled announce, what it was worth and why, so that a support
//! question ends here.

use std::collections::{HashMap, HashSet};

use contract::{Event, InfoHash, Passkey};

use crate::figures::{bytes, seconds};
use crate::ledger::{EventQuery, Ledger, LedgerError};
use crate::settlement::{Flag, FlagReason, Promotion, SettledRow, Sums};

/// The user, torrent and time whose announces are explained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Question {
    /// The user's canonical passkey.
    pub passkey: Passkey,
    /// Only announces of this torrent.
    pub info_hash: Option<InfoHash>,
    /// Only announces since then, in unix seconds.
    pub since: Option<i64>,
    /// At most so many announces: the newest.
    pub newest: u32,
}

/// The settled announces behind a user's totals.
#[derive(Debug)]
pub struct Explanation {
    /// The announces, oldest first.
    pub events: Vec<Explained>,
    /// The sums of the events above.
    pub shown: Totals,
    /// The ledger's own totals of the user, or of the user on the one torrent.
    pub ledger: Totals,
    /// Whether older announces were left out.
    pub older_left_out: bool,
}

/// One settled announce.
#[derive(Debug)]
pub struct Explained {
    /// As the ledger has it.
    pub row: SettledRow,
    /// The factor on upload that it was settled with.
    pub up_factor: f64,
    /// The factor on download.
    pub down_factor: f64,
    /// The reason, as a sentence.
    pub why: String,
}

/// Sums over several announces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Totals {
    /// Bytes uploaded.
    pub raw_up: i64,
    /// Bytes downloaded.
    pub raw_down: i64,
    /// Bytes of upload that count.
    pub credited_up: i64,
    /// Bytes of download that count.
    pub credited_down: i64,
    /// What announces claim as seeding, in seconds: what two clients claim is in here twice.
    pub seed_seconds: i64,
    /// What they claim as leeching, likewise.
    pub leech_seconds: i64,
}

impl Totals {
    /// The plain sums of rows: time that two clients claim both counts twice here.
    fn of_rows(rows: &[SettledRow]) -> Self {
        let sum = |figure: fn(&SettledRow) -> i64| rows.iter().map(figure).fold(0, i64::saturating_add);
        Self {
            raw_up: sum(|row| row.raw_up),
            raw_down: sum(|row| row.raw_down),
            credited_up: sum(|row| row.credited_up),
            credited_down: sum(|row| row.credited_down),
            seed_seconds: sum(|row| row.seed_seconds),
            leech_seconds: sum(|row| row.leech_seconds),
        }
    }

    /// What the ledger's totals say.
    fn of_sums(sums: &Sums) -> Self {
        Self {
            raw_up: sums.raw_up,
            raw_down: sums.raw_down,
            credited_up: sums.credited_up,
            credited_down: sums.credited_down,
            seed_seconds: sums.seed_seconds,
            leech_seconds: sums.leech_seconds,
        }
    }
}

/// Tells how a user's totals came about.
///
/// # Errors
/// The ledger's.
pub fn explain(ledger: &mut Ledger, question: &Question) -> Result<Explanation, LedgerError> {
    let Question { passkey, info_hash, since, newest } = *question;
    // One more than is shown tells whether there are more.
    let query = EventQuery { passkey, info_hash, since, newest: newest.saturating_add(1) };
    let mut rows = ledger.events(&query)?;
    let beyond = rows.len().saturating_sub(newest as usize);
    rows.drain(..beyond);
    let sums = ledger_sums(ledger, question)?;
    let first_shown = rows.first().map_or(i64::MAX, |row| row.ts);
    let older_left_out = beyond > 0 || sums.as_ref().is_some_and(|sums| sums.first_seen < first_shown);
    let promotions = ledger.promotions()?.into_iter().map(|promotion| (promotion.id, promotion)).collect();
    Ok(Explanation {
        shown: Totals::of_rows(&rows),
        events: explained(rows, &promotions, older_left_out),
        ledger: Totals::of_sums(&sums.unwrap_or_default()),
        older_left_out,
    })
}

fn ledger_sums(ledger: &mut Ledger, question: &Question) -> Result<Option<Sums>, LedgerError> {
    Ok(match question.info_hash {
        Some(info_hash) => ledger.torrent_of(&question.passkey, &info_hash)?.map(|torrent| torrent.sums),
        None => ledger.user(&question.passkey)?.map(|user| user.sums),
    })
}

fn explained(
    rows: Vec<SettledRow>,
    promotions: &HashMap<i64, Promotion>,
    older_left_out: bool,
) -> Vec<Explained> {
    let mut sessions = HashSet::new();
    let known = |first_shown| match (first_shown, older_left_out) {
        (true, false) => Known::FirstOfSession,
        (true, true) => Known::MaybeFirst,
        (false, _) => Known::Later,
    };
    let explained = |row: SettledRow| {
        let known = known(sessions.insert((row.info_hash, row.peer_id)));
        Explained::new(row, promotions, known)
    };
    rows.into_iter().map(explained).collect()
}

impl Explained {
    fn new(row: SettledRow, promotions: &HashMap<i64, Promotion>, known: Known) -> Self {
        let (up_milli, down_milli) = factors(&row, promotions);
        Self {
            up_factor: factor(up_milli),
            down_factor: factor(down_milli),
            why: why(&row, up_milli, down_milli, known),
            row,
        }
    }
}

/// What is known of the session's announces before this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    /// There is none.
    FirstOfSession,
    /// None is shown, but older ones were left out.
    MaybeFirst,
    /// There is one.
    Later,
}

fn factor(milli: i64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "factors are at most a million thousandths")]
    let factor = milli as f64 / 1000.0;
    factor
}

/// The factors in thousandths that this row was settled with.
fn factors(row: &SettledRow, promotions: &HashMap<i64, Promotion>) -> (i64, i64) {
    if row.flag.is_some() {
        return (0, 0);
    }
    let used = |id: Option<i64>| id.and_then(|id| promotions.get(&id));
    let up = used(row.promotion_id).map_or(1000, |promotion| promotion.up_milli);
    let down =
        used(row.down_promotion_id.or(row.promotion_id)).map_or(1000, |promotion| promotion.down_milli);
    (as_settled(row.raw_up, row.credited_up, up), as_settled(row.raw_down, row.credited_down, down))
}

/// The promotion's factor, unless it was edited since: then what the figures themselves say.
fn as_settled(raw: i64, credited: i64, milli: i64) -> i64 {
    let (raw, credited) = (i128::from(raw), i128::from(credited));
    if raw == 0 || raw * i128::from(milli) / 1000 == credited {
        return milli;
    }
    i64::try_from(credited * 1000 / raw).unwrap_or(i64::MAX)
}

fn why(row: &SettledRow, up_milli: i64, down_milli: i64, known: Known) -> String {
    if let Some(flag) = &row.flag {
        return format!("flagged: {}; credited nothing until an operator decides", accusation(flag));
    }
    if row.raw_up == 0 && row.raw_down == 0 {
        return nothing_moved(row, known).to_owned();
    }
    // A factor on nothing explains nothing.
    let up = if row.raw_up == 0 { None } else { changed(up_milli, "upload", "upload does not count") };
    let down = if row.raw_down == 0 { None } else { changed(down_milli, "download", "download free") };
    promoted((row.promotion_id, up), (row.down_promotion_id.or(row.promotion_id), down))
}

/// The flag's figures, which the ledger keeps as JSON, as a sentence.
fn accusation(flag: &Flag) -> String {
    let details: serde_json::Value = serde_json::from_str(&flag.details).unwrap_or_default();
    let figure = |name: &str| details[name].as_u64().unwrap_or(0);
    let moved = format!("up {} and down {}", bytes(figure("du")), bytes(figure("dd")));
    match flag.reason {
        FlagReason::Overflow => format!("{moved} are more bytes than can be counted"),
        FlagReason::Speed => format!(
            "{moved} in {} is faster than {}/s",
            seconds(figure("judged_over_seconds")),
            bytes(figure("max_rate_bytes_per_s"))
        ),
    }
}

fn nothing_moved(row: &SettledRow, known: Known) -> &'static str {
    // A regular announce that claims no time had no earlier one to count from.
    let timeless = row.event != Event::Started && row.seed_seconds == 0 && row.leech_seconds == 0;
    match known {
        Known::FirstOfSession => "first announce of this session: baseline only",
        Known::Later | Known::MaybeFirst if timeless => "no earlier announce to compare with: baseline only",
        Known::Later if row.event == Event::Started => "a new run of the client: nothing moved yet",
        Known::MaybeFirst if row.event == Event::Started => "the client started: nothing to count yet",
        Known::Later | Known::MaybeFirst => "heartbeat: counters did not move",
    }
}

fn changed(milli: i64, side: &str, nothing: &str) -> Option<String> {
    match milli {
        1000 => None,
        0 => Some(nothing.to_owned()),
        milli => Some(format!("{side} ×{}", factor(milli))),
    }
}

fn promoted(up: (Option<i64>, Option<String>), down: (Option<i64>, Option<String>)) -> String {
    let named = |id: Option<i64>, what: String| match id {
        Some(id) => format!("promotion {id}: {what}"),
        None => what,
    };
    match (up, down) {
        ((up_id, Some(up)), (down_id, Some(down))) if up_id == down_id => {
            named(up_id, format!("{up}, {down}"))
        }
        ((up_id, up), (down_id, down)) => {
            let up = up.map(|what| named(up_id, what));
            let down = down.map(|what| named(down_id, what));
            up.into_iter().chain(down).collect::<Vec<_>>().join("; ")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::EntryId;
    use crate::settlement::Scope;
    use contract::PeerId;

    fn row() -> SettledRow {
        SettledRow {
            ts: 1_000_000,
            passkey: "alice".parse().unwrap(),
            info_hash: InfoHash([1; 20]),
            peer_id: PeerId([2; 20]),
            entry_id: EntryId::at_ms(1),
            raw_up: 0,
            raw_down: 0,
            credited_up: 0,
            credited_down: 0,
            seed_seconds: 60,
            leech_seconds: 0,
            event: Event::None,
            left_bytes: 0,
            promotion_id: None,
            down_promotion_id: None,
            fd: None,
            pd: None,
            flag: None,
            announced_as: None,
        }
    }

    fn promotions(factors: &[(i64, i64)]) -> HashMap<i64, Promotion> {
        let promotion = |(id, (up_milli, down_milli)): (i64, &(i64, i64))| Promotion {
            id,
            scope: Scope::Global,
            up_milli: *up_milli,
            down_milli: *down_milli,
            starts_at: 0,
            ends_at: None,
        };
        (1..).zip(factors).map(promotion).map(|promotion| (promotion.id, promotion)).collect()
    }

    fn why_of(row: &SettledRow, factors: &[(i64, i64)], known: Known) -> String {
        Explained::new(row.clone(), &promotions(factors), known).why
    }

    #[test]
    fn an_announce_without_bytes_is_told_apart_by_what_came_before_it() {
        let timeless = SettledRow { seed_seconds: 0, ..row() };
        let started = SettledRow { event: Event::Started, ..timeless.clone() };
        assert_eq!(why_of(&row(), &[], Known::Later), "heartbeat: counters did not move");
        assert!(why_of(&row(), &[], Known::FirstOfSession).starts_with("first announce of this session"));
        assert!(why_of(&timeless, &[], Known::MaybeFirst).starts_with("no earlier announce to compare with"));
        assert!(why_of(&started, &[], Known::Later).starts_with("a new run of the client"));
        assert_eq!(why_of(&started, &[], Known::MaybeFirst), "the client started: nothing to count yet");
    }

    #[test]
    fn promotions_are_named_where_they_changed_something() {
        let both =
            SettledRow { raw_up: 100, credited_up: 200, raw_down: 100, promotion_id: Some(1), ..row() };
        assert_eq!(why_of(&both, &[(2000, 0)], Known::Later), "promotion 1: upload ×2, download free");
        let two = SettledRow { down_promotion_id: Some(2), ..both.clone() };
        let why = why_of(&two, &[(2000, 1000), (1000, 0)], Known::Later);
        assert_eq!(why, "promotion 1: upload ×2; promotion 2: download free");
        let up_only = SettledRow { raw_down: 0, ..both };
        assert_eq!(why_of(&up_only, &[(2000, 0)], Known::Later), "promotion 1: upload ×2");
        assert_eq!(why_of(&row(), &[(2000, 0)], Known::Later), "heartbeat: counters did not move");
    }

    #[test]
    fn a_promotion_that_was_edited_since_does_not_rewrite_history() {
        let row = SettledRow { raw_up: 1000, credited_up: 1500, promotion_id: Some(1), ..row() };
        let line = Explained::new(row, &promotions(&[(3000, 1000)]), Known::Later);
        assert_eq!((line.up_factor, line.why.as_str()), (1.5, "promotion 1: upload ×1.5"));
    }

    #[test]
    fn a_flag_says_what_was_claimed() {
        let details =
            r#"{"du":2147483648,"dd":0,"dt":1,"judged_over_seconds":1,"max_rate_bytes_per_s":1073741824}"#;
        let flag = Flag { reason: FlagReason::Speed, details: details.into() };
        let why = why_of(&SettledRow { flag: Some(flag), ..row() }, &[], Known::Later);
        assert!(
            why.starts_with("flagged: up 2.00 GiB and down 0 B in 1s is faster than 1.00 GiB/s;"),
            "{why}"
        );
    }
}
