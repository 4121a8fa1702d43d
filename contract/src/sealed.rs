//! Sealed credentials: a passkey that the site encrypts, so that an announce URL shows no passkey, can grow
//! old, and can carry what the site wants to hear again about this download.
//!
//! The text is base64url of a 12-byte nonce followed by AES-256-GCM ciphertext and tag of
//! `{"pk", "ts", "fd", "pd"}`. The cipher is AWS-LC's, which every program links for TLS anyway: one
//! implementation to keep up to date, constant-time, on the processor's AES instructions.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use base64::Engine;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD, URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::Passkey;

const KEY_LEN: usize = 32;
const TAG_LEN: usize = 16;
/// A passkey, a time and two ids fit many times over.
const MAX_TEXT_LEN: usize = 2048;
/// How far ahead the site's clock may be of ours.
const MAX_SKEW_SECS: u64 = 5 * 60;

/// base64url, with or without padding. Stray bits at the end are an error: each credential has one text.
const BASE64URL: GeneralPurpose = GeneralPurpose::new(
    &alphabet::URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The key that site and tracker share.
pub struct EncryptionKey(RandomizedNonceKey);

/// The contents of a sealed credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contents {
    /// Passkey of the user it was issued to.
    pub passkey: Passkey,
    /// When the site issued it, in Unix seconds.
    pub issued_at: Option<u64>,
    /// Film id.
    pub fd: Option<String>,
    /// Playlist id.
    pub pd: Option<String>,
}

/// Why a text is no encryption key. Never repeats the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("expected 32 bytes: 64 hex digits, 43 or 44 characters of base64, or exactly 32 characters")]
pub struct NotAKey;

/// Why a credential is not accepted. Never repeats the credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum OpenError {
    /// Nothing that we issue is that long.
    #[error("longer than {MAX_TEXT_LEN} characters")]
    TooLong,
    /// Not written in base64url.
    #[error("not base64url")]
    NotBase64,
    /// Too short to hold a nonce and a tag.
    #[error("cut off: shorter than a nonce and a tag")]
    Truncated,
    /// Changed on the way, or sealed with another key.
    #[error("not sealed with this key, or changed since")]
    NotAuthentic,
    /// Sealed with our key, but not the JSON object that was agreed.
    #[error("not a JSON object with pk, ts, fd, pd")]
    NotJson,
    /// Its `pk` is no passkey.
    #[error("its pk is no passkey")]
    NotAPasskey,
    /// An age limit is set, and this one does not say when it was issued.
    #[error("does not say when it was issued")]
    Undated,
    /// Issued longer ago than the limit.
    #[error("issued too long ago")]
    Stale,
    /// Issued more than 5 minutes ahead of our clock: one of the clocks, or the unit, is wrong.
    #[error("issued in the future")]
    FromTheFuture,
}

/// The cipher or the system's random source failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the credential could not be sealed")]
pub struct SealError;

impl EncryptionKey {
    /// Reads a key as operators write it: 64 hex digits, base64 or base64url of 32 bytes, or 32 plain
    /// characters.
    ///
    /// # Errors
    /// [`NotAKey`] for anything else.
    pub fn parse(text: &str) -> Result<Self, NotAKey> {
        let bytes = match text.len() {
            KEY_LEN => text.as_bytes().to_vec(),
            64 => hex(text).ok_or(NotAKey)?,
            43 | 44 => BASE64URL.decode(text).or_else(|_| padded(text)).map_err(|_| NotAKey)?,
            _ => return Err(NotAKey),
        };
        RandomizedNonceKey::new(&AES_256_GCM, &bytes).map(Self).map_err(|_| NotAKey)
    }

    /// Seals a credential with a fresh random nonce.
    ///
    /// # Errors
    /// When the system gives no randomness.
    pub fn seal(&self, contents: &Contents) -> Result<String, SealError> {
        let payload = Payload {
            pk: contents.passkey.reveal().into(),
            ts: contents.issued_at.map(|at| Word::Number(at.into())),
            fd: contents.fd.clone().map(Word::Text),
            pd: contents.pd.clone().map(Word::Text),
        };
        let mut bytes = serde_json::to_vec(&payload).map_err(|_| SealError)?;
        let nonce = self.0.seal_in_place_append_tag(Aad::empty(), &mut bytes).map_err(|_| SealError)?;
        Ok(URL_SAFE_NO_PAD.encode([nonce.as_ref().as_slice(), &bytes].concat()))
    }

    /// Opens a credential. `now` is in Unix seconds. Without `max_age` its time is not looked at.
    ///
    /// # Errors
    /// Why it is not accepted.
    pub fn open(&self, text: &[u8], now: u64, max_age: Option<Duration>) -> Result<Contents, OpenError> {
        if text.len() > MAX_TEXT_LEN {
            return Err(OpenError::TooLong);
        }
        let mut bytes = BASE64URL.decode(text).map_err(|_| OpenError::NotBase64)?;
        let (nonce, sealed) = bytes.split_at_mut_checked(NONCE_LEN).ok_or(OpenError::Truncated)?;
        if sealed.len() < TAG_LEN {
            return Err(OpenError::Truncated);
        }
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| OpenError::Truncated)?;
        let plain = self.0.open_in_place(nonce, Aad::empty(), sealed).map_err(|_| OpenError::NotAuthentic)?;
        let contents = Contents::read(plain)?;
        contents.check_age(now, max_age).map(|()| contents)
    }
}

