//! The command line.

pub mod audit;
pub mod card;
pub mod client;
pub mod events;
pub mod evidence;
pub mod migrate;
pub mod openapi;
pub mod policy;
pub mod review;
pub mod scan;
pub mod serve;
pub mod tenant;
pub mod workload;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The Strongroom card vault: tokens in place of card numbers, one audited door out.
#[derive(Debug, Parser)]
#[command(name = "strongroom-vault", version, about, arg_required_else_help = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the API until told to stop.
    Serve(ConfigArgs),
    /// Create the schema, or bring it to this program's version.
    Migrate(ConfigArgs),
    /// Bring cards in or hand them over, as a client of the API.
    Card(card::Args),
    /// Onboard, change, suspend and check tenants, as a client of the API.
    Tenant(tenant::Args),
    /// Suspend workloads, let them go on, and see who is suspended, as a client of the API.
    Workload(workload::Args),
    /// See which events destinations are told, and have them told again, as a client of the API.
    Events(events::Args),
    /// Read and check the audit log.
    Audit(audit::Args),
    /// Make the evidence bundle of a period, or verify one.
    Evidence(evidence::Args),
    /// Review who can do what, or what is on the log, and sign for it, as a client of the API.
    Review(review::Args),
    /// Check, test and render the policy bundle.
    Policy(policy::PolicyArgs),
    /// Find card numbers in files, folders, dumps and streams, and show where without showing them.
    Scan(scan::Args),
    /// Print the API's contract (OpenAPI 3.1).
    Openapi,
}

/// Which configuration.
#[derive(Clone, Debug, clap::Args)]
pub struct ConfigArgs {
    /// The configuration file.
    #[arg(long, default_value = "/etc/strongroom/vault.toml")]
    pub config: PathBuf,
}

/// An error as the command line shows it: a sentence.
pub type CliError = Box<dyn std::error::Error + Send + Sync>;

impl Cli {
    /// Runs the command. What is for the user goes to `out`.
    pub async fn run<W: Write + Send>(self, out: &mut W) -> Result<ExitCode, CliError> {
        match self.command {
            Command::Serve(args) => serve::run(&args).await,
            Command::Migrate(args) => migrate::run(&args, out).await,
            Command::Card(args) => card::run(args, out).await,
            Command::Tenant(args) => tenant::run(args, out).await,
            Command::Workload(args) => workload::run(args, out).await,
            Command::Events(args) => events::run(args, out).await,
            Command::Audit(args) => audit::run(args, out).await,
            Command::Evidence(args) => evidence::run(args, out).await,
            Command::Review(args) => review::run(args, out).await,
            Command::Policy(args) => Ok(policy::run(&args, out).map(|()| ExitCode::SUCCESS)?),
            Command::Scan(args) => Ok(scan::run(&args, out)),
            Command::Openapi => openapi::run(out),
        }
    }
}
