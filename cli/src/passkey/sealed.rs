//! Sealed credentials by hand: making one as the site does, and finding out why one is refused.

use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Args;
use contract::EncryptionKey;
use contract::config::Secret;
use contract::sealed::Contents;
use serde::Serialize;

use super::parse;
use crate::Answer;
use crate::connect::Context;
use crate::failure::Failure;
use crate::human;
use crate::output::{Report, facts, note};

/// Where the key is. Not an argument: everybody on the machine can read those.
#[derive(Debug, Args)]
struct KeySource {
    /// The file that holds `encryption_key` as the tracker's configuration has it; else the variable
    /// `SEEDBOOK_ENCRYPTION_KEY`.
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
}

/// What to seal.
#[derive(Debug, Args)]
pub(crate) struct Seal {
    /// Whose it is.
    passkey: String,
    /// Film id.
    #[arg(long, value_name = "ID")]
    fd: Option<String>,
    /// Playlist id.
    #[arg(long, value_name = "ID")]
    pd: Option<String>,
    /// When it is issued, in Unix seconds; now, if not given.
    #[arg(long, value_name = "SECONDS")]
    ts: Option<u64>,
    #[command(flatten)]
    key: KeySource,
}

/// What to open.
#[derive(Debug, Args)]
pub(crate) struct Open {
    /// The credential, as it stands in an announce URL. One in 64 begins with `-`.
    #[arg(value_name = "TEXT", allow_hyphen_values = true)]
    credential: String,
    /// Also refuse it as the tracker with this `max_age` would, such as 30d.
    #[arg(long, value_name = "AGE", value_parser = humantime::parse_duration)]
    max_age: Option<std::time::Duration>,
    #[command(flatten)]
    key: KeySource,
}

impl KeySource {
    const VARIABLE: &str = "SEEDBOOK_ENCRYPTION_KEY";

    fn read(&self) -> Result<EncryptionKey, Failure> {
        let (place, text) = match &self.key_file {
            Some(path) => {
                let unreadable = |error| Failure::usage(format!("cannot read {}: {error}", path.display()));
                (path.display().to_string(), std::fs::read_to_string(path).map_err(unreadable)?)
            }
            None => {
                let missing =
                    |_| Failure::usage(format!("no key: give --key-file or set {}", Self::VARIABLE));
                (Self::VARIABLE.to_owned(), std::env::var(Self::VARIABLE).map_err(missing)?)
            }
        };
        let key = Secret::from(text.trim());
        EncryptionKey::parse(key.reveal()).map_err(|error| Failure::usage(format!("{place}: {error}")))
    }
}

#[derive(Serialize)]
struct Sealed {
    credential: String,
}

impl Report for Sealed {
    fn text(&self) -> String {
        self.credential.clone()
    }
}

/// Prints a credential.
pub(crate) fn seal(command: &Seal, context: &Context) -> Result<Answer, Failure> {
    let contents = Contents {
        passkey: parse(&command.passkey)?,
        issued_at: Some(command.ts.unwrap_or_else(now)),
        fd: command.fd.clone(),
        pd: command.pd.clone(),
    };
    let sealed = command.key.read()?.seal(&contents);
    let credential = sealed.map_err(|error| Failure::Service {
        tried: "the operating system's random source".into(),
        cause: error.to_string(),
        hint: "without randomness nothing can be sealed".into(),
    })?;
    context.output.show(&Sealed { credential })?;
    Ok(Answer::Done)
}

#[derive(Serialize)]
struct Opened {
    passkey: String,
    issued_at: Option<u64>,
    fd: Option<String>,
    pd: Option<String>,
}

impl Report for Opened {
    fn text(&self) -> String {
        let or_none = |text: &Option<String>| text.clone().unwrap_or_else(|| "(none)".into());
        facts([
            ("passkey", self.passkey.clone()),
            ("issued", self.issued_at.map_or_else(|| "(not said)".into(), human::utc)),
            ("film (fd)", or_none(&self.fd)),
            ("playlist (pd)", or_none(&self.pd)),
        ])
    }
}

/// Shows what a credential says.
pub(crate) fn open(command: &Open, context: &Context) -> Result<Answer, Failure> {
    let key = command.key.read()?;
    match key.open(command.credential.as_bytes(), now(), command.max_age) {
        Ok(Contents { passkey, issued_at, fd, pd }) => {
            context.output.show(&Opened { passkey: passkey.reveal().into(), issued_at, fd, pd })?;
            Ok(Answer::Done)
        }
        Err(error) => {
            note(&format!("refused: {error}"));
            Ok(Answer::No)
        }
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
