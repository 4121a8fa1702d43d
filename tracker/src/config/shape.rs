//! Brings a Chihaya file into our own shape: its root key goes away, and its hook lists move under `hooks`.

use contract::config::Problems;
use serde_json::{Map, Value, json};

/// The tree with our keys at the root.
pub(super) fn native(tree: Value) -> Result<Value, Problems> {
    let Value::Object(mut root) = tree else { return Ok(tree) };
    if let Some(inner) = root.remove("chihaya") {
        let Value::Object(inner) = inner else {
            return Err(Problems(vec!["`chihaya`: expected a section with keys of its own".into()]));
        };
        // The guide's minimal file has its hooks beside other keys: what stands outside `chihaya:` counts
        // too.
        for (key, value) in inner {
            root.insert(key, value);
        }
    }
    for list in ["prehooks", "posthooks"] {
        if let Some(hooks) = root.remove(list) {
            let section = root.entry("hooks").or_insert_with(|| Value::Object(Map::new()));
            if let Some(section) = section.as_object_mut() {
                section.insert(list.to_owned(), hooks);
            }
        }
    }
    for list in ["prehooks", "posthooks"] {
        // An empty list is often written as nothing at all.
        if let Some(hooks) = root.get_mut("hooks").and_then(|hooks| hooks.get_mut(list))
            && hooks.is_null()
        {
            *hooks = json!([]);
        }
    }
    Ok(Value::Object(root))
}
