//! Reading route and account files. What cannot be read stops the start with a sentence that says what to do.

use std::collections::BTreeSet;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use http::HeaderValue;
use strongroom_domain::Environment;
use strongroom_domain::route::{
    Account, CredentialPlace, InvalidAccount, InvalidRoute, Roots, Route, Upstream,
};
use zeroize::Zeroizing;

/// One account of a route, with everything it needs from files.
#[derive(Debug)]
pub struct Registered {
    /// The route: one for all its accounts.
    pub route: Arc<Route>,
    /// The account.
    pub account: Account,
    /// The account's credential, as the header value that leaves. Absent in other modes, and where no secrets folder
    /// was given.
    pub credential: Option<HeaderValue>,
    /// Pinned roots, as a path that can be opened.
    pub roots_file: Option<PathBuf>,
}

impl Registered {
    /// Where calls go: the route's upstream, under the account's own host if it has one.
    #[must_use]
    pub fn upstream(&self) -> Upstream {
        let (host, port) = self.account.upstream(&self.route);
        Upstream { host: host.to_owned(), port, ..self.route.upstream.clone() }
    }
}

/// Why the routes cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RouteBookError {
    /// A file or folder cannot be read.
    #[error("{}: cannot be read; check that it exists and this user may read it", path.display())]
    Unreadable {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A route file is wrong.
    #[error("{}", path.display())]
    Route {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: InvalidRoute,
    },
    /// An account file is wrong.
    #[error("{}", path.display())]
    Account {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: InvalidAccount,
    },
    /// A credential file is wrong.
    #[error("credential file {}: {reason}", path.display())]
    Credential {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: &'static str,
    },
    /// The list of workloads is wrong.
    #[error("{}: is no list of workloads; give the proxy the vault's own file", path.display())]
    Workloads {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: serde_json::Error,
    },
    /// `routes` names one that is not there.
    #[error("`routes` names `{0}`, but policies/routes/ has no such file; add it or take the name out")]
    Unknown(String),
    /// A route nobody can use.
    #[error("{}: holds no account file; write one, such as default.toml", .0.display())]
    NoAccount(PathBuf),
    /// No route at all.
    #[error("{}: holds no route file; a proxy without routes can do nothing", .0.display())]
    Empty(PathBuf),
}

/// Reads `routes/*.toml` below `policies` and each one's `accounts/<route>/*.toml`: all, or the routes named in `only`.
/// Credentials are read if a secrets folder is given. The accounts of a route follow each other.
pub fn read(
    policies: &Path,
    secrets: Option<&Path>,
    environment: Environment,
    only: Option<&BTreeSet<String>>,
) -> Result<Vec<Registered>, RouteBookError> {
    let folder = policies.join("routes");
    let mut names = names(&folder)?;
    if let Some(only) = only {
        if let Some(missing) = only.difference(&names).next() {
            return Err(RouteBookError::Unknown(missing.clone()));
        }
        names.clone_from(only);
    }
    if names.is_empty() {
        return Err(RouteBookError::Empty(folder));
    }
    let mut registered = Vec::new();
    for name in &names {
        register(policies, secrets, environment, name, &mut registered)?;
    }
    Ok(registered)
}

fn names(folder: &Path) -> Result<BTreeSet<String>, RouteBookError> {
    let unreadable = |source| RouteBookError::Unreadable { path: folder.to_owned(), source };
    let mut names = BTreeSet::new();
    for file in std::fs::read_dir(folder).map_err(unreadable)? {
        let path = file.map_err(unreadable)?.path();
        if path.extension().is_some_and(|ending| ending == "toml") {
            names.extend(path.file_stem().map(|stem| stem.to_string_lossy().into_owned()));
        }
    }
    Ok(names)
}

fn register(
    policies: &Path,
    secrets: Option<&Path>,
    environment: Environment,
    name: &str,
    into: &mut Vec<Registered>,
) -> Result<(), RouteBookError> {
    let path = policies.join("routes").join(format!("{name}.toml"));
    let route = Route::parse(name, &text(&path)?, environment)
        .map_err(|source| RouteBookError::Route { path: path.clone(), source })?;
    let route = Arc::new(route);
    let roots_file = match &route.upstream.roots {
        Roots::WebPki => None,
        Roots::File(file) => Some(policies.join("routes").join(file)),
    };
    let folder = policies.join("accounts").join(name);
    let accounts = names(&folder)?;
    if accounts.is_empty() {
        return Err(RouteBookError::NoAccount(folder));
    }
    for account in accounts {
        let (route, roots_file) = (route.clone(), roots_file.clone());
        let (account, credential) = held(&folder, &account, &route, secrets)?;
        into.push(Registered { route, account, credential, roots_file });
    }
    Ok(())
}

