//! The signals by which an operator stops or reloads a service.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// SIGHUP: an operator wants the configuration read again.
///
/// # Errors
/// When the process may not listen for signals.
pub fn hangups() -> std::io::Result<Signal> {
    signal(SignalKind::hangup())
}

/// Resolves at the first SIGTERM or SIGINT, with the signal's name.
///
/// # Errors
/// When the process may not listen for signals.
pub async fn stop_requested() -> std::io::Result<&'static str> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    })
}
