//! What would change, for people to read.

use serde_json::Value;

use super::desk::Settings;

/// What the vault keeps of a tenant and nobody sets.
const KEPT: [&str; 5] = ["id", "version", "created_at", "updated_at", "retention_due"];

/// The settings of a tenant as it was shown.
pub(super) fn settings(shown: &Value) -> Settings {
    let fields = shown.as_object().into_iter().flatten();
    fields
        .filter(|(name, _)| !KEPT.contains(&name.as_str()))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

/// One line for each setting that differs: `suspended: false → true`.
pub(super) fn between(present: Option<&Value>, wanted: &Value) -> Vec<String> {
    let (before, after) = (present.map(settings).unwrap_or_default(), settings(wanted));
    let names = after.keys().chain(before.keys().filter(|name| !after.contains_key(*name)));
    let line = |name: &String| {
        let (was, is) = (before.get(name), after.get(name));
        match (was, is) {
            _ if was == is => None,
            (None, Some(is)) => Some(format!("{name}: {is}")),
            (was, is) => Some(format!("{name}: {} → {}", shown(was), shown(is))),
        }
    };
    names.filter_map(line).collect()
}

fn shown(value: Option<&Value>) -> String {
    value.map_or_else(|| "nothing".into(), Value::to_string)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_settings_that_differ_are_shown() {
        let present =
            json!({ "id": "acme", "version": 1, "suspended": false, "groups": ["a"], "brands": null });
        let wanted =
            json!({ "id": "acme", "version": 2, "suspended": true, "groups": ["a"], "brands": null });
        assert_eq!(between(Some(&present), &wanted), ["suspended: false → true"]);
        assert_eq!(between(Some(&present), &present), Vec::<String>::new());
        assert_eq!(between(None, &json!({ "id": "acme", "groups": ["a"] })), ["groups: [\"a\"]"]);
        assert_eq!(between(Some(&json!({ "x": 1 })), &json!({})), ["x: 1 → nothing"]);
    }
}
