//! Live money or test money. The two never mix: not in tokens, records, keys or numbers.

use std::fmt;

/// Which world a service, a token or a key belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Environment {
    /// Real cards. Refuses test numbers and the file KMS.
    Live,
    /// Published test numbers and configured test ranges only.
    Test,
}

impl Environment {
    /// `live` or `test`, as formats and logs write it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Test => "test",
        }
    }
}

impl fmt::Display for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
