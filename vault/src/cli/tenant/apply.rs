//! `tenant apply FILE`: plan everything, show it, then change it.

use std::io::{IsTerminal as _, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use http::HeaderValue;
use serde_json::Value;
use strongroom_domain::TenantId;

use super::desk::{Desk, Settings};
use super::{EXIT_UNCONFIRMED, diff, file};
use crate::cli::CliError;
use crate::cli::client::{Api, ApiArgs};

/// Make tenants what a file says.
///
/// The file is TOML: [tenant.NAME] with the settings of `PUT /v1/tenants/{tenant}`, and [defaults] for all of them. What a
/// tenant does not say has its default; its retention stays as it is. Exit status: 0 all is as the file says, 1 some are not,
/// 3 nothing was changed because cards would end that were not confirmed.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    api: ApiArgs,
    /// The file of tenants.
    file: PathBuf,
    /// Show the differences and change nothing.
    #[arg(long)]
    dry_run: bool,
    /// How many cards shorter retentions end at once, as this command told. Needed if there are any.
    #[arg(long, value_name = "COUNT")]
    confirm_due: Option<u64>,
}

/// One tenant that is not what the file says.
struct Planned {
    tenant: TenantId,
    wanted: Settings,
    etag: Option<HeaderValue>,
    due: Option<Value>,
}

#[derive(Default)]
struct Plan {
    changes: Vec<Planned>,
    new: u64,
    same: u64,
    refused: u64,
    /// Cards that would end at once.
    due: u64,
}

pub(super) async fn run(args: Args, out: &mut (dyn Write + Send)) -> Result<ExitCode, CliError> {
    let tenants = file::read(&args.file)?;
    let mut desk = Desk::new(Api::new(&args.api)?.door());
    let plan = plan(&mut desk, tenants, out).await?;
    let changed = plan.changes.len() as u64 - plan.new;
    writeln!(
        out,
        "{} new, {changed} changed, {} as they are, {} refused",
        plan.new, plan.same, plan.refused
    )?;
    if plan.refused > 0 {
        writeln!(out, "nothing was changed: correct the file")?;
        return Ok(ExitCode::FAILURE);
    }
    if plan.due > 0 {
        writeln!(out, "shorter retentions end {} cards at once", plan.due)?;
    }
    if args.dry_run {
        return Ok(ExitCode::SUCCESS);
    }
    if plan.due > 0 && args.confirm_due != Some(plan.due) {
        writeln!(out, "nothing was changed: if this is meant, say --confirm-due {}", plan.due)?;
        return Ok(ExitCode::from(EXIT_UNCONFIRMED));
    }
    change(&mut desk, plan.changes, out).await
}

async fn plan(
    desk: &mut Desk,
    tenants: Vec<(TenantId, Settings)>,
    out: &mut (dyn Write + Send),
) -> Result<Plan, CliError> {
    let (mut plan, total) = (Plan::default(), tenants.len());
    for (at, (tenant, wanted)) in tenants.into_iter().enumerate() {
        show_progress("looked at", at + 1, total);
        let present = desk.tenant(&tenant).await?;
        let would = match desk.try_put(&tenant, &wanted).await? {
            Ok(would) => would,
            Err(refusal) => {
                writeln!(out, "! {tenant}: {refusal}")?;
                plan.refused += 1;
                continue;
            }
        };
        let lines = diff::between(present.as_ref().map(|(shown, _)| shown), &would);
        if lines.is_empty() {
            plan.same += 1;
            continue;
        }
        let due = would.get("retention_due").cloned();
        let count = due.as_ref().and_then(|due| due["count"].as_u64()).unwrap_or(0);
        writeln!(out, "{} {tenant}: {}", if present.is_some() { '~' } else { '+' }, lines.join(", "))?;
        if count > 0 {
            writeln!(out, "  the shorter retention ends {count} cards at once")?;
        }
        plan.due += count;
        plan.new += u64::from(present.is_none());
        let etag = present.and_then(|(_, etag)| etag);
        plan.changes.push(Planned { tenant, wanted, etag, due });
    }
    Ok(plan)
}

async fn change(
    desk: &mut Desk,
    changes: Vec<Planned>,
    out: &mut (dyn Write + Send),
) -> Result<ExitCode, CliError> {
    let (total, mut failed) = (changes.len(), 0);
    for (at, Planned { tenant, mut wanted, etag, due }) in changes.into_iter().enumerate() {
        show_progress("applied", at + 1, total);
        if let (Some(due), Some(Value::Object(retention))) = (due, wanted.get_mut("retention")) {
            retention.insert("confirm".into(), due);
        }
        if let Err(refusal) = desk.put(&tenant, &wanted, etag).await? {
            writeln!(out, "! {tenant}: {refusal}")?;
            failed += 1;
        }
    }
    writeln!(out, "{} applied, {failed} failed", total - failed)?;
    if failed > 0 {
        writeln!(out, "run the same command again: what is applied stays as it is")?;
    }
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// One line that moves, for a person who waits. Nobody to tell is no reason to stop.
fn show_progress(done: &str, at: usize, total: usize) {
    let mut line = std::io::stderr();
    if line.is_terminal() {
        let end = if at == total { "\r\x1b[2K" } else { "" };
        let _ = write!(line, "\r\x1b[2K{done} {at} of {total}{end}").and_then(|()| line.flush());
    }
}
