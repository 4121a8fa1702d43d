//! Swarms shared between the trackers of one site. Each tells the others of the visits it accepted, through
//! one stream in Redis, and takes their visits into its own swarms with the age they have.
//!
//! Announces never wait for sharing: they are answered from memory. A visit that another tracker is not told
//! of reaches it with the client's next announce.

mod clock;
pub mod codec;
mod metrics;
mod outbox;
mod reader;
mod retained;
mod sender;
mod stream;

use std::sync::Arc;
use std::time::Duration;

use contract::config::ServiceUrl;
use redis::RedisResult;
use service::redis::{Link, Timeouts};
use tokio::task::JoinHandle;
use tracing::warn;

pub use metrics::SharingMetrics;
pub use outbox::Outbox;

use self::codec::WriterId;
use self::reader::VisitReader;
use self::sender::VisitSender;
use self::stream::VisitStream;
use crate::swarm::Sighting;

/// Less than this is no room to share anything.
pub const MIN_STREAM_BYTES: u64 = 1 << 20;
/// How long the last visits may take to leave when the tracker stops.
const FAREWELL: Duration = Duration::from_secs(1);

/// The Redis, the stream and the limits that swarms are shared with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setup {
    /// The Redis that all trackers of the site share.
    pub redis: ServiceUrl,
    /// The stream's key, prefix included.
    pub stream: String,
    /// How long to wait for Redis.
    pub timeouts: Timeouts,
    /// How long a peer may be silent.
    pub peer_lifetime: Duration,
    /// Bytes that the stream may take in Redis, about.
    pub max_bytes: u64,
}

/// The two tasks of a tracker that shares its swarms.
#[derive(Debug)]
pub struct Sharing {
    outbox: Arc<Outbox>,
    sender: JoinHandle<()>,
    reader: JoinHandle<()>,
}

/// A queue for visits to share. Give it to the pipeline, and both to [`Sharing::start`].
#[must_use]
pub fn outbox(metrics: &SharingMetrics) -> Arc<Outbox> {
    Arc::new(Outbox::new(metrics.clone()))
}

impl Sharing {
    /// Starts both tasks. Redis need not be there yet. `learn` takes in a visit that another tracker saw so
    /// long ago, and says whether it changed a swarm.
    ///
    /// # Errors
    /// When the URL cannot be read.
    pub fn start(
        setup: Setup,
        outbox: Arc<Outbox>,
        learn: impl Fn(&Sighting, Duration) -> bool + Send + Sync + 'static,
        metrics: &SharingMetrics,
    ) -> RedisResult<Self> {
        let Setup { redis, stream, timeouts, peer_lifetime, max_bytes } = setup;
        let stream = Arc::new(VisitStream::new(stream, peer_lifetime, max_bytes));
        let writer = WriterId(rand::random());
        // The reader's connection is its own: a read that blocks would hold up everything behind it.
        let patient = Timeouts { response: timeouts.response.map(|time| time + reader::BLOCK), ..timeouts };
        let (outward, inward) = (Link::new(&redis, timeouts)?, Link::new(&redis, patient)?);
        let reader = VisitReader::new(inward, learn, stream.clone(), writer, metrics.clone());
        let sender =
            VisitSender { link: outward, outbox: outbox.clone(), stream, writer, metrics: metrics.clone() };
        Ok(Self { outbox, sender: tokio::spawn(sender.run()), reader: tokio::spawn(reader.run()) })
    }

    /// Stops once the last visits are sent, or cannot be.
    pub async fn stop(mut self) {
        self.reader.abort();
        self.reader.await.ok();
        self.outbox.close();
        if tokio::time::timeout(FAREWELL, &mut self.sender).await.is_err() {
            self.sender.abort();
            warn!("other trackers do not hear of the last visits: Redis did not take them in time");
        }
    }
}
