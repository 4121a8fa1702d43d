//! The services that commands talk to: connected when first needed, with errors that say what was tried and
//! what to do.

use std::time::Duration;

use books::ledger::{self, Access, Ledger, LedgerError};
use contract::Keys;
use contract::config::ServiceUrl;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, FromRedisValue, RedisError, RedisFuture};

use crate::failure::Failure;
use crate::output::Output;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Generous: trimming or replacing millions of members is one command.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(60);

/// What the global options say.
#[derive(Debug)]
pub(crate) struct Context {
    /// Where Redis is.
    pub(crate) redis: ServiceUrl,
    /// Where the ledger is.
    pub(crate) database: ServiceUrl,
    /// This site's key names.
    pub(crate) keys: Keys,
    /// The consumer group.
    pub(crate) group: String,
    /// Where results go.
    pub(crate) output: Output,
}

/// How long an answer may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Patience {
    /// For commands that answer.
    Bounded,
    /// For a read that blocks on purpose.
    Endless,
}

impl Context {
    /// Connects to Redis.
    pub(crate) async fn redis(&self) -> Result<Redis, Failure> {
        self.redis_with(Patience::Bounded).await
    }

    /// Connects to Redis for commands that may block.
    pub(crate) async fn redis_with(&self, patience: Patience) -> Result<Redis, Failure> {
        let response = (patience == Patience::Bounded).then_some(RESPONSE_TIMEOUT);
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_TIMEOUT))
            .set_response_timeout(response);
        let client = service::redis::client(&self.redis).map_err(|error| self.bad_url(&error))?;
        match client.get_multiplexed_async_connection_with_config(&config).await {
            Ok(connection) => Ok(Redis { connection, url: self.redis.clone() }),
            Err(error) => Err(redis_failure(&self.redis, &error)),
        }
    }

    /// Opens the ledger.
    pub(crate) fn ledger(&self, access: Access) -> Result<Ledger, Failure> {
        ledger::open(&self.database, access).map_err(|error| self.ledger_failure(&error))
    }

    /// Words an error of the ledger.
    pub(crate) fn ledger_failure(&self, error: &LedgerError) -> Failure {
        match error {
            LedgerError::Unsupported(reason) => {
                Failure::usage(format!("--database or DATABASE_URL: {reason}"))
            }
            LedgerError::Unavailable(cause) | LedgerError::Rejected(cause) | LedgerError::Conflict(cause) => {
                Failure::Service {
                    tried: format!("the ledger at {}", self.database),
                    cause: cause.clone(),
                    hint: "is this the consumer's database? set --database or DATABASE_URL".into(),
                }
            }
        }
    }

    fn bad_url(&self, error: &RedisError) -> Failure {
        // The crate's text may repeat parts of the URL, and with them a password: only its category is passed
        // on.
        Failure::usage(format!("--redis or REDIS_URL: {} is no Redis URL ({:?})", self.redis, error.kind()))
    }
}

/// A connection whose errors are ready for the operator.
pub(crate) struct Redis {
    /// For the functions of other crates that speak Redis themselves.
    pub(crate) connection: MultiplexedConnection,
    url: ServiceUrl,
}

impl Redis {
    /// Sends one command.
    pub(crate) async fn query<T: FromRedisValue>(&mut self, command: &redis::Cmd) -> Result<T, Failure> {
        command.query_async(&mut self.connection).await.map_err(|error| redis_failure(&self.url, &error))
    }

    /// Sends several commands in one round trip.
    pub(crate) async fn pipe<T: FromRedisValue>(&mut self, pipeline: &redis::Pipeline) -> Result<T, Failure> {
        pipeline.query_async(&mut self.connection).await.map_err(|error| redis_failure(&self.url, &error))
    }

    /// Sends a command whose refusal has a meaning: the error code (`NOGROUP`, `ERR`, ...) is handed back.
    pub(crate) async fn attempt<T: FromRedisValue>(
        &mut self,
        command: &redis::Cmd,
    ) -> Result<Result<T, String>, Failure> {
        let reply: RedisFuture<'_, T> = Box::pin(command.query_async(&mut self.connection));
        match reply.await {
            Ok(value) => Ok(Ok(value)),
            Err(error) => match error.code() {
                Some(code) if !error.is_io_error() => {
                    Ok(Err(format!("{code} {}", error.detail().unwrap_or_default())))
                }
                _ => Err(redis_failure(&self.url, &error)),
            },
        }
    }

    /// Words an error that another crate's function met on this connection.
    pub(crate) fn failure(&self, error: &RedisError) -> Failure {
        redis_failure(&self.url, error)
    }
}

fn redis_failure(url: &ServiceUrl, error: &RedisError) -> Failure {
    let refused = matches!(error.code(), Some("NOAUTH" | "WRONGPASS" | "NOPERM"));
    let hint = if refused || error.kind() == redis::ErrorKind::AuthenticationFailed {
        "Redis wants other credentials: set --redis or REDIS_URL to redis://user:password@host:port/db"
    } else if error.is_io_error() || error.is_timeout() {
        "is redis-server running? set --redis or REDIS_URL"
    } else {
        "Redis is there, but could not do this; its own log may say more"
    };
    Failure::Service { tried: format!("Redis at {url}"), cause: error.to_string(), hint: hint.into() }
}
