//! The parts of an announce URL: query pairs and escapes. Over HTTP the URL is the request's, over UDP it
//! comes as URL data (BEP 41).
//!
//! Values stay where they are in the query until somebody needs them, and most need no decoding: an announce
//! is read without a buffer for each of its parameters.

use std::borrow::Cow;

use arrayvec::ArrayVec;
use thiserror::Error;

/// An escape that is not a `%` and two hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("invalid query escape")]
pub struct BrokenEscape;

/// A value as it stands in the URL. Its escapes are whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Value<'a>(&'a [u8]);

impl<'a> Value<'a> {
    /// Checks the escapes. A broken one must not stay as it is, as lenient readers leave it: for a binary
    /// value that would be other bytes than the client meant.
    ///
    /// # Errors
    /// [`BrokenEscape`].
    pub fn new(text: &'a str) -> Result<Self, BrokenEscape> {
        let value = Self(text.as_bytes());
        let is_whole = !value.0.contains(&b'%') || value.decoded().all(|byte| byte.is_some());
        if is_whole { Ok(value) } else { Err(BrokenEscape) }
    }

    /// The value without its escapes. Borrowed where there are none.
    #[must_use]
    #[inline]
    pub fn bytes(self) -> Cow<'a, [u8]> {
        if self.0.iter().all(|byte| !matches!(byte, b'%' | b'+')) {
            return Cow::Borrowed(self.0);
        }
        // They were checked: nothing is passed over here.
        self.decoded().flatten().collect::<Vec<u8>>().into()
    }

    /// The value as a number, which is what it is if it has digits only. Anything else that a number may look
    /// like is read by its own parser from [`Value::bytes`].
    #[must_use]
    #[inline]
    pub fn digits(self) -> Option<u64> {
        // So many digits fit.
        if self.0.is_empty() || self.0.len() > 19 {
            return None;
        }
        self.0.iter().try_fold(0, |number: u64, byte| {
            byte.is_ascii_digit().then(|| number * 10 + u64::from(byte - b'0'))
        })
    }

    /// Its bytes, `None` for a broken escape.
    fn decoded(self) -> impl Iterator<Item = Option<u8>> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            let (byte, behind) = rest.split_first()?;
            rest = behind;
            match byte {
                b'+' => Some(Some(b' ')),
                b'%' => Some(rest.split_first_chunk().and_then(|(pair, behind)| {
                    rest = behind;
                    digits(*pair)
                })),
                byte => Some(Some(*byte)),
            }
        })
    }
}

/// A value without its escapes, checked and read in one go; `None` if it is longer than `N` bytes.
///
/// # Errors
/// [`BrokenEscape`].
pub fn at_most<const N: usize>(text: &str) -> Result<Option<ArrayVec<u8, N>>, BrokenEscape> {
    let mut decoded = ArrayVec::new();
    for byte in Value(text.as_bytes()).decoded() {
        if decoded.try_push(byte.ok_or(BrokenEscape)?).is_err() {
            return Value::new(text).map(|_| None);
        }
    }
    Ok(Some(decoded))
}

/// The byte that two hexadecimal digits stand for.
fn digits([high, low]: [u8; 2]) -> Option<u8> {
    let (high, low) = (DIGITS[usize::from(high)], DIGITS[usize::from(low)]);
    (high < 16 && low < 16).then_some(high << 4 | low)
}

/// What each character is worth as a hexadecimal digit; 255: it is none. A table, because info hashes are
/// written in escapes, and every announce has one.
static DIGITS: [u8; 256] = {
    let (mut digits, mut value) = ([255; 256], 0);
    while value < 16 {
        digits[b"0123456789abcdef"[value as usize] as usize] = value;
        digits[b"0123456789ABCDEF"[value as usize] as usize] = value;
        value += 1;
    }
    digits
};

