//! `strongroom-proxy explain`: reads routes and accounts, never a secret.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use http::request::Parts;
use strongroom_domain::route::{AccountName, RouteName};
use strongroom_domain::{CardName, Clock as _, TenantId, WorkloadId};
use strongroom_perimeter::clock::SystemClock;
use strongroom_perimeter::tls::{self, ClientTlsConfig};

use super::{Explanation, anonymous, explain, message, text};
use crate::cli::{EnvironmentArgument, Failed};
use crate::forward::{Order, names};
use crate::inject::Known;
use crate::registry;
use crate::rescue::Failure;
use crate::route::{Bound, Callers, Destination, Entry};
use crate::upstream::{Resolve, SystemResolver};
use crate::vault::VaultClient;

/// How long the vault may take to tell facts, connecting included.
const LOOK_UP_TIMEOUT: Duration = Duration::from_secs(10);
/// What `explain` takes.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The request, as an HTTP/1.1 message: tokens in the places of card data. `-` reads it from standard input.
    #[arg(value_name = "FILE", default_value = "-")]
    file: PathBuf,
    /// The folder that holds `routes/`, `accounts/` and `workloads.json`.
    #[arg(long, value_name = "FOLDER", default_value = "policies")]
    policies: PathBuf,
    /// The environment whose rules apply.
    #[arg(long, value_enum, default_value = "live")]
    environment: EnvironmentArgument,
    /// The route, as if the request came in at a port or through a tunnel of it. Without it the request's path or host
    /// says so.
    #[arg(long, value_name = "NAME")]
    route: Option<String>,
    /// The account at the route.
    #[arg(long, value_name = "NAME", requires = "route")]
    account: Option<String>,
    /// The proxy's `host_suffix`.
    #[arg(long, value_name = "NAME")]
    host_suffix: Option<String>,
    /// The workload that would ask. With it, `workloads.json` says whether it may.
    #[arg(long, value_name = "ID")]
    caller: Option<String>,
    /// The vault to ask for brand and length of the cards, as the owner of the certificate below.
    #[arg(long, value_name = "URL", requires_all = ["tenant", "certificate", "key", "ca"])]
    vault: Option<String>,
    /// The tenant of the cards.
    #[arg(long, value_name = "NAME", requires = "vault")]
    tenant: Option<String>,
    /// The client certificate to present to the vault.
    #[arg(long, value_name = "FILE", requires = "vault")]
    certificate: Option<PathBuf>,
    /// Its key.
    #[arg(long, value_name = "FILE", requires = "vault")]
    key: Option<PathBuf>,
    /// The CA of the vault's certificate.
    #[arg(long, value_name = "FILE", requires = "vault")]
    ca: Option<PathBuf>,
    /// Prints JSON, as the proxy's own `POST /-/explain` answers.
    #[arg(long)]
    json: bool,
}

/// The request would be refused, as was printed.
#[derive(Debug, thiserror::Error)]
#[error("the request would be refused: {0}")]
pub struct WouldBeRefused(&'static str);

/// A name on the command line.
#[derive(Debug, thiserror::Error)]
#[error("`--{0}` is not what it must be")]
struct InvalidArgument(&'static str);

/// Explains the request and prints what comes of it.
pub fn run(arguments: &Arguments) -> Result<(), Failed> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let explanation = runtime.block_on(explained(arguments))?;
    print(&explanation, arguments.json)?;
    if explanation.verdict == "goes" { Ok(()) } else { Err(WouldBeRefused("see above").into()) }
}

#[expect(clippy::print_stdout, reason = "the answer of a command people run")]
fn print(explanation: &Explanation, json: bool) -> Result<(), Failed> {
    if json {
        println!("{}", serde_json::to_string_pretty(explanation)?);
    } else {
        print!("{}", text::write(explanation));
    }
    Ok(())
}

/// Reads, asks the vault for facts where one is given, and explains.
pub async fn explained(arguments: &Arguments) -> Result<Explanation, Failed> {
    let resolver: Arc<dyn Resolve> = Arc::new(SystemResolver);
    let suffix = arguments.host_suffix.as_deref();
    let entry =
        registry::without_secrets(&arguments.policies, arguments.environment.into(), suffix, &resolver)?;
    let (parts, body) = message::read(&given(&arguments.file)?).await?;
    let mut order = ordered(arguments, &entry, parts, body)?;
    let facts = facts(arguments, &mut order, &resolver).await?;
    let known = |name: &CardName| facts.iter().find(|(one, _)| one == name).and_then(|(_, known)| *known);
    Ok(explain(order, &known, SystemClock.now()))
}

fn given(file: &Path) -> std::io::Result<Vec<u8>> {
    if file.as_os_str() != "-" {
        return std::fs::read(file);
    }
    let mut message = Vec::new();
    std::io::stdin().read_to_end(&mut message)?;
    Ok(message)
}

/// The request at its destination, if the caller may use that.
fn ordered(
    arguments: &Arguments,
    entry: &Entry<Destination>,
    parts: Parts,
    body: Bytes,
) -> Result<Order, Failed> {
    let bound = bound(arguments)?;
    let refused = |failure: Failure| WouldBeRefused(failure.problem().detail);
    let target = entry.find(&parts, bound.as_ref());
    let target = target.map_err(|why| refused(Failure::Entry(why)))?;
    if let Some(caller) = &arguments.caller {
        let workload = WorkloadId::parse(caller).map_err(|_| InvalidArgument("caller"))?;
        let Destination { route, account, .. } = &*target.destination;
        let callers = Callers::read(&arguments.policies)?;
        if !callers.may(&workload, &route.name, &account.name) {
            return Err(refused(Failure::CallerRefused).into());
        }
    }
    Ok(anonymous(target, parts, body)?)
}

fn bound(arguments: &Arguments) -> Result<Option<Bound>, InvalidArgument> {
    let Some(route) = &arguments.route else { return Ok(None) };
    let route = RouteName::parse(route).ok_or(InvalidArgument("route"))?;
    let account = arguments.account.as_deref();
    let account =
        account.map(|name| AccountName::parse(name).ok_or(InvalidArgument("account"))).transpose()?;
    Ok(Some(Bound { route, account, upstream: None }))
}

type Facts = Vec<(CardName, Option<Known>)>;

/// What the vault shows the owner of the certificate; nothing where no vault is given.
async fn facts(
    arguments: &Arguments,
    order: &mut Order,
    resolver: &Arc<dyn Resolve>,
) -> Result<Facts, Failed> {
    let names = names(order);
    let given = (&arguments.vault, &arguments.tenant, &arguments.certificate, &arguments.key, &arguments.ca);
    let (Some(url), Some(tenant), Some(certificate), Some(key), Some(ca)) = given else {
        return Ok(Facts::new());
    };
    if names.is_empty() {
        return Ok(Facts::new());
    }
    let tenant = TenantId::parse(tenant).map_err(|_| InvalidArgument("tenant"))?;
    let config = ClientTlsConfig {
        certificate_file: certificate.clone(),
        key_file: key.clone(),
        ca_file: ca.clone(),
        crl_files: Vec::new(),
    };
    let tls = tls::client_config(&config)?;
    let vault = VaultClient::new(std::slice::from_ref(url), tls, resolver, LOOK_UP_TIMEOUT)?;
    let known = vault.look_up(&tenant, &names).await?;
    Ok(names.into_iter().zip(known).collect())
}
