//! The users' passkeys: a site's own from a file, or made-up ones.

use contract::Passkey;

use super::failure;
use super::options::Users;
use crate::failure::Failure;
use crate::listed::{self, Listed};

/// The passkeys to announce with; none on a tracker that wants none.
pub(super) fn gather(users: &Users) -> Result<Vec<Passkey>, Failure> {
    match (&users.passkeys, users.users) {
        (Some(file), _) => from_file(file),
        (None, Some(count)) => load::made_up_passkeys(&users.passkey_prefix, count).map_err(failure),
        (None, None) => Ok(Vec::new()),
    }
}

fn from_file(file: &str) -> Result<Vec<Passkey>, Failure> {
    let lines = listed::lines::<Passkey>(file)?;
    if let Some(bad) = lines.bad.first() {
        return Err(Failure::usage(format!("{file}:{bad}: {}", <Passkey as Listed>::FORM)));
    }
    if lines.members.is_empty() {
        return Err(Failure::usage(format!("there is no passkey in {file}")));
    }
    Ok(lines.members)
}
