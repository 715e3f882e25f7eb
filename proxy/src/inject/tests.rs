//! Injection, rule by rule, and the one property that matters: nothing but the declared places changes.

use proptest::prelude::*;
use strongroom_domain::route::{Call, Route};
use strongroom_domain::{Environment, Token};

use super::*;

mod formats;
mod names;

const A: &str = "tok_test_bkscltdmvfnwgpxhqzjrbkscltdmvfnwzv";
const B: &str = "tok_test_cltdmvfnwgpxhqzjrbkscltdmvfnwdmvxj";
const C: &str = "tok_live_fnwgpxhqzjrbkscltbkscltdmvfnwgpxsq";
const PAN: &str = "4111111111111111";

const FORM: &str = r#"
    { at = "card[number]", value = "number" },
    { at = "card[cvc]", value = "cvc", from = "card[number]" },
    { at = "card[exp_month]", value = "exp", format = "M", from = "card[number]" },
    { at = "card[exp_year]", value = "exp", format = "YYYY", from = "card[number]" },
    { at = "name", value = "holder" },
    { at = "exp", value = "exp", format = "MM/YY" },
    { at = "code", value = "cvc" },
"#;

const JSON: &str = r#"
    { at = "/source/number", value = "number" },
    { at = "/source/cvv", value = "cvc" },
    { at = "/source/expiry_month", value = "exp", format = "MM", json = "integer", from = "/source/number" },
    { at = "/source/expiry_year", value = "exp", format = "YY", json = "integer", from = "/source/number" },
    { at = "/source/code", value = "cvc", from = "/source/number" },
    { at = "/holder", value = "holder" },
    { at = "/cards/0/n~1m", value = "number" },
    { at = "/exp", value = "exp", format = "MM/YY" },
"#;

fn call(body: &str, places: &str) -> AllowedCall {
    let text = format!(
        "[route.psp]\nupstream = \"https://psp.example\"\ncredential = {{ header = \"authorization\" }}\n\
         [[route.psp.allow]]\nmethod = \"POST\"\npath = \"/\"\nbody = \"{body}\"\ninject = [{places}]"
    );
    let route = Route::parse("psp", &text, Environment::Live).unwrap();
    let Some(Call::Allowed(call)) = route.call("POST", "/") else { panic!("allowed") };
    call.clone()
}

fn plan(call: &AllowedCall, body: &[u8]) -> Result<Plan, InjectError> {
    super::plan(call, &HeaderMap::new(), body)
}

fn check_clean(path_and_query: &str, headers: &HeaderMap) -> Result<(), InjectError> {
    super::check_clean(None, path_and_query, headers)
}

fn form() -> AllowedCall {
    call("form", FORM)
}

fn json() -> AllowedCall {
    call("json", JSON)
}

fn card(number: &str, holder: &str) -> ReleasedCard {
    ReleasedCard {
        number: Some(number.into()),
        cvc: Some("0737".into()),
        expiry: Expiry::new(3, 2000).ok(),
        holder: Some(holder.into()),
    }
}

fn injected(call: &AllowedCall, body: &str) -> Result<String, InjectError> {
    let plan = plan(call, body.as_bytes())?;
    let numbers = [PAN, "5555555555554444", "378282246310005"];
    let cards: Vec<_> =
        plan.wanted().iter().zip(numbers).map(|(_, number)| card(number, "Zoë \"Q\" O'B & Co")).collect();
    Ok(String::from_utf8(plan.inject(&cards)?.body.to_vec()).unwrap())
}

fn refusals(call: &AllowedCall, cases: &[(&str, InjectError)]) {
    for (body, error) in cases {
        let body = body.replace('$', A).replace('@', B);
        assert_eq!(plan(call, body.as_bytes()).map(|_| ()).unwrap_err(), *error, "{body}");
    }
}

