//! Everything that is wrong with the files of routes: what `route check` says.
//!
//! Promises: all of it in one run, each with file, line and column; nothing is found exactly where `serve` would take the
//! files, secrets aside.
//! Upholds: C-51.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};

use strongroom_domain::Environment;
use strongroom_domain::route::{Account, Finding, Inbound, InvalidRoute, Roots, Route};

use crate::route::{Callers, RouteBookError, names, text};

/// Something that is wrong in one file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Found {
    /// The file.
    pub file: PathBuf,
    /// Where in it, and what.
    pub finding: Finding,
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Finding { line, column, reason } = &self.finding;
        write!(f, "{}:{line}:{column}: {reason}", self.file.display())
    }
}

/// Reads every route, account and the list of workloads, and finds what is wrong. An error is a file nobody can read.
pub fn findings(policies: &Path, environment: Environment) -> Result<Vec<Found>, RouteBookError> {
    let folder = policies.join("routes");
    let names = names(&folder)?;
    if names.is_empty() {
        return Err(RouteBookError::Empty(folder));
    }
    let (mut found, mut hosts) = (Vec::new(), HashMap::new());
    for name in &names {
        let path = folder.join(format!("{name}.toml"));
        let text = text(&path)?;
        add(&mut found, &path, Route::findings(name, &text, environment));
        let Ok(route) = Route::parse(name, &text, environment) else { continue };
        of_hosts(&route, &path, &text, &mut hosts, &mut found);
        of_roots(&route, &path, &text, &mut found);
        of_accounts(policies, &route, &path, &mut found)?;
    }
    of_inbound(policies, &mut found)?;
    of_workloads(policies, &mut found)?;
    Ok(found)
}

fn add(found: &mut Vec<Found>, file: &Path, findings: impl IntoIterator<Item = Finding>) {
    found.extend(findings.into_iter().map(|finding| Found { file: file.to_owned(), finding }));
}

/// A finding at the first place a text has a string.
fn at_string(text: &str, string: &str, reason: String) -> Finding {
    Finding::at(text, text.find(&format!("\"{string}\"")).unwrap_or(0), reason)
}

/// A host name belongs to one route.
fn of_hosts(
    route: &Route,
    path: &Path,
    text: &str,
    hosts: &mut HashMap<String, String>,
    found: &mut Vec<Found>,
) {
    for host in &route.hosts {
        if let Some(other) = hosts.insert(host.clone(), route.name.to_string()) {
            let reason =
                format!("`{host}` is a host name of route `{other}` too; a name belongs to one route");
            add(found, path, [at_string(text, host, reason)]);
        }
    }
}

/// Pinned roots are there to be read.
fn of_roots(route: &Route, path: &Path, text: &str, found: &mut Vec<Found>) {
    let Roots::File(file) = &route.upstream.roots else { return };
    let beside = path.parent().unwrap_or_else(|| Path::new(""));
    if let Err(error) = crate::upstream::tls::roots(Some(&beside.join(file))) {
        let file = file.display().to_string();
        let reason = format!("`roots_file`: {file} cannot be used: {error}");
        add(found, path, [at_string(text, &file, reason)]);
    }
}

fn of_accounts(
    policies: &Path,
    route: &Route,
    path: &Path,
    found: &mut Vec<Found>,
) -> Result<(), RouteBookError> {
    let folder = policies.join("accounts").join(route.name.as_str());
    let accounts = if folder.is_dir() { names(&folder)? } else { Default::default() };
    if accounts.is_empty() {
        let reason =
            format!("the route has no account: write one, such as {}", folder.join("default.toml").display());
        add(found, path, [Finding { line: 1, column: 1, reason }]);
    }
    for account in accounts {
        let path = folder.join(format!("{account}.toml"));
        let text = text(&path)?;
        add(found, &path, Account::findings(&account, &text, route));
    }
    Ok(())
}

/// Inbound entries, where there are any: the first thing wrong with each.
fn of_inbound(policies: &Path, found: &mut Vec<Found>) -> Result<(), RouteBookError> {
    let folder = policies.join("inbound");
    let entries = if folder.is_dir() { names(&folder)? } else { Default::default() };
    for name in entries {
        let path = folder.join(format!("{name}.toml"));
        let text = text(&path)?;
        let Err(error) = Inbound::parse(&name, &text) else { continue };
        let (at, reason) = match error {
            InvalidRoute::Syntax(error) => {
                (error.span().map_or(0, |span| span.start), error.message().to_owned())
            }
            InvalidRoute::Value { reason, .. } => (0, reason),
        };
        add(found, &path, [Finding::at(&text, at, reason)]);
    }
    Ok(())
}

fn of_workloads(policies: &Path, found: &mut Vec<Found>) -> Result<(), RouteBookError> {
    match Callers::read(policies) {
        Err(RouteBookError::Workloads { path, source }) => {
            let finding =
                Finding { line: source.line(), column: source.column().max(1), reason: source.to_string() };
            add(found, &path, [finding]);
            Ok(())
        }
        read => read.map(drop),
    }
}
