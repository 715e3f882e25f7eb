//! The token: what the platform holds instead of a card number.
//!
//! Promises: 138 random bits, no digit in it, so it can never look like a card number and a card number never parses
//! as one (PCI tokenization guidelines 2015, T1–T4 of the threat model's list).
//! Upholds: C-02.

use std::fmt;

use sha2::{Digest, Sha256};

use crate::chance::{Random, RandomUnavailable};
use crate::environment::Environment;

/// Digit-free, vowel-free: no words, no numbers.
const ALPHABET: &[u8; 20] = b"bcdfghjklmnpqrstvwxz";
/// Random letters: 32 × log2(20) = 138 bits.
const BODY_LETTERS: usize = 32;
/// Check letters.
const CHECK_LETTERS: usize = 2;
/// Random bytes at or above this are drawn again, so that every letter is equally likely.
const UNBIASED_BYTES: u8 = 240;

/// A card token. `Debug` shows its [`TokenRef`]; the whole token is only in [`Token::as_str`].
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Token(Box<str>);

/// Not a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a token")]
pub struct InvalidToken;

impl Token {
    /// Length of every token in bytes.
    pub const BYTES: usize = "tok_live_".len() + BODY_LETTERS + CHECK_LETTERS;

    /// Draws a new token.
    pub fn generate(environment: Environment, random: &dyn Random) -> Result<Self, RandomUnavailable> {
        let mut text = String::with_capacity(Self::BYTES);
        text.push_str(prefix(environment));
        let mut drawn = [0_u8; 64];
        'draw: loop {
            random.fill(&mut drawn)?;
            for byte in drawn.into_iter().filter(|byte| *byte < UNBIASED_BYTES) {
                text.push(letter(usize::from(byte)));
                if text.len() == Self::BYTES - CHECK_LETTERS {
                    break 'draw;
                }
            }
        }
        let check = check_letters(&text);
        text.extend(check);
        Ok(Self(text.into()))
    }

    /// ```
    /// # use strongroom_domain::Token;
    /// assert!(Token::parse("tok_test_bkscltdmvfnwgpxhqzjrbkscltdmvfnwzv").is_ok());
    /// assert!(Token::parse("4111111111111111").is_err());
    /// ```
    pub fn parse(text: &str) -> Result<Self, InvalidToken> {
        let body = [Environment::Live, Environment::Test]
            .into_iter()
            .find_map(|environment| text.strip_prefix(prefix(environment)))
            .ok_or(InvalidToken)?;
        let right_letters =
            body.len() == BODY_LETTERS + CHECK_LETTERS && body.bytes().all(|byte| ALPHABET.contains(&byte));
        if !right_letters {
            return Err(InvalidToken);
        }
        let (checked, check) = text.split_at(text.len() - CHECK_LETTERS);
        if check.chars().eq(check_letters(checked)) { Ok(Self(text.into())) } else { Err(InvalidToken) }
    }

    /// The whole token. For the caller that owns it, the store and the seal; never for a log.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The environment its prefix says.
    #[must_use]
    pub fn environment(&self) -> Environment {
        if self.0.starts_with(prefix(Environment::Live)) { Environment::Live } else { Environment::Test }
    }

    /// `SHA-256("strongroom/token/v1" 00 ‖ token)`.
    #[must_use]
    pub fn hash(&self) -> TokenHash {
        let mut hash = Sha256::new();
        hash.update(b"strongroom/token/v1\0");
        hash.update(self.0.as_bytes());
        TokenHash(hash.finalize().into())
    }

    /// What logs and audit entries call this token.
    #[must_use]
    pub fn token_ref(&self) -> TokenRef {
        self.hash().token_ref()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({})", self.token_ref())
    }
}

/// The hash a token is known by inside the vault.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct TokenHash([u8; 32]);

impl TokenHash {
    /// From a hash read back from the store.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The hash.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Its first 16 bytes, as people see them.
    #[must_use]
    pub fn token_ref(&self) -> TokenRef {
        TokenRef(hex::encode(&self.0[..16]).into())
    }
}

