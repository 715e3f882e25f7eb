//! `strongroom-vault events list|replay`: what destinations are told, as a client of the API.
//!
//! Promises: a replay ends: what it put in line again it does not put there twice.
//! Upholds: C-32.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use bytes::Bytes;
use clap::Subcommand;
use http::Method;
use serde_json::{Value, json};
use strongroom_domain::{TenantId, Timestamp};

use super::CliError;
use super::client::{Api, ApiArgs, Call, Door, Patience};
use crate::store::DestinationName;

/// How long to wait for a vault that is away or busy: a person waits too.
const PATIENCE: Patience = Patience(Duration::from_secs(30));

/// See which events destinations are told, and have them told again.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List events of a destination, one a line: pending ones, unless others are asked for.
    List {
        #[command(flatten)]
        api: ApiArgs,
        #[command(flatten)]
        which: Which,
        /// Those that were given up.
        #[arg(long, conflicts_with = "delivered")]
        dead: bool,
        /// Those that were delivered.
        #[arg(long)]
        delivered: bool,
    },
    /// Have events delivered again, under the same ids: those that were given up, unless delivered ones are asked for.
    Replay {
        #[command(flatten)]
        api: ApiArgs,
        #[command(flatten)]
        which: Which,
        /// Those that were delivered.
        #[arg(long)]
        delivered: bool,
        /// That happened at this time or later (RFC 3339).
        #[arg(long, value_parser = parse_time)]
        from: Option<Timestamp>,
        /// That happened before this time.
        #[arg(long, value_parser = parse_time)]
        until: Option<Timestamp>,
    },
}

#[derive(Debug, clap::Args)]
struct Which {
    /// The destination, as the vault's configuration names it.
    #[arg(long, value_parser = parse_destination)]
    destination: DestinationName,
    /// Of this tenant's cards.
    #[arg(long, value_parser = parse_tenant)]
    tenant: Option<TenantId>,
}

fn parse_destination(text: &str) -> Result<DestinationName, String> {
    DestinationName::parse(text).map_err(|error| error.to_string())
}

fn parse_tenant(text: &str) -> Result<TenantId, String> {
    TenantId::parse(text).map_err(|error| error.to_string())
}

fn parse_time(text: &str) -> Result<Timestamp, String> {
    Timestamp::parse_rfc3339(text).ok_or_else(|| "not an RFC 3339 date-time".into())
}

pub(super) async fn run(args: Args, out: &mut (dyn Write + Send)) -> Result<ExitCode, CliError> {
    match args.command {
        Command::List { api, which, dead, delivered } => {
            let state = match (dead, delivered) {
                (true, _) => "dead",
                (_, true) => "delivered",
                _ => "pending",
            };
            list(&mut Api::new(&api)?.door(), &which, state, out).await
        }
        Command::Replay { api, which, delivered, from, until } => {
            let state = if delivered { "delivered" } else { "dead" };
            let wanted = json!({
                "destination": which.destination.as_str(), "state": state,
                "tenant": which.tenant, "from": from, "until": until,
            });
            replay(&mut Api::new(&api)?.door(), wanted, out).await
        }
    }
}

async fn list(
    door: &mut Door,
    which: &Which,
    state: &str,
    out: &mut (dyn Write + Send),
) -> Result<ExitCode, CliError> {
    let tenant = which.tenant.as_ref().map(|tenant| format!("&tenant={tenant}")).unwrap_or_default();
    let path = format!("/v1/events?destination={}&state={state}{tenant}", which.destination);
    let mut cursor = String::new();
    loop {
        let page = ask(door, Method::GET, format!("{path}{cursor}"), None).await?;
        for event in page["events"].as_array().into_iter().flatten() {
            let text = |name: &str| event[name].as_str().unwrap_or("-");
            let (sequence, attempts) = (&event["sequence"], &event["attempts"]);
            writeln!(
                out,
                "{} {} {} {} {sequence} {} {state} {} attempts={attempts} {}",
                text("id"),
                text("occurred_at"),
                text("tenant"),
                text("token_ref"),
                text("type"),
                text("due_at"),
                text("met"),
            )?;
        }
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return Ok(ExitCode::SUCCESS),
        }
    }
}

async fn replay(
    door: &mut Door,
    mut wanted: Value,
    out: &mut (dyn Write + Send),
) -> Result<ExitCode, CliError> {
    let mut replayed = 0;
    loop {
        let told = ask(door, Method::POST, "/v1/events/replay".into(), Some(&wanted)).await?;
        replayed += told["replayed"].as_u64().ok_or("the answer has no count")?;
        if told["more"] != true {
            writeln!(out, "{replayed} events are delivered again")?;
            return Ok(ExitCode::SUCCESS);
        }
        wanted["settled_before"] = told["settled_before"].clone();
    }
}

async fn ask(door: &mut Door, method: Method, path: String, body: Option<&Value>) -> Result<Value, CliError> {
    let body = body.map(|body| Bytes::from(body.to_string())).unwrap_or_default();
    let answer = PATIENCE.ask(door, &Call { method, path, headers: Vec::new(), body }).await?;
    if !answer.status.is_success() {
        return Err(answer.refusal().into());
    }
    serde_json::from_slice(&answer.body).map_err(|_| "the vault answered something that is not JSON".into())
}
