//! PSP accounts: whose money a call moves, for which tenants, under which credential.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;
use toml::Spanned;
use toml::de::DeValue;

use super::checker::{Checker, Finding};
use super::file::parse_upstream;
use super::{
    Credentials, IdentityValue, RecipientKeyFile, Route, RouteName, SigningKeyFiles, identity, key_id,
    lies_inside,
};
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
    /// What requests may name the account by, for the route's places.
    pub identity: BTreeMap<String, IdentityValue>,
    /// What requests may call its key, where it has none that signs and has an id.
    own_key_id: Option<String>,
    /// The key requests are signed with, exactly where the route signs.
    pub signing: Option<SigningKeyFiles>,
    /// The PSP's key, exactly where the route encrypts.
    pub encryption: Option<RecipientKeyFile>,
    /// What it presents to the PSP in TLS, exactly where the route says `client_certificate`.
    pub client_certificate: Option<ClientCertificateFiles>,
}

/// A certificate PSPs ask for, and its key, in the proxy's secrets folder.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientCertificateFiles {
    /// The certificate and its intermediates, PEM.
    pub certificate_file: PathBuf,
    /// Its private key, PEM.
    pub key_file: PathBuf,
}

impl ClientCertificateFiles {
    fn fits(&self) -> Result<(), &'static str> {
        if lies_inside(&self.certificate_file) && lies_inside(&self.key_file) {
            return Ok(());
        }
        Err(
            "files of `client_certificate` lie inside the secrets folder; name them without `..` or a leading `/`",
        )
    }
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

