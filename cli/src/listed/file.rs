//! Whole files of passkeys or torrents.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};

use clap::Args;
use serde::Serialize;

use super::{CHUNK, Listed, add_chunk};
use crate::connect::Context;
use crate::failure::Failure;
use crate::human::count;
use crate::output::{Report, note};
use crate::{Answer, progress};

/// A file beyond this is no such list: ten million members fit.
const MAX_FILE_BYTES: u64 = 1 << 30;
/// Bad lines named in the error; the rest are counted.
const MAX_BAD_LINES_SHOWN: usize = 20;

/// Where members come from.
#[derive(Debug, Args)]
pub(crate) struct Source {
    /// One per line; blank lines and lines that begin with # are skipped. `-` reads from stdin.
    #[arg(value_name = "FILE")]
    file: String,
    /// Leave invalid lines out instead of refusing the file.
    #[arg(long)]
    skip_invalid: bool,
}

/// Adds a file.
#[derive(Debug, Args)]
pub(crate) struct Import {
    #[command(flatten)]
    source: Source,
}

#[derive(Serialize)]
struct Imported {
    read: u64,
    added: u64,
    already_there: u64,
    skipped_invalid: u64,
    #[serde(skip)]
    noun: (&'static str, &'static str),
}

impl Report for Imported {
    fn text(&self) -> String {
        let read = count(self.read, self.noun.0, self.noun.1);
        format!("{read} read: {} added, {} there already", self.added, self.already_there)
            + &skipped(self.skipped_invalid)
    }
}

/// Adds every member of a file.
pub(crate) async fn import<M: Listed>(command: &Import, context: &Context) -> Result<Answer, Failure> {
    let (members, skipped_invalid) = command.source.read::<M>()?;
    let mut redis = context.redis().await?;
    let bar = progress::bar("importing", members.len() as u64);
    let mut added = 0;
    for chunk in members.chunks(CHUNK) {
        added += add_chunk(&mut redis, &M::set(&context.keys), chunk).await?;
        bar.inc(chunk.len() as u64);
    }
    bar.finish_and_clear();
    let read = members.len() as u64;
    context.output.show(&Imported {
        read,
        added,
        already_there: read - added,
        skipped_invalid,
        noun: M::NOUN,
    })?;
    Ok(Answer::Done)
}

/// What was left out, as the end of a report.
pub(crate) fn skipped(invalid: u64) -> String {
    if invalid == 0 {
        return String::new();
    }
    format!(", {} skipped", count(invalid, "invalid line", "invalid lines"))
}

impl Source {
    /// All members of the file, and how many invalid lines were skipped.
    pub(crate) fn read<M: Listed>(&self) -> Result<(Vec<M>, u64), Failure> {
        let lines = lines::<M>(&self.file)?;
        match lines.bad.is_empty() || self.skip_invalid {
            true => Ok((lines.members, lines.bad.len() as u64)),
            false => Err(self.refusal::<M>(&lines.bad)),
        }
    }

    fn refusal<M: Listed>(&self, bad: &[u64]) -> Failure {
        for line in bad.iter().take(MAX_BAD_LINES_SHOWN) {
            note(&format!("{}:{line}: {}", self.file, M::FORM));
        }
        let lines = count(bad.len() as u64, "line is", "lines are");
        Failure::usage(format!("{lines} invalid, nothing was written; --skip-invalid leaves them out"))
    }
}

/// Reads a file, or stdin for `-`.
pub(crate) fn lines<M: Listed>(file: &str) -> Result<Lines<M>, Failure> {
    let unreadable = |error: io::Error| Failure::usage(format!("cannot read {file}: {error}"));
    let input: Box<dyn Read> = match file {
        "-" => Box::new(io::stdin()),
        path => Box::new(File::open(path).map_err(unreadable)?),
    };
    let lines = Lines::<M>::read(BufReader::new(input.take(MAX_FILE_BYTES + 1))).map_err(unreadable)?;
    if lines.bytes > MAX_FILE_BYTES {
        return Err(Failure::usage(format!("{file} is larger than 1 GiB: no list of {}", M::NOUN.1)));
    }
    Ok(lines)
}

/// What a file holds.
pub(crate) struct Lines<M> {
    pub(crate) members: Vec<M>,
    /// Line numbers, from 1.
    pub(crate) bad: Vec<u64>,
    bytes: u64,
}

impl<M: Listed> Lines<M> {
    fn read(mut input: impl BufRead) -> io::Result<Self> {
        let mut lines = Self { members: Vec::new(), bad: Vec::new(), bytes: 0 };
        let mut line = Vec::new();
        for number in 1.. {
            line.clear();
            let length = input.read_until(b'\n', &mut line)?;
            if length == 0 {
                break;
            }
            lines.bytes += length as u64;
            let text = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&line).trim_ascii();
            if text.is_empty() || text.starts_with(b"#") {
                continue;
            }
            match M::read(text) {
                Some(member) => lines.members.push(member),
                None => lines.bad.push(number),
            }
        }
        Ok(lines)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use contract::{InfoHash, Passkey};

    #[test]
    fn blank_lines_comments_and_line_endings_of_other_systems_are_skipped() {
        let lines = Lines::<Passkey>::read(&b"\xef\xbb\xbfa1\r\n\n# users\n  b2  \nc 3\nd4"[..]).unwrap();
        let read: Vec<&str> = lines.members.iter().map(Passkey::reveal).collect();
        assert_eq!(read, ["a1", "b2", "d4"]);
        assert_eq!(lines.bad, [5]);
    }

    #[test]
    fn torrents_are_read_in_hex_of_either_case_and_never_as_raw_bytes() {
        let text = format!(
            "{}\n{}\ntwenty-raw-characters\n12345678901234567890\n",
            "AB".repeat(20),
            "cd".repeat(20)
        );
        let lines = Lines::<InfoHash>::read(text.as_bytes()).unwrap();
        assert_eq!(lines.members, [InfoHash([0xab; 20]), InfoHash([0xcd; 20])]);
        assert_eq!(lines.bad, [3, 4]);
    }
}
