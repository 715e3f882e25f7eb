//! Path patterns: literal segments and `{name}` for exactly one.

/// `/v1/payment_intents/{id}/confirm`: a `{name}` stands for one non-empty segment of `[A-Za-z0-9_.~-]`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PathPattern {
    text: String,
    segments: Vec<Segment>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Segment {
    Literal(String),
    One(String),
}

impl PathPattern {
    /// Reads a pattern. `None` if it does not begin with `/` or has a character no path has.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let segments = text.strip_prefix('/')?.split('/').map(Segment::parse).collect::<Option<_>>()?;
        Some(Self { text: text.to_owned(), segments })
    }

    /// Whether a request path (no query) is this. Encoded characters and dot segments never match.
    #[must_use]
    pub fn matches(&self, path: &str) -> bool {
        let Some(rest) = path.strip_prefix('/') else { return false };
        let mut given = rest.split('/');
        self.segments.iter().all(|segment| given.next().is_some_and(|given| segment.matches(given)))
            && given.next().is_none()
    }

    /// Whether one of its segments is `{name}`.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.segments.iter().any(|segment| segment.is_named(name))
    }

    /// What stands for `{name}` in a path it matches.
    #[must_use]
    pub fn capture<'p>(&self, name: &str, path: &'p str) -> Option<&'p str> {
        let place = self.segments.iter().position(|segment| segment.is_named(name))?;
        path.strip_prefix('/')?.split('/').nth(place)
    }

    /// As it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl Segment {
    fn parse(text: &str) -> Option<Self> {
        if let Some(name) = text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
            return (!name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'))
                .then(|| Self::One(name.to_owned()));
        }
        let right =
            text.bytes().all(|byte| is_unreserved(byte) || byte == b':') && !matches!(text, "." | "..");
        right.then(|| Self::Literal(text.to_owned()))
    }

    fn is_named(&self, wanted: &str) -> bool {
        matches!(self, Self::One(name) if name == wanted)
    }

    fn matches(&self, given: &str) -> bool {
        match self {
            Self::Literal(literal) => literal == given,
            Self::One(_) => {
                !given.is_empty() && !matches!(given, "." | "..") && given.bytes().all(is_unreserved)
            }
        }
    }
}

/// RFC 3986 §2.3.
fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_segment_is_one_segment() {
        let pattern = PathPattern::parse("/v1/payment_intents/{id}/confirm").unwrap();
        assert!(pattern.matches("/v1/payment_intents/pi_123/confirm"));
        assert_eq!(pattern.capture("id", "/v1/payment_intents/pi_123/confirm"), Some("pi_123"));
        assert_eq!(pattern.capture("other", "/v1/payment_intents/pi_123/confirm"), None);
        for wrong in [
            "/v1/payment_intents//confirm",
            "/v1/payment_intents/../confirm",
            "/v1/payment_intents/a/b/confirm",
            "/v1/payment_intents/pi%2f/confirm",
            "/v1/payment_intents/pi_123/confirm/",
            "v1/payment_intents/pi_123/confirm",
        ] {
            assert!(!pattern.matches(wrong), "{wrong}");
        }
    }

    #[test]
    fn doubled_slashes_match_only_themselves() {
        let pattern = PathPattern::parse("/ppp//api/v1/payment.do").unwrap();
        assert!(pattern.matches("/ppp//api/v1/payment.do"));
        assert!(!pattern.matches("/ppp/api/v1/payment.do"));
    }

    #[test]
    fn patterns_no_path_can_have_are_refused() {
        for wrong in ["", "v1", "/{}", "/{A}", "/a b", "/a/../b", "/a?b"] {
            assert_eq!(PathPattern::parse(wrong), None, "{wrong}");
        }
    }
}
