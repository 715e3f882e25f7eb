//! What is asked of the log: parameters read one by one, each refusal by its own name and with nothing of it.
//!
//! A token stands in a query as it does in other paths; answers and entries name its reference.
//!
//! Upholds: C-03, C-58.

use strongroom_domain::route::RouteName;
use strongroom_domain::{Problem, ProblemKind, TenantId, Timestamp, WorkloadId};

use crate::audit::Event;
use crate::http::query::Parameters;
use crate::operation::find::{ENTRIES_MAX, Reach, USES_MAX};
use crate::operation::{OperationError, Vault};
use crate::store::find::{EntryFilter, EntryRange, UsePlace};

/// Parameters of a search. The last is for whoever reads the whole log.
pub(super) const ENTRY_NAMES: &[&str] = &[
    "/token",
    "/workload",
    "/route",
    "/verb",
    "/outcome",
    "/from",
    "/until",
    "/order",
    "/limit",
    "/cursor",
    "/tenant",
];
/// Parameters of a blast radius.
pub(super) const REACH_NAMES: &[&str] =
    &["/workload", "/certificate_sha256", "/from", "/until", "/limit", "/cursor"];

/// One letter for each four bits: no cursor can be taken for a card number.
const LETTERS: &[u8; 16] = b"bcdfghjklmnpqrst";

/// Reads a search. A token or an alias becomes its reference here; one that leads nowhere is found in no entry. To a
/// `reader` of one tenant, another's alias leads nowhere.
pub(in crate::http) async fn entries(
    vault: &Vault,
    parameters: &Parameters,
    reader: Option<&TenantId>,
) -> Result<(EntryFilter, EntryRange), OperationError> {
    let (mut filter, range) = described(parameters).map_err(OperationError::Request)?;
    if let Some(name) = parameters.get("token") {
        let named = vault.reference_of_name(name, reader).await?;
        let invalid = Problem::because(ProblemKind::InvalidRequest, "not a token, an alias or a reference");
        filter.token = Some(named.ok_or(OperationError::Request(invalid.at("/token")))?);
    }
    Ok((filter, range))
}

fn described(parameters: &Parameters) -> Result<(EntryFilter, EntryRange), Problem> {
    let filter = EntryFilter {
        token: None,
        workload: read(parameters, "/workload", "not a workload's name", workload)?,
        route: read(parameters, "/route", "not a route's name", |text| {
            RouteName::parse(text).map(|_| text.to_owned())
        })?,
        tenant: read(parameters, "/tenant", "not a tenant's name", |text| TenantId::parse(text).ok())?,
        verb: read(parameters, "/verb", "not an event of the log", |text| {
            Event::ALL.iter().any(|event| event.as_str() == text).then(|| text.to_owned())
        })?,
        outcome: read(parameters, "/outcome", "outcome is not success, denied or failure", |text| {
            matches!(text, "success" | "denied" | "failure").then(|| text.to_owned())
        })?,
        from: time(parameters, "/from")?,
        until: time(parameters, "/until")?,
    };
    let order = read(parameters, "/order", "order is not newest or oldest", |text| match text {
        "newest" => Some(true),
        "oldest" => Some(false),
        _ => None,
    })?;
    let after = read(parameters, "/cursor", "the cursor is not one of this list", |text| {
        letters(text).map(u64::from_be_bytes)
    })?;
    let range =
        EntryRange { newest_first: order.unwrap_or(true), after, limit: limit(parameters, ENTRIES_MAX)? };
    Ok((filter, range))
}

/// Reads a question for a blast radius.
pub(in crate::http) fn reach(parameters: &Parameters) -> Result<(Reach, Option<UsePlace>, u32), Problem> {
    let missing = Problem::because(ProblemKind::InvalidRequest, "whose reach is asked for is not said");
    let workload = read(parameters, "/workload", "not a workload's name", workload)?;
    let reach = Reach {
        workload: workload.ok_or(missing.at("/workload"))?,
        certificate: read(parameters, "/certificate_sha256", "not 64 lower-case hex digits", |text| {
            let right =
                text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
            right.then(|| text.to_owned())
        })?,
        from: time(parameters, "/from")?,
        until: time(parameters, "/until")?,
    };
    let after = read(parameters, "/cursor", "the cursor is not one of this list", |text| {
        let (token, place) = text.split_at_checked(16)?;
        let (token, place) = (letters(token)?, letters(place)?);
        Some(UsePlace { token: i64::from_be_bytes(token), place: u64::from_be_bytes(place) })
    })?;
    Ok((reach, after, limit(parameters, USES_MAX)?))
}

