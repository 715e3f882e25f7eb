//! Other names of a card: what a platform may hold instead of the token.
//!
//! *PAN-shaped* aliases are for SDKs whose card field takes digits only; *foreign* aliases are the tokens of the vault a
//! platform moved from. Both are looked up, never computed from a number.
//!
//! Promises: no alias is a card number: a PAN-shaped one never passes the check digit, a foreign one holds a letter. None
//! is a token.
//! Upholds: C-02.

use std::fmt;

use sha2::{Digest, Sha256};

use crate::chance::{Random, RandomUnavailable};
use crate::environment::Environment;
use crate::pan::{Pan, luhn_holds};
use crate::scan;
use crate::token::{self, Token, TokenHash};

/// Digits of a PAN-shaped alias: some typed SDKs take no more.
const DIGITS: usize = 16;
/// Its random digits.
const RANDOM_DIGITS: usize = 10;
/// Most draws for one alias. Nine in ten serve; a source whose hundred draws all fail is none.
const DRAWS_MAX: u32 = 100;
/// Random bytes at or above this are drawn again, so that every digit is equally likely.
const UNBIASED_BYTES: u8 = 250;
/// Shortest and longest foreign alias: anything shorter is guessed, tokens of other vaults end well below.
const FOREIGN_BYTES: std::ops::RangeInclusive<usize> = 8..=128;

/// Sixteen digits that lead to a card: `9`, `0` in live or `1` in test, ten random digits, the number's last four.
///
/// Never Luhn-valid, and no network issues numbers that begin with 9: it is no card number anywhere.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct PanShaped(Box<str>);

/// Not an alias of this kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an alias")]
pub struct InvalidAlias;

impl PanShaped {
    /// From its parts. `None`: these pass the check digit; draw again.
    #[must_use]
    pub fn of_digits(
        environment: Environment,
        random: &[u8; RANDOM_DIGITS],
        last4: &[u8; 4],
    ) -> Option<Self> {
        let mut digits = [b'9'; DIGITS];
        digits[1] = environment_digit(environment);
        digits[2..2 + RANDOM_DIGITS].copy_from_slice(random);
        digits[2 + RANDOM_DIGITS..].copy_from_slice(last4);
        let text = std::str::from_utf8(&digits).ok()?;
        Self::parse(text).ok()
    }

    /// Draws a new one for a number with these last four digits. One draw in ten passes the check digit and is drawn
    /// again.
    pub fn generate(
        environment: Environment,
        last4: &[u8; 4],
        random: &dyn Random,
    ) -> Result<Self, RandomUnavailable> {
        let mut drawn = [0_u8; 24];
        for _ in 0..DRAWS_MAX {
            random.fill(&mut drawn)?;
            let mut digits = [0_u8; RANDOM_DIGITS];
            let mut length = 0;
            for byte in drawn.into_iter().filter(|byte| *byte < UNBIASED_BYTES).take(RANDOM_DIGITS) {
                digits[length] = b'0' + byte % 10;
                length += 1;
            }
            if length == RANDOM_DIGITS
                && let Some(alias) = Self::of_digits(environment, &digits, last4)
            {
                return Ok(alias);
            }
        }
        Err(RandomUnavailable)
    }

    /// The same, for this number.
    pub fn for_number(
        environment: Environment,
        pan: &Pan,
        random: &dyn Random,
    ) -> Result<Self, RandomUnavailable> {
        let last4 = pan.digits().last_chunk().copied().unwrap_or(*b"0000");
        Self::generate(environment, &last4, random)
    }

    /// ```
    /// # use strongroom_domain::alias::PanShaped;
    /// assert!(PanShaped::parse("9198765432100005").is_ok());
    /// assert!(PanShaped::parse("4242424242424242").is_err());
    /// ```
    pub fn parse(text: &str) -> Result<Self, InvalidAlias> {
        let digits = text.as_bytes();
        let right = digits.len() == DIGITS
            && digits.iter().all(u8::is_ascii_digit)
            && digits[0] == b'9'
            && matches!(digits[1], b'0' | b'1')
            && !luhn_holds(digits);
        if right { Ok(Self(text.into())) } else { Err(InvalidAlias) }
    }