/// Appends bytes to a URL: letters, digits and `-_.~` as they are, everything else in escapes (RFC 3986).
pub fn escape(bytes: &[u8], out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for byte in bytes {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            out.push(*byte);
        } else {
            out.extend_from_slice(&[b'%', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
        }
    }
}

/// The scrape path that belongs to an announce path, if there is one (BEP 48):
/// `/x/announce.php` -> `/x/scrape.php`, also where a passkey follows: `/announce/KEY` -> `/scrape/KEY`.
#[must_use]
pub fn scrape_path(path: &str) -> Option<String> {
    if path.split('/').any(|segment| segment.starts_with("scrape")) {
        return Some(path.to_owned());
    }
    let (before, after) = path.rsplit_once("/announce")?;
    Some(format!("{before}/scrape{after}"))
}

/// The names and raw values of a query.
#[inline]
pub fn pairs(query: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut rest = Some(query).filter(|query| !query.is_empty());
    std::iter::from_fn(move || {
        let text = rest?;
        let (pair, behind) = split(text, b'&');
        rest = behind;
        Some(pair)
    })
    .filter(|pair| !pair.is_empty())
    .map(|pair| {
        let (name, value) = split(pair, b'=');
        (name, value.unwrap_or_default())
    })
}

/// What stands before and behind the first `mark`, an ASCII character. As `str::split_once`, but several
/// times as fast on texts as short as these, on which every call of a searcher costs more than the search.
#[inline]
fn split(text: &str, mark: u8) -> (&str, Option<&str>) {
    match text.bytes().position(|byte| byte == mark) {
        Some(at) => (&text[..at], Some(&text[at + 1..])),
        None => (text, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(text: &str) -> Result<Vec<u8>, String> {
        let value = Value::new(text).map_err(|broken| broken.to_string())?;
        let bytes = value.bytes().into_owned();
        let at_once = at_most::<64>(text).unwrap().expect("it is short");
        assert_eq!(at_once.as_slice(), bytes, "both ways of reading agree");
        Ok(bytes)
    }

    #[test]
    fn escapes_become_bytes_and_a_plus_becomes_a_space() {
        assert_eq!(decoded("a%00%fF%2bb+c").unwrap(), b"a\x00\xff+b c");
        assert_eq!(decoded("").unwrap(), b"");
        assert_eq!(decoded("%25%2525").unwrap(), b"%%25");
    }

    #[test]
    fn a_broken_escape_is_refused_wherever_it_stands() {
        for broken in ["%", "a%", "a%4", "%zz", "%4z", "%z4", "%%41", "%41%4", "%+1"] {
            assert_eq!(decoded(broken), Err("invalid query escape".into()), "{broken}");
            assert!(at_most::<64>(broken).is_err() && at_most::<0>(broken).is_err(), "{broken}");
        }
    }

    #[test]
    fn bytes_are_escaped_where_they_must_be() {
        let mut out = Vec::new();
        escape(b"aZ0-_.~ \xff\x00&=%+/?#\"'(", &mut out);
        assert_eq!(out, b"aZ0-_.~%20%FF%00%26%3D%25%2B%2F%3F%23%22%27%28");
    }

    #[test]
    fn an_announce_url_becomes_its_scrape_url() {
        assert_eq!(scrape_path("/announce").as_deref(), Some("/scrape"));
        assert_eq!(scrape_path("/x/announce.php").as_deref(), Some("/x/scrape.php"));
        assert_eq!(scrape_path("/announce/KEY").as_deref(), Some("/scrape/KEY"));
        assert_eq!(scrape_path("/KEY/announce").as_deref(), Some("/KEY/scrape"));
        assert_eq!(scrape_path("/scrape/KEY").as_deref(), Some("/scrape/KEY"));
        assert_eq!(scrape_path("/a"), None);
    }

    #[test]
    fn what_is_longer_than_its_room_is_not_cut() {
        let room = at_most::<4>("abc%64").unwrap();
        assert_eq!(room.as_deref(), Some(&b"abcd"[..]));
        assert_eq!(at_most::<3>("abc%64").unwrap(), None);
    }

    #[test]
    fn a_query_falls_into_pairs_whatever_is_between_them() {
        let read = |query| pairs(query).collect::<Vec<_>>();
        assert_eq!(read("a=1&b=2=3&c&=4&&d="), [("a", "1"), ("b", "2=3"), ("c", ""), ("", "4"), ("d", "")]);
        assert_eq!(read(""), []);
        assert_eq!(read("&"), []);
    }

    #[test]
    fn only_digits_are_read_as_a_number_at_once() {
        let number = |text| Value::new(text).unwrap().digits();
        assert_eq!(
            [number("0"), number("007"), number("9999999999999999999")],
            [Some(0), Some(7), Some(9_999_999_999_999_999_999)]
        );
        for text in ["", "-1", "+1", "1e3", "%31", "18446744073709551615", "1 "] {
            assert_eq!(number(text), None, "{text}");
        }
    }
}
