//! Sends a [`Reader`]'s commands over two connections to Redis, and hands it the replies.

use std::time::Instant;

use contract::config::ServiceUrl;
use redis::RedisResult;
use service::redis::stream::NewEntries;
use service::redis::{Link, Timeouts, Wire};

use super::{Answer, Ask, Reader, Source, group_is_gone};
use crate::batch::Batch;

/// A reader with its connections.
pub struct RedisReader {
    reader: Reader,
    link: Link,
    broker: ServiceUrl,
    wire: Option<Wire>,
}

impl RedisReader {
    /// A reader that is not connected yet.
    ///
    /// # Errors
    /// When the URL cannot be read.
    pub fn new(broker: &ServiceUrl, source: Source) -> RedisResult<Self> {
        Ok(Self {
            reader: Reader::new(source, Instant::now()),
            link: Link::new(broker, Timeouts::default())?,
            broker: broker.clone(),
            wire: None,
        })
    }

    /// [`Reader::looks_back`].
    #[must_use]
    pub fn looks_back(&self) -> bool {
        self.reader.looks_back(Instant::now())
    }

    /// The next batch, or an empty one after about a second without entries. A read that was given up is no
    /// loss: what it may have been given comes again.
    ///
    /// # Errors
    /// Redis's own. Wait and read again: what the failed read may have been given comes again.
    pub async fn read(&mut self) -> RedisResult<Batch> {
        loop {
            let ask = self.reader.poll(Instant::now());
            let answer = self.carry_out(&ask).await;
            match self.reader.answered(answer, Instant::now()) {
                Ok(Some(batch)) => return Ok(batch),
                Ok(None) => {}
                Err(error) => {
                    if !group_is_gone(&error) {
                        self.link.lost(&error);
                        self.wire = None;
                    }
                    return Err(error);
                }
            }
        }
    }

    async fn carry_out(&mut self, ask: &Ask) -> RedisResult<Answer> {
        match ask {
            Ask::Command(command) => {
                let mut connection = self.link.connection().await?;
                command.query_async(&mut connection).await.map(Answer::Reply)
            }
            Ask::NewEntries(question) => self.new_entries(question).await.map(Answer::NewEntries),
        }
    }

    async fn new_entries(&mut self, question: &[u8]) -> RedisResult<Batch> {
        // A read was given up: the rest of its reply is still to come on that wire.
        self.wire.take_if(|wire| !wire.is_sound());
        let wire = match &mut self.wire {
            Some(wire) => wire,
            none => none.insert(Wire::open(&self.broker, Timeouts::default()).await?),
        };
        let (mut reply, mut batch) = (NewEntries::default(), Batch::default());
        wire.ask(question, |bytes| reply.read(bytes, |id, fields| batch.add(id, fields))).await?;
        Ok(batch)
    }
}
