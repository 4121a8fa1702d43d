//! Holds the sample file to the code: complete, at the defaults, and loadable. It is the manual, so it must
//! be true.

use contract::config::{parse_yaml, unmentioned};
use serde_json::Value;
use service::program::Plan as _;

use super::{Config, Plan, hooks, shape};

const SAMPLE: &str = include_str!("../../../deploy/tracker.yaml");

/// The sample with its commented-out hooks in place of the empty lists.
fn with_hooks() -> String {
    let (base, _) = SAMPLE.split_once("\nhooks:\n").unwrap();
    let hooks = SAMPLE.lines().filter_map(|line| line.strip_prefix("#: "));
    hooks.fold(format!("{base}\n"), |text, line| text + line + "\n")
}

#[test]
fn the_sample_is_complete_and_tells_the_defaults() {
    let sample = Config::load(Some(SAMPLE), []).unwrap();
    let shown = |config: &Config| serde_json::to_value(config).unwrap();
    assert_eq!(shown(&sample), shown(&Config::default()));
    let missing = unmentioned::<Config>(&shape::native(parse_yaml(SAMPLE).unwrap()).unwrap()).unwrap();
    assert!(missing.is_empty(), "deploy/tracker.yaml does not mention {missing:?}");
}

#[test]
fn its_hooks_load_are_all_there_and_tell_their_defaults() {
    let text = with_hooks();
    assert_eq!(
        Plan::load(Some(&text), []).unwrap().effective().unwrap()["hooks"].as_array().unwrap().len(),
        hooks::NAMES.len()
    );
    let tree = parse_yaml(&text).unwrap();
    let entries = ["prehooks", "posthooks"].map(|list| tree["hooks"][list].as_array().unwrap().clone());
    for entry in entries.iter().flatten() {
        let name = entry["name"].as_str().unwrap();
        let (missing, at_defaults) = hooks::against_defaults(name, &entry["options"]);
        assert!(missing.is_empty(), "`{name}` does not mention {missing:?}");
        // A token's issuer has no default: the sample names an example.
        assert!(at_defaults || name == "jwt", "`{name}` is not at its defaults");
    }
}

#[test]
fn the_files_of_other_operators_load_unchanged() {
    for (name, text) in [
        ("the guide's minimal file", include_str!("../../tests/fixtures/guide.yaml")),
        ("Chihaya's own example", include_str!("../../tests/fixtures/chihaya.yaml")),
    ] {
        let config = Config::load(Some(text), []).unwrap_or_else(|problems| panic!("{name}:\n{problems}"));
        assert_eq!(config.http.addr.to_string(), "0.0.0.0:6969", "{name}");
        assert_ne!(serde_json::to_value(&config.udp).unwrap()["addr"], Value::from(""), "{name}");
    }
}
