//! One page for each family of requirements.

use std::collections::BTreeMap;

use maud::{Markup, html};

use super::{count, filed, must_be_zero, not_recorded, show, svg};
use crate::evidence::facts::{Facts, Standing};
use crate::evidence::sample::Sample;
use crate::evidence::table::{self, Table};
use crate::review::ReviewKind;

/// One family.
pub(super) struct Family {
    /// Its number in PCI DSS.
    pub(super) number: &'static str,
    /// In our words.
    pub(super) title: &'static str,
    /// The page.
    pub(super) body: fn(&Facts, &[Sample]) -> Markup,
}

impl Family {
    pub(super) fn path(&self) -> String {
        format!("requirement-{}.html", self.number)
    }
}

pub(super) const ALL: &[Family] = &[
    Family { number: "1", title: "network connections and data flows", body: |facts, _| flows(facts) },
    Family { number: "3", title: "stored account data", body: |facts, _| stored(facts) },
    Family { number: "4", title: "transmission over networks", body: |facts, _| transmission(facts) },
    Family { number: "6", title: "software and changes to it", body: |facts, _| software(facts) },
    Family { number: "7", title: "access by need to know", body: |facts, _| access(facts) },
    Family { number: "8", title: "identities and their certificates", body: |facts, _| identities(facts) },
    Family { number: "10", title: "the audit log", body: log },
    Family { number: "12", title: "scope, third parties, incidents", body: |facts, _| scope(facts) },
];

pub(super) fn index(facts: &Facts, samples: &[Sample]) -> Markup {
    let log = &facts.log;
    let sampled: usize = samples.iter().map(|sample| sample.entries.len()).sum();
    html! {
        (count(log.entries, "entries of the log in the period"))
        (count(log.forwards.sum(|key| key.outcome == "success"), "cards released to PSPs"))
        (count(refused(facts), "refusals and failures"))
        (must_be_zero(facts.past_due(), "cards kept past their time"))
        (must_be_zero(log.boots.missing(), "entries missing from the numbers of instances"))
        (must_be_zero(log.unreadable, "entries that cannot be read"))
        (count(facts.grants_that_are(Standing::Unused).count() as u64, "grants unused for 90 days or longer"))
        (must_be_zero(facts.reviews_missing(), "reviews that are overdue or have no record that holds"))
        (how_to_check(facts, sampled))
        h2 { "Pages" }
        ul { @for family in ALL { li { a href=(family.path()) { "Requirement " (family.number) ": " (family.title) } } } }
        h2 { "For machines" }
        ul {
            li { a href="evidence.json" { "evidence.json" } ": everything on these pages" }
            li { a href="machine/sbom.cdx.json" { "machine/sbom.cdx.json" } ": software bill of materials (CycloneDX)" }
            li { a href="machine/cbom.cdx.json" { "machine/cbom.cdx.json" } ": algorithms, keys and certificates (CycloneDX)" }
            li { a href="machine/component-definition.oscal.json" { "machine/component-definition.oscal.json" } " and "
                 a href="machine/assessment-results.oscal.json" { "assessment-results.oscal.json" } " (OSCAL)" }
        }
        h2 { "Not recorded" }
        p { "What an assessor may ask for and this system does not record." }
        (show(&table::not_recorded(facts)))
    }
}

fn how_to_check(facts: &Facts, sampled: usize) -> Markup {
    html! {
        h2 { "How this can be checked" }
        ol {
            li {
                "Hold the files against the manifest: " code { "sha256sum -c manifest" } ", and the manifest and samples against \
                 the log's public key: " code { "strongroom-vault evidence verify FOLDER --vkey '" (facts.about.log_key) "'" } "."
            }
            li {
                "The key above is only as good as the way it came here: take it from " code { "audit key" }
                " when the log began, not from this page."
            }
            li {
                "Each of the " (sampled) " sampled entries in " code { "samples/" } " carries its proof of inclusion under " code { "log/checkpoint" }
                ". The checkpoint's root chose them, nobody else: how is in each file's scores, and written down in vault/docs/evidence.md."
            }
            li { "Count again: the whole log verifies and reads without this program (vault/verify)." }
        }
    }
}

fn refused(facts: &Facts) -> u64 {
    facts.log.refusals.sum(|_| true) + facts.log.refusals.not_itemised()
}

