//! Replies, read only as far as needed: where one ends, whether it is a failure, and now and then how many
//! peers it has.

use memchr::memmem;

use crate::totals::Verdict;

/// A head beyond this is no tracker's.
const MAX_HEAD: usize = 16 << 10;
/// A refusal has little else in it; longer bodies are looked into at their beginning only.
const SHORT_BODY: usize = 256;
const REFUSAL: &[u8] = b"14:failure reason";

/// How far a reply has arrived.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Arrival<'a> {
    /// More is to come.
    Partial,
    /// All of it is there.
    Whole {
        status: u16,
        body: &'a [u8],
        /// Whether the server closes the connection behind it.
        closes: bool,
    },
    /// Not HTTP.
    Garbage,
}

/// Whether the server has said all it will say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stream {
    Open,
    Ended,
}

/// Looks at what came so far.
pub(crate) fn read(bytes: &[u8], stream: Stream) -> Arrival<'_> {
    let Some(head_end) = memmem::find(bytes, b"\r\n\r\n") else {
        return if bytes.len() > MAX_HEAD || stream == Stream::Ended {
            Arrival::Garbage
        } else {
            Arrival::Partial
        };
    };
    let (head, body) = (&bytes[..head_end], &bytes[head_end + 4..]);
    let Some((status, old)) = status(head) else { return Arrival::Garbage };
    let header = |name: &str| header(head, name);
    let says = |name: &str, word: &str| {
        header(name).is_some_and(|value| value.eq_ignore_ascii_case(word.as_bytes()))
    };
    let closes = says("connection", "close") || (old && !says("connection", "keep-alive"));
    let whole = |body, closes| Arrival::Whole { status, body, closes };
    if let Some(length) = header("content-length") {
        return match std::str::from_utf8(length).ok().and_then(|length| length.parse::<usize>().ok()) {
            None => Arrival::Garbage,
            Some(length) if length <= body.len() => whole(&body[..length], closes),
            Some(_) if stream == Stream::Ended => Arrival::Garbage,
            Some(_) => Arrival::Partial,
        };
    }
    match stream {
        // The chunks' lengths among the peers do no harm: nobody reads the body further than its first words.
        Stream::Open if says("transfer-encoding", "chunked") && body.ends_with(b"0\r\n\r\n") => {
            whole(first_chunk(body), closes)
        }
        Stream::Open => Arrival::Partial,
        Stream::Ended => whole(body, true),
    }
}

/// The status, and whether it is HTTP/1.0, where connections close by default.
fn status(head: &[u8]) -> Option<(u16, bool)> {
    let (version, rest) = head.strip_prefix(b"HTTP/1.")?.split_first()?;
    let code = std::str::from_utf8(rest.strip_prefix(b" ")?.get(..3)?).ok()?;
    Some((code.parse().ok()?, *version == b'0'))
}

/// A header's value. `name` is in small letters.
fn header<'a>(head: &'a [u8], name: &str) -> Option<&'a [u8]> {
    head.split(|byte| *byte == b'\n').skip(1).find_map(|line| {
        let (found, value) = line.split_at_checked(name.len())?;
        let value = value.strip_prefix(b":")?;
        found.eq_ignore_ascii_case(name.as_bytes()).then(|| value.trim_ascii())
    })
}

/// What is behind the length of the first chunk.
fn first_chunk(body: &[u8]) -> &[u8] {
    memmem::find(body, b"\r\n").map_or(body, |end| &body[end + 2..])
}

/// What a body says. `counted`: whether its peers are counted.
pub(crate) fn verdict(status: u16, body: &[u8], counted: Counted) -> Verdict<'_> {
    let looked = if body.starts_with(b"d14:") { body } else { &body[..body.len().min(SHORT_BODY)] };
    if let Some(place) = memmem::find(looked, REFUSAL) {
        return Verdict::Refused(text(&body[place + REFUSAL.len()..]).unwrap_or(b"a failure without a text"));
    }
    if status != 200 {
        return Verdict::Refused(refusal_of(status));
    }
    if !body.starts_with(b"d") {
        return Verdict::Refused(b"the reply is no bencoded dictionary");
    }
    Verdict::Granted((counted == Counted::Yes).then(|| peers(body)))
}

