//! Everything that is wrong with a route file.

use toml::de::DeValue;

use super::{
    AllowTable, AllowedCall, Environment, InjectTable, PassTable, PassedCall, Route, RouteName, RouteTable,
    check_calls, method, path, places,
};
use crate::route::checker::{Checker, Finding, Part, elements, place_of, table_of};

impl Route {
    /// What is wrong with a route file, in its order; nothing exactly where [`Self::parse`] takes it.
    #[must_use]
    pub fn findings(file_stem: &str, text: &str, environment: Environment) -> Vec<Finding> {
        let (mut checker, document) = Checker::new(text);
        if let Some(document) = document {
            of_document(&mut checker, document, file_stem, text, environment);
        }
        if checker.count() == 0
            && let Err(error) = Self::parse(file_stem, text, environment)
        {
            checker.add(0..0, error.to_string());
        }
        checker.findings()
    }
}

fn of_document<'t>(
    checker: &mut Checker<'t>,
    mut document: Part<'t>,
    stem: &str,
    text: &str,
    environment: Environment,
) {
    let Some(name) = RouteName::parse(stem) else {
        return checker.add(0..0, "its name is not lower-case letters, digits and hyphens".into());
    };
    let only = || format!("the file holds one table, `[route.{stem}]`");
    let Some(mut route) = only_entry(checker, &mut document, "route", &only) else { return };
    let Some(mut table) = only_entry(checker, &mut route, stem, &only) else { return };
    let (allow, pass) = calls(checker, &mut table);
    let whole = checker.count() == 0;
    let upstream = ("upstream", DeValue::String("https://stand-in.invalid".into()));
    // A file without a finding is what the parser takes: said again by the caller.
    let _: Option<()> = checker.settle(&mut table, upstream, |table: RouteTable| {
        let mut route = table.into_route(name.clone(), text)?;
        (route.allow, route.pass) = (allow.clone(), pass.clone());
        match route.check(environment) {
            // What is not there may be what was taken out.
            Err(reason) if !whole && reason.starts_with("`identity`") => Ok(()),
            checked => checked,
        }
    });
}

/// The one entry a table may have.
fn only_entry<'t>(
    checker: &mut Checker<'t>,
    part: &mut Part<'t>,
    name: &str,
    only: &dyn Fn() -> String,
) -> Option<Part<'t>> {
    let span = part.span();
    let table = table_of(part)?;
    let found = table.remove(name);
    for key in table.keys() {
        checker.add(key.span(), only());
    }
    if found.is_none() && table.is_empty() {
        checker.add(span, only());
    }
    found
}

/// The calls that are right by themselves and beside those before them.
fn calls<'t>(checker: &mut Checker<'t>, table: &mut Part<'t>) -> (Vec<AllowedCall>, Vec<PassedCall>) {
    let (mut allow, mut pass) = (Vec::new(), Vec::new());
    for mut part in elements(table, "allow") {
        let Some(call) = allowed(checker, &mut part) else { continue };
        allow.push(call);
        if let Err(reason) = check_calls(&allow, &[]) {
            checker.add(place_of(&part, "path"), reason);
            allow.pop();
        }
    }
    for mut part in elements(table, "pass") {
        let Some(PassTable { method: name, path: pattern, ids }) = checker.read(&mut part) else { continue };
        let Some((method, path)) = at(checker, &part, name, &pattern) else { continue };
        pass.push(PassedCall { method, path, ids });
        if let Err(reason) = check_calls(&allow, &pass) {
            checker.add(place_of(&part, "path"), reason);
            pass.pop();
        }
    }
    (allow, pass)
}

/// A method and a path, each refused by itself.
fn at<'t>(
    checker: &mut Checker<'t>,
    part: &Part<'t>,
    name: String,
    pattern: &str,
) -> Option<(String, super::PathPattern)> {
    let method = method(name).map_err(|reason| checker.add(place_of(part, "method"), reason));
    let path = path(pattern).map_err(|reason| checker.add(place_of(part, "path"), reason));
    Some((method.ok()?, path.ok()?))
}

