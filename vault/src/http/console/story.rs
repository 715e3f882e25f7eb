//! A forward as steps: asked, decided, released, answered, recorded. Each says on whose word it is.

use maud::{Markup, html};
use serde_json::Value;

use super::cells::{card, facts, moment, search};
use crate::audit::Seen;
use crate::store::find::LoggedLeaf;
use crate::store::{ForwardRow, ForwardState};

/// Stages of the proxy, in their order, as an outcome names them.
const STAGES: [(&str, &str); 8] = [
    ("receive_us", "read the request"),
    ("plan_us", "checked it, found tokens"),
    ("connect_us", "connected to the PSP"),
    ("open_us", "opened the forward at the vault"),
    ("inject_us", "put card data into its places"),
    ("sign_us", "signed"),
    ("upstream_us", "the PSP answered"),
    ("scrub_us", "scrubbed the answer"),
];

/// The steps. The log's word comes first; the row's is beside it where it may be shown.
pub(super) fn tell(entries: &[LoggedLeaf], row: Option<&ForwardRow>) -> Markup {
    let read =
        |entry: &LoggedLeaf| entry.intact().and_then(|leaf| Some((Seen::of(leaf)?, json(leaf.as_bytes()))));
    let seen: Vec<(Seen, Value)> = entries.iter().filter_map(read).collect();
    let released = seen.iter().find(|(seen, _)| seen.evt == "pan.forward");
    let ended = seen.iter().find(|(seen, _)| seen.evt == "forward.outcome");
    let differs = row.zip(released).map(|(row, (seen, _))| differences(row, seen)).unwrap_or_default();
    html! {
        @if entries.iter().any(|entry| entry.intact().is_none()) {
            p.note.alarm { strong { "An entry of this moment was changed or removed in the database." } " Run " code { "audit verify" } " and call your incident team." }
        }
        @if !differs.is_empty() {
            p.note.alarm { strong { "The forward's row does not say what the log says" } ": " (differs.join(", ")) ". The log is held against its signed tree; the row is not." }
        }
        section {
            h2 { "From the request to the answer" }
            ol.steps {
                (asked(released, row))
                (decided(released, row))
                (card_data(&seen, released))
                (answered(row))
                (recorded(ended, row))
                @if let Some(said) = row.and_then(|row| row.reconciled.as_ref()) {
                    li {
                        h3 { "Found out later" }
                        (facts(&[
                            ("The PSP says", Some(html! { (said.says.as_str()) })),
                            ("Status", said.status.map(|status| html! { (status) })),
                            ("PSP's name of it", said.psp_reference.as_ref().map(|name| html! { code { (name) } })),
                            ("By", Some(search("workload", said.by.as_str()))),
                            ("At", Some(moment(said.at))),
                        ]))
                    }
                }
            }
        }
    }
}

fn json(leaf: &[u8]) -> Value {
    serde_json::from_slice(leaf).unwrap_or_default()
}

fn text<'a>(entry: Option<&'a (Seen, Value)>, pointer: &str) -> Option<&'a str> {
    entry?.1.pointer(pointer)?.as_str()
}

fn asked(released: Option<&(Seen, Value)>, row: Option<&ForwardRow>) -> Markup {
    let grounds = row.and_then(|row| row.grounds.as_ref());
    let code = |text: Option<&str>| text.map(|text| html! { code { (text) } });
    html! {
        li {
            h3 { "Asked, by the proxy's word" }
            (facts(&[
                ("At", released.map(|(seen, _)| moment(seen.ts)).or_else(|| row.map(|row| moment(row.opened_at)))),
                ("For", released.map(|(seen, _)| search("workload", &seen.actor.id))),
                ("Its certificate", code(text(released, "/actor/cert_sha256"))),
                ("It came from", grounds.and_then(|grounds| grounds.origin).map(|origin| html! { code { (origin) } })),
                ("Proxy", released.and_then(|(seen, _)| seen.asserted_by.as_deref()).map(|proxy| search("workload", proxy))),
                ("The proxy came from", code(text(released, "/src/ip"))),
                ("Request", code(text(released, "/req/id"))),
                ("Path at the PSP", row.map(|row| html! { code { (row.method) " " (row.path) } })),
            ]))
        }
    }
}

fn decided(released: Option<&(Seen, Value)>, row: Option<&ForwardRow>) -> Markup {
    let grounds = row.and_then(|row| row.grounds.as_ref());
    let list = |pointer: &str| {
        released.and_then(|entry| entry.1.pointer(pointer)?.as_array().cloned()).unwrap_or_default()
    };
    let policies = list("/pol/id");
    let dst = released.and_then(|(seen, _)| seen.dst.as_ref());
    let rule = text(released, "/dst/method").zip(text(released, "/dst/path"));
    html! {
        li {
            h3 { "Permitted" }
            (facts(&[
                ("By policy", (!policies.is_empty()).then(|| html! { @for (place, id) in policies.iter().enumerate() { @if place > 0 { ", " } code { (id.as_str().unwrap_or_default()) } } })),
                ("Bundle", text(released, "/pol/sha256").map(|hash| html! { @if let Some(version) = released.and_then(|entry| entry.1.pointer("/pol/rev")?.as_u64()) { "version " (version) ", " } code { (hash) } })),
                ("Route and account", dst.map(|dst| html! { (search("route", &dst.route_id)) "/" (dst.account) })),
                ("Rule", rule.map(|(method, path)| html! { code { (method) " " (path) } })),
                ("Route file", grounds.map(|grounds| html! { code { (grounds.route_sha256) } })),
                ("Once only", grounds.map(|grounds| html! { @if grounds.at_most_once { "yes, under the merchant's payment reference, which is kept keyed" } @else { "no" } })),
            ]))
        }
    }
}

