//! Asking the solver.

use std::fmt;
use std::io;
use std::path::Path;

use cedar_policy::{ActionConstraint, Policy, PolicySet, RequestEnv, Schema};
use cedar_policy_symcc::solver::LocalSolver;
use cedar_policy_symcc::{CedarSymCompiler, CompiledPolicy, CompiledPolicySet, Env};
use tokio::process::Command;

use crate::example::Example;
use crate::invariants::{Invariant, Invariants};

/// For one question. The shipped ones take milliseconds; a solver that is lost says *unknown* then, which is no proof.
const LIMIT_MILLIS: u32 = 60_000;

/// A running solver.
pub struct Prover {
    compiler: CedarSymCompiler<LocalSolver>,
    /// What it calls itself.
    pub version: String,
}

/// Why nothing was decided.
#[derive(Debug, thiserror::Error)]
pub enum ProofError {
    /// There is no solver.
    #[error(
        "the solver cvc5 is not here ({program}: {error}): on Debian, `apt-get install cvc5`. Nothing was proved"
    )]
    NoSolver {
        /// What was to be run.
        program: String,
        /// Why it was not.
        error: io::Error,
    },
    /// The solver or the compiler of policies failed, or could not tell.
    #[error("nothing was proved of {about}: {error}")]
    Solver {
        /// The question.
        about: String,
        /// What came instead of an answer.
        #[source]
        error: Box<cedar_policy_symcc::err::Error>,
    },
    /// What the solver gave as an example is none by the engine that decides.
    #[error("nothing was proved of {about}: the solver's example is none by the policy engine")]
    Disagreement {
        /// The question.
        about: String,
    },
}

impl Prover {
    /// Starts the solver.
    ///
    /// # Errors
    /// It is not installed.
    pub async fn start(program: &Path) -> Result<Self, ProofError> {
        let absent = |error| ProofError::NoSolver { program: program.display().to_string(), error };
        let asked = Command::new(program).arg("--version").output().await.map_err(absent)?;
        let told = String::from_utf8_lossy(&asked.stdout);
        let version = told.lines().next().unwrap_or_default().trim().to_owned();
        let limit = format!("--tlimit-per={LIMIT_MILLIS}");
        let mut command = Command::new(program);
        command.args(["--lang", "smt", limit.as_str()]).kill_on_drop(true);
        let failed = |error: cedar_policy_symcc::err::Error| ProofError::Solver {
            about: "anything".into(),
            error: error.into(),
        };
        let solver = LocalSolver::from_command(&mut command).map_err(|error| failed(error.into()))?;
        Ok(Self { compiler: CedarSymCompiler::new(solver).map_err(failed)?, version })
    }

    /// A request that `first` permits and `second` does not, if there is one.
    pub(crate) async fn beyond(
        &mut self,
        kind: &Kind<'_>,
        first: &Compiled,
        second: &Compiled,
    ) -> Result<Option<Example>, ProofError> {
        let answer =
            self.compiler.check_implies_with_counterexample_opt(&first.formula, &second.formula).await;
        let Some(Env { request, entities }) = answer.map_err(|error| kind.failed(error))? else {
            return Ok(None);
        };
        let example = Example::new(request, entities, &first.set);
        if example.permitted_by.is_empty() || example.is_permitted_by(&second.set) {
            return Err(ProofError::Disagreement { about: kind.to_string() });
        }
        Ok(Some(example))
    }

    /// Whether anything at all is permitted.
    async fn permits_something(&mut self, kind: &Kind<'_>, policies: &Compiled) -> Result<bool, ProofError> {
        let denies = self.compiler.check_always_denies_opt(&policies.formula).await;
        Ok(!denies.map_err(|error| kind.failed(error))?)
    }

    /// The policies that fail to evaluate for some request: the vault denies then, whatever else permits.
    async fn failing(&mut self, kind: &Kind<'_>, policies: &Compiled) -> Result<Vec<String>, ProofError> {
        let mut failing = Vec::new();
        for policy in policies.set.policies() {
            let compiled = CompiledPolicy::compile(policy, &kind.env, kind.schema);
            let compiled = compiled.map_err(|error| kind.failed(error))?;
            let never = self.compiler.check_never_errors_opt(&compiled).await;
            if !never.map_err(|error| kind.failed(error))? {
                failing.push(policy.id().to_string());
            }
        }
        Ok(failing)
    }
}

/// A kind of request: an action by a type of principal on a type of resource.
pub(crate) struct Kind<'a> {
    schema: &'a Schema,
    env: RequestEnv,
}

/// The policies that can have a say about one kind of request, and their formula.
pub(crate) struct Compiled {
    set: PolicySet,
    formula: CompiledPolicySet,
}

impl<'a> Kind<'a> {
    /// Every kind a schema can describe, in the order of their names.
    pub(crate) fn all(schema: &'a Schema) -> Vec<Self> {
        let mut kinds: Vec<Self> = schema.request_envs().map(|env| Kind { schema, env }).collect();
        kinds.sort_by_key(ToString::to_string);
        kinds
    }

