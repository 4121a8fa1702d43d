//! The parts of an announce URL that every frontend reads alike: query pairs, escapes, and what a client shows to prove who
//! it is. Over HTTP the URL is the request's, over UDP it comes as URL data (BEP 41). Pure.
//!
//! Values stay where they are in the query until somebody needs them, and most need no decoding: an announce is read without
//! a buffer for each of its parameters.

use std::borrow::Cow;

use arrayvec::ArrayVec;

use crate::announce::{Credential, Refusal};

/// A value as it stands in the URL. Its escapes are whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Value<'a>(&'a [u8]);

impl<'a> Value<'a> {
    /// Checks the escapes. A broken one must not stay as it is, as lenient readers leave it: for a binary value that would be
    /// other bytes than the client meant.
    ///
    /// # Errors
    /// The refusal to show the client when an escape is broken.
    pub fn new(text: &'a str) -> Result<Self, Refusal> {
        let mut rest = text.as_bytes();
        while let Some(at) = rest.iter().position(|byte| *byte == b'%') {
            let (Some(_), Some(behind)) = (digits(rest, at), rest.get(at + 3..)) else {
                return Err(Refusal::because("invalid query escape"));
            };
            rest = behind;
        }
        Ok(Self(text.as_bytes()))
    }

    /// The value without its escapes. Borrowed where there are none.
    #[must_use]
    pub fn bytes(self) -> Cow<'a, [u8]> {
        if self.0.iter().all(|byte| !matches!(byte, b'%' | b'+')) {
            return Cow::Borrowed(self.0);
        }
        self.decoded().collect::<Vec<u8>>().into()
    }

    /// The value without its escapes, if that is no longer than `N` bytes.
    #[must_use]
    pub fn at_most<const N: usize>(self) -> Option<ArrayVec<u8, N>> {
        let mut decoded = ArrayVec::new();
        for byte in self.decoded() {
            decoded.try_push(byte).ok()?;
        }
        Some(decoded)
    }

    /// The value as a number, which is what it is if it has digits only. Anything else that a number may look like is read by its
    /// own parser from [`Value::bytes`].
    #[must_use]
    pub fn digits(self) -> Option<u64> {
        // So many digits fit.
        if self.0.is_empty() || self.0.len() > 19 {
            return None;
        }
        self.0.iter().try_fold(0, |number: u64, byte| {
            byte.is_ascii_digit().then(|| number * 10 + u64::from(byte - b'0'))
        })
    }

    fn decoded(self) -> impl Iterator<Item = u8> {
        let (bytes, mut at) = (self.0, 0);
        std::iter::from_fn(move || {
            let byte = *bytes.get(at)?;
            let escaped = if byte == b'%' { digits(bytes, at) } else { None };
            at += if escaped.is_some() { 3 } else { 1 };
            Some(escaped.unwrap_or(if byte == b'+' { b' ' } else { byte }))
        })
    }
}

/// The byte that the two digits behind place `at` stand for.
fn digits(bytes: &[u8], at: usize) -> Option<u8> {
    let &[high, low] = bytes.get(at + 1..at + 3)? else { return None };
    Some(digit(high)? << 4 | digit(low)?)
}

fn digit(character: u8) -> Option<u8> {
    match character {
        b'0'..=b'9' => Some(character - b'0'),
        b'a'..=b'f' => Some(character - b'a' + 10),
        b'A'..=b'F' => Some(character - b'A' + 10),
        _ => None,
    }
}

/// What a query carries to prove who asks.
#[derive(Default)]
pub struct Proof<'a> {
    credential: Option<Value<'a>>,
    passkey: Option<Value<'a>>,
    auth_key: Option<Value<'a>>,
    jwt: Option<Value<'a>>,
}

impl<'a> Proof<'a> {
    /// Keeps the parameter if it is one of the proofs.
    ///
    /// # Errors
    /// The refusal to show the client when its value is badly escaped.
    pub fn take(&mut self, name: &str, value: &'a str) -> Result<(), Refusal> {
        let slot = match name {
            "credential" => &mut self.credential,
            "passkey" => &mut self.passkey,
            "auth_key" => &mut self.auth_key,
            "jwt" => &mut self.jwt,
            _ => return Ok(()),
        };
        *slot = Some(Value::new(value)?);
        Ok(())
    }

    /// The credential: of several, the name that says most wins.
    #[must_use]
    pub fn credential(&self) -> Option<Credential> {
        let shown = self.credential.or(self.passkey).or(self.auth_key);
        shown.map(|value| Credential::new(&value.bytes()))
    }

    /// The token for this torrent.
    #[must_use]
    pub fn jwt(&self) -> Option<Credential> {
        self.jwt.map(|value| Credential::new(&value.bytes()))
    }
}

/// The names and raw values of a query.
pub fn pairs(query: &str) -> impl Iterator<Item = (&str, &str)> {
    query.split('&').filter(|pair| !pair.is_empty()).map(|pair| pair.split_once('=').unwrap_or((pair, "")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(text: &str) -> Result<Vec<u8>, String> {
        let value = Value::new(text).map_err(|refusal| refusal.reason.into_owned())?;
        let bytes = value.bytes().into_owned();
        assert_eq!(value.at_most::<64>().unwrap().as_slice(), bytes, "both ways of reading agree");
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
        }
    }

    #[test]
    fn what_is_longer_than_its_room_is_not_cut() {
        let value = Value::new("abc%64").unwrap();
        assert_eq!(value.at_most::<4>().as_deref(), Some(&b"abcd"[..]));
        assert_eq!(value.at_most::<3>(), None);
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
