//! Arrows between rooms go down only. A crate imports those that the table allows; inside a crate no rooms (a
//! room is a top-level module) import each other in a circle, and where the order is told, none imports a
//! room above it or beside it. Reads the sources; builds and starts nothing.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// What each crate may depend on outside its tests.
const CRATES: &[(&str, &[&str])] = &[
    ("claims", &[]),
    ("contract", &[]),
    ("wire", &["contract"]),
    ("service", &["contract"]),
    ("books", &["contract", "claims", "service"]),
    ("tracker", &["contract", "claims", "wire", "service"]),
    ("consumer", &["contract", "claims", "service", "books"]),
    ("load", &["contract", "wire", "service"]),
    ("harness", &["contract", "claims"]),
    ("cli", &["contract", "claims", "load", "wire", "service", "books", "tracker", "consumer"]),
    ("fuzz", &["contract", "claims", "wire", "service", "books", "tracker", "consumer"]),
    ("simulation", &["contract", "claims", "wire", "service", "books", "tracker", "consumer"]),
    (
        "bench",
        &["contract", "claims", "load", "wire", "service", "books", "tracker", "consumer", "cli", "harness"],
    ),
];

/// From top to bottom. Rooms on one line do not know each other.
const TRACKER: &[&[&str]] = &[
    &["arguments"],
    &["app"],
    &["config"],
    &["frontend"],
    &["pipeline"],
    &["rulebook"],
    &["hooks", "traffic", "sharing", "forward"],
    &["swarm", "fetch"],
    &["announce"],
    &["arrival"],
];

/// Likewise.
const CONSUMER: &[&[&str]] = &[
    &["app"],
    &["config"],
    &["chores", "pump"],
    &["reader"],
    &["batch", "metrics", "health", "stop", "clock"],
];

/// Where a program or library of several rooms begins.
const ROOTS: &[&str] = &[
    "claims/src",
    "contract/src",
    "wire/src",
    "service/src",
    "books/src",
    "tracker/src",
    "consumer/src",
    "load/src",
    "cli/src",
    "harness/src",
    "harness/src/chaos",
    "simulation/src",
    "fuzz/src",
    "bench/src",
];

/// Each room, what it imports, and the file where it does.
type Arrows = BTreeMap<String, BTreeMap<String, PathBuf>>;

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

#[test]
fn crates_depend_on_those_below_them_only() {
    for (name, allowed) in CRATES.iter().copied() {
        let manifest = fs::read_to_string(workspace().join(name).join("Cargo.toml")).unwrap();
        let allowed: BTreeSet<_> = allowed.iter().copied().collect();
        let above: Vec<_> =
            ours(&manifest).into_iter().filter(|dependency| !allowed.contains(dependency)).collect();
        assert!(above.is_empty(), "{name} must not depend on {above:?}");
    }
}

#[test]
fn every_crate_is_in_the_table() {
    let manifest = fs::read_to_string(workspace().join("Cargo.toml")).unwrap();
    let members = manifest.split_once("members = [").unwrap().1.split_once(']').unwrap().0;
    for member in members.split(',').map(|name| name.trim().trim_matches('"')).filter(|name| !name.is_empty())
    {
        assert!(CRATES.iter().any(|(name, _)| *name == member), "{member} has no place among the crates");
        assert!(ROOTS.contains(&&*format!("{member}/src")), "nobody looks for circles in {member}");
    }
}

#[test]
fn no_rooms_import_each_other_in_a_circle() {
    let circles: Vec<_> = ROOTS
        .iter()
        .filter_map(|root| Some((root, circle(&arrows(&workspace().join(root)))?)))
        .map(|(root, circle)| format!("{root}: {}", circle.join(" imports ")))
        .collect();
    assert!(circles.is_empty(), "{}", circles.join("\n"));
}

#[test]
fn inside_the_tracker_no_room_knows_one_above_it() {
    let arrows = arrows(&workspace().join("tracker/src"));
    assert!(arrows["app"].contains_key("config"), "the imports were read: {arrows:?}");
    let wrong = upward(&arrows, TRACKER);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn inside_the_consumer_no_room_knows_one_above_it() {
    let arrows = arrows(&workspace().join("consumer/src"));
    assert!(arrows["app"].contains_key("pump"), "the imports were read: {arrows:?}");
    let wrong = upward(&arrows, CONSUMER);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The crates of this workspace among a manifest's dependencies.
fn ours(manifest: &str) -> Vec<&'static str> {
    let (_, section) = manifest.split_once("\n[dependencies]\n").unwrap_or_default();
    let section = section.split("\n[").next().unwrap_or_default();
    let named = |line: &str| line.split(['.', ' ', '=']).next().unwrap_or_default().to_owned();
    let listed: BTreeSet<_> = section.lines().map(named).collect();
    CRATES.iter().map(|(name, _)| *name).filter(|name| listed.contains(*name)).collect()
}

fn arrows(root: &Path) -> Arrows {
    let rooms: BTreeMap<String, Vec<PathBuf>> = rooms(root);
    let mut arrows = Arrows::new();
    for (room, files) in &rooms {
        let known = arrows.entry(room.clone()).or_default();
        for file in files {
            let text = fs::read_to_string(file).unwrap();
            for name in imports(&text, depth(root, file)) {
                if name != *room && rooms.contains_key(&name) {
                    known.entry(name).or_insert_with(|| file.clone());
                }
            }
        }
    }
    arrows
}

/// The files of each room. The root itself is no room: it may know all of them.
fn rooms(root: &Path) -> BTreeMap<String, Vec<PathBuf>> {
    let mut rooms: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    for entry in fs::read_dir(root).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let is_root =
            ["lib", "main", "bin"].contains(&&*name) || ROOTS.iter().any(|root| path.ends_with(root));
        if !is_root {
            sources(&path, rooms.entry(name).or_default());
        }
    }
    rooms
}

