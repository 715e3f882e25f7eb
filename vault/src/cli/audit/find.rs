//! `strongroom-vault audit find`: entries of the log by what they name, as a client of the API.
//!
//! Promises: a token given here never leaves this machine; the vault is asked for its reference.
//! Upholds: C-58.

use std::io::{BufRead as _, Write};
use std::process::ExitCode;
use std::time::Duration;

use bytes::Bytes;
use clap::ValueEnum;
use http::Method;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use strongroom_domain::{TenantId, Timestamp, Token};

use crate::cli::CliError;
use crate::cli::client::{Api, ApiArgs, Call, Door, Patience};

/// How long to wait for a vault that is away or busy: a person waits too.
const PATIENCE: Patience = Patience(Duration::from_secs(30));

/// Which entries.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    api: ApiArgs,
    /// That name this card: its token, an alias, or its reference of 32 hex digits. `-` reads one line of standard input, so
    /// that a token is in no list of processes.
    #[arg(long)]
    token: Option<String>,
    /// By this workload, or on its word.
    #[arg(long, value_name = "ID")]
    workload: Option<String>,
    /// Of this route.
    #[arg(long)]
    route: Option<String>,
    /// Of this tenant.
    #[arg(long, value_parser = parse_tenant)]
    tenant: Option<TenantId>,
    /// Ask as somebody who may read the log of `--tenant` and no more.
    #[arg(long, requires = "tenant")]
    as_auditor: bool,
    /// Of this event, like pan.forward.
    #[arg(long)]
    verb: Option<String>,
    /// That ended so.
    #[arg(long)]
    outcome: Option<Outcome>,
    /// At this time or later (RFC 3339).
    #[arg(long, value_parser = parse_time)]
    from: Option<Timestamp>,
    /// Before this time.
    #[arg(long, value_parser = parse_time)]
    until: Option<Timestamp>,
    /// Oldest first; newest first unless said.
    #[arg(long)]
    oldest: bool,
    /// Most entries.
    #[arg(short = 'n', long, default_value_t = 100)]
    entries: u64,
    /// After where an earlier call ended.
    #[arg(long)]
    cursor: Option<String>,
    /// Print each entry as a line of JSON, with its index in the log and its leaf hash.
    #[arg(long)]
    json: bool,
}

/// How an entry ended.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Outcome {
    Success,
    Denied,
    Failure,
}

pub(super) fn parse_tenant(text: &str) -> Result<TenantId, String> {
    TenantId::parse(text).map_err(|error| error.to_string())
}

pub(super) fn parse_time(text: &str) -> Result<Timestamp, String> {
    Timestamp::parse_rfc3339(text).ok_or_else(|| "not an RFC 3339 date-time".into())
}

