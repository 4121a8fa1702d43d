//! The provider of TLS' cryptography: chosen here, once, for HTTPS, `rediss://` and calls to a site.
//!
//! It is AWS-LC, as for sealed credentials and for tokens: one library to keep up to date, audit and license.
//! Whom to believe is the system's matter: its store of authorities, or `SSL_CERT_FILE`.

use rustls::crypto::aws_lc_rs;

/// Makes aws-lc the provider of this process. Without a choice rustls would panic at the first handshake.
/// Calling it again does nothing.
pub fn install_provider() {
    // The error says that one is installed already: the one of an earlier call.
    aws_lc_rs::default_provider().install_default().ok();
}
