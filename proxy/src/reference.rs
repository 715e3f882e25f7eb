//! The merchant's payment reference of a call that is let through once: read where the route says it stands.
//!
//! Promises: one text at one place, or the request is refused before anything is connected, asked or sent. What a PSP might
//! read as a second reference is refused too: the same field in other letters, the same header twice.
//! Does not promise: that a PSP takes two references for two payments; the route says which field it goes by.
//! Upholds: C-45.

use http::HeaderMap;
use http::header::CONTENT_TYPE;
use strongroom_domain::route::{AllowedCall, BodyFormat, PaymentReference, ReferencePlace};
use strongroom_domain::{Problem, ProblemKind};

use crate::body::Malformed;
use crate::body::json::{self, Event, Pointer, Reading};
use crate::body::{form, multipart, xml};

/// Why a request has no usable reference. Nothing was sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ReferenceError {
    /// The place is not there, or empty.
    #[error("the request holds no payment reference")]
    Missing,
    /// It is there more than once.
    #[error("the request holds two payment references")]
    Twice,
    /// It is no short text.
    #[error("the payment reference is no short text")]
    Unusable,
    /// The body is not what its format says.
    #[error("the body cannot be read: {0}")]
    Malformed(&'static str),
}

impl ReferenceError {
    /// What the caller may know.
    #[must_use]
    pub const fn problem(self) -> Problem {
        match self {
            Self::Missing => Problem::new(ProblemKind::ReferenceMissing),
            Self::Twice => Problem::because(
                ProblemKind::ReferenceMissing,
                "the payment reference stands in the request twice; nothing was sent",
            ),
            Self::Unusable => Problem::because(
                ProblemKind::ReferenceMissing,
                "the payment reference is not 1 to 255 bytes of plain text; nothing was sent",
            ),
            Self::Malformed(why) => Problem::because(ProblemKind::InvalidRequest, why),
        }
    }
}

impl From<Malformed> for ReferenceError {
    fn from(Malformed(why): Malformed) -> Self {
        Self::Malformed(why)
    }
}