impl fmt::Debug for EncryptionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EncryptionKey([redacted])")
    }
}

impl Contents {
    fn read(json: &[u8]) -> Result<Self, OpenError> {
        let payload: Payload<'_> = serde_json::from_slice(json).map_err(|_| OpenError::NotJson)?;
        let issued_at = payload.ts.map(Word::seconds).transpose()?;
        let word = |word: Option<Word>| word.map(Word::into_text).filter(|text| !text.is_empty());
        Ok(Self {
            passkey: payload.pk.parse().map_err(|_| OpenError::NotAPasskey)?,
            issued_at,
            fd: word(payload.fd),
            pd: word(payload.pd),
        })
    }

    fn check_age(&self, now: u64, max_age: Option<Duration>) -> Result<(), OpenError> {
        let Some(max_age) = max_age else { return Ok(()) };
        let issued_at = self.issued_at.ok_or(OpenError::Undated)?;
        if issued_at > now.saturating_add(MAX_SKEW_SECS) {
            return Err(OpenError::FromTheFuture);
        }
        if now.saturating_sub(issued_at) > max_age.as_secs() {
            return Err(OpenError::Stale);
        }
        Ok(())
    }
}

/// The JSON inside. Fields that we do not know are the site's own business.
#[derive(Serialize, Deserialize)]
struct Payload<'a> {
    #[serde(borrow)]
    pk: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ts: Option<Word>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    fd: Option<Word>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pd: Option<Word>,
}

/// A value that sites write as text or as a number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Word {
    /// `"17"`
    Text(String),
    /// `17`
    Number(serde_json::Number),
}

impl Word {
    /// The text form of either.
    #[must_use]
    pub fn into_text(self) -> String {
        match self {
            Self::Text(text) => text,
            Self::Number(number) => number.to_string(),
        }
    }

    fn seconds(self) -> Result<u64, OpenError> {
        self.into_text().parse().map_err(|_| OpenError::NotJson)
    }
}

fn hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    text.as_bytes().chunks_exact(2).map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?)).collect()
}

