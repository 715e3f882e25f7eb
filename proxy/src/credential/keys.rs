//! An account's secrets, read from files: its credential, what names it, what signs for it, whom it encrypts to.
//!
//! Promises: read as a whole or not at all; a file others may open is refused; nothing of it is ever shown.
//! Upholds: C-18, C-42.

use std::collections::BTreeMap;
use std::path::Path;

use http::HeaderValue;
use strongroom_domain::route::{Account, CredentialPlace, IdentityValue, Route};
use strongroom_perimeter::secret_file::{self, SecretFileError};
use zeroize::Zeroizing;

use super::Presented;
use crate::sign::jwe::Recipient;
use crate::sign::{Signer, SigningKey};

/// What is written where an account's credential or another secret of its would stand.
pub(crate) const STAND_IN: &str = "CREDENTIAL";

/// The secrets of one account. The default is none.
#[derive(Default)]
pub struct AccountKeys {
    /// The credential as the header value that leaves: exactly in `account` mode. Marked sensitive.
    pub credential: Option<HeaderValue>,
    /// Secrets that name the account, by their names.
    pub identity: BTreeMap<String, Zeroizing<String>>,
    /// What signs, where the route signs.
    pub signer: Option<Signer>,
    /// Whom calls are encrypted to, where the route encrypts.
    pub recipient: Option<Recipient>,
    /// What it presents in TLS, where the route does.
    pub presented: Option<Presented>,
}

/// Shows no secret.
impl std::fmt::Debug for AccountKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AccountKeys")
            .field("credential", &self.credential.is_some())
            .field("signer", &self.signer)
            .field("recipient", &self.recipient)
            .finish_non_exhaustive()
    }
}

impl AccountKeys {
    /// What stands for an account's secrets where a request is explained: each named, none of them its own.
    #[must_use]
    pub fn stand_in(route: &Route, account: &Account) -> Self {
        let credential = account.credential_file.as_ref().map(|_| match &route.credential_place.scheme {
            Some(scheme) => format!("{scheme} {STAND_IN}"),
            None => STAND_IN.to_owned(),
        });
        let secret = |value: &IdentityValue| matches!(value, IdentityValue::File { .. });
        let identity = account.identity.iter().filter(|(_, value)| secret(value));
        let signing = route.signing.as_ref().zip(account.signing.as_ref());
        Self {
            credential: credential.and_then(|text| HeaderValue::try_from(text).ok()),
            identity: identity.map(|(name, _)| (name.clone(), Zeroizing::new(STAND_IN.to_owned()))).collect(),
            signer: signing.map(|(signing, files)| {
                Signer::new(signing.clone(), files.key_id.clone(), SigningKey::stand_in(files))
            }),
            recipient: None,
            presented: None,
        }
    }

    /// Reads every file the account names below `folder`.
    pub fn read(route: &Route, account: &Account, folder: &Path) -> Result<Self, SecretFileError> {
        let mut keys = Self::default();
        if let Some(file) = &account.credential_file {
            keys.credential = Some(credential(&folder.join(file), &route.credential_place)?);
        }
        for (name, value) in &account.identity {
            if let IdentityValue::File { file } = value {
                keys.identity.insert(name.clone(), secret_file::read_line(&folder.join(file))?);
            }
        }
        if let (Some(signing), Some(files)) = (&route.signing, &account.signing) {
            let key = SigningKey::read(signing, files, folder)?;
            keys.signer = Some(Signer::new(signing.clone(), files.key_id.clone(), key));
        }
        if let Some(recipient) = &account.encryption {
            let path = folder.join(&recipient.public_key_file);
            let pem = std::fs::read(&path)
                .map_err(|source| SecretFileError::Unreadable { path: path.clone(), source })?;
            let read = Recipient::from_pem(&pem, recipient.key_id.as_deref());
            keys.recipient = Some(read.map_err(|reason| SecretFileError::content(&path, reason))?);
        }
        if let Some(files) = &account.client_certificate {
            keys.presented = Some(Presented::read(files, folder)?);
        }
        Ok(keys)
    }
}

/// One line: exactly what follows the scheme.
fn credential(path: &Path, place: &CredentialPlace) -> Result<HeaderValue, SecretFileError> {
    let secret = secret_file::read_line(path)?;
    let line = Zeroizing::new(match &place.scheme {
        Some(scheme) => format!("{scheme} {}", *secret),
        None => (*secret).clone(),
    });
    let mut value = HeaderValue::from_str(&line)
        .map_err(|_| SecretFileError::content(path, "has a character no header takes"))?;
    value.set_sensitive(true);
    Ok(value)
}
