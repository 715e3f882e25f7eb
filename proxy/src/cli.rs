//! The command line: `serve`, `route check` for whoever edits a route file, `ca create` for tunnels.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};
use strongroom_domain::route::Credentials;
use strongroom_domain::{Clock, Environment};
use strongroom_perimeter::chance::SystemRandom;
use strongroom_perimeter::clock::SystemClock;
use strongroom_perimeter::{drain, hardening, telemetry};

use crate::app::{Ambient, Proxy};
use crate::authority;
use crate::check;
use crate::config::ProxyConfig;
use crate::examples;
use crate::explain;
use crate::relay::{Relay, RelayConfig};
use crate::route;
use crate::upstream::SystemResolver;

/// The Strongroom proxy: takes PSP requests that hold tokens, sends them to the PSP with card data, scrubs the answers.
#[derive(Debug, Parser)]
#[command(name = "strongroom-proxy", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serves until SIGTERM or SIGINT, then drains.
    #[command(after_long_help = SETTINGS)]
    Serve {
        /// The TOML file of settings.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    /// Serves SDKs that cannot present a certificate, on loopback, until SIGTERM or SIGINT, then drains.
    #[command(after_long_help = RELAY_SETTINGS)]
    Relay {
        /// The TOML file of settings.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    /// Says what would become of a request that holds tokens: the route and rule, which field gets what, what would be
    /// signed, or why it would be refused. Nothing is sent, no secret is read. Fails if it would be refused.
    Explain(Box<explain::cli::Arguments>),
    /// Works on route files.
    #[command(subcommand)]
    Route(RouteCommand),
    /// Works on the connect authority, which answers inside tunnels.
    #[command(subcommand)]
    Ca(CaCommand),
}

/// What `serve --help` shows: the shipped file, which a test holds to the defaults.
const SETTINGS: &str =
    concat!("Settings, with their defaults:\n\n", include_str!("../../deploy/config/proxy.full.toml"));

/// What `relay --help` shows.
const RELAY_SETTINGS: &str =
    concat!("Settings, with their defaults:\n\n", include_str!("../../deploy/config/relay.full.toml"));

#[derive(Debug, Subcommand)]
enum RouteCommand {
    /// Reads every route and its accounts as `serve` would, without secrets, and says what each allows; or everything that
    /// is wrong, each with its file, line and column.
    Check {
        /// The folder that holds `routes/` and `accounts/`.
        #[arg(long, value_name = "FOLDER", default_value = "policies")]
        policies: PathBuf,
        /// The environment whose rules apply.
        #[arg(long, value_enum, default_value = "live")]
        environment: EnvironmentArgument,
    },
    /// Runs example requests through their routes with a test card, without network or secrets: what each must become, or
    /// be refused as. Fails if one does not.
    Test {
        /// The folder that holds `routes/` and `accounts/`.
        #[arg(long, value_name = "FOLDER", default_value = "policies")]
        policies: PathBuf,
        /// Folders of examples: files named ROUTE-ANYTHING.txt. Without it, `examples/` beside `routes/`.
        #[arg(long, value_name = "FOLDER")]
        examples: Vec<PathBuf>,
        /// The environment whose rules apply.
        #[arg(long, value_enum, default_value = "live")]
        environment: EnvironmentArgument,
    },
}

#[derive(Debug, Subcommand)]
enum CaCommand {
    /// Makes an authority for the upstream hosts of every route and account, and for nothing else: connect-ca.pem, which
    /// callers trust, and connect-ca.key, for the proxy alone. A new host needs a new authority.
    Create {
        /// The folder that holds `routes/` and `accounts/`.
        #[arg(long, value_name = "FOLDER", default_value = "policies")]
        policies: PathBuf,
        /// The environment whose rules apply.
        #[arg(long, value_enum, default_value = "live")]
        environment: EnvironmentArgument,
        /// Where the two files are written. Nothing there is overwritten.
        #[arg(long, value_name = "FOLDER", default_value = ".")]
        folder: PathBuf,
        /// How long it lives.
        #[arg(long, value_name = "DAYS", default_value_t = 365, value_parser = clap::value_parser!(u16).range(1..=825))]
        days: u16,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum EnvironmentArgument {
    Live,
    Test,
}

pub(crate) type Failed = Box<dyn std::error::Error + Send + Sync>;

/// Runs the command the process was started with. Call it first in `main`.
#[must_use]
pub fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Serve { config } => serve(&config),
        Command::Relay { config } => relay(&config),
        Command::Explain(arguments) => explain::cli::run(&arguments),
        Command::Route(RouteCommand::Check { policies, environment }) => check(&policies, environment.into()),
        Command::Route(RouteCommand::Test { policies, examples, environment }) => {
            test(&policies, examples, environment.into())
        }
        Command::Ca(CaCommand::Create { policies, environment, folder, days }) => {
            create_authority(&policies, environment.into(), &folder, days)
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tell_failure(error.as_ref());
            ExitCode::FAILURE
        }
    }
}

fn serve(config: &Path) -> Result<(), Failed> {
    hardening::apply()?;
    let config = ProxyConfig::read(config)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let metrics = telemetry::init(&config.telemetry, clock.clone())?;
        let stop = drain::on_signals()?;
        let ambient =
            Ambient { clock, random: Arc::new(SystemRandom::new()), resolver: Arc::new(SystemResolver) };
        let proxy = Proxy::bind(config, ambient)?;
        tracing::info!(address = %proxy.local_addr(), "the proxy takes calls");
        proxy.serve(metrics, stop).await;
        Ok(())
    })
}

