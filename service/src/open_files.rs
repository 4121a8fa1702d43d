//! How many files and sockets the process may hold. Most systems allow 1024 until a program asks for more,
//! which is fewer than a site has clients that keep their connection.

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tracing::{info, warn};

/// Fewer than this are worth a word in the log: an announce per connection comes quickly.
const ENOUGH: u64 = 16_384;

/// Takes as many as the system lets this process have.
pub fn raise() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE).and_then(|(soft, hard)| {
        if soft < hard {
            setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
        }
        Ok(hard)
    });
    match raised {
        Ok(limit) if limit < ENOUGH => {
            warn!(limit, "this process may open few files; give it more (LimitNOFILE= in a systemd unit)");
        }
        Ok(limit) => info!(limit, "open files"),
        Err(error) => warn!(%error, "the limit of open files cannot be raised"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn afterwards_nothing_is_left_to_ask_for() {
        raise();
        let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        assert_eq!(soft, hard);
    }
}