/// Writes where a page of entries ended.
pub(in crate::http) fn entry_cursor(place: u64) -> String {
    spelled(place.to_be_bytes())
}

/// Writes where a page of uses ended.
pub(in crate::http) fn use_cursor(place: UsePlace) -> String {
    spelled(place.token.to_be_bytes()) + &spelled(place.place.to_be_bytes())
}

fn spelled(bytes: [u8; 8]) -> String {
    let letter = |four: u8| char::from(LETTERS[usize::from(four)]);
    bytes.iter().flat_map(|byte| [letter(byte >> 4), letter(byte & 15)]).collect()
}

fn letters(text: &str) -> Option<[u8; 8]> {
    let four = |letter: u8| LETTERS.iter().position(|known| *known == letter).map(|four| four as u8);
    let mut bytes = [0; 8];
    let pairs = text.as_bytes().chunks_exact(2);
    if text.len() != 16 {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(pairs) {
        *byte = four(pair[0])? << 4 | four(pair[1])?;
    }
    Some(bytes)
}

fn workload(text: &str) -> Option<String> {
    (text == "-" || WorkloadId::parse(text).is_ok()).then(|| text.to_owned())
}

fn limit(parameters: &Parameters, most: u32) -> Result<u32, Problem> {
    let limit = read(parameters, "/limit", "limit is not a number from 1 to 100", |text| {
        let number = text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?;
        number.filter(|limit| (1..=most).contains(limit))
    })?;
    Ok(limit.unwrap_or(most))
}

fn read<T>(
    parameters: &Parameters,
    pointer: &'static str,
    detail: &'static str,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Result<Option<T>, Problem> {
    let Some(text) = parameters.get(&pointer[1..]) else { return Ok(None) };
    let invalid = || Problem::because(ProblemKind::InvalidRequest, detail).at(pointer);
    parse(text).map(Some).ok_or_else(invalid)
}

fn time(parameters: &Parameters, pointer: &'static str) -> Result<Option<Timestamp>, Problem> {
    let detail = "not an RFC 3339 date-time; a `+` in it must be written %2B";
    read(parameters, pointer, detail, Timestamp::parse_rfc3339)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_come_back_and_nothing_else_is_one() {
        for place in [0, 1, 4_096, u64::MAX] {
            assert_eq!(letters(&entry_cursor(place)).map(u64::from_be_bytes), Some(place));
        }
        let cursor = use_cursor(UsePlace { token: -5, place: 9 });
        assert!(cursor.len() == 32 && !cursor.bytes().any(|byte| byte.is_ascii_digit()));
        let parameters = Parameters::from([("workload", "spiffe://a/b".into()), ("cursor", cursor)]);
        assert_eq!(reach(&parameters).unwrap().1, Some(UsePlace { token: -5, place: 9 }));
        for wrong in ["", "b", "bbbbbbbbbbbbbbb", "aaaaaaaaaaaaaaaa", "bbbbbbbbbbbbbbbbb"] {
            assert_eq!(letters(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn each_parameter_is_refused_by_its_name_and_without_a_word_of_it() {
        for (pointer, text) in [
            ("/workload", "checkout"),
            ("/route", "No Route"),
            ("/tenant", "Not A Tenant"),
            ("/verb", "pan.steal"),
            ("/outcome", "maybe"),
            ("/from", "yesterday"),
            ("/until", "2026"),
            ("/order", "random"),
            ("/limit", "0"),
            ("/limit", "101"),
            ("/cursor", "7"),
        ] {
            let refused = described(&Parameters::from([(&pointer[1..], text.to_owned())])).unwrap_err();
            assert_eq!(
                (refused.kind, refused.pointer),
                (ProblemKind::InvalidRequest, Some(pointer)),
                "{text}"
            );
            assert!(text.len() < 5 || !refused.detail.contains(text));
        }
        assert_eq!(reach(&Parameters::new()).unwrap_err().pointer, Some("/workload"));
    }
}
