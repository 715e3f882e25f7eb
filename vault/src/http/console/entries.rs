//! Entries of the log as rows of a table, and each as it is written.

use maud::{Markup, html};

use super::cells::{card, moment, outcome, search};
use super::form::forward as forward_page;
use crate::audit::{ReceiptId, Seen};
use crate::store::find::LoggedLeaf;

/// How entries are shown.
#[derive(Clone, Copy)]
pub(super) struct Shown {
    /// Whether the reader may have the proof of each.
    pub(super) proofs: bool,
    /// Whether each is shown as it is written too.
    pub(super) written: bool,
}

/// A table of entries.
pub(super) fn table(caption: &str, entries: &[LoggedLeaf], shown: Shown) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label=(caption) {
            table {
                caption { (caption) }
                thead {
                    tr {
                        th scope="col" { "Time" }
                        th scope="col" { "Event" }
                        th scope="col" { "Outcome" }
                        th scope="col" { "Who" }
                        th scope="col" { "What" }
                        th scope="col" { "Where" }
                        th.n scope="col" { "Entry" }
                    }
                }
                tbody { @for entry in entries { (row(entry, shown)) } }
            }
        }
    }
}

fn row(entry: &LoggedLeaf, shown: Shown) -> Markup {
    let Some(seen) = entry.intact().and_then(Seen::of) else { return damaged(entry) };
    html! {
        tr {
            td.when { (moment(seen.ts)) }
            td { (search("verb", &seen.evt)) }
            td { (outcome_of(&seen)) @if let Some(reason) = &seen.rsn { " " span.reason { (reason) } } }
            td { (who(&seen)) }
            td { (what(&seen)) }
            td { (place(&seen)) }
            td.n { (index(entry, shown)) }
        }
        @if shown.written {
            tr.written { td colspan="7" { details { summary { "Entry " (entry.place) " as it is written" } pre { (written(entry)) } } } }
        }
    }
}

/// Changed or removed in the database: nothing of it can be shown, and that is what must be.
fn damaged(entry: &LoggedLeaf) -> Markup {
    html! {
        tr {
            td colspan="6" {
                strong.bad { "✕ Not the entry of the tree." } " It was changed or removed in the database: run " code { "audit verify" }
                " and call your incident team. It was named " code { (entry.id) } "."
            }
            td.n { (entry.place) }
        }
    }
}

fn who(seen: &Seen) -> Markup {
    html! {
        @match seen.actor.id.as_str() {
            "-" if seen.actor.r#type == "system" => "the vault itself",
            "-" => "nobody known",
            id => (search("workload", id)),
        }
        @if let Some(by) = &seen.asserted_by {
            @if *by != seen.actor.id { br; span.reason { "by the word of " (search("workload", by)) } }
        }
    }
}

