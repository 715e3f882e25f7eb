//! Signing keys, read from files.
//!
//! Promises: a key file others may open, or that holds another kind of key than the route signs with, is refused with
//! what to do; no error and no `Debug` shows a key.

use std::path::Path;

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
    RsaKeyPair,
};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::pem::PemObject;
use strongroom_domain::route::{
    ChecksumSigning, HmacSigning, MessageAlgorithm, MessageSigning, SecretEncoding, Signing, SigningKeyFiles,
};
use strongroom_perimeter::secret_file::{self, SecretFileError};
use zeroize::Zeroizing;

/// Shortest RSA key (NIST SP 800-131A).
const RSA_BYTES_MIN: usize = 256;
/// Shortest shared secret. What PSPs give out has 32 bytes and more.
const SECRET_BYTES_MIN: usize = 16;

/// Written where a signed string holds the secret itself.
const STAND_IN: &str = "SECRET";

/// What an account signs with.
pub enum SigningKey {
    /// A secret shared with the PSP.
    Shared {
        /// As the file has it.
        written: Zeroizing<String>,
        /// The key itself.
        key: Zeroizing<Vec<u8>>,
    },
    /// RSA.
    Rsa(Box<RsaKeyPair>),
    /// ECDSA on the curve the route names.
    Ecdsa(Box<EcdsaKeyPair>),
    /// Ed25519.
    Ed25519(Box<Ed25519KeyPair>),
    /// In the place of a private key where a request is explained. Signs nothing.
    StandIn,
}

/// Shows no key.
impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Shared { .. } => "Shared(..)",
            Self::Rsa(_) => "Rsa(..)",
            Self::Ecdsa(_) => "Ecdsa(..)",
            Self::Ed25519(_) => "Ed25519(..)",
            Self::StandIn => "StandIn",
        })
    }
}

impl SigningKey {
    /// Reads the account's key for what the route declares. Paths are relative to `folder`.
    pub fn read(signing: &Signing, files: &SigningKeyFiles, folder: &Path) -> Result<Self, SecretFileError> {
        match (&files.secret_file, &files.private_key_file) {
            (Some(file), None) => {
                let path = folder.join(file);
                let written = secret_file::read_line(&path)?;
                Self::shared(encoding(signing), written).map_err(|why| SecretFileError::content(&path, why))
            }
            (None, Some(file)) => {
                let path = folder.join(file);
                let pem = secret_file::read(&path)?;
                Self::private(signing, &pem).map_err(|why| SecretFileError::content(&path, why))
            }
            _ => Err(SecretFileError::content(folder, "an account signs with one key: give one file")),
        }
    }

    /// What stands for an account's key where a request is explained: of the same kind, and no key of anybody's.
    #[must_use]
    pub fn stand_in(files: &SigningKeyFiles) -> Self {
        match &files.secret_file {
            Some(_) => {
                Self::Shared { written: Zeroizing::new(STAND_IN.to_owned()), key: Zeroizing::new(Vec::new()) }
            }
            None => Self::StandIn,
        }
    }

    /// A shared secret as its file has it.
    pub(super) fn shared(encoding: SecretEncoding, written: Zeroizing<String>) -> Result<Self, &'static str> {
        let key = match encoding {
            SecretEncoding::Text => Some(written.as_bytes().to_vec()),
            SecretEncoding::Base64 => BASE64_STANDARD.decode(written.as_bytes()).ok(),
            SecretEncoding::Hex => hex::decode(written.as_bytes()).ok(),
        };
        let key = Zeroizing::new(key.ok_or("is not in the encoding the route's `secret` names")?);
        if key.len() < SECRET_BYTES_MIN {
            return Err("is shorter than 16 bytes: no psp gives out so short a secret");
        }
        Ok(Self::Shared { written, key })
    }

    /// A private key in PEM form.
    pub(super) fn private(signing: &Signing, pem: &[u8]) -> Result<Self, &'static str> {
        let der = PrivatePkcs8KeyDer::from_pem_slice(pem).map_err(|_| {
            "holds no PKCS #8 private key in PEM form; of a .p12 file: \
             openssl pkcs12 -in key.p12 -nocerts -nodes | openssl pkcs8 -topk8 -nocrypt -out key.pem"
        })?;
        let der = der.secret_pkcs8_der();
        let algorithm = match signing {
            Signing::MessageSignature(declared) => declared.algorithm,
            Signing::CyberSource {} => MessageAlgorithm::RsaV15Sha256,
            Signing::Hmac(_) | Signing::AwsV4 { .. } | Signing::Checksum(_) => MessageAlgorithm::HmacSha256,
        };
        match algorithm {
            MessageAlgorithm::HmacSha256 => Err("is a private key, but the route signs with a shared secret"),
            MessageAlgorithm::RsaPssSha512 | MessageAlgorithm::RsaV15Sha256 => {
                let key = RsaKeyPair::from_pkcs8(der).map_err(|_| "holds no usable RSA key")?;
                if key.public_modulus_len() < RSA_BYTES_MIN {
                    return Err("holds an RSA key of less than 2048 bits");
                }
                Ok(Self::Rsa(Box::new(key)))
            }
            MessageAlgorithm::EcdsaP256Sha256 => {
                EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der)
                    .map(|key| Self::Ecdsa(Box::new(key)))
                    .map_err(|_| "holds no key of the curve P-256")
            }
            MessageAlgorithm::EcdsaP384Sha384 => {
                EcdsaKeyPair::from_pkcs8(&ECDSA_P384_SHA384_FIXED_SIGNING, der)
                    .map(|key| Self::Ecdsa(Box::new(key)))
                    .map_err(|_| "holds no key of the curve P-384")
            }
            MessageAlgorithm::Ed25519 => Ed25519KeyPair::from_pkcs8_maybe_unchecked(der)
                .map(|key| Self::Ed25519(Box::new(key)))
                .map_err(|_| "holds no Ed25519 key"),
        }
    }
}

const fn encoding(signing: &Signing) -> SecretEncoding {
    match signing {
        // What the Business Center gives out.
        Signing::CyberSource {} => SecretEncoding::Base64,
        Signing::AwsV4 { .. } => SecretEncoding::Text,
        Signing::Hmac(HmacSigning { secret, .. })
        | Signing::Checksum(ChecksumSigning { secret, .. })
        | Signing::MessageSignature(MessageSigning { secret, .. }) => *secret,
    }
}
