//! The tables of a bundle: each made once, shown on a page and filed as CSV.

mod filed;

pub(super) use filed::{access_changes, proofs, psp_register, review_standings, reviews, rotations};

use strongroom_domain::Timestamp;

use super::csv::Csv;
use super::facts::{Facts, Grant};
use super::tally::Span;

/// One table.
pub(super) struct Table {
    /// Its name: that of its file.
    pub(super) name: &'static str,
    /// What its columns are.
    pub(super) columns: &'static [&'static str],
    /// Its rows.
    pub(super) rows: Vec<Vec<String>>,
    /// Entries that are in no row, because there were too many rows.
    pub(super) not_itemised: u64,
}

impl Table {
    const fn new(name: &'static str, columns: &'static [&'static str], rows: Vec<Vec<String>>) -> Self {
        Self { name, columns, rows, not_itemised: 0 }
    }

    const fn without(mut self, not_itemised: u64) -> Self {
        self.not_itemised = not_itemised;
        self
    }

    /// As a file.
    pub(super) fn csv(&self) -> Vec<u8> {
        let mut csv = Csv::new(self.columns);
        self.rows.iter().for_each(|row| csv.line(row));
        csv.into_bytes()
    }
}

/// Every table.
pub(super) fn all(facts: &Facts) -> Vec<Table> {
    vec![
        events(facts),
        refusals(facts),
        tls(facts),
        certificates_seen(facts),
        forwards(facts),
        changes(facts),
        boots(facts),
        grants(facts),
        keys(facts),
        retention(facts),
        certificates(facts),
        files(facts),
        flows(facts),
        psps(facts),
        not_recorded(facts),
        reviews(facts),
        review_standings(facts),
        access_changes(facts),
        proofs(facts),
        rotations(facts),
        psp_register(facts),
    ]
}

fn time(time: Timestamp) -> String {
    time.to_string()
}

pub(super) fn maybe(time: Option<Timestamp>) -> String {
    time.map_or_else(|| "-".to_owned(), |time| time.to_string())
}

fn spanned(mut row: Vec<String>, span: &Span) -> Vec<String> {
    row.extend([span.count.to_string(), time(span.first), time(span.last)]);
    row
}

fn texts<const N: usize>(texts: [&str; N]) -> Vec<String> {
    texts.map(str::to_owned).to_vec()
}

pub(super) fn events(facts: &Facts) -> Table {
    let rows = facts.log.events.iter();
    let rows =
        rows.map(|(key, span)| spanned(texts([key.requirement, &key.event, &key.outcome]), span)).collect();
    let columns = &["requirement", "event", "outcome", "entries", "first", "last"];
    Table::new("events", columns, rows).without(facts.log.events.not_itemised())
}

pub(super) fn refusals(facts: &Facts) -> Table {
    let rows = facts.log.refusals.iter();
    let row = |key: &super::tally::Refusal| texts([&key.event, &key.outcome, &key.reason, &key.actor]);
    let rows = rows.map(|(key, span)| spanned(row(key), span)).collect();
    let columns = &["event", "outcome", "reason", "who", "entries", "first", "last"];
    Table::new("refusals", columns, rows).without(facts.log.refusals.not_itemised())
}

pub(super) fn tls(facts: &Facts) -> Table {
    let rows = facts.log.tls.of_period();
    let rows = rows.map(|(key, span)| spanned(texts([&key.version, &key.suite, &key.group]), span)).collect();
    let columns = &["version", "suite", "group", "entries", "first ever", "last"];
    Table::new("tls", columns, rows).without(facts.log.tls.not_itemised())
}

pub(super) fn certificates_seen(facts: &Facts) -> Table {
    let rows = facts.log.certificates.of_period();
    let rows = rows.map(|(key, span)| spanned(texts([&key.actor, &key.certificate_sha256]), span)).collect();
    let columns = &["identity", "certificate sha-256", "entries", "first ever", "last"];
    Table::new("certificates-seen", columns, rows).without(facts.log.certificates.not_itemised())
}

pub(super) fn forwards(facts: &Facts) -> Table {
    let row = |key: &super::tally::ForwardCount| {
        texts([&key.account, &key.host, &key.call, &key.caller, &key.proxy, &key.outcome])
    };
    let rows = facts.log.forwards.iter().map(|(key, span)| spanned(row(key), span)).collect();
    let columns =
        &["route/account", "host", "call", "on behalf of", "said by", "outcome", "cards", "first", "last"];
    Table::new("forwards", columns, rows).without(facts.log.forwards.not_itemised())
}

pub(super) fn changes(facts: &Facts) -> Table {
    let row = |row: &super::tally::ChangeRow| {
        let version = row.bundle_version.map(|version| version.to_string()).unwrap_or_default();
        let mut cells = vec![row.index.to_string(), time(row.at)];
        cells.extend(texts([&row.event, &row.outcome, &row.reason, &row.actor, &row.object, &row.tenant]));
        cells.extend([version, row.bundle_sha256.clone()]);
        cells
    };
    let columns = &[
        "entry",
        "when",
        "event",
        "outcome",
        "reason",
        "who",
        "what",
        "tenant",
        "bundle version",
        "bundle sha-256",
    ];
    let rows = facts.log.changes.iter().map(row).collect();
    Table::new("changes", columns, rows).without(facts.log.changes_not_itemised)
}

pub(super) fn boots(facts: &Facts) -> Table {
    let row = |(id, boot): (&str, &super::tally::Boot)| {
        let end = if boot.stopped { "stopped in order" } else { "runs, or ended without audit.stop" };
        vec![
            boot.instance.clone(),
            id.to_owned(),
            time(boot.first),
            time(boot.last),
            boot.entries.to_string(),
            if boot.started { "audit.start" } else { "without audit.start" }.to_owned(),
            end.to_owned(),
            boot.missing.to_string(),
        ]
    };
    let columns =
        &["instance", "start", "first entry", "last entry", "entries", "began", "end", "missing numbers"];
    Table::new("instances", columns, facts.log.boots.iter().map(row).collect())
}

pub(super) fn grants(facts: &Facts) -> Table {
    let columns = &[
        "who",
        "person",
        "roles",
        "action",
        "tenants",
        "on behalf of",
        "route/account",
        "host",
        "calls",
        "policies",
        "uses",
        "last use",
        "standing",
        "suspended since",
    ];
    Table::new("access", columns, facts.access.grants.iter().map(grant).collect())
}

pub(super) fn grant(grant: &Grant) -> Vec<String> {
    let row = &grant.row;
    let roles: Vec<&str> = row.roles.iter().map(String::as_str).collect();
    let calls: Vec<String> = row.calls.iter().map(ToString::to_string).collect();
    vec![
        row.workload.as_str().to_owned(),
        row.person.as_ref().map_or("", |person| person.as_str()).to_owned(),
        roles.join(" "),
        row.action.to_string(),
        row.tenants.join("; "),
        row.caller.as_ref().map_or("", |caller| caller.as_str()).to_owned(),
        row.account.clone().unwrap_or_default(),
        row.host.clone().unwrap_or_default(),
        calls.join("; "),
        row.policies.join(" "),
        grant.uses.to_string(),
        maybe(grant.last_use),
        grant.standing.words().to_owned(),
        maybe(grant.suspended_since),
    ]
}

pub(super) fn keys(facts: &Facts) -> Table {
    let row = |key: &crate::store::inventory::KeyFacts| {
        let mut row = vec![key.id.to_string()];
        row.extend(texts([&key.scope, &key.purpose, &key.state, &key.provider, &key.kms_key]));
        row.extend([key.records.to_string(), time(key.created_at), time(key.seals_until)]);
        row
    };
    let columns = &[
        "key",
        "whose",
        "purpose",
        "state",
        "provider",
        "wrapped by",
        "records (in steps)",
        "made",
        "seals until",
    ];
    Table::new("keys", columns, facts.keys.iter().map(row).collect())
}

pub(super) fn retention(facts: &Facts) -> Table {
    let row = |kept: &super::facts::Kept| {
        vec![
            kept.tenant.clone(),
            kept.days.map_or_else(|| "for ever".to_owned(), |days| days.to_string()),
            kept.reason.clone().unwrap_or_default(),
            maybe(kept.oldest),
            kept.past_due.to_string(),
        ]
    };
    let columns = &["tenant", "days", "reason", "oldest", "past due"];
    Table::new("retention", columns, facts.retention.iter().map(row).collect())
}

pub(super) fn certificates(facts: &Facts) -> Table {
    let row = |row: &super::material::CertificateRow| {
        let mut cells = texts([row.role, &row.file, &row.subject, &row.issuer, &row.serial, &row.sha256]);
        let key = if row.key_bits == 0 {
            String::new()
        } else {
            format!("{} ({} bits)", row.key_algorithm, row.key_bits)
        };
        cells.extend([key, row.signature_algorithm.clone(), time(row.not_before), maybe(row.not_after)]);
        cells
    };
    let columns = &[
        "what for",
        "file",
        "subject",
        "issuer",
        "serial",
        "sha-256",
        "key",
        "signed with",
        "from",
        "until",
    ];
    Table::new("certificates", columns, facts.measured.certificates.iter().map(row).collect())
}

pub(super) fn files(facts: &Facts) -> Table {
    let files = facts.configuration.bundle_files.iter();
    let rows = files.map(|(path, sha256)| texts([path, sha256])).collect();
    Table::new("policy-files", &["file", "sha-256"], rows)
}

pub(super) fn flows(facts: &Facts) -> Table {
    let row = |flow: &super::facts::Flow| {
        texts([&flow.from, &flow.to, &flow.endpoint, flow.data, &flow.protection])
    };
    let columns = &["from", "to", "endpoint", "of cards", "protection"];
    Table::new("flows", columns, facts.flows.iter().map(row).collect())
}

pub(super) fn psps(facts: &Facts) -> Table {
    let row = |psp: &super::facts::Psp| {
        vec![
            psp.route.clone(),
            psp.hosts.join(" "),
            psp.accounts.to_string(),
            psp.accounts_of_every_tenant.to_string(),
            psp.calls.to_string(),
            psp.attributes.join(" "),
            psp.trust.to_owned(),
            psp.route_sha256.clone(),
        ]
    };
    let columns = &[
        "route",
        "hosts",
        "accounts",
        "accounts of every tenant",
        "calls with card data",
        "takes",
        "trust",
        "route file sha-256",
    ];
    Table::new("psps", columns, facts.psps.iter().map(row).collect())
}

pub(super) fn not_recorded(facts: &Facts) -> Table {
    let rows = facts.not_recorded.iter().map(|row| texts([row.requirement, row.what, row.instead])).collect();
    Table::new("not-recorded", &["requirement", "what", "instead"], rows)
}