/// Reads the reference of a request. `None`: the PSP tells repeats apart, so none is needed.
pub fn read(
    call: &AllowedCall,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Option<PaymentReference>, ReferenceError> {
    let Some(place) = &call.once else { return Ok(None) };
    let mut found = Found(None);
    if let Some(name) = place.header() {
        for value in headers.get_all(name) {
            found.add(value.to_str().ok().map(str::to_owned))?;
        }
    } else {
        in_body(call, place, headers, body, &mut found)?;
    }
    let text = found.0.flatten().filter(|text| !text.trim().is_empty()).ok_or(ReferenceError::Missing)?;
    PaymentReference::parse(&text).map(Some).map_err(|_| ReferenceError::Unusable)
}

/// What stands at the place: nothing, no text, or a text.
struct Found(Option<Option<String>>);

impl Found {
    fn add(&mut self, text: Option<String>) -> Result<(), ReferenceError> {
        if self.0.replace(text).is_some() { Err(ReferenceError::Twice) } else { Ok(()) }
    }
}

fn in_body(
    call: &AllowedCall,
    place: &ReferencePlace,
    headers: &HeaderMap,
    body: &[u8],
    found: &mut Found,
) -> Result<(), ReferenceError> {
    let at = place.at();
    match call.body {
        BodyFormat::Json | BodyFormat::Graphql => in_json(at, body, found),
        BodyFormat::Form => in_form(at, body, found),
        BodyFormat::Xml => in_xml(at, call.namespace.as_deref(), body, found),
        BodyFormat::Multipart => in_multipart(at, headers, body, found),
    }
}

fn in_json(at: &str, body: &[u8], found: &mut Found) -> Result<(), ReferenceError> {
    let pointer = Pointer::parse(at).ok_or(ReferenceError::Missing)?;
    json::scan(body, Reading::Strict, |path, event| {
        if matches!(event, Event::Key(_)) || !pointer.is_like(path) {
            return Ok(());
        }
        let exact = pointer.is(path);
        found.add(match event {
            Event::String(text) if exact => Some(text.decoded().into_owned()),
            Event::Number(span) if exact => Some(String::from_utf8_lossy(&body[span]).into_owned()),
            Event::Key(_) | Event::String(_) | Event::Number(_) | Event::Null | Event::Other => None,
        })
    })
}

fn in_form(at: &str, body: &[u8], found: &mut Found) -> Result<(), ReferenceError> {
    for pair in form::pairs(body) {
        let name = String::from_utf8_lossy(form::decode(&body[pair.name]).bytes()).into_owned();
        if !name.trim().eq_ignore_ascii_case(at) {
            continue;
        }
        let value = form::decode(&body[pair.value.unwrap_or_default()]);
        found.add(String::from_utf8(value.into_bytes()).ok().filter(|_| name == at))?;
    }
    Ok(())
}

fn in_xml(at: &str, namespace: Option<&str>, body: &[u8], found: &mut Found) -> Result<(), ReferenceError> {
    let selector = xml::Selector::parse(at);
    xml::scan(body, namespace, Reading::Strict, |path, event| {
        let xml::Event::Value(value) = event else { return Ok(()) };
        if !selector.is(path) {
            return Ok(());
        }
        found.add((!value.is_mixed()).then(|| value.decoded().into_owned()))
    })
}

fn in_multipart(at: &str, headers: &HeaderMap, body: &[u8], found: &mut Found) -> Result<(), ReferenceError> {
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let boundary = content_type.and_then(multipart::boundary).ok_or(ReferenceError::Missing)?;
    for part in multipart::parts(body, boundary)? {
        if body[part.name].eq_ignore_ascii_case(at.as_bytes()) {
            let text = std::str::from_utf8(&body[part.content]).ok().filter(|_| part.is_field);
            found.add(text.map(str::to_owned))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use strongroom_domain::Environment;
    use strongroom_domain::route::Route;

    fn call(body: &str, number: &str, reference: &str) -> AllowedCall {
        let text = format!(
            "[route.psp]\nupstream = \"https://api.psp.example\"\ncredential = {{ header = \"authorization\" }}\n\
             [[route.psp.allow]]\nmethod = \"POST\"\npath = \"/pay\"\nbody = \"{body}\"\n\
             inject = [{{ at = \"{number}\", value = \"number\" }}]\n\
             mode = \"at-most-once\"\nreference = \"{reference}\""
        );
        Route::parse("psp", &text, Environment::Test).unwrap().allow.remove(0)
    }

    fn said(call: &AllowedCall, headers: &HeaderMap, body: &str) -> Result<String, ReferenceError> {
        read(call, headers, body.as_bytes()).map(|found| found.unwrap().as_str().to_owned())
    }

    #[test]
    fn a_reference_is_read_from_every_format() {
        let none = HeaderMap::new();
        let mut multipart = HeaderMap::new();
        multipart.insert(CONTENT_TYPE, "multipart/form-data; boundary=x".parse().unwrap());
        let part = "--x\r\nContent-Disposition: form-data; name=\"order\"\r\n\r\no-7\r\n--x--";
        for (body, number, at, headers, text) in [
            ("json", "/n", "/order/id", &none, r#"{"n":1,"order":{"id":"o\u002d7"}}"#),
            (
                "graphql",
                "/variables/n",
                "/variables/order",
                &none,
                r#"{"query":"q","variables":{"order":"o-7"}}"#,
            ),
            ("form", "n", "order[id]", &none, "n=1&order%5Bid%5D=o-7"),
            ("xml", "pay/n", "pay/order", &none, "<pay><n/><order> o-7 </order></pay>"),
            ("xml", "pay/n", "pay/order@code", &none, "<pay><n/><order code='o&#45;7'/></pay>"),
            ("multipart", "n", "order", &multipart, part),
        ] {
            assert_eq!(said(&call(body, number, at), headers, text).as_deref(), Ok("o-7"), "{body} {at}");
        }
        let mut header = HeaderMap::new();
        header.insert("idempotency-key", "o-7".parse().unwrap());
        assert_eq!(said(&call("json", "/n", "header:idempotency-key"), &header, "{}").as_deref(), Ok("o-7"));
        assert_eq!(said(&call("json", "/n", "/order"), &none, r#"{"order":17}"#).as_deref(), Ok("17"));
    }

    #[test]
    fn no_reference_two_or_one_that_is_no_text_is_refused() {
        use ReferenceError::{Missing, Twice, Unusable};
        let none = HeaderMap::new();
        let json = call("json", "/n", "/order/id");
        for (body, why) in [
            ("{}", Missing),
            (r#"{"order":{"id":""}}"#, Missing),
            (r#"{"order":{"id":"  "}}"#, Missing),
            (r#"{"order":{"id":null}}"#, Missing),
            (r#"{"order":{"id":["o-7"]}}"#, Missing),
            (r#"{"order":{"ID":"o-7"}}"#, Missing),
            (r#"{"order":{"id":"o-7","Id":"o-8"}}"#, Twice),
            (r#"{"order":{"id":"a\nb"}}"#, Unusable),
        ] {
            assert_eq!(said(&json, &none, body), Err(why), "{body}");
        }
        assert_eq!(
            said(&json, &none, &format!(r#"{{"order":{{"id":"{}"}}}}"#, "o".repeat(256))),
            Err(Unusable)
        );
        assert!(matches!(
            said(&json, &none, r#"{"order":{"id":"1","id":"2"}}"#),
            Err(ReferenceError::Malformed(_))
        ));
        let form = call("form", "n", "order");
        assert_eq!(said(&form, &none, "order=1&order=2"), Err(Twice));
        assert_eq!(said(&form, &none, "order=1&Order=2"), Err(Twice));
        assert_eq!(said(&form, &none, "order"), Err(Missing));
        let xml = call("xml", "pay/n", "pay/order");
        assert_eq!(said(&xml, &none, "<pay><order>1</order><order>2</order></pay>"), Err(Twice));
        assert_eq!(said(&xml, &none, "<pay><order>1<b/></order></pay>"), Err(Missing));
        let mut headers = HeaderMap::new();
        headers.append("x-order", "1".parse().unwrap());
        headers.append("x-order", "2".parse().unwrap());
        assert_eq!(said(&call("json", "/n", "header:x-order"), &headers, "{}"), Err(Twice));
    }

    #[test]
    fn a_call_that_passes_through_needs_none() {
        let mut free = call("json", "/n", "/order");
        free.once = None;
        assert_eq!(read(&free, &HeaderMap::new(), b"{}"), Ok(None));
    }
}
