//! Bugs that the simulation must find: each was, or could have been, in the code. They exist only here, as a
//! patch of a script's text or a switch in the simulation's own adapters.

use books::presence;
use tracker::traffic::RecordScript;

/// A bug put back by hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Mutation {
    /// A consumer acknowledges a batch, then commits it.
    AckBeforeCommit,
    /// The snapshot moves in one command, the stream entry follows in another.
    SnapshotBeforeAppend,
    /// Two announces of a session in one second get the same `ts`.
    TimestampFromClock,
    /// Old entries are trimmed whoever still needs them.
    TrimUnguarded,
    /// Any entry that arrives decides about presence, however old.
    PresenceUnguarded,
    /// What is sent again is booked again.
    SequenceIgnored,
    /// What was refused and is sent again is taken for booked.
    ProgressIgnored,
    /// A client is answered before its announce is in the spool.
    AnswerBeforeSpool,
    /// An announce arrives when its look-up ends.
    ArrivalTakenLate,
    /// A Redis that went back in time is told only what comes next.
    TailNotReplayed,
    /// An announce is booked onto whatever snapshot there is.
    ClaimsNotCompared,
}

/// The scripts of one run, patched when a mutation says so.
#[derive(Debug, Clone)]
pub struct Scripts {
    /// Books announces.
    pub record: String,
    /// Brings entries into the presence sets.
    pub apply: String,
    /// Judges leases.
    pub sweep: String,
}

impl Scripts {
    /// The shipped scripts, or with one bug in them.
    ///
    /// # Panics
    /// When a patch no longer fits the shipped script: then the mutation proves nothing and must be written
    /// anew.
    #[must_use]
    pub fn with(mutation: Option<Mutation>) -> Self {
        let mut scripts = Self {
            record: RecordScript::text().to_owned(),
            apply: presence::APPLY_SCRIPT.to_owned(),
            sweep: presence::SWEEP_SCRIPT.to_owned(),
        };
        match mutation {
            Some(Mutation::SnapshotBeforeAppend) => scripts.record = two_commands(&scripts.record),
            Some(Mutation::TimestampFromClock) => {
                let given = "local remark\n";
                let clock = "local remark\n  ts = int(math.floor(tonumber(at) / 1000))\n";
                scripts.record = patched(&scripts.record, given, clock);
            }
            Some(Mutation::PresenceUnguarded) => {
                scripts.apply = patched(&scripts.apply, "string.sub(before, 1, 60) < place", "true");
            }
            Some(Mutation::SequenceIgnored) => {
                let known = "if seq <= booked and not open[seq] then";
                scripts.record = patched(&scripts.record, known, "if false then");
            }
            Some(Mutation::ProgressIgnored) => {
                let kept = "open[seq] = remark and true or nil";
                scripts.record = patched(&scripts.record, kept, "");
            }
            Some(Mutation::TailNotReplayed) => {
                scripts.record = patched(&scripts.record, "if last_call < KNOWN_CALL then", "if false then");
            }
            Some(Mutation::ClaimsNotCompared) => {
                let compared = "if (present or '') ~= expected then";
                scripts.record = patched(&scripts.record, compared, "if false then");
            }
            _ => {}
        }
        scripts
    }
}

/// The script returns what it would have appended; the caller appends it.
fn two_commands(record: &str) -> String {
    let attempt = "local call, attempt = redis.call, redis.pcall";
    let deferring = "local call, DEFERRED = redis.call, {}
local function attempt(command, stream, id, ...)
  if command ~= 'XADD' then return redis.pcall(command, stream, id, ...) end
  DEFERRED[#DEFERRED + 1] = { ... }
  return 'deferred'
end";
    let record = patched(record, attempt, deferring);
    patched(&record, "return answer\n", "return { answer, DEFERRED }\n")
}

fn patched(text: &str, from: &str, to: &str) -> String {
    let found = text.matches(from).count();
    assert_eq!(found, 1, "the patch of `{from}` must fit the shipped script exactly once");
    text.replace(from, to)
}
