//! A finding as a syslog message (RFC 5424), counted (RFC 5425 §4.3).
//!
//! Promises: made of the finding's entry alone; every part is a checked name, a number or a time, so nothing of a card fits in.

use crate::audit::Seen;
use crate::watch::ocsf;

/// "log audit" (RFC 5424 table 1).
const FACILITY: u8 = 13;

/// What messages say of whoever sends them.
#[derive(Clone, Debug)]
pub struct Sender {
    /// The instance's name.
    pub host: String,
    /// This start of it.
    pub process: String,
    /// Private enterprise number of the structured data.
    pub enterprise: u32,
}

impl Sender {
    /// The message of a finding's entry; none if it is not one. Without a place it is not in the signed log yet.
    #[must_use]
    pub fn message(&self, place: Option<u64>, seen: &Seen) -> Option<String> {
        let event = ocsf::line(place, seen)?;
        let rule = seen.rsn.as_deref()?;
        let severity = seen.finding.as_ref()?["severity"].as_str().unwrap_or("high").to_owned();
        let level = match severity.as_str() {
            "low" => 5,
            "medium" => 4,
            "critical" => 1,
            _ => 2,
        };
        let mut data = format!("[finding@{}", self.enterprise);
        parameter(&mut data, "id", &format!("{}/{}", seen.boot_id, seen.instance_seq));
        parameter(&mut data, "rule", rule);
        parameter(&mut data, "severity", &severity);
        if let Some(place) = place {
            parameter(&mut data, "index", &place.to_string());
        }
        if let Some(principal) = seen.finding.as_ref().and_then(|finding| finding["principal"].as_str()) {
            parameter(&mut data, "principal", principal);
        }
        data.push(']');
        let (priority, time, host, process) = (FACILITY * 8 + level, seen.ts, &self.host, &self.process);
        let head = format!("<{priority}>1 {time} {host} strongroom-vault {process} {rule} {data}");
        Some(format!("{head} {}", event.trim_end()))
    }
}

/// The message as it goes on the wire: its length, a space, and itself.
pub(super) fn counted(message: &str) -> Vec<u8> {
    let mut frame = message.len().to_string().into_bytes();
    frame.push(b' ');
    frame.extend_from_slice(message.as_bytes());
    frame
}

fn parameter(data: &mut String, name: &str, value: &str) {
    data.push(' ');
    data.push_str(name);
    data.push_str("=\"");
    for letter in value.chars() {
        if matches!(letter, '"' | '\\' | ']') {
            data.push('\\');
        }
        data.push(letter);
    }
    data.push('"');
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    const ENTRY: &str = r#"{"actor":{"id":"-","type":"system"},"boot_id":"0190a0b0-c0d0-7e0f-8f00-112233445566","evt":"anomaly.found","finding":{"count":1501,"first_index":7,"last_index":1912,"limit":1500,"principal":"spiffe://strongroom.test/orchestrator","seconds":60,"severity":"high"},"instance_seq":9,"obj":{"ref":"acme","tenant":"acme","type":"tenant"},"out":"success","rsn":"release-rate","ts":"2026-11-21T07:35:22.123456Z","v":1}"#;

    fn sender() -> Sender {
        Sender { host: "vault-1".into(), process: "boot".into(), enterprise: 32_473 }
    }

    #[test]
    fn a_finding_is_a_message_of_rfc_5424() {
        let seen: Seen = serde_json::from_str(ENTRY).unwrap();
        let message = sender().message(Some(2_000), &seen).unwrap();
        let (head, event) = message.split_once("] ").unwrap();
        assert_eq!(
            head,
            "<106>1 2026-11-21T07:35:22.123456Z vault-1 strongroom-vault boot release-rate [finding@32473 \
             id=\"0190a0b0-c0d0-7e0f-8f00-112233445566/9\" rule=\"release-rate\" severity=\"high\" index=\"2000\" \
             principal=\"spiffe://strongroom.test/orchestrator\""
        );
        let event: Value = serde_json::from_str(event).unwrap();
        assert_eq!((&event["class_uid"], &event["metadata"]["sequence"]), (&2004.into(), &2_000.into()));
        let none: Seen = serde_json::from_str(&ENTRY.replace("\"finding\"", "\"other\"")).unwrap();
        assert_eq!(sender().message(Some(1), &none), None);
    }

    #[test]
    fn a_message_is_counted_in_bytes() {
        assert_eq!(counted("<1>1 ä"), "7 <1>1 ä".as_bytes());
        let mut data = String::new();
        parameter(&mut data, "name", "a\"b\\c]d");
        assert_eq!(data, r#" name="a\"b\\c\]d""#);
    }
}