    /// The environment its second digit says.
    #[must_use]
    pub fn environment(&self) -> Environment {
        if self.0.as_bytes()[1] == environment_digit(Environment::Live) {
            Environment::Live
        } else {
            Environment::Test
        }
    }

    /// Its last four digits: those of the number it was drawn for.
    #[must_use]
    pub fn last4(&self) -> &str {
        &self.0[DIGITS - 4..]
    }

    /// The sixteen digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

const fn environment_digit(environment: Environment) -> u8 {
    match environment {
        Environment::Live => b'0',
        Environment::Test => b'1',
    }
}

/// A token of another vault: 8 to 128 letters, digits and `-._~:`, with a letter in it; neither one of our tokens nor
/// anything that holds a card number.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Foreign(Box<str>);

impl Foreign {
    /// ```
    /// # use strongroom_domain::alias::Foreign;
    /// assert!(Foreign::parse("c06d0789-0a38-40be-b7cc-c28a718f76f1").is_ok());
    /// assert!(Foreign::parse("tok_test_bkscltdmvfnwgpxhqzjrbkscltdmvfnwzv").is_err());
    /// ```
    pub fn parse(text: &str) -> Result<Self, InvalidAlias> {
        let right = FOREIGN_BYTES.contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~:".contains(&byte))
            && text.bytes().any(|byte| byte.is_ascii_alphabetic())
            && !text.starts_with("tok_live_")
            && !text.starts_with("tok_test_")
            && !token::holds_token_shape(text.as_bytes())
            && !scan::holds_pan(text);
        if right { Ok(Self(text.into())) } else { Err(InvalidAlias) }
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Which kind an alias is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum AliasKind {
    /// Sixteen digits of ours.
    PanShaped,
    /// A token of another vault.
    Foreign,
}

impl AliasKind {
    /// As the store and the MAC write it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PanShaped => "pan_shaped",
            Self::Foreign => "foreign",
        }
    }

    /// Reads [`Self::as_str`].
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::PanShaped, Self::Foreign].into_iter().find(|kind| kind.as_str() == text)
    }
}

/// An alias of either kind. `Debug` shows its kind alone.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Alias {
    /// Sixteen digits of ours.
    PanShaped(PanShaped),
    /// A token of another vault.
    Foreign(Foreign),
}

impl Alias {
    /// Reads an alias of either kind. No text is both: a foreign one holds a letter.
    pub fn parse(text: &str) -> Result<Self, InvalidAlias> {
        PanShaped::parse(text).map(Self::PanShaped).or_else(|_| Foreign::parse(text).map(Self::Foreign))
    }

    /// Which kind it is.
    #[must_use]
    pub const fn kind(&self) -> AliasKind {
        match self {
            Self::PanShaped(_) => AliasKind::PanShaped,
            Self::Foreign(_) => AliasKind::Foreign,
        }
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::PanShaped(alias) => alias.as_str(),
            Self::Foreign(alias) => alias.as_str(),
        }
    }

    /// `SHA-256("strongroom/alias/v1" 00 ‖ alias)`: what the store finds it by.
    #[must_use]
    pub fn hash(&self) -> AliasHash {
        let mut hash = Sha256::new();
        hash.update(b"strongroom/alias/v1\0");
        hash.update(self.as_str().as_bytes());
        AliasHash(hash.finalize().into())
    }
}

impl fmt::Debug for Alias {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Alias({})", self.kind().as_str())
    }
}

impl fmt::Debug for PanShaped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PanShaped(…)")
    }
}

impl fmt::Debug for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Foreign(…)")
    }
}

/// What a request calls a card: its token or another name of it.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum CardName {
    /// Its token.
    Token(Token),
    /// Another name.
    Alias(Alias),
}

impl CardName {
    /// Reads a token or an alias. No text is both.
    pub fn parse(text: &str) -> Result<Self, InvalidAlias> {
        Token::parse(text).map(Self::Token).or_else(|_| Alias::parse(text).map(Self::Alias))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Token(token) => token.as_str(),
            Self::Alias(alias) => alias.as_str(),
        }
    }

    /// Whether it means a card only where a number belongs: sixteen digits anywhere else are somebody's reference.
    #[must_use]
    pub const fn is_for_numbers_only(&self) -> bool {
        matches!(self, Self::Alias(Alias::PanShaped(_)))
    }

    /// What logs call it before it is looked up: a token's reference, or the hash of an alias.
    #[must_use]
    pub fn unresolved(&self) -> TokenHash {
        match self {
            Self::Token(token) => token.hash(),
            Self::Alias(alias) => alias.hash().of_no_card(),
        }
    }
}