/// Plain base64, whose `+` and `/` many key generators print.
fn padded(text: &str) -> Result<Vec<u8>, base64::DecodeError> {
    STANDARD.decode(format!("{}=", text.trim_end_matches('=')))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: u64 = 1_800_000_000;

    fn key() -> EncryptionKey {
        EncryptionKey::parse("0123456789abcdef0123456789abcdef").unwrap()
    }

    fn contents() -> Contents {
        Contents {
            passkey: "alice".parse().unwrap(),
            issued_at: Some(NOW - 60),
            fd: Some("17".into()),
            pd: None,
        }
    }

    /// What a site that builds the credential with its own library sends.
    fn sealed_json(json: &str) -> String {
        let mut bytes = json.as_bytes().to_vec();
        let nonce = key().0.seal_in_place_append_tag(Aad::empty(), &mut bytes).unwrap();
        URL_SAFE_NO_PAD.encode([nonce.as_ref().as_slice(), &bytes].concat())
    }

    fn open(text: &str, max_age: Option<u64>) -> Result<Contents, OpenError> {
        key().open(text.as_bytes(), NOW, max_age.map(Duration::from_secs))
    }

    #[test]
    fn a_key_is_read_in_every_usual_form() {
        let raw = "0123456789abcdef0123456789abcdef";
        let hex: String = raw.bytes().map(|byte| format!("{byte:02X}")).collect();
        let text = key().seal(&contents()).unwrap();
        for form in [raw, &hex, &STANDARD.encode(raw), &URL_SAFE_NO_PAD.encode(raw)] {
            let key = EncryptionKey::parse(form).unwrap();
            assert_eq!(key.open(text.as_bytes(), NOW, None), Ok(contents()), "{form}");
        }
        let all_ones = EncryptionKey::parse(&STANDARD.encode([0xff; 32])).unwrap();
        assert_eq!(all_ones.open(text.as_bytes(), NOW, None), Err(OpenError::NotAuthentic));
        for bad in ["", "short", &"g".repeat(64), &"!".repeat(43), &"a".repeat(33)] {
            assert_eq!(EncryptionKey::parse(bad).unwrap_err(), NotAKey, "{bad}");
        }
        assert!(!format!("{:?}", key()).contains("0123"));
    }

    /// Sealed with Python's `cryptography` (AESGCM, nonce of the bytes 0 to 11), so that we agree with others
    /// and not only with ourselves.
    #[test]
    fn a_credential_of_another_implementation_opens() {
        const FOREIGN: &str = "AAECAwQFBgcICQoLVsfLF_si8o7JsBjdFO39JMR8cKUGnEW8GeWCjYEcmLSRixR4LZctMKASxpwaQD55y6jza9KSD2kIoYM=";
        assert_eq!(open(FOREIGN, Some(3600)), Ok(contents()));
    }

    #[test]
    fn padding_is_optional_and_every_text_is_unique() {
        let text = key().seal(&contents()).unwrap();
        let padded = format!("{text}{}", "=".repeat((4 - text.len() % 4) % 4));
        assert_eq!(open(&padded, None), Ok(contents()));
        assert_ne!(key().seal(&contents()).unwrap(), text, "a nonce is never used twice");
    }

    #[test]
    fn film_and_playlist_may_be_numbers_and_unknown_fields_are_skipped() {
        let read =
            open(&sealed_json(r#"{"pk":"a","ts":"1799999999","fd":17,"pd":"x","v":{"n":1}}"#), Some(60));
        let read = read.unwrap();
        assert_eq!((read.fd.as_deref(), read.pd.as_deref()), (Some("17"), Some("x")));
        let empty = open(&sealed_json(r#"{"pk":"a","fd":"","pd":null}"#), None).unwrap();
        assert_eq!((empty.fd, empty.pd, empty.issued_at), (None, None, None));
    }

    #[test]
    fn what_is_not_the_agreed_json_is_refused() {
        let refused = |json: &str| open(&sealed_json(json), None).unwrap_err();
        for json in ["", "alice", "[]", r#"{"ts":1}"#, r#"{"pk":1}"#, r#"{"pk":"a","fd":[]}"#] {
            assert_eq!(refused(json), OpenError::NotJson, "{json}");
        }
        assert_eq!(refused(r#"{"pk":"a","ts":"soon"}"#), OpenError::NotJson);
        assert_eq!(refused(r#"{"pk":"a","pk":"b"}"#), OpenError::NotJson);
        assert_eq!(refused(r#"{"pk":"a b"}"#), OpenError::NotAPasskey);
    }

    #[test]
    fn age_counts_only_where_a_limit_is_set() {
        let issued = |at: u64| sealed_json(&format!(r#"{{"pk":"a","ts":{at}}}"#));
        assert!(open(&issued(NOW - 3600), Some(3600)).is_ok());
        assert_eq!(open(&issued(NOW - 3601), Some(3600)), Err(OpenError::Stale));
        assert!(open(&issued(NOW - 3601), None).is_ok());
        assert!(open(&issued(NOW + MAX_SKEW_SECS), Some(3600)).is_ok());
        assert_eq!(open(&issued(NOW * 1000), Some(3600)), Err(OpenError::FromTheFuture));
        assert_eq!(open(&sealed_json(r#"{"pk":"a"}"#), Some(3600)), Err(OpenError::Undated));
    }

    #[test]
    fn garbage_and_another_key_are_told_apart() {
        assert_eq!(open("not base64!", None), Err(OpenError::NotBase64));
        assert_eq!(open("", None), Err(OpenError::Truncated));
        assert_eq!(open(&URL_SAFE_NO_PAD.encode([0; 27]), None), Err(OpenError::Truncated));
        assert_eq!(open(&URL_SAFE_NO_PAD.encode([0; 28]), None), Err(OpenError::NotAuthentic));
        assert_eq!(open(&"A".repeat(MAX_TEXT_LEN + 4), None), Err(OpenError::TooLong));
        let other = EncryptionKey::parse(&"x".repeat(32)).unwrap();
        let text = other.seal(&contents()).unwrap();
        assert_eq!(open(&text, None), Err(OpenError::NotAuthentic));
    }

    #[test]
    fn one_changed_bit_anywhere_or_a_missing_end_is_noticed() {
        let text = key().seal(&contents()).unwrap();
        let bytes = URL_SAFE_NO_PAD.decode(&text).unwrap();
        for (at, bit) in (0..bytes.len()).flat_map(|at| (0..8).map(move |bit| (at, bit))) {
            let mut tampered = bytes.clone();
            tampered[at] ^= 1 << bit;
            assert_eq!(open(&URL_SAFE_NO_PAD.encode(tampered), None), Err(OpenError::NotAuthentic));
        }
        for length in 0..text.len() {
            assert!(open(&text[..length], None).is_err(), "{length}");
        }
    }

    proptest! {
        #[test]
        fn what_is_sealed_opens_again(
            passkey in "[0-9A-Za-z_-]{1,64}",
            issued_at in proptest::option::of(0..u64::MAX),
            fd in proptest::option::of("\\PC{1,40}"),
            pd in proptest::option::of("\\PC{1,40}"),
        ) {
            let contents = Contents { passkey: passkey.parse().unwrap(), issued_at, fd, pd };
            let text = key().seal(&contents).unwrap();
            prop_assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)));
            prop_assert_eq!(open(&text, None), Ok(contents));
        }

        #[test]
        fn no_text_makes_it_panic(text in proptest::collection::vec(any::<u8>(), 0..200)) {
            drop(key().open(&text, NOW, Some(Duration::from_secs(1))));
        }

        #[test]
        fn no_plaintext_makes_it_panic(json in ".{0,100}") {
            drop(open(&sealed_json(&json), Some(1)));
        }
    }
}
