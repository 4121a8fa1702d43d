//! Puts load on our programs and asks each for its profile meanwhile.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::{decode, flame_graph};
use crate::contest::{self, Connections, Filling, HookSet, Load, Protocol, Server, Shape, import_passkeys};
use crate::workbench::Bench;

/// How long each profile takes.
const SECONDS: u64 = 10;
/// How long the load goes on: the profile lies within.
const LOAD: Duration = Duration::from_secs(SECONDS + 4);
/// From the start of the load, filling included, to the profile.
const HEAD_START: Duration = Duration::from_secs(3);
const SHAPE: Shape = Shape { torrents: 1000, peers: 100_000 };

/// Takes all profiles and writes a picture of each into the folder.
///
/// # Errors
/// When a program does not start, or gives no profile.
pub fn take(bench: &Bench, folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder).context("the folder for the pictures")?;
    let redis = bench.redis()?;
    import_passkeys(bench, &redis)?;
    let tracker = |protocol, hook_set| contest::tracker(bench, protocol, hook_set, &redis);

    let (open, admin) = tracker(Protocol::Udp, HookSet::Open)?;
    let udp = profile(bench, &open, (Protocol::Udp, ""), &[admin])?;
    draw(folder, "tracker-udp", "tracker: UDP announces", &udp[0])?;
    drop(open);
    let (private, admin) = tracker(Protocol::Http, HookSet::Passkeys)?;
    let http = profile(bench, &private, (Protocol::Http, "/:passkey/announce"), &[admin])?;
    draw(folder, "tracker-http", "tracker: HTTP announces, passkeys checked", &http[0])?;
    drop(private);
    let consumer = contest::consumer(bench, &redis)?;
    let (recorded, admin) = tracker(Protocol::Http, HookSet::Recorded)?;
    let both =
        profile(bench, &recorded, (Protocol::Http, "/:passkey/announce"), &[admin, consumer.address()])?;
    draw(folder, "tracker-recorded", "tracker: HTTP announces, recorded", &both[0])?;
    draw(folder, "consumer", "consumer: presence and settlement", &both[1])
}

/// Profiles, taken at the same time, of the programs with these admin listeners, while the server is under
/// load.
fn profile(
    bench: &Bench,
    server: &Server,
    (protocol, path): (Protocol, &'static str),
    admins: &[SocketAddr],
) -> Result<Vec<Vec<u8>>> {
    let load = Load {
        protocol,
        path,
        shape: SHAPE,
        filling: Filling::First,
        connections: if protocol == Protocol::Http { Connections::Kept(64) } else { Connections::Kept(4) },
        duration: LOAD,
        rate: None,
    };
    thread::scope(|scope| {
        let loading = scope.spawn(|| load.put_on(bench, server, &[]));
        thread::sleep(HEAD_START);
        let asking: Vec<_> = admins.iter().map(|admin| scope.spawn(|| ask(*admin))).collect();
        let profiles = asking.into_iter().map(|asked| asked.join().expect("asking does not panic")).collect();
        loading.join().expect("the load does not panic")?;
        profiles
    })
}

fn ask(admin: SocketAddr) -> Result<Vec<u8>> {
    let mut stream = TcpStream::connect(admin)?;
    stream.set_read_timeout(Some(Duration::from_secs(SECONDS + 60)))?;
    let path = format!("/debug/pprof/profile?seconds={SECONDS}");
    write!(stream, "GET {path} HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    ensure!(answer.starts_with(b"HTTP/1.1 200"), "{path} was refused");
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n").context("the answer has no end")?;
    Ok(answer.split_off(end + 4))
}

fn draw(folder: &Path, name: &str, title: &str, profile: &[u8]) -> Result<()> {
    let stacks = decode(profile).with_context(|| name.to_owned())?;
    ensure!(stacks.samples > 0, "{name}: the profile is empty");
    let file = folder.join(format!("{name}.svg"));
    std::fs::write(&file, flame_graph(title, &stacks))?;
    println!("{}: {} samples", file.display(), stacks.samples);
    for (function, share) in stacks.heaviest(15) {
        println!("  {share:>5.1} %  {function}");
    }
    Ok(())
}
