//! Settings checked against each other, and the files and memory that they would take, before anything is
//! sent.

use std::sync::Arc;
use std::time::Duration;

use contract::Passkey;

use crate::error::LoadError;
use crate::population::Population;
use crate::sessions::SESSION_BYTES;
use crate::settings::{Load, Reach};
use crate::target::{Passkeys, Protocol, Target};
use crate::{http, process, udp};

/// More than this in one process is a mistyped option.
const MAX_MEMORY: u64 = 4 << 30;
/// What a connection takes here and in the kernel, about.
const CONNECTION_BYTES: u64 = 16 << 10;
const DEFAULT_DURATION: Duration = Duration::from_secs(10);
const HTTP_CONNECTIONS: u32 = 32;
const UDP_SOCKETS: u32 = 4;
/// Files besides the connections.
const OTHER_FILES: u64 = 64;

/// A load that can be put on trackers.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) targets: Vec<Target>,
    pub(crate) population: Arc<Population>,
    pub(crate) workers: u32,
    /// How long requests are sent, if time ends it.
    pub(crate) duration: Option<Duration>,
    passkeys: Passkeys,
}

impl Plan {
    /// Checks the settings and looks the addresses up.
    pub(crate) fn new(load: &Load, passkeys: Vec<Passkey>) -> Result<Self, LoadError> {
        let targets = load.urls.iter().map(|url| Target::read(url)).collect::<Result<Vec<_>, _>>()?;
        targets.iter().try_for_each(|target| check_target(target, load))?;
        check_size(load, targets.len(), passkeys.len())?;
        if let Some(pid) = load.pids.iter().find(|pid| process::Usage::of(**pid).is_none()) {
            return Err(LoadError::usage(format!("--pid {pid}: there is no such process")));
        }
        let plan = Self {
            workers: load.workers.max(u32::try_from(targets.len()).unwrap_or(u32::MAX)),
            duration: load.duration.or(load.requests.is_none().then_some(DEFAULT_DURATION)),
            passkeys: if passkeys.is_empty() { Passkeys::NotSent } else { Passkeys::Sent },
            population: Arc::new(Population::new(&load.swarms, passkeys)),
            targets,
        };
        // A path that cannot be used is found here, not by each worker.
        for target in &plan.targets {
            plan.http_form(target, load).map(drop)?;
        }
        Ok(plan)
    }

    /// The tracker of this worker.
    pub(crate) fn target(&self, worker: u32) -> &Target {
        &self.targets[worker as usize % self.targets.len()]
    }

    /// A worker's part of a number that all share; the first ones take what is left over.
    pub(crate) fn part(&self, whole: u64, worker: u32) -> u64 {
        whole / u64::from(self.workers) + u64::from(whole % u64::from(self.workers) > u64::from(worker))
    }

    /// How HTTP requests look.
    pub(crate) fn http_form(&self, target: &Target, load: &Load) -> Result<http::Form, LoadError> {
        let scrape = if load.swarms.scrape > 0.0 { target.scrape(self.passkeys)? } else { None };
        if target.protocol == Protocol::Http && load.swarms.scrape > 0.0 && scrape.is_none() {
            return Err(LoadError::usage(
                "--scrape: the URL has no `announce` in its path, so there is no scrape URL",
            ));
        }
        Ok(http::Form {
            announce: target.announce(self.passkeys)?,
            scrape,
            numwant: load.swarms.numwant,
            spoof: load.swarms.spoof,
            real_ip_header: load.swarms.real_ip_header.clone(),
        })
    }

    /// How UDP requests look. Without anything to tell, they carry no URL data, which not every tracker
    /// understands.
    pub(crate) fn udp_form(&self, target: &Target, load: &Load) -> Result<udp::Form, LoadError> {
        let says_something = self.passkeys == Passkeys::Sent || target.has_url_data();
        Ok(udp::Form {
            url: says_something.then(|| target.announce(self.passkeys)).transpose()?,
            numwant: load.swarms.numwant,
            spoof: load.swarms.spoof,
        })
    }
}

/// Connections or sockets of all workers together.
pub(crate) fn connections(load: &Load, target: &Target) -> u32 {
    load.connections.unwrap_or(if target.protocol == Protocol::Http { HTTP_CONNECTIONS } else { UDP_SOCKETS })
}

fn check_target(target: &Target, load: &Load) -> Result<(), LoadError> {
    if load.reach == Reach::Local && !target.is_local() {
        return Err(LoadError::usage(format!(
            "{target} is not on this machine. A load test of somebody else's tracker is an attack on it; \
             if it is your own, and everybody who shares it knows, add --allow-remote"
        )));
    }
    let swarms = &load.swarms;
    if swarms.ipv6 > 0.0 && target.protocol == Protocol::Udp {
        return Err(LoadError::usage(
            "--ipv6 is for HTTP: over UDP clients are of the family that the tracker is asked in, \
             so give two URLs, such as udp://127.0.0.1:6969 and udp://[::1]:6969",
        ));
    }
    if swarms.ipv6 > 0.0 && !swarms.spoof && swarms.real_ip_header.is_none() {
        return Err(LoadError::usage("--ipv6 needs --spoof or --real-ip-header: addresses must be told"));
    }
    Ok(())
}

/// Refuses what this machine cannot hold.
fn check_size(load: &Load, targets: usize, passkeys: usize) -> Result<(), LoadError> {
    let swarms = &load.swarms;
    let connections = u64::from(load.connections.unwrap_or(HTTP_CONNECTIONS)).max(targets as u64);
    let memory = u64::from(swarms.peers) * SESSION_BYTES as u64
        + u64::from(swarms.torrents) * 20
        + (passkeys * size_of::<Passkey>()) as u64
        + connections * CONNECTION_BYTES
        + u64::from(load.window) * 64;
    if memory > MAX_MEMORY {
        return Err(LoadError::TooLarge { needed: memory, limit: MAX_MEMORY });
    }
    allow_files(connections + OTHER_FILES)
}

/// Raises this process's limit on open files as far as needed.
fn allow_files(files: u64) -> Result<(), LoadError> {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap_or((files, files));
    if soft >= files {
        return Ok(());
    }
    setrlimit(Resource::RLIMIT_NOFILE, files.min(hard), hard).ok().filter(|()| hard >= files).ok_or_else(
        || {
            LoadError::usage(format!(
                "so many connections need {files} open files; {hard} are allowed (ulimit -n)"
            ))
        },
    )
}
