//! A profile in pprof's format as what a flame graph draws: a tree of functions with their samples.

use std::collections::{BTreeMap, HashMap};
use std::io::Read;

use anyhow::{Context, Result};
use flate2::read::GzDecoder;
use pprof::protos::{Function, Message, Profile};

use crate::cost::as_f64;

/// Longer names are types nested in types.
const LONGEST_NAME: usize = 80;

/// A function, called from its parent in the tree: how many samples fell into it and what it calls.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stacks {
    /// Samples in the function and everything it calls.
    pub samples: u64,
    /// What it calls, by name.
    pub calls: BTreeMap<String, Stacks>,
}

impl Stacks {
    /// Adds samples to a stack, outermost function first.
    pub fn add<'a>(&mut self, stack: impl IntoIterator<Item = &'a str>, samples: u64) {
        self.samples += samples;
        let mut place = self;
        for name in stack {
            place = place.calls.entry(name.to_owned()).or_default();
            place.samples += samples;
        }
    }

    /// The functions that were at work themselves most often, with their share of all samples in percent.
    #[must_use]
    pub fn heaviest(&self, how_many: usize) -> Vec<(String, f64)> {
        let mut own = BTreeMap::new();
        self.add_own(&mut own);
        let mut own: Vec<(&str, u64)> = own.into_iter().collect();
        own.sort_by_key(|(_, samples)| std::cmp::Reverse(*samples));
        let percent = |samples| 100.0 * as_f64(samples) / as_f64(self.samples.max(1));
        own.into_iter().take(how_many).map(|(name, samples)| (name.to_owned(), percent(samples))).collect()
    }

    fn add_own<'a>(&'a self, own: &mut BTreeMap<&'a str, u64>) {
        for (name, call) in &self.calls {
            let deeper: u64 = call.calls.values().map(|call| call.samples).sum();
            *own.entry(name).or_default() += call.samples - deeper;
            call.add_own(own);
        }
    }

    /// How deep the calls go.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.calls.values().map(|call| 1 + call.depth()).max().unwrap_or(0)
    }
}

/// Reads a profile as `/debug/pprof/profile` serves it: gzipped protocol buffers.
///
/// # Errors
/// When it is none.
pub fn decode(packed: &[u8]) -> Result<Stacks> {
    let mut bytes = Vec::new();
    GzDecoder::new(packed).read_to_end(&mut bytes).context("the profile is not gzipped")?;
    let profile = Profile::decode(bytes.as_slice()).context("the profile is not in pprof's format")?;
    Ok(tree(&profile))
}

fn tree(profile: &Profile) -> Stacks {
    let text = |index: i64| {
        usize::try_from(index)
            .ok()
            .and_then(|index| profile.string_table.get(index))
            .map_or("?", String::as_str)
    };
    let name = |function: &Function| named(text(function.name), text(function.filename));
    let names: HashMap<u64, String> =
        profile.function.iter().map(|function| (function.id, name(function))).collect();
    // Of a place in the code, the functions from the outermost to the innermost that was inlined there.
    let places: HashMap<u64, Vec<&str>> = profile
        .location
        .iter()
        .map(|location| {
            let lines = location.line.iter().rev();
            (
                location.id,
                lines.map(|line| names.get(&line.function_id).map_or("?", String::as_str)).collect(),
            )
        })
        .collect();
    let mut stacks = Stacks::default();
    for sample in &profile.sample {
        // pprof lists the innermost place first.
        let stack = sample.location_id.iter().rev().filter_map(|id| places.get(id)).flatten().copied();
        let count = sample.value.first().copied().unwrap_or(0);
        stacks.add(stack.skip_while(|name| is_prologue(name)), u64::try_from(count).unwrap_or(0));
    }
    stacks
}

/// A function with the crate and the file it is from, without type parameters: inlined functions carry
/// neither path nor crate.
fn named(function: &str, file: &str) -> String {
    let plain = match function.split_once('<') {
        Some((name, _)) if !name.is_empty() => name,
        _ => function,
    };
    let plain: String = plain.chars().take(LONGEST_NAME).collect();
    match place(file) {
        Some((crate_name, file)) => format!("{crate_name}: {plain} ({file})"),
        None => plain,
    }
}

/// `tracker/src/swarm/family.rs` is (`tracker`, `swarm/family.rs`); folders of the machine that built it are
/// left out.
fn place(file: &str) -> Option<(&str, &str)> {
    let (folder, inside) = file.rsplit_once("/src/")?;
    let folder = folder.rsplit('/').next()?;
    // `hyper-1.9.0` of the registry.
    let crate_name = match folder.rsplit_once('-') {
        Some((name, version)) if version.starts_with(|c: char| c.is_ascii_digit()) => name,
        _ => folder,
    };
    Some((crate_name, inside))
}

/// How threads begin says nothing about the work.
fn is_prologue(name: &str) -> bool {
    [
        "__clone",
        "clone3",
        "start_thread",
        "std: ",
        "alloc: call_once",
        "core: call_once",
        "_start",
        "__libc_start",
    ]
    .iter()
    .any(|beginning| name.starts_with(beginning))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stacks_with_a_common_beginning_share_it() {
        let mut stacks = Stacks::default();
        stacks.add(["run", "read", "parse"], 3);
        stacks.add(["run", "write"], 1);
        assert_eq!((stacks.samples, stacks.calls["run"].samples, stacks.depth()), (4, 4, 3));
        assert_eq!(stacks.calls["run"].calls["read"].calls["parse"].samples, 3);
        assert_eq!(stacks.heaviest(1), [("parse".to_owned(), 75.0)]);
    }

    #[test]
    fn functions_are_named_by_crate_and_file_and_never_by_the_machine_that_built_them() {
        let registry = "/home/me/.cargo/registry/src/index.crates.io-1949/hyper-1.9.0/src/proto/h1/io.rs";
        assert_eq!(named("flush<T>", registry), "hyper: flush (proto/h1/io.rs)");
        assert_eq!(named("pick<[u8; 4]>", "tracker/src/swarm/family.rs"), "tracker: pick (swarm/family.rs)");
        assert_eq!(named("__GI___writev", "./io/writev.c"), "__GI___writev");
    }

    #[test]
    fn something_else_is_no_profile() {
        assert!(decode(b"<html>").is_err());
    }
}
