//! What a declaration must say, and what account keys fit it.

use super::*;
use crate::environment::Environment;
use crate::route::{Account, Route};

const HMAC: &str = "kind = \"hmac\"\nparts = [\"header:x-login\", \"text:;\", \"body\"]\n\
                    output = \"hex\"\nheader = \"Authorization\"\nprefix = \"V2, Signature: \"";
const MESSAGE: &str = "kind = \"message-signature\"\nalgorithm = \"ed25519\"\n\
                       components = [\"@method\", \"@path\", \"content-digest\"]";

fn route(sign: &str) -> Result<Route, crate::route::InvalidRoute> {
    let text = format!(
        "[route.psp]\nupstream = \"https://psp.example\"\n[route.psp.sign]\n{sign}\n\
         [[route.psp.pass]]\nmethod = \"GET\"\npath = \"/p\"\n"
    );
    Route::parse("psp", &text, Environment::Live)
}

#[test]
fn a_declared_signature_is_read_whole() {
    let Some(Signing::Hmac(hmac)) = route(HMAC).unwrap().signing else { panic!("hmac") };
    let parts = [Part::Header("x-login".into()), Part::Text(";".into()), Part::Body];
    assert_eq!((hmac.parts.as_slice(), hmac.header.as_str()), (&parts[..], "authorization"));
    assert_eq!((hmac.hash, hmac.secret, hmac.minify), (HashName::Sha256, SecretEncoding::Text, false));
    assert!(matches!(route("kind = \"cybersource\"").unwrap().signing, Some(Signing::CyberSource {})));
    let aws = route("kind = \"aws-v4\"\nregion = \"eu-west-1\"\nservice = \"execute-api\"").unwrap();
    assert!(aws.signing.unwrap().headers().contains(&"x-amz-date"));
}

#[test]
fn a_signature_that_says_nothing_of_the_body_or_changes_on_the_way_is_refused() {
    for (base, from, to) in [
        (HMAC, "\"body\"", "\"method\""),
        (HMAC, "header:x-login", "header:authorization"),
        (HMAC, "header:x-login", "header:connection"),
        (HMAC, "header:x-login", "header:"),
        (HMAC, "text:;", "surprise"),
        (HMAC, "output = \"hex\"", "output = \"hex\"\nsurprise = 1"),
        (HMAC, "kind = \"hmac\"", "kind = \"md5\""),
        (MESSAGE, "\"content-digest\"", "\"content-type\""),
        (MESSAGE, "\"@path\"", "\"@status\""),
        (MESSAGE, "\"@path\"", "\"@method\""),
        (MESSAGE, "\"@path\"", "\"Date\""),
        (MESSAGE, "ed25519", "none"),
        ("kind = \"cybersource\"", "\"cybersource\"", "\"cybersource\"\nsurprise = 1"),
        ("kind = \"aws-v4\"\nregion = \"x\"\nservice = \"s\"", "\"x\"", "\"X/\""),
    ] {
        assert!(base.contains(from), "{from}");
        assert!(route(&base.replace(from, to)).is_err(), "{to}");
    }
}

#[test]
fn an_account_has_the_key_its_route_signs_with() {
    let (secret, private) = ("secret_file = \"s\"", "private_key_file = \"p.pem\"");
    let id = "key_id = \"k-1\"";
    for (sign, signing, fits) in [
        (HMAC, secret.to_owned(), true),
        (HMAC, private.to_owned(), false),
        (HMAC, format!("{secret}\n{private}"), false),
        (HMAC, "secret_file = \"../s\"".to_owned(), false),
        (HMAC, "secret_file = \"/s\"".to_owned(), false),
        (MESSAGE, format!("{id}\n{private}"), true),
        (MESSAGE, private.to_owned(), false),
        (MESSAGE, format!("{id}\n{secret}"), false),
        ("kind = \"cybersource\"", format!("{id}\n{secret}"), true),
        ("kind = \"cybersource\"", format!("{id}\n{private}"), true),
        ("kind = \"cybersource\"", format!("{id}\n{secret}\n{private}"), false),
        ("kind = \"cybersource\"", format!("key_id = \"a\\\"b\"\n{secret}"), false),
    ] {
        let text = format!("tenants = [\"*\"]\n[signing]\n{signing}");
        let account = Account::parse("default", &text, &route(sign).unwrap());
        assert_eq!(account.is_ok(), fits, "{sign} {signing}");
    }
    assert!(Account::parse("default", "tenants = [\"*\"]", &route(HMAC).unwrap()).is_err());
}

#[test]
fn what_is_encrypted_is_a_json_body_or_fields_of_one() {
    let with = |body: &str, at: &str, encrypt: &str| {
        let text = format!(
            "[route.psp]\nupstream = \"https://psp.example\"\ncredential = {{ header = \"Authorization\" }}\n\
             [[route.psp.allow]]\nmethod = \"POST\"\npath = \"/p\"\nbody = \"{body}\"\n\
             inject = [{{ at = \"{at}\", value = \"number\" }}]\nencrypt = {{ {encrypt} }}"
        );
        Route::parse("psp", &text, Environment::Live)
    };
    for (body, at, encrypt, fits) in [
        ("json", "/card/number", "fields = [\"/card\"]", true),
        ("json", "/card/number", "wrap = \"encryptedRequest\"", true),
        ("json", "/card/number", "content-type = \"application/jose\"", true),
        ("json", "/card/number", "", true),
        ("json", "/card/number", "fields = [\"card\"]", false),
        ("json", "/card/number", "fields = [\"/card\", \"/card/number\"]", false),
        ("json", "/card/number", "fields = [\"/card\"], wrap = \"x\"", false),
        ("form", "card", "", false),
    ] {
        assert_eq!(with(body, at, encrypt).is_ok(), fits, "{body} {encrypt}");
    }
}
