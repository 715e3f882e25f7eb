//! Every spelling of an echo at every byte boundary, and what went in through inject coming back.

use strongroom_domain::Environment;
use strongroom_domain::route::{AllowedCall, Call, Route};

use super::*;
use crate::inject::{ReleasedCard, plan};

#[test]
fn every_spelling_at_every_byte_boundary_is_gone() {
    let mut searched = 0;
    for number in [PAN, AMEX, "4917610000000000003", "4007000000027"] {
        let secrets = injected(&[(TOKEN, number, None)]);
        for spelling in spellings(number) {
            for before in 0..=8 {
                // Letters push what is encoded from one alignment to the next; spaces do not.
                for lead in ["k".repeat(before), " ".repeat(before)] {
                    let echo = format!("{lead}{}", spelling.replace('"', ""));
                    for (kind, body) in [
                        (JSON, format!("{{\"m\":\"{echo}\"}}")),
                        (FORM, format!("m={echo}&n=1")),
                        (XML, format!("<a><m>{echo}</m></a>")),
                        ("text/plain", echo.clone()),
                    ] {
                        let (out, replaced, _) = scrubbed_with(kind, body.as_bytes(), &secrets, &[], &[]);
                        let out = String::from_utf8(out).unwrap();
                        assert!(replaced > 0 && !is_spelled_in(number, &out), "{kind}: {body} -> {out}");
                        searched += 1;
                    }
                }
            }
        }
    }
    assert!(searched > 20_000, "{searched}");
}

/// Every spelling there is, in a text whose characters have two bytes, as little- and as big-endian servers write them.
#[test]
fn every_spelling_in_utf_16_is_gone() {
    for number in [PAN, AMEX, "4917610000000000003", "4007000000027"] {
        let secrets = injected(&[(TOKEN, number, None)]);
        for spelling in spellings(number) {
            let echo = spelling.replace('"', "");
            for (kind, text) in [
                (JSON, format!("{{\"m\":\"{echo}\"}}")),
                (FORM, format!("m={echo}&n=1")),
                (XML, format!("<a><m>{echo}</m></a>")),
                ("text/plain", echo),
            ] {
                for mark in ["", "\u{feff}"] {
                    for order in [u16::to_le_bytes, u16::to_be_bytes] {
                        let units = mark.encode_utf16().chain(text.encode_utf16());
                        let body: Vec<u8> = units.flat_map(order).collect();
                        let (out, replaced, _) = scrubbed_with(kind, &body, &secrets, &[], &[]);
                        let out = String::from_utf8_lossy(&out).replace('\0', "");
                        assert!(replaced > 0 && !is_spelled_in(number, &out), "{kind}: {text} -> {out}");
                    }
                }
            }
        }
    }
}

#[test]
fn every_spelling_in_a_header_is_gone() {
    let rules = ScrubRules { ids: &BTreeSet::new(), cvc_fields: &BTreeSet::new() };
    for number in [PAN, AMEX] {
        let secrets = injected(&[(TOKEN, number, None)]);
        for spelling in spellings(number) {
            let value = format!("x {spelling}; y");
            let mut headers = HeaderMap::from_iter([(
                HeaderName::from_static("x-echo"),
                HeaderValue::try_from(value.as_str()).unwrap(),
            )]);
            assert!(scrub_headers(&mut headers, &secrets, &rules).replaced > 0, "{value}");
            let shown = headers.get("x-echo").map_or("", |value| value.to_str().unwrap());
            assert!(!is_spelled_in(number, shown), "{value} -> {shown}");
        }
    }
}

fn call(body: &str, at: [&str; 2]) -> AllowedCall {
    let text = format!(
        "[route.psp]\nupstream = \"https://psp.example\"\ncredential = {{ header = \"authorization\" }}\n\
         [[route.psp.allow]]\nmethod = \"POST\"\npath = \"/\"\nbody = \"{body}\"\n\
         inject = [{{ at = \"{}\", value = \"number\" }}, {{ at = \"{}\", value = \"cvc\", from = \"{}\" }}]",
        at[0], at[1], at[0]
    );
    let route = Route::parse("psp", &text, Environment::Live).unwrap();
    let Some(Call::Allowed(call)) = route.call("POST", "/") else { panic!("allowed") };
    call.clone()
}

const MULTIPART: &str = "multipart/form-data; boundary=b";

/// A request with a token, in each format: what stands around its places is the test's.
fn request(kind: usize, around: &str) -> (AllowedCall, &'static str, String) {
    let part = |name: &str, value: &str| {
        format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
    };
    let json = |text: &str| text.replace(['"', '\\'], "/");
    match kind {
        0 => (
            call("json", ["/a/n", "/a/cvc"]),
            JSON,
            format!(
                "{{\"x\":\"{0}\",\"a\":{{\"cvc\":\"000\",\"n\":\"{TOKEN}\"}},\"y\":\"{0}\"}}",
                json(around)
            ),
        ),
        1 => (
            call("form", ["a[n]", "a[cvc]"]),
            FORM,
            format!("x={0}&a[n]={TOKEN}&a%5bcvc]=000&y={0}", around.replace('&', "/")),
        ),
        2 => (
            call("xml", ["a/n", "a/cvc"]),
            XML,
            format!("<a>{0}<n>{TOKEN}</n>{0}<cvc>000</cvc></a>", around.replace(['<', '&', ']'], "/")),
        ),
        _ => (
            call("multipart", ["n", "cvc"]),
            MULTIPART,
            part("x", around) + &part("n", TOKEN) + &part("cvc", "000") + &part("y", around) + "--b--\r\n",
        ),
    }
}

proptest! {
    /// A PSP that sends back what it got: the caller gets its own request again, with its token, and no code.
    #[test]
    fn what_was_injected_comes_back_as_the_token(
        kind in 0_usize..4,
        around in "[a-zé <&=%+/\"\\\\.,:;\\]-]{0,16}",
        number in prop::sample::select(vec![PAN, AMEX, "4917610000000000003", "4007000000027"]),
    ) {
        let (call, content_type, body) = request(kind, &around);
        let headers = HeaderMap::from_iter([(http::header::CONTENT_TYPE, HeaderValue::from_static(content_type))]);
        let plan = plan(&call, &headers, body.as_bytes()).unwrap();
        let card = ReleasedCard { number: Some(number.into()), cvc: Some("737".into()), ..Default::default() };
        let sent = plan.inject(&[card]).unwrap();
        let text = String::from_utf8(sent.body.to_vec()).unwrap();
        prop_assert!(text.contains(number) && text.contains("737"));
        prop_assert_eq!(text.replace(number, TOKEN).replace("737", "000"), body.clone());
        let (ids, cvc_fields) = (BTreeSet::new(), BTreeSet::new());
        let rules = ScrubRules { ids: &ids, cvc_fields: &cvc_fields };
        let back = scrub_body(Some(content_type), text.into(), &sent.secrets, &rules);
        let back = String::from_utf8(back.body.to_vec()).unwrap();
        prop_assert!(!is_spelled_in(number, &back), "{}", back);
        // In multipart the code's field has no name a text search sees.
        if kind < 3 {
            prop_assert_eq!(back, body.replace("000", "***"));
        }
    }
}
