//! A small network of the test's own, because BitTorrent clients refuse peers on loopback.
//!
//! Every host is a network namespace with one address per family. Their switch, a bridge, is a namespace too,
//! so that the machine's firewall rules (Docker drops forwarded frames, for one) do not reach what hosts say
//! to each other. The machine itself is plugged in as `.1`: servers under test stay in the root namespace,
//! where the test, its Redis and the metrics listeners are on loopback as usual.

use std::collections::BTreeSet;
use std::fs::{File, TryLockError};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::{Pid, Signal, kill_process};

/// `10.77.SLOT.0/24` and `fd00:77:SLOT::/64`; the lock file of a slot is released by the kernel even after
/// SIGKILL.
const SLOTS: std::ops::RangeInclusive<u8> = 1..=250;

/// A bridge with this machine at `.1` and hosts from `.2`. Everything on it is removed on drop.
#[derive(Debug)]
pub struct Network {
    slot: u8,
    hosts: u8,
    _lock: File,
}

impl Network {
    /// Builds a network that no other process uses. Needs root, or a user namespace of one's own.
    #[must_use]
    pub fn start() -> Self {
        assert!(
            rustix::process::geteuid().is_root(),
            "network namespaces need root: run scripts/test, which arranges it, or `cargo test` as root"
        );
        let (slot, lock) = SLOTS.into_iter().find_map(claim).expect("one of 250 slots is free");
        let network = Self { slot, hosts: 0, _lock: lock };
        network.remove(); // What a killed test left in this slot.
        network.build();
        network
    }

    fn build(&self) {
        let (hub, link) = (self.namespace("hub"), self.link());
        ip(&["netns", "add", &hub]);
        ip(&["-n", &hub, "link", "add", "bridge", "type", "bridge"]);
        ip(&["-n", &hub, "link", "set", "bridge", "up"]);
        ip(&["link", "add", &link, "type", "veth", "peer", "name", "machine", "netns", &hub]);
        ip(&["-n", &hub, "link", "set", "machine", "master", "bridge", "up"]);
        ip(&["address", "add", &format!("{}/24", self.ipv4()), "dev", &link]);
        ip(&["address", "add", &format!("{}/64", self.ipv6()), "dev", &link, "nodad"]);
        ip(&["link", "set", &link, "up"]);
    }

    /// Plugs in one more host.
    pub fn host(&mut self, name: &str) -> Host {
        self.hosts += 1;
        let last = self.hosts + 1;
        let host = Host {
            namespace: self.namespace(name),
            ipv4: self.ipv4_of(last),
            ipv6: self.ipv6_of(last),
            authority: None,
        };
        let (hub, port, namespace) = (self.namespace("hub"), format!("port{last}"), host.namespace.as_str());
        ip(&["netns", "add", namespace]);
        ip(&["-n", namespace, "link", "set", "lo", "up"]);
        ip(&["-n", &hub, "link", "add", &port, "type", "veth", "peer", "name", "eth0", "netns", namespace]);
        ip(&["-n", &hub, "link", "set", &port, "master", "bridge", "up"]);
        ip(&["-n", namespace, "address", "add", &format!("{}/24", host.ipv4), "dev", "eth0"]);
        ip(&["-n", namespace, "address", "add", &format!("{}/64", host.ipv6), "dev", "eth0", "nodad"]);
        ip(&["-n", namespace, "link", "set", "eth0", "up"]);
        host
    }

    /// This machine's own address, where a server under test listens.
    #[must_use]
    pub fn ipv4(&self) -> Ipv4Addr {
        self.ipv4_of(1)
    }

    /// As [`Network::ipv4`].
    #[must_use]
    pub fn ipv6(&self) -> Ipv6Addr {
        self.ipv6_of(1)
    }

    fn ipv4_of(&self, last: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 77, self.slot, last)
    }

    fn ipv6_of(&self, last: u8) -> Ipv6Addr {
        Ipv6Addr::new(0xfd00, 0x77, self.slot.into(), 0, 0, 0, 0, last.into())
    }

    fn namespace(&self, name: &str) -> String {
        format!("seedbook-{}-{name}", self.slot)
    }

    /// The name of this machine's interface on the network; its namespaces are called `<link>-<host>`.
    #[must_use]
    pub fn link(&self) -> String {
        format!("seedbook-{}", self.slot)
    }

    /// Removes all namespaces of this slot, with the processes in them and both ends of every cable.
    fn remove(&self) {
        let prefix = self.namespace("");
        for namespace in namespaces().iter().filter(|name| name.starts_with(&prefix)) {
            for pid in try_ip(&["netns", "pids", namespace]).unwrap_or_default().lines() {
                let pid =
                    pid.parse().ok().and_then(Pid::from_raw).expect("`ip netns pids` prints process ids");
                // An error means that it is gone already, which is as good.
                kill_process(pid, Signal::KILL).unwrap_or_default();
            }
            drop(try_ip(&["netns", "delete", namespace]));
        }
        // The kernel clears a namespace some time after its name is gone; the cable's end in this one must
        // not wait.
        drop(try_ip(&["link", "delete", &self.link()]));
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        self.remove();
    }
}

/// A machine on the test's network.
#[derive(Debug, Clone)]
pub struct Host {
    namespace: String,
    /// Its IPv4 address.
    pub ipv4: Ipv4Addr,
    /// Its IPv6 address.
    pub ipv6: Ipv6Addr,
    authority: Option<PathBuf>,
}

impl Host {
    /// Makes clients that start on this host later believe the certificate in `file` (PEM), or those it
    /// signed.
    #[must_use]
    pub fn trusting(self, file: &Path) -> Self {
        Self { authority: Some(file.to_owned()), ..self }
    }

    /// The file of [`Host::trusting`]. Each client has its own way to be told.
    #[must_use]
    pub fn authority(&self) -> Option<&Path> {
        self.authority.as_deref()
    }

    /// A command that will run on this host.
    #[must_use]
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.namespace, program]);
        command
    }
}

fn claim(slot: u8) -> Option<(u8, File)> {
    let path = std::env::temp_dir().join(format!("seedbook-network-{slot}.lock"));
    let file = File::create(path).ok()?;
    match file.try_lock() {
        Ok(()) => Some((slot, file)),
        Err(TryLockError::WouldBlock) => None,
        Err(TryLockError::Error(error)) => panic!("a lock file cannot be locked: {error}"),
    }
}

fn namespaces() -> BTreeSet<String> {
    let list = try_ip(&["netns", "list"]).unwrap_or_default();
    list.lines().filter_map(|line| line.split_whitespace().next()).map(ToOwned::to_owned).collect()
}

fn ip(arguments: &[&str]) {
    if let Err(error) = try_ip(arguments) {
        panic!("`ip {}` failed, so the test has no network: {error}", arguments.join(" "));
    }
}

fn try_ip(arguments: &[&str]) -> Result<String, String> {
    let output = Command::new("ip").args(arguments).output();
    let output = output.map_err(|error| format!("{error} (apt-get install iproute2)"))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
    }
}
