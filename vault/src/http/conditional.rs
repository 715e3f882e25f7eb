//! `ETag` and `If-Match`: a card's version as HTTP says it (RFC 9110 §8.8.3, §13.1.1).
//!
//! Promises: a change without a version is not made (RFC 6585 §3), and a tag of anything else matches no card.

use http::{HeaderMap, HeaderValue};
use strongroom_domain::{Problem, ProblemKind};

use crate::operation::OperationError;
use crate::operation::update::ExpectedVersions;

/// The tag of a version: `"7"`.
pub(super) fn etag(version: u64) -> HeaderValue {
    HeaderValue::from_str(&format!("\"{version}\"")).expect("digits in quotes are a header's value")
}

/// The versions that `If-Match` names.
pub(super) fn if_match(headers: &HeaderMap) -> Result<ExpectedVersions, OperationError> {
    let mut values = headers.get_all(http::header::IF_MATCH).iter().peekable();
    if values.peek().is_none() {
        return Err(OperationError::VersionRequired);
    }
    let mut versions = Vec::new();
    for value in values {
        let text = value.to_str().map_err(|_| invalid())?;
        for tag in text.split(',') {
            versions.extend(version(tag.trim_matches([' ', '\t']))?);
        }
    }
    Ok(ExpectedVersions(versions))
}

/// `None`: a tag, but none of a card. Weak tags never match; `*` would be a change of whatever is there.
fn version(tag: &str) -> Result<Option<u64>, OperationError> {
    let strong = tag.strip_prefix("W/").unwrap_or(tag);
    let opaque = strong.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).ok_or_else(invalid)?;
    if !opaque.bytes().all(|byte| byte == 0x21 || (0x23..=0x7e).contains(&byte)) {
        return Err(invalid());
    }
    let is_version =
        strong == tag && !opaque.starts_with('0') && opaque.bytes().all(|byte| byte.is_ascii_digit());
    Ok(opaque.parse().ok().filter(|_| is_version))
}

fn invalid() -> OperationError {
    let detail = "If-Match is not the ETag of a card as it was read";
    OperationError::Request(Problem::because(ProblemKind::InvalidRequest, detail))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(values: &[&str]) -> Result<Vec<u64>, &'static str> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(http::header::IF_MATCH, HeaderValue::from_str(value).unwrap());
        }
        if_match(&headers).map(|expected| expected.0).map_err(|error| error.reason())
    }

    #[test]
    fn a_version_is_read_as_it_is_written_and_nothing_else_is_one() {
        for version in [1, 7, u64::MAX] {
            assert_eq!(read(&[etag(version).to_str().unwrap()]), Ok(vec![version]));
        }
        assert_eq!(read(&["\"7\", \"8\"", "\"9\""]), Ok(vec![7, 8, 9]));
        for none in ["W/\"7\"", "\"\"", "\"07\"", "\"+7\"", "\"x\"", "\"99999999999999999999\""] {
            assert_eq!(read(&[none]), Ok(vec![]), "{none}");
        }
        for wrong in ["*", "", "7", "\"7", "\"7\",", "\"a b\"", "w/\"7\""] {
            assert_eq!(read(&[wrong]), Err("invalid-request"), "{wrong}");
        }
        assert_eq!(read(&[]), Err("precondition-required"));
    }
}
