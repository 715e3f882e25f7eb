//! Everything that is decided before anything is connected, asked or sent.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderName};
use strongroom_domain::route::{AllowedCall, BodyFormat, Call, Credentials, PaymentReference, Route};

use super::Order;
use crate::credential::AccountKeys;
use crate::credential::identity::Named;
use crate::inject::{self, Plan};
use crate::rescue::Failure;
use crate::route::Destination;
use crate::sign::{self, Form, jwe};
use crate::{credential, fields, headers, reference};

/// Longest PSP idempotency key told to the vault: what PSPs take at most.
const ATTEMPT_BYTES_MAX: usize = 255;

/// A call that may go on.
pub(super) struct Planned<'a> {
    /// What the route says of it.
    pub call: Call<'a>,
    /// What to ask the vault for; nothing where the request holds no token.
    pub plan: Option<Plan>,
    /// The merchant's payment reference, if the route lets each through once and there is a card to let through.
    pub reference: Option<PaymentReference>,
    /// The headers it leaves with, but for a signature.
    pub headers: HeaderMap,
    /// The body as the caller sent it, but for what names the account.
    pub body: Bytes,
    /// How to sign it, if the route signs.
    pub form: Option<Form>,
    /// The account's secrets, the same for the whole call.
    pub keys: Arc<AccountKeys>,
}

impl<'a> Planned<'a> {
    pub(super) fn new(order: &'a Order) -> Result<Self, Failure> {
        let destination = &*order.target.destination;
        let route = &destination.route;
        let call = route.call(order.method.as_str(), order.target.path()).ok_or(Failure::NotListed)?;
        if headers::steer(&order.headers) {
            return Err(Failure::NotListed);
        }
        let content_type = content_type(&order.headers)?;
        let call = in_its_format(route, call, content_type);
        let allowed = call.as_ref().ok().and_then(|call| call.allowed());
        inject::check_clean(allowed, &order.target.path_and_query, &order.headers)?;
        let call = call?;
        let mut plan = match call {
            Call::Allowed(allowed) => Some(find_places(allowed, &order.headers, &order.body)?),
            Call::Passed(_) => {
                inject::check_passed_body(&order.body)?;
                // Without its whitespace it may hold a number it did not hold as it came.
                if let Some(minified) = sign::minified(route.signing.as_ref(), content_type, &order.body) {
                    inject::check_passed_body(&minified)?;
                }
                None
            }
        };
        check_fields(route, order, content_type)?;
        let keys = destination.keys.clone();
        let (headers, body, form) = of_account(order, call, &keys, content_type)?;
        // What names the account moved the places.
        if let (Some(body), Call::Allowed(allowed)) = (&body, call) {
            plan = Some(find_places(allowed, &order.headers, body)?);
        }
        let plan = plan.filter(|plan| !plan.is_empty());
        let body = body.unwrap_or_else(|| order.body.clone());
        let reference = match (&plan, call.allowed()) {
            (Some(_), Some(allowed)) => reference::read(allowed, &headers, &body)?,
            _ => None,
        };
        Ok(Self { call, plan, reference, headers, body, form, keys })
    }

    pub(super) const fn kind(&self) -> &'static str {
        match self.call {
            Call::Allowed(_) => "allow",
            Call::Passed(_) => "pass",
        }
    }
}

/// Finds the tokens, and that what is to be encrypted is there.
fn find_places(call: &AllowedCall, headers: &HeaderMap, body: &Bytes) -> Result<Plan, Failure> {
    let plan = inject::plan(call, headers, body)?;
    if let Some(encryption) = &call.encryption {
        jwe::spans(encryption, body)?;
    }
    Ok(plan)
}

type OfAccount = (HeaderMap, Option<Bytes>, Option<Form>);

