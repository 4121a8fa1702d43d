//! The whole line at 80 % of what it sustains, for long: does what waits to be settled grow?

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::line::{Line, Pace};
use crate::figures::{Sample, median};
use crate::workbench::{Bench, Scale};

/// Of what the line sustains.
const SHARE: f64 = 0.8;
/// How often to look.
const LOOK: Duration = Duration::from_millis(500);

/// Measures.
pub(super) fn run(bench: &Bench) -> Result<Vec<Sample>> {
    let duration = match bench.scale {
        Scale::Quick => Duration::from_secs(5),
        Scale::Full => Duration::from_secs(600),
    };
    let line = Line::start(bench)?;
    let rate = SHARE * line.sustained(bench)?;
    let (answered, waiting) = thread::scope(|scope| {
        let loading = scope.spawn(|| line.load(bench, Pace::Every(rate), duration));
        let waiting = watch(&line, duration);
        (loading.join().expect("the load does not panic"), waiting)
    });
    let (answered, waiting) = (answered?, waiting?);
    ensure!(waiting.len() >= 6, "too few looks at what waits");
    let third = waiting.len() / 3;
    let (first, last) = (&waiting[..third], &waiting[waiting.len() - third..]);
    Ok(vec![
        Sample::new("line", "announces/s", answered.per_second),
        Sample::new("announce", "p99 ms", answered.latency_us.p99 / 1000.0),
        Sample::new("first third", "entries that wait", median(first)),
        Sample::new("last third", "entries that wait", median(last)),
    ])
}

fn watch(line: &Line, duration: Duration) -> Result<Vec<f64>> {
    let (end, mut waiting) = (Instant::now() + duration, Vec::new());
    while Instant::now() < end {
        thread::sleep(LOOK);
        waiting.push(line.behind()?);
    }
    Ok(waiting)
}
