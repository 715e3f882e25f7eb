//! What stands in cells: times, names that lead to a search, outcomes that are told by word as by colour.

use maud::{Markup, html};
use strongroom_domain::Timestamp;

use super::form::link;

/// A time, to the second; the whole of it is in the markup.
pub(super) fn moment(at: Timestamp) -> Markup {
    let whole = at.to_string();
    html! { time datetime=(whole) { (whole.get(..10).unwrap_or_default()) " " (whole.get(11..19).unwrap_or_default()) } }
}

/// A name that leads to everything about it.
pub(super) fn search(name: &'static str, value: &str) -> Markup {
    html! { a href=(link("/console/search", [(name, value)])) { code { (value) } } }
}

/// A card, by the first digits of its reference: too few to be taken for a number.
pub(super) fn card(reference: &str) -> Markup {
    let short: String = reference.chars().take(8).collect();
    html! { a href=(link("/console/search", [("card", reference)])) { "card " code { (short) "…" } } }
}

/// How it ended.
pub(super) fn outcome(text: &str) -> Markup {
    match text {
        "success" => html! { span.tag.good { "success" } },
        "denied" => html! { span.tag.bad { "✕ denied" } },
        "failure" => html! { span.tag.warn { "! failure" } },
        other => html! { span.tag { (other) } },
    }
}

/// A number people read.
pub(super) fn number(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// How long ago, or until.
pub(super) fn duration(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// Rows of a name and what it is; what is not known is not there.
pub(super) fn facts(rows: &[(&str, Option<Markup>)]) -> Markup {
    html! {
        dl.facts {
            @for (name, value) in rows {
                @if let Some(value) = value { dt { (name) } dd { (value) } }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_times_are_written_for_people() {
        for (given, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (12_345_678, "12,345,678")] {
            assert_eq!(number(given), text);
        }
        for (given, text) in [(90, "90 s"), (600, "10 min"), (10_000, "2 h"), (864_000, "10 days")] {
            assert_eq!(duration(given), text);
        }
        let shown = moment(Timestamp::parse_rfc3339("2026-11-29T20:15:01.5Z").unwrap()).into_string();
        assert_eq!(shown, "<time datetime=\"2026-11-29T20:15:01.500000Z\">2026-11-29 20:15:01</time>");
    }

    #[test]
    fn hostile_names_are_text() {
        let hostile = "\"><script>alert(1)</script>";
        for shown in [search("workload", hostile), card(hostile), outcome(hostile)] {
            let shown = shown.into_string();
            assert!(!shown.contains("<script") && shown.contains("&lt;scrip"), "{shown}");
        }
    }
}