fn relay(config: &Path) -> Result<(), Failed> {
    hardening::apply()?;
    let config = RelayConfig::read(config)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let metrics = telemetry::init(&config.telemetry, clock.clone())?;
        let stop = drain::on_signals()?;
        let ambient =
            Ambient { clock, random: Arc::new(SystemRandom::new()), resolver: Arc::new(SystemResolver) };
        let relay = Relay::bind(config, ambient)?;
        tracing::info!(ports = relay.local_addrs().len(), "the relay takes calls");
        relay.serve(metrics, stop).await;
        Ok(())
    })
}

impl From<EnvironmentArgument> for Environment {
    fn from(argument: EnvironmentArgument) -> Self {
        match argument {
            EnvironmentArgument::Live => Self::Live,
            EnvironmentArgument::Test => Self::Test,
        }
    }
}

#[expect(clippy::print_stdout, reason = "the answer of a command people run")]
fn check(policies: &Path, environment: Environment) -> Result<(), Failed> {
    let found = check::findings(policies, environment)?;
    if !found.is_empty() {
        found.iter().for_each(|one| println!("{one}"));
        return Err(NotRight { what: "things are wrong in", count: found.len() }.into());
    }
    let registered = route::read(policies, None, environment, None)?;
    for accounts in registered.chunk_by(|one, next| one.route.name == next.route.name) {
        let route = &accounts[0].route;
        let credentials = match route.credentials {
            Credentials::Account => "the account's own",
            Credentials::Pinned => "the caller's, pinned",
            Credentials::Unpinned => "the caller's, any",
        };
        println!(
            "{}: https://{}:{}, {} calls with card data, {} without; {} accounts; credential: {credentials}; sha256 {}",
            route.name,
            route.upstream.host,
            route.upstream.port,
            route.allow.len(),
            route.pass.len(),
            accounts.len(),
            hex::encode(route.sha256),
        );
    }
    Ok(())
}

/// What was printed is not as it must be.
#[derive(Debug, thiserror::Error)]
#[error("{count} {what} these files")]
struct NotRight {
    what: &'static str,
    count: usize,
}

#[expect(clippy::print_stdout, reason = "the answer of a command people run")]
fn test(policies: &Path, mut folders: Vec<PathBuf>, environment: Environment) -> Result<(), Failed> {
    if folders.is_empty() {
        folders.push(policies.join("examples"));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let report = runtime.block_on(examples::run(policies, &folders, environment))?;
    for (file, failed) in &report.ran {
        match failed {
            None => println!("ok      {}", file.display()),
            Some(why) => println!("FAILED  {}: {why}", file.display()),
        }
    }
    for route in &report.without {
        println!("no example of route {route}");
    }
    let count = report.ran.iter().filter(|(_, failed)| failed.is_some()).count();
    match (count, report.ran.len()) {
        (0, 1..) => Ok(()),
        (0, 0) => Err("there is no example in these folders: name others with --examples".into()),
        _ => Err(NotRight { what: "examples fail of", count }.into()),
    }
}

#[expect(clippy::print_stdout, reason = "the answer of a command people run")]
fn create_authority(
    policies: &Path,
    environment: Environment,
    folder: &Path,
    days: u16,
) -> Result<(), Failed> {
    let registered = route::read(policies, None, environment, None)?;
    let hosts: BTreeSet<_> = registered.iter().map(|one| one.upstream().host).collect();
    let life = Duration::from_secs(u64::from(days) * 24 * 60 * 60);
    let created = authority::create(&hosts, folder, SystemClock.now(), life)?;
    println!("callers trust     {}", created.certificate.display());
    println!("the proxy keeps   {}", created.key.display());
    println!("for {} hosts, {days} days:", hosts.len());
    for host in hosts {
        println!("  {host}");
    }
    Ok(())
}

#[expect(clippy::print_stderr, reason = "a start that fails tells the person who started it")]
fn tell_failure(error: &dyn std::error::Error) {
    eprintln!("strongroom-proxy: {error}");
    let mut source = error.source();
    while let Some(error) = source {
        eprintln!("  because: {error}");
        source = error.source();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }
}
