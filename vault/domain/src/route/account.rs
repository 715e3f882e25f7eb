//! PSP accounts: whose money a call moves, for which tenants, under which credential.

use std::path::PathBuf;

use serde::Deserialize;

use super::file::parse_upstream;
use super::{Credentials, Route, RouteName};
use crate::tenant::TenantId;

/// An account's name; the grammar is a tenant's.
pub type AccountName = RouteName;

/// One account at one route: `policies/accounts/<route>/<account>.toml`.
#[derive(Clone, Debug)]
pub struct Account {
    /// Its name: the file's, without ending.
    pub name: AccountName,
    /// The tenants whose cards may go there.
    pub tenants: Vec<TenantScope>,
    /// File the credential is read from (`credentials = "account"`), relative to the proxy's configured secrets folder.
    pub credential_file: Option<PathBuf>,
    /// Host and port of its own, where the PSP gives each merchant one; else the route's.
    pub own_upstream: Option<(String, u16)>,
    /// SHA-256 of each credential a caller may bring (`credentials = "pinned"`).
    pub credential_sha256: Vec<[u8; 32]>,
}

/// Which tenants an account serves.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TenantScope {
    /// Every tenant (`"*"`): a platform's own account.
    Any,
    /// One tenant.
    One(TenantId),
}

/// Why an account file is refused.
#[derive(Debug, thiserror::Error)]
pub enum InvalidAccount {
    /// Not TOML, or an unknown setting.
    #[error("account file cannot be read: {0}")]
    Syntax(#[from] toml::de::Error),
    /// A value is wrong.
    #[error("account file: {0}")]
    Value(&'static str),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AccountFile {
    tenants: Vec<String>,
    upstream: Option<String>,
    credential_file: Option<PathBuf>,
    #[serde(default)]
    credential_sha256: Vec<String>,
}

impl Account {
    /// Parses one account file for a route that asks for `credentials`.
    pub fn parse(name: &str, text: &str, credentials: Credentials) -> Result<Self, InvalidAccount> {
        let file: AccountFile = toml::from_str(text)?;
        let name = AccountName::parse(name)
            .ok_or(InvalidAccount::Value("its name is not lower-case letters, digits and hyphens"))?;
        let tenants =
            file.tenants.iter().map(|tenant| TenantScope::parse(tenant)).collect::<Option<Vec<_>>>();
        let tenants = tenants
            .filter(|tenants| !tenants.is_empty())
            .ok_or(InvalidAccount::Value("`tenants` needs at least one tenant, or \"*\""))?;
        let credential_sha256 =
            file.credential_sha256.iter().map(|text| sha256(text)).collect::<Option<Vec<_>>>();
        let credential_sha256 = credential_sha256
            .ok_or(InvalidAccount::Value("`credential_sha256` is not 64 lower-case hex digits"))?;
        match (credentials, &file.credential_file, credential_sha256.is_empty()) {
            (Credentials::Account, Some(_), true)
            | (Credentials::Pinned, None, false)
            | (Credentials::Unpinned, None, true) => {}
            (Credentials::Account, ..) => {
                return Err(InvalidAccount::Value(
                    "the route sets the account's credential: give `credential_file` only",
                ));
            }
            (Credentials::Pinned, ..) => {
                return Err(InvalidAccount::Value(
                    "the route pins the caller's credential: give `credential_sha256` only",
                ));
            }
            (Credentials::Unpinned, ..) => {
                return Err(InvalidAccount::Value(
                    "the route takes any credential: give neither file nor digest",
                ));
            }
        }
        let own_upstream = file.upstream.as_deref().map(parse_upstream).transpose();
        let own_upstream = own_upstream.map_err(|_| {
            InvalidAccount::Value("`upstream` is https://HOST or https://HOST:PORT, lower case, without path")
        })?;
        Ok(Self { name, tenants, credential_file: file.credential_file, own_upstream, credential_sha256 })
    }

    /// The only host and port calls for this account go to.
    #[must_use]
    pub fn upstream<'a>(&'a self, route: &'a Route) -> (&'a str, u16) {
        let (host, port) = self
            .own_upstream
            .as_ref()
            .map_or((&route.upstream.host, route.upstream.port), |(host, port)| (host, *port));
        (host, port)
    }

    /// Whether cards of this tenant may go to this account.
    #[must_use]
    pub fn serves(&self, tenant: &TenantId) -> bool {
        self.tenants.iter().any(|scope| match scope {
            TenantScope::Any => true,
            TenantScope::One(one) => one == tenant,
        })
    }
}

impl TenantScope {
    fn parse(text: &str) -> Option<Self> {
        if text == "*" { Some(Self::Any) } else { TenantId::parse(text).ok().map(Self::One) }
    }
}

fn sha256(text: &str) -> Option<[u8; 32]> {
    let mut digest = [0; 32];
    let lower = !text.bytes().any(|byte| byte.is_ascii_uppercase());
    (lower && hex::decode_to_slice(text, &mut digest).is_ok()).then_some(digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_fits_its_routes_credential_mode() {
        let pinned = format!("tenants = [\"acme\"]\ncredential_sha256 = [\"{}\"]", "0".repeat(64));
        let own = "tenants = [\"*\"]\ncredential_file = \"stripe.key\"";
        let none = "tenants = [\"acme\"]";
        for (text, mode, fits) in [
            (own, Credentials::Account, true),
            (own, Credentials::Pinned, false),
            (pinned.as_str(), Credentials::Pinned, true),
            (pinned.as_str(), Credentials::Account, false),
            (none, Credentials::Unpinned, true),
            (none, Credentials::Account, false),
            ("tenants = []\ncredential_file = \"k\"", Credentials::Account, false),
            ("tenants = [\"acme\"]\nsurprise = 1", Credentials::Unpinned, false),
            (
                "tenants = [\"acme\"]\nupstream = \"https://m501.psp.example:8443\"",
                Credentials::Unpinned,
                true,
            ),
            ("tenants = [\"acme\"]\nupstream = \"http://m501.psp.example\"", Credentials::Unpinned, false),
            ("tenants = [\"acme\"]\nupstream = \"https://m501.psp.example/x\"", Credentials::Unpinned, false),
        ] {
            assert_eq!(Account::parse("default", text, mode).is_ok(), fits, "{mode:?} {text}");
        }
        let acme = Account::parse("default", none, Credentials::Unpinned).unwrap();
        assert!(
            acme.serves(&TenantId::parse("acme").unwrap())
                && !acme.serves(&TenantId::parse("globex").unwrap())
        );
    }
}
