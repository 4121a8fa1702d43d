//! What work costs: processor time of a thread, a process or a Redis, and resident memory.
//!
//! Processor time rather than wall time: on a machine that does other things too, only the former says what
//! the work costs.

use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::time::TimeValLike;
use nix::time::{ClockId, clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;

/// Processor time (user and system) this thread has used.
///
/// # Errors
/// When the system has no such clock.
pub fn of_this_thread() -> Result<Duration> {
    read(ClockId::CLOCK_THREAD_CPUTIME_ID)
}

/// Processor time (user and system) that all threads of a process have used.
///
/// # Errors
/// When there is no such process.
pub fn of_process(pid: u32) -> Result<Duration> {
    let pid = Pid::from_raw(i32::try_from(pid)?);
    read(clock_getcpuclockid(pid).context("no such process")?)
}

fn read(clock: ClockId) -> Result<Duration> {
    let nanoseconds = clock_gettime(clock).context("this clock cannot be read")?.num_nanoseconds();
    Ok(Duration::from_nanos(u64::try_from(nanoseconds)?))
}

/// Processor time (user and system) that a Redis has used, by its own account.
///
/// # Errors
/// When it does not answer.
pub fn of_redis(connection: &mut redis::Connection) -> Result<Duration> {
    let page: String = redis::cmd("INFO").arg("cpu").query(connection)?;
    let seconds = |name: &str| -> Result<f64> {
        let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        Ok(line.with_context(|| format!("Redis does not say {name}"))?.trim().parse()?)
    };
    Ok(Duration::from_secs_f64(seconds("used_cpu_user")? + seconds("used_cpu_sys")?))
}

/// Bytes of a process that are in memory now.
///
/// # Errors
/// When there is no such process.
pub fn resident_bytes(pid: u32) -> Result<u64> {
    let page = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line =
        page.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("the kernel gives no VmRSS")?;
    let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kilobytes * 1024)
}

/// Microseconds for each of `count` things.
#[must_use]
pub fn micros_each(spent: Duration, count: u64) -> f64 {
    spent.as_secs_f64() * 1e6 / as_f64(count)
}

/// A count as a factor. Exact up to 2^53.
#[must_use]
pub fn as_f64(count: u64) -> f64 {
    #[allow(clippy::cast_precision_loss)] // Counts here are far below 2^53.
    let number = count as f64;
    number
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_works_uses_time_and_so_does_its_process() {
        let (thread, process) = (of_this_thread().unwrap(), of_process(std::process::id()).unwrap());
        let sum = (0..20_000_000_u64).map(std::hint::black_box).fold(0, u64::wrapping_add);
        assert_ne!(sum, 1);
        let spent = of_this_thread().unwrap() - thread;
        assert!(spent > Duration::from_micros(100), "{spent:?}");
        assert!(of_process(std::process::id()).unwrap() - process >= spent / 2);
    }

    #[test]
    fn resident_memory_grows_with_what_is_written() {
        let before = resident_bytes(std::process::id()).unwrap();
        let filled = std::hint::black_box(vec![1_u8; 64 << 20]);
        let grown = resident_bytes(std::process::id()).unwrap() - before;
        assert!(grown > 48 << 20, "{grown} of {}", filled.len());
    }
}
