//! XML, multipart, GraphQL and headers: the same rules in other notations.

use http::header::CONTENT_TYPE;

use super::*;

const XML: &str = r#"
    { at = "order/card/number", value = "number" },
    { at = "order/card/cvc", value = "cvc", from = "order/card/number" },
    { at = "order/card/expiry/date@month", value = "exp", format = "MM", from = "order/card/number" },
    { at = "order/card/expiry/date@year", value = "exp", format = "YYYY", from = "order/card/number" },
    { at = "order/card/holder", value = "holder" },
    { at = "order@holder", value = "holder" },
    { at = "order/second/number", value = "number" },
"#;

fn xml() -> AllowedCall {
    call("xml", XML)
}

fn in_namespace() -> AllowedCall {
    let places = "{ at = \"order/number\", value = \"number\" }";
    AllowedCall { namespace: Some("urn:psp".into()), ..call("xml", places) }
}

#[test]
fn xml_is_filled_where_declared_and_nowhere_else() {
    for (body, expected) in [
        (
            "<order><card><number>$</number></card></order>",
            "<order><card><number>4111111111111111</number></card></order>",
        ),
        (
            "\u{feff}<?xml version='1.0' encoding=\"utf-8\" ?>\r\n<!DOCTYPE order PUBLIC \"-//P//DTD v1//EN\" \"http://psp.example/v1.dtd\">\n<!-- a --><order  a='1' >\n <card ><number\n>$</number><cvc>000</cvc><expiry><date month='' year = \"9\"/></expiry>&amp;</card></order>\n<!--z-->\n",
            "\u{feff}<?xml version='1.0' encoding=\"utf-8\" ?>\r\n<!DOCTYPE order PUBLIC \"-//P//DTD v1//EN\" \"http://psp.example/v1.dtd\">\n<!-- a --><order  a='1' >\n <card ><number\n>4111111111111111</number><cvc>0737</cvc><expiry><date month='03' year = \"2000\"/></expiry>&amp;</card></order>\n<!--z-->\n",
        ),
        (
            "<order holder='$'><card><holder>$</holder></card></order>",
            "<order holder='Zoë &quot;Q&quot; O&#39;B &amp; Co'><card><holder>Zoë &quot;Q&quot; O&#39;B &amp; Co</holder></card></order>",
        ),
        (
            "<order><card><number>@<![CDATA[~]]></number></card></order>",
            "<order><card><number>4111111111111111</number></card></order>",
        ),
        (
            "<order><card><number><![CDATA[$]]></number><cvc/></card></order>",
            "<order><card><number>4111111111111111</number><cvc/></card></order>",
        ),
        (
            "<order><card><number>&#116;^</number></card></order>",
            "<order><card><number>4111111111111111</number></card></order>",
        ),
        (
            "<order><card><number>{{ $.number }}</number></card><second><number>%</number></second></order>",
            "<order><card><number>4111111111111111</number></card><second><number>5555555555554444</number></second></order>",
        ),
        (
            "<order><card><number/><cvc>123</cvc></card></order>",
            "<order><card><number/><cvc>123</cvc></card></order>",
        ),
    ] {
        let body = body.replace('@', &A[..20]).replace('~', &A[20..]).replace('^', &A[1..]);
        let body = body.replace('$', A).replace('%', B);
        assert_eq!(injected(&xml(), &body).as_deref(), Ok(expected), "{body}");
    }
}

#[test]
fn a_token_anywhere_else_in_xml_is_refused() {
    let misplaced = InjectError::MisplacedToken;
    refusals(
        &xml(),
        &[
            ("<order><note>$</note></order>", misplaced),
            ("<order><number>$</number></order>", misplaced),
            ("<order note='$'/>", misplaced),
            ("<order><!-- $ --></order>", misplaced),
            ("<order><?note $?></order>", misplaced),
            ("<order><$/></order>", misplaced),
            ("<order $=''/>", misplaced),
            ("<!DOCTYPE order SYSTEM '$'><order/>", misplaced),
            ("<order><note><![CDATA[$]]></note></order>", misplaced),
            ("<order><note>&#x74;<![CDATA[ok]]>%</note></order>", misplaced),
            ("<order><note>t<b/>&#x6f;<!-- -->k%</note></order>", misplaced),
            ("<order><note a='&#116;ok%'/></order>", misplaced),
            ("<order><card number='$'/></order>", misplaced),
            ("<order x:holder='$' xmlns:x='urn:x'/>", misplaced),
            ("<x:order xmlns:x='urn:x'><x:card><x:number>$</x:number></x:card></x:order>", misplaced),
            ("<order xmlns='urn:x'><card><number>$</number></card></order>", misplaced),
            ("<order><card><cvc>$</cvc></card></order>", misplaced),
        ]
        .map(|(body, error)| (body.replace('%', &A[3..]), error))
        .each_ref()
        .map(|(body, error)| (body.as_str(), *error)),
    );
}

