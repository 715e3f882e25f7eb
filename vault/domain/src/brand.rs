//! Card brands by issuer identification number (ISO/IEC 7812-1).
//!
//! Does not promise: authority. Ranges move between schemes; a brand is shown to people and counted, never decided on.

/// The scheme a number's leading digits belong to.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "each variant is the scheme's own name")]
pub enum Brand {
    Visa,
    Mastercard,
    Amex,
    Discover,
    Diners,
    Jcb,
    UnionPay,
    Maestro,
    Elo,
    RuPay,
    Mir,
    Unknown,
}

/// One range of six-digit prefixes, both ends included, and the lengths its numbers have.
struct Range {
    from: u32,
    to: u32,
    brand: Brand,
    lengths: &'static [u8],
}

const fn range(from: u32, to: u32, brand: Brand, lengths: &'static [u8]) -> Range {
    Range { from, to, brand, lengths }
}

const SIXTEEN_TO_NINETEEN: &[u8] = &[16, 17, 18, 19];
const TWELVE_TO_NINETEEN: &[u8] = &[12, 13, 14, 15, 16, 17, 18, 19];

/// First match wins: the narrow ranges of Elo, RuPay and Mir stand before the wide ones they lie in.
const RANGES: &[Range] = &[
    range(401178, 401179, Brand::Elo, &[16]),
    range(431274, 431274, Brand::Elo, &[16]),
    range(438935, 438935, Brand::Elo, &[16]),
    range(451416, 451416, Brand::Elo, &[16]),
    range(457393, 457393, Brand::Elo, &[16]),
    range(457631, 457632, Brand::Elo, &[16]),
    range(504175, 504175, Brand::Elo, &[16]),
    range(506699, 506778, Brand::Elo, &[16]),
    range(509000, 509999, Brand::Elo, &[16]),
    range(627780, 627780, Brand::Elo, &[16]),
    range(636297, 636297, Brand::Elo, &[16]),
    range(636368, 636368, Brand::Elo, &[16]),
    range(650031, 650033, Brand::Elo, &[16]),
    range(650035, 650051, Brand::Elo, &[16]),
    range(650405, 650439, Brand::Elo, &[16]),
    range(650485, 650538, Brand::Elo, &[16]),
    range(650541, 650598, Brand::Elo, &[16]),
    range(650700, 650718, Brand::Elo, &[16]),
    range(650720, 650727, Brand::Elo, &[16]),
    range(650901, 650978, Brand::Elo, &[16]),
    range(651652, 651679, Brand::Elo, &[16]),
    range(655000, 655019, Brand::Elo, &[16]),
    range(655021, 655058, Brand::Elo, &[16]),
    range(508500, 508999, Brand::RuPay, &[16]),
    range(606985, 607984, Brand::RuPay, &[16]),
    range(608001, 608500, Brand::RuPay, &[16]),
    range(652150, 653149, Brand::RuPay, &[16]),
    range(220000, 220499, Brand::Mir, SIXTEEN_TO_NINETEEN),
    range(222100, 272099, Brand::Mastercard, &[16]),
    range(300000, 305999, Brand::Diners, &[14, 15, 16, 17, 18, 19]),
    range(309500, 309599, Brand::Diners, &[14, 15, 16, 17, 18, 19]),
    range(340000, 349999, Brand::Amex, &[15]),
    range(352800, 358999, Brand::Jcb, SIXTEEN_TO_NINETEEN),
    range(360000, 369999, Brand::Diners, &[14, 15, 16, 17, 18, 19]),
    range(370000, 379999, Brand::Amex, &[15]),
    range(380000, 399999, Brand::Diners, &[14, 15, 16, 17, 18, 19]),
    range(400000, 499999, Brand::Visa, &[13, 16, 18, 19]),
    range(500000, 508499, Brand::Maestro, TWELVE_TO_NINETEEN),
    range(510000, 559999, Brand::Mastercard, &[16]),
    range(560000, 599999, Brand::Maestro, TWELVE_TO_NINETEEN),
    range(601100, 601199, Brand::Discover, SIXTEEN_TO_NINETEEN),
    range(622126, 622925, Brand::UnionPay, SIXTEEN_TO_NINETEEN),
    range(620000, 629999, Brand::UnionPay, SIXTEEN_TO_NINETEEN),
    range(644000, 659999, Brand::Discover, SIXTEEN_TO_NINETEEN),
    range(810000, 817199, Brand::UnionPay, SIXTEEN_TO_NINETEEN),
    range(600000, 699999, Brand::Maestro, TWELVE_TO_NINETEEN),
    // No scheme issues 9999 99: the default test range, recognised so that tests of leaks can be trusted.
    range(999999, 999999, Brand::Unknown, &[16]),
];

