//! The file: what every tenant is to be.
//!
//! ```toml
//! [defaults]                                     # of every tenant below that does not say otherwise
//! groups = ["merchants"]
//! retention = { days = 400, reason = "chargebacks" }
//! [tenant.acme]
//! [tenant.globex]
//! suspended = true
//! ```
//! The settings themselves are the vault's to know: those of `PUT /v1/tenants/{tenant}`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use strongroom_domain::TenantId;

use super::desk::Settings;

/// Largest file: a hundred thousand tenants with some lines each.
const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Why a file is not applied.
#[derive(Debug, thiserror::Error)]
pub(super) enum FileError {
    #[error("cannot read {path}: {source}")]
    Unreadable { path: PathBuf, source: std::io::Error },
    #[error("{path} is larger than 16 MiB")]
    TooLarge { path: PathBuf },
    #[error("{path} is not a file of tenants: {source}")]
    Syntax { path: PathBuf, source: Box<toml::de::Error> },
    #[error("{path}: `{name}` is no tenant's name: {error}")]
    Name { path: PathBuf, name: String, error: strongroom_domain::InvalidTenantId },
    #[error("{path} names no tenant: write [tenant.NAME]")]
    Empty { path: PathBuf },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default)]
    defaults: Settings,
    #[serde(default)]
    tenant: BTreeMap<String, Settings>,
}

/// Reads a file whole. Tenants by name, defaults filled in.
pub(super) fn read(path: &Path) -> Result<Vec<(TenantId, Settings)>, FileError> {
    let unreadable = |source| FileError::Unreadable { path: path.to_owned(), source };
    if std::fs::metadata(path).map_err(unreadable)?.len() > FILE_BYTES_MAX {
        return Err(FileError::TooLarge { path: path.to_owned() });
    }
    parse(path, &std::fs::read_to_string(path).map_err(unreadable)?)
}

fn parse(path: &Path, text: &str) -> Result<Vec<(TenantId, Settings)>, FileError> {
    let Written { defaults, tenant } = toml::from_str(text)
        .map_err(|source| FileError::Syntax { path: path.to_owned(), source: Box::new(source) })?;
    if tenant.is_empty() {
        return Err(FileError::Empty { path: path.to_owned() });
    }
    let named = |(name, own): (String, Settings)| match TenantId::parse(&name) {
        Ok(tenant) => {
            let mut settings = defaults.clone();
            settings.extend(own);
            Ok((tenant, settings))
        }
        Err(error) => Err(FileError::Name { path: path.to_owned(), name, error }),
    };
    tenant.into_iter().map(named).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(text: &str) -> Result<Vec<(TenantId, Settings)>, FileError> {
        parse(Path::new("tenants.toml"), text)
    }

    #[test]
    fn defaults_are_filled_in_and_give_way() {
        let read = read("[defaults]\ngroups = [\"merchants\"]\nsuspended = false\n[tenant.globex]\nsuspended = true\n[tenant.acme]\n").unwrap();
        let plain: Vec<_> = read.iter().map(|(name, settings)| (name.as_str(), json!(settings))).collect();
        assert_eq!(
            plain,
            [
                ("acme", json!({ "groups": ["merchants"], "suspended": false })),
                ("globex", json!({ "groups": ["merchants"], "suspended": true })),
            ]
        );
    }

    #[test]
    fn what_is_no_file_of_tenants_is_refused_with_a_sentence() {
        for (text, word) in [
            ("", "[tenant.NAME]"),
            ("[tenants.acme]", "tenants"),
            ("[tenant.Acme]", "`Acme`"),
            ("[tenant.acme]\n[tenant.acme]", "acme"),
            ("[tenant]\nacme = 1", "invalid type"),
        ] {
            let told = read(text).unwrap_err().to_string();
            assert!(told.contains(word), "{text}: {told}");
        }
    }
}
