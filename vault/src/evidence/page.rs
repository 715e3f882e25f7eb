//! The pages for people: plain words, counts, tables, pictures; nothing runs in them.
//!
//! Promises: every text of the log, the store and the configuration is escaped by the template's types; a page loads nothing,
//! runs nothing and posts nothing, and its policy says so to the browser.
//! Upholds: C-62.

mod families;
mod filed;
mod svg;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use sha2::{Digest as _, Sha256};

use super::facts::Facts;
use super::sample::Sample;
use super::table::Table;

/// Rows of a table that a page shows; the file has all.
const ROWS_SHOWN: usize = 500;

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;margin:0 auto;max-width:75rem;padding:1rem 2rem;color:#1a1a1a;background:#fff}\
h1{font-size:1.6rem;margin:1rem 0 .2rem}h2{font-size:1.15rem;margin:2rem 0 .3rem}nav a{margin-right:1rem}\
table{border-collapse:collapse;font-size:.85rem;margin:.5rem 0}th,td{border:1px solid #c8c8c8;padding:.2rem .5rem;text-align:left;vertical-align:top;overflow-wrap:anywhere}\
td{min-width:5.5rem}th{background:#f0f0f0;white-space:nowrap}.scroll{overflow-x:auto}.count{font-size:1.3rem;font-weight:600}.bad{color:#a40000;font-weight:600}.good{color:#1d6b1d;font-weight:600}\
.note{background:#f6f6f0;border-left:4px solid #b8a100;padding:.4rem .8rem}svg{max-width:100%;height:auto}footer{margin-top:3rem;color:#555;font-size:.8rem}";

/// Each page by its path.
pub(super) fn pages(facts: &Facts, samples: &[Sample]) -> Vec<(String, String)> {
    let mut pages =
        vec![("index.html".to_owned(), shell(facts, "Evidence", &families::index(facts, samples)))];
    for family in families::ALL {
        let body = (family.body)(facts, samples);
        let title = format!("Requirement {}: {}", family.number, family.title);
        pages.push((family.path(), shell(facts, &title, &body)));
    }
    pages
}

fn shell(facts: &Facts, title: &str, body: &Markup) -> String {
    let hash = STANDARD.encode(Sha256::digest(STYLE));
    let policy =
        format!("default-src 'none'; style-src 'sha256-{hash}'; base-uri 'none'; form-action 'none'");
    let about = &facts.about;
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(policy);
                meta name="referrer" content="no-referrer";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) " — " (about.log) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                nav {
                    a href="index.html" { "Overview" }
                    @for family in families::ALL {
                        a href=(family.path()) { "Req. " (family.number) }
                    }
                }
                h1 { (title) }
                p {
                    "Log " code { (about.log) } ", environment " (about.environment.as_str()) ", from "
                    (about.period.from) " to before " (about.period.until) "."
                }
                (body)
                footer {
                    "Made at " (about.made_at) " by " (about.made_by) " with strongroom-vault " (about.version)
                    ", instance " (about.instance) ". Every count of the log is of the "
                    (about.checkpoint_size) " entries whose root " code { (about.checkpoint_root) }
                    " is signed in log/checkpoint. This software supports the requirements it names; whether an \
                     organisation meets them is for its assessor to say."
                }
            }
        }
    };
    page.into_string()
}

/// A number with what it is of.
fn count(number: u64, of: &str) -> Markup {
    html! { p { span.count { (number) } " " (of) } }
}

/// A number that must be 0.
fn must_be_zero(number: u64, of: &str) -> Markup {
    html! {
        p {
            span.count.good[number == 0].bad[number != 0] { (number) } " " (of)
            @if number == 0 { " — as it must be." } @else { " — must be 0." }
        }
    }
}

/// A table, and where all of it is.
fn show(table: &Table) -> Markup {
    html! {
        @if table.rows.is_empty() {
            p { "None." }
        } @else {
            div.scroll {
                table {
                    thead { tr { @for column in table.columns { th { (column) } } } }
                    tbody {
                        @for row in table.rows.iter().take(ROWS_SHOWN) {
                            tr { @for cell in row { td { (cell) } } }
                        }
                    }
                }
            }
        }
        p {
            @if table.rows.len() > ROWS_SHOWN {
                "The first " (ROWS_SHOWN) " of " (table.rows.len()) " rows. "
            }
            a href=(format!("csv/{}.csv", table.name)) { "As CSV" }
            @if table.not_itemised > 0 {
                span.bad { " " (table.not_itemised) " entries are in no row: there were too many rows." }
            }
        }
    }
}

/// What is not recorded for requirements that begin so.
fn not_recorded(facts: &Facts, family: &str) -> Markup {
    let prefix = format!("{family}.");
    let rows: Vec<_> = facts.not_recorded.iter().filter(|row| row.requirement.starts_with(&prefix)).collect();
    html! {
        @if !rows.is_empty() {
            h2 { "Not recorded" }
            ul {
                @for row in rows {
                    li { (row.requirement) ": " (row.what) ". Instead: " (row.instead) "." }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_in_a_table_is_text() {
        let hostile = "<script>alert(1)</script>\" onload='x'".to_owned();
        let table = Table { name: "x", columns: &["a"], rows: vec![vec![hostile]], not_itemised: 0 };
        let shown = show(&table).into_string();
        assert!(!shown.contains("<script"), "{shown}");
        assert!(shown.contains("&lt;script&gt;"), "{shown}");
    }
}