impl Brand {
    /// The brand of a run of digits by its first six, whatever its length. `Unknown` for anything shorter than six digits.
    #[must_use]
    pub fn of_digits(digits: &[u8]) -> Self {
        Self::range_of(digits).map_or(Self::Unknown, |range| range.brand)
    }

    /// Whether a run of digits has a known prefix *and* a length that brand issues: the test a foreign digit run
    /// must pass before it is taken for a card number.
    #[must_use]
    pub fn issues(digits: &[u8]) -> bool {
        let length = u8::try_from(digits.len()).unwrap_or(u8::MAX);
        Self::range_of(digits).is_some_and(|range| range.lengths.contains(&length))
    }

    fn range_of(digits: &[u8]) -> Option<&'static Range> {
        let prefix = digits.get(..6)?.iter().try_fold(0_u32, |prefix, digit| {
            digit.is_ascii_digit().then(|| prefix * 10 + u32::from(digit - b'0'))
        })?;
        RANGES.iter().find(|range| (range.from..=range.to).contains(&prefix))
    }

    /// Lower-case name, as the API writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Visa => "visa",
            Self::Mastercard => "mastercard",
            Self::Amex => "amex",
            Self::Discover => "discover",
            Self::Diners => "diners",
            Self::Jcb => "jcb",
            Self::UnionPay => "unionpay",
            Self::Maestro => "maestro",
            Self::Elo => "elo",
            Self::RuPay => "rupay",
            Self::Mir => "mir",
            Self::Unknown => "unknown",
        }
    }

    /// Reads [`Self::as_str`] back; anything else is `Unknown`.
    #[must_use]
    pub fn from_name(name: &str) -> Self {
        const ALL: [Brand; 11] = [
            Brand::Visa,
            Brand::Mastercard,
            Brand::Amex,
            Brand::Discover,
            Brand::Diners,
            Brand::Jcb,
            Brand::UnionPay,
            Brand::Maestro,
            Brand::Elo,
            Brand::RuPay,
            Brand::Mir,
        ];
        ALL.into_iter().find(|brand| brand.as_str() == name).unwrap_or(Self::Unknown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_test_numbers_have_the_brand_their_publisher_says() {
        for (digits, brand) in [
            ("4242424242424242", Brand::Visa),
            ("4007000000027", Brand::Visa),
            ("5555555555554444", Brand::Mastercard),
            ("2223003122003222", Brand::Mastercard),
            ("378282246310005", Brand::Amex),
            ("6011111111111117", Brand::Discover),
            ("30569309025904", Brand::Diners),
            ("38000000000006", Brand::Diners),
            ("3566002020360505", Brand::Jcb),
            ("6200000000000005", Brand::UnionPay),
            ("6759649826438453", Brand::Maestro),
            ("5066991111111118", Brand::Elo),
            ("2200000000000004", Brand::Mir),
            ("9999990000000006", Brand::Unknown),
        ] {
            assert_eq!(Brand::of_digits(digits.as_bytes()), brand, "{digits}");
            assert_eq!(Brand::from_name(brand.as_str()), brand);
        }
    }

    #[test]
    fn a_length_the_brand_does_not_issue_is_not_issued() {
        assert!(Brand::issues(b"4242424242424242"));
        assert!(!Brand::issues(b"42424242424242"));
        assert!(!Brand::issues(b"3782822463100053"));
        assert!(Brand::issues(b"9999990000000006"));
    }
}