fn card_data(seen: &[(Seen, Value)], released: Option<&(Seen, Value)>) -> Markup {
    let cards = seen.iter().filter(|(seen, _)| seen.evt == "pan.forward").filter_map(|(seen, _)| {
        Some((seen.token()?, seen.dst.as_ref().map(|dst| dst.attributes.join(", ")).unwrap_or_default()))
    });
    let host = released.and_then(|(seen, _)| seen.dst.as_ref()).map(|dst| html! { code { (dst.host) } });
    html! {
        li.not[released.is_none()] {
            h3 { "Released to the proxy, for one call" }
            (facts(&[
                ("Cards", released.map(|_| html! { @for (place, (token, attributes)) in cards.enumerate() { @if place > 0 { br; } (card(token.as_str())) ": " (attributes) } })),
                ("To be sent to", host),
                ("Data key", text(released, "/key/dek_id").map(|id| html! { code { (id) } })),
            ]))
        }
    }
}

fn answered(row: Option<&ForwardRow>) -> Markup {
    let Some(row) = row else {
        return html! { li.not { h3 { "Sent and answered" } p.soft { "The log does not tell. Your certificate may not read forwards of this tenant (ReadForward)." } } };
    };
    let told = row.outcome.as_ref();
    let number = |name: &str| told.and_then(|told| told.get(name)?.as_u64());
    let count = |name: &str, none: &'static str| {
        number(name).map(|hits| html! { @if hits == 0 { (none) } @else { strong.warn { (hits) } } })
    };
    let psp_request = told.and_then(|told| told.get("psp_request_id")?.as_str());
    let timings = told.and_then(|told| told.get("timings"));
    html! {
        li.not[row.state == ForwardState::Open].ill[row.state == ForwardState::Unknown] {
            h3 { "Sent and answered, by the proxy's word" }
            (facts(&[
                ("State", Some(html! { strong { (row.state.as_str()) } })),
                ("Status of the PSP", number("status").map(|status| html! { (status) })),
                ("PSP's name of the request", psp_request.map(|id| html! { code { (id) } })),
                ("Card data found in the answer and replaced", count("scrubbed", "none")),
                ("Digits that looked like a card number and passed", count("pan_suspected", "none")),
                ("From first byte sent to last received", number("upstream_ms").map(|ms| html! { (ms) " ms" })),
            ]))
            @if let Some(timings) = timings { (stages(timings)) }
        }
    }
}

/// How long each stage took, as bars one after the other.
fn stages(timings: &Value) -> Markup {
    const WIDTH: f64 = 520.0;
    let took: Vec<(&str, u64)> =
        STAGES.iter().filter_map(|(name, what)| Some((*what, timings.get(name)?.as_u64()?))).collect();
    let all = took.iter().map(|(_, us)| us).sum::<u64>().max(1);
    let label = format!("Stages at the proxy, {} ms together", milliseconds(all));
    let starts = took.iter().scan(0, |at, (_, us)| {
        let start = *at;
        *at += us;
        Some(start)
    });
    html! {
        svg xmlns="http://www.w3.org/2000/svg" viewBox=(format!("0 0 860 {}", took.len() * 22 + 6)) role="img" aria-label=(label) {
            @for (line, ((what, us), start)) in took.iter().zip(starts).enumerate() {
                @let y = line * 22 + 4;
                @let x = 230.0 + WIDTH * start as f64 / all as f64;
                @let width = (WIDTH * *us as f64 / all as f64).max(1.5);
                text x="0" y=(y + 12) { (what) }
                rect.all x=(format!("{x:.1}")) y=(y) width=(format!("{width:.1}")) height="14" {}
                text x="760" y=(y + 12) { (milliseconds(*us)) " ms" }
            }
        }
    }
}

fn milliseconds(us: u64) -> String {
    format!("{:.1}", us as f64 / 1_000.0)
}

fn recorded(ended: Option<&(Seen, Value)>, row: Option<&ForwardRow>) -> Markup {
    let is_open = row.is_some_and(|row| row.state == ForwardState::Open);
    html! {
        li.not[ended.is_none()] {
            h3 { "Recorded" }
            @match ended {
                Some((seen, _)) => (facts(&[
                    ("At", Some(moment(seen.ts))),
                    ("As", seen.rsn.as_deref().map(|reason| html! { strong { (reason) } })),
                    ("By", Some(if seen.actor.id == "-" { html! { "the vault itself: the proxy never told" } } else { search("workload", &seen.actor.id) })),
                ])),
                None if is_open => p.soft { "Not yet: the proxy tells when the answer is on its way, or the vault closes it as unknown after a quarter of an hour." },
                None => p.soft { "No entry of it can be found." },
            }
        }
    }
}

/// What the row tells otherwise than the entry of its release.
fn differences(row: &ForwardRow, seen: &Seen) -> Vec<&'static str> {
    let dst = seen.dst.as_ref();
    let is = |value: Option<&str>, other: &str| value == Some(other);
    let cards = seen.token().is_some_and(|token| row.cards.contains(&token));
    [
        ("caller", is(Some(&seen.actor.id), row.caller.as_str())),
        ("proxy", is(seen.asserted_by.as_deref(), row.proxy.as_str())),
        ("route", is(dst.map(|dst| dst.route_id.as_str()), row.route.as_str())),
        ("account", is(dst.map(|dst| dst.account.as_str()), row.account.as_str())),
        ("host", is(dst.map(|dst| dst.host.as_str()), &row.host)),
        ("cards", cards),
    ]
    .into_iter()
    .filter_map(|(name, same)| (!same).then_some(name))
    .collect()
}
