//! What people and earlier bundles filed, on the pages of their requirements.

use maud::{Markup, html};

use super::{count, must_be_zero, show};
use crate::evidence::facts::{Facts, State};
use crate::evidence::table::{self, Table};
use crate::evidence::tally::Rotated;
use crate::review::ReviewKind;

/// Reviews of one kind: each with its signature; what is overdue is red.
pub(super) fn reviews(facts: &Facts, kind: ReviewKind) -> Markup {
    let title = match kind {
        ReviewKind::Access => "7.2.4, 7.2.5.1 Reviews of access",
        ReviewKind::Log => "10.4.1 Reviews of the log",
    };
    let all = table::reviews(facts);
    let rows = all.rows.into_iter().filter(|row| row.get(2).is_some_and(|of| of == kind.as_str())).collect();
    let table = Table { name: "reviews", columns: all.columns, rows, not_itemised: all.not_itemised };
    html! {
        h2 { (title) }
        @for reviews in facts.reviews.iter().filter(|reviews| reviews.kind == kind) {
            p {
                "Signed by people, each with the key of the certificate they connected with: verify record, signature and certificate in "
                code { "reviews/" } ". The next is due within " (reviews.days) " days."
            }
            (count(reviews.filed.len() as u64, &format!("reviews of {} in the period", kind.as_str())))
            (count(reviews.late, &format!("reviews of {} that came late", kind.as_str())))
            (must_be_zero(reviews.wrong(), &format!("reviews of {} without a record that holds", kind.as_str())))
            @match (reviews.due_at, reviews.overdue) {
                (Some(due), true) => p.bad { "OVERDUE since " (due) ". Last: " (table::maybe(reviews.last)) "." },
                (Some(due), false) => p.good { "In time at the end of the period: the next is due by " (due) "." },
                (None, _) => p { "The log has no entry." },
            }
        }
        (show(&table))
    }
}

/// What the access matrix has that it had not.
pub(super) fn difference(facts: &Facts) -> Markup {
    let difference = &facts.access.difference;
    let since = difference.since.as_ref().map(|since| {
        html! {
            "the bundle " code { (since.manifest_sha256) } ", made at " (since.made_at) " by " (since.made_by)
            " (entry " (since.index) ")"
        }
    });
    html! {
        h2 { "7.2.4 Changes of access since the bundle before" }
        p {
            "Compared with the first bundle that was made in the period, or else the newest before it: the log says which, nobody chooses. Its \
             matrix is the one its signed manifest names."
        }
        @match (difference.state, since) {
            (State::Compared, Some(since)) => {
                p { "Compared with " (since) "." }
                (count(difference.added.len() as u64, "grants that are new or not as they were"))
                (count(difference.removed.len() as u64, "grants that are gone or not as they were"))
                (count(difference.same, "grants that are as they were"))
                (show(&table::access_changes(facts)))
            }
            (State::NotKept, Some(since)) => p.bad { "The store has nothing of " (since) ": there is nothing to compare with." },
            (State::Altered, Some(since)) => p.bad { "What the store has of " (since) " is not what the log names." },
            _ => p { "The log names no bundle that was made before: there is nothing to compare with." },
        }
    }
}

/// What was proved of the policy bundle in force.
pub(super) fn proofs(facts: &Facts) -> Markup {
    html! {
        h2 { "7.2.1 What no request gets past" }
        @match &facts.proofs {
            None => p.note {
                "Not given. " code { "strongroom-policy prove --out FILE" } " proves what no request can get past, and "
                code { "evidence --proofs FILE" } " takes it in."
            },
            Some(proofs) => {
                p {
                    "Statements about every request the schema can describe, proved of the policy bundle in force (sha-256 "
                    code { (proofs.bundle.sha256) } ") by " (proofs.tool) " with " (proofs.solver) ". Policies, schema and statements are in "
                    a href="proofs/policy.json" { "proofs/policy.json" } ": whoever doubts proves them again."
                }
                (count(proofs.hold(), "statements that hold"))
                (must_be_zero(proofs.refuted(), "statements that do not"))
                (show(&table::proofs(facts)))
            }
        }
    }
}

/// Keys that took over from others.
pub(super) fn rotations(facts: &Facts) -> Markup {
    let rotations = &facts.log.rotations;
    html! {
        h2 { "3.7.4, 3.7.5 Rotations" }
        p { "Counted from the log: each key names the one it took over from. The log's own key is the one its starts name." }
        (count(rotations.count(Rotated::DataKey), "data keys that took over from another"))
        (count(rotations.count(Rotated::KmsKey), "data keys that took over and are wrapped by another KMS key"))
        (count(rotations.count(Rotated::LogKey), "keys of the log that took over from another"))
        (count(rotations.count(Rotated::First), "first keys of a tenant and purpose"))
        (show(&table::rotations(facts)))
    }
}

/// Who attests to the PSPs.
pub(super) fn register(facts: &Facts) -> Markup {
    html! {
        @if let Some(register) = &facts.psp_register {
            h2 { "12.8.4 Attestations of PSPs" }
            p {
                "From " code { (register.file) } ", kept by those who manage third parties"
                @if let Some(sha256) = &register.sha256 { " (sha-256 " code { (sha256) } ")" } ", held against the routes in force."
            }
            @if let Some(wrong) = &register.wrong {
                p.bad { "The register could not be read: " (wrong) "." }
            }
            (must_be_zero(register.missing(), "PSPs without an attestation that is in date"))
            (show(&table::psp_register(facts)))
        }
    }
}
