//! `strongroom-vault audit blast-radius`: which cards a workload reached, and where, as a client of the API.
//!
//! Promises: one card is in memory at a time, however many were reached; every release names its entry and its index, so that
//! a proof of each can be had from the log.
//! Does not promise: that a release was sent: that is the proxy's word, in the forward's story.
//! Upholds: C-58.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use serde_json::{Value, json};
use sha2::Digest as _;
use strongroom_domain::Timestamp;

use super::find::{ask, parse_time};
use crate::cli::CliError;
use crate::cli::client::{Api, ApiArgs};

/// Releases of one call.
const PAGE: u64 = 100;

/// Whose reach.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    api: ApiArgs,
    /// The caller, or the proxy on whose word callers stand.
    #[arg(long, value_name = "ID")]
    workload: String,
    /// With this certificate of the caller's alone: the log names certificates by SHA-256. PEM.
    #[arg(long = "caller-certificate", value_name = "FILE", conflicts_with = "certificate_sha256")]
    caller_certificate: Option<PathBuf>,
    /// The same by its SHA-256, in hex.
    #[arg(long, value_name = "HEX")]
    certificate_sha256: Option<String>,
    /// At this time or later (RFC 3339).
    #[arg(long, value_parser = parse_time)]
    from: Option<Timestamp>,
    /// Before this time.
    #[arg(long, value_parser = parse_time)]
    until: Option<Timestamp>,
    /// Print each card as a line of JSON.
    #[arg(long)]
    json: bool,
}

/// What was counted.
#[derive(Default)]
struct Totals {
    cards: u64,
    releases: u64,
    damaged: u64,
    hosts: BTreeMap<String, u64>,
}

/// Pages as they come.
#[derive(Default)]
struct Pages {
    /// The last card: it may go on on the next page.
    held: Option<Value>,
    /// Up to where the index reached at the first page. What came while others were asked for may belong to a card that was
    /// passed by then: only the first knows what all of them looked at.
    indexed: Option<Value>,
}

impl Pages {
    /// Takes a page; each card that is whole by it is given. Gives where the next begins.
    fn take(
        &mut self,
        mut page: Value,
        each: &mut dyn FnMut(&Value) -> Result<(), CliError>,
    ) -> Result<Option<String>, CliError> {
        self.indexed.get_or_insert_with(|| page["indexed"].take());
        for mut card in page["cards"].as_array_mut().map(std::mem::take).unwrap_or_default() {
            match &mut self.held {
                Some(last) if last["token_ref"] == card["token_ref"] && !card["token_ref"].is_null() => {
                    let more = card["releases"].as_array_mut().map(std::mem::take).unwrap_or_default();
                    if let Some(releases) = last["releases"].as_array_mut() {
                        releases.extend(more);
                    }
                }
                _ => {
                    if let Some(whole) = self.held.replace(card) {
                        each(&whole)?;
                    }
                }
            }
        }
        Ok(page["next_cursor"].as_str().map(str::to_owned))
    }
}

pub(super) async fn run(args: &Args, out: &mut (dyn Write + Send)) -> Result<ExitCode, CliError> {
    let mut door = Api::new(&args.api)?.door();
    let path = path_of(args)?;
    let (mut cursor, mut pages, mut totals) = (None::<String>, Pages::default(), Totals::default());
    loop {
        let page = ask(&mut door, &path, PAGE, cursor.as_deref()).await?;
        cursor = pages.take(page, &mut |card| show(card, args.json, &mut totals, out))?;
        if cursor.is_none() {
            break;
        }
    }
    if let Some(whole) = pages.held {
        show(&whole, args.json, &mut totals, out)?;
    }
    let indexed = pages.indexed.unwrap_or_default();
    end(&totals, &indexed, args.json, out)
}

