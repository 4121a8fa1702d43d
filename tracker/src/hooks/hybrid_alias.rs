//! BEP 52 hybrids: one torrent with two info hashes, under both of which a client announces the same totals.
//!
//! The site says which v1 info hash a v2 one stands for, and the traffic of both is booked there: it counts
//! once. Not configured by itself: it comes with `traffic push`, behind `passkey approval`, unless
//! `torrent approval` asks the same Redis anyway.

use contract::config::ServiceUrl;
use contract::{InfoHash, Keys};
use redis::RedisResult;
use service::redis::{Broker, Timeouts};

use super::{Admission, Hook, Verdict, passkey_approval};
use crate::announce::{Announce, Refusal};
use crate::hooks::membership::{self, Known, Membership};

/// Where hybrids are looked up.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    redis_broker: Option<ServiceUrl>,
    timeouts: Timeouts,
}

impl Options {
    /// Aliases of torrents are where those of passkeys are: in the Redis of `passkey approval`.
    #[must_use]
    pub fn beside(approval: &passkey_approval::Options) -> Self {
        Self { redis_broker: approval.redis_broker.clone(), timeouts: approval.timeouts() }
    }
}

/// The hook.
#[derive(Debug)]
pub struct HybridAlias {
    torrents: Membership<InfoHash>,
}

impl HybridAlias {
    /// Starts the hook.
    ///
    /// # Errors
    /// When the Redis URL cannot be read. Redis need not be there yet.
    pub fn start(options: &Options, broker: &Broker) -> RedisResult<Self> {
        let keys = Keys::new(&broker.key_prefix);
        let torrents = membership::spawn(membership::Options {
            redis: broker.url_or(options.redis_broker.as_ref()),
            set_key: keys.torrents(),
            alias_key: keys.torrent_alias(),
            timeouts: options.timeouts,
            subject: "torrent aliases",
        })?;
        Ok(Self { torrents })
    }
}

impl Hook for HybridAlias {
    fn announce(&self, announce: &Announce, admission: &mut Admission) -> Verdict {
        let announced = announce.info_hash;
        match self.torrents.look(&announced) {
            Known::Listed(name) | Known::Unlisted(name) => {
                admission.book_as = (name != announced).then_some(name);
                Verdict::Pass
            }
            // Booked on the wrong info hash it would count twice: better late than twice.
            Known::Unknown => look_up(&self.torrents, announced),
        }
    }

    fn waits_for(&self) -> Option<String> {
        self.torrents.knows_nothing().then(|| "torrent aliases: Redis does not answer".into())
    }
}

/// Finds out about a torrent. While Redis is away the client is told to come back.
pub(super) fn look_up(torrents: &Membership<InfoHash>, info_hash: InfoHash) -> Verdict {
    let answer = torrents.ask(info_hash);
    Verdict::Wait(Box::pin(async move {
        answer
            .await
            .map_err(|_| Refusal::for_now("torrents cannot be checked right now; your client will try again"))
    }))
}
