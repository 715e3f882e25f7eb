//! Lines of both formats, right and wrong.

use super::*;

type Read = Result<Vec<(String, String)>, (Option<String>, String)>;

fn read(format: Format, lines: &[&str]) -> Vec<Read> {
    let mut reader = FieldReader::new(format, |_| true);
    let mut found = Vec::new();
    for (place, text) in lines.iter().enumerate() {
        match reader.read(&Line { number: place as u64 + 1, text: Some(text) }) {
            Ok(None) => {}
            Ok(Some(fields)) => {
                let pairs = fields.iter().map(|(name, value)| {
                    let name = match name {
                        Name::Metadata(name) => format!("metadata.{name}"),
                        name => name.as_str().to_owned(),
                    };
                    (name, value.to_owned())
                });
                found.push(Ok(pairs.collect()));
            }
            Err(ReadError::Line(fault)) => {
                assert!(!fault.detail.contains("4242"), "{}", fault.detail);
                found.push(Err((fault.field.map(Cow::into_owned), fault.detail.into_owned())));
            }
            Err(ReadError::Header(told)) => {
                assert!(!told.contains("4242"), "{told}");
                found.push(Err((Some("header".into()), told)));
            }
        }
    }
    found
}

fn own(pairs: &[(&str, &str)]) -> Read {
    Ok(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
}

#[test]
fn csv_and_json_lines_say_the_same() {
    let expected = own(&[
        ("number", "4242424242424242"),
        ("exp_month", "1"),
        ("holder", "O'NEIL, \"JO\""),
        ("metadata.plan", "gold"),
    ]);
    let csv = read(
        Format::Csv,
        &["number,exp_month,holder,metadata.plan,alias", "4242424242424242,1,\"O'NEIL, \"\"JO\"\"\",gold,"],
    );
    let json = read(
        Format::Jsonl,
        &[
            r#"{"number":"4242424242424242","exp_month":1,"holder":"O'NEIL, \"JO\"","metadata":{"plan":"gold"},"alias":null}"#,
        ],
    );
    assert_eq!((&csv[0], &json[0]), (&expected, &expected));
}

#[test]
fn headers_are_strict() {
    for header in ["number,cvc", "number,number", "Number", "4242424242424242", "", "number,\"exp_month"] {
        let found = read(Format::Csv, &[header]);
        assert!(matches!(&found[0], Err((Some(field), _)) if field == "header"), "{header}");
    }
}

#[test]
fn each_mistake_of_a_line_is_its_own_and_the_next_line_is_read() {
    let csv = read(
        Format::Csv,
        &["number,holder", "4242,a,b", "4242", "4242,\"a", "4242,\"a\"b", "4242,a\"b", "4242,a"],
    );
    assert!(csv[..5].iter().all(Result::is_err));
    assert_eq!(csv[5], own(&[("number", "4242"), ("holder", "a")]));
    let json = [
        "4242424242424242",
        r#"{"number":4242424242424242}"#,
        r#"{"number":"4242","number":"4242"}"#,
        r#"{"4242424242424242":1}"#,
        r#"{"metadata.plan":"4242"}"#,
        r#"{"metadata":{"a":"1","a":"2"}}"#,
        r#"{"metadata":{"a":1}}"#,
        r#"{"holder":["4242"]}"#,
        r#"{"number":"4242"} 4242"#,
        r#"{"number":"4242"#,
        r#"{"exp_month":1.5}"#,
    ];
    assert!(read(Format::Jsonl, &json).iter().all(Result::is_err), "{:?}", read(Format::Jsonl, &json));
}
