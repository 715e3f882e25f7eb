//! A request as it was read, and the form in it.

use bytes::Bytes;
use http::HeaderMap;
use percent_encoding::percent_decode_str;

/// A request, read whole.
#[derive(Debug)]
pub(super) struct Received {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) query: Option<String>,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Received {
    /// A header, if it is there and is text.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The credential behind `Bearer`, or the user of `Basic`: Stripe takes both.
    pub(super) fn credential(&self) -> Option<String> {
        use base64::Engine as _;
        let (scheme, rest) = self.header("authorization")?.split_once(' ')?;
        let credential = if scheme.eq_ignore_ascii_case("bearer") {
            rest.trim().to_owned()
        } else if scheme.eq_ignore_ascii_case("basic") {
            let pair = base64::engine::general_purpose::STANDARD.decode(rest.trim()).ok()?;
            String::from_utf8(pair).ok()?.split(':').next()?.to_owned()
        } else {
            return None;
        };
        Some(credential).filter(|credential| !credential.is_empty())
    }
}

/// A form (WHATWG URL §5.1), names decoded: `card[number]`.
#[derive(Debug, Default)]
pub(super) struct Form(Vec<(String, String)>);

impl Form {
    /// `None`: what was escaped is no UTF-8.
    pub(super) fn parse(body: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(body).ok()?;
        let pairs = text.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Some((decode(name)?, decode(value)?))
        });
        pairs.collect::<Option<_>>().map(Self)
    }

    /// A value; the last one if a name stands twice. Stripe reads an empty one as "unset".
    pub(super) fn value(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().rev().find(|(held, _)| held == name);
        found.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    /// Whether any name lies below `parent`: `parent[…]`.
    pub(super) fn holds(&self, parent: &str) -> bool {
        self.0.iter().any(|(name, _)| name.strip_prefix(parent).is_some_and(|rest| rest.starts_with('[')))
    }

    /// The map below `parent`: `metadata[a]=b`.
    pub(super) fn map(&self, parent: &str) -> std::collections::BTreeMap<String, String> {
        let below =
            |name: &str| Some(name.strip_prefix(parent)?.strip_prefix('[')?.strip_suffix(']')?.to_owned());
        self.0.iter().filter_map(|(name, value)| Some((below(name)?, value.clone()))).collect()
    }
}

fn decode(text: &str) -> Option<String> {
    let spaced = text.replace('+', " ");
    percent_decode_str(&spaced).decode_utf8().ok().map(std::borrow::Cow::into_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_spellings_of_a_nested_name_are_one() {
        for body in ["card[number]=4242&metadata[a+b]=c%20d", "card%5Bnumber%5D=4242&metadata%5Ba%20b%5D=c+d"]
        {
            let form = Form::parse(body.as_bytes()).unwrap();
            assert_eq!(form.value("card[number]"), Some("4242"));
            assert_eq!(form.map("metadata").get("a b").map(String::as_str), Some("c d"));
            assert!(form.holds("card") && !form.holds("car"));
        }
        assert!(Form::parse(b"a=%ff").is_none() && Form::parse(b"\xff").is_none());
        assert_eq!(Form::parse(b"a=1&a=2&b=").unwrap().value("a"), Some("2"));
    }
}