fn allowed<'t>(checker: &mut Checker<'t>, part: &mut Part<'t>) -> Option<AllowedCall> {
    let listed = elements(part, "inject");
    let (mut inject, mut right, mut wrong) = (Vec::new(), Vec::new(), false);
    for mut place in listed {
        let before = checker.count();
        let read = checker.read::<InjectTable>(&mut place).filter(|_| checker.count() == before);
        let Some(table) = read else {
            wrong = true;
            continue;
        };
        match table.into_inject() {
            Ok(one) => {
                inject.push(one);
                right.push(place);
            }
            Err(reason) => {
                wrong = true;
                checker.blame(&place, reason);
            }
        }
    }
    let table = checker.read::<AllowTable>(part)?;
    let (method, path) = at(checker, part, table.method.clone(), &table.path)?;
    // Method, path and places were read by themselves: what is left is the mode and its reference.
    let rest = table.into_call().map_err(|reason| checker.add(place_of(part, "mode"), reason)).ok()?;
    let call = AllowedCall { method, path, inject, ..rest };
    let mut clean = !wrong;
    for fault in places::faults(&call) {
        if fault.follows && !clean {
            continue;
        }
        clean = false;
        let about = fault.place.and_then(|place| right.get(place)).unwrap_or(part);
        checker.add(place_of(about, fault.setting), fault.reason);
    }
    clean.then_some(call)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ROUTE: &str = r#"# A route.
[route.psp]
upstream = "https://api.psp.example"
credential = { header = "Authorization", scheme = "Bearer", refused_fields = ["key"] }
identity = [{ name = "merchant", path = "merchant" }]

[[route.psp.allow]]
method = "POST"
path = "/v1/{merchant}/cards"
body = "form"
inject = [
    { at = "card[number]", value = "number" },
    { at = "card[cvc]", value = "cvc", from = "card[number]" },
    { at = "card[exp_month]", value = "exp", format = "M", from = "card[number]" },
]

[[route.psp.allow]]
method = "PUT"
path = "/v1/cards"
body = "json"
inject = [{ at = "/number", value = "number" }]

