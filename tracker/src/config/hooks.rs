//! The hook lists: names to options, read once into rules and, apart from them, the recorder's options. A new
//! hook is one line in the macro call and one in `start` in `app/rulebook.rs`.
//!
//! Hooks change what is decided, in order: `peer limits` and the lists of torrents in the file see a hybrid's
//! v1 name only behind the hook that found it. Hybrids must be recognised whenever traffic is recorded. Where
//! `torrent approval` asks Redis anyway, that does it; else a rule of its own does, right behind `passkey
//! approval` and in that hook's Redis.

use contract::config::{Problems, checked_section, suggestion};
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::frontend::limits::EventFields;
use crate::hooks::hybrid_alias;
use crate::{hooks, traffic};

macro_rules! hooks {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, $options:ty;)*) => {
        /// What an announce must pass, made from its options.
        #[derive(Debug, Clone, PartialEq)]
        pub enum Rule {
            $($(#[$doc])* $variant($options),)*
            /// Which v1 torrent a hybrid's traffic is booked on. Never listed by itself.
            HybridAlias(hybrid_alias::Options),
        }

        /// Every hook's name.
        #[cfg(test)]
        pub(super) const NAMES: &[&str] = &[$($name,)* TRAFFIC_PUSH];

        /// Which keys a sample's options leave out, and whether the rest are at their defaults.
        #[cfg(test)]
        pub(super) fn against_defaults(name: &str, options: &Value) -> (Vec<String>, bool) {
            match name {
                $($name => left_out::<$options>(options),)*
                TRAFFIC_PUSH => left_out::<traffic::Options>(options),
                unknown => panic!("there is no hook `{unknown}`"),
            }
        }

        impl HookPlan {
            /// Reads one entry's options.
            fn add(&mut self, name: &str, options: &Value, path: &str) -> Result<(), Problems> {
                let shown = match name {
                    $($name => {
                        let read: $options = checked_section(options, path)?;
                        let shown = shown(&read)?;
                        self.rules.push(Rule::$variant(read));
                        shown
                    })*
                    TRAFFIC_PUSH => {
                        let read: traffic::Options = checked_section(options, path)?;
                        let shown = shown(&read)?;
                        self.recorder = Some(read);
                        shown
                    }
                    unknown => {
                        let near = suggestion(unknown, [$($name,)* TRAFFIC_PUSH]);
                        return Err(Problems(vec![format!("`{path}`: there is no hook `{unknown}`{near}")]));
                    }
                };
                self.shown.push(json!({ "name": name, "options": shown }));
                Ok(())
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
}

/// Listed among the hooks for the sake of other trackers' files, but no rule: the recorder runs when all
/// rules are passed, wherever it is listed.
const TRAFFIC_PUSH: &str = "traffic push";

/// The hook lists, read.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct HookPlan {
    /// The rules in order.
    pub(super) rules: Vec<Rule>,
    /// How accepted announces are recorded; `None` when they are not.
    pub(super) recorder: Option<traffic::Options>,
    /// Both as they are listed, for `--check`: defaults filled in, secrets hidden.
    pub(super) shown: Vec<Value>,
}

impl HookPlan {
    /// Whether the tracker knows its users.
    pub(super) fn knows_users(&self) -> bool {
        self.rules.iter().any(|rule| matches!(rule, Rule::PasskeyApproval(_) | Rule::Jwt(_)))
    }

    /// What is read of clients for the recorder's sake.
    pub(super) fn event_fields(&self) -> EventFields {
        let listed = self.recorder.as_ref().map(|options| EventFields::of(&options.event_fields));
        listed.unwrap_or(EventFields::NONE)
    }

    /// What `interval variation` may add to an interval, in seconds.
    pub(super) fn longest_delay(&self) -> u64 {
        let delay = |rule: &Rule| match rule {
            Rule::IntervalVariation(options) => Some(options.max_increase_delta.into()),
            _ => None,
        };
        self.rules.iter().find_map(delay).unwrap_or(0)
    }

    /// Whether some of it uses the tracker's own Redis.
    pub(super) fn needs_broker(&self) -> bool {
        let asks = |rule: &Rule| match rule {
            Rule::PasskeyApproval(options) => options.redis_broker.is_none(),
            Rule::TorrentApproval(options) => options.redis_set.is_some() && options.redis_broker.is_none(),
            _ => false,
        };
        let records = self.recorder.as_ref().is_some_and(|options| options.redis_broker.is_none());
        records || self.rules.iter().any(asks)
    }

    fn place(&self, wanted: fn(&Rule) -> bool) -> Option<usize> {
        self.rules.iter().position(wanted)
    }

    fn order_problems(&self) -> Problems {
        let mut problems = Problems::default();
        let names: Vec<_> = self.shown.iter().map(|entry| &entry["name"]).collect();
        if names.iter().enumerate().any(|(at, name)| names[..at].contains(name)) {
            problems.push("`hooks`: a hook may be listed once");
        }
        let approval = self.place(|rule| matches!(rule, Rule::PasskeyApproval(_)));
        if let Some(limits) = self.place(|rule| matches!(rule, Rule::PeerLimits(_)))
            && approval.is_none_or(|approval| approval > limits)
        {
            problems.push(
                "`hooks`: `peer limits` needs `passkey approval` before it, which says whose clients they are",
            );
        }
        if self.recorder.is_some() && approval.is_none() {
            problems.push("`hooks`: `traffic push` needs `passkey approval`, which says whose traffic it is");
        }
        problems
    }

    /// Adds the look-up of hybrids where nothing else does it.
    fn with_aliases(mut self) -> Self {
        let asks =
            |rule: &Rule| matches!(rule, Rule::TorrentApproval(options) if options.redis_set.is_some());
        if self.recorder.is_some() && !self.rules.iter().any(asks) {
            let options = self.rules.iter().enumerate().find_map(|(place, rule)| match rule {
                Rule::PasskeyApproval(options) => Some((place, hybrid_alias::Options::beside(options))),
                _ => None,
            });
            if let Some((place, options)) = options {
                self.rules.insert(place + 1, Rule::HybridAlias(options));
            }
        }
        self
    }
}

fn shown(options: &impl Serialize) -> Result<Value, Problems> {
    serde_json::to_value(options).map_err(|error| Problems(vec![error.to_string()]))
}

/// Reads both lists. The order within and between them is kept.
pub(super) fn read(prehooks: &[Value], posthooks: &[Value]) -> Result<HookPlan, Problems> {
    let (mut problems, mut plan) = (Problems::default(), HookPlan::default());
    for (list, entries) in [("prehooks", prehooks), ("posthooks", posthooks)] {
        for (number, entry) in entries.iter().enumerate() {
            let read = read_entry(&mut plan, entry, &format!("hooks.{list}[{number}]"));
            problems.0.extend(read.err().unwrap_or_default().0);
        }
    }
    problems.0.extend(plan.order_problems().0);
    problems.or(plan.with_aliases())
}

/// An entry is a name and its options, which older files call `config`.
fn read_entry(plan: &mut HookPlan, entry: &Value, path: &str) -> Result<(), Problems> {
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
    plan.add(name, options, &format!("{path}.options"))
}

#[cfg(test)]
fn left_out<O>(options: &Value) -> (Vec<String>, bool)
where
    O: Default + PartialEq + Serialize + serde::de::DeserializeOwned,
{
    use contract::config::{section, unmentioned};
    let read: O = section(options, "options").unwrap();
    (unmentioned::<O>(options).unwrap(), read == O::default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(names: &[&str]) -> Result<HookPlan, Problems> {
        read(&names.iter().map(|name| json!({ "name": name })).collect::<Vec<_>>(), &[])
    }

    #[test]
    fn peer_limits_are_of_users_whom_a_hook_before_them_knows() {
        let problems = |names: &[&str]| listed(names).err().unwrap_or_default().to_string();
        assert!(problems(&["peer limits"]).contains("needs `passkey approval` before it"));
        assert!(problems(&["peer limits", "passkey approval"]).contains("before it"));
        assert_eq!(problems(&["passkey approval", "peer limits"]), "");
    }

    #[test]
    fn the_recorder_is_no_rule_and_brings_the_look_up_of_hybrids() {
        let plan = listed(&["client approval", "traffic push", "passkey approval", "response"]).unwrap();
        assert_eq!(plan.recorder, Some(traffic::Options::default()));
        assert!(matches!(
            plan.rules[..],
            [Rule::ClientApproval(_), Rule::PasskeyApproval(_), Rule::HybridAlias(_), Rule::Response(_)]
        ));
        let names: Vec<_> = plan.shown.iter().map(|entry| entry["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["client approval", "traffic push", "passkey approval", "response"]);
        let asked = read(
            &[
                json!({ "name": "torrent approval", "options": { "redis_set": "pt:torrents" } }),
                json!({ "name": "passkey approval" }),
            ],
            &[json!({ "name": "traffic push" })],
        );
        assert_eq!(asked.unwrap().rules.len(), 2, "torrent approval finds hybrids itself");
    }

    #[test]
    fn a_hook_is_listed_once() {
        assert!(listed(&["jwt2"]).unwrap_err().to_string().contains("no hook `jwt2`; did you mean `jwt`"));
        let twice = listed(&["response", "response"]).unwrap_err().to_string();
        assert!(twice.contains("listed once"), "{twice}");
    }
}
