//! Requests as clients write them, put together from parts: what all requests share is written once.

use contract::{Event, InfoHash};

use super::super::crowd::{Ask, What, Words};
use super::super::population::Population;
use super::super::target::Path;

const AGENT: &str = concat!("trackerctl/", env!("CARGO_PKG_VERSION"));

/// How requests are to look.
#[derive(Debug)]
pub(in crate::load) struct Form {
    pub(in crate::load) announce: Path,
    /// `None` where no scrapes are asked for.
    pub(in crate::load) scrape: Option<Path>,
    pub(in crate::load) numwant: i32,
    /// Whether `ip=` names each session's address.
    pub(in crate::load) spoof: bool,
    pub(in crate::load) real_ip_header: Option<String>,
}

/// Writes requests.
#[derive(Debug)]
pub(super) struct Renderer {
    form: Form,
    /// The end of every announce's query.
    tail: String,
    /// From behind the query to the end, but for the header with the session's address.
    head: String,
}

impl Renderer {
    /// `authority`: host and port. `closing`: whether the server is asked to close.
    pub(super) fn new(form: Form, authority: &str, closing: &Closing) -> Self {
        let connection = if *closing == Closing::Asked { "Connection: close\r\n" } else { "" };
        let head = format!(" HTTP/1.1\r\nHost: {authority}\r\nUser-Agent: {AGENT}\r\n{connection}");
        Self { tail: format!("&compact=1&numwant={}", form.numwant), head, form }
    }

    /// Writes a request over what `out` held before.
    pub(super) fn render(&self, ask: &Ask, population: &Population, out: &mut Vec<u8>) {
        out.clear();
        out.extend_from_slice(b"GET ");
        let passkey = population.passkey(ask.session);
        let path = match (&ask.what, &self.form.scrape) {
            (What::Scrape, Some(scrape)) => scrape,
            _ => &self.form.announce,
        };
        path.write(passkey, out);
        out.push(path.separator);
        out.extend_from_slice(b"info_hash=");
        escape(population.hash(ask.torrent), out);
        if let What::Announce(words) = &ask.what {
            self.announce(ask.session, words, population, out);
        }
        out.extend_from_slice(self.head.as_bytes());
        if let Some(name) = &self.form.real_ip_header {
            out.extend_from_slice(format!("{name}: {}\r\n", population.address(ask.session)).as_bytes());
        }
        out.extend_from_slice(b"\r\n");
    }

    fn announce(&self, session: u32, words: &Words, population: &Population, out: &mut Vec<u8>) {
        out.extend_from_slice(b"&peer_id=");
        out.extend_from_slice(&population.peer_id(session).0);
        number(b"&port=", population.port(session).into(), out);
        number(b"&uploaded=", words.uploaded, out);
        number(b"&downloaded=", words.downloaded, out);
        number(b"&left=", words.left, out);
        out.extend_from_slice(self.tail.as_bytes());
        if words.event != Event::None {
            out.extend_from_slice(b"&event=");
            out.extend_from_slice(words.event.as_str().as_bytes());
        }
        if self.form.spoof {
            let address = population.address(session).to_string();
            // An IPv6 address has colons, which a query may hold as they are.
            out.extend_from_slice(b"&ip=");
            out.extend_from_slice(address.as_bytes());
        }
    }
}

/// Whether a connection is to end with its reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::load) enum Closing {
    Asked,
    NotAsked,
}

/// Percent escapes, as clients write them: letters, digits and `-_.~` stay (RFC 3986).
fn escape(hash: &InfoHash, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for byte in hash.0 {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            out.push(byte);
        } else {
            out.extend_from_slice(&[b'%', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
        }
    }
}

/// Appends a parameter without the detour over a formatter.
fn number(name: &[u8], value: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(name);
    let mut digits = [b'0'; 20];
    let (mut rest, mut first) = (value, digits.len() - 1);
    while rest >= 10 {
        digits[first] = b'0' + u8::try_from(rest % 10).unwrap_or(0);
        (rest, first) = (rest / 10, first - 1);
    }
    digits[first] = b'0' + u8::try_from(rest).unwrap_or(0);
    out.extend_from_slice(&digits[first..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_in_full() {
        let written = |value| {
            let mut out = Vec::new();
            number(b"&n=", value, &mut out);
            String::from_utf8(out).unwrap()
        };
        assert_eq!([0, 9, 10, 1_234_567_890].map(written), ["&n=0", "&n=9", "&n=10", "&n=1234567890"]);
        assert_eq!(written(u64::MAX), format!("&n={}", u64::MAX));
    }

    #[test]
    fn hashes_are_escaped_where_they_must_be() {
        let mut out = Vec::new();
        escape(&InfoHash(*b"aZ0-_.~ \xff\x00&=%+/?#\"'("), &mut out);
        assert_eq!(out, b"aZ0-_.~%20%FF%00%26%3D%25%2B%2F%3F%23%22%27%28");
    }
}
