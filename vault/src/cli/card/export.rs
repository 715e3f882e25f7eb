//! `strongroom-vault card export request|approve|run|list`: one person asks, another approves, the file comes encrypted.
//!
//! Promises: no plaintext of a card is ever in this process. The hash that is approved is computed here, from what is shown
//! here. A file has its name only once the vault's own account of it, and its digest, fit what came.
//! Does not promise: that the recipient is the right one. Two people read it to each other.
//! Upholds: C-33.

mod desk;
mod run;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Subcommand;
use serde_json::{Value, json};
use strongroom_domain::{ExportId, TenantId, Timestamp};

use self::desk::{Desk, Export};
use crate::cli::CliError;
use crate::cli::client::ApiArgs;

/// Exit status: nothing was approved, because the hash was not said.
const EXIT_UNSAID: u8 = 3;

/// The steps.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Ask for an export. Prints what the second person approves.
    Request(Box<RequestArgs>),
    /// Approve what another person asked for. Without --sha256 it shows the request and approves nothing.
    Approve(Box<ApproveArgs>),
    /// Run an approved export: writes FILE and FILE.manifest.json.
    Run(Box<RunArgs>),
    /// List a tenant's exports, newest first.
    List {
        #[command(flatten)]
        api: ApiArgs,
        /// Whose exports.
        #[arg(long, value_parser = parse_tenant)]
        tenant: TenantId,
    },
}

/// What is asked for.
#[derive(Debug, clap::Args)]
pub(super) struct RequestArgs {
    #[command(flatten)]
    api: ApiArgs,
    /// Whose cards.
    #[arg(long, value_parser = parse_tenant)]
    tenant: TenantId,
    /// The age recipient (age1…) the file is encrypted to.
    #[arg(long, value_name = "AGE_RECIPIENT")]
    recipient: String,
    /// Why, in a sentence.
    #[arg(long)]
    purpose: String,
    /// Most cards: if there are more when it runs, none leaves.
    #[arg(long, value_name = "N")]
    cards_max: u64,
    /// Until when it may be approved and run (RFC 3339), at most a day ahead; a day if left out.
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    not_after: Option<Timestamp>,
    /// Only cards of this brand.
    #[arg(long)]
    brand: Option<String>,
    /// Only cards that came in after this (RFC 3339).
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    created_after: Option<Timestamp>,
    /// Only cards that came in before this (RFC 3339).
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    created_before: Option<Timestamp>,
}

/// What is approved.
#[derive(Debug, clap::Args)]
pub(super) struct ApproveArgs {
    #[command(flatten)]
    api: ApiArgs,
    /// Whose export.
    #[arg(long, value_parser = parse_tenant)]
    tenant: TenantId,
    /// Which.
    #[arg(long, value_name = "ID", value_parser = parse_export)]
    export: ExportId,
    /// The content hash, as the person who asked says it.
    #[arg(long, value_name = "HEX")]
    sha256: Option<String>,
}

/// What is run.
#[derive(Debug, clap::Args)]
pub(super) struct RunArgs {
    #[command(flatten)]
    api: ApiArgs,
    /// Whose export.
    #[arg(long, value_parser = parse_tenant)]
    tenant: TenantId,
    /// Which.
    #[arg(long, value_name = "ID", value_parser = parse_export)]
    export: ExportId,
    /// The file to write. It must not be there yet.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

fn parse_tenant(text: &str) -> Result<TenantId, String> {
    TenantId::parse(text).map_err(|error| error.to_string())
}

fn parse_export(text: &str) -> Result<ExportId, &'static str> {
    ExportId::parse(text).ok_or("it is not the id of an export")
}

fn parse_time(text: &str) -> Result<Timestamp, &'static str> {
    Timestamp::parse_rfc3339(text).ok_or("it is not an RFC 3339 date-time")
}