/// Whether the peers in a reply are counted, which costs a search.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Counted {
    Yes,
    No,
}

fn refusal_of(status: u16) -> &'static [u8] {
    match status {
        400 => b"HTTP status 400",
        403 => b"HTTP status 403",
        404 => b"HTTP status 404",
        429 => b"HTTP status 429",
        500..=599 => b"HTTP status 5xx",
        _ => b"HTTP status other than 200",
    }
}

/// The peers of both families in a compact reply.
fn peers(body: &[u8]) -> u64 {
    let bytes = |key: &[u8]| {
        let place = memmem::find(body, key)? + key.len();
        length(&body[place..]).map(|(length, _)| length as u64)
    };
    bytes(b"5:peers").unwrap_or(0) / 6 + bytes(b"6:peers6").unwrap_or(0) / 18
}

/// A bencoded string.
fn text(bytes: &[u8]) -> Option<&[u8]> {
    let (length, rest) = length(bytes)?;
    rest.get(..length)
}

fn length(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let end = bytes.iter().take(8).position(|byte| *byte == b':')?;
    let length = std::str::from_utf8(&bytes[..end]).ok()?.parse().ok()?;
    Some((length, &bytes[end + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(status: u16, body: &[u8], closes: bool) -> Arrival<'_> {
        Arrival::Whole { status, body, closes }
    }

    #[test]
    fn a_reply_ends_where_its_length_its_last_chunk_or_its_connection_says() {
        let reply = b"HTTP/1.1 200 OK\r\ncontent-LENGTH: 2\r\nX: y\r\n\r\nde";
        assert_eq!(read(reply, Stream::Open), whole(200, b"de", false));
        for end in 0..reply.len() {
            assert_eq!(read(&reply[..end], Stream::Open), Arrival::Partial, "{end}");
            assert_eq!(read(&reply[..end], Stream::Ended), Arrival::Garbage, "{end}");
        }
        let chunked =
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n2\r\nde\r\n0\r\n\r\n";
        assert_eq!(read(chunked, Stream::Open), whole(200, b"de\r\n0\r\n\r\n", true));
        assert_eq!(read(&chunked[..chunked.len() - 1], Stream::Open), Arrival::Partial);
        let until_closed = b"HTTP/1.0 404 Not Found\r\n\r\nde";
        assert_eq!(read(until_closed, Stream::Open), Arrival::Partial);
        assert_eq!(read(until_closed, Stream::Ended), whole(404, b"de", true));
        assert_eq!(read(b"SSH-2.0\r\n\r\n", Stream::Open), Arrival::Garbage);
    }

    #[test]
    fn refusals_are_found_and_peers_counted() {
        let refused = b"d14:failure reason18:unapproved passkey8:retry in5:nevere";
        assert_eq!(verdict(200, refused, Counted::No), Verdict::Refused(b"unapproved passkey"));
        let torn = b"d14:failure reason99:e";
        assert_eq!(verdict(200, torn, Counted::No), Verdict::Refused(b"a failure without a text"));
        assert_eq!(verdict(404, b"<html>", Counted::No), Verdict::Refused(b"HTTP status 404"));
        let peers = b"d8:intervali1800e5:peers12:aaaabbccccdd6:peers618:................::e";
        assert_eq!(verdict(200, peers, Counted::Yes), Verdict::Granted(Some(3)));
        assert_eq!(verdict(200, peers, Counted::No), Verdict::Granted(None));
        assert_eq!(
            verdict(200, b"5:peers99999999999999999", Counted::Yes),
            Verdict::Refused(b"the reply is no bencoded dictionary")
        );
        assert_eq!(verdict(200, b"d5:peers9999999999999999", Counted::Yes), Verdict::Granted(Some(0)));
    }
}
