//! Elements of a reply from bytes of which the end may not be there yet. Protocol 2, which is what
//! [`crate::redis::Wire`] speaks.
//!
//! The loop over entries is compiled in the crate that gives it a visitor, and reads 31 texts of each event:
//! without `#[inline]` here, reading an event takes an eighth more instructions.

use super::{Elements, Stuck};

/// Digits of the largest length that is believed.
const MOST_DIGITS: usize = 9;

/// A place in bytes that hold replies.
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// How many bytes were read.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// A length behind its mark (`*` or `$`); `None` for nil.
    #[inline]
    fn length(&mut self, mark: u8) -> Result<Option<usize>, Stuck> {
        let rest = &self.bytes[self.at..];
        match rest {
            [] => Err(Stuck::Unfinished),
            [found, ..] if *found != mark => Err(Stuck::Wrong("another kind of reply was expected")),
            // Nearly all lengths have one digit or two, and there are 35 of them in an event.
            [_, one @ b'0'..=b'9', b'\r', b'\n', ..] => {
                self.at += 4;
                Ok(Some(usize::from(one - b'0')))
            }
            [_, ten @ b'0'..=b'9', one @ b'0'..=b'9', b'\r', b'\n', ..] => {
                self.at += 5;
                Ok(Some(usize::from(ten - b'0') * 10 + usize::from(one - b'0')))
            }
            _ => self.long_length(),
        }
    }

    #[cold]
    fn long_length(&mut self) -> Result<Option<usize>, Stuck> {
        let rest = &self.bytes[self.at..];
        let mut length = 0;
        for (place, byte) in rest.iter().enumerate().skip(1).take(MOST_DIGITS + 1) {
            match byte {
                b'0'..=b'9' => length = length * 10 + usize::from(byte - b'0'),
                b'\r' if place > 1 => {
                    self.at += place;
                    return self.line_end().map(|()| Some(length));
                }
                b'-' if place == 1 => return self.nil(),
                _ => return Err(Stuck::Wrong("a length was expected")),
            }
        }
        Err(if rest.len() > MOST_DIGITS + 1 {
            Stuck::Wrong("a length was expected")
        } else {
            Stuck::Unfinished
        })
    }

    fn nil(&mut self) -> Result<Option<usize>, Stuck> {
        let Some(digits) = self.bytes.get(self.at + 1..self.at + 3) else { return Err(Stuck::Unfinished) };
        if digits != b"-1" {
            return Err(Stuck::Wrong("a length was expected"));
        }
        self.at += 3;
        self.line_end().map(|()| None)
    }

    #[inline]
    fn line_end(&mut self) -> Result<(), Stuck> {
        match self.bytes.get(self.at..self.at + 2) {
            Some(b"\r\n") => {
                self.at += 2;
                Ok(())
            }
            Some(_) => Err(Stuck::Wrong("the end of a line was expected")),
            None => Err(Stuck::Unfinished),
        }
    }
}

impl<'a> Elements<'a> for Cursor<'a> {
    #[inline]
    fn array(&mut self) -> Result<Option<usize>, Stuck> {
        self.length(b'*')
    }

    #[inline]
    fn text(&mut self) -> Result<&'a [u8], Stuck> {
        let length = self.length(b'$')?.ok_or(Stuck::Wrong("a string was expected"))?;
        let text = self.bytes.get(self.at..self.at + length).ok_or(Stuck::Unfinished)?;
        self.at += length;
        self.line_end().map(|()| text)
    }
}