#[test]
fn a_card_number_anywhere_in_xml_is_refused() {
    let pan = InjectError::PanInRequest;
    refusals(
        &xml(),
        &[
            ("<order><card><number>4111111111111111</number></card></order>", pan),
            ("<order><card><number>4111<![CDATA[1111]]>1111&#49;111</number></card></order>", pan),
            ("<order><note>4111<!-- -->1111<![CDATA[1111]]>&#49;111</note></order>", pan),
            ("<order><note>4111<b/>11111111<b/>1111</note></order>", pan),
            ("<order note='4111 1111 1111 1111'/>", pan),
            ("<order><!-- 4111111111111111 --></order>", pan),
            ("<order><?note 4111111111111111?></order>", pan),
            ("<order><a4111111111111111/></order>", pan),
        ],
    );
    for fine in ["<order><year>2030</year><month>12</month><amount>411111111111</amount></order>", "<order/>"]
    {
        assert!(plan(&xml(), fine.as_bytes()).unwrap().is_empty(), "{fine}");
    }
}

#[test]
fn xml_that_two_readers_may_read_differently_is_refused() {
    let number = "<order><card><number>$</number></card></order>";
    for body in [
        "<!DOCTYPE order [<!ENTITY c \"x\">]><order/>",
        "<order>&c;</order>",
        "<order a='&c;'/>",
        "<order>&#0;</order>",
        "<order>\u{1}</order>",
        "<order>]]></order>",
        "<order a='<'/>",
        "<order a='1' a='2'/>",
        "<order a=1/>",
        "<order a/>",
        "<order></Order>",
        "<order>",
        "</order>",
        "<order/><order/>",
        "<order/>x",
        "x<order/>",
        "",
        " ",
        "<order><!-- a -- b --></order>",
        "<order/><!DOCTYPE order>",
        "<?xml version='1.1'?><order/>",
        "<?xml version='1.0' encoding='iso-8859-1'?><order/>",
        " <?xml version='1.0'?><order/>",
        "<x:order/>",
        "<1order/>",
        "<a:b:c xmlns:a='x'/>",
        "\u{feff}\u{feff}<order/>",
        "<order><card><number>$</number><number>@</number></card></order>",
        "<order><card><number>$<!-- --></number></card></order>",
        "<order><card><number>$<b/></number></card></order>",
        "<order><card><number><?a?>$</number></card></order>",
        "{\"number\":\"$\"}",
    ] {
        let body = body.replace('$', A).replace('@', B);
        // No body at all is a body without places.
        if body.is_empty() {
            assert!(plan(&xml(), b"").unwrap().is_empty());
            continue;
        }
        assert!(matches!(plan(&xml(), body.as_bytes()), Err(InjectError::Malformed(_))), "{body}");
    }
    let utf16: Vec<u8> = number.encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert!(plan(&xml(), &utf16).is_err());
    let deep =
        |depth: usize| [vec![b"<a>".as_slice(); depth], vec![b"</a>".as_slice(); depth]].concat().concat();
    assert!(plan(&xml(), &deep(64)).is_ok() && plan(&xml(), &deep(65)).is_err());
    let wide = |count: usize| {
        let attributes: Vec<_> = (0..count).map(|n| format!(" a{n}=''")).collect();
        format!("<order{}/>", attributes.concat()).into_bytes()
    };
    assert!(plan(&xml(), &wide(64)).is_ok() && plan(&xml(), &wide(65)).is_err());
}

