//! What a run has to say: a table or JSON, and for a difference the story of the sessions behind it.

use std::collections::BTreeMap;
use std::time::Duration;

use comfy_table::{CellAlignment, Table, presets};
use redis::streams::{StreamId, StreamRangeReply};
use redis::{Commands, FromRedisValue, RedisResult};
use serde_json::{Map, Value, json};

use crate::announce::Bytes;
use crate::audit::Verdict;
use crate::books::Account;
use crate::context::RunContext;
use crate::tally::{Figure, Tally};

const SHOWN_USERS: usize = 3;
const SHOWN_SESSIONS: usize = 3;
const SHOWN_FIELDS: [&str; 13] =
    ["at", "event", "up", "down", "left", "du", "dd", "ts", "dt", "born", "tu", "td", "n"];
const SHOWN_EVENTS: &str = "500";

/// One run.
#[derive(Debug)]
pub(crate) struct Report<'a> {
    pub(crate) seed: u64,
    pub(crate) length: Duration,
    pub(crate) sessions: usize,
    pub(crate) tally: &'a Tally,
    pub(crate) verdict: &'a Verdict,
}

impl Report<'_> {
    /// For people.
    pub(crate) fn table(&self) -> String {
        let mut table = Table::new();
        table.load_style(presets::UTF8_FULL_CONDENSED);
        let minutes = self.length.as_secs_f64() / 60.0;
        let mut row = |name: &str, figure: String| {
            table.add_row([name.to_owned(), figure]);
        };
        row("seed", self.seed.to_string());
        row("minutes", format!("{minutes:.1}"));
        for (figure, _, name) in Figure::ALL {
            row(name, self.tally.get(figure).to_string());
        }
        row("sessions", self.sessions.to_string());
        row("kills, together", self.tally.kills().to_string());
        let Verdict { truth, seeding, .. } = self.verdict;
        row("bytes answered, up and down", truth.answered.sum().to_string());
        row("bytes said and never answered", truth.open().to_string());
        row("seconds of seeding, proved and settled", format!("{} {}", seeding[0], seeding[1]));
        row("bytes of difference", self.verdict.difference.to_string());
        row("broken promises", self.verdict.violations.len().to_string());
        if let Some(column) = table.column_mut(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        table.to_string()
    }

    /// For programs.
    pub(crate) fn json(&self) -> Value {
        let figures = Figure::ALL.map(|(figure, name, _)| (name.to_owned(), self.tally.get(figure).into()));
        let mut document = Map::from_iter(figures);
        let Verdict { truth, difference, violations, seeding, .. } = self.verdict;
        let more = json!({
            "seed": self.seed, "seconds": self.length.as_secs(), "sessions": self.sessions, "kills": self.tally.kills(),
            "answered_up": truth.answered.up, "answered_down": truth.answered.down, "open": truth.open(),
            "seconds_proved": seeding[0], "seconds_settled": seeding[1], "difference": difference, "violations": violations,
        });
        document.extend(more.as_object().cloned().unwrap_or_default());
        document.into()
    }
}

/// What happened to the sessions that differ: what their clients heard, and what the ledger has.
pub(crate) fn story(verdict: &Verdict, context: &RunContext) -> String {
    let users = verdict.users.iter().take(SHOWN_USERS);
    users.map(|user| story_of(*user, context)).collect::<Vec<_>>().join("\n")
}

fn story_of(user: usize, context: &RunContext) -> String {
    let name = context.world.users[user].name();
    let passkey = name.reveal();
    let settled = settled_by_session(passkey, context);
    let of = |account: &Account| {
        let key = key(&account.torrent.name().to_string(), &account.peer_id.to_string());
        settled.get(&key).copied().unwrap_or_default()
    };
    let sessions = context.world.books.sessions(user);
    let guilty =
        sessions.iter().filter(|account| account.bounds().missed_by(of(account)) > 0).take(SHOWN_SESSIONS);
    let told = guilty.map(|account| {
        let (torrent, peer_id) = (account.torrent.name().to_string(), account.peer_id.to_string());
        let explain = context.control.run(&["user", "explain", passkey, &torrent, "--limit", SHOWN_EVENTS]);
        format!(
            "user {user}, torrent {torrent}, peer id {peer_id}: the truth is {:?}, the events that are left have {:?}\n{}\n{}\n{}{}",
            account.bounds(),
            of(account),
            account.heard.join("\n"),
            entries(&peer_id, context).unwrap_or_else(|error| error.to_string()),
            explain.stdout,
            explain.stderr
        )
    });
    told.collect::<Vec<_>>().join("\n")
}

/// A session's entries, as far as they are still in the stream.
fn entries(peer_id: &str, context: &RunContext) -> RedisResult<String> {
    let mut redis = context.world.redis.get_connection()?;
    let stream: StreamRangeReply = redis.xrange_all(contract::Keys::default().traffic())?;
    let text = |value: &redis::Value| String::from_redis_value_ref(value).unwrap_or_default();
    let shown = |entry: &StreamId| {
        let fields =
            SHOWN_FIELDS.iter().filter_map(|name| Some(format!(" {name} {}", text(entry.map.get(*name)?))));
        format!("{}{}", entry.id, fields.collect::<String>())
    };
    let of_session =
        stream.ids.iter().filter(|entry| entry.map.get("peer_id").is_some_and(|own| text(own) == peer_id));
    Ok(of_session.map(shown).collect::<Vec<_>>().join("\n"))
}

fn key(torrent: &str, peer_id: &str) -> String {
    format!("{torrent}:{peer_id}")
}

fn settled_by_session(passkey: &str, context: &RunContext) -> BTreeMap<String, Bytes> {
    let answer = context.control.run(&["user", "explain", passkey, "--limit", "1000000", "--json"]);
    let story: Value = serde_json::from_str(&answer.stdout).unwrap_or_default();
    let mut sums: BTreeMap<String, Bytes> = BTreeMap::new();
    for event in story["events"].as_array().into_iter().flatten() {
        let text = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
        let figure = |name: &str| event[name].as_u64().unwrap_or_default();
        let gain = Bytes { up: figure("raw_up"), down: figure("raw_down") };
        *sums.entry(key(&text("infohash"), &text("peer_id"))).or_default() += gain;
    }
    sums
}
