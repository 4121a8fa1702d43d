//! Identifiers: info hash, peer id and passkey, each with its one written form.

use std::fmt;
use std::str::FromStr;

use arrayvec::ArrayString;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use thiserror::Error;

/// Why a string is not an identifier. Never repeats the input: it may be a passkey.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum IdError {
    /// Neither 20 raw bytes nor 40 hex digits.
    #[error("expected 20 raw bytes or 40 hex digits")]
    NotTwentyBytes,
    /// Empty, longer than 64, or with a character outside `[0-9A-Za-z_-]`.
    #[error("a passkey is 1 to 64 of the characters 0-9 A-Z a-z _ -")]
    NotAPasskey,
}

macro_rules! twenty_bytes {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub [u8; 20]);

        impl $name {
            /// Reads either form: 20 raw bytes, or 40 hex digits of either case.
            ///
            /// # Errors
            /// [`IdError::NotTwentyBytes`] for anything else.
            pub fn from_bytes(text: &[u8]) -> Result<Self, IdError> {
                match text.len() {
                    20 => text.try_into().map(Self).map_err(|_| IdError::NotTwentyBytes),
                    40 => hex_20(text).map(Self).ok_or(IdError::NotTwentyBytes),
                    _ => Err(IdError::NotTwentyBytes),
                }
            }

            /// The 40 lowercase hex digits, without an allocation.
            #[must_use]
            pub fn hex(&self) -> ArrayString<40> {
                let mut text = ArrayString::new();
                text.push_str(std::str::from_utf8(&self.hex_bytes()).unwrap_or_default());
                text
            }

            /// The same digits as bytes.
            #[must_use]
            pub fn hex_bytes(&self) -> [u8; 40] {
                let mut digits = [0; 40];
                for (pair, byte) in digits.as_chunks_mut().0.iter_mut().zip(self.0) {
                    *pair = HEX_PAIRS[usize::from(byte)];
                }
                digits
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.hex())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                Self::from_bytes(text.as_bytes())
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.hex())
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
            }
        }
    };
}

twenty_bytes! {
    /// SHA-1 of a torrent's info dictionary (BEP 3); for a v2 torrent the first 20 bytes of its SHA-256 (BEP
    /// 52).
    InfoHash
}

twenty_bytes! {
    /// What a client calls itself for one run (BEP 3, BEP 20).
    PeerId
}

const HEX: &[u8; 16] = b"0123456789abcdef";

/// Both digits of each byte: an event is written with four ids.
const HEX_PAIRS: [[u8; 2]; 256] = {
    let mut pairs = [[0; 2]; 256];
    let mut byte = 0;
    while byte < 256 {
        pairs[byte] = [HEX[byte >> 4], HEX[byte & 15]];
        byte += 1;
    }
    pairs
};

fn hex_20(text: &[u8]) -> Option<[u8; 20]> {
    let (mut bytes, mut seen) = ([0; 20], 0);
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        let (high, low) = (NIBBLES[usize::from(pair[0])], NIBBLES[usize::from(pair[1])]);
        seen |= high | low;
        *byte = high << 4 | low & 15;
    }
    // Looked at once at the end: this runs twice for each event that is read.
    (seen & NO_DIGIT == 0).then_some(bytes)
}

/// A bit that no hex digit's value has.
const NO_DIGIT: u8 = 0x80;
/// What each byte is as a hex digit.
const NIBBLES: [u8; 256] = {
    let mut nibbles = [NO_DIGIT; 256];
    let mut value: u8 = 0;
    while value < 16 {
        let digit = HEX[value as usize];
        nibbles[digit as usize] = value;
        nibbles[digit.to_ascii_uppercase() as usize] = value;
        value += 1;
    }
    nibbles
};

/// The secret that names a user to the tracker: 1 to 64 of `[0-9A-Za-z_-]`, case-sensitive.
///
/// Stored inline, so that an announce copies it without an allocation. `Debug` prints `Passkey([redacted])`,
/// and there is no `Display`: whoever wants the secret asks for it with [`Passkey::reveal`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Passkey(ArrayString<64>);

impl Passkey {
    /// Reads a passkey from the bytes of a path segment, a query value or a Redis reply.
    ///
    /// # Errors
    /// [`IdError::NotAPasskey`] when it is empty, too long or has a foreign character.
    pub fn from_bytes(text: &[u8]) -> Result<Self, IdError> {
        let legal = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        if text.is_empty() || !text.iter().all(legal) {
            return Err(IdError::NotAPasskey);
        }
        let text = std::str::from_utf8(text).map_err(|_| IdError::NotAPasskey)?;
        ArrayString::from(text).map(Self).map_err(|_| IdError::NotAPasskey)
    }

    /// The secret itself: for Redis keys, SQL parameters and the operator's own terminal, never for logs.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Passkey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passkey([redacted])")
    }
}

impl FromStr for Passkey {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        Self::from_bytes(text.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_info_hash_reads_raw_and_hex_and_writes_lowercase_hex() {
        let raw = InfoHash::from_bytes(&[0xAB; 20]).unwrap();
        let upper: InfoHash = "AB".repeat(20).parse().unwrap();
        assert_eq!(raw, upper);
        assert_eq!(raw.to_string(), "ab".repeat(20));
    }

    #[test]
    fn other_lengths_and_letters_are_not_info_hashes() {
        for text in [&b""[..], &[b'a'; 19], &[b'a'; 39], &[b'g'; 40], &[b'a'; 41]] {
            assert_eq!(InfoHash::from_bytes(text), Err(IdError::NotTwentyBytes));
        }
    }

    #[test]
    fn a_passkey_keeps_its_case_and_refuses_foreign_characters() {
        assert_eq!(Passkey::from_bytes(b"aB9_-").unwrap().reveal(), "aB9_-");
        for text in [&b""[..], b"a b", b"a:b", b"\xff", &[b'a'; 65]] {
            assert_eq!(Passkey::from_bytes(text), Err(IdError::NotAPasskey));
        }
        assert!(Passkey::from_bytes(&[b'a'; 64]).is_ok());
    }

    #[test]
    fn a_passkey_does_not_print_itself() {
        let passkey = Passkey::from_bytes(b"hunter2").unwrap();
        assert_eq!(format!("{passkey:?}"), "Passkey([redacted])");
    }
}
