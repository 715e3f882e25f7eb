//! What was found, and what of it may be shown.

use strongroom_domain::{Brand, test_numbers};

/// How a number was written.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, serde::Serialize)]
pub enum Encoding {
    /// One byte for a digit: ASCII, Latin-1, UTF-8.
    #[serde(rename = "plain")]
    Plain,
    /// UTF-16, low byte first.
    #[serde(rename = "utf-16le")]
    Utf16Le,
    /// UTF-16, high byte first.
    #[serde(rename = "utf-16be")]
    Utf16Be,
    /// Base64 of plain text, at whatever alignment, wrapped or not.
    #[serde(rename = "base64")]
    Base64,
}

impl Encoding {
    /// As reports write it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Utf16Le => "utf-16le",
            Self::Utf16Be => "utf-16be",
            Self::Base64 => "base64",
        }
    }
}

/// What may be shown of a number to whoever looks for it: at most its first six and last four digits (PCI DSS 3.4.1), and of
/// numbers under 14 digits the last four alone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Shown {
    bin: Option<[u8; 6]>,
    last4: [u8; 4],
}

impl Shown {
    /// Shortest number of which the first digits are shown: of a shorter one too little would stay hidden.
    const WITH_BIN_MIN: usize = 14;

    fn of(digits: &[u8]) -> Self {
        let bin = (digits.len() >= Self::WITH_BIN_MIN).then(|| digits.first_chunk().copied()).flatten();
        Self { bin, last4: digits.last_chunk().copied().unwrap_or(*b"????") }
    }

    /// The first six digits.
    #[must_use]
    pub fn bin(&self) -> Option<&str> {
        self.bin.as_ref().and_then(|bin| std::str::from_utf8(bin).ok())
    }

    /// The last four digits.
    #[must_use]
    pub fn last4(&self) -> &str {
        std::str::from_utf8(&self.last4).unwrap_or("????")
    }
}

/// One number somewhere in a stream. Holds no more of it than [`Shown`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// Where the gzip members begin that it is in, outermost first: each in the content of the one before.
    pub members: Vec<u64>,
    /// Its first byte: of the stream, or of the innermost member's content. In base64: of the group of four letters.
    pub offset: u64,
    /// How it is written.
    pub encoding: Encoding,
    /// Whether something stands between its digits.
    pub separated: bool,
    /// The brand its prefix says.
    pub brand: Brand,
    /// How many digits it has.
    pub length: u8,
    /// What may be shown.
    pub shown: Shown,
    /// Published for tests, or of the range nobody issues: listed apart.
    pub is_test: bool,
}

impl Finding {
    pub(crate) fn new(digits: &[u8], offset: u64, encoding: Encoding, separated: bool) -> Self {
        // No scheme issues 9999 99: this product's own test range.
        let is_test = test_numbers::is_published(digits) || digits.starts_with(b"999999");
        Self {
            members: Vec::new(),
            offset,
            encoding,
            separated,
            brand: Brand::of_digits(digits),
            length: u8::try_from(digits.len()).unwrap_or(u8::MAX),
            shown: Shown::of(digits),
            is_test,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_than_six_and_four_digits_are_kept() {
        let long = Finding::new(b"4111111111111111", 0, Encoding::Plain, false);
        assert_eq!((long.shown.bin(), long.shown.last4()), (Some("411111"), "1111"));
        assert!(long.is_test && long.length == 16);
        let short = Finding::new(b"4007000000027", 0, Encoding::Plain, false);
        assert_eq!((short.shown.bin(), short.shown.last4()), (None, "0027"));
        assert!(!Finding::new(b"4532015112830366", 0, Encoding::Plain, false).is_test);
        assert!(Finding::new(b"9999990000000006", 0, Encoding::Plain, false).is_test);
    }
}