#[test]
fn forms_are_filled_where_declared_and_nowhere_else() {
    for (body, expected) in [
        ("card[number]=$", "card[number]=4111111111111111"),
        ("a=%7e&card%5Bnumber%5D=$&&b", "a=%7e&card%5Bnumber%5D=4111111111111111&&b"),
        ("card%5bnumber]=%74ok_$", "card%5bnumber]=4111111111111111"),
        (
            "card[exp_year]=99&card[cvc]=000&card[exp_month]=&card[number]=$&x=1+2",
            "card[exp_year]=2000&card[cvc]=0737&card[exp_month]=3&card[number]=4111111111111111&x=1+2",
        ),
        ("name=$", "name=Zo%C3%AB+%22Q%22+O%27B+%26+Co"),
        ("exp={{+$.exp+|+MMYY+}}&code=$", "exp=0300&code=0737"),
        ("exp=%7B%7B%20$.exp%20%7D%7D", "exp=03%2F00"),
        ("card[number]=$&name=@", "card[number]=4111111111111111&name=Zo%C3%AB+%22Q%22+O%27B+%26+Co"),
        (
            "card[cvc]=123&card[exp_month]=12&card[number]=tok_visa",
            "card[cvc]=123&card[exp_month]=12&card[number]=tok_visa",
        ),
        ("", ""),
    ] {
        let body = body.replace("%74ok_$", &A.replacen('t', "%74", 1)).replace('$', A).replace('@', B);
        assert_eq!(injected(&form(), &body).as_deref(), Ok(expected), "{body}");
    }
}

