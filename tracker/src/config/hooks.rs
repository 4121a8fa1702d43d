//! The hook lists: names to options. A new hook is one line in the macro call and one in `start` in
//! `rulebook.rs`.

use contract::config::{Problems, checked_section, suggestion};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::{hooks, traffic};

macro_rules! hooks {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, $options:ty;)*) => {
        /// One configured hook.
        #[derive(Debug, Clone, PartialEq, Serialize)]
        #[serde(tag = "name", content = "options")]
        pub enum HookConfig {
            $($(#[$doc])* #[serde(rename = $name)] $variant($options),)*
        }

        /// Every hook's name.
        pub(super) const NAMES: &[&str] = &[$($name),*];

        /// Which keys a sample's options leave out, and whether the rest are at their defaults.
        #[cfg(test)]
        pub(super) fn against_defaults(name: &str, options: &Value) -> (Vec<String>, bool) {
            use contract::config::{section, unmentioned};
            match name {
                $($name => {
                    let read: $options = section(options, name).unwrap();
                    (unmentioned::<$options>(options).unwrap(), read == <$options>::default())
                })*
                unknown => panic!("there is no hook `{unknown}`"),
            }
        }

        fn read_one(name: &str, options: &Value, path: &str) -> Result<HookConfig, Problems> {
            match name {
                $($name => checked_section::<$options>(options, path).map(HookConfig::$variant),)*
                unknown => {
                    let near = suggestion(unknown, NAMES.iter().copied());
                    Err(Problems(vec![format!("`{path}`: there is no hook `{unknown}`{near}")]))
                }
            }
        }
    };
}

hooks! {
    /// Which clients may announce.
    ClientApproval = "client approval", hooks::client_approval::Options;
    /// Which torrents may be announced.
    TorrentApproval = "torrent approval", hooks::torrent_approval::Options;
    /// Longer intervals for some, so that announces spread.
    IntervalVariation = "interval variation", hooks::interval_variation::Options;
    /// Who may announce.
    PasskeyApproval = "passkey approval", hooks::passkey_approval::Options;
    /// A signed token for one torrent.
    Jwt = "jwt", hooks::jwt::Options;
    /// How many clients a user may have, and how busy.
    PeerLimits = "peer limits", hooks::peer_limits::Options;
    /// Which peers a reply offers.
    Response = "response", hooks::response::Options;
    /// Every accepted announce into the stream.
    TrafficPush = "traffic push", traffic::Options;
}

impl HookConfig {
    /// Whether this hook makes the tracker one that knows its users.
    #[must_use]
    pub fn knows_users(&self) -> bool {
        matches!(self, Self::PasskeyApproval(_) | Self::Jwt(_))
    }
}

/// Reads both lists. The order within and between them is kept.
pub(super) fn read(prehooks: &[Value], posthooks: &[Value]) -> Result<Vec<HookConfig>, Problems> {
    let mut problems = Problems::default();
    let mut hooks = Vec::new();
    for (list, entries) in [("prehooks", prehooks), ("posthooks", posthooks)] {
        for (number, entry) in entries.iter().enumerate() {
            match read_entry(entry, &format!("hooks.{list}[{number}]")) {
                Ok(hook) => hooks.push(hook),
                Err(found) => problems.0.extend(found.0),
            }
        }
    }
    check_order(&hooks, &mut problems);
    problems.or(hooks)
}

/// An entry is a name and its options, which older files call `config`.
fn read_entry(entry: &Value, path: &str) -> Result<HookConfig, Problems> {
    const KEYS: [&str; 3] = ["name", "options", "config"];
    let problem = |text: String| Err(Problems(vec![text]));
    let Value::Object(fields) = entry else {
        return problem(format!("`{path}`: expected `name` and `options`"));
    };
    if let Some(key) = fields.keys().find(|key| !KEYS.contains(&key.as_str())) {
        return problem(format!("unknown key `{path}.{key}`{}", suggestion(key, KEYS)));
    }
    let Some(name) = fields.get("name").and_then(Value::as_str) else {
        return problem(format!("`{path}.name`: expected the name of a hook"));
    };
    let nothing = Value::Object(Map::new());
    let options = fields.get("options").or_else(|| fields.get("config")).unwrap_or(&nothing);
    read_one(name, options, &format!("{path}.options"))
}

fn check_order(hooks: &[HookConfig], problems: &mut Problems) {
    let names: Vec<_> = hooks.iter().map(std::mem::discriminant).collect();
    if names.iter().enumerate().any(|(at, name)| names[..at].contains(name)) {
        problems.push("`hooks`: a hook may be listed once");
    }
    let place = |wanted: fn(&HookConfig) -> bool| hooks.iter().position(wanted);
    let approval = place(|hook| matches!(hook, HookConfig::PasskeyApproval(_)));
    if let Some(limits) = place(|hook| matches!(hook, HookConfig::PeerLimits(_)))
        && approval.is_none_or(|approval| approval > limits)
    {
        problems.push(
            "`hooks`: `peer limits` needs `passkey approval` before it, which says whose clients they are",
        );
    }
    let has = |wanted: fn(&HookConfig) -> bool| hooks.iter().any(wanted);
    if has(|hook| matches!(hook, HookConfig::TrafficPush(_)))
        && !has(|hook| matches!(hook, HookConfig::PasskeyApproval(_)))
    {
        problems.push("`hooks`: `traffic push` needs `passkey approval`, which says whose traffic it is");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn peer_limits_are_of_users_whom_a_hook_before_them_knows() {
        let problems = |names: &[&str]| {
            let entries: Vec<_> = names.iter().map(|name| json!({ "name": name })).collect();
            read(&entries, &[]).map_or_else(|problems| problems.to_string(), |_| String::new())
        };
        assert!(problems(&["peer limits"]).contains("needs `passkey approval` before it"));
        assert!(problems(&["peer limits", "passkey approval"]).contains("before it"));
        assert_eq!(problems(&["passkey approval", "peer limits"]), "");
    }
}
