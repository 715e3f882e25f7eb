//! Every form a key id stands in, and every way to name two or none.

use super::*;
use http::HeaderName;

fn name(text: &str) -> AccountName {
    AccountName::parse(text).unwrap()
}

fn ids(places: &[(&str, KeyIdForm)]) -> KeyIds {
    let places = places.iter().map(|(header, form)| KeyIdPlace { header: (*header).into(), form: *form });
    let accounts = [("KEY-A", "a"), ("KEY-B", "b")].map(|(id, account)| (id.to_owned(), name(account)));
    KeyIds::new(places.collect(), accounts.into_iter()).unwrap()
}

fn named(ids: &KeyIds, headers: &[(&str, &str)]) -> Result<Option<String>, EntryRefused> {
    let mut map = HeaderMap::new();
    for (header, value) in headers {
        map.append(HeaderName::try_from(*header).unwrap(), HeaderValue::try_from(*value).unwrap());
    }
    ids.named(&map).map(|account| account.map(ToString::to_string))
}

fn jwt(head: &str) -> String {
    format!("Bearer {}.e30.AAAA", BASE64_URL_SAFE_NO_PAD.encode(head))
}

fn basic(pair: &str) -> String {
    format!("Basic {}", BASE64_STANDARD.encode(pair))
}

const REFUSED: Result<Option<&str>, EntryRefused> = Err(EntryRefused::UnknownKeyId);

#[test]
fn a_key_id_is_read_in_every_form_psps_write_it() {
    use KeyIdForm::{AwsCredential, BasicUser, Bearer, JwtKid, Keyid, Value};
    let cavage = |id: &str| {
        format!("keyid={id}, algorithm=\"HmacSHA256\", headers=\"host date\", signature=\"a=,keyid=\"")
    };
    for (form, value, found) in [
        (Value, "KEY-B".to_owned(), Ok(Some("b"))),
        (Value, "strongroom".into(), Ok(None)),
        (Value, String::new(), Ok(None)),
        (Value, "KEY-C".into(), REFUSED),
        (Value, "key-b".into(), REFUSED),
        (Bearer, "bearer KEY-B".into(), Ok(Some("b"))),
        (Bearer, "Bearer strongroom".into(), Ok(None)),
        (Bearer, "Bearer sk_live_secret".into(), REFUSED),
        (Bearer, basic("KEY-C:"), Ok(None)),
        (BasicUser, basic("KEY-A:any"), Ok(Some("a"))),
        (BasicUser, basic("KEY-A"), Ok(Some("a"))),
        (BasicUser, basic("strongroom:strongroom"), Ok(None)),
        (BasicUser, basic("KEY-C:"), REFUSED),
        (BasicUser, "Basic ***".into(), REFUSED),
        (BasicUser, "Bearer KEY-C".into(), Ok(None)),
        (Keyid, cavage("\"KEY-A\""), Ok(Some("a"))),
        (Keyid, cavage("\"strongroom\""), Ok(None)),
        (Keyid, cavage("KEY-A"), REFUSED),
        (Keyid, cavage("\"KEY-A\", keyid=\"KEY-B\""), REFUSED),
        (Keyid, "sig1=(\"@method\" \"content-digest\");created=1;keyid=\"KEY-B\";tag=\"a;keyid=b\"".into(), Ok(Some("b"))),
        (Keyid, "sig1=(\"@method\");created=1".into(), Ok(None)),
        (JwtKid, jwt("{\"kid\":\"KEY-A\",\"alg\":\"HS256\"}"), Ok(Some("a"))),
        (JwtKid, jwt("{\"kid\":\"strongroom\"}"), Ok(None)),
        (JwtKid, jwt("{\"alg\":\"HS256\"}"), Ok(None)),
        (JwtKid, jwt("{\"kid\":\"KEY-A\",\"kid\":\"KEY-B\"}"), REFUSED),
        (JwtKid, jwt("{\"kid\":7}"), REFUSED),
        (JwtKid, "Bearer %%.e30.AAAA".into(), REFUSED),
        (JwtKid, "Bearer KEY-C".into(), Ok(None)),
        (
            AwsCredential,
            "AWS4-HMAC-SHA256 Credential=KEY-B/20260102/eu/execute-api/aws4_request, SignedHeaders=host, Signature=00".into(),
            Ok(Some("b")),
        ),
        (AwsCredential, "AWS4-HMAC-SHA256 Credential=KEY-A/x, Credential=KEY-B/x".into(), REFUSED),
        (AwsCredential, "AWS4-HMAC-SHA256 Signature=00".into(), REFUSED),
        (AwsCredential, "Bearer KEY-C".into(), Ok(None)),
    ] {
        let told = named(&ids(&[("x-place", form)]), &[("x-place", &value)]);
        assert_eq!(told, found.map(|account| account.map(str::to_owned)), "{form:?} {value}");
    }
}

#[test]
fn two_keys_in_one_request_are_nobody_s_to_choose_from() {
    let both = ids(&[("signature", KeyIdForm::Keyid), ("authorization", KeyIdForm::JwtKid)]);
    let (a, b) = (jwt("{\"kid\":\"KEY-A\"}"), jwt("{\"kid\":\"KEY-B\"}"));
    for (headers, found) in [
        (&[][..], Ok(None)),
        (&[("authorization", a.as_str())], Ok(Some("a"))),
        (&[("signature", "keyid=\"KEY-A\""), ("authorization", &a)], Ok(Some("a"))),
        (&[("signature", "keyid=\"strongroom\""), ("authorization", &b)], Ok(Some("b"))),
        (&[("signature", "keyid=\"KEY-A\""), ("authorization", &b)], REFUSED),
        (&[("signature", "keyid=\"KEY-A\""), ("signature", "keyid=\"KEY-A\"")], REFUSED),
    ] {
        assert_eq!(named(&both, headers), found.map(|account| account.map(str::to_owned)), "{headers:?}");
    }
}

#[test]
fn a_key_id_belongs_to_one_account() {
    let place = || vec![KeyIdPlace { header: "x-api-key".into(), form: KeyIdForm::Value }];
    let same =
        || [("KEY", "a"), ("KEY", "b")].map(|(id, account)| (id.to_owned(), name(account))).into_iter();
    assert_eq!(KeyIds::new(place(), same()).unwrap_err(), SharedKeyId(name("a"), name("b")));
    let unused = KeyIds::new(Vec::new(), same()).unwrap();
    assert_eq!(named(&unused, &[("x-api-key", "KEY")]), Ok(None), "a route that does not ask for it");
}