#[test]
fn json_is_filled_where_declared_and_nowhere_else() {
    for (body, expected) in [
        (r#"{"source":{"number":"$"}}"#, r#"{"source":{"number":"4111111111111111"}}"#),
        (
            " {\"z\" : 1.50E+2,\r\n\t\"source\": {\"cv\\u0076\":\"$\",\"number\" : \"$\" , \"x\":\"\\u00e9\\/\"} }\n",
            " {\"z\" : 1.50E+2,\r\n\t\"source\": {\"cv\\u0076\":\"0737\",\"number\" : \"4111111111111111\" , \"x\":\"\\u00e9\\/\"} }\n",
        ),
        (
            r#"{"source":{"expiry_year":0,"expiry_month":"12","code":0,"number":"$"}}"#,
            r#"{"source":{"expiry_year":0,"expiry_month":3,"code":"0737","number":"4111111111111111"}}"#,
        ),
        (
            r#"{"source":{"expiry_year":null,"number":"$","expiry_month":"{{ $.exp | YYYY }}","code":"$"}}"#,
            r#"{"source":{"expiry_year":null,"number":"4111111111111111","expiry_month":2000,"code":"0737"}}"#,
        ),
        (r#"{"holder":"$"}"#, r#"{"holder":"Zoë \"Q\" O'B & Co"}"#),
        (r#"{"holder":"\u0074ok%"}"#, r#"{"holder":"Zoë \"Q\" O'B & Co"}"#),
        (r#"{"cards":[{"n/m":"$"},{"n/m":"x"}]}"#, r#"{"cards":[{"n/m":"4111111111111111"},{"n/m":"x"}]}"#),
        (
            r#"{"source":{"number":"$"},"cards":[{"n/m":"@"}]}"#,
            r#"{"source":{"number":"4111111111111111"},"cards":[{"n/m":"5555555555554444"}]}"#,
        ),
        (
            r#"{"source":{"number":null,"cvv":"123","expiry_month":12,"code":{}},"exp":[]}"#,
            r#"{"source":{"number":null,"cvv":"123","expiry_month":12,"code":{}},"exp":[]}"#,
        ),
        ("[]", "[]"),
    ] {
        let body = body.replace("ok%", &A[1..]).replace('$', A).replace('@', B);
        assert_eq!(injected(&json(), &body).as_deref(), Ok(expected), "{body}");
    }
}

#[test]
fn a_token_anywhere_else_is_refused() {
    let misplaced = InjectError::MisplacedToken;
    let wrong_check = A.replace("zv", "zz");
    let body = format!("description={wrong_check}");
    assert_eq!(plan(&form(), body.as_bytes()).unwrap_err(), misplaced);
    let escaped = format!("{{\"a\":\"\\u0074{}\"}}", &A[1..]);
    assert_eq!(plan(&json(), escaped.as_bytes()).unwrap_err(), misplaced);
    let twice = format!("{{\"a\":\"\\\\u0074{}\"}}", &A[1..]);
    assert_eq!(plan(&json(), twice.as_bytes()).unwrap_err(), misplaced);
    let percent = format!("description=%2574{}", &A[1..]);
    assert_eq!(plan(&form(), percent.as_bytes()).unwrap_err(), misplaced);
    refusals(
        &form(),
        &[
            ("description=$", misplaced),
            ("description=pay+with+$+now", misplaced),
            ("$=1", misplaced),
            ("$", misplaced),
            ("card[number][]=$", misplaced),
            ("card=$", misplaced),
            ("card[cvc]=$", misplaced),
            ("card[number]=$&card[cvc]=@", misplaced),
            ("card[number]={{+$.cvc+}}", misplaced),
            ("code={{$.number}}", misplaced),
        ],
    );
    refusals(
        &json(),
        &[
            (r#"{"source":{"number":["$"]}}"#, misplaced),
            (r#"{"Source":{"number":"$"}}"#, misplaced),
            (r#"{"cards":[0,{"n/m":"$"}]}"#, misplaced),
            (r#"{"$":1}"#, misplaced),
            (r#""$""#, misplaced),
            (r#"{"source":{"expiry_month":"$"}}"#, misplaced),
        ],
    );
}

#[test]
fn a_card_number_anywhere_is_refused() {
    let pan = InjectError::PanInRequest;
    refusals(
        &form(),
        &[
            ("card[number]=4111111111111111", pan),
            ("card[number]=4111111111111112", pan),
            ("card[number]=4111+1111-1111.1111", pan),
            ("card[number]=%34111111111111111", pan),
            ("card[number]=123456789012", pan),
            ("card[number]=9011+1111+1111+1116", InjectError::PanInRequest),
            ("card[cvc]=4111111111111111&card[number]=$", pan),
            ("name=JANE+4111+1111+1111+1111", pan),
            ("note=x4242424242424242x", pan),
            ("note=%2534242424242424242", pan),
            ("4242424242424242=note", pan),
        ],
    );
    refusals(
        &json(),
        &[
            (r#"{"source":{"number":"4111111111111111"}}"#, pan),
            (r#"{"source":{"number":4111111111111112}}"#, pan),
            (r#"{"source":{"number":4.111111111111111e15}}"#, pan),
            (r#"{"source":{"number":9211111111111116}}"#, InjectError::PanInRequest),
            (r#"{"amount":4111111111111111}"#, pan),
            (r#"{"note":["4111-1111-1111-1111"]}"#, pan),
            (r#"{"note":"4\u0031\u00311111111111111"}"#, pan),
        ],
    );
    let nested = r#"{"note":"{\"n\":\"\\u0034111111111111111\"}"}"#;
    assert_eq!(plan(&json(), nested.as_bytes()).unwrap_err(), pan);
    for fine in [
        "card[number]=411111******1111",
        "card[number]=41111111111",
        "amount=1099&created=1763710522",
        "card[number]=",
    ] {
        assert!(plan(&form(), fine.as_bytes()).unwrap().is_empty(), "{fine}");
    }
}

#[test]
fn ambiguous_and_broken_requests_are_refused() {
    let twice = InjectError::Malformed("a declared field is given twice");
    refusals(
        &form(),
        &[
            ("card[number]=$&card[number]=$", twice),
            ("card[number]=$&card%5Bnumber%5D=x", twice),
            ("card[number]", InjectError::Malformed("a declared field has no value")),
            ("name=%ff", InjectError::Malformed("a declared field is not UTF-8")),
        ],
    );
    assert_eq!(injected(&form(), "expand[]=a&expand[]=b").as_deref(), Ok("expand[]=a&expand[]=b"));
    let integer =
        InjectError::InvalidExpression("this place takes an integer, which this format does not write");
    refusals(
        &json(),
        &[
            (r#"{"a":1,"a":2}"#, InjectError::Malformed("an object of the body holds a key twice")),
            ("\u{feff}{}", InjectError::Malformed("the body begins with a byte order mark")),
            (r#"{"source":{"number":"$","expiry_month":"{{ $.exp | MM/YY }}"}}"#, integer),
            (
                r#"{"source":{"number":"$","code":{}}}"#,
                InjectError::Malformed("a place to be filled holds neither text nor a number"),
            ),
        ],
    );
    assert!(matches!(plan(&json(), b"card[number]=1"), Err(InjectError::Malformed(_))));
}

#[test]
fn every_token_is_asked_for_once_with_all_it_needs() {
    let body =
        format!(r#"{{"holder":"{B}","source":{{"cvv":"{C}","expiry_month":0,"number":"{C}"}},"exp":"{B}"}}"#);
    let plan = plan(&json(), body.as_bytes()).unwrap();
    let wanted: Vec<_> = plan.wanted().into_iter().map(|wanted| (wanted.name, wanted.attributes)).collect();
    let set = |attributes: &[Attribute]| attributes.iter().copied().collect::<AttributeSet>();
    assert_eq!(
        wanted,
        [
            (CardName::parse(B).unwrap(), set(&[Attribute::Holder, Attribute::Exp])),
            (CardName::parse(C).unwrap(), set(&[Attribute::Number, Attribute::Cvc, Attribute::Exp])),
        ]
    );
    assert!(!plan.is_empty() && !format!("{plan:?}").contains("fnwgpxhq"));
}

#[test]
fn a_request_holds_at_most_eight_tokens() {
    struct Counter(std::sync::atomic::AtomicU8);
    impl strongroom_domain::Random for Counter {
        fn fill(&self, out: &mut [u8]) -> Result<(), strongroom_domain::RandomUnavailable> {
            out.fill(self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
            Ok(())
        }
    }
    let random = Counter(0.into());
    let tokens: Vec<_> = (0..9).map(|_| Token::generate(Environment::Test, &random).unwrap()).collect();
    let places: String = (0..9).map(|n| format!("{{ at = \"n{n}\", value = \"number\" }},")).collect();
    let body = |count| {
        let fields =
            tokens.iter().enumerate().take(count).map(|(n, token)| format!("n{n}={}", token.as_str()));
        fields.collect::<Vec<_>>().join("&")
    };
    let call = call("form", &places);
    assert_eq!(plan(&call, body(8).as_bytes()).unwrap().wanted().len(), TOKENS_MAX);
    assert_eq!(plan(&call, body(9).as_bytes()).unwrap_err(), InjectError::TooManyTokens);
}

#[test]
fn what_the_vault_did_not_release_is_not_invented() {
    let body = format!("card[number]={A}&card[cvc]=0");
    let plan = || plan(&form(), body.as_bytes()).unwrap();
    let without_cvc = ReleasedCard { cvc: None, ..card(PAN, "x") };
    assert_eq!(plan().inject(&[without_cvc]).unwrap_err(), InjectError::AttributeMissing);
    for cards in [vec![], vec![card(PAN, "x"), card(PAN, "x")], vec![card("4111 1111", "x")]] {
        assert_eq!(plan().inject(&cards).unwrap_err(), InjectError::ReleaseMismatch);
    }
    let injected = plan().inject(&[card(PAN, "x")]).unwrap();
    let shown = format!("{injected:?}");
    assert!(!shown.contains("4111") && !shown.contains("0737") && !shown.contains("bksclt"), "{shown}");
}

#[test]
fn outside_the_body_neither_tokens_nor_numbers_pass() {
    let headers = |value: &str| {
        let mut headers = HeaderMap::new();
        headers.insert("x-note", value.parse().unwrap());
        headers
    };
    let none = HeaderMap::new();
    assert_eq!(
        check_clean("/v1/x?created=1763710522&a=%20", &headers("Bearer sk_test_4eC39HqLyjWDarjtT1zdp7dc")),
        Ok(())
    );
    for traced in
        ["00-0af7651916cd43dd8448eb211c80319c-4111111111111111-01", "41111111-1111-4111-a111-deadbeef0000"]
    {
        assert_eq!(check_clean("/", &headers(traced)), Ok(()));
    }
    for (path, error) in [
        (format!("/v1/cards/{A}"), InjectError::MisplacedToken),
        (format!("/v1/x?card=%74{}", &A[1..]), InjectError::MisplacedToken),
        (format!("/v1/x?card={PAN}"), InjectError::PanInRequest),
        ("/v1/x?card=%34%3111111111111111&x".into(), InjectError::PanInRequest),
        ("/v1/x?card=4111+1111+1111+1111".into(), InjectError::PanInRequest),
    ] {
        assert_eq!(check_clean(&path, &none), Err(error), "{path}");
        assert_eq!(check_clean("/", &headers(&path)), Err(error), "{path}");
    }
}

#[test]
fn calls_that_pass_carry_neither() {
    for fine in [
        "",
        "amount=1099&currency=usd",
        r#"{"reason":"requested_by_customer","id":"pi_3MtwBwLkdIwHu7ix28a3tqPa"}"#,
    ] {
        assert_eq!(check_passed_body(fine.as_bytes()), Ok(()), "{fine}");
    }
    for (body, error) in [
        (format!("card[number]={A}"), InjectError::MisplacedToken),
        (format!("{{\"a\":\"{{{{ {A}.number }}}}\"}}"), InjectError::MisplacedToken),
        (format!("{{\"a\":\"\\u0074{}\"}}", &A[1..]), InjectError::MisplacedToken),
        (format!("a={PAN}"), InjectError::PanInRequest),
        ("a=4111+1111+1111+1111".into(), InjectError::PanInRequest),
        (r#"{"a":"\u0034111111111111111"}"#.into(), InjectError::PanInRequest),
        (r#"{"a":"\u00e94111111111111111"}"#.into(), InjectError::PanInRequest),
    ] {
        assert_eq!(check_passed_body(body.as_bytes()), Err(error), "{body}");
    }
}

#[test]
fn every_refusal_has_its_problem() {
    for (error, slug) in [
        (InjectError::MisplacedToken, "misplaced-token"),
        (InjectError::PanInRequest, "pan-in-request"),
        (InjectError::InvalidExpression("x"), "invalid-expression"),
        (InjectError::Malformed("x"), "invalid-request"),
        (InjectError::TooManyTokens, "invalid-request"),
        (InjectError::AttributeMissing, "attribute-unavailable"),
        (InjectError::ReleaseMismatch, "internal"),
    ] {
        assert_eq!(error.problem().kind.slug(), slug);
    }
}

/// A JSON body as pieces: what stands before, between and after the declared values, and the whole.
fn json_body() -> impl Strategy<Value = (Vec<String>, String)> {
    let space = "[ \n\t]{0,3}";
    let other = prop_oneof![
        "-?[1-9][0-9]{0,5}",
        Just("true".to_owned()),
        "\"[a-zé\\\\/ ]{0,8}\"".prop_map(|s| s.replace('\\', "\\\\"))
    ];
    (space, other.clone(), space, other, any::<bool>()).prop_map(|(s, first, t, last, swap)| {
        let (one, two) = if swap { ("holder", "exp") } else { ("exp", "holder") };
        let pieces = vec![
            format!("{s}{{{t}\"x\":{first},{s}\"source\":{{\"number\"{t}:{s}"),
            format!("{t}}},\"{one}\":"),
            format!("{s},{t}\"{two}\" : "),
            format!(",\"y\":{last}{s}}}{t}"),
        ];
        let whole = pieces.join(&format!("\"{A}\""));
        (pieces, whole)
    })
}

proptest! {
    #[test]
    fn only_declared_places_change((pieces, body) in json_body(), holder in "[A-Za-zé\"\\\\& ]{1,20}") {
        let plan = plan(&json(), body.as_bytes()).unwrap();
        let sent = plan.inject(&[card(PAN, &holder)]).unwrap().body;
        let sent = std::str::from_utf8(&sent).unwrap();
        let mut rest = sent.strip_prefix(pieces[0].as_str()).unwrap();
        let mut values = Vec::new();
        for piece in &pieces[1..] {
            let at = rest.find(piece.as_str()).unwrap();
            values.push(serde_json::from_str::<String>(&rest[..at]).unwrap());
            rest = &rest[at + piece.len()..];
        }
        prop_assert_eq!(rest, "");
        values.sort_unstable();
        let mut expected = vec![PAN.to_owned(), "03/00".to_owned(), holder];
        expected.sort_unstable();
        prop_assert_eq!(values, expected);
    }

    #[test]
    fn only_declared_fields_change(fields in prop::collection::vec(("[a-z%+]{1,6}", "[A-Za-z%+=]{0,6}"), 0..6), at in 0_usize..6) {
        let mut pairs: Vec<_> = fields.iter().map(|(name, value)| format!("q{name}={value}")).collect();
        let at = at.min(pairs.len());
        pairs.insert(at, format!("card%5Bnumber]={A}"));
        let plan = plan(&form(), pairs.join("&").as_bytes()).unwrap();
        let sent = plan.inject(&[card(PAN, "x")]).unwrap().body;
        pairs[at] = format!("card%5Bnumber]={PAN}");
        prop_assert_eq!(sent.to_vec(), pairs.join("&").into_bytes());
    }

    #[test]
    fn no_body_makes_it_panic(body: Vec<u8>) {
        let _ = plan(&form(), &body);
        let _ = plan(&json(), &body);
        let _ = check_passed_body(&body);
    }

    /// Whatever is accepted without a token is sent as it came.
    #[test]
    fn no_token_no_change(body in r#"[\[\]{}",:0-9a-f\\u=&%\[\]]{0,40}"#) {
        for call in [form(), json()] {
            if let Ok(plan) = plan(&call, body.as_bytes()) {
                prop_assert!(plan.is_empty());
                prop_assert_eq!(plan.inject(&[]).unwrap().body.to_vec(), body.clone().into_bytes());
            }
        }
    }
}