fn sources(path: &Path, found: &mut Vec<PathBuf>) {
    if path.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            sources(&entry.unwrap().path(), found);
        }
    } else if path.extension().is_some_and(|extension| extension == "rs") {
        found.push(path.to_owned());
    }
}

/// How many `super::` lead from a file to the root.
fn depth(root: &Path, file: &Path) -> usize {
    let below = file.strip_prefix(root).unwrap();
    below.components().count() - usize::from(below.ends_with("mod.rs"))
}

/// The names that a text takes from the root, by `crate::` or by as many `super::` as lead there.
fn imports(text: &str, depth: usize) -> BTreeSet<String> {
    let is_code = |line: &&str| !line.trim_start().starts_with("//");
    let code: String = text.lines().filter(is_code).flat_map(|line| [line, "\n"]).collect();
    let supers = "super::".repeat(depth);
    let mut names = BTreeSet::new();
    for start in ["crate::", &supers] {
        for (at, _) in code.match_indices(start) {
            let is_longer =
                code[..at].ends_with(|before: char| before.is_alphanumeric() || "_:$".contains(before));
            if !is_longer {
                names.extend(heads(&code[at + start.len()..]));
            }
        }
    }
    names
}

/// The first names of a path: one, or those of a group in braces.
fn heads(path: &str) -> Vec<String> {
    let word = |text: &str| -> String {
        text.trim_start().chars().take_while(|char| char.is_alphanumeric() || *char == '_').collect()
    };
    let Some(group) = path.strip_prefix('{') else { return vec![word(path)] };
    let (mut names, mut nested) = (vec![word(group)], 0);
    for (at, char) in group.char_indices() {
        match char {
            '{' => nested += 1,
            '}' if nested == 0 => break,
            '}' => nested -= 1,
            ',' if nested == 0 => names.push(word(&group[at + 1..])),
            _ => {}
        }
    }
    names
}

/// A way from a room back to itself, if there is one.
fn circle(arrows: &Arrows) -> Option<Vec<String>> {
    let mut done = BTreeSet::new();
    arrows.keys().find_map(|room| walk(room, arrows, &mut Vec::new(), &mut done))
}

fn walk(
    room: &str,
    arrows: &Arrows,
    way: &mut Vec<String>,
    done: &mut BTreeSet<String>,
) -> Option<Vec<String>> {
    if let Some(start) = way.iter().position(|before| before == room) {
        let back = way[start..].iter().cloned().chain([room.to_owned()]);
        return Some(back.collect());
    }
    if !done.contains(room) {
        way.push(room.to_owned());
        let next = arrows.get(room).into_iter().flat_map(BTreeMap::keys);
        for next in next {
            if let Some(circle) = walk(next, arrows, way, done) {
                return Some(circle);
            }
        }
        way.pop();
        done.insert(room.to_owned());
    }
    None
}

/// A sentence for each arrow that does not go down, and for each room without a place.
fn upward(arrows: &Arrows, order: &[&[&str]]) -> Vec<String> {
    let level = |room: &str| order.iter().position(|rooms| rooms.contains(&room));
    let mut wrong = Vec::new();
    for (room, known) in arrows {
        let Some(own) = level(room) else {
            wrong.push(format!("`{room}` has no place in the order of rooms"));
            continue;
        };
        for (other, file) in known {
            if level(other).is_some_and(|level| level <= own) {
                wrong.push(format!(
                    "`{room}` imports `{other}`, which is not below it, in {}",
                    file.display()
                ));
            }
        }
    }
    wrong
}

fn made_up(list: &[(&str, &[&str])]) -> Arrows {
    let known =
        |names: &[&str]| names.iter().map(|name| ((*name).to_owned(), PathBuf::from("x.rs"))).collect();
    list.iter().map(|(room, names)| ((*room).to_owned(), known(names))).collect()
}

#[test]
fn a_made_up_circle_is_found_and_named() {
    let straight: &[(&str, &[&str])] = &[("a", &["b", "c"]), ("b", &["c"]), ("c", &[])];
    assert_eq!(circle(&made_up(straight)), None);
    let circular: &[(&str, &[&str])] = &[("a", &["b"]), ("b", &["c"]), ("c", &["d"]), ("d", &["b"])];
    assert_eq!(circle(&made_up(circular)).unwrap().join(" "), "b c d b");
}

#[test]
fn an_arrow_that_goes_up_or_sideways_is_found_and_named() {
    let order: &[&[&str]] = &[&["top"], &["left", "right"], &["bottom"]];
    let down: &[(&str, &[&str])] = &[("top", &["left", "bottom"]), ("left", &["bottom"]), ("bottom", &[])];
    assert_eq!(upward(&made_up(down), order), Vec::<String>::new());
    let up = upward(&made_up(&[("bottom", &["left"])]), order);
    assert!(up[0].contains("`bottom` imports `left`"), "{up:?}");
    assert_eq!(upward(&made_up(&[("left", &["right"])]), order).len(), 1);
    assert!(upward(&made_up(&[("attic", &[])]), order)[0].contains("`attic` has no place"));
}

#[test]
fn imports_are_found_however_they_are_written() {
    let text = "use crate::{swarm::{Swarms, Visit}, announce::Reply,\n    fetch};\n// use crate::comment::X;\n\
                use super::traffic::Recorder;\nuse super::super::far::X;\nfn f() { crate::hooks::f(); }\n\
                use other_crate::config::Y;\nuse $crate::made;\n";
    let found = imports(text, 1).into_iter().collect::<Vec<_>>().join(" ");
    assert_eq!(found, "announce fetch hooks super swarm traffic");
    assert!(imports(text, 2).contains("far"));
}
