//! Object storage the signed log is exported to.

use std::path::PathBuf;

use serde::Deserialize;

/// Longest time objects are held: a mistake in `COMPLIANCE` mode cannot be undone.
const DAYS_MAX: u32 = 3_660;

/// A bucket with object lock.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BucketConfig {
    /// Where the storage is: https://HOST or https://HOST:PORT.
    pub endpoint: String,
    /// Its region.
    pub region: String,
    /// The bucket: made with object lock on.
    pub name: String,
    /// What stands before every object's name: empty, or a path that ends with `/`.
    #[serde(default)]
    pub prefix: String,
    /// The access key's id. It may put and get objects and their retention, and delete nothing.
    pub access_key_id: String,
    /// File holding the secret access key.
    pub secret_access_key_file: PathBuf,
    /// PEM file of the authorities the storage's certificate must lead to; the WebPKI's if absent.
    pub roots_file: Option<PathBuf>,
    /// How long objects are held.
    pub retention: LockConfig,
}

/// How long objects are held.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockConfig {
    /// `COMPLIANCE`: nobody deletes before the time. `GOVERNANCE`: nobody without a right of their own.
    pub mode: LockMode,
    /// Days from the writing of each object. PCI DSS 10.5.1 asks for at least a year.
    pub days: u32,
}

/// Modes of object lock.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum LockMode {
    /// Nobody deletes before the time.
    Compliance,
    /// Nobody without a right of their own.
    Governance,
}

impl LockMode {
    /// As the storage names it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Compliance => "COMPLIANCE",
            Self::Governance => "GOVERNANCE",
        }
    }
}

impl BucketConfig {
    /// Whether every setting is what it must be. Names the setting that is not.
    pub fn check(&self) -> Result<(), String> {
        self.authority()?;
        let name = |text: &str, more: &[u8]| {
            text.bytes().all(|byte| byte.is_ascii_alphanumeric() || more.contains(&byte))
        };
        if !(3..=63).contains(&self.name.len()) || !name(&self.name, b".-") {
            return Err("name is 3 to 63 letters, digits, dots and hyphens".into());
        }
        let is_path =
            name(&self.prefix, b"._-/") && !self.prefix.contains("//") && !self.prefix.starts_with('/');
        if self.prefix.len() > 200 || !is_path || !(self.prefix.is_empty() || self.prefix.ends_with('/')) {
            return Err("prefix is empty, or letters, digits, `.`, `_`, `-` and `/` that end with `/`".into());
        }
        if self.region.is_empty() || !name(&self.region, b"-") {
            return Err("region is letters, digits and hyphens".into());
        }
        if self.access_key_id.is_empty() || !name(&self.access_key_id, b"._-") {
            return Err("access_key_id is letters and digits".into());
        }
        if !(1..=DAYS_MAX).contains(&self.retention.days) {
            return Err("retention.days is 1 to 3660".into());
        }
        Ok(())
    }

    /// Host and port.
    pub fn authority(&self) -> Result<http::uri::Authority, String> {
        let wrong = || "endpoint is https://HOST or https://HOST:PORT without a path".to_owned();
        let authority = self.endpoint.strip_prefix("https://").ok_or_else(wrong)?.trim_end_matches('/');
        let parsed: http::uri::Authority = authority.parse().map_err(|_| wrong())?;
        if authority.contains('@') || parsed.host().is_empty() { Err(wrong()) } else { Ok(parsed) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RIGHT: &str = "endpoint = \"https://s3.example\"\nregion = \"eu-central-1\"\nname = \"vault-log\"\nprefix = \"live/\"\n\
         access_key_id = \"vault\"\nsecret_access_key_file = \"/run/secrets/s3\"\n\
         retention = { mode = \"COMPLIANCE\", days = 400 }\n";

    #[test]
    fn a_bucket_is_what_can_be_written_to_and_locked() {
        let check =
            |text: &str| toml::from_str::<BucketConfig>(text).map_err(|error| error.to_string())?.check();
        check(RIGHT).unwrap();
        for (from, to, word) in [
            ("https://s3.example", "http://s3.example", "endpoint"),
            ("https://s3.example", "https://s3.example/x", "endpoint"),
            ("https://s3.example", "https://me@s3.example", "endpoint"),
            ("vault-log", "a/b", "name"),
            ("live/", "live", "prefix"),
            ("live/", "/live/", "prefix"),
            ("live/", "a?b/", "prefix"),
            ("eu-central-1", "eu central", "region"),
            ("\"vault\"", "\"a b\"", "access_key_id"),
            ("days = 400", "days = 0", "retention.days"),
            ("days = 400", "days = 4000", "retention.days"),
            ("COMPLIANCE", "NONE", "mode"),
            ("retention = { mode = \"COMPLIANCE\", days = 400 }", "", "retention"),
        ] {
            let refused = check(&RIGHT.replacen(from, to, 1)).unwrap_err();
            assert!(refused.contains(word), "{to}: {refused}");
        }
    }
}
