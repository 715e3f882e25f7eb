//! The command line.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use clap::{Parser, Subcommand};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use strongroom_domain::Environment;
use strongroom_vault::authz::{Authorizer, PolicySource};
use strongroom_vault::evidence::{PROOFS_FORMAT, PolicyProofs, ProvedBundle, ProvedInvariants, is_input};

use crate::diff::{Difference, diff};
use crate::invariants::Invariants;
use crate::prover::{Finding, Outcome, Prover, prove};

/// It holds; nothing is widened.
const HOLDS: u8 = 0;
/// There is a request that shows otherwise.
const REFUTED: u8 = 1;
/// Nothing was decided.
pub const UNDECIDED: u8 = 2;

/// What a Strongroom policy bundle can never permit, and what a change newly permits: proved for every request there can be.
///
/// Ends with 0 if everything holds, with 1 if a request shows otherwise, with 2 if nothing could be decided. Needs the solver
/// cvc5 (Debian: apt-get install cvc5).
#[derive(Debug, Parser)]
#[command(name = "strongroom-policy", version, about, arg_required_else_help = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
    /// The solver.
    #[arg(long, global = true, default_value = "cvc5")]
    solver: PathBuf,
    /// Print JSON: the proofs and what went into them, to be filed.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Prove every invariant of a bundle, or show a request that it permits nevertheless.
    Prove {
        /// Folder of the bundle.
        #[arg(default_value = "policies")]
        folder: PathBuf,
        /// Environment to read it for; some settings are refused in live.
        #[arg(long, value_parser = parse_environment, value_name = "live|test")]
        environment: Environment,
        /// What must hold. Without it: prove/invariants.cedar in the bundle's folder.
        #[arg(long, value_name = "FILE")]
        invariants: Option<PathBuf>,
        /// Write proofs, policies, schema and invariants to this file besides: what `strongroom-vault evidence --proofs` takes.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Prove that a bundle permits nothing that another does not, or show each kind of request that is new.
    Diff {
        /// Folder of the bundle as it is.
        old: PathBuf,
        /// Folder of the bundle as it would be.
        new: PathBuf,
        /// Environment to read both for.
        #[arg(long, value_parser = parse_environment, value_name = "live|test")]
        environment: Environment,
    },
}

/// An error as the command line shows it: a sentence.
pub type CliError = Box<dyn std::error::Error + Send + Sync>;

impl Cli {
    /// Runs the command and answers the exit code. What is for the user goes to `out`.
    pub async fn run(self, out: &mut impl Write) -> Result<u8, CliError> {
        match &self.command {
            Command::Prove { folder, environment, invariants, out: filed } => {
                let bundle = load(folder, *environment)?;
                let file = invariants.clone().unwrap_or_else(|| folder.join("prove/invariants.cedar"));
                let text =
                    std::fs::read_to_string(&file).map_err(|error| format!("{}: {error}", file.display()))?;
                let (findings, solver) = self.prove(&bundle, &text, out).await?;
                if let Some(to) = filed {
                    file_proofs(to, folder, &bundle, &text, solver, &findings)?;
                }
                let all_hold = findings.iter().all(|finding| matches!(finding.outcome, Outcome::Holds));
                Ok(if all_hold { HOLDS } else { REFUTED })
            }
            Command::Diff { old, new, environment } => {
                let (old, new) = (load(old, *environment)?, load(new, *environment)?);
                self.diff(&old, &new, out).await
            }
        }
    }

    async fn prove(
        &self,
        bundle: &Authorizer,
        text: &str,
        out: &mut impl Write,
    ) -> Result<(Vec<Finding>, String), CliError> {
        let cedar = bundle.bundle().cedar();
        let invariants = Invariants::parse(text, cedar.0)?;
        let mut prover = Prover::start(&self.solver).await?;
        let findings = prove(&mut prover, cedar, &invariants).await?;
        if self.json {
            let proof = json!({
                "bundle": named(bundle),
                "invariants_sha256": invariants.sha256,
                "solver": prover.version,
                "findings": findings,
            });
            writeln!(out, "{proof:#}")?;
        } else {
            tell_findings(&findings, out)?;
        }
        Ok((findings, prover.version))
    }

