//! How every program reads its configuration: YAML and environment over working defaults, strictly.
//!
//! A configuration is a plain serde struct with a `Default`. The serialized default is the list of known
//! keys, so a key cannot be known in one place and forgotten in another. All problems are found in one pass
//! and reported together.

mod listen;
mod tree;
mod values;

use std::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

pub use listen::ListenAddr;
pub use values::{Period, Secret, ServiceUrl};

/// What a configuration file or an environment variable got wrong, every problem at once.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Problems(pub Vec<String>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

impl std::error::Error for Problems {}

impl Problems {
    /// Adds one problem.
    pub fn push(&mut self, problem: impl Into<String>) {
        self.0.push(problem.into());
    }

    /// Adds one problem unless something holds that must.
    pub fn require(&mut self, holds: bool, otherwise: &str) {
        if !holds {
            self.push(otherwise);
        }
    }

    /// The value of a part; `None` when the part has problems, which are added.
    pub fn gather<T>(&mut self, part: Result<T, Self>) -> Option<T> {
        part.map_err(|found| self.0.extend(found.0)).ok()
    }

    /// `value` when nothing is wrong, else the problems.
    ///
    /// # Errors
    /// The problems themselves, when there is any.
    pub fn or<T>(self, value: T) -> Result<T, Self> {
        if self.0.is_empty() { Ok(value) } else { Err(self) }
    }
}

/// What must hold in a section's options beyond their types. Asked when the configuration is loaded, so that
/// `--check` and a reload report it with everything else.
pub trait Check {
    /// A sentence for each wrong value. `path` is where the options stand, for example
    /// `hooks.prehooks[1].options`.
    fn problems(&self, _path: &str) -> Problems {
        Problems::default()
    }
}

/// Parses YAML into a tree. An empty document is an empty mapping.
///
/// # Errors
/// One problem with the line and column of the syntax error, or one that says that the document is no
/// mapping.
pub fn parse_yaml(text: &str) -> Result<Value, Problems> {
    match parse_document(text)? {
        Value::Null => Ok(Value::Object(serde_json::Map::new())),
        tree @ Value::Object(_) => Ok(tree),
        _ => Err(Problems(vec!["the file must be a mapping of keys to values".into()])),
    }
}

/// Parses YAML whose root is a list. An empty document is an empty list.
///
/// # Errors
/// One problem with the line and column of the syntax error, or one that says that the document is no list.
pub fn parse_yaml_list(text: &str) -> Result<Vec<Value>, Problems> {
    match parse_document(text)? {
        Value::Null => Ok(Vec::new()),
        Value::Array(entries) => Ok(entries),
        _ => Err(Problems(vec!["the file must be a list of entries".into()])),
    }
}

fn parse_document(text: &str) -> Result<Value, Problems> {
    let tree: Option<Value> =
        serde_saphyr::from_str(text).map_err(|error| Problems(vec![format!("not valid YAML: {error}")]))?;
    Ok(tree.unwrap_or(Value::Null))
}

/// Reads one section, and what must hold in it beyond its types.
///
/// # Errors
/// Every problem of either kind; types first, because what is no number cannot be too large.
pub fn checked_section<T: Check + Serialize + DeserializeOwned + Default>(
    options: &Value,
    path: &str,
) -> Result<T, Problems> {
    let read: T = section(options, path)?;
    read.problems(path).or(read)
}

/// Lays a parsed file and the environment over the defaults of `T`.
///
/// `env_prefix` is for example `TRACKER`: then `TRACKER_HTTP_ADDR` sets `http.addr`. A variable under the
/// prefix that names no scalar is a problem too, unless `is_foreign` claims it for somebody else.
///
/// # Errors
/// Every unknown key (with the nearest known one), every value of a wrong type, every unusable variable.
pub fn load<T: Serialize + DeserializeOwned + Default>(
    file: &Value,
    env_prefix: &str,
    env: impl IntoIterator<Item = (String, String)>,
    is_foreign: impl Fn(&str) -> bool,
) -> Result<T, Problems> {
    let mut problems = Problems::default();
    let defaults = tree::defaults_of::<T>()?;
    let mut merged = defaults.clone();
    tree::overlay::<T>(&defaults, &mut merged, file, &mut problems);
    tree::overlay_env::<T>(&defaults, &mut merged, env_prefix, env, is_foreign, &mut problems);
    finish(&merged, problems)
}

/// Reads one section, such as a hook's options, over the defaults of `T`. Problems name keys below `path`.
///
/// # Errors
/// As [`load`].
pub fn section<T: Serialize + DeserializeOwned + Default>(
    options: &Value,
    path: &str,
) -> Result<T, Problems> {
    let mut problems = Problems::default();
    let defaults = tree::defaults_of::<T>()?;
    let mut merged = defaults.clone();
    tree::overlay::<T>(&defaults, &mut merged, options, &mut problems);
    for problem in &mut problems.0 {
        *problem = format!("{path}.{problem}");
    }
    finish(&merged, problems)
}

/// The keys of `T` that a parsed file does not mention: empty for a sample file that is a complete manual.
///
/// # Errors
/// When the defaults of `T` cannot be written as a tree: a mistake in `T`.
pub fn unmentioned<T: Serialize + Default>(file: &Value) -> Result<Vec<String>, Problems> {
    Ok(tree::unmentioned(&tree::defaults_of::<T>()?, file))
}

