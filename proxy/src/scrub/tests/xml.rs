//! XML answers: whatever pieces a number stands in, and byte for byte what stays.

use super::*;

#[test]
fn a_number_in_pieces_becomes_its_token_once() {
    table(&[
        (XML, "<a><n>4111<![CDATA[1111]]>1111&#49;111</n></a>", "<a><n>@<![CDATA[]]></n></a>"),
        (XML, "<a><n>4111<!-- x -->1111 11111111</n></a>", "<a><n>@<!-- x --></n></a>"),
        (XML, "<a><n>4111 1111<b/> 1111 1111.</n></a>", "<a><n>@<b/>.</n></a>"),
        (
            XML,
            "<a><![CDATA[4111<1>]]><![CDATA[4111111111111111&]]></a>",
            "<a><![CDATA[4111<1>]]><![CDATA[@&]]></a>",
        ),
        (XML, "<a n='4111&#x31;11111111111' m=\"&quot;4111111111111111\"/>", "<a n='@' m=\"&quot;@\"/>"),
        (XML, "<a><!-- 4111111111111111 --><?p 4111111111111111?></a>", "<a><!-- @ --><?p @?></a>"),
        (XML, "<a><n-4111111111111111>1</n-4111111111111111></a>", "<a><n-@>1</n-@></a>"),
        (
            XML,
            "<!DOCTYPE a [<!ENTITY n '4111111111111111'>]><a>&n;</a>",
            "<!DOCTYPE a [<!ENTITY n '@'>]><a>&n;</a>",
        ),
        (XML, "<a><n>NDExMTExMTExMTEx<!-- -->MTExMQ==</n></a>", "<a><n>@<!-- --></n></a>"),
        (
            "",
            "\u{feff}<?xml version='1.0'?>\r\n<a>&#52;111111111111111</a>",
            "\u{feff}<?xml version='1.0'?>\r\n<a>@</a>",
        ),
        (
            "application/soap+xml; charset=utf-8",
            "<e:a xmlns:e='u'>4111111111111111</e:a>",
            "<e:a xmlns:e='u'>@</e:a>",
        ),
    ]);
}

#[test]
fn a_verification_code_of_xml_is_a_field_of_its_own() {
    table(&[
        (
            XML,
            "<a><cvc>0<![CDATA[73]]>7</cvc><c cvv=' 0737 '/></a>",
            "<a><cvc>***<![CDATA[]]></cvc><c cvv=' *** '/></a>",
        ),
        (XML, "<a><amount>0737</amount><cvc>0738</cvc></a>", "<a><amount>0737</amount><cvc>0738</cvc></a>"),
        (
            XML,
            "<a xmlns:v='u'><v:cvc>&#48;737</v:cvc><secret>0737</secret></a>",
            "<a xmlns:v='u'><v:cvc>***</v:cvc><secret>***</secret></a>",
        ),
        (XML, "<a><m>{\"cvc\":\"0737\"}</m></a>", "<a><m>{\"cvc\":\"***\"}</m></a>"),
    ]);
}

#[test]
fn references_of_xml_stay_where_declared() {
    table(&[
        (
            XML,
            "<a id='4242424242424242'><id>4242<!-- -->424242424242</id><n>4242424242424242</n></a>",
            "<a id='4242424242424242'><id>4242<!-- -->424242424242</id><n>************4242</n></a>",
        ),
        (
            XML,
            "<data><_ ref='1'/><ref>4242424242424242</ref></data>",
            "<data><_ ref='1'/><ref>************4242</ref></data>",
        ),
    ]);
    let body = "<r><order code='4242424242424242'/><order>4242424242424242</order></r>";
    let (out, replaced, suspected) = scrubbed_with(XML, body.as_bytes(), &one(), &["/r/order/@code"], &[]);
    assert_eq!(String::from_utf8(out).unwrap(), body.replace(">4242424242424242", ">************4242"));
    assert_eq!((replaced, suspected), (1, 1));
}

#[test]
fn xml_without_card_data_stays_byte_for_byte() {
    for body in [
        "\u{feff}<?xml version=\"1.0\" encoding=\"utf-8\"?>\r\n<a  b = 'c' >x &amp; y<![CDATA[<z>]]><!-- - --></a >\r\n",
        "<transaction><id>dt1j2k</id><amount>10.00</amount><bin>411111</bin><last-4>1111</last-4></transaction>",
        "<payment><cardNumber>4444********1111</cardNumber></payment>",
    ] {
        assert_eq!(scrubbed(XML, body), body);
    }
}

/// A number written into an element in any pieces, at any border.
fn pieces(number: &str, cuts: &[usize], how: usize) -> String {
    let mut written = String::new();
    let mut from = 0;
    for cut in cuts.iter().map(|cut| cut % number.len()).chain([number.len()]) {
        if cut <= from {
            continue;
        }
        let part = &number[from..cut];
        match (how + from) % 4 {
            0 => written.push_str(part),
            1 => written.push_str(&format!("<![CDATA[{part}]]>")),
            2 => part.bytes().for_each(|digit| written.push_str(&format!("&#{digit};"))),
            _ => written.push_str(&format!("<!-- c -->{part}<i/>")),
        }
        from = cut;
    }
    written
}

proptest! {
    #[test]
    fn a_number_in_any_pieces_is_gone(
        mut cuts in prop::collection::vec(0_usize..19, 0..5),
        how in 0_usize..4,
        before in "[a-z ]{0,4}",
        number in prop::sample::select(vec![PAN, AMEX, "4917610000000000003", "4007000000027"]),
    ) {
        cuts.sort_unstable();
        let body = format!("<a>{before} {}<!-- -->.</a>", pieces(number, &cuts, how));
        let secrets = injected(&[(TOKEN, number, None)]);
        let (out, replaced, _) = scrubbed_with(XML, body.as_bytes(), &secrets, &[], &[]);
        let out = String::from_utf8(out).unwrap();
        let mut says = String::new();
        crate::body::xml::scan(out.as_bytes(), None, crate::body::json::Reading::Strict, |_, event| {
            if let crate::body::xml::Event::Value(value) = event {
                says.push_str(&value.decoded());
            }
            Ok::<(), crate::body::Malformed>(())
        }).unwrap();
        prop_assert_eq!(says, format!("{} {}.", before, TOKEN));
        prop_assert_eq!(replaced, 1);
        prop_assert!(!is_spelled_in(number, &out));
    }
}