pub(super) async fn run(command: Command, out: &mut (dyn Write + Send)) -> Result<ExitCode, CliError> {
    match command {
        Command::Request(args) => request(*args, out).await,
        Command::Approve(args) => approve(*args, out).await,
        Command::Run(args) => run::run(*args, out).await,
        Command::List { api, tenant } => list(&mut Desk::new(&api, &tenant)?, out).await,
    }
}

async fn request(args: RequestArgs, out: &mut dyn Write) -> Result<ExitCode, CliError> {
    let filter = json!({
        "brand": args.brand, "created_after": args.created_after, "created_before": args.created_before,
    });
    let wanted = json!({
        "recipient": args.recipient, "purpose": args.purpose, "cards_max": args.cards_max,
        "not_after": args.not_after, "filter": filter,
    });
    let export = Desk::new(&args.api, &args.tenant)?.request(&without_nulls(wanted)).await?;
    let asked = &export.request;
    if asked.recipient != args.recipient || asked.cards_max != args.cards_max || asked.tenant != args.tenant {
        return Err("the vault wrote down another request than this: do not let it be approved".into());
    }
    show(&export, out)?;
    writeln!(
        out,
        "\nNothing leaves yet. Say the hash to a second person, by another way than this vault; they run:\n  \
         strongroom-vault card export approve --tenant {} --export {} --sha256 {}",
        args.tenant, export.id, export.sha256
    )?;
    Ok(ExitCode::SUCCESS)
}

async fn approve(args: ApproveArgs, out: &mut dyn Write) -> Result<ExitCode, CliError> {
    let mut desk = Desk::new(&args.api, &args.tenant)?;
    let export = desk.export(args.export).await?;
    show(&export, out)?;
    let Some(said) = args.sha256 else {
        writeln!(out, "\nNothing is approved. If this is what you were told, say its hash with --sha256.")?;
        return Ok(ExitCode::from(EXIT_UNSAID));
    };
    if said != export.sha256 {
        return Err("the hash is not this request's: what is shown above is not what you were told".into());
    }
    let export = desk.approve(args.export, &said).await?;
    let until = export.request.not_after;
    writeln!(
        out,
        "\napproved; until {until} either of you may run it:\n  strongroom-vault card export run --tenant {} --export {} --out FILE",
        args.tenant, export.id
    )?;
    Ok(ExitCode::SUCCESS)
}

async fn list(desk: &mut Desk, out: &mut dyn Write) -> Result<ExitCode, CliError> {
    for export in desk.exports().await? {
        let approved = export.approval.as_ref().map_or("-", |approval| approval.person.as_str());
        let (asked, runs) = (&export.request, export.runs.len());
        writeln!(
            out,
            "{} {:9} asked {} by {} approved by {approved} runs {runs}",
            export.id,
            export.state,
            asked.requested_at,
            asked.person.as_str()
        )?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Everything that is in the hash, and the hash.
fn show(export: &Export, out: &mut dyn Write) -> Result<(), CliError> {
    let asked = &export.request;
    let all = "all".to_owned();
    let time = |time: Option<Timestamp>| time.map_or("-".to_owned(), |time| time.to_string());
    let filter = &asked.filter;
    for (name, value) in [
        ("export", export.id.to_string()),
        ("tenant", asked.tenant.to_string()),
        ("environment", asked.environment.as_str().to_owned()),
        ("recipient", asked.recipient.clone()),
        ("cards max", asked.cards_max.to_string()),
        ("brand", filter.brand.clone().unwrap_or(all)),
        ("came in after", time(filter.created_after)),
        ("came in before", time(filter.created_before)),
        ("not after", asked.not_after.to_string()),
        ("purpose", asked.purpose.clone()),
        ("asked by", format!("{} ({})", asked.person.as_str(), asked.requested_by)),
        ("asked at", asked.requested_at.to_string()),
        ("sha256", export.sha256.clone()),
    ] {
        writeln!(out, "{name:16}{value}")?;
    }
    Ok(())
}

fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            let left = members.into_iter().filter(|(_, value)| !value.is_null());
            Value::Object(left.map(|(name, value)| (name, without_nulls(value))).collect())
        }
        other => other,
    }
}
