//! What an import says at its end: which line has which token, which lines were refused and why, and whether it adds up.

use std::collections::BTreeMap;
use std::io::Write;

use serde::Serialize;
use strongroom_domain::TenantId;

use super::journal::{Acknowledged, Head, each_batch};
use super::kind::Kind;
use crate::cli::CliError;
use crate::cli::card::fields::Fault;
use crate::cli::card::folder::Folder;
use crate::cli::card::source::SourceFacts;

/// Names of the files, beside the state.
pub(super) const REFUSED: &str = "refused.csv";
pub(super) const REPORT: &str = "report.json";

/// Counts of acknowledged batches.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub(super) struct Tally {
    pub(super) imported: u64,
    /// Lines refused before anything was sent, and by the vault.
    pub(super) refused_here: u64,
    pub(super) refused_by_vault: u64,
    /// Batches the vault had answered before: under way when an earlier run was cut off.
    pub(super) batches_replayed: u64,
    pub(super) by_brand: BTreeMap<String, u64>,
    /// Of updates: by what was changed.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) by_change: BTreeMap<String, u64>,
    /// By reason and field.
    pub(super) by_reason: BTreeMap<String, u64>,
}

impl Tally {
    pub(super) fn add(&mut self, batch: &Acknowledged) {
        self.imported += batch.cards.len() as u64;
        self.refused_here += batch.faults.len() as u64;
        self.refused_by_vault += batch.refused.len() as u64;
        self.batches_replayed += u64::from(batch.replayed);
        for card in &batch.cards {
            *self.by_brand.entry(card.brand.clone().unwrap_or("unknown".into())).or_default() += 1;
            if let Some((what, _)) = &card.changed {
                *self.by_change.entry(what.to_string()).or_default() += 1;
            }
        }
        for fault in batch.faults.iter().chain(&batch.refused) {
            let field = fault.field.as_deref().unwrap_or("-");
            *self.by_reason.entry(format!("{} {field}", fault.reason)).or_default() += 1;
        }
    }

    /// Lines refused by whomever.
    pub(super) fn refused(&self) -> u64 {
        self.refused_here + self.refused_by_vault
    }
}

/// The reconciliation.
#[derive(Serialize)]
pub(super) struct Report<'a> {
    import: uuid::Uuid,
    kind: Kind,
    tenant: &'a TenantId,
    /// As it was read to its end.
    source: SourceFacts,
    /// Cards of the source, counted by reading it from its beginning, not from the state.
    lines: u64,
    #[serde(flatten)]
    tally: &'a Tally,
    checks: Checks,
}

/// What must hold.
#[derive(Clone, Copy, Serialize)]
struct Checks {
    /// The source is, at its end, what it was at the beginning of the first run.
    source_is_unchanged: bool,
    /// Every line is imported or refused.
    lines_add_up: bool,
    /// Brands and reasons are of as many.
    counts_add_up: bool,
    /// The mapping has as many rows as cards were imported, the other list as many as were refused.
    files_add_up: bool,
}

impl Checks {
    fn hold(self) -> bool {
        self.source_is_unchanged && self.lines_add_up && self.counts_add_up && self.files_add_up
    }
}

/// Writes mapping, refused lines and report. Gives whether everything adds up.
pub(super) fn write(
    folder: &Folder,
    head: &Head,
    source: SourceFacts,
    lines: u64,
    tally: &Tally,
    out: &mut dyn Write,
) -> Result<bool, CliError> {
    let mapped = match head.kind {
        Kind::Import => write_mapping(folder)?,
        Kind::Update => write_updated(folder)?,
    };
    let refused = write_refused(folder, head.kind)?;
    let checks = Checks {
        source_is_unchanged: head.source.as_ref().is_none_or(|held| *held == source),
        lines_add_up: lines == tally.imported + tally.refused(),
        counts_add_up: tally.by_brand.values().sum::<u64>() == tally.imported
            && tally.by_reason.values().sum::<u64>() == tally.refused(),
        files_add_up: mapped == tally.imported && refused == tally.refused(),
    };
    let report =
        Report { import: head.import, kind: head.kind, tenant: &head.tenant, source, lines, tally, checks };
    folder.replace(REPORT, |out| {
        serde_json::to_writer_pretty(&mut *out, &report)?;
        Ok(out.write_all(b"\n")?)
    })?;
    report.print(folder, out)?;
    Ok(checks.hold())
}

