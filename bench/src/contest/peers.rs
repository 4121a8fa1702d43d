//! The peers that package registries carry, and the bare limits.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use anyhow::Result;

use super::load::info_hashes;
use super::{Contestant, Setting, write};
use crate::cores::CoreSet;

/// Receives and sends, thinks nothing.
pub const BARE_UDP: Contestant = at_server("bare echo", "bare-udp", bare);
/// An epoll responder.
pub const BARE_HTTP: Contestant = at_server("bare epoll", "bare-http", bare);
/// The same, closing.
pub const BARE_CLOSE: Contestant = at_server("bare epoll", "bare-http", bare_closing);
/// hyper with a service that does nothing. Closes when it is asked to.
pub const BARE_HYPER: Contestant = at_server("bare hyper", "bare-hyper", bare);
/// aquatic_udp, from crates.io.
pub const AQUATIC_UDP: Contestant = at_server("aquatic_udp", "aquatic_udp", aquatic_udp);
/// aquatic_http, from crates.io. Its two threads each turn in circles while they wait: on one core they would
/// only disturb each other.
pub const AQUATIC_HTTP: Contestant = Contestant {
    place: CoreSet::Anywhere,
    ..at_server("aquatic_http, two cores", "aquatic_http", aquatic_http)
};
/// opentracker, from Debian. That build serves listed torrents only.
pub const OPENTRACKER: Contestant = at_server("opentracker", "opentracker", opentracker);

type Prepare = fn(&mut Command, &Setting<'_>) -> Result<()>;

const fn at_server(name: &'static str, program: &'static str, prepare: Prepare) -> Contestant {
    Contestant { name, program, place: CoreSet::Server, prepare }
}

fn bare(command: &mut Command, Setting { address, .. }: &Setting<'_>) -> Result<()> {
    command.arg(address.to_string());
    Ok(())
}

fn bare_closing(command: &mut Command, Setting { address, .. }: &Setting<'_>) -> Result<()> {
    command.arg(address.to_string()).arg("close");
    Ok(())
}

fn aquatic_udp(command: &mut Command, Setting { folder, address, .. }: &Setting<'_>) -> Result<()> {
    let config = format!(
        "socket_workers = 1\n[network]\naddress = \"{address}\"\nsocket_recv_buffer_size = 4194304\n\
         [protocol]\nmax_response_peers = 50\n"
    );
    command.arg("-c").arg(write(folder, "aquatic.toml", &config)?);
    Ok(())
}

fn aquatic_http(command: &mut Command, Setting { folder, address, .. }: &Setting<'_>) -> Result<()> {
    let config = format!(
        "socket_workers = 1\nswarm_workers = 1\n[network]\naddress = \"{address}\"\nkeep_alive = true\n\
         [protocol]\nmax_peers = 50\n"
    );
    command.arg("-c").arg(write(folder, "aquatic.toml", &config)?);
    Ok(())
}

fn opentracker(command: &mut Command, Setting { folder, address, shape }: &Setting<'_>) -> Result<()> {
    let list = info_hashes(*shape);
    write(folder, "whitelist", &(list.join("\n") + "\n"))?;
    // Started by root it becomes `nobody` with this folder as its root, so others must be able to look into
    // it.
    fs::set_permissions(folder, Permissions::from_mode(0o755))?;
    let port = address.port().to_string();
    command.args(["-i", "127.0.0.1", "-p", &port, "-P", &port, "-d", ".", "-w", "whitelist"]);
    Ok(())
}
