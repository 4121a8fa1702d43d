//! A certificate of a test's own, for addresses instead of names: nothing in a test network has a name.

use std::fs;
use std::net::IpAddr;
use std::path::PathBuf;

use tempfile::TempDir;

/// A self-signed certificate and its key, in files that go when this is dropped.
#[derive(Debug)]
pub struct Certificate(TempDir);

impl Certificate {
    /// Makes one for these addresses.
    #[must_use]
    pub fn for_addresses(addresses: &[IpAddr]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
        let made = rcgen::generate_simple_self_signed(addresses).expect("a certificate can be made");
        let certificate = Self(folder);
        fs::write(certificate.file(), made.cert.pem()).unwrap();
        fs::write(certificate.key_file(), made.signing_key.serialize_pem()).unwrap();
        certificate
    }

    /// The certificate: what the server shows, and what clients have to trust. PEM.
    #[must_use]
    pub fn file(&self) -> PathBuf {
        self.0.path().join("certificate.pem")
    }

    /// The server's private key, PEM.
    #[must_use]
    pub fn key_file(&self) -> PathBuf {
        self.0.path().join("key.pem")
    }
}