impl Report<'_> {
    fn print(&self, folder: &Folder, out: &mut dyn Write) -> std::io::Result<()> {
        let tally = self.tally;
        writeln!(out, "{}     {}", self.kind.verb(), self.import)?;
        let sha256 =
            self.source.sha256.as_deref().unwrap_or("not written down: too few lines to keep secret");
        writeln!(out, "source     {} bytes, sha256 {sha256}", self.source.bytes)?;
        writeln!(out, "lines      {}", self.lines)?;
        writeln!(out, "{:<10} {}", self.kind.done(), tally.imported)?;
        for (what, count) in &tally.by_change {
            writeln!(out, "           {count} {what}")?;
        }
        for (brand, count) in &tally.by_brand {
            writeln!(out, "           {count} {brand}")?;
        }
        writeln!(out, "refused    {}", tally.refused())?;
        for (reason, count) in &tally.by_reason {
            writeln!(out, "           {count} {reason}")?;
        }
        writeln!(out, "replayed   {} batches", tally.batches_replayed)?;
        writeln!(out, "list       {}", folder.file(self.kind.list()).display())?;
        if tally.refused() > 0 {
            writeln!(out, "see        {}", folder.file(REFUSED).display())?;
        }
        writeln!(
            out,
            "{}",
            if self.checks.hold() {
                "everything adds up"
            } else {
                "IT DOES NOT ADD UP: see checks in the report"
            }
        )
    }
}

/// `line,alias,token`, in order. Gives how many rows.
fn write_mapping(folder: &Folder) -> Result<u64, CliError> {
    let mut rows = 0;
    folder.replace(Kind::Import.list(), |out| {
        writeln!(out, "line,alias,token")?;
        each_batch(folder, |batch| {
            for card in &batch.cards {
                rows += 1;
                let alias = card.alias.as_deref().unwrap_or_default();
                writeln!(out, "{},{},{}", card.line, quoted(alias), card.token)?;
            }
            Ok(())
        })
    })?;
    Ok(rows)
}

/// `line,token,version,changed`, in order. Gives how many rows.
fn write_updated(folder: &Folder) -> Result<u64, CliError> {
    let mut rows = 0;
    folder.replace(Kind::Update.list(), |out| {
        writeln!(out, "line,token,version,changed")?;
        each_batch(folder, |batch| {
            for card in &batch.cards {
                let Some((what, version)) = &card.changed else { continue };
                rows += 1;
                writeln!(out, "{},{},{version},{what}", card.line, card.token)?;
            }
            Ok(())
        })
    })?;
    Ok(rows)
}

/// `line,by,field,reason,detail`, in order. Gives how many rows.
fn write_refused(folder: &Folder, kind: Kind) -> Result<u64, CliError> {
    let mut rows = 0;
    folder.replace(REFUSED, |out| {
        writeln!(out, "line,by,field,reason,detail")?;
        each_batch(folder, |batch| {
            let mut all: Vec<(&Fault, &str)> =
                batch.faults.iter().map(|fault| (fault, kind.verb())).collect();
            all.extend(batch.refused.iter().map(|fault| (fault, "vault")));
            all.sort_by_key(|(fault, _)| fault.line);
            for (fault, by) in all {
                rows += 1;
                let field = fault.field.as_deref().unwrap_or_default();
                writeln!(out, "{},{by},{field},{},{}", fault.line, fault.reason, quoted(&fault.detail))?;
            }
            Ok(())
        })
    })?;
    Ok(rows)
}

/// A CSV value (RFC 4180 §2).
fn quoted(text: &str) -> String {
    if text.contains(['"', ',', '\r', '\n']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}