#[test]
fn elements_are_found_in_their_namespace_only() {
    for body in [
        "<order xmlns='urn:psp'><number>$</number></order>",
        "<p:order xmlns:p='urn:psp'><p:number>$</p:number></p:order>",
        "<order xmlns='urn:psp'><p:number xmlns:p='urn:psp'>$</p:number></order>",
    ] {
        let sent = injected(&in_namespace(), &body.replace('$', A)).unwrap();
        assert_eq!(sent, body.replace('$', PAN));
    }
    refusals(
        &in_namespace(),
        &[
            ("<order><number>$</number></order>", InjectError::MisplacedToken),
            ("<order xmlns='urn:psp'><number xmlns=''>$</number></order>", InjectError::MisplacedToken),
            ("<order xmlns='urn:x'><number xmlns='urn:psp'>$</number></order>", InjectError::MisplacedToken),
        ],
    );
}

fn multipart_headers() -> HeaderMap {
    HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("multipart/form-data; boundary=\"b\""))])
}

fn part(name: &str, more: &str, value: &str) -> String {
    format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"{more}\r\n\r\n{value}\r\n")
}

#[test]
fn multipart_forms_are_filled_part_by_part() {
    let call = call("multipart", FORM);
    let inject = |body: &str| {
        let plan = super::super::plan(&call, &multipart_headers(), body.as_bytes())?;
        let cards: Vec<_> = plan.wanted().iter().map(|_| card(PAN, "Zoë & Co")).collect();
        Ok(String::from_utf8(plan.inject(&cards)?.body.to_vec()).unwrap())
    };
    let body = |number: &str, cvc: &str, holder: &str| {
        let file = part("file", "; filename=\"a.png\"\r\nContent-Type: image/png", "\u{0}x");
        let fields =
            part("card[number]", "", number) + &part("card[cvc]", "", cvc) + &part("name", "", holder);
        format!("{fields}{file}--b--\r\n")
    };
    assert_eq!(inject(&body(A, "000", A)).as_deref(), Ok(body(PAN, "0737", "Zoë & Co").as_str()));
    let plain = body("tok_visa", "123", "JANE");
    assert_eq!(inject(&plain).as_deref(), Ok(plain.as_str()));
    let twice = part("card[number]", "", A) + &part("card[number]", "", A) + "--b--";
    for (body, error) in [
        (part("note", "", A) + "--b--", InjectError::MisplacedToken),
        (part(A, "", "x") + "--b--", InjectError::MisplacedToken),
        (part("note", &format!("\r\nX-Note: {A}"), "x") + "--b--", InjectError::MisplacedToken),
        (part("file", "; filename=\"a\"", PAN) + "--b--", InjectError::PanInRequest),
        (body(PAN, "000", "x"), InjectError::PanInRequest),
        (twice, InjectError::Malformed("a declared field is given twice")),
        (
            part("card[number]", "; filename=\"a\"", A) + "--b--",
            InjectError::Malformed("a declared field is no plain text"),
        ),
    ] {
        assert_eq!(inject(&body), Err(error), "{body}");
    }
    let without = super::super::plan(&call, &HeaderMap::new(), b"--b--").unwrap_err();
    assert_eq!(without, InjectError::Malformed("the content type names no usable boundary"));
}

#[test]
fn graphql_takes_card_data_in_variables_only() {
    let call = call("graphql", "{ at = \"/variables/input/creditCard/number\", value = \"number\" }");
    let query = "mutation($input: TokenizeCreditCardInput!) { tokenizeCreditCard(input: $input) { token } }";
    let body = |number: &str| {
        format!(
            "{{\"query\":\"{query}\",\"variables\":{{\"input\":{{\"creditCard\":{{\"number\":\"{number}\"}}}}}}}}"
        )
    };
    assert_eq!(injected(&call, &body(A)).unwrap(), body(PAN));
    refusals(
        &call,
        &[
            (
                "{\"query\":\"mutation { tokenize(number: \\\"$\\\") { token } }\"}",
                InjectError::MisplacedToken,
            ),
            ("{\"query\":\"x\",\"variables\":{\"n\":\"$\"}}", InjectError::MisplacedToken),
            ("{\"operationName\":\"$\"}", InjectError::MisplacedToken),
            (
                "[{\"query\":\"x\",\"variables\":{\"input\":{\"creditCard\":{\"number\":\"$\"}}}}]",
                InjectError::Malformed("the body is not one GraphQL request: lists of them are not taken"),
            ),
        ],
    );
}

