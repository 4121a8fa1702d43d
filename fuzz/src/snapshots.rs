//! What is kept of a session, in Redis and in the ledger, and what is booked on it.

use claims::{Counters, DEFAULT_SKEW_MS, Path, Report, Session, Snapshot};

const REPORT_BYTES: usize = 16;
/// A search may take milliseconds.
const MOST_REPORTS: usize = 4;

/// What is booked is what the claims grow by, and what comes of it reads as it was written.
pub(crate) fn session(input: &[u8]) {
    let Some((place, rest)) = input.split_first() else { return };
    let (kept, said) = rest.split_at(rest.len() * usize::from(*place) / 256);
    let Ok(mut session) = Session::decode(kept) else { return };
    let known = session.clone();
    holds_together(&session);
    for words in said.chunks_exact(REPORT_BYTES).take(MOST_REPORTS) {
        let before = session.claimed();
        let Counters { up, down } = session.book(&report(words), DEFAULT_SKEW_MS);
        assert_eq!(session.claimed(), Counters { up: before.up + up, down: before.down + down });
        holds_together(&session);
    }
    holds_together(&known.fold(session, DEFAULT_SKEW_MS));
}

/// What can be read of a snapshot's text can be written, and reads the same.
pub(crate) fn snapshot(input: &[u8]) {
    if let Ok(snapshot) = Snapshot::read(input) {
        assert_eq!(Snapshot::read(&snapshot.encode()), Ok(snapshot));
    }
}

fn holds_together(session: &Session) {
    let mut bytes = Vec::new();
    session.encode(&mut bytes);
    assert_eq!(Session::decode(&bytes).as_ref(), Ok(session));
}

fn report(words: &[u8]) -> Report {
    let number = |from: usize, to: usize| {
        words[from..to].iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
    };
    Report {
        path: Path(u32::from(words[0])),
        at_ms: number(2, 8),
        counters: Counters { up: number(8, 12) << 16, down: number(12, 16) << 16 },
        started: words[1] & 1 == 1,
    }
}
