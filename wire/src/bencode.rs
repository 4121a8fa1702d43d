//! Bencode (BEP 3): what replies are written in, and a reader for whoever asks a tracker.

use std::collections::BTreeMap;

use thiserror::Error;

/// Deeper nesting than any tracker sends; a hostile document must not exhaust the stack.
const MAX_DEPTH: usize = 16;

/// A bencoded value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// `i42e`
    Integer(i64),
    /// `4:spam`
    Bytes(Vec<u8>),
    /// `l...e`
    List(Vec<Value>),
    /// `d...e`
    Dictionary(BTreeMap<Vec<u8>, Value>),
}

/// Why bytes are not bencode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("not bencode, at byte {at}")]
pub struct NotBencode {
    /// Where reading stopped.
    pub at: usize,
}

impl Value {
    /// The value under `key`, when this is a dictionary that has it.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Value> {
        match self {
            Self::Dictionary(entries) => entries.get(key.as_bytes()),
            _ => None,
        }
    }

    /// The integer, when this is one.
    #[must_use]
    pub fn as_integer(&self) -> Option<i64> {
        match self {
            Self::Integer(number) => Some(*number),
            _ => None,
        }
    }

    /// The bytes, when this is a string.
    #[must_use]
    pub fn as_bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }
}

/// Reads exactly one value that fills the whole input.
///
/// # Errors
/// [`NotBencode`] with the place where it stopped making sense.
pub fn parse(input: &[u8]) -> Result<Value, NotBencode> {
    let mut reader = Reader { input, at: 0 };
    let value = reader.value(0)?;
    if reader.at == input.len() { Ok(value) } else { Err(reader.stuck()) }
}

struct Reader<'a> {
    input: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn stuck(&self) -> NotBencode {
        NotBencode { at: self.at }
    }

    fn peek(&self) -> Result<u8, NotBencode> {
        self.input.get(self.at).copied().ok_or_else(|| self.stuck())
    }

    fn value(&mut self, depth: usize) -> Result<Value, NotBencode> {
        if depth > MAX_DEPTH {
            return Err(self.stuck());
        }
        match self.peek()? {
            b'i' => {
                self.at += 1;
                Ok(Value::Integer(self.integer(b'e')?))
            }
            b'l' => {
                self.at += 1;
                let mut items = Vec::new();
                while !self.ended()? {
                    items.push(self.value(depth + 1)?);
                }
                Ok(Value::List(items))
            }
            b'd' => {
                self.at += 1;
                let mut entries = BTreeMap::new();
                while !self.ended()? {
                    let key = self.bytes()?;
                    entries.insert(key, self.value(depth + 1)?);
                }
                Ok(Value::Dictionary(entries))
            }
            _ => Ok(Value::Bytes(self.bytes()?)),
        }
    }

    fn ended(&mut self) -> Result<bool, NotBencode> {
        let ended = self.peek()? == b'e';
        self.at += usize::from(ended);
        Ok(ended)
    }

    fn bytes(&mut self) -> Result<Vec<u8>, NotBencode> {
        let length = usize::try_from(self.integer(b':')?).map_err(|_| self.stuck())?;
        let end = self.at.checked_add(length).ok_or_else(|| self.stuck())?;
        let bytes = self.input.get(self.at..end).ok_or_else(|| self.stuck())?.to_vec();
        self.at = end;
        Ok(bytes)
    }

    fn integer(&mut self, terminator: u8) -> Result<i64, NotBencode> {
        let rest = &self.input[self.at..];
        let length = rest.iter().take(21).position(|byte| *byte == terminator).ok_or_else(|| self.stuck())?;
        let text = std::str::from_utf8(&rest[..length]).map_err(|_| self.stuck())?;
        let number = text.parse().map_err(|_| self.stuck())?;
        if text.starts_with('+') {
            return Err(self.stuck());
        }
        self.at += length + 1;
        Ok(number)
    }
}

/// Writes bencode into a buffer. The caller writes dictionary keys in order: replies are small and fixed, and
/// sorting them at run time would be work for nothing. A test reads every reply back and checks the order.
#[derive(Debug, Default)]
pub struct Writer(Vec<u8>);

impl Writer {
    /// A writer whose buffer holds so many bytes without growing.
    #[inline]
    #[must_use]
    pub fn with_capacity(capacity: usize) -> Self {
        Self(Vec::with_capacity(capacity))
    }

    /// Bencode that somebody else wrote, such as what always begins a reply.
    #[inline]
    pub fn raw(&mut self, bencode: &[u8]) -> &mut Self {
        self.0.extend_from_slice(bencode);
        self
    }

    /// `d`
    #[inline]
    pub fn begin_dictionary(&mut self) -> &mut Self {
        self.0.push(b'd');
        self
    }

    /// `l`
    #[inline]
    pub fn begin_list(&mut self) -> &mut Self {
        self.0.push(b'l');
        self
    }

    /// `e`
    #[inline]
    pub fn end(&mut self) -> &mut Self {
        self.0.push(b'e');
        self
    }

    /// `i42e`
    #[inline]
    pub fn integer(&mut self, number: impl Into<i64>) -> &mut Self {
        self.0.push(b'i');
        self.raw(itoa::Buffer::new().format(number.into()).as_bytes());
        self.end()
    }

    /// `4:spam`
    #[inline]
    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.header(bytes.len());
        self.0.extend_from_slice(bytes);
        self
    }

    /// What was written.
    #[inline]
    #[must_use]
    pub fn finish(self) -> Vec<u8> {
        self.0
    }

    #[inline]
    fn header(&mut self, length: usize) {
        self.digits(length as u64);
        self.0.push(b':');
    }

    /// A number's digits alone.
    #[inline]
    pub fn digits(&mut self, number: u64) -> &mut Self {
        self.raw(itoa::Buffer::new().format(number).as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_the_examples_of_bep_3() {
        assert_eq!(parse(b"4:spam"), Ok(Value::Bytes(b"spam".to_vec())));
        assert_eq!(parse(b"i-3e"), Ok(Value::Integer(-3)));
        let value = parse(b"d4:spaml1:a1:bee").unwrap();
        let list = Value::List(vec![Value::Bytes(b"a".to_vec()), Value::Bytes(b"b".to_vec())]);
        assert_eq!(value.get("spam"), Some(&list));
    }

    #[test]
    fn refuses_what_is_cut_off_too_deep_or_followed_by_more() {
        for text in
            [&b""[..], b"i5", b"5:spam", b"d4:spam", b"i5ei6e", b"99999999999999999999:", b"-1:", b"i+5e"]
        {
            assert!(parse(text).is_err(), "{text:?}");
        }
        assert!(parse(&b"l".repeat(100_000)).is_err());
    }

    proptest! {
        #[test]
        fn every_integer_is_read_as_it_was_written(number: i64) {
            for number in [number, number % 100, i64::MIN, i64::MAX, 0, 9, 10] {
                let mut writer = Writer::default();
                writer.integer(number);
                let written = writer.finish();
                prop_assert_eq!(std::str::from_utf8(&written).ok(), Some(&*format!("i{number}e")));
                prop_assert_eq!(parse(&written), Ok(Value::Integer(number)));
            }
        }

        #[test]
        fn no_bytes_make_the_reader_panic(input in proptest::collection::vec(any::<u8>(), 0..200)) {
            // That it returns is all that is asserted.
            drop(parse(&input));
        }
    }
}