pub(super) async fn run(args: &Args, out: &mut (dyn Write + Send)) -> Result<ExitCode, CliError> {
    let mut door = Api::new(&args.api)?.door();
    let path = path_of(args)?;
    let mut cursor = args.cursor.clone();
    let (mut left, mut shown, mut damaged) = (args.entries, 0_u64, 0_u64);
    loop {
        let page = ask(&mut door, &path, left.min(100), cursor.as_deref()).await?;
        for found in page["entries"].as_array().into_iter().flatten() {
            damaged += u64::from(found["intact"] != true);
            shown += 1;
            if args.json { writeln!(out, "{found}")? } else { writeln!(out, "{}", line(found))? }
        }
        left = args.entries.saturating_sub(shown);
        cursor = page["next_cursor"].as_str().map(str::to_owned);
        if cursor.is_none() || left == 0 {
            if !args.json {
                writeln!(out, "{shown} entries; the index reaches {} entries", page["indexed"])?;
                if let Some(cursor) = &cursor {
                    writeln!(out, "there may be more: --cursor {cursor}")?;
                }
            }
            break;
        }
    }
    if damaged > 0 {
        writeln!(std::io::stderr(), "{damaged} entries are not those of the log's tree: run `audit verify`")?;
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

/// The path and everything asked for.
fn path_of(args: &Args) -> Result<String, CliError> {
    let tenant = args.tenant.as_ref();
    let mut path = match tenant.filter(|_| args.as_auditor) {
        Some(tenant) => format!("/v1/tenants/{tenant}/audit/entries?"),
        None => "/v1/audit/entries?".to_owned(),
    };
    let token = args.token.as_deref().map(reference).transpose()?;
    let outcome = args.outcome.and_then(|outcome| Some(outcome.to_possible_value()?.get_name().to_owned()));
    let time = |time: Option<Timestamp>| time.map(|time| time.to_string());
    for (name, value) in [
        ("token", token),
        ("workload", args.workload.clone()),
        ("route", args.route.clone()),
        ("tenant", tenant.filter(|_| !args.as_auditor).map(ToString::to_string)),
        ("verb", args.verb.clone()),
        ("outcome", outcome),
        ("from", time(args.from)),
        ("until", time(args.until)),
    ] {
        if let Some(value) = value {
            path += &format!("{name}={}&", utf8_percent_encode(&value, NON_ALPHANUMERIC));
        }
    }
    Ok(path + if args.oldest { "order=oldest" } else { "order=newest" })
}

/// What is asked for: the reference of a token, or the text as it is.
fn reference(given: &str) -> Result<String, CliError> {
    let mut line = String::new();
    if given == "-" {
        std::io::stdin().lock().read_line(&mut line)?;
    } else {
        line.push_str(given);
    }
    let name = line.trim();
    Ok(Token::parse(name).map_or_else(|_| name.to_owned(), |token| token.token_ref().to_string()))
}

/// Asks for a page.
pub(super) async fn ask(
    door: &mut Door,
    path: &str,
    limit: u64,
    cursor: Option<&str>,
) -> Result<Value, CliError> {
    let cursor = cursor.map(|cursor| format!("&cursor={cursor}")).unwrap_or_default();
    let path = format!("{path}&limit={limit}{cursor}");
    let call = Call { method: Method::GET, path, headers: Vec::new(), body: Bytes::new() };
    let answer = PATIENCE.ask(door, &call).await?;
    if !answer.status.is_success() {
        return Err(answer.refusal().into());
    }
    serde_json::from_slice(&answer.body).map_err(|_| "the vault answered something that is not JSON".into())
}

/// An entry for a person: when, where in the log, what, how, who, on what, where to, why.
fn line(found: &Value) -> String {
    if found["intact"] != true {
        return format!("- {} {} NOT THE ENTRY OF THE TREE", found["index"], text(&found["id"]));
    }
    let entry = &found["entry"];
    let mut line = format!(
        "{} {} {} {} {} {}:{}",
        text(&entry["ts"]),
        found["index"],
        text(&entry["evt"]),
        text(&entry["out"]),
        text(&entry["actor"]["id"]),
        text(&entry["obj"]["type"]),
        text(&entry["obj"]["ref"]),
    );
    for (name, value) in [
        ("tenant", &entry["obj"]["tenant"]),
        ("by", &entry["asserted_by"]),
        ("route", &entry["dst"]["route_id"]),
        ("host", &entry["dst"]["host"]),
        ("forward", &entry["dst"]["forward_id"]),
        ("because", &entry["rsn"]),
    ] {
        if let Some(value) = value.as_str() {
            line += &format!(" {name}={value}");
        }
    }
    line
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Zeros;

    impl strongroom_domain::Random for Zeros {
        fn fill(&self, out: &mut [u8]) -> Result<(), strongroom_domain::RandomUnavailable> {
            out.fill(0);
            Ok(())
        }
    }

    #[test]
    fn a_token_is_asked_for_by_its_reference_and_never_itself() {
        let token = Token::generate(strongroom_domain::Environment::Test, &Zeros).unwrap();
        assert_eq!(reference(token.as_str()).unwrap(), token.token_ref().to_string());
        for name in ["00112233445566778899aabbccddeeff", "an-alias"] {
            assert_eq!(reference(&format!(" {name}\n")).unwrap(), name);
        }
    }

    #[test]
    fn what_is_not_intact_shows_nothing_else() {
        let found = serde_json::json!({"index": 7, "id": "b/1", "intact": false, "entry": null});
        assert_eq!(line(&found), "- 7 b/1 NOT THE ENTRY OF THE TREE");
    }
}
