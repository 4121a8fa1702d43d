//! What a client shows to be let in.

use std::time::Duration;

use contract::sealed::{Contents, EncryptionKey};
use contract::{InfoHash, Passkey};
use tracker::announce::Credential;
use tracker::hooks::jwt;

const KEY: &str = "0123456789abcdef0123456789abcdef";
const NOW: u64 = 1_800_000_000;
const MONTH: Duration = Duration::from_secs(30 * 86400);

/// One key of 2048 bits, made for this and used nowhere.
const KEY_SET: &[u8] = include_bytes!("key_set.json");

/// Nobody opens what was not sealed with the key; what was sealed opens as it was.
pub(crate) fn sealed(input: &[u8]) {
    let key = EncryptionKey::parse(KEY).expect("32 characters are a key");
    assert!(key.open(input, NOW, Some(MONTH)).is_err(), "a credential was forged");
    let mut parts = input.splitn(3, |byte| *byte == b'\n');
    let mut text =
        || parts.next().map(|part| String::from_utf8_lossy(part).into_owned()).filter(|t| !t.is_empty());
    let (passkey, fd, pd) = (text(), text(), text());
    let Some(passkey) = passkey.and_then(|text| text.parse::<Passkey>().ok()) else { return };
    let contents = Contents { passkey, issued_at: Some(NOW), fd, pd };
    let credential = key.seal(&contents).expect("the system has randomness");
    if let Ok(opened) = key.open(credential.as_bytes(), NOW, Some(MONTH)) {
        assert_eq!(opened, contents);
    }
}

/// No token is believed that nobody signed.
pub(crate) fn jwt(input: &[u8]) {
    let options =
        jwt::Options { issuer: "site".into(), audience: "tracker".into(), ..jwt::Options::default() };
    assert!(
        !jwt::opens(&Credential::new(input), InfoHash([0x11; 20]), KEY_SET, &options),
        "a token was forged"
    );
}
