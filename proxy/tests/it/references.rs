//! Synthetic answers of shipped routes: references in their declared fields, amounts beside them, none to be altered.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use bytes::Bytes;
use strongroom_domain::Environment;
use strongroom_domain::pan::luhn_holds;
use strongroom_domain::route::BodyFormat;
use strongroom_proxy::inject::Injections;
use strongroom_proxy::route;
use strongroom_proxy::scrub::{ScrubRules, scrub_body};

/// References in one answer.
const ROWS: u64 = 50;

/// What was counted.
#[derive(Debug, Default)]
pub(crate) struct Counted {
    /// References written.
    pub(crate) references: u64,
    /// Of them, those a card number could be: a known beginning, the right length and check digit.
    pub(crate) like_numbers: u64,
    /// Answers that came out other than they went in.
    pub(crate) altered: u64,
}

/// Scrubs answers of every route in the bundle until that many references went through.
pub(crate) fn run(policies: &Path, references: u64) -> Counted {
    let routes = route::read(policies, None, Environment::Live, None).expect("the shipped routes are read");
    let mut chance = Chance(0x9e37_79b9_7f4a_7c15);
    let mut counted = Counted::default();
    let none = BTreeSet::new();
    while counted.references < references {
        for registered in &routes {
            let route = &registered.route;
            let is_xml = route.allow.iter().any(|call| call.body == BodyFormat::Xml);
            let allowed = route.allow.iter().map(|call| &call.ids);
            let calls: BTreeSet<_> = allowed.chain(route.pass.iter().map(|call| &call.ids)).collect();
            for ids in calls {
                let body = answer(ids, is_xml, &mut chance, &mut counted);
                let kind = if is_xml { "text/xml" } else { "application/json" };
                let rules = ScrubRules { ids, cvc_fields: &none };
                let scrubbed =
                    scrub_body(Some(kind), Bytes::from(body.clone()), &Injections::default(), &rules);
                counted.altered += u64::from(scrubbed.body != body.as_bytes() || scrubbed.replaced != 0);
            }
        }
    }
    counted
}

fn answer(ids: &BTreeSet<String>, is_xml: bool, chance: &mut Chance, counted: &mut Counted) -> String {
    let mut body = String::from(if is_xml { "<answer>" } else { "{\"data\":[" });
    for row in 0..ROWS {
        let id = ids.iter().nth(chance.below(ids.len() as u64) as usize).expect("a route declares ids");
        let reference = chance.reference(counted);
        let (amount, created) = (chance.below(10_000_000_000), 1_700_000_000 + chance.below(90_000_000));
        let written = match (is_xml, row % 2) {
            (true, 0) => write!(
                body,
                "<row><{id}>{reference}</{id}><amount>{amount}.00</amount><at>{created}</at></row>"
            ),
            (true, _) => write!(body, "<row {id}='{reference}' amount='{amount}'/>"),
            (false, 0) => {
                write!(body, "{{\"{id}\":\"{reference}\",\"amount\":{amount},\"created\":{created}}},")
            }
            (false, _) => {
                write!(body, "{{\"x\":{{\"{id}\":{reference}}},\"amount\":{{\"value\":\"{amount}.00\"}}}},")
            }
        };
        written.expect("a string takes what is written");
    }
    body.push_str(if is_xml { "</answer>" } else { "0]}" });
    body
}

/// A generator anybody can repeat.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }

    /// 13 to 19 digits; every other one begins as a card's does and passes its check digit.
    fn reference(&mut self, counted: &mut Counted) -> String {
        counted.references += 1;
        if self.below(2) == 0 {
            let length = 13 + self.below(7) as usize;
            return format!("{}{:018}", 1 + self.below(9), self.below(1_000_000_000_000_000_000))[..length]
                .to_owned();
        }
        counted.like_numbers += 1;
        let (begins, length) =
            [("4", 16), ("51", 16), ("37", 15), ("4", 13), ("6011", 16)][self.below(5) as usize];
        let mut digits =
            format!("{begins}{:018}", self.below(1_000_000_000_000_000_000))[..length - 1].to_owned();
        digits.push('0');
        while !luhn_holds(digits.as_bytes()) {
            let last = digits.pop().and_then(|digit| digit.to_digit(10)).unwrap_or_default();
            digits.push(char::from_digit((last + 1) % 10, 10).unwrap_or('0'));
        }
        digits
    }
}