fn flows(facts: &Facts) -> Markup {
    html! {
        p { "Supports 1.2.4 (current data-flow diagram) and 1.3.2, 1.4.4 (outbound traffic only where needed): what this vault binds and \
             where it and the proxy connect to, drawn from the configuration and the route files in force." }
        (svg::flow_map(&facts.flows))
        (show(&table::flows(facts)))
        h2 { "Where card data went in the period" }
        p { "Counted from the log: one entry for each card of each forward." }
        (show(&table::forwards(facts)))
        (not_recorded(facts, "1"))
    }
}

fn stored(facts: &Facts) -> Markup {
    let codes = facts.log.codes;
    html! {
        h2 { "3.2.1 Kept no longer than said" }
        p { "Supports 3.2.1. Counted in the database when this bundle was made: cards whose time is over by more than an hour." }
        (must_be_zero(facts.past_due(), "cards kept past their time"))
        (show(&table::retention(facts)))
        h2 { "3.3.1 Verification codes" }
        p {
            "Supports 3.3.1: codes are held in memory for at most " (facts.configuration.code_seconds)
            " seconds and for one payment attempt; no table of the store has a column for one."
        }
        (count(codes.released, "cards released with a code"))
        (count(codes.denied, "forwards that asked for a code and were denied"))
        (count(codes.failed, "forwards that asked for a code and failed"))
        h2 { "3.5.1 Card numbers where none belongs" }
        (count(facts.log.events.sum(|key| key.event == "pan.unexpected"), "entries of a card number found where none belongs"))
        (count(facts.log.refusals.sum(|key| key.reason.contains("pan-in-request")), "calls refused because a card number stood where none belongs"))
        (keys(facts))
        (not_recorded(facts, "3"))
    }
}

fn keys(facts: &Facts) -> Markup {
    let made =
        |event: &'static str| facts.log.events.sum(move |key| key.event == event && key.outcome == "success");
    let mut states: BTreeMap<&str, u64> = BTreeMap::new();
    for key in &facts.keys {
        *states.entry(key.state.as_str()).or_default() += 1;
    }
    html! {
        h2 { "3.6.1.1, 3.7.4 Keys" }
        p {
            "Supports 3.6.1.1 (inventory) and 3.7.4 (cryptoperiods): a data key seals for 90 days at most, then only opens; keys are stored \
             wrapped by the KMS and live unwrapped in memory for at most " (facts.configuration.key_age_max_seconds) " seconds. A \
             fingerprint key has no such period: its end is a re-keying. The first key of the log itself is made before there is a log to say so."
        }
        p { @for (state, keys) in &states { span.count { (keys) } " " (state) " " } }
        (count(made("dek.create"), "data keys made in the period"))
        (count(made("dek.destroy"), "data keys destroyed in the period"))
        (svg::cryptoperiods(facts))
        (show(&table::keys(facts)))
        (filed::rotations(facts))
    }
}

fn transmission(facts: &Facts) -> Markup {
    html! {
        h2 { "4.2.1 Sessions at the vault's api" }
        p { "Supports 4.2.1 and 12.3.3: what was negotiated, counted from the entries of requests. The listener takes TLS 1.3 with a client \
             certificate and nothing else." }
        (show(&table::tls(facts)))
        (count(facts.log.events.sum(|key| key.event == "tls.reject"), "handshakes refused"))
        h2 { "4.2.1.1 Certificates and revocation lists of this vault" }
        p { "Supports 4.2.1.1: read from the configured files when this bundle was made." }
        (show(&table::certificates(facts)))
        @if !facts.measured.unreadable.is_empty() {
            p.bad { "Could not be read now: " (facts.measured.unreadable.join(", ")) }
        }
        (not_recorded(facts, "4"))
    }
}

fn software(facts: &Facts) -> Markup {
    let configuration = &facts.configuration;
    html! {
        h2 { "6.3.2 Components" }
        p { "Supports 6.3.2: " a href="machine/sbom.cdx.json" { "machine/sbom.cdx.json" } " lists what the lock file in this program names." }
        h2 { "Measurements" }
        p { "Supports 6.5 and 11.5.2: hold them against those of the release and of earlier bundles." }
        div.scroll { table {
            tr { th { "program (sha-256)" } td { (facts.measured.program_sha256.as_deref().unwrap_or("not shown by this system")) } }
            tr { th { "version" } td { (facts.about.version) } }
            tr { th { "configuration file (sha-256)" } td { (configuration.config_sha256) } }
            tr { th { "policy bundle" } td { "version " (configuration.bundle_version) ", sha-256 " (configuration.bundle_sha256) } }
        } }
        (show(&table::files(facts)))
        h2 { "6.5.1 Changes of what is in force" }
        p { "Supports 6.5.1 and 10.2.1.2. " code { "destination-changed" } " means that the new bundle has a host, a place or an account the old one had not." }
        (show(&table::changes(facts)))
        (not_recorded(facts, "6"))
    }
}

