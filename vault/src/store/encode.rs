//! Values as both databases take them.

use strongroom_domain::{Metadata, Timestamp};

use super::rows::ForwardRow;

/// Microseconds, if there is a time.
pub(super) fn micros(time: Option<Timestamp>) -> Option<i64> {
    time.map(Timestamp::unix_micros)
}

/// A count as databases hold it. No count of this program comes near the end.
pub(super) fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// JSON, if there is any.
pub(super) fn metadata(metadata: &Metadata) -> Option<String> {
    (!metadata.is_empty()).then(|| serde_json::to_string(metadata).expect("a map of texts is JSON"))
}

/// A JSON array of token references.
pub(super) fn token_refs(forward: &ForwardRow) -> String {
    serde_json::to_string(&forward.cards).expect("a list of texts is JSON")
}

/// Names, with a space between.
pub(super) fn attributes(forward: &ForwardRow) -> String {
    let mut names = String::new();
    for attribute in forward.attributes.iter() {
        if !names.is_empty() {
            names.push(' ');
        }
        names.push_str(attribute.as_str());
    }
    names
}

/// Why a forward was opened, as JSON.
pub(super) fn grounds(forward: &ForwardRow) -> Option<String> {
    forward.grounds.as_ref().map(json)
}

/// Numbers, texts and times as JSON.
pub(super) fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).expect("numbers, texts and times are JSON")
}

/// JSON, unless it is null.
pub(super) fn outcome(outcome: &serde_json::Value) -> Option<String> {
    (!outcome.is_null()).then(|| outcome.to_string())
}
