//! CPU time and resident memory of a local process, all its threads together, from `/proc`.

use std::fs;
use std::time::Duration;

/// A process at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Usage {
    /// As the kernel has it, at most 15 characters.
    pub(crate) name: String,
    /// User and system time of all threads since its start, to the kernel's tick of usually 10 ms.
    pub(crate) cpu: Duration,
    /// Resident memory in bytes.
    pub(crate) rss: u64,
}

impl Usage {
    /// Looks at a process; `None` when there is none of this number.
    pub(crate) fn of(pid: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let pages: u64 =
            fs::read_to_string(format!("/proc/{pid}/statm")).ok()?.split(' ').nth(1)?.parse().ok()?;
        let (name, ticks) = parse(&stat)?;
        let per_second = rustix::param::clock_ticks_per_second().max(1);
        let cpu = Duration::from_micros(ticks * 1_000_000 / per_second);
        Some(Self { name: name.to_owned(), cpu, rss: pages * rustix::param::page_size() as u64 })
    }
}

/// Name and CPU ticks. The name may hold spaces and brackets; the last bracket ends it.
fn parse(stat: &str) -> Option<(&str, u64)> {
    let (head, fields) = stat.rsplit_once(") ")?;
    let name = head.split_once('(')?.1;
    let mut fields = fields.split(' ').skip(11);
    let (user, system): (u64, u64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some((name, user + system))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_does_not_shift_the_fields() {
        let stat = "42 (a) b (c) S 1 42 42 0 -1 4194560 2451 0 0 0 17 25 3 4 20 0 1 0 100 1000 10 18446744073709551615";
        assert_eq!(parse(stat), Some(("a) b (c", 42)));
    }

    #[test]
    fn this_process_has_used_time_and_memory_and_a_foreign_number_is_nobody() {
        let before = Usage::of(std::process::id()).unwrap();
        let end = std::time::Instant::now() + Duration::from_secs(30);
        let more = || Usage::of(std::process::id()).unwrap().cpu > before.cpu;
        while !more() {
            assert!(std::time::Instant::now() < end, "the time of this loop is not counted");
        }
        assert!(before.rss > 1 << 20);
        assert_eq!(Usage::of(u32::MAX), None);
    }
}
