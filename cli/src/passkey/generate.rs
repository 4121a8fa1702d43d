//! New passkeys, drawn evenly from the operating system's random source.

use clap::Args;
use contract::Passkey;
use rand::TryRng;
use rand::rngs::SysRng;

use crate::Answer;
use crate::connect::Context;
use crate::failure::Failure;
use crate::listed;

const ALPHABET: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
/// 32 of 36 letters are 165 bits: nobody guesses one, and no two are ever the same.
const LENGTH: usize = 32;
/// The largest multiple of 36 that a byte can hold: bytes from there on would favour the first letters.
const FAIR_BYTES: u8 = 252;

/// What to draw.
#[derive(Debug, Args)]
pub(crate) struct Generate {
    /// How many, at most 100000.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    count: u32,
    /// Also allow them to announce.
    #[arg(long)]
    add: bool,
}

/// Prints new passkeys; with `--add` only after they are in the whitelist.
pub(crate) async fn run(command: &Generate, context: &Context) -> Result<Answer, Failure> {
    let mut passkeys = Vec::new();
    for _ in 0..command.count {
        passkeys.push(draw(&mut SysRng).map_err(|error| no_randomness(&error))?);
    }
    if command.add {
        let mut redis = context.redis().await?;
        for chunk in passkeys.chunks(listed::CHUNK) {
            listed::add_chunk(&mut redis, &context.keys.passkeys(), chunk).await?;
        }
    }
    let mut list = context.output.list();
    for passkey in &passkeys {
        list.push(passkey.reveal())?;
    }
    list.finish()?;
    Ok(Answer::Done)
}

fn draw<R: TryRng>(random: &mut R) -> Result<Passkey, R::Error> {
    let mut text = Vec::with_capacity(LENGTH);
    while text.len() < LENGTH {
        let mut bytes = [0; 64];
        random.try_fill_bytes(&mut bytes)?;
        let fair = bytes.iter().filter(|byte| **byte < FAIR_BYTES);
        text.extend(fair.map(|byte| ALPHABET[usize::from(byte % 36)]).take(LENGTH - text.len()));
    }
    Ok(Passkey::from_bytes(&text)
        .unwrap_or_else(|error| unreachable!("the alphabet is a passkey's: {error}")))
}

fn no_randomness(error: &impl std::fmt::Display) -> Failure {
    Failure::Service {
        tried: "the operating system's random source".into(),
        cause: error.to_string(),
        hint: "a passkey from a weaker source could be guessed, so none was made".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passkeys_are_32_small_letters_and_digits_and_differ() {
        let (one, other) = (draw(&mut SysRng).unwrap(), draw(&mut SysRng).unwrap());
        assert_eq!(one.reveal().len(), 32);
        assert!(one.reveal().bytes().all(|byte| ALPHABET.contains(&byte)));
        assert_ne!(one, other);
    }
}