/// The headers that leave, the body if the account's names went into it, and how to sign: the account's, not the caller's.
fn of_account(
    order: &Order,
    call: Call<'_>,
    keys: &AccountKeys,
    content_type: Option<&str>,
) -> Result<OfAccount, Failure> {
    let Destination { route, account, upstream, .. } = &*order.target.destination;
    let mut headers = headers::outgoing(&order.headers, upstream);
    let (own, signing) = (keys.credential.as_ref(), route.signing.as_ref());
    credential::apply(route.credentials, &route.credential_place, account, own, signing, &mut headers)?;
    let (target, has_body) = (order.target.path_and_query.as_str(), !order.body.is_empty());
    let form =
        keys.signer.as_ref().map(|signer| signer.prepare(&order.method, target, &mut headers, has_body));
    let form = form.transpose()?;
    let named = Named {
        route,
        call,
        account,
        keys,
        path: order.target.path(),
        query: order.target.query(),
        form: form.as_ref(),
        content_type,
    };
    let body = named.apply(&mut headers, &order.body)?;
    if let (Some(signer), Some(form)) = (&keys.signer, &form) {
        signer.check(form, &headers, order.target.path(), body.as_deref().unwrap_or(&order.body))?;
    }
    Ok((headers, body, form))
}

/// The PSP's idempotency key, if the request that leaves has a usable one.
pub(super) fn attempt<'a>(route: &Route, headers: &'a HeaderMap) -> Option<&'a str> {
    let name = HeaderName::try_from(route.idempotency_header.as_deref()?).ok()?;
    let key = only(headers, &name).ok()??;
    (!key.is_empty() && key.len() <= ATTEMPT_BYTES_MAX).then_some(key)
}

/// What proxy and PSP must read alike, or they would see different fields: one content type, no compression.
fn content_type(headers: &HeaderMap) -> Result<Option<&str>, Failure> {
    let encoding = only(headers, &CONTENT_ENCODING)?;
    if encoding.is_some_and(|encoding| !encoding.eq_ignore_ascii_case("identity")) {
        return Err(Failure::MediaType);
    }
    only(headers, &CONTENT_TYPE)
}

fn only<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<Option<&'h str>, Failure> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    match (value.to_str(), values.next()) {
        (Ok(text), None) => Ok(Some(text)),
        _ => Err(Failure::MediaType),
    }
}

/// Of the calls listed for one method and path, the one whose format the body has.
fn in_its_format<'r>(
    route: &'r Route,
    call: Call<'r>,
    content_type: Option<&str>,
) -> Result<Call<'r>, Failure> {
    let Call::Allowed(first) = call else { return Ok(call) };
    let fitting = route.formats(first).find(|call| check_media_type(call, content_type).is_ok());
    fitting.map(Call::Allowed).ok_or(Failure::MediaType)
}

/// Whether a message is of a call's format: one content type, no compression.
pub(crate) fn takes(call: &AllowedCall, headers: &HeaderMap) -> bool {
    content_type(headers).and_then(|kind| check_media_type(call, kind)).is_ok()
}

fn check_media_type(call: &AllowedCall, content_type: Option<&str>) -> Result<(), Failure> {
    let text = content_type.ok_or(Failure::MediaType)?;
    let essence = fields::essence(text);
    let fits = match call.body {
        BodyFormat::Form => essence == "application/x-www-form-urlencoded",
        BodyFormat::Json | BodyFormat::Graphql => fields::is_json(&essence),
        BodyFormat::Xml => fields::is_xml(&essence),
        BodyFormat::Multipart => essence == "multipart/form-data",
    };
    let mut parameters = text.split(';').skip(1).filter_map(|parameter| parameter.split_once('='));
    let utf8 = parameters.all(|(name, value)| {
        let value = value.trim().trim_matches('"');
        !name.trim().eq_ignore_ascii_case("charset")
            || value.eq_ignore_ascii_case("utf-8")
            || value.eq_ignore_ascii_case("utf8")
    });
    if fits && utf8 { Ok(()) } else { Err(Failure::MediaType) }
}

