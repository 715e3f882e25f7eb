//! The scanner against RFC 8259 and against `serde_json`.

use proptest::prelude::*;

use super::*;

fn events(body: &[u8], reading: Reading) -> Result<Vec<String>, Malformed> {
    let mut seen = Vec::new();
    scan(body, reading, |path, event| {
        let name = path.name().unwrap_or("").to_owned();
        seen.push(match event {
            Event::Key(text) => format!("key {}", text.decoded()),
            Event::String(text) => format!("{name}={}", text.decoded()),
            Event::Number(span) => format!("{name}={}", std::str::from_utf8(&body[span]).unwrap_or("?")),
            Event::Null => format!("{name}=null"),
            Event::Other => format!("{name}:"),
        });
        Ok(())
    })
    .map(|()| seen)
}

fn at(body: &[u8], pointer: &str) -> Option<Range<usize>> {
    let pointer = Pointer::parse(pointer).unwrap();
    let mut found = None;
    scan(body, Reading::Strict, |path, event| {
        if pointer.is(path) {
            match event {
                Event::String(text) => found = Some(text.span()),
                Event::Number(span) => found = Some(span),
                Event::Key(_) | Event::Null | Event::Other => {}
            }
        }
        Ok::<(), Malformed>(())
    })
    .unwrap();
    found
}

#[test]
fn values_are_found_where_they_stand() {
    let body = br#" {"a" : [ 1, {"b\u002fc":"x"} ], "~d":-1.5e3, "":"e" } "#;
    for (pointer, value) in [
        ("/a/0", Some("1")),
        ("/a/1/b~1c", Some("\"x\"")),
        ("/~0d", Some("-1.5e3")),
        ("/", Some("\"e\"")),
        ("/a/00", None),
        ("/a/+0", None),
        ("/a", None),
        ("/a/1", None),
        ("/a/1/b", None),
    ] {
        assert_eq!(at(body, pointer).map(|span| &body[span]), value.map(str::as_bytes), "{pointer}");
    }
}

#[test]
fn what_two_readers_may_read_differently_is_refused_in_requests_only() {
    for body in [
        &br#"{"a":1,"a":2}"#[..],
        br#"{"a":1,"\u0061":2}"#,
        b"\xef\xbb\xbf{}",
        br#""\ud800""#,
        br#""\udc00\ud800""#,
    ] {
        assert!(events(body, Reading::Strict).is_err(), "{body:?}");
        assert!(events(body, Reading::Lenient).is_ok(), "{body:?}");
    }
    assert!(events(br#"{"a":{"b":1},"b":[{"a":1},{"a":2}]}"#, Reading::Strict).is_ok());
}

#[test]
fn what_is_not_json_is_refused() {
    for body in [
        "",
        " ",
        "{",
        "}",
        "[1,]",
        "{\"a\":1,}",
        "{\"a\"}",
        "{a:1}",
        "[1 2]",
        "01",
        "1.",
        ".5",
        "1e",
        "+1",
        "-",
        "tru",
        "nul",
        "\"",
        "\"\t\"",
        "\"\\x\"",
        "\"\\u12g4\"",
        "\"\\u+123\"",
        "{} {}",
        "[]x",
        "NaN",
        "'a'",
        "// x\n1",
        "\u{a0}1",
    ] {
        assert!(events(body.as_bytes(), Reading::Lenient).is_err(), "{body}");
    }
    assert!(events(b"\"\xff\"", Reading::Lenient).is_err());
    let deep = |depth: usize| [vec![b'['; depth], vec![b']'; depth]].concat();
    assert!(events(&deep(64), Reading::Strict).is_ok() && events(&deep(65), Reading::Lenient).is_err());
    assert!(events(&vec![b'['; 1 << 20], Reading::Lenient).is_err());
}

#[test]
fn escapes_say_what_they_spell() {
    let body = br#""\"\\\/\b\f\n\r\tA\u00e9\ud83d\ude00\u0000""#;
    assert_eq!(events(body, Reading::Strict).unwrap(), ["=\"\\/\u{8}\u{c}\n\r\tA\u{e9}\u{1f600}\0"]);
    assert_eq!(events(br#""\ud800x""#, Reading::Lenient).unwrap(), ["=\u{fffd}x"]);
}

proptest! {
    #[test]
    fn no_body_makes_it_panic(body: Vec<u8>) {
        let _ = events(&body, Reading::Strict);
        let _ = events(&body, Reading::Lenient);
    }

    /// Where both take a body, both read it; where the scanner takes one, `serde_json` does.
    #[test]
    fn what_is_taken_is_json(body in r#"[\[\]{}",:0-9a-f\\u.eE+\- truefalsn]{0,40}"#) {
        let taken = events(body.as_bytes(), Reading::Strict).is_ok();
        let read = serde_json::from_str::<serde_json::Value>(&body);
        prop_assert!(!taken || read.is_ok() || read.unwrap_err().to_string().contains("out of range"), "{}", body);
    }

    #[test]
    fn strings_written_are_strings_read(text: String) {
        let mut body = String::from("\"");
        escape_into(&text, &mut body);
        body.push('"');
        prop_assert_eq!(events(body.as_bytes(), Reading::Strict).unwrap(), vec![format!("={text}")]);
        prop_assert_eq!(serde_json::from_str::<String>(&body).unwrap(), text);
    }
}