    /// Leaves out the policies of other actions, which never match, as the vault does.
    pub(crate) fn compile(&self, policies: &PolicySet) -> Result<Compiled, ProofError> {
        let action = self.env.action();
        let may_match = |policy: &&Policy| match policy.action_constraint() {
            ActionConstraint::Any => true,
            ActionConstraint::Eq(one) => one == *action,
            ActionConstraint::In(several) => several.contains(action),
        };
        let set = PolicySet::from_policies(policies.policies().filter(may_match).cloned())
            .expect("policies of one set have different ids");
        let formula = CompiledPolicySet::compile(&set, &self.env, self.schema);
        Ok(Compiled { set, formula: formula.map_err(|error| self.failed(error))? })
    }

    fn failed(&self, error: cedar_policy_symcc::err::Error) -> ProofError {
        ProofError::Solver { about: self.to_string(), error: error.into() }
    }
}

impl fmt::Display for Kind<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let env = &self.env;
        write!(f, "{} by a {} on a {}", env.action(), env.principal(), env.resource())
    }
}

/// What came of one statement.
#[derive(Debug, serde::Serialize)]
pub struct Finding {
    /// Its id.
    pub id: String,
    /// The statement.
    pub says: String,
    /// Of how many kinds of request: action × who × what.
    pub kinds: usize,
    /// Of how many of them the bundle permits any at all: where there is none, a statement is true of nothing.
    pub kinds_permitted: usize,
    /// What came of it.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// What came of it.
#[derive(Debug, serde::Serialize)]
#[serde(rename_all = "kebab-case", tag = "outcome", content = "example")]
pub enum Outcome {
    /// For every request there can be.
    Holds,
    /// Here is one for which it does not.
    Refuted(Box<Example>),
    /// These policies fail to evaluate for some request.
    Fails(Vec<String>),
}

/// Proves every invariant of a bundle, or refutes it; and that none of its policies ever fails to evaluate.
pub async fn prove(
    prover: &mut Prover,
    (schema, policies): (&Schema, &PolicySet),
    invariants: &Invariants,
) -> Result<Vec<Finding>, ProofError> {
    let kinds = compiled(prover, schema, policies).await?;
    let mut findings = Vec::new();
    for invariant in &invariants.list {
        findings.push(prove_one(prover, &kinds, invariant).await?);
    }
    let mut failing = Vec::new();
    for (kind, compiled, _) in &kinds {
        failing.extend(prover.failing(kind, compiled).await?);
    }
    failing.sort();
    failing.dedup();
    findings.push(Finding {
        id: "no-policy-fails".into(),
        says: "no policy fails to evaluate, whatever is asked: none is ever skipped".into(),
        kinds: kinds.len(),
        kinds_permitted: kinds.iter().filter(|(_, _, permitted)| *permitted).count(),
        outcome: if failing.is_empty() { Outcome::Holds } else { Outcome::Fails(failing) },
    });
    Ok(findings)
}

/// The first invariant that a bundle breaks, if there is one.
pub async fn first_refuted(
    prover: &mut Prover,
    (schema, policies): (&Schema, &PolicySet),
    invariants: &Invariants,
) -> Result<Option<Finding>, ProofError> {
    let kinds = compiled(prover, schema, policies).await?;
    for invariant in &invariants.list {
        let finding = prove_one(prover, &kinds, invariant).await?;
        if !matches!(finding.outcome, Outcome::Holds) {
            return Ok(Some(finding));
        }
    }
    Ok(None)
}

/// Every kind of request, the bundle's formula for it, and whether it permits anything.
async fn compiled<'a>(
    prover: &mut Prover,
    schema: &'a Schema,
    policies: &PolicySet,
) -> Result<Vec<(Kind<'a>, Compiled, bool)>, ProofError> {
    let mut kinds = Vec::new();
    for kind in Kind::all(schema) {
        let compiled = kind.compile(policies)?;
        let permitted = prover.permits_something(&kind, &compiled).await?;
        kinds.push((kind, compiled, permitted));
    }
    Ok(kinds)
}

async fn prove_one(
    prover: &mut Prover,
    kinds: &[(Kind<'_>, Compiled, bool)],
    invariant: &Invariant,
) -> Result<Finding, ProofError> {
    let mut finding = Finding {
        id: invariant.id.clone(),
        says: invariant.says.clone(),
        kinds: 0,
        kinds_permitted: 0,
        outcome: Outcome::Holds,
    };
    for (kind, compiled, permitted) in kinds {
        if !invariant.is_about(kind.env.action()) {
            continue;
        }
        finding.kinds += 1;
        finding.kinds_permitted += usize::from(*permitted);
        let is_open = *permitted && matches!(finding.outcome, Outcome::Holds);
        if is_open
            && let Some(example) = prover.beyond(kind, compiled, &kind.compile(&invariant.set)?).await?
        {
            finding.outcome = Outcome::Refuted(Box::new(example));
        }
    }
    Ok(finding)
}