fn check_fields(route: &Route, order: &Order, content_type: Option<&str>) -> Result<(), Failure> {
    let place = &route.credential_place;
    if place.refused_fields.is_empty() || route.credentials == Credentials::Unpinned {
        return Ok(());
    }
    let in_query = fields::form_names(order.target.query().as_bytes());
    // A body whose fields we cannot read may hold a credential the PSP can.
    let in_body = fields::body_names(content_type, &order.body).ok_or(Failure::MediaType)?;
    Ok(credential::check_fields(route.credentials, place, in_query.chain(in_body))?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use strongroom_domain::Environment;

    const ROUTE: &str = r#"
        [route.psp]
        upstream = "https://api.psp.example"
        credential = { header = "Authorization" }
        idempotency = { header = "Idempotency-Key" }
        [[route.psp.allow]]
        method = "POST"
        path = "/form"
        body = "form"
        inject = [{ at = "n", value = "number" }]
        [[route.psp.allow]]
        method = "POST"
        path = "/json"
        body = "json"
        inject = [{ at = "/n", value = "number" }]
        [[route.psp.allow]]
        method = "POST"
        path = "/json"
        body = "xml"
        inject = [{ at = "n", value = "number" }]
        [[route.psp.allow]]
        method = "POST"
        path = "/multipart"
        body = "multipart"
        inject = [{ at = "n", value = "number" }]
    "#;

    #[test]
    fn proxy_and_psp_read_the_same_kind_of_body() {
        let route = Route::parse("psp", ROUTE, Environment::Test).unwrap();
        let [form, json, xml, multipart] = route.allow.as_slice() else { panic!("four formats") };
        for (call, text, fits) in [
            (form, "application/x-www-form-urlencoded", true),
            (form, "Application/X-WWW-Form-URLencoded; charset=UTF-8", true),
            (form, "application/json", false),
            (form, "application/x-www-form-urlencoded; charset=utf-16", false),
            (form, "multipart/form-data; boundary=x", false),
            (json, "application/json", true),
            (json, "application/json;charset=\"utf-8\"", true),
            (json, "application/vnd.psp+json", true),
            (json, "text/plain", false),
            (xml, "text/xml", true),
            (xml, "application/xml; charset=utf-8", true),
            (xml, "application/soap+xml", true),
            (xml, "text/xml; charset=iso-8859-1", false),
            (xml, "application/json", false),
            (multipart, "multipart/form-data; boundary=x", true),
            (multipart, "multipart/mixed; boundary=x", false),
        ] {
            assert_eq!(check_media_type(call, Some(text)).is_ok(), fits, "{text}");
        }
        assert!(check_media_type(json, None).is_err());
        for (kind, body) in [("application/json", BodyFormat::Json), ("text/xml", BodyFormat::Xml)] {
            let call = route.call("POST", "/json").unwrap();
            let Ok(Call::Allowed(found)) = in_its_format(&route, call, Some(kind)) else { panic!("{kind}") };
            assert_eq!(found.body, body);
        }
    }

    #[test]
    fn a_compressed_or_doubly_typed_body_is_refused() {
        let mut headers = HeaderMap::new();
        headers.append(CONTENT_TYPE, "application/json".parse().unwrap());
        assert_eq!(content_type(&headers).unwrap(), Some("application/json"));
        headers.append(CONTENT_ENCODING, "identity".parse().unwrap());
        assert!(content_type(&headers).is_ok());
        headers.append(CONTENT_TYPE, "text/plain".parse().unwrap());
        assert!(content_type(&headers).is_err());
        headers.remove(CONTENT_TYPE);
        headers.insert(CONTENT_ENCODING, "gzip".parse().unwrap());
        assert!(content_type(&headers).is_err());
    }

    #[test]
    fn the_attempt_is_the_psp_s_idempotency_key() {
        let route = Route::parse("psp", ROUTE, Environment::Test).unwrap();
        let mut headers = HeaderMap::new();
        assert_eq!(attempt(&route, &headers), None);
        headers.insert("idempotency-key", "k-1".parse().unwrap());
        assert_eq!(attempt(&route, &headers), Some("k-1"));
        headers.insert("idempotency-key", "k".repeat(256).parse().unwrap());
        assert_eq!(attempt(&route, &headers), None);
    }
}
