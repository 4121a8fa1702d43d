//! Announce and scrape over UDP (BEP 15) with passkeys in URL data (BEP 41), IPv4 and IPv6.
//!
//! A client gets nothing but a connection id until it has proved that packets sent to its address reach it,
//! so the tracker cannot be made to flood others.
//!
//! Plain threads answer, one per core with a socket of its own, and never wait: a request that memory cannot
//! answer is looked up on the main runtime, and a reply that waits for its recording is sent by one more
//! thread (`udp-late`). No reply exceeds one Ethernet frame. A packet that finds no room is dropped and
//! counted, because UDP clients repeat.
//!
//! Passkeys need a client with BEP 41 (libtorrent: qBittorrent, Deluge; not transmission, rTorrent, aria2),
//! and libtorrent cuts URLs at 255 bytes: tokens do not fit.

mod batch;
mod connection_id;
mod late_replies;
pub mod reading;
mod respond;
mod return_path;
mod socket;
mod stamps;
mod unanswered;
mod worker;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use arc_swap::ArcSwap;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, oneshot, watch};
use tracing::info;

use crate::frontend::metrics::UdpMetrics;
use crate::pipeline::Pipeline;
use late_replies::LateReplies;
use wire::udp::{self as packet, url_data};

pub use connection_id::{ConnectionIds, LONGEST_LIFETIME};
pub use reading::Policy;
pub use respond::Frontend;

/// Look-ups under way. A change of the whitelist makes each user's next announce ask once.
const MAX_LOOK_UPS: usize = 4096;

/// How the frontend is set up: what only a restart changes.
#[derive(Debug)]
pub struct Settings {
    pub(crate) address: SocketAddr,
    /// Threads that receive and answer, each with a socket of its own.
    pub workers: usize,
    pub(crate) ids: ConnectionIds,
}

/// The UDP frontend's threads while they run.
#[derive(Debug)]
pub struct Running {
    /// Where clients announce: the port that was chosen, when port 0 was asked for.
    pub address: SocketAddr,
    /// What a reload reaches. While anybody holds it, late replies may come.
    pub frontend: Arc<Frontend>,
    /// The threads that receive. They end when told to stop, after what is in hand.
    pub workers: Vec<JoinHandle<()>>,
    /// Resolves, with an error, when the last late reply is sent: after the frontend is dropped and the
    /// recorder and all look-ups are done.
    pub last_reply: oneshot::Receiver<()>,
}

/// Binds the address once per worker and starts the workers. They stop when `stop` turns true. Must be called
/// on the runtime that look-ups shall run on.
///
/// # Errors
/// When the address cannot be bound or a thread not started.
pub fn serve(
    pipeline: Arc<Pipeline>,
    policy: Policy,
    settings: Settings,
    metrics: UdpMetrics,
    stop: &watch::Receiver<bool>,
) -> io::Result<Running> {
    let first = socket::bind(settings.address)?;
    // Port 0 was chosen by the kernel: the others share what the first one got.
    let address = first.local_addr()?;
    let late_socket = first.try_clone()?;
    let mut sockets = vec![first];
    for _ in 1..settings.workers.max(1) {
        sockets.push(socket::bind(address)?);
    }
    info!(%address, workers = sockets.len(), "UDP: announce and scrape");
    let (late, waiting) = LateReplies::new(metrics.clone());
    let counters = metrics.clone();
    let (sent, last_reply) = oneshot::channel::<()>();
    spawn("udp-late".into(), move || {
        late_replies::send(&waiting, &late_socket, &counters);
        drop(sent);
    })?;
    let frontend = Arc::new(Frontend {
        pipeline,
        policy: ArcSwap::from_pointee(policy),
        ids: settings.ids,
        late: Arc::new(late),
        metrics,
        runtime: Handle::current(),
        look_ups: Arc::new(Semaphore::new(MAX_LOOK_UPS)),
    });
    let mut workers = Vec::new();
    for (number, socket) in sockets.into_iter().enumerate() {
        let (frontend, stop) = (frontend.clone(), stop.clone());
        let work = move || worker::receive(&frontend, &socket, &stop);
        workers.push(spawn(format!("udp-{number}"), work)?);
    }
    Ok(Running { address, frontend, workers, last_reply })
}

fn spawn(name: String, work: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    thread::Builder::new().name(name).spawn(work)
}
