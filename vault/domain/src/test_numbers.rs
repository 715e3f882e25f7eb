//! Card numbers for trying things out, and the rule that they and real ones never mix.

use secrecy::ExposeSecret;

use crate::environment::Environment;
use crate::pan::Pan;

/// Test numbers that PSPs publish. Those in the second half fail the Luhn check on purpose.
const PUBLISHED: &[&str] = &[
    "4242424242424242",
    "4000056655665556",
    "5555555555554444",
    "2223003122003222",
    "5200828282828210",
    "5105105105105100",
    "378282246310005",
    "371449635398431",
    "6011111111111117",
    "6011000990139424",
    "6011981111111113",
    "3056930009020004",
    "36227206271667",
    "6555900000604105",
    "3566002020360505",
    "6200000000000005",
    "6200000000000047",
    "6205500000000000004",
    "4000000000000002",
    "4000000000009995",
    "4000000000009987",
    "4000000000009979",
    "4000000000000069",
    "4000000000000127",
    "4000000000000119",
    "4000000000000077",
    "4000000000000341",
    "4000000000000101",
    "4000002500003155",
    "4000002760003184",
    "4000000000003220",
    "4000000000003063",
    "4000000000000259",
    "4000000000001976",
    "4111111111111111",
    "4111111145551142",
    "370000000000002",
    "4012888888881881",
    "4000111111111115",
    "4009348888881881",
    "4012000033330026",
    "4012000077777777",
    "4217651111111119",
    "4500600000000061",
    "30569309025904",
    "38520000023237",
    "6304000000000000",
    "3530111333300000",
    "2223000048400011",
    "5431111111111111",
    "5424180279791732",
    "6759649826438453",
    "4543474002249996",
    "5436031030606378",
    "4007000000027",
    "4012888818888",
    "38000000000006",
    "4444333322221111",
    "4911830000000",
    "4917610000000000003",
    "4917610000000000",
    "36700102000000",
    "343434343434343",
    "5454545454545454",
    "5500000000000004",
    "5123450000000008",
    "4508750015741019",
    "5000000000000000005",
    "30000000000004",
    "4462030000000000",
    "4000027891380961",
    "4008370896662369",
    "5066991111111118",
    "2200000000000004",
    "6074820000000007",
    "4988438843884305",
    "4166676667666746",
    "4646464646464644",
    "2222400070000005",
    "5555341244441115",
    "5577000055770004",
    "4000000000003238",
    "4000000000000010",
    "4000000000000028",
    "4000000000000036",
    "4000000000000044",
    // Fail the check digit, as published.
    "4242424242424241",
    "4111111111111105",
    "4111111111111143",
    "4111111111111151",
    "4012000000000001",
];

/// Whether these digits are a published test number.
#[must_use]
pub fn is_published(digits: &[u8]) -> bool {
    PUBLISHED.iter().any(|number| number.as_bytes() == digits)
}

/// A range of test numbers, both ends included, all of one length.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TestRange {
    from: Box<str>,
    to: Box<str>,
}

/// Not `digits-digits` of one length in rising order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("test range is not FROM-TO, both of one length of 12 to 19 digits")]
pub struct InvalidTestRange;

impl TestRange {
    /// ```
    /// # use strongroom_domain::test_numbers::TestRange;
    /// assert!(TestRange::parse("9999990000000000-9999999999999999").is_ok());
    /// ```
    pub fn parse(text: &str) -> Result<Self, InvalidTestRange> {
        let (from, to) = text.split_once('-').ok_or(InvalidTestRange)?;
        let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        let fits = (Pan::LENGTH_MIN..=Pan::LENGTH_MAX).contains(&from.len());
        if fits && from.len() == to.len() && from <= to && digits(from) && digits(to) {
            Ok(Self { from: from.into(), to: to.into() })
        } else {
            Err(InvalidTestRange)
        }
    }

    fn holds(&self, digits: &str) -> bool {
        digits.len() == self.from.len() && (&*self.from..=&*self.to).contains(&digits)
    }
}

/// Which numbers an environment accepts: in `test` only published and configured test numbers, in `live` only others
/// (PCI DSS 6.5.5, 6.5.6).
#[derive(Clone, Debug)]
pub struct AcceptedNumbers {
    environment: Environment,
    ranges: Vec<TestRange>,
}

/// The number belongs to the other environment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("card number belongs to the other environment")]
pub struct WrongEnvironment;

/// The range that needs no configuration: no scheme issues 9999 99.
pub const DEFAULT_TEST_RANGE: &str = "9999990000000000-9999999999999999";

impl AcceptedNumbers {
    /// The rule for one environment and its test ranges.
    #[must_use]
    pub fn new(environment: Environment, ranges: Vec<TestRange>) -> Self {
        Self { environment, ranges }
    }

    /// The environment this rule is for.
    #[must_use]
    pub const fn environment(&self) -> Environment {
        self.environment
    }

    /// Whether this number may enter here.
    pub fn check(&self, pan: &Pan) -> Result<(), WrongEnvironment> {
        #[expect(clippy::disallowed_methods, reason = "compared with the list; nothing leaves")]
        let digits = pan.expose_secret();
        let is_test = is_published(digits.as_bytes()) || self.ranges.iter().any(|range| range.holds(digits));
        if is_test == (self.environment == Environment::Test) { Ok(()) } else { Err(WrongEnvironment) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn test_numbers_and_live_numbers_never_mix() {
        let ranges = vec![TestRange::parse(DEFAULT_TEST_RANGE).unwrap()];
        let test = AcceptedNumbers::new(Environment::Test, ranges.clone());
        let live = AcceptedNumbers::new(Environment::Live, ranges);
        for (number, is_test) in
            [("4242424242424242", true), ("9999990000000006", true), ("4532015112830366", false)]
        {
            let pan = Pan::parse(number, Environment::Test).unwrap();
            assert_eq!(test.check(&pan).is_ok(), is_test, "{number}");
            assert_eq!(live.check(&pan).is_ok(), !is_test, "{number}");
        }
    }

    #[test]
    fn every_listed_number_parses_in_test() {
        for number in PUBLISHED {
            assert!(Pan::parse(number, Environment::Test).is_ok(), "{number}");
        }
    }

    #[test]
    fn wrong_ranges_are_refused() {
        for wrong in [
            "",
            "1-2",
            "9999990000000000",
            "9999999999999999-9999990000000000",
            "99999900000000-9999999999999999",
            "x99999000000000-9999999999999999",
        ] {
            assert_eq!(TestRange::parse(wrong), Err(InvalidTestRange), "{wrong}");
        }
    }
}
