//! Settling events into SQLite when more and more is settled already: in batches as the consumer reads them,
//! and in a transaction for several of them, as it makes when they gather during a commit.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use books::Entry;
use books::ledger::{self, Access, Ledger};
use books::settlement::Rules;

use crate::cores::CoreSet;
use crate::cost::{self, micros_each};
use crate::figures::Sample;
use crate::workbench::{Bench, Scale};
use crate::world::World;

/// Events in a transaction: the consumer's default batch, and five of them, of at most eight that gather.
const TRANSACTIONS: [u64; 2] = [1000, 5000];
/// Events that are measured at each size.
const MEASURED: u64 = 30_000;
/// Rows written at once in between, where nobody looks.
const FILLING: u64 = 20_000;

/// Rows that are there already.
fn sizes(scale: Scale) -> &'static [u64] {
    match scale {
        Scale::Quick => &[0, 100_000],
        Scale::Full => &[0, 10_000, 100_000, 1_000_000, 10_000_000],
    }
}

/// Measures.
pub(super) fn run(bench: &Bench) -> Result<Vec<Sample>> {
    let folder = bench.folder()?;
    let url = format!("sqlite://{}", folder.path().join("ledger.db").display());
    bench.cores.at(CoreSet::Server, || {
        let mut book = Book { ledger: ledger::open(&url.as_str().into(), Access::Write)?, next: 0 };
        book.ledger.migrate()?;
        let mut samples = Vec::new();
        for size in sizes(bench.scale) {
            while book.next < *size {
                book.settle((size - book.next).min(FILLING))?;
            }
            for events in TRANSACTIONS {
                samples.extend(book.measured(*size, events)?);
            }
        }
        Ok(samples)
    })?
}

struct Book {
    ledger: Ledger,
    next: u64,
}

impl Book {
    fn measured(&mut self, size: u64, events: u64) -> Result<Vec<Sample>> {
        let (mut cpu, mut wall) = (Duration::ZERO, Duration::ZERO);
        for _ in 0..MEASURED / events {
            let entries = self.entries(events);
            let before = (cost::of_this_thread()?, Instant::now());
            self.put(&entries)?;
            cpu += cost::of_this_thread()? - before.0;
            wall += before.1.elapsed();
        }
        let subject = format!("{} rows there, {events} at once", power_of_ten(size));
        Ok(vec![
            Sample::new(&subject, "settlement µs", micros_each(cpu, MEASURED)),
            Sample::new(&subject, "elapsed µs", micros_each(wall, MEASURED)),
        ])
    }

    fn settle(&mut self, count: u64) -> Result<()> {
        let entries = self.entries(count);
        self.put(&entries)
    }

    fn entries(&mut self, count: u64) -> Vec<Entry> {
        let numbers = self.next..self.next + count;
        self.next = numbers.end;
        numbers.map(|number| World::SITE.entry(number)).collect()
    }

    fn put(&mut self, entries: &[Entry]) -> Result<()> {
        let outcome = self.ledger.settle(entries, &Rules::default())?;
        ensure!(outcome.settled == entries.len() as u64, "some events had been settled before");
        Ok(())
    }
}

/// `10^6` of a million; any other number as it is.
pub(super) fn power_of_ten(number: u64) -> String {
    match number.checked_ilog10() {
        Some(power) if 10_u64.pow(power) == number && power > 2 => format!("10^{power}"),
        _ => number.to_string(),
    }
}