/// An account and the credential it names.
fn held(
    folder: &Path,
    name: &str,
    route: &Route,
    secrets: Option<&Path>,
) -> Result<(Account, Option<HeaderValue>), RouteBookError> {
    let path = folder.join(format!("{name}.toml"));
    let account = Account::parse(name, &text(&path)?, route.credentials)
        .map_err(|source| RouteBookError::Account { path, source })?;
    let credential = match (secrets, &account.credential_file) {
        (Some(secrets), Some(file)) => Some(credential(secrets, file, &route.credential_place)?),
        _ => None,
    };
    Ok((account, credential))
}

pub(super) fn text(path: &Path) -> Result<String, RouteBookError> {
    std::fs::read_to_string(path)
        .map_err(|source| RouteBookError::Unreadable { path: path.to_owned(), source })
}

/// One line: exactly what follows the scheme.
fn credential(folder: &Path, file: &Path, place: &CredentialPlace) -> Result<HeaderValue, RouteBookError> {
    let path = folder.join(file);
    let wrong = |reason| RouteBookError::Credential { path: path.clone(), reason };
    if !file.components().all(|part| matches!(part, Component::Normal(_))) {
        return Err(wrong("must lie inside the secrets folder; name it without `..` or a leading `/`"));
    }
    let read = Zeroizing::new(text(&path)?);
    let secret = read.trim_end_matches(['\r', '\n']);
    if secret.is_empty() || secret.trim() != secret || secret.contains(['\r', '\n']) {
        return Err(wrong(
            "must hold one line: the credential, without the scheme and without spaces around it",
        ));
    }
    let line = Zeroizing::new(match &place.scheme {
        Some(scheme) => format!("{scheme} {secret}"),
        None => secret.to_owned(),
    });
    let mut value = HeaderValue::from_str(&line)
        .map_err(|_| wrong("has a character no header takes; write visible ASCII only"))?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUTE: &str = r#"
        [route.psp]
        upstream = "https://api.psp.example"
        credential = { header = "Authorization", scheme = "Bearer" }
        [[route.psp.pass]]
        method = "GET"
        path = "/v1/cards/{id}"
    "#;

    fn folder(secret: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (path, text) in [
            ("routes/psp.toml", ROUTE),
            ("accounts/psp/default.toml", "tenants = [\"*\"]\ncredential_file = \"psp.key\""),
            ("psp.key", secret),
        ] {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        folder
    }

    fn read_in(folder: &Path, only: &[&str]) -> Result<Vec<Registered>, RouteBookError> {
        let only = (!only.is_empty()).then(|| only.iter().map(|name| (*name).to_owned()).collect());
        read(folder, Some(folder), Environment::Test, only.as_ref())
    }

    #[test]
    fn routes_come_with_account_and_credential() {
        let folder = folder("sk_own\n");
        let routes = read_in(folder.path(), &[]).unwrap();
        let credential = routes[0].credential.as_ref().unwrap();
        assert_eq!(credential, "Bearer sk_own");
        assert!(!format!("{:?}", routes[0]).contains("sk_own"), "credentials are not for logs");
        assert!(read(folder.path(), None, Environment::Live, None).unwrap()[0].credential.is_none());
    }

    #[test]
    fn a_route_comes_with_all_its_accounts_and_each_with_its_own() {
        let folder = folder("sk_own\n");
        let account =
            "tenants = [\"m-501\"]\ncredential_file = \"m-501.key\"\nupstream = \"https://m501.psp.example\"";
        std::fs::write(folder.path().join("accounts/psp/m-501.toml"), account).unwrap();
        std::fs::write(folder.path().join("m-501.key"), "sk_501").unwrap();
        let registered = read_in(folder.path(), &[]).unwrap();
        let [default, m501] = &registered[..] else { panic!("two accounts") };
        assert!(Arc::ptr_eq(&default.route, &m501.route));
        assert_eq!(m501.credential.as_ref().unwrap(), "Bearer sk_501");
        assert_eq!(m501.upstream().host, "m501.psp.example");
        assert_eq!(default.upstream(), default.route.upstream);
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        let two_lines = folder("a\nb\n");
        assert!(read_in(two_lines.path(), &[]).unwrap_err().to_string().contains("one line"));
        let good = folder("k");
        assert!(matches!(read_in(good.path(), &["other"]), Err(RouteBookError::Unknown(_))));
        std::fs::write(good.path().join("accounts/psp/m-501.toml"), "tenants = []").unwrap();
        assert!(matches!(read_in(good.path(), &[]), Err(RouteBookError::Account { .. })));
        std::fs::remove_file(good.path().join("accounts/psp/m-501.toml")).unwrap();
        std::fs::remove_file(good.path().join("accounts/psp/default.toml")).unwrap();
        assert!(read_in(good.path(), &[]).unwrap_err().to_string().contains("default.toml"));
        std::fs::remove_file(good.path().join("routes/psp.toml")).unwrap();
        assert!(matches!(read_in(good.path(), &[]), Err(RouteBookError::Empty(_))));
    }
}