fn finish<T: DeserializeOwned>(merged: &Value, mut problems: Problems) -> Result<T, Problems> {
    match T::deserialize(merged) {
        Ok(config) => problems.or(config),
        Err(error) => {
            // Every leaf was tried alone already, so this can only be a rule that spans several leaves.
            problems.push(error.to_string());
            Err(problems)
        }
    }
}

/// `: did you mean `x`?` when a known name is near `name`, else the list of what is known.
#[must_use]
pub fn suggestion<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let known: Vec<&str> = known.into_iter().collect();
    let nearest = known.iter().map(|k| (strsim::damerau_levenshtein(name, k), *k)).min();
    match nearest {
        Some((distance, near)) if distance <= 1 + near.len() / 3 => format!("; did you mean `{near}`?"),
        _ if known.is_empty() => String::new(),
        _ => format!("; known here: {}", known.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;
    use std::time::Duration;

    #[derive(Debug, Serialize, Deserialize, PartialEq)]
    #[serde(default)]
    struct Http {
        addr: Option<String>,
        max_numwant: u32,
        enable_keepalive: bool,
        private_key: Secret,
    }

    impl Default for Http {
        fn default() -> Self {
            Self { addr: None, max_numwant: 100, enable_keepalive: true, private_key: Secret::default() }
        }
    }

    #[derive(Debug, Serialize, Deserialize, PartialEq)]
    #[serde(default)]
    struct Sample {
        announce_interval: Period,
        routes: Vec<String>,
        http: Http,
    }

    impl Default for Sample {
        fn default() -> Self {
            Self {
                announce_interval: Period(Duration::from_secs(1800)),
                routes: vec!["/announce".into()],
                http: Http::default(),
            }
        }
    }

    fn read(yaml: &str, env: &[(&str, &str)]) -> Result<Sample, Problems> {
        let env = env.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        load(&parse_yaml(yaml)?, "TRACKER", env, |name| name == "TRACKER_CONFIG")
    }

    #[test]
    fn missing_sections_take_the_defaults() {
        assert_eq!(read("", &[]).unwrap(), Sample::default());
        assert_eq!(read("http:\n", &[]).unwrap(), Sample::default());
    }

    #[test]
    fn file_and_environment_are_laid_over_the_defaults_in_that_order() {
        let yaml = "announce_interval: 15m\nroutes: [/a, /b]\nhttp:\n  max_numwant: 7\n  addr: 1.2.3.4:5\n";
        let sample =
            read(yaml, &[("TRACKER_HTTP_MAX_NUMWANT", "9"), ("TRACKER_CONFIG", "x"), ("PATH", "/bin")])
                .unwrap();
        assert_eq!(sample.announce_interval.0, Duration::from_secs(900));
        assert_eq!(sample.routes, ["/a", "/b"]);
        assert_eq!((sample.http.max_numwant, sample.http.addr.as_deref()), (9, Some("1.2.3.4:5")));
    }

    #[test]
    fn every_problem_is_reported_at_once_and_names_its_key() {
        let yaml = "announce_intervall: 15m\nhttp:\n  max_numwant: many\n  adr: x\n";
        let problems = read(yaml, &[("TRACKER_HTTP_ENABLE_KEEPALIVE", "perhaps"), ("TRACKER_HTP_ADDR", "x")]);
        let text = problems.unwrap_err().to_string();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 5, "{text}");
        assert!(
            lines[0].contains("`announce_intervall`")
                && lines[0].contains("did you mean `announce_interval`")
        );
        assert!(text.contains("`http.max_numwant`"));
        assert!(text.contains("`http.adr`") && text.contains("did you mean `addr`"));
        assert!(text.contains("`TRACKER_HTTP_ENABLE_KEEPALIVE`"));
        assert!(text.contains("`TRACKER_HTP_ADDR`") && text.contains("did you mean `TRACKER_HTTP_ADDR`"));
    }

    #[test]
    fn a_number_is_a_fine_string_and_a_secret_is_never_shown() {
        let sample = read("http:\n  private_key: 12345\n", &[]).unwrap();
        assert_eq!(sample.http.private_key.reveal(), "12345");
        assert!(!format!("{sample:?}").contains("12345"));
        assert!(!serde_json::to_string(&sample).unwrap().contains("12345"));
    }

    #[test]
    fn a_duration_needs_a_unit() {
        let text = read("announce_interval: 1800\n", &[]).unwrap_err().to_string();
        assert!(text.contains("`announce_interval`") && text.contains("30m"), "{text}");
    }

    #[test]
    fn a_file_that_is_no_mapping_or_no_yaml_says_so() {
        assert!(read("- a\n", &[]).unwrap_err().to_string().contains("mapping"));
        assert!(read("http: [1, 2\n", &[]).unwrap_err().to_string().contains("YAML"));
        assert!(read("http: 5\n", &[]).unwrap_err().to_string().contains("`http`"));
        assert!(parse_yaml_list("a: 1\n").unwrap_err().to_string().contains("list"));
        assert_eq!(parse_yaml_list("# nothing\n").unwrap(), Vec::<Value>::new());
    }
}
