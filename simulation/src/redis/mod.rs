//! A Redis in memory: exactly the commands that the line's scripts and its consumers use, under a clock that
//! the simulation sets. The scripts themselves run in a real Lua 5.1, as they do in Redis.
//!
//! `tests/reality.rs` holds it against a real redis-server, command by command.

mod collections;
mod keyspace;
mod lua;
mod message_pack;
mod stream;

pub use keyspace::{Bytes, Keyspace};
pub use lua::Server;
pub use stream::{Fields, Group, Stream};

/// A reply of protocol 2.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// Nothing.
    Nil,
    /// A number.
    Int(i64),
    /// A simple string, such as `OK`.
    Status(&'static str),
    /// A string.
    Bulk(Bytes),
    /// Several replies.
    Array(Vec<Reply>),
    /// An error, its code first.
    Error(String),
}

impl Reply {
    /// A string reply.
    #[must_use]
    pub fn bulk(text: impl Into<Vec<u8>>) -> Self {
        Self::Bulk(text.into())
    }

    /// A count.
    #[must_use]
    pub fn count(count: usize) -> Self {
        Self::Int(i64::try_from(count).unwrap_or(i64::MAX))
    }

    /// The elements of an array; none of anything else.
    #[must_use]
    pub fn items(&self) -> &[Self] {
        match self {
            Self::Array(items) => items,
            _ => &[],
        }
    }

    /// The text of a string or error.
    #[must_use]
    pub fn text(&self) -> &str {
        match self {
            Self::Bulk(bytes) => std::str::from_utf8(bytes).unwrap_or_default(),
            Self::Status(text) => text,
            Self::Error(text) => text,
            _ => "",
        }
    }

    /// The bytes of protocol 2.
    #[must_use]
    pub fn encoded(&self) -> Bytes {
        let mut bytes = Bytes::new();
        self.encode(&mut bytes);
        bytes
    }

    fn encode(&self, to: &mut Bytes) {
        match self {
            Self::Nil => to.extend_from_slice(b"*-1\r\n"),
            Self::Int(number) => to.extend_from_slice(format!(":{number}\r\n").as_bytes()),
            Self::Status(text) => to.extend_from_slice(format!("+{text}\r\n").as_bytes()),
            Self::Error(text) => to.extend_from_slice(format!("-{text}\r\n").as_bytes()),
            Self::Bulk(bytes) => {
                to.extend_from_slice(format!("${}\r\n", bytes.len()).as_bytes());
                to.extend_from_slice(bytes);
                to.extend_from_slice(b"\r\n");
            }
            Self::Array(items) => {
                to.extend_from_slice(format!("*{}\r\n", items.len()).as_bytes());
                items.iter().for_each(|item| item.encode(to));
            }
        }
    }

    /// Whether it is an error whose code is `code`.
    #[must_use]
    pub fn is_error(&self, code: &str) -> bool {
        matches!(self, Self::Error(text) if text.starts_with(code))
    }
}

/// Words as a command's arguments.
#[must_use]
pub fn words(command: &[&str]) -> Vec<Bytes> {
    command.iter().map(|word| word.as_bytes().to_vec()).collect()
}

fn wrong_type() -> Reply {
    Reply::Error("WRONGTYPE Operation against a key holding the wrong kind of value".into())
}

fn syntax() -> Reply {
    Reply::Error("ERR syntax error".into())
}