    async fn diff(&self, old: &Authorizer, new: &Authorizer, out: &mut impl Write) -> Result<u8, CliError> {
        let mut prover = Prover::start(&self.solver).await?;
        let difference = diff(&mut prover, old, new).await?;
        if self.json {
            let proof = json!({
                "old": named(old),
                "new": named(new),
                "solver": prover.version,
                "widens": difference.widens(),
                "difference": difference,
            });
            writeln!(out, "{proof:#}")?;
        } else {
            tell_difference(&difference, out)?;
        }
        Ok(if difference.widens() { REFUTED } else { HOLDS })
    }
}

/// What an assessor files: what was proved, by what, of what.
fn file_proofs(
    to: &Path,
    folder: &Path,
    bundle: &Authorizer,
    invariants: &str,
    solver: String,
    findings: &[Finding],
) -> Result<(), CliError> {
    let bundle = bundle.bundle();
    let mut inputs = BTreeMap::new();
    for (path, sha256) in bundle.file_sha256.iter().filter(|(path, _)| is_input(path)) {
        let text = std::fs::read_to_string(folder.join(path))?;
        if <[u8; 32]>::from(Sha256::digest(&text)) != *sha256 {
            return Err(format!("{path} changed while it was proved: prove again").into());
        }
        inputs.insert(path.clone(), text);
    }
    let proofs = PolicyProofs {
        format: PROOFS_FORMAT.to_owned(),
        tool: concat!("strongroom-policy ", env!("CARGO_PKG_VERSION")).to_owned(),
        solver,
        bundle: ProvedBundle {
            environment: bundle.environment,
            sha256: hex::encode(bundle.sha256),
            version: bundle.version,
        },
        inputs,
        invariants: ProvedInvariants {
            sha256: hex::encode(Sha256::digest(invariants)),
            text: invariants.to_owned(),
        },
        findings: serde_json::from_value(serde_json::to_value(findings)?)?,
    };
    let text = serde_json::to_string_pretty(&proofs)?;
    std::fs::write(to, text).map_err(|error| format!("{}: {error}", to.display()).into())
}

fn named(bundle: &Authorizer) -> serde_json::Value {
    let bundle = bundle.bundle();
    json!({ "version": bundle.version, "sha256": hex::encode(bundle.sha256), "environment": bundle.environment })
}

fn tell_findings(findings: &[Finding], out: &mut impl Write) -> std::io::Result<()> {
    for Finding { id, says, kinds, kinds_permitted, outcome } in findings {
        match outcome {
            Outcome::Holds if *kinds_permitted == 0 => {
                writeln!(out, "holds    {id}: nothing of it is permitted at all")?
            }
            Outcome::Holds => writeln!(
                out,
                "holds    {id} ({kinds_permitted} of {kinds} kinds of request are ever permitted)"
            )?,
            Outcome::Refuted(example) => {
                writeln!(out, "REFUTED  {id}\n    it is not so that {says}: this is permitted\n{example}")?;
            }
            Outcome::Fails(policies) => {
                writeln!(out, "REFUTED  {id}\n    it is not so that {says}: {}", policies.join(", "))?;
            }
        }
    }
    let refuted = findings.iter().filter(|finding| !matches!(finding.outcome, Outcome::Holds)).count();
    writeln!(out, "{} hold, {refuted} refuted", findings.len() - refuted)
}

fn tell_difference(difference: &Difference, out: &mut impl Write) -> std::io::Result<()> {
    for widening in &difference.policies {
        writeln!(out, "WIDER    {}: this is permitted now and was not\n{}", widening.kind, widening.example)?;
    }
    for line in &difference.access {
        writeln!(out, "NEW      {line}")?;
    }
    let Difference { kinds, policies, access, .. } = difference;
    if difference.widens() {
        writeln!(
            out,
            "{} of {kinds} kinds of request are permitted more often; {} new lines of access",
            policies.len(),
            access.len()
        )
    } else {
        writeln!(
            out,
            "nothing is permitted that was not: {kinds} kinds of request, every workload, route and account"
        )
    }
}

fn load(folder: &Path, environment: Environment) -> Result<Authorizer, CliError> {
    Authorizer::for_review(&PolicySource::Folder(folder.to_owned()), environment)
        .map_err(|error| format!("the policy bundle {} is refused: {error}", folder.display()).into())
}

fn parse_environment(text: &str) -> Result<Environment, &'static str> {
    match text {
        "live" => Ok(Environment::Live),
        "test" => Ok(Environment::Test),
        _ => Err("it is live or test"),
    }
}
