//! The scanner: what stands where, in whatever pieces.

use proptest::prelude::*;

use super::*;

/// Every value as `path=text`, asides as `#text`.
fn events(body: &str, reading: Reading) -> Result<Vec<String>, Malformed> {
    let mut seen = Vec::new();
    scan(body.as_bytes(), None, reading, |path, event| {
        seen.push(match event {
            Event::Aside(text, at) => {
                assert_eq!(&body[at], text);
                format!("#{text}")
            }
            Event::Value(value) => format!("{}:{}={}", path.depth(), path.name(), value.decoded()),
        });
        Ok(())
    })
    .map(|()| seen)
}

#[test]
fn values_are_read_with_their_pieces_as_one() {
    let body = "<a x='1&amp;&#50;'>b<!--c-->&lt;<![CDATA[<d>]]>&#x65;<f:g xmlns:f='u'/>h</a>";
    assert_eq!(
        events(body, Reading::Strict).unwrap(),
        ["#a", "#x", "1:x=1&2", "#c", "#f:g", "#xmlns:f", "2:f=u", "2:g=", "1:a=b<<d>eh"]
    );
}

#[test]
fn a_part_of_a_text_leads_back_to_the_pieces_it_is_written_as() {
    let body = "<a>12<!-- -->3<![CDATA[45]]>&#54;7&#x38;</a>";
    let mut found = Vec::new();
    scan(body.as_bytes(), None, Reading::Strict, |_, event| {
        if let Event::Value(value) = event {
            assert_eq!(value.decoded(), "12345678");
            for range in [0..8, 1..3, 4..6, 5..8, 3..4] {
                found.push(value.origins(&range).into_iter().map(|at| &body[at]).collect::<Vec<_>>());
            }
        }
        Ok::<(), Malformed>(())
    })
    .unwrap();
    assert_eq!(
        found,
        [
            vec!["12", "3", "45", "&#54;7&#x38;"],
            vec!["2", "3"],
            vec!["5", "&#54;"],
            vec!["&#54;7&#x38;"],
            vec!["4"],
        ]
    );
}

#[test]
fn answers_are_read_though_requests_like_them_are_not() {
    for body in [
        "<!DOCTYPE a [<!ENTITY c 'd'>]><a>&c;</a>",
        "<?xml version='1.0' encoding='iso-8859-1'?><a/>",
        "<a>&nbsp;</a>",
    ] {
        assert!(events(body, Reading::Strict).is_err(), "{body}");
        assert!(events(body, Reading::Lenient).is_ok(), "{body}");
    }
    assert_eq!(events("<a>1&nbsp;2</a>", Reading::Lenient).unwrap().last().unwrap(), "1:a=1\u{fffd}2");
}

#[test]
fn selectors_name_elements_and_attributes() {
    let body = "<a><b c='1' x:c='2' xmlns:x='u'/><x:b xmlns:x='u'>3</x:b><b>4</b></a>";
    let at = |selector: &str, home| {
        let selector = Selector::parse(selector);
        let mut found = Vec::new();
        scan(body.as_bytes(), home, Reading::Strict, |path, event| {
            if let (Event::Value(value), true) = (event, selector.is(path)) {
                found.push(value.decoded().into_owned());
            }
            Ok::<(), Malformed>(())
        })
        .unwrap();
        found
    };
    assert_eq!(at("a/b@c", None), ["1"]);
    assert_eq!(at("a/b", None), ["", "4"]);
    assert!(at("a/b", Some("u")).is_empty() && at("b", None).is_empty() && at("a@c", None).is_empty());
}

#[test]
fn text_written_is_text_read() {
    let mut written = String::new();
    escape_into("a<b>&\"c'd", &mut written);
    for body in [format!("<a>{written}</a>"), format!("<a b=\"{written}\"/>"), format!("<a b='{written}'/>")]
    {
        assert!(events(&body, Reading::Strict).unwrap().iter().any(|event| event.ends_with("=a<b>&\"c'd")));
    }
}

proptest! {
    #[test]
    fn no_body_makes_it_panic(raw: Vec<u8>, body in r#"(<|</|/>|>|a|b:|=|"|'|&|#x4|;|<!--|-->|<!\[CDATA\[|\]\]>|<\?xml|\?>|<!DOCTYPE|\[|é| |\n){0,24}"#) {
        for reading in [Reading::Strict, Reading::Lenient] {
            let _ = scan(&raw, None, reading, |_, _| Ok::<(), Malformed>(()));
            let _ = events(&body, reading);
        }
    }

    /// Whatever is read, every part of it leads to bytes of the body, in order.
    #[test]
    fn origins_lie_in_the_body(pieces in prop::collection::vec("(4|é|&#52;|&amp;|<!-- -->|<!\\[CDATA\\[1<\\]\\]>|<b/>)", 0..12), from in 0_usize..8, length in 1_usize..8) {
        let body = format!("<a>{}</a>", pieces.concat());
        scan(body.as_bytes(), None, Reading::Strict, |_, event| {
            if let Event::Value(value) = event {
                let says = value.decoded().len();
                let part = from.min(says)..(from + length).min(says);
                let origins = value.origins(&part);
                assert!(origins.windows(2).all(|pair| pair[0].end < pair[1].start));
                assert!(origins.iter().all(|at| at.start < at.end && at.end <= body.len()));
                assert_eq!(origins.is_empty(), part.is_empty());
            }
            Ok::<(), Malformed>(())
        }).unwrap();
    }
}
