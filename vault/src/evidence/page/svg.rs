//! Pictures: drawn here, without a script.

use maud::{Markup, html};
use strongroom_domain::Timestamp;

use crate::evidence::facts::{Facts, Flow};
use crate::store::inventory::KeyFacts;

/// Keys a timeline shows; the table has all.
const BARS_MAX: usize = 60;
const LEFT: f64 = 330.0;
const WIDTH: f64 = 620.0;
const ROW: f64 = 18.0;
const NINETY_DAYS: f64 = 90.0 * 86_400.0;

/// The time each key seals for, on one line each, with the period marked.
pub(super) fn cryptoperiods(facts: &Facts) -> Markup {
    let mut keys: Vec<&KeyFacts> = facts.keys.iter().collect();
    keys.sort_by_key(|key| std::cmp::Reverse(key.created_at));
    keys.truncate(BARS_MAX);
    keys.reverse();
    let seconds = |time: Timestamp| time.unix_seconds() as f64;
    let (from, until) = (seconds(facts.about.period.from), seconds(facts.about.period.until));
    let oldest = keys.iter().map(|key| seconds(key.created_at)).fold(from, f64::min);
    // A fingerprint key seals for a hundred years: it is cut at the right edge.
    let end = until.max(seconds(facts.about.made_at)) + NINETY_DAYS;
    let at = |time: f64| LEFT + WIDTH * ((time.min(end) - oldest) / (end - oldest).max(1.0));
    let height = ROW * keys.len() as f64 + 40.0;
    html! {
        svg xmlns="http://www.w3.org/2000/svg" viewBox=(format!("0 0 {} {height:.0}", LEFT + WIDTH + 20.0))
            role="img" aria-label="Cryptoperiods of data keys" font-family="sans-serif" font-size="11" {
            rect x=(px(at(from))) y="0" width=(px(at(until) - at(from))) height=(px(height - 20.0)) fill="#eef3fa" {}
            @for (line, key) in keys.iter().enumerate() {
                @let y = ROW * line as f64 + 4.0;
                @let (start, stop) = (at(seconds(key.created_at)), at(seconds(key.seals_until)));
                text x="4" y=(px(y + 10.0)) { (key.scope) " " (key.purpose) " " (short(key)) " " (key.state) }
                rect x=(px(start)) y=(px(y)) width=(px((stop - start).max(2.0))) height="12"
                    fill=(if key.state == "active" { "#2f6f3a" } else { "#8a8a8a" }) {
                    title { (key.id) ": made " (key.created_at) ", seals until " (key.seals_until) }
                }
            }
            text x=(px(at(from))) y=(px(height - 6.0)) { "period of this bundle" }
        }
    }
}

fn short(key: &KeyFacts) -> String {
    key.id.to_string().chars().take(8).collect()
}

fn px(number: f64) -> String {
    format!("{number:.1}")
}

/// Who talks to whom, by the running configuration.
pub(super) fn flow_map(flows: &[Flow]) -> Markup {
    const STEP: f64 = 30.0;
    let height = STEP * flows.len() as f64 + 30.0;
    html! {
        svg xmlns="http://www.w3.org/2000/svg" viewBox=(format!("0 0 980 {height:.0}")) role="img"
            aria-label="Data flows" font-family="sans-serif" font-size="12" {
            defs {
                marker id="arrow" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7"
                    orient="auto" { path d="M0 0 10 5 0 10z" fill="#444" {} }
            }
            @for (line, flow) in flows.iter().enumerate() {
                @let y = STEP * line as f64 + 8.0;
                @let carries = flow.data.starts_with("card data");
                rect x="4" y=(px(y)) width="150" height="22" rx="3" fill="#f4f4f4" stroke="#888" {}
                text x="12" y=(px(y + 15.0)) { (flow.from) }
                line x1="156" y1=(px(y + 11.0)) x2="538" y2=(px(y + 11.0))
                    stroke=(if carries { "#a40000" } else { "#888" }) marker-end="url(#arrow)" {}
                text x="170" y=(px(y + 7.0)) font-size="10" { (flow.data) }
                rect x="540" y=(px(y)) width="430" height="22" rx="3" fill="#f4f4f4" stroke="#888" {}
                text x="548" y=(px(y + 15.0)) { (flow.to) " — " (flow.endpoint) }
            }
            text x="4" y=(px(height - 4.0)) font-size="10" { "Red: card data." }
        }
    }
}