fn end(
    totals: &Totals,
    indexed: &Value,
    json: bool,
    out: &mut (dyn Write + Send),
) -> Result<ExitCode, CliError> {
    if !json {
        let Totals { cards, releases, hosts, .. } = totals;
        writeln!(out, "{cards} cards, {releases} releases; the index reaches {indexed} entries")?;
        for (host, count) in hosts {
            writeln!(out, "{host}: {count} releases")?;
        }
    }
    if totals.damaged > 0 {
        let damaged = totals.damaged;
        writeln!(std::io::stderr(), "{damaged} entries are not those of the log's tree: run `audit verify`")?;
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

fn path_of(args: &Args) -> Result<String, CliError> {
    let certificate = match &args.caller_certificate {
        Some(file) => {
            let certificate = CertificateDer::from_pem_file(file)
                .map_err(|_| "--caller-certificate is not a PEM file with a certificate")?;
            Some(hex::encode(sha2::Sha256::digest(&certificate)))
        }
        None => args.certificate_sha256.clone(),
    };
    let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let mut path = format!("/v1/audit/blast-radius?workload={}", encoded(&args.workload));
    let time = |time: Option<Timestamp>| time.map(|time| time.to_string());
    for (name, value) in
        [("certificate_sha256", certificate), ("from", time(args.from)), ("until", time(args.until))]
    {
        if let Some(value) = value {
            path += &format!("&{name}={}", encoded(&value));
        }
    }
    Ok(path)
}

/// One card, whole: where its data went, how often, from when to when, by which forwards.
fn show(card: &Value, json: bool, totals: &mut Totals, out: &mut (dyn Write + Send)) -> Result<(), CliError> {
    let reached = by_destination(card, totals);
    totals.cards += 1;
    if json {
        let mut line = card.clone();
        if let Some(line) = line.as_object_mut() {
            line.remove("releases");
        }
        line["reached"] = reached;
        writeln!(out, "{line}")?;
        return Ok(());
    }
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let [token, tenant, bin, last4, brand] =
        ["token_ref", "tenant", "bin", "last4", "brand"].map(|name| text(&card[name]));
    writeln!(out, "{token} tenant={tenant} {bin}…{last4} {brand}")?;
    for place in reached.as_array().into_iter().flatten() {
        let [host, route, account, first, last] =
            ["host", "route", "account", "first", "last"].map(|name| text(&place[name]));
        writeln!(out, "  {host} {route}/{account}: {} times, {first} to {last}", place["count"])?;
        for one in place["releases"].as_array().into_iter().flatten() {
            let [at, forward, export, id] =
                ["at", "forward_id", "export_id", "id"].map(|name| text(&one[name]));
            let (what, name) =
                if one["export_id"].is_null() { ("forward", forward) } else { ("export", export) };
            writeln!(out, "    {at} {what}={name} index={} entry={id}", one["index"])?;
        }
    }
    Ok(())
}

/// Releases of a card by host, route and account. Those that are not intact stand by themselves, without a host.
fn by_destination(card: &Value, totals: &mut Totals) -> Value {
    let mut places: BTreeMap<[String; 3], Vec<&Value>> = BTreeMap::new();
    for release in card["releases"].as_array().into_iter().flatten() {
        let part = |name: &str| release[name].as_str().unwrap_or("-").to_owned();
        totals.releases += 1;
        totals.damaged += u64::from(release["intact"] != true);
        *totals.hosts.entry(part("host")).or_default() += 1;
        places.entry(["host", "route", "account"].map(part)).or_default().push(release);
    }
    let of = |([host, route, account], releases): ([String; 3], Vec<&Value>)| {
        let times = || releases.iter().filter_map(|release| release["at"].as_str());
        json!({
            "host": host, "route": route, "account": account, "count": releases.len(),
            "first": times().min(), "last": times().max(), "releases": releases,
        })
    };
    places.into_iter().map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_goes_on_over_pages_and_the_first_says_up_to_where_all_looked() {
        let page = |indexed: u64, cards: &[(&str, u64)], next: Option<&str>| {
            let card =
                |(token, index): &(&str, u64)| json!({"token_ref": token, "releases": [{"index": index}]});
            json!({"indexed": indexed, "cards": cards.iter().map(card).collect::<Vec<_>>(), "next_cursor": next})
        };
        let (mut pages, mut whole) = (Pages::default(), Vec::new());
        let mut each = |card: &Value| {
            whole.push(card.clone());
            Ok(())
        };
        let next = pages.take(page(70, &[("00", 5), ("11", 6)], Some("b")), &mut each).unwrap();
        assert_eq!(next.as_deref(), Some("b"));
        assert_eq!(pages.take(page(90, &[("11", 9), ("22", 7)], None), &mut each).unwrap(), None);
        assert_eq!(pages.indexed, Some(json!(70)));
        assert_eq!(whole.len(), 2);
        assert_eq!(whole[1], json!({"token_ref": "11", "releases": [{"index": 6}, {"index": 9}]}));
        assert_eq!(pages.held.unwrap()["token_ref"], "22");
    }

    #[test]
    fn releases_of_a_card_are_counted_by_where_they_went() {
        let release = |host: &str, at: &str, index: u64| json!({"host": host, "route": "psp", "account": "default", "at": at, "index": index, "intact": true});
        let card = json!({"token_ref": "00", "releases": [
            release("b.example", "2026-11-21T07:35:22.000000Z", 7),
            release("a.example", "2026-11-21T07:35:23.000000Z", 9),
            release("b.example", "2026-11-21T07:35:21.000000Z", 12),
        ]});
        let mut totals = Totals::default();
        let reached = by_destination(&card, &mut totals);
        assert_eq!((reached[0]["host"].as_str(), reached[0]["count"].as_u64()), (Some("a.example"), Some(1)));
        assert_eq!((reached[1]["count"].as_u64(), totals.releases, totals.damaged), (Some(2), 3, 0));
        assert_eq!(reached[1]["first"], "2026-11-21T07:35:21.000000Z");
        assert_eq!(reached[1]["last"], "2026-11-21T07:35:22.000000Z");
    }
}
