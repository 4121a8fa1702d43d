//! The parts of an announce URL that every frontend reads alike: query pairs, escapes, and what a client shows to prove who
//! it is. Over HTTP the URL is the request's, over UDP it comes as URL data (BEP 41). Pure.

use percent_encoding::percent_decode;

use crate::announce::{Credential, Refusal};

/// What a query carries to prove who asks.
#[derive(Default)]
pub struct Proof {
    credential: Option<Vec<u8>>,
    passkey: Option<Vec<u8>>,
    auth_key: Option<Vec<u8>>,
    jwt: Option<Vec<u8>>,
}

impl Proof {
    /// Keeps the parameter if it is one of the proofs.
    ///
    /// # Errors
    /// The refusal to show the client when its value is badly escaped.
    pub fn take(&mut self, name: &str, value: &str) -> Result<(), Refusal> {
        let slot = match name {
            "credential" => &mut self.credential,
            "passkey" => &mut self.passkey,
            "auth_key" => &mut self.auth_key,
            "jwt" => &mut self.jwt,
            _ => return Ok(()),
        };
        *slot = Some(decoded(value)?);
        Ok(())
    }

    /// The credential: of several, the name that says most wins.
    #[must_use]
    pub fn credential(&self) -> Option<Credential> {
        let text = self.credential.as_ref().or(self.passkey.as_ref()).or(self.auth_key.as_ref());
        text.map(|text| Credential::new(text))
    }

    /// The token for this torrent.
    #[must_use]
    pub fn jwt(&self) -> Option<Credential> {
        self.jwt.as_deref().map(Credential::new)
    }
}

/// The names and raw values of a query.
pub fn pairs(query: &str) -> impl Iterator<Item = (&str, &str)> {
    query.split('&').filter(|pair| !pair.is_empty()).map(|pair| pair.split_once('=').unwrap_or((pair, "")))
}

/// A value without its escapes.
///
/// # Errors
/// The refusal to show the client when an escape is broken.
pub fn decoded(value: &str) -> Result<Vec<u8>, Refusal> {
    let bytes = value.as_bytes();
    // The library leaves a broken escape as it is; for a binary value that would be other bytes than the client meant.
    let broken = bytes.iter().enumerate().any(|(at, byte)| {
        *byte == b'%' && !bytes.get(at + 1..at + 3).is_some_and(|pair| pair.iter().all(u8::is_ascii_hexdigit))
    });
    if broken {
        return Err(Refusal::because("invalid query escape"));
    }
    if bytes.contains(&b'+') {
        return Ok(percent_decode(value.replace('+', "%20").as_bytes()).collect());
    }
    Ok(percent_decode(bytes).collect())
}
