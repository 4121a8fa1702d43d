//! Laying values over a tree of defaults, one leaf at a time, so that each leaf's problem is its own.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::{Problems, suggestion};

pub(super) fn defaults_of<T: Serialize + Default>() -> Result<Value, Problems> {
    serde_json::to_value(T::default()).map_err(|error| Problems(vec![format!("defaults: {error}")]))
}

/// Copies every leaf of `file` that is known and of the right type into `merged`; the rest become problems.
pub(super) fn overlay<T: DeserializeOwned>(
    defaults: &Value,
    merged: &mut Value,
    file: &Value,
    problems: &mut Problems,
) {
    let mut leaves = Vec::new();
    collect_leaves(defaults, file, &mut Vec::new(), &mut leaves, problems);
    for (path, value) in leaves {
        match fitting::<T>(defaults, &path, value) {
            Ok(value) => set(merged, &path, value),
            Err(error) => problems.push(format!("`{}`: {error}", path.join("."))),
        }
    }
}

/// Copies every variable `PREFIX_SECTION_KEY` into `merged`; one under the prefix that names no scalar is a
/// problem.
pub(super) fn overlay_env<T: DeserializeOwned>(
    defaults: &Value,
    merged: &mut Value,
    prefix: &str,
    env: impl IntoIterator<Item = (String, String)>,
    is_foreign: impl Fn(&str) -> bool,
    problems: &mut Problems,
) {
    let known = scalar_names(defaults, prefix);
    for (name, text) in env {
        if !name.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('_')) || is_foreign(&name) {
            continue;
        }
        let Some((_, path)) = known.iter().find(|(known, _)| *known == name) else {
            let near = suggestion(&name, known.iter().map(|(known, _)| known.as_str()));
            problems.push(format!("unknown environment variable `{name}`{near}"));
            continue;
        };
        match fitting::<T>(defaults, path, scalar(text)) {
            Ok(value) => set(merged, path, value),
            Err(error) => problems.push(format!("environment variable `{name}`: {error}")),
        }
    }
}

/// Walks `file` beside `defaults`. A mapping in the defaults is a section; anything else is a leaf.
fn collect_leaves(
    defaults: &Value,
    file: &Value,
    path: &mut Vec<String>,
    leaves: &mut Vec<(Vec<String>, Value)>,
    problems: &mut Problems,
) {
    let Some(section) = defaults.as_object() else {
        leaves.push((path.clone(), file.clone()));
        return;
    };
    match file {
        Value::Null => {}
        Value::Object(entries) => {
            for (key, value) in entries {
                path.push(key.clone());
                match section.get(key) {
                    Some(known) => collect_leaves(known, value, path, leaves, problems),
                    None => problems.push(format!(
                        "unknown key `{}`{}",
                        path.join("."),
                        suggestion(key, section.keys().map(String::as_str))
                    )),
                }
                path.pop();
            }
        }
        _ => problems.push(format!("`{}`: expected a section with keys of its own", path.join("."))),
    }
}

/// The value, or its text form, whichever `T` accepts in that place with everything else at its default.
fn fitting<T: DeserializeOwned>(defaults: &Value, path: &[String], value: Value) -> Result<Value, String> {
    let as_text = match &value {
        Value::Number(number) => Some(Value::String(number.to_string())),
        Value::Bool(flag) => Some(Value::String(flag.to_string())),
        _ => None,
    };
    let error = match try_leaf::<T>(defaults, path, &value) {
        Ok(()) => return Ok(value),
        Err(error) => error,
    };
    match as_text {
        Some(text) if try_leaf::<T>(defaults, path, &text).is_ok() => Ok(text),
        _ => Err(error),
    }
}

fn try_leaf<T: DeserializeOwned>(defaults: &Value, path: &[String], value: &Value) -> Result<(), String> {
    let mut tree = defaults.clone();
    set(&mut tree, path, value.clone());
    T::deserialize(&tree).map(drop).map_err(|error| error.to_string())
}

fn set(tree: &mut Value, path: &[String], value: Value) {
    let mut place = tree;
    for key in path {
        if !place.is_object() {
            *place = Value::Object(Map::new());
        }
        place = &mut place[key.as_str()];
    }
    *place = value;
}

/// `TRACKER_HTTP_ADDR` -> `["http", "addr"]` for every leaf that is no list.
fn scalar_names(defaults: &Value, prefix: &str) -> Vec<(String, Vec<String>)> {
    fn walk(node: &Value, path: &mut Vec<String>, prefix: &str, names: &mut Vec<(String, Vec<String>)>) {
        match node {
            Value::Object(entries) => {
                for (key, value) in entries {
                    path.push(key.clone());
                    walk(value, path, prefix, names);
                    path.pop();
                }
            }
            Value::Array(_) => {}
            _ => names.push((format!("{prefix}_{}", path.join("_").to_uppercase()), path.clone())),
        }
    }
    let mut names = Vec::new();
    walk(defaults, &mut Vec::new(), prefix, &mut names);
    names
}

/// Every leaf of `defaults` that is not in `file`.
pub(super) fn unmentioned(defaults: &Value, file: &Value) -> Vec<String> {
    let Some(section) = defaults.as_object() else { return Vec::new() };
    let mut missing = Vec::new();
    for (key, known) in section {
        match file.get(key) {
            None => missing.push(key.clone()),
            Some(value) => {
                missing.extend(unmentioned(known, value).into_iter().map(|below| format!("{key}.{below}")));
            }
        }
    }
    missing
}

/// An environment variable's text as the scalar it looks like; `fitting` turns it back into text where text
/// is wanted.
fn scalar(text: String) -> Value {
    match text.as_str() {
        "true" => Value::Bool(true),
        "false" => Value::Bool(false),
        _ => match serde_json::from_str::<Value>(&text) {
            // Only numbers whose text survives the round trip: `007` and `1e3` stay text.
            Ok(Value::Number(number)) if number.to_string() == text => Value::Number(number),
            _ => Value::String(text),
        },
    }
}
