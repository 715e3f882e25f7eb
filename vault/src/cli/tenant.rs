//! `strongroom-vault tenant apply|list|show|suspend|resume|verify`: tenants, as a client of the API.
//!
//! Promises: what a file says is what the tenants are afterwards, however often it is applied; every difference is shown
//! before anything is changed; nothing ends cards that the person at the keyboard did not count.
//! Does not promise: to remove tenants a file does not name. Suspend them.
//! Upholds: C-26, C-27.

mod apply;
mod desk;
mod diff;
mod file;
mod verify;

use std::io::Write;
use std::process::ExitCode;

use clap::Subcommand;
use strongroom_domain::TenantId;

use self::desk::Desk;
use super::CliError;
use super::client::{Api, ApiArgs};

/// Exit status: nothing was changed, because cards would end that were not confirmed.
const EXIT_UNCONFIRMED: u8 = 3;

/// Onboard, change, suspend and check tenants.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make tenants what a file says. Shows the differences first; applied twice it changes nothing.
    Apply(Box<apply::Args>),
    /// List the tenants this identity may manage, one a line.
    List {
        #[command(flatten)]
        api: ApiArgs,
    },
    /// Show one tenant as JSON.
    Show(One),
    /// Stop a tenant: within a second its cards are not made, shown, changed or sent any more.
    Suspend(One),
    /// Let a suspended tenant go on.
    Resume(One),
    /// Check that no card is kept past its time. Exit status 1 if one is, or if a tenant keeps its cards for ever.
    Verify {
        #[command(flatten)]
        api: ApiArgs,
    },
}

#[derive(Debug, clap::Args)]
struct One {
    #[command(flatten)]
    api: ApiArgs,
    /// The tenant.
    #[arg(value_parser = parse_tenant)]
    tenant: TenantId,
}

pub(super) async fn run(args: Args, out: &mut (dyn Write + Send)) -> Result<ExitCode, CliError> {
    match args.command {
        Command::Apply(args) => apply::run(*args, out).await,
        Command::List { api } => list(&mut desk(&api)?, out).await,
        Command::Show(One { api, tenant }) => {
            let (shown, _) = desk(&api)?.tenant(&tenant).await?.ok_or("there is no such tenant")?;
            writeln!(out, "{}", serde_json::to_string_pretty(&shown)?)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Suspend(One { api, tenant }) => rest(&mut desk(&api)?, &tenant, true, out).await,
        Command::Resume(One { api, tenant }) => rest(&mut desk(&api)?, &tenant, false, out).await,
        Command::Verify { api } => verify::run(&mut desk(&api)?, out).await,
    }
}

fn desk(args: &ApiArgs) -> Result<Desk, CliError> {
    Ok(Desk::new(Api::new(args)?.door()))
}

fn parse_tenant(text: &str) -> Result<TenantId, String> {
    TenantId::parse(text).map_err(|error| error.to_string())
}

async fn list(desk: &mut Desk, out: &mut (dyn Write + Send)) -> Result<ExitCode, CliError> {
    let mut after = None;
    loop {
        let page = desk.page("/v1/tenants", after.as_deref()).await?;
        for row in page["tenants"].as_array().into_iter().flatten() {
            let texts = |value: &serde_json::Value| -> Vec<String> {
                value
                    .as_array()
                    .into_iter()
                    .flatten()
                    .filter_map(|text| text.as_str().map(str::to_owned))
                    .collect()
            };
            let state = if row["suspended"] == true { "suspended" } else { "active" };
            let kept = row["retention"]["days"]
                .as_u64()
                .map_or("for ever".to_owned(), |days| format!("{days} days"));
            let name = row["id"].as_str().unwrap_or_default();
            writeln!(out, "{name:32} {state:10} {kept:10} {}", texts(&row["groups"]).join(","))?;
        }
        after = page["next"].as_str().map(str::to_owned);
        if after.is_none() {
            return Ok(ExitCode::SUCCESS);
        }
    }
}

/// Everything else of the tenant stays as it is, also what this program does not know of.
async fn rest(
    desk: &mut Desk,
    tenant: &TenantId,
    suspended: bool,
    out: &mut (dyn Write + Send),
) -> Result<ExitCode, CliError> {
    let (shown, etag) = desk.tenant(tenant).await?.ok_or("there is no such tenant")?;
    let mut wanted = diff::settings(&shown);
    wanted.insert("suspended".into(), suspended.into());
    desk.put(tenant, &wanted, etag).await??;
    writeln!(out, "{tenant} is {}", if suspended { "suspended" } else { "active" })?;
    Ok(ExitCode::SUCCESS)
}