fn access(facts: &Facts) -> Markup {
    let unused: Vec<_> = facts.grants_that_are(Standing::Unused).map(table::grant).collect();
    let grants = table::grants(facts);
    let unused = Table { name: "access", columns: grants.columns, rows: unused, not_itemised: 0 };
    html! {
        p {
            "Supports 7.2.1, 7.2.4, 7.2.5 and 7.3.1: every grant of the policy bundle in force (version " (facts.access.bundle_version)
            ", sha-256 " code { (facts.access.bundle_sha256) } "), asked of the policy itself; what is not here is denied. Last use is from the whole log."
        }
        (count(facts.access.grants.len() as u64, "grants"))
        (count(facts.grants_that_are(Standing::InUse).count() as u64, "in use"))
        (count(facts.grants_that_are(Standing::LogTooYoung).count() as u64, "not used, while the log is younger than 90 days"))
        (count(facts.grants_that_are(Standing::NotRecorded).count() as u64, "whose use no entry tells"))
        (count(facts.suspended_grants(), "of workloads that are suspended now"))
        (filed::difference(facts))
        (filed::proofs(facts))
        (filed::reviews(facts, ReviewKind::Access))
        h2 { "Unused for 90 days or longer" }
        (show(&unused))
        h2 { "All grants" }
        (show(&grants))
        h2 { "Refused" }
        (show(&table::refusals(facts)))
        (not_recorded(facts, "7"))
    }
}

fn identities(facts: &Facts) -> Markup {
    let identities: std::collections::BTreeSet<&str> = facts
        .log
        .certificates
        .of_period()
        .map(|(key, _)| key.actor.as_str())
        .filter(|actor| *actor != "-")
        .collect();
    html! {
        p { "Supports 8.2.1 and 8.3.11: who showed which certificate, counted from the log. There are no passwords; an identity is what a certificate says." }
        (count(identities.len() as u64, "identities seen in the period"))
        (show(&table::certificates_seen(facts)))
        (not_recorded(facts, "8"))
    }
}

fn log(facts: &Facts, samples: &[Sample]) -> Markup {
    let mut by_requirement: BTreeMap<&str, u64> = BTreeMap::new();
    for (key, span) in facts.log.events.iter() {
        *by_requirement.entry(key.requirement).or_default() += span.count;
    }
    html! {
        (count(facts.log.entries, "entries in the period"))
        (count(facts.log.before, "entries before it"))
        (count(facts.log.after, "entries after it, up to the checkpoint"))
        (must_be_zero(facts.log.unreadable, "entries that cannot be read"))
        (must_be_zero(facts.log.boots.missing(), "entries missing from the numbers of instances"))
        p {
            "Oldest entry of the log: " @match facts.log.oldest { Some(time) => (time), None => "none" }
            ". Supports 10.5.1 where it is 12 months old or as old as the installation."
        }
        h2 { "10.2.1 By requirement" }
        ul { @for (requirement, entries) in &by_requirement { li { (requirement) ": " span.count { (entries) } } } }
        (show(&table::events(facts)))
        h2 { "10.2.1.4 Refused and failed" }
        (show(&table::refusals(facts)))
        h2 { "10.2.1.6 Starts and ends" }
        (show(&table::boots(facts)))
        (filed::reviews(facts, ReviewKind::Log))
        h2 { "Samples" }
        p { "Supports 10.3.2 and 10.3.4: each entry with the proof that it is in the signed log. Chosen by the checkpoint." }
        ul {
            @for sample in samples {
                li {
                    a href=(format!("samples/{}.json", sample.requirement)) { (sample.requirement) } ": "
                    (sample.entries.len()) " of " (sample.population)
                }
            }
        }
        (not_recorded(facts, "10"))
        (not_recorded(facts, "11"))
    }
}

fn scope(facts: &Facts) -> Markup {
    html! {
        h2 { "12.3.3 Cryptography in use" }
        p { a href="machine/cbom.cdx.json" { "machine/cbom.cdx.json" } " lists algorithms, protocols, keys and certificates." }
        h2 { "12.5.2 Scope" }
        p { "The flows on the page of " a href="requirement-1.html" { "requirement 1" } " are those of the configuration in force." }
        h2 { "12.8.1 PSPs that card data can go to" }
        (show(&table::psps(facts)))
        (filed::register(facts))
        (not_recorded(facts, "12"))
    }
}