fn what(seen: &Seen) -> Markup {
    let about = &seen.obj;
    html! {
        @match about.r#type.as_str() {
            "token" => (card(&about.r#ref)),
            "tenant" => "tenant",
            "service" if seen.finding.is_some() => "rules",
            kind => { (kind) " " code { (about.r#ref) } },
        }
        @if let Some(tenant) = &about.tenant { " of " (search("tenant", tenant)) }
        @if let Some(finding) = &seen.finding { (found(finding)) }
    }
}

/// How it ended; of a finding how bad it is.
fn outcome_of(seen: &Seen) -> Markup {
    let severity = seen.finding.as_ref().and_then(|finding| finding.get("severity")?.as_str());
    match severity {
        None => outcome(&seen.out),
        Some(severity @ ("high" | "critical")) => html! { span.tag.bad { "▲ " (severity) } },
        Some(severity) => html! { span.tag.warn { "▲ " (severity) } },
    }
}

/// What a rule found, in few words; all of it is in the entry.
fn found(finding: &serde_json::Value) -> Markup {
    let number = |name: &str| finding.get(name).and_then(serde_json::Value::as_u64);
    let principal = finding.get("principal").and_then(serde_json::Value::as_str);
    html! {
        @if let Some(principal) = principal { br; (search("workload", principal)) }
        @if let (Some(count), Some(limit)) = (number("count"), number("limit")) {
            @if limit > 0 { " " span.reason { (count) " times (bound " (limit) ")" } }
        }
        @if let (Some(first), Some(last)) = (number("first_index"), number("last_index")) {
            br; span.reason { "rests on entries " (first) " to " (last) }
        }
    }
}

fn place(seen: &Seen) -> Markup {
    let tenant = seen.obj.tenant.as_deref();
    let forward = match (&seen.dst, seen.obj.r#type.as_str()) {
        (Some(dst), _) => dst.forward_id.as_deref(),
        (None, "forward") => Some(seen.obj.r#ref.as_str()),
        (None, _) => None,
    };
    html! {
        @if let Some(dst) = &seen.dst {
            (search("route", &dst.route_id)) "/" (dst.account) br; span.reason { (dst.host) }
        }
        @if let (Some(id), Some(tenant)) = (forward, tenant) {
            @if seen.dst.is_some() { br; }
            a href=(forward_page(tenant, id)) { "explain this forward" }
        }
    }
}

fn index(entry: &LoggedLeaf, shown: Shown) -> Markup {
    let receipt = ReceiptId::of(entry.id);
    html! {
        @if shown.proofs {
            a href={ "/console/receipts/" (receipt) } { span.mono { (entry.place) } }
        } @else {
            span.mono { (entry.place) }
        }
    }
}

/// The entry with a line for each member.
pub(super) fn written(entry: &LoggedLeaf) -> String {
    let leaf = entry.leaf.as_ref().map(crate::audit::Leaf::as_bytes).unwrap_or_default();
    pretty(leaf)
}

/// Canonical JSON with line ends.
pub(super) fn pretty(leaf: &[u8]) -> String {
    let value: Option<serde_json::Value> = serde_json::from_slice(leaf).ok();
    value.and_then(|value| serde_json::to_string_pretty(&value).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::tree::Hash;
    use crate::audit::{EntryId, Leaf};
    use strongroom_domain::BootId;

    const HOSTILE: &str = "<img src=x onerror=alert(1)>'\"&";

    /// As no vault writes one: names are checked there. Whoever changes the database and the tree may.
    fn hostile() -> LoggedLeaf {
        let entry = serde_json::json!({
            "actor": { "id": HOSTILE, "type": "workload" }, "asserted_by": format!("{HOSTILE}2"), "evt": HOSTILE, "out": HOSTILE, "rsn": HOSTILE,
            "ts": "2026-11-29T20:15:01Z", "boot_id": HOSTILE, "instance_seq": 1,
            "obj": { "type": "forward", "ref": HOSTILE, "tenant": HOSTILE },
            "dst": { "route_id": HOSTILE, "account": HOSTILE, "host": HOSTILE, "forward_id": HOSTILE },
            "finding": { "principal": HOSTILE, "count": 3, "limit": 2, "first_index": 1, "last_index": 2 },
        });
        let leaf = Leaf::from_bytes(entry.to_string().into());
        let id = EntryId { boot: BootId::parse("0190a0b0-c0d0-7e0f-8f00-112233445566").unwrap(), seq: 1 };
        LoggedLeaf { place: 7, id, hash: Some(Hash::of_leaf(leaf.as_bytes())), leaf: Some(leaf) }
    }

    #[test]
    fn whatever_an_entry_says_is_text() {
        let page = table(HOSTILE, &[hostile()], Shown { proofs: true, written: true }).into_string();
        assert!(!page.contains("<img") && page.contains("&lt;img"), "{page}");
        for attribute in page.split("href=\"").skip(1).map(|rest| rest.split('"').next().unwrap()) {
            assert!(attribute.starts_with("/console/"), "{attribute}");
            assert!(!attribute.contains(['<', '>', '\'']), "{attribute}");
        }
    }

    #[test]
    fn an_entry_that_is_not_the_trees_is_told_and_not_shown() {
        let mut changed = hostile();
        changed.hash = Some(Hash::of_leaf(b"another"));
        let page = table("x", &[changed], Shown { proofs: true, written: true }).into_string();
        assert!(page.contains("Not the entry of the tree") && !page.contains("onerror"), "{page}");
    }
}