impl InvalidAccount {
    fn reason(&self) -> String {
        match self {
            Self::Syntax(error) => error.message().to_owned(),
            Self::Value(reason) => (*reason).to_owned(),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AccountFile {
    tenants: Vec<String>,
    upstream: Option<String>,
    credential_file: Option<PathBuf>,
    #[serde(default)]
    credential_sha256: Vec<String>,
    #[serde(default)]
    identity: BTreeMap<String, IdentityValue>,
    key_id: Option<String>,
    signing: Option<SigningKeyFiles>,
    encryption: Option<RecipientKeyFile>,
    client_certificate: Option<ClientCertificateFiles>,
}

impl Account {
    /// Parses one account file for its route.
    pub fn parse(name: &str, text: &str, route: &Route) -> Result<Self, InvalidAccount> {
        Self::from_file(name, toml::from_str(text)?, route)
    }

    /// What is wrong with an account file, in its order; nothing exactly where [`Self::parse`] takes it.
    #[must_use]
    pub fn findings(name: &str, text: &str, route: &Route) -> Vec<Finding> {
        let (mut checker, document) = Checker::new(text);
        if let Some(mut document) = document {
            let any = Spanned::new(0..0, DeValue::String("*".into()));
            let tenants = ("tenants", DeValue::Array([any].into_iter().collect()));
            let made = checker.settle(&mut document, tenants, |file: AccountFile| {
                Self::from_file(name, file, route).map_err(|error| error.reason())
            });
            drop(made);
        }
        if checker.count() == 0
            && let Err(error) = Self::parse(name, text, route)
        {
            checker.add(0..0, error.to_string());
        }
        checker.findings()
    }

    fn from_file(name: &str, file: AccountFile, route: &Route) -> Result<Self, InvalidAccount> {
        let name = AccountName::parse(name)
            .ok_or(InvalidAccount::Value("its name is not lower-case letters, digits and hyphens"))?;
        let tenants =
            file.tenants.iter().map(|tenant| TenantScope::parse(tenant)).collect::<Option<Vec<_>>>();
        let tenants = tenants
            .filter(|tenants| !tenants.is_empty())
            .ok_or(InvalidAccount::Value("`tenants` needs at least one tenant, or \"*\""))?;
        let credential_sha256 =
            file.credential_sha256.iter().map(|text| sha256(text)).collect::<Option<Vec<_>>>();
        let own_upstream = file.upstream.as_deref().map(parse_upstream).transpose();
        let own_upstream = own_upstream.map_err(|_| {
            InvalidAccount::Value("`upstream` is https://HOST or https://HOST:PORT, lower case, without path")
        })?;
        let account = Self {
            name,
            tenants,
            credential_file: file.credential_file,
            own_upstream,
            credential_sha256: credential_sha256
                .ok_or(InvalidAccount::Value("`credential_sha256` is not 64 lower-case hex digits"))?,
            identity: file.identity,
            own_key_id: file.key_id,
            signing: file.signing,
            encryption: file.encryption,
            client_certificate: file.client_certificate,
        };
        account.fits(route).map_err(InvalidAccount::Value)?;
        Ok(account)
    }

    /// Whether it gives what the route asks of its accounts, and nothing else.
    fn fits(&self, route: &Route) -> Result<(), &'static str> {
        let file = self.credential_file.as_ref();
        match (route.credentials, route.credential_place.header.is_some()) {
            (Credentials::Account, true) if file.is_none() || !self.credential_sha256.is_empty() => {
                return Err("the route sets the account's credential: give `credential_file` only");
            }
            (Credentials::Pinned, true) if file.is_some() || self.credential_sha256.is_empty() => {
                return Err("the route pins the caller's credential: give `credential_sha256` only");
            }
            (Credentials::Unpinned, _) if file.is_some() || !self.credential_sha256.is_empty() => {
                return Err("the route takes any credential: give neither file nor digest");
            }
            (_, false) if file.is_some() || !self.credential_sha256.is_empty() => {
                return Err("the route has no header for a credential: give neither file nor digest");
            }
            _ => {}
        }
        if !file.is_none_or(|file| lies_inside(file)) {
            return Err(
                "`credential_file` lies inside the secrets folder; name it without `..` or a leading `/`",
            );
        }
        identity::fits(&self.identity, route)?;
        match (route.protect.client_certificate, &self.client_certificate) {
            (true, None) => return Err("the route presents certificates: give `[client_certificate]`"),
            (false, Some(_)) => {
                return Err("the route presents no certificate: leave out `[client_certificate]`");
            }
            (true, Some(files)) => files.fits()?,
            (false, None) => {}
        }
        let of_signing = self.signing.as_ref().and_then(|signing| signing.key_id.as_deref());
        key_id::fits(self.own_key_id.as_deref(), of_signing, route)?;
        match (&route.signing, &self.signing) {
            (Some(signing), Some(key)) => key.fits(signing)?,
            (Some(_), None) => return Err("the route signs: give `[signing]`"),
            (None, Some(_)) => return Err("the route does not sign: leave out `[signing]`"),
            (None, None) => {}
        }
        match (route.allow.iter().any(|call| call.encryption.is_some()), &self.encryption) {
            (true, None) => Err("the route encrypts: give `[encryption]`"),
            (false, Some(_)) => Err("the route does not encrypt: leave out `[encryption]`"),
            (true, Some(key)) if !lies_inside(&key.public_key_file) => {
                Err("`public_key_file` lies inside the secrets folder; name it without `..` or a leading `/`")
            }
            (true, Some(_)) | (false, None) => Ok(()),
        }
    }

    /// What requests call its key: it names this account where the route finds accounts so.
    #[must_use]
    pub fn key_id(&self) -> Option<&str> {
        let of_signing = self.signing.as_ref().and_then(|signing| signing.key_id.as_deref());
        of_signing.or(self.own_key_id.as_deref())
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

    /// Every file of the proxy's secrets folder that it names.
    pub fn secret_files(&self) -> impl Iterator<Item = &PathBuf> {
        let signing = self.signing.iter().flat_map(|key| key.secret_file.iter().chain(&key.private_key_file));
        let identity = self.identity.values().filter_map(|value| match value {
            IdentityValue::File { file } => Some(file),
            IdentityValue::One(_) | IdentityValue::Listed(_) | IdentityValue::Digests { .. } => None,
        });
        let recipient = self.encryption.iter().map(|recipient| &recipient.public_key_file);
        let presented = self.client_certificate.iter();
        let presented = presented.flat_map(|files| [&files.certificate_file, &files.key_file]);
        self.credential_file.iter().chain(signing).chain(identity).chain(recipient).chain(presented)
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

pub(super) fn sha256(text: &str) -> Option<[u8; 32]> {
    let mut digest = [0; 32];
    let lower = !text.bytes().any(|byte| byte.is_ascii_uppercase());
    (lower && hex::decode_to_slice(text, &mut digest).is_ok()).then_some(digest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::environment::Environment;

    fn route(credentials: Credentials, more: &str) -> Route {
        let mode = format!("{credentials:?}").to_lowercase();
        let text = format!(
            "[route.psp]\nupstream = \"https://psp.example\"\ncredentials = \"{mode}\"\n{more}\n\
             [[route.psp.pass]]\nmethod = \"GET\"\npath = \"/m/{{merchant}}/p\"\n"
        );
        Route::parse("psp", &text, Environment::Test).unwrap()
    }

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
            let route = route(mode, "credential = { header = \"Authorization\" }");
            assert_eq!(Account::parse("default", text, &route).is_ok(), fits, "{mode:?} {text}");
            assert_eq!(Account::findings("default", text, &route).is_empty(), fits, "{mode:?} {text}");
        }
        let present = "credential = { header = \"Authorization\" }\nprotect = { client_certificate = true }";
        let presents = route(Credentials::Unpinned, present);
        let files = |certificate: &str| {
            format!(
                "{none}\n[client_certificate]\ncertificate_file = \"{certificate}\"\nkey_file = \"psp/a.key\""
            )
        };
        assert!(Account::parse("default", none, &presents).is_err());
        assert!(Account::parse("default", &files("../a.pem"), &presents).is_err());
        let account = Account::parse("default", &files("psp/a.pem"), &presents).unwrap();
        assert_eq!(account.secret_files().count(), 2);
        let route = route(Credentials::Unpinned, "credential = { header = \"Authorization\" }");
        assert!(Account::parse("default", &files("psp/a.pem"), &route).is_err());
        let acme = Account::parse("default", none, &route).unwrap();
        assert!(
            acme.serves(&TenantId::parse("acme").unwrap())
                && !acme.serves(&TenantId::parse("globex").unwrap())
        );
    }

    #[test]
    fn everything_wrong_with_an_account_is_found_at_once() {
        let route = route(Credentials::Account, "credential = { header = \"Authorization\" }");
        let text = "tenants = []\nsurprise = 1\nupstream = \"http://m501\"\ncredential_file = \"../key\"\ncredential_sha256 = 7";
        let found = Account::findings("default", text, &route);
        let places: Vec<_> = found.iter().map(|finding| (finding.line, finding.column)).collect();
        assert_eq!(places, [(1, 1), (2, 1), (3, 1), (4, 1), (5, 21)], "{found:?}");
    }
}