[[route.psp.pass]]
method = "GET"
path = "/v1/cards/{id}"
"#;

    fn found(text: &str) -> Vec<(usize, usize, String)> {
        let findings = Route::findings("psp", text, Environment::Live);
        findings.into_iter().map(|finding| (finding.line, finding.column, finding.reason)).collect()
    }

    fn change(changes: &[(&str, &str)]) -> String {
        changes.iter().fold(ROUTE.to_owned(), |text, (from, to)| {
            assert!(text.contains(from), "{from}");
            text.replacen(from, to, 1)
        })
    }

    #[test]
    fn a_right_file_has_no_finding() {
        assert_eq!(found(ROUTE), []);
    }

    #[test]
    fn each_mistake_is_found_where_it_stands() {
        for (from, to, line, column, says) in [
            ("\"https://api.psp.example\"", "\"https://api.psp.example", 3, 36, "string"),
            ("upstream =", "upstream = 1\nupstream =", 4, 1, "duplicate key"),
            ("upstream = \"https", "upstream = \"http", 3, 1, "`upstream` is https"),
            ("credential =", "surprise = 1\ncredential =", 4, 1, "unknown field `surprise`"),
            ("credential =", "in_flight_max = \"9\"\ncredential =", 4, 17, "invalid type"),
            ("credential =", "in_flight_max = 0\ncredential =", 4, 1, "above 0"),
            ("credential =", "unknown_outcome_status = 500\ncredential =", 4, 1, "502 or 424"),
            ("credential =", "private_addresses = [\"127.0.0.1\"]\ncredential =", 4, 1, "environment"),
            (
                "name = \"merchant\", path = \"merchant\"",
                "name = \"merchant\", path = \"tenant\"",
                5,
                22,
                "never be found",
            ),
            ("\"POST\"", "\"CONNECT\"", 8, 10, "no method"),
            ("path = \"/v1/{merchant}/cards\"", "path = \"v1\"", 9, 8, "no path pattern"),
            ("body = \"form\"", "body = \"yaml\"", 10, 8, "unknown variant `yaml`"),
            ("body = \"form\"", "body = \"form\"\nnamespace = \"urn:x\"", 11, 13, "`namespace` is for"),
            ("\"card[number]\", value = \"number\"", "\"\", value = \"number\"", 12, 12, "can never match"),
            ("\"card[cvc]\"", "\"card[number]\"", 13, 12, "declared twice"),
            (
                "from = \"card[number]\" },\n    { at = \"card[exp",
                "from = \"card[pan]\" },\n    { at = \"card[exp",
                13,
                47,
                "no declared number",
            ),
            ("format = \"M\"", "format = \"MON\"", 14, 55, "unknown variant `MON`"),
            ("format = \"M\", ", "", 14, 5, "`format` belongs"),
            (
                "path = \"/v1/cards\"\n",
                "path = \"/v1/cards\"\nmethods = 1\n",
                20,
                1,
                "unknown field `methods`",
            ),
            ("inject = [{ at = \"/number\"", "inject = [{ at = \"number\"", 21, 18, "can never match"),
            ("\"GET\"\npath = \"/v1/cards/{id}\"", "\"PUT\"\npath = \"/v1/cards\"", 25, 8, "listed twice"),
            ("[route.psp]\n", "[route.psq]\na = 1\n[route.psp]\n", 2, 8, "one table"),
        ] {
            let text = change(&[(from, to)]);
            let found = found(&text);
            assert_eq!(found.len(), 1, "{to}: {found:?}");
            let (at_line, at_column, reason) = &found[0];
            assert!(reason.contains(says), "{to}: {reason}");
            assert_eq!((*at_line, *at_column), (line, column), "{to}: {reason}");
        }
    }

    #[test]
    fn no_mistake_hides_another() {
        let text = change(&[
            ("upstream = \"https", "surprise = 1\nhosts = [\"A\"]\nupstream = \"http"),
            ("credential =", "in_flight_max = 0\ncredential ="),
            ("\"card[cvc]\"", "\"\""),
            ("format = \"M\"", "format = \"MON\""),
            ("method = \"PUT\"", "method = \"put\""),
            ("path = \"/v1/cards\"", "path = \"v1/cards\""),
            ("method = \"GET\"", "method = \"GET\"\nids = 7"),
        ]);
        let found = found(&text);
        let lines: Vec<_> = found.iter().map(|(line, ..)| *line).collect();
        assert_eq!(lines, [3, 4, 5, 6, 16, 17, 21, 22, 28], "{found:#?}");
    }

    #[test]
    fn whatever_follows_from_a_mistake_is_not_said_again() {
        // Without its number the call has no carrier and no place for a number.
        let found = found(&change(&[("value = \"number\"", "value = \"pan\"")]));
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].0, 12);
    }

    proptest! {
        /// The checker and the parser are of one opinion.
        #[test]
        fn a_file_has_findings_exactly_where_the_parser_refuses_it(
            cuts in proptest::collection::vec((0..ROUTE.len(), 0_usize..12, "[a-z0-9\"\\[\\]{}=/, \n]{0,3}"), 1..3),
        ) {
            let mut text = ROUTE.to_owned();
            for (at, length, put) in cuts {
                let at = at.min(text.len());
                let end = (at + length).min(text.len());
                text.replace_range(at..end, &put);
            }
            let parses = Route::parse("psp", &text, Environment::Live).is_ok();
            prop_assert_eq!(Route::findings("psp", &text, Environment::Live).is_empty(), parses, "{}", text);
        }
    }
}