/// First 32 hex digits of a [`TokenHash`]: names a token without being one.
#[derive(Clone, PartialEq, Eq, Hash, Debug, serde::Serialize)]
#[serde(transparent)]
pub struct TokenRef(Box<str>);

impl TokenRef {
    /// Reads 32 lower-case hex digits.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let right = text.len() == 32 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        right.then(|| Self(text.into()))
    }

    /// The 32 digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TokenRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether a text holds something that looks like a token, whole or with wrong check letters: the shape that must
/// not stand where no token is declared.
#[must_use]
pub fn holds_token_shape(text: &[u8]) -> bool {
    [Environment::Live, Environment::Test].into_iter().any(|environment| {
        let prefix = prefix(environment).as_bytes();
        text.windows(prefix.len() + BODY_LETTERS).any(|window| {
            window.starts_with(prefix) && window[prefix.len()..].iter().all(|byte| ALPHABET.contains(byte))
        })
    })
}

const fn prefix(environment: Environment) -> &'static str {
    match environment {
        Environment::Live => "tok_live_",
        Environment::Test => "tok_test_",
    }
}

fn letter(number: usize) -> char {
    char::from(ALPHABET[number % ALPHABET.len()])
}

/// Finds typing and truncation errors before any look-up; it is no secret.
fn check_letters(before: &str) -> [char; CHECK_LETTERS] {
    let mut hash = Sha256::new();
    hash.update(b"strongroom/token-check/v1\0");
    hash.update(before.as_bytes());
    let digest: [u8; 32] = hash.finalize().into();
    let first = u64::from_be_bytes([
        digest[0], digest[1], digest[2], digest[3], digest[4], digest[5], digest[6], digest[7],
    ]);
    let value = (first % 400) as usize;
    [letter(value / 20), letter(value % 20)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    struct Scripted(Mutex<Vec<u8>>);

    impl Random for Scripted {
        fn fill(&self, out: &mut [u8]) -> Result<(), RandomUnavailable> {
            let mut left = self.0.lock().unwrap();
            if left.len() < out.len() {
                return Err(RandomUnavailable);
            }
            for (byte, next) in out.iter_mut().zip(left.drain(..)) {
                *byte = next;
            }
            Ok(())
        }
    }

    fn vectors() -> serde_json::Value {
        serde_json::from_str(include_str!("../tests/vectors/token.json")).unwrap()
    }

    #[test]
    fn tokens_from_given_bytes_match_the_vectors() {
        for case in vectors()["cases"].as_array().unwrap() {
            let environment =
                if case["prefix"] == "tok_live_" { Environment::Live } else { Environment::Test };
            let random = Scripted(Mutex::new(hex::decode(case["random"].as_str().unwrap()).unwrap()));
            let token = Token::generate(environment, &random).unwrap();
            assert_eq!(token.as_str(), case["token"].as_str().unwrap());
            assert_eq!(Token::parse(token.as_str()), Ok(token.clone()));
            assert_eq!(token.environment(), environment);
        }
    }

    #[test]
    fn what_is_no_token_is_refused() {
        for case in vectors()["failures"].as_array().unwrap() {
            assert_eq!(Token::parse(case["text"].as_str().unwrap()), Err(InvalidToken), "{}", case["name"]);
        }
    }

    #[test]
    fn no_randomness_no_token() {
        assert_eq!(Token::generate(Environment::Live, &Scripted(Mutex::default())), Err(RandomUnavailable));
    }

    #[test]
    fn debug_shows_the_reference_only() {
        let token = Token::parse("tok_test_bkscltdmvfnwgpxhqzjrbkscltdmvfnwzv").unwrap();
        let shown = format!("{token:?}");
        assert!(shown.contains(token.token_ref().as_str()) && !shown.contains("bksclt"));
    }

    #[test]
    fn the_shape_is_found_inside_other_text() {
        assert!(holds_token_shape(b"x=tok_live_bkscltdmvfnwgpxhqzjrbkscltdmvfnwnf;"));
        assert!(!holds_token_shape(b"tok_live_short and tok_visa"));
    }
}