#[test]
fn a_declared_header_is_filled_and_any_other_stays_clean() {
    let call = call(
        "json",
        "{ at = \"header:x-card\", value = \"number\" }, { at = \"header:x-exp\", value = \"exp\", format = \"MMYY\", from = \"header:x-card\" }, { at = \"/cvc\", value = \"cvc\", from = \"header:x-card\" }",
    );
    let headers = |pairs: &[(&'static str, &str)]| {
        let pairs = pairs.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()));
        pairs.fold(HeaderMap::new(), |mut headers, (name, value)| {
            headers.append(name, value);
            headers
        })
    };
    let sent = headers(&[("x-card", A), ("x-exp", "0000"), ("x-note", "1")]);
    assert_eq!(super::super::check_clean(Some(&call), "/", &sent), Ok(()));
    assert_eq!(super::super::check_clean(None, "/", &sent), Err(InjectError::MisplacedToken));
    let plan = super::super::plan(&call, &sent, b"{\"cvc\":\"000\"}").unwrap();
    let all = [Attribute::Number, Attribute::Cvc, Attribute::Exp].into_iter().collect();
    assert_eq!(plan.wanted(), [Wanted { name: CardName::parse(A).unwrap(), attributes: all }]);
    let injected = plan.inject(&[card(PAN, "x")]).unwrap();
    assert_eq!(&injected.body[..], b"{\"cvc\":\"0737\"}");
    assert!(injected.headers.iter().all(|(_, value)| value.is_sensitive()));
    let shown: Vec<_> =
        injected.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
    assert_eq!(shown, [("x-card", PAN.as_bytes()), ("x-exp", b"0300".as_slice())]);
    for (pairs, error) in [
        (&[("x-card", PAN)][..], InjectError::PanInRequest),
        (&[("x-card", A), ("x-card", A)], InjectError::Malformed("a declared field is given twice")),
        (&[("x-exp", A)], InjectError::MisplacedToken),
    ] {
        assert_eq!(super::super::plan(&call, &headers(pairs), b"{}").unwrap_err(), error);
    }
}

/// XML as pieces: what stands before, between and after the declared values.
fn xml_body() -> impl Strategy<Value = (Vec<String>, String)> {
    let other = "(<x a=\"[a-z&&[^t]]{0,4}\"/>|<!--[ a-s]{0,5}-->|[ \n]{0,3}|&amp;|<y>é&#65;</y>|<!\\[CDATA\\[<&\\]\\]>){0,3}";
    (other, other, other, "[ \t\n]{0,2}").prop_map(|(one, two, three, space)| {
        let pieces = vec![
            format!("<order{space}>{one}<card{space}>{two}<number{space}>"),
            format!("</number{space}>{one}<holder>"),
            format!("</holder><expiry><date{space} month=\""),
            format!("\"{space}/></expiry></card>{three}</order>"),
        ];
        let whole =
            [pieces[0].as_str(), A, pieces[1].as_str(), A, pieces[2].as_str(), "00", pieces[3].as_str()]
                .concat();
        (pieces, whole)
    })
}

proptest! {
    #[test]
    fn only_declared_places_of_xml_change((pieces, body) in xml_body(), holder in "[A-Za-zé\"'<>&; ]{1,20}") {
        let plan = plan(&xml(), body.as_bytes()).unwrap();
        let sent = plan.inject(&[card(PAN, &holder)]).unwrap().body;
        let sent = std::str::from_utf8(&sent).unwrap();
        let mut written = String::new();
        crate::body::xml::escape_into(&holder, &mut written);
        let values = [PAN, written.as_str(), "03", ""];
        let expected: String = pieces.iter().zip(values).map(|(piece, value)| format!("{piece}{value}")).collect();
        prop_assert_eq!(sent, expected);
    }

    #[test]
    fn no_xml_or_multipart_makes_it_panic(
        body in r#"(<|>|/|order|card|number| |=|"|'|&|;|#x4|<!--|-->|<!\[CDATA\[|\]\]>|<\?|\?>|<!DOCTYPE|xmlns|:|tok_|é){0,24}"#,
        raw: Vec<u8>,
    ) {
        for call in [xml(), in_namespace()] {
            let _ = plan(&call, body.as_bytes());
            let _ = plan(&call, &raw);
        }
        let _ = super::super::plan(&call("multipart", FORM), &multipart_headers(), &raw);
    }
}
