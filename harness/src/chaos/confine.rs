//! Namespaces of the run's own: its mounts and its ports are nobody else's, and nothing outlives it, whatever
//! kills it.

use std::env;
use std::net::{Ipv6Addr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use harness::Clock;

use crate::fault::Kind;

const INSIDE: &str = "SEEDBOOK_CHAOS_INSIDE";
const NAMESPACES: [&str; 6] = ["--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"];

/// Whether anything can be mounted that nobody else sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Confinement {
    /// In namespaces of its own.
    Own,
    /// On a machine that allows none: no disk can be full then.
    None,
}

/// Starts this program again inside namespaces of its own, if the machine allows that; returns inside, or
/// where it does not.
pub(crate) fn enter() -> Result<Confinement> {
    if env::var_os(INSIDE).is_some() {
        Command::new("ip").args(["link", "set", "lo", "up"]).status().context("iproute2 is missing")?;
        return Ok(Confinement::Own);
    }
    let probe = unshare().args(["ip", "link", "set", "lo", "up"]).output();
    if !probe.is_ok_and(|probe| probe.status.success()) {
        return Ok(Confinement::None);
    }
    let error = unshare().arg(env::current_exe()?).args(env::args_os().skip(1)).env(INSIDE, "yes").exec();
    Err(error).context("unshare cannot be started")
}

impl Confinement {
    /// What this machine does not allow.
    pub(crate) fn lacks(self, folder: &Path) -> Result<Vec<Kind>> {
        let no_disks = (self == Self::None).then_some(Kind::Disks);
        let no_clocks = Clock::right(folder.join("probe.clock"))?.is_none().then_some(Kind::Clocks);
        let no_ipv6 = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_err().then_some(Kind::Ipv6);
        Ok([no_disks, no_clocks, no_ipv6].into_iter().flatten().collect())
    }
}

fn unshare() -> Command {
    let mut command = Command::new("unshare");
    if !rustix::process::geteuid().is_root() {
        command.arg("--map-root-user");
    }
    command.args(NAMESPACES).arg("--");
    command
}
