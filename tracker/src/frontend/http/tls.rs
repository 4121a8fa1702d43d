//! The certificate that HTTPS shows, and its replacement while the tracker runs.

use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwap;
use contract::config::Problems;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

/// The certificate chain and key in force, read from two PEM files.
#[derive(Debug)]
pub struct CertificateSource {
    current: ArcSwap<ServerConfig>,
}

impl CertificateSource {
    /// Reads both files.
    ///
    /// # Errors
    /// Which of the two is wrong, and how.
    pub fn load(certificate: &Path, key: &Path) -> Result<Self, Problems> {
        Ok(Self { current: ArcSwap::new(read(certificate, key)?) })
    }

    /// Shows what `fresh` holds from now on. Connections that stand keep the certificate they began with.
    /// Reading the new files and putting them in force are two steps, so that a configuration with another
    /// mistake changes nothing.
    pub fn adopt(&self, fresh: &Self) {
        self.current.store(fresh.current.load_full());
    }

    pub(super) fn acceptor(&self) -> TlsAcceptor {
        self.current.load_full().into()
    }
}

fn read(certificate: &Path, key: &Path) -> Result<Arc<ServerConfig>, Problems> {
    let mut problems = Problems::default();
    let chain = chain(certificate).map_err(|wrong| problems.push(wrong)).unwrap_or_default();
    let private = private_key(key).map_err(|wrong| problems.push(wrong)).ok();
    let Some(private) = private.filter(|_| !chain.is_empty()) else { return Err(problems) };
    service::tls::install_provider();
    let mut config =
        ServerConfig::builder().with_no_client_auth().with_single_cert(chain, private).map_err(|error| {
            let (certificate, key) = (certificate.display(), key.display());
            Problems(vec![format!(
                "`http.tls_key_path`: {key} does not go with the certificate in {certificate}: {error}"
            )])
        })?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    // Clients come back every half hour: a ticket spares them and us the costly half of a handshake, and
    // costs no memory here.
    config.ticketer = aws_lc_rs::Ticketer::new()
        .map_err(|error| Problems(vec![format!("TLS session tickets cannot be made: {error}")]))?;
    config.send_tls13_tickets = 1;
    Ok(Arc::new(config))
}

fn chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let wrong = |what: String| format!("`http.tls_cert_path`: {}: {what}", path.display());
    let chain = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| wrong(error.to_string()))?;
    if chain.is_empty() { Err(wrong("holds no certificate in PEM form".into())) } else { Ok(chain) }
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_file(path)
        .map_err(|error| format!("`http.tls_key_path`: {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    struct Files(tempfile::TempDir);

    impl Files {
        fn new() -> Self {
            let files = Self(tempfile::tempdir().unwrap());
            for name in ["a", "b"] {
                let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
                fs::write(files.path(&format!("{name}.crt")), made.cert.pem()).unwrap();
                fs::write(files.path(&format!("{name}.key")), made.signing_key.serialize_pem()).unwrap();
            }
            files
        }

        fn path(&self, name: &str) -> std::path::PathBuf {
            self.0.path().join(name)
        }
    }

    fn refusal(certificate: &Path, key: &Path) -> String {
        CertificateSource::load(certificate, key).unwrap_err().to_string()
    }

    #[test]
    fn a_key_of_another_certificate_is_refused() {
        let files = Files::new();
        let problem = refusal(&files.path("a.crt"), &files.path("b.key"));
        assert!(problem.contains("`http.tls_key_path`") && problem.contains("does not go with"), "{problem}");
    }

    #[test]
    fn both_missing_files_are_named_at_once() {
        let files = Files::new();
        let problem = refusal(&files.path("x.crt"), &files.path("x.key"));
        assert!(problem.contains("x.crt") && problem.contains("x.key"), "{problem}");
        let problem = refusal(&files.path("a.key"), &files.path("a.key"));
        assert!(problem.contains("holds no certificate"), "{problem}");
    }
}
