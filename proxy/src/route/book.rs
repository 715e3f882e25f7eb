//! Reading route and account files. What cannot be read stops the start with a sentence that says what to do.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use strongroom_domain::Environment;
use strongroom_domain::route::{Account, InvalidAccount, InvalidRoute, Roots, Route, Upstream, check_place};
use strongroom_perimeter::secret_file::SecretFileError;

use crate::credential::AccountKeys;

/// One account of a route, with everything it needs from files.
#[derive(Debug)]
pub struct Registered {
    /// The route: one for all its accounts.
    pub route: Arc<Route>,
    /// The account.
    pub account: Account,
    /// The account's secrets. None where no secrets folder was given.
    pub keys: AccountKeys,
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
    /// A file of an account's secrets is wrong.
    #[error("{}: a secret cannot be used", path.display())]
    Secret {
        /// The account's file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: SecretFileError,
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
/// Secrets are read if their folder is given. The accounts of a route follow each other.
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

/// The names of a folder's TOML files.
pub(crate) fn names(folder: &Path) -> Result<BTreeSet<String>, RouteBookError> {
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
        let (account, keys) = held(&folder, &account, &route, secrets)?;
        let (host, port) = account.upstream(&route);
        if environment == Environment::Live
            && let Err(reason) = check_place(host, port)
        {
            let path = folder.join(format!("{}.toml", account.name));
            return Err(RouteBookError::Account { path, source: InvalidAccount::Value(reason) });
        }
        into.push(Registered { route, account, keys, roots_file });
    }
    Ok(())
}

/// An account and the secrets it names.
fn held(
    folder: &Path,
    name: &str,
    route: &Route,
    secrets: Option<&Path>,
) -> Result<(Account, AccountKeys), RouteBookError> {
    let path = folder.join(format!("{name}.toml"));
    let account = Account::parse(name, &text(&path)?, route)
        .map_err(|source| RouteBookError::Account { path: path.clone(), source })?;
    let keys = match secrets {
        Some(folder) => AccountKeys::read(route, &account, folder)
            .map_err(|source| RouteBookError::Secret { path, source })?,
        None => AccountKeys::default(),
    };
    Ok((account, keys))
}

pub(crate) fn text(path: &Path) -> Result<String, RouteBookError> {
    std::fs::read_to_string(path)
        .map_err(|source| RouteBookError::Unreadable { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

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
            write(&path, text);
        }
        folder
    }

    fn write(path: &Path, text: &str) {
        std::fs::write(path, text).unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
    }

    fn read_in(folder: &Path, only: &[&str]) -> Result<Vec<Registered>, RouteBookError> {
        let only = (!only.is_empty()).then(|| only.iter().map(|name| (*name).to_owned()).collect());
        read(folder, Some(folder), Environment::Test, only.as_ref())
    }

    #[test]
    fn routes_come_with_account_and_credential() {
        let folder = folder("sk_own\n");
        let routes = read_in(folder.path(), &[]).unwrap();
        assert_eq!(routes[0].keys.credential.as_ref().unwrap(), "Bearer sk_own");
        assert!(!format!("{:?}", routes[0]).contains("sk_own"), "credentials are not for logs");
        assert!(read(folder.path(), None, Environment::Live, None).unwrap()[0].keys.credential.is_none());
    }

    #[test]
    fn a_route_comes_with_all_its_accounts_and_each_with_its_own() {
        let folder = folder("sk_own\n");
        let account =
            "tenants = [\"m-501\"]\ncredential_file = \"m-501.key\"\nupstream = \"https://m501.psp.example\"";
        std::fs::write(folder.path().join("accounts/psp/m-501.toml"), account).unwrap();
        write(&folder.path().join("m-501.key"), "sk_501");
        let registered = read_in(folder.path(), &[]).unwrap();
        let [default, m501] = &registered[..] else { panic!("two accounts") };
        assert!(Arc::ptr_eq(&default.route, &m501.route));
        assert_eq!(m501.keys.credential.as_ref().unwrap(), "Bearer sk_501");
        assert_eq!(m501.upstream().host, "m501.psp.example");
        assert_eq!(default.upstream(), default.route.upstream);
        let live = || read(folder.path(), None, Environment::Live, None);
        assert!(live().is_ok());
        std::fs::write(
            folder.path().join("accounts/psp/m-501.toml"),
            account.replace("m501.psp.example", "134744072"),
        )
        .unwrap();
        assert!(read_in(folder.path(), &[]).is_ok());
        assert!(matches!(live(), Err(RouteBookError::Account { .. })), "an address, however it is spelled");
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        let two_lines = folder("a\nb\n");
        let error = read_in(two_lines.path(), &[]).unwrap_err();
        let because = std::error::Error::source(&error).unwrap().to_string();
        assert!(because.contains("one line"), "{because}");
        let open = folder("k");
        let key = open.path().join("psp.key");
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
        let error = read_in(open.path(), &[]).unwrap_err();
        assert!(std::error::Error::source(&error).unwrap().to_string().contains("chmod 600"), "{error}");
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
