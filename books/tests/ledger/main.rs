//! The ledger's conformance suite: what every dialect must do, whatever its database.
//!
//! A further dialect adds one line to [`DIALECTS`]. Rows are spoiled and looked at through the seam itself,
//! so that no test knows a table.

#![allow(clippy::unwrap_used)] // In functions that tests share, too.

mod auditing;
mod claims;
mod hybrids;
mod order;
mod pruning;
mod rotation;
#[path = "../scene/mod.rs"]
mod scene;
mod settling;

use books::ledger::{Access, Dialect, Ledger, LedgerError, Memory, Purpose, open};

/// Makes a place for an empty ledger.
type Make = fn() -> Place;

/// Every dialect.
const DIALECTS: [(&str, Make); 2] = [("sqlite", sqlite), ("memory", memory)];

/// An empty ledger that may be opened several times.
struct Place {
    open: Box<dyn Fn() -> Ledger>,
}

fn sqlite() -> Place {
    let folder = tempfile::tempdir().unwrap();
    Place {
        open: Box::new(move || {
            let url = format!("sqlite://{}", folder.path().join("ledger.db").display());
            open(&url.as_str().into(), Access::Write).unwrap()
        }),
    }
}

fn memory() -> Place {
    let memory = Memory::default();
    Place { open: Box::new(move || memory.ledger()) }
}

impl Place {
    fn open(&self) -> Ledger {
        let mut ledger = (self.open)();
        ledger.migrate().unwrap();
        ledger
    }

    /// Does something to the rows that no program does.
    fn spoil(&self, mut how: impl FnMut(&mut dyn Dialect) -> Result<(), LedgerError>) {
        self.open().transaction(Purpose::Write, |dialect| how(dialect)).unwrap();
    }

    /// Every row, as text: what must not depend on order.
    fn dump(&self) -> Vec<String> {
        let rows = self.open().transaction(Purpose::Read, |dialect| {
            let mut rows = Vec::new();
            dialect.audit(&mut |row| rows.push(format!("{row:?}")))?;
            rows.extend(dialect.promotions(i64::MIN, i64::MAX)?.iter().map(|row| format!("{row:?}")));
            Ok(rows)
        });
        let mut rows = rows.unwrap();
        rows.sort_unstable();
        rows
    }
}

/// Runs a test on each dialect in turn. It is given a way to as many empty ledgers as it needs.
fn on_every_dialect(test: impl Fn(&dyn Fn() -> Place)) {
    for (name, place) in DIALECTS {
        println!("on {name}");
        test(&place);
    }
}
