//! The provider of TLS' cryptography: chosen here, once, for HTTPS, `rediss://` and calls to a site.

use rustls::crypto::aws_lc_rs;

/// Makes aws-lc the provider of this process. Without a choice rustls would panic at the first handshake.
/// Calling it again does nothing.
pub fn install_provider() {
    // The error says that one is installed already: the one of an earlier call.
    aws_lc_rs::default_provider().install_default().ok();
}