impl From<Token> for CardName {
    fn from(token: Token) -> Self {
        Self::Token(token)
    }
}

/// The hash an alias is found by. Labelled apart from tokens: none is ever a [`TokenHash`] of a token.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct AliasHash([u8; 32]);

impl AliasHash {
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

    /// The name of a card nobody has: what an alias that leads nowhere is looked up and logged by.
    #[must_use]
    pub const fn of_no_card(self) -> TokenHash {
        TokenHash::from_bytes(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pan_shaped_aliases_match_the_vectors() {
        let vectors: serde_json::Value =
            serde_json::from_str(include_str!("../tests/vectors/pan_shaped.json")).unwrap();
        for case in vectors["cases"].as_array().unwrap() {
            let text = |name: &str| case[name].as_str().unwrap();
            let environment =
                if text("environment") == "live" { Environment::Live } else { Environment::Test };
            let random = text("random_digits").as_bytes().try_into().unwrap();
            let alias =
                PanShaped::of_digits(environment, random, text("last4").as_bytes().try_into().unwrap());
            assert_eq!(alias.as_ref().map(PanShaped::as_str), case["alias"].as_str());
            assert!(alias.is_none_or(|alias| alias.environment() == environment));
        }
    }

    struct Counting(std::sync::atomic::AtomicU64);

    impl Random for Counting {
        fn fill(&self, out: &mut [u8]) -> Result<(), RandomUnavailable> {
            for chunk in out.chunks_mut(32) {
                let next = self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                chunk.copy_from_slice(&Sha256::digest(next.to_be_bytes())[..chunk.len()]);
            }
            Ok(())
        }
    }

    #[test]
    fn no_drawn_alias_is_a_card_number_and_every_digit_is_as_likely() {
        let random = Counting(0.into());
        let mut counts = [0_u32; 10];
        for _ in 0..5_000 {
            let alias = PanShaped::generate(Environment::Test, b"4242", &random).unwrap();
            assert!(alias.as_str().starts_with("91") && alias.as_str().ends_with("4242"));
            assert!(!luhn_holds(alias.as_str().as_bytes()) && !scan::holds_pan(alias.as_str()));
            assert!(Pan::parse(alias.as_str(), Environment::Live).is_err());
            assert_eq!(Alias::parse(alias.as_str()).map(|alias| alias.kind()), Ok(AliasKind::PanShaped));
            for digit in &alias.as_str().as_bytes()[2..12] {
                counts[usize::from(digit - b'0')] += 1;
            }
        }
        assert!(counts.iter().all(|count| (4_600..5_400).contains(count)), "{counts:?}");
    }

    #[test]
    fn a_foreign_alias_is_no_number_and_no_token_of_ours() {
        for right in [
            "c06d0789-0a38-40be-b7cc-c28a718f76f1",
            "SvVVGEsjBXRDhhPJ7pMHCnbSQuT",
            "card_1MoLFt2eZvKYlo2C",
            "411111ABCDEF1111",
            "tntabc.vault:card~1",
        ] {
            assert!(Foreign::parse(right).is_ok(), "{right}");
            assert!(Token::parse(right).is_err() && PanShaped::parse(right).is_err());
        }
        for wrong in [
            "",
            "short12",
            "4242424242424242",
            "9198765432100005",
            "12345678901234567890",
            "x4242424242424242",
            "card 1234567",
            "card/1234567",
            "kärte-1234567",
            "tok_test_anything",
            "tok_live_bkscltdmvfnwgpxhqzjrbkscltdmvfnwzv",
            "xtok_test_bkscltdmvfnwgpxhqzjrbkscltdmvfnwzv",
            &"x".repeat(129),
        ] {
            assert!(Foreign::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn debug_shows_no_alias() {
        for text in ["9198765432100005", "SvVVGEsjBXRDhhPJ7pMHCnbSQuT"] {
            assert!(!format!("{:?}", Alias::parse(text).unwrap()).contains(&text[3..]));
        }
    }
}
