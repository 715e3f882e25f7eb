//! The other way round: signatures of senders, verified over the bytes that came.
//!
//! Promises: a message passes only under a secret of its sender, compared in constant time, and only while its timestamp
//! is within the tolerance, where one is declared. No error says what was wrong.
//! Does not promise: that a message comes once; whatever it leads to is the same however often it comes.
//! Upholds: C-42, C-53.

use std::path::Path;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use strongroom_domain::Timestamp;
use strongroom_domain::route::{HmacSigning, Output, Signing, SigningKeyFiles, TimeUnit, Verification};
use strongroom_perimeter::secret_file::SecretFileError;
use subtle::ConstantTimeEq as _;

use super::{Message, Signer, SigningKey, header, hmac};

/// The message is not signed by its sender, or not lately.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the message is not signed by its sender, or not lately")]
pub struct Unverified;

/// What knows a sender.
#[derive(Debug)]
pub struct Verifier {
    declared: Verification,
    signers: Vec<Signer>,
}

impl Verifier {
    /// Reads the sender's secrets below `folder`.
    pub fn read(declared: &Verification, folder: &Path) -> Result<Self, SecretFileError> {
        let signing = Signing::Hmac(declared.signing.clone());
        let signers = declared.secret_files.iter().map(|file| {
            let files =
                SigningKeyFiles { key_id: None, secret_file: Some(file.clone()), private_key_file: None };
            let key = SigningKey::read(&signing, &files, folder)?;
            Ok(Signer::new(signing.clone(), None, key))
        });
        Ok(Self { declared: declared.clone(), signers: signers.collect::<Result<_, SecretFileError>>()? })
    }

    /// Whether a message is the sender's.
    pub fn verify(&self, message: &Message<'_>, now: Timestamp) -> Result<(), Unverified> {
        let Verification { signing, .. } = &self.declared;
        self.is_recent(message, now)?;
        let given = given(signing, header(message.headers, &signing.header).map_err(|_| Unverified)?)?;
        // Each secret is tried, whichever fits: how long it takes says nothing of it.
        let mut fits = 0;
        for signer in &self.signers {
            let tag = hmac::tag(signer, signing, message).map_err(|_| Unverified)?;
            fits |= tag.as_ref().ct_eq(&given).unwrap_u8();
        }
        if fits == 1 { Ok(()) } else { Err(Unverified) }
    }

    fn is_recent(&self, message: &Message<'_>, now: Timestamp) -> Result<(), Unverified> {
        let Some(declared) = &self.declared.timestamp else { return Ok(()) };
        let text = header(message.headers, &declared.header).map_err(|_| Unverified)?;
        let told: i64 = text.trim().parse().map_err(|_| Unverified)?;
        let told = match declared.unit {
            TimeUnit::Seconds => told,
            TimeUnit::Milliseconds => told.div_euclid(1_000),
        };
        let apart = told.abs_diff(now.unix_seconds());
        if apart <= u64::from(declared.tolerance_s) { Ok(()) } else { Err(Unverified) }
    }
}

/// The bytes a signature's header says.
fn given(declared: &HmacSigning, value: &str) -> Result<Vec<u8>, Unverified> {
    let written = value.trim().strip_prefix(declared.prefix.as_str()).ok_or(Unverified)?;
    let decoded = match declared.output {
        Output::Hex => hex::decode(written).ok(),
        Output::Base64 => BASE64_STANDARD.decode(written).ok(),
        Output::Base64OfHex => BASE64_STANDARD.decode(written).ok().and_then(|text| hex::decode(text).ok()),
    };
    decoded.ok_or(Unverified)
}
